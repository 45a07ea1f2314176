// The primitives of simd.h with AVX-512: 16 float32 or 8 float64 lanes.
#ifndef NORMKERNELS_SIMD_AVX512_H_
#define NORMKERNELS_SIMD_AVX512_H_

#include "simd/touch.h"
#include "simd/vector.h"

namespace normkernels::NORMKERNELS_ISA {

NORMKERNELS_INLINE __mmask16 lanes16(int n) { return static_cast<__mmask16>((1u << n) - 1u); }
NORMKERNELS_INLINE __mmask8 lanes8(int n) { return static_cast<__mmask8>((1u << n) - 1u); }

NORMKERNELS_INLINE Vec<float> load(const float* p, int n) {
  touch<16>(p, n);
  return {_mm512_maskz_loadu_ps(lanes16(n), p)};
}
NORMKERNELS_INLINE Vec<double> load(const double* p, int n) {
  touch<8>(p, n);
  return {_mm512_maskz_loadu_pd(lanes8(n), p)};
}
NORMKERNELS_INLINE void store(float* p, Vec<float> a, int n) {
  touch<16>(p, n);
  _mm512_mask_storeu_ps(p, lanes16(n), a.v);
}
NORMKERNELS_INLINE void store(double* p, Vec<double> a, int n) {
  touch<8>(p, n);
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
  touch<8>(p, n);
  return {_mm512_cvtps_pd(_mm256_maskz_loadu_ps(lanes8(n), p))};
}
NORMKERNELS_INLINE Vec<float> narrow(Vec<double> low, Vec<double> high) {
  return {_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low.v)),
                             _mm512_cvtpd_ps(high.v), 1)};
}

// Bit i: not (least < a < most) in lane i, which is the case for NaN.
NORMKERNELS_INLINE unsigned lanes_outside(Vec<float> a, Vec<float> least, Vec<float> most) {
  const __mmask16 above = _mm512_cmp_ps_mask(least.v, a.v, _CMP_LT_OQ);
  return _mm512_mask_cmp_ps_mask(above, a.v, most.v, _CMP_LT_OQ) ^ 0xffffu;
}
NORMKERNELS_INLINE unsigned lanes_outside(Vec<double> a, Vec<double> least, Vec<double> most) {
  const __mmask8 above = _mm512_cmp_pd_mask(least.v, a.v, _CMP_LT_OQ);
  return _mm512_mask_cmp_pd_mask(above, a.v, most.v, _CMP_LT_OQ) ^ 0xffu;
}

template <int Segment>
NORMKERNELS_INLINE Vec<double> low_halves(Vec<double> a, Vec<double> b) {
  if constexpr (Segment == 2) return {_mm512_unpacklo_pd(a.v, b.v)};
  if constexpr (Segment == 8) return {_mm512_shuffle_f64x2(a.v, b.v, 0x44)};
  return {_mm512_permutex2var_pd(a.v, _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), b.v)};
}
template <int Segment>
NORMKERNELS_INLINE Vec<double> high_halves(Vec<double> a, Vec<double> b) {
  if constexpr (Segment == 2) return {_mm512_unpackhi_pd(a.v, b.v)};
  if constexpr (Segment == 8) return {_mm512_shuffle_f64x2(a.v, b.v, 0xee)};
  return {_mm512_permutex2var_pd(a.v, _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15), b.v)};
}

// Quads: the 4 lanes of each 16 bytes of a vector. Quad i is at p + i * step; N of its lanes exist.
template <int N>
NORMKERNELS_INLINE Vec<float> load_quads(const float* p, int64_t step) {
  __m512 v = _mm512_castps128_ps512(load_quad<N>(p));
  v = _mm512_mask_broadcast_f32x4(v, 0x00f0, load_quad<N>(p + step));
  v = _mm512_mask_broadcast_f32x4(v, 0x0f00, load_quad<N>(p + 2 * step));
  return {_mm512_mask_broadcast_f32x4(v, 0xf000, load_quad<N>(p + 3 * step))};
}
template <int N>
NORMKERNELS_INLINE void store_quads(float* p, int64_t step, Vec<float> a) {
  store_quad<N>(p, _mm512_castps512_ps128(a.v));
  store_quad<N>(p + step, _mm512_extractf32x4_ps(a.v, 1));
  store_quad<N>(p + 2 * step, _mm512_extractf32x4_ps(a.v, 2));
  store_quad<N>(p + 3 * step, _mm512_extractf32x4_ps(a.v, 3));
}

// Lane j of each quad of vector k becomes lane k of the same quad of vector j.
NORMKERNELS_INLINE void transpose_quads(Vec<float> (&v)[4]) {
  const __m512 a = _mm512_unpacklo_ps(v[0].v, v[1].v), b = _mm512_unpackhi_ps(v[0].v, v[1].v);
  const __m512 c = _mm512_unpacklo_ps(v[2].v, v[3].v), d = _mm512_unpackhi_ps(v[2].v, v[3].v);
  v[0].v = _mm512_shuffle_ps(a, c, 0x44);
  v[1].v = _mm512_shuffle_ps(a, c, 0xee);
  v[2].v = _mm512_shuffle_ps(b, d, 0x44);
  v[3].v = _mm512_shuffle_ps(b, d, 0xee);
}

// Lane i + lane i + half, until one is left.
NORMKERNELS_INLINE double fold(Vec<double> a) {
  const __m256d four = _mm512_castpd512_pd256(a.v) + _mm512_extractf64x4_pd(a.v, 1);
  const __m128d two = _mm256_castpd256_pd128(four) + _mm256_extractf128_pd(four, 1);
  return two[0] + two[1];
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SIMD_AVX512_H_
