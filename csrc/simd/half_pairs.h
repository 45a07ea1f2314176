// Two vectors of float32, which are one of halves: how they are taken apart and put together.
#ifndef NORMKERNELS_SIMD_HALF_PAIRS_H_
#define NORMKERNELS_SIMD_HALF_PAIRS_H_

#include "simd/half.h"

namespace normkernels::NORMKERNELS_ISA {

// Their order is that of `packed`: the elements', or, of bfloat16 in AVX2, whose instructions do
// not cross its 128-bit halves, that of these.
struct TwoVectors {
  Vec<float> first, second;
};
template <class S>
constexpr bool kPacksByHalves = NORMKERNELS_SIMD_X86 == 32 && S::kDigits == 8;

template <class S>
NORMKERNELS_INLINE TwoVectors widen_two(Vec<uint16_t> h) {
#if NORMKERNELS_SIMD_X86 == 32
  const __m256i all = (__m256i)h.v;
  if constexpr (kPacksByHalves<S>) {
    const __m256i zero = _mm256_setzero_si256();
    return {{(__m256)_mm256_unpacklo_epi16(zero, all)}, {(__m256)_mm256_unpackhi_epi16(zero, all)}};
  }
#endif
  constexpr int N = Vec<float>::kLanes;
  typename HalfLanes<N>::Halves part[2];
  memcpy(part, &h, sizeof(h));
  return {{widen<N>(part[0], S{})}, {widen<N>(part[1], S{})}};
}
// From memory.
template <class S>
NORMKERNELS_INLINE TwoVectors load_two(const S* p) {
  if constexpr (kPacksByHalves<S>) return widen_two<S>(load(&p->bits));
  return {load_half(p, Full{}), load_half(p + Vec<float>::kLanes, Full{})};
}
// Of float32, in that order.
template <class S>
NORMKERNELS_INLINE TwoVectors load_two_of(const float* p) {
  const Vec<float> a = load(p), b = load(p + Vec<float>::kLanes);
#if NORMKERNELS_SIMD_X86 == 32
  if constexpr (kPacksByHalves<S>)
    return {{_mm256_permute2f128_ps(a.v, b.v, 0x20)}, {_mm256_permute2f128_ps(a.v, b.v, 0x31)}};
#endif
  return {a, b};
}

// Made in registers: from memory, as memcpy has it, GCC 12 loads what it has just stored by parts.
template <class S>
NORMKERNELS_INLINE Vec<uint16_t> packed(const TwoVectors& a) {
  using Native [[maybe_unused]] = Vec<uint16_t>::Native;
  constexpr int N = Vec<float>::kLanes;
#if NORMKERNELS_SIMD_X86 == 32
  // What NaN needs only where there is one.
  if constexpr (kPacksByHalves<S>) {
    const bool numbers =
        _mm256_movemask_ps(_mm256_cmp_ps(a.first.v, a.second.v, _CMP_UNORD_Q)) == 0;
    if (__builtin_expect(numbers, 1)) {
      return {(Native)_mm256_packus_epi32((__m256i)rounded_bits<N>(a.first.v),
                                          (__m256i)rounded_bits<N>(a.second.v))};
    }
    return {(Native)_mm256_packus_epi32((__m256i)narrow_words<N>(a.first.v),
                                        (__m256i)narrow_words<N>(a.second.v))};
  }
#endif
#if NORMKERNELS_SIMD_X86 == 64
  // By the upper halves of both: 1000 x 1000 is 1.16 times as fast as by words, NHWC images of 256
  // x 256 x 64 1.36 times (Zen 4).
  if constexpr (S::kDigits == 8) {
    const bool numbers = _mm512_cmp_ps_mask(a.first.v, a.second.v, _CMP_UNORD_Q) == 0;
    if (__builtin_expect(numbers, 1)) {
      const auto rounded = [](Vec<float> v) __attribute__((always_inline)) {
        const __m512i bits = (__m512i)v.v, up = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
        const __mmask16 odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x10000));
        return _mm512_mask_add_epi32(up, odd, up, _mm512_set1_epi32(1));
      };
      const auto upper =
          HalfLanes<32>::Halves{1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
      return {
          (Native)_mm512_permutex2var_epi16(rounded(a.first), (__m512i)upper, rounded(a.second))};
    }
  }
#endif
  const auto low = narrow<N>(a.first.v, S{}), high = narrow<N>(a.second.v, S{});
#if NORMKERNELS_SIMD_X86 == 32
  return {(Native)_mm256_set_m128i((__m128i)high, (__m128i)low)};
#elif NORMKERNELS_SIMD_X86 == 64
  return {(Native)_mm512_inserti64x4(_mm512_castsi256_si512((__m256i)low), (__m256i)high, 1)};
#else
  const typename HalfLanes<N>::Halves both[2] = {low, high};
  Vec<uint16_t> r;
  memcpy(&r, both, sizeof(r));
  return r;
#endif
}
// The same of two that are in the order of the elements.
template <class S>
NORMKERNELS_INLINE Vec<uint16_t> halves_of(Vec<float> a, Vec<float> b) {
  const Vec<uint16_t> h = packed<S>({a, b});
#if NORMKERNELS_SIMD_X86 == 32
  if constexpr (kPacksByHalves<S>)
    return {(Vec<uint16_t>::Native)_mm256_permute4x64_epi64((__m256i)h.v, 0xd8)};
#endif
  return h;
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SIMD_HALF_PAIRS_H_
