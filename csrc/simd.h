// The dozen operations on vectors that need an intrinsic, or have one in some instruction set.
//
// The only file that includes intrinsics headers. With NORMKERNELS_GENERIC_SIMD defined there are
// none at all: every primitive has a generic body, which is how the 16-lane kernels run on a
// machine without AVX-512, and how an unknown processor gets any.
#ifndef NORMKERNELS_SIMD_H_
#define NORMKERNELS_SIMD_H_

#include "vector.h"

#if defined(NORMKERNELS_GENERIC_SIMD)
#define NORMKERNELS_SIMD_X86 0
#elif defined(__AVX512F__) && NORMKERNELS_VECTOR_BYTES == 64
#define NORMKERNELS_SIMD_X86 64
#elif defined(__AVX2__) && NORMKERNELS_VECTOR_BYTES == 32
#define NORMKERNELS_SIMD_X86 32
#else
#define NORMKERNELS_SIMD_X86 0
#endif

#if !defined(NORMKERNELS_GENERIC_SIMD) && defined(__aarch64__)
#include <arm_neon.h>
#define NORMKERNELS_SIMD_NEON 1
#else
#define NORMKERNELS_SIMD_NEON 0
#endif

#if NORMKERNELS_SIMD_X86
#pragma GCC diagnostic push
#if !defined(__clang__)
// GCC 12's own headers start from undefined registers and are warned about (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#if defined(__FMA__) || defined(__aarch64__)
#define NORMKERNELS_HAS_FMA 1
#else
#define NORMKERNELS_HAS_FMA 0
#endif

namespace normkernels::NORMKERNELS_ISA {
namespace {

// ---- Loads and stores ---------------------------------------------------------------

template <class T>
NORMKERNELS_INLINE Vec<T> load(const T* p) {
  Vec<T> r;
  memcpy(&r.v, p, sizeof(r.v));
  return r;
}

template <class T>
NORMKERNELS_INLINE void store(T* p, Vec<T> a) {
  memcpy(p, &a.v, sizeof(a.v));
}

// How many lanes of a vector an operation is about: Full (known when compiling) or an int below
// kLanes (the tail of a row). Bodies and tails are thereby the same expression.
struct Full {};

template <class T>
NORMKERNELS_INLINE Vec<T> load(const T* p, Full) {
  return load(p);
}
template <class T>
NORMKERNELS_INLINE void store(T* p, Vec<T> a, Full) {
  store(p, a);
}
template <class T>
NORMKERNELS_INLINE Vec<T> first(Vec<T> a, Full) {
  return a;
}

#if NORMKERNELS_SIMD_X86 == 64

NORMKERNELS_INLINE __mmask16 lanes16(int n) { return static_cast<__mmask16>((1u << n) - 1u); }
NORMKERNELS_INLINE __mmask8 lanes8(int n) { return static_cast<__mmask8>((1u << n) - 1u); }

NORMKERNELS_INLINE Vec<float> load(const float* p, int n) {
  return {_mm512_maskz_loadu_ps(lanes16(n), p)};
}
NORMKERNELS_INLINE Vec<double> load(const double* p, int n) {
  return {_mm512_maskz_loadu_pd(lanes8(n), p)};
}
NORMKERNELS_INLINE void store(float* p, Vec<float> a, int n) {
  _mm512_mask_storeu_ps(p, lanes16(n), a.v);
}
NORMKERNELS_INLINE void store(double* p, Vec<double> a, int n) {
  _mm512_mask_storeu_pd(p, lanes8(n), a.v);
}
NORMKERNELS_INLINE Vec<float> first(Vec<float> a, int n) {
  return {_mm512_maskz_mov_ps(lanes16(n), a.v)};
}
NORMKERNELS_INLINE Vec<double> first(Vec<double> a, int n) {
  return {_mm512_maskz_mov_pd(lanes8(n), a.v)};
}

NORMKERNELS_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
NORMKERNELS_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return {_mm512_fmadd_pd(a.v, b.v, c.v)};
}
NORMKERNELS_INLINE Vec<float> sqrt(Vec<float> a) { return {_mm512_sqrt_ps(a.v)}; }
NORMKERNELS_INLINE Vec<double> sqrt(Vec<double> a) { return {_mm512_sqrt_pd(a.v)}; }

NORMKERNELS_INLINE void widen(Vec<float> a, Vec<double>& low, Vec<double>& high) {
  low.v = _mm512_cvtps_pd(_mm512_castps512_ps256(a.v));
  high.v = _mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1));
}
// Vec<double>::kLanes elements from p on, as float64.
NORMKERNELS_INLINE Vec<double> load_widened(const float* p, Full) {
  return {_mm512_cvtps_pd(_mm256_loadu_ps(p))};
}
NORMKERNELS_INLINE Vec<double> load_widened(const float* p, int n) {
  return {_mm512_cvtps_pd(_mm256_maskz_loadu_ps(lanes8(n), p))};
}
NORMKERNELS_INLINE Vec<float> narrow(Vec<double> low, Vec<double> high) {
  return {_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low.v)),
                             _mm512_cvtpd_ps(high.v), 1)};
}

