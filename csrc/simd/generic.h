// The primitives of simd.h for any processor and width; with Arm's fma and square root where they
// are there.
#ifndef NORMKERNELS_SIMD_GENERIC_H_
#define NORMKERNELS_SIMD_GENERIC_H_

#include "simd/vector.h"

namespace normkernels::NORMKERNELS_ISA {

template <class T>
NORMKERNELS_INLINE Vec<T> load(const T* p, int n) {
  Vec<T> r = Vec<T>::zero();
  for (int i = 0; i < n; ++i) r.v[i] = p[i];
  return r;
}
template <class T>
NORMKERNELS_INLINE void store(T* p, Vec<T> a, int n) {
  for (int i = 0; i < n; ++i) p[i] = a.v[i];
}
template <class T>
NORMKERNELS_INLINE Vec<T> first(Vec<T> a, int n) {
  for (int i = n; i < Vec<T>::kLanes; ++i) a.v[i] = 0;
  return a;
}

#if NORMKERNELS_SIMD_NEON

NORMKERNELS_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return {(Vec<float>::Native)vfmaq_f32((float32x4_t)c.v, (float32x4_t)a.v, (float32x4_t)b.v)};
}
NORMKERNELS_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return {(Vec<double>::Native)vfmaq_f64((float64x2_t)c.v, (float64x2_t)a.v, (float64x2_t)b.v)};
}
NORMKERNELS_INLINE Vec<float> sqrt(Vec<float> a) {
  return {(Vec<float>::Native)vsqrtq_f32((float32x4_t)a.v)};
}
NORMKERNELS_INLINE Vec<double> sqrt(Vec<double> a) {
  return {(Vec<double>::Native)vsqrtq_f64((float64x2_t)a.v)};
}

#else

template <class T>
NORMKERNELS_INLINE Vec<T> sqrt(Vec<T> a) {
  for (int i = 0; i < Vec<T>::kLanes; ++i) {
    a.v[i] = sizeof(T) == 4 ? static_cast<T>(__builtin_sqrtf(static_cast<float>(a.v[i])))
                            : static_cast<T>(__builtin_sqrt(a.v[i]));
  }
  return a;
}

#if NORMKERNELS_HAS_FMA
template <class T>
NORMKERNELS_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  for (int i = 0; i < Vec<T>::kLanes; ++i) {
    c.v[i] =
        sizeof(T) == 4
            ? static_cast<T>(__builtin_fmaf(static_cast<float>(a.v[i]), static_cast<float>(b.v[i]),
                                            static_cast<float>(c.v[i])))
            : static_cast<T>(__builtin_fma(a.v[i], b.v[i], c.v[i]));
  }
  return c;
}
#endif

#endif  // NORMKERNELS_SIMD_NEON

NORMKERNELS_INLINE void widen(Vec<float> a, Vec<double>& low, Vec<double>& high) {
  for (int i = 0; i < Vec<double>::kLanes; ++i) {
    low.v[i] = static_cast<double>(a.v[i]);
    high.v[i] = static_cast<double>(a.v[i + Vec<double>::kLanes]);
  }
}
template <class T>
NORMKERNELS_INLINE unsigned lanes_outside(Vec<T> a, Vec<T> least, Vec<T> most) {
  const Bits<T> inside = less(least, a) & less(a, most);
  unsigned outside = 0;
  for (int i = 0; i < Vec<T>::kLanes; ++i) outside |= (inside.v[i] == 0 ? 1u : 0u) << i;
  return outside;
}

NORMKERNELS_INLINE Vec<float> narrow(Vec<double> low, Vec<double> high) {
  Vec<float> r;
  for (int i = 0; i < Vec<double>::kLanes; ++i) {
    r.v[i] = static_cast<float>(low.v[i]);
    r.v[i + Vec<double>::kLanes] = static_cast<float>(high.v[i]);
  }
  return r;
}

NORMKERNELS_INLINE Vec<double> load_widened(const float* p, Full) {
  typedef float Half __attribute__((vector_size(NORMKERNELS_VECTOR_BYTES / 2)));
  Half half;
  memcpy(&half, p, sizeof(half));
  return {__builtin_convertvector(half, Vec<double>::Native)};
}
NORMKERNELS_INLINE Vec<double> load_widened(const float* p, int n) {
  Vec<double> low, high;
  widen(load(p, n), low, high);
  return low;
}

// Of every `Segment` lanes of a and b the low (high) halves, a's before b's.
template <int Segment>
NORMKERNELS_INLINE Vec<double> low_halves(Vec<double> a, Vec<double> b) {
  Vec<double> r;
  for (int i = 0; i < Vec<double>::kLanes; ++i) {
    r.v[i] = i % Segment < Segment / 2 ? a.v[i] : b.v[i - Segment / 2];
  }
  return r;
}
template <int Segment>
NORMKERNELS_INLINE Vec<double> high_halves(Vec<double> a, Vec<double> b) {
  Vec<double> r;
  for (int i = 0; i < Vec<double>::kLanes; ++i) {
    r.v[i] = i % Segment < Segment / 2 ? a.v[i + Segment / 2] : b.v[i];
  }
  return r;
}

// Quads: the 4 lanes of each 16 bytes of a vector. Quad i is at p + i * step; N of its lanes exist.
template <int N>
NORMKERNELS_INLINE Vec<float> load_quads(const float* p, int64_t step) {
  Vec<float> a = Vec<float>::zero();
  for (int i = 0; i < Vec<float>::kLanes; ++i) {
    if (i % 4 < N) a.v[i] = p[i / 4 * step + i % 4];
  }
  return a;
}
template <int N>
NORMKERNELS_INLINE void store_quads(float* p, int64_t step, Vec<float> a) {
  for (int i = 0; i < Vec<float>::kLanes; ++i) {
    if (i % 4 < N) p[i / 4 * step + i % 4] = a.v[i];
  }
}

// Lane j of each quad of vector k becomes lane k of the same quad of vector j.
NORMKERNELS_INLINE void transpose_quads(Vec<float> (&v)[4]) {
  const Vec<float> from[4] = {v[0], v[1], v[2], v[3]};
  for (int i = 0; i < Vec<float>::kLanes; ++i) {
    for (int k = 0; k < 4; ++k) v[i % 4].v[i / 4 * 4 + k] = from[k].v[i];
  }
}

NORMKERNELS_INLINE double fold(Vec<double> a) {
  for (int half = Vec<double>::kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) a.v[i] += a.v[i + half];
  }
  return a.v[0];
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SIMD_GENERIC_H_
