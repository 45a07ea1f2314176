// The primitives of simd.h with AVX2 and FMA: 8 float32 or 4 float64 lanes.
#ifndef NORMKERNELS_SIMD_AVX2_H_
#define NORMKERNELS_SIMD_AVX2_H_

#include "simd/touch.h"
#include "simd/vector.h"

namespace normkernels::NORMKERNELS_ISA {

NORMKERNELS_INLINE __m256i lanes8(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
NORMKERNELS_INLINE __m256i lanes4(int n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}

NORMKERNELS_INLINE Vec<float> load(const float* p, int n) {
  touch<8>(p, n);
  return {_mm256_maskload_ps(p, lanes8(n))};
}
NORMKERNELS_INLINE Vec<double> load(const double* p, int n) {
  touch<4>(p, n);
  return {_mm256_maskload_pd(p, lanes4(n))};
}
NORMKERNELS_INLINE void store(float* p, Vec<float> a, int n) {
  touch<8>(p, n);
  _mm256_maskstore_ps(p, lanes8(n), a.v);
}
NORMKERNELS_INLINE void store(double* p, Vec<double> a, int n) {
  touch<4>(p, n);
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
  touch<4>(p, n);
  return {_mm256_cvtps_pd(_mm_maskload_ps(p, _mm256_castsi256_si128(lanes8(n))))};
}
NORMKERNELS_INLINE Vec<float> narrow(Vec<double> low, Vec<double> high) {
  return {_mm256_set_m128(_mm256_cvtpd_ps(high.v), _mm256_cvtpd_ps(low.v))};
}

NORMKERNELS_INLINE unsigned lanes_outside(Vec<float> a, Vec<float> least, Vec<float> most) {
  const Bits<float> inside = less(least, a) & less(a, most);
  return static_cast<unsigned>(_mm256_movemask_ps(bit_cast<__m256>(inside.v))) ^ 0xffu;
}
NORMKERNELS_INLINE unsigned lanes_outside(Vec<double> a, Vec<double> least, Vec<double> most) {
  const Bits<double> inside = less(least, a) & less(a, most);
  return static_cast<unsigned>(_mm256_movemask_pd(bit_cast<__m256d>(inside.v))) ^ 0xfu;
}

template <int Segment>
NORMKERNELS_INLINE Vec<double> low_halves(Vec<double> a, Vec<double> b) {
  if constexpr (Segment == 2) return {_mm256_unpacklo_pd(a.v, b.v)};
  return {_mm256_permute2f128_pd(a.v, b.v, 0x20)};
}
template <int Segment>
NORMKERNELS_INLINE Vec<double> high_halves(Vec<double> a, Vec<double> b) {
  if constexpr (Segment == 2) return {_mm256_unpackhi_pd(a.v, b.v)};
  return {_mm256_permute2f128_pd(a.v, b.v, 0x31)};
}

// Quads: the 4 lanes of each 16 bytes of a vector. Quad i is at p + i * step; N of its lanes exist.
template <int N>
NORMKERNELS_INLINE Vec<float> load_quads(const float* p, int64_t step) {
  return {_mm256_insertf128_ps(_mm256_castps128_ps256(load_quad<N>(p)), load_quad<N>(p + step), 1)};
}
template <int N>
NORMKERNELS_INLINE void store_quads(float* p, int64_t step, Vec<float> a) {
  store_quad<N>(p, _mm256_castps256_ps128(a.v));
  store_quad<N>(p + step, _mm256_extractf128_ps(a.v, 1));
}

// Lane j of each quad of vector k becomes lane k of the same quad of vector j.
NORMKERNELS_INLINE void transpose_quads(Vec<float> (&v)[4]) {
  const __m256 a = _mm256_unpacklo_ps(v[0].v, v[1].v), b = _mm256_unpackhi_ps(v[0].v, v[1].v);
  const __m256 c = _mm256_unpacklo_ps(v[2].v, v[3].v), d = _mm256_unpackhi_ps(v[2].v, v[3].v);
  v[0].v = _mm256_shuffle_ps(a, c, 0x44);
  v[1].v = _mm256_shuffle_ps(a, c, 0xee);
  v[2].v = _mm256_shuffle_ps(b, d, 0x44);
  v[3].v = _mm256_shuffle_ps(b, d, 0xee);
}

NORMKERNELS_INLINE double fold(Vec<double> a) {
  const __m128d two = _mm256_castpd256_pd128(a.v) + _mm256_extractf128_pd(a.v, 1);
  return two[0] + two[1];
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SIMD_AVX2_H_