NORMKERNELS_INLINE bool any(Bits<float> mask) {
  return _mm512_movepi32_mask(bit_cast<__m512i>(mask.v)) != 0;
}
NORMKERNELS_INLINE bool any(Bits<double> mask) {
  return _mm512_movepi64_mask(bit_cast<__m512i>(mask.v)) != 0;
}

// Lane i + lane i + half, until one is left.
NORMKERNELS_INLINE double fold(Vec<double> a) {
  const __m256d four = _mm512_castpd512_pd256(a.v) + _mm512_extractf64x4_pd(a.v, 1);
  const __m128d two = _mm256_castpd256_pd128(four) + _mm256_extractf128_pd(four, 1);
  return two[0] + two[1];
}

#elif NORMKERNELS_SIMD_X86 == 32

NORMKERNELS_INLINE __m256i lanes8(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
NORMKERNELS_INLINE __m256i lanes4(int n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}

NORMKERNELS_INLINE Vec<float> load(const float* p, int n) {
  return {_mm256_maskload_ps(p, lanes8(n))};
}
NORMKERNELS_INLINE Vec<double> load(const double* p, int n) {
  return {_mm256_maskload_pd(p, lanes4(n))};
}
NORMKERNELS_INLINE void store(float* p, Vec<float> a, int n) {
  _mm256_maskstore_ps(p, lanes8(n), a.v);
}
NORMKERNELS_INLINE void store(double* p, Vec<double> a, int n) {
  _mm256_maskstore_pd(p, lanes4(n), a.v);
}
NORMKERNELS_INLINE Vec<float> first(Vec<float> a, int n) {
  return {_mm256_and_ps(a.v, _mm256_castsi256_ps(lanes8(n)))};
}
NORMKERNELS_INLINE Vec<double> first(Vec<double> a, int n) {
  return {_mm256_and_pd(a.v, _mm256_castsi256_pd(lanes4(n)))};
}

NORMKERNELS_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}
NORMKERNELS_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return {_mm256_fmadd_pd(a.v, b.v, c.v)};
}
NORMKERNELS_INLINE Vec<float> sqrt(Vec<float> a) { return {_mm256_sqrt_ps(a.v)}; }
NORMKERNELS_INLINE Vec<double> sqrt(Vec<double> a) { return {_mm256_sqrt_pd(a.v)}; }

NORMKERNELS_INLINE void widen(Vec<float> a, Vec<double>& low, Vec<double>& high) {
  low.v = _mm256_cvtps_pd(_mm256_castps256_ps128(a.v));
  high.v = _mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1));
}
NORMKERNELS_INLINE Vec<double> load_widened(const float* p, Full) {
  return {_mm256_cvtps_pd(_mm_loadu_ps(p))};
}
NORMKERNELS_INLINE Vec<double> load_widened(const float* p, int n) {
  return {_mm256_cvtps_pd(_mm_maskload_ps(p, _mm256_castsi256_si128(lanes8(n))))};
}
NORMKERNELS_INLINE Vec<float> narrow(Vec<double> low, Vec<double> high) {
  return {_mm256_set_m128(_mm256_cvtpd_ps(high.v), _mm256_cvtpd_ps(low.v))};
}

NORMKERNELS_INLINE bool any(Bits<float> mask) {
  return _mm256_movemask_ps(bit_cast<__m256>(mask.v)) != 0;
}
NORMKERNELS_INLINE bool any(Bits<double> mask) {
  return _mm256_movemask_pd(bit_cast<__m256d>(mask.v)) != 0;
}

NORMKERNELS_INLINE double fold(Vec<double> a) {
  const __m128d two = _mm256_castpd256_pd128(a.v) + _mm256_extractf128_pd(a.v, 1);
  return two[0] + two[1];
}

#else  // any processor

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
// Whether a mask has a lane that is set.
template <class B>
NORMKERNELS_INLINE bool any(B mask) {
  for (int i = 1; i < B::kLanes; ++i) mask.v[0] |= mask.v[i];
  return mask.v[0] != 0;
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

NORMKERNELS_INLINE double fold(Vec<double> a) {
  for (int half = Vec<double>::kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) a.v[i] += a.v[i + half];
  }
  return a.v[0];
}

#endif

// `a` as V, which is double or Vec<double>.
template <class V>
NORMKERNELS_INLINE V splat(double a) {
  if constexpr (sizeof(V) == sizeof(double)) {
    return a;
  } else {
    return V::all(a);
  }
}

#if NORMKERNELS_HAS_FMA

NORMKERNELS_INLINE double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }

// a * b - product, exactly, where product is a * b rounded.
template <class V>
NORMKERNELS_INLINE V product_error(V a, V b, V product) {
  return fma(a, b, -product);
}

#else

// Veltkamp's halves of 26 digits, Dekker's product: a library call per element would take longer.
template <class V>
NORMKERNELS_INLINE V product_error(V a, V b, V product) {
  const auto high_half = [](V v) __attribute__((always_inline)) {
    const V shifted = v * splat<V>(0x1p27 + 1);
    return shifted - (shifted - v);
  };
  const V a_high = high_half(a), b_high = high_half(b);
  const V a_low = a - a_high, b_low = b - b_high;
  return a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low);
}

// Without the instruction, in twice the precision: a float32 product is exact in float64, and what
// a float64 product and sum lose is added at the end (NaN where it overflows, and not needed).
NORMKERNELS_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  Vec<double> a_low, a_high, b_low, b_high, c_low, c_high;
  widen(a, a_low, a_high);
  widen(b, b_low, b_high);
  widen(c, c_low, c_high);
  return narrow(a_low * b_low + c_low, a_high * b_high + c_high);
}
NORMKERNELS_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  const Vec<double> product = a * b, sum = product + c, part = sum - product;
  const Vec<double> lost = ((product - (sum - part)) + (c - part)) + product_error(a, b, product);
  return sum + select<double>(equal(lost, lost), lost, Vec<double>::zero());
}

#endif

// a * b + c where the product may be rounded as well: fma where that is an instruction.
template <class T>
NORMKERNELS_INLINE Vec<T> multiply_add(Vec<T> a, Vec<T> b, Vec<T> c) {
#if NORMKERNELS_HAS_FMA
  return fma(a, b, c);
#else
  return a * b + c;
#endif
}

template <class Lanes>
NORMKERNELS_INLINE Vec<double> load_widened(const double* p, Lanes lanes) {
  return load(p, lanes);
}

// Vec<double>::kLanes elements of type T from p on, each rounded.
NORMKERNELS_INLINE void store_rounded(float* p, Vec<double> a, int n) {
  store(p, narrow(a, Vec<double>::zero()), n);
}
NORMKERNELS_INLINE void store_rounded(double* p, Vec<double> a, int n) { store(p, a, n); }
template <class T>
NORMKERNELS_INLINE void store_rounded(T* p, Vec<double> a, Full) {
  store_rounded(p, a, Vec<double>::kLanes);
}

// Asks for the cache line of p, which may lie beyond the array.
NORMKERNELS_INLINE void prefetch(const void* p) { __builtin_prefetch(p); }

// One value at a time, for what is computed once per row.
NORMKERNELS_INLINE double sqrt(double a) { return __builtin_sqrt(a); }

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SIMD_H_
