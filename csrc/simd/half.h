// Half types: what arrays may be stored as. They are read as float32, and where they are written a
// float32 is rounded once, to the nearest, ties to even.
//
// Every instruction set gives the same bits, with conversions of its own or the integer code here.
// NaN stays NaN, with its sign and the digits that fit; denormal numbers are numbers, also while
// the processor flushes those of float32.
#ifndef NORMKERNELS_SIMD_HALF_H_
#define NORMKERNELS_SIMD_HALF_H_

#include "simd/simd.h"

namespace normkernels::NORMKERNELS_ISA {

// IEEE's binary16: 5 bits of exponent.
struct Float16 {
  static constexpr int kDigits = 11;
  uint16_t bits;
};
// The upper half of a float32: 8 bits of exponent.
struct Bfloat16 {
  static constexpr int kDigits = 8;
  uint16_t bits;
};

// N halves, and what is made of them.
template <int N>
struct HalfLanes {
  typedef uint16_t Halves __attribute__((vector_size(2 * N)));
  typedef uint32_t Words __attribute__((vector_size(4 * N)));
  typedef int32_t Masks __attribute__((vector_size(4 * N)));
  typedef float Floats __attribute__((vector_size(4 * N)));
};

// ---- Between widths -----------------------------------------------------------------
//
// For native vectors GCC 12 does not find these instructions by itself.

// Each with zeros in front of it.
template <int N>
NORMKERNELS_INLINE typename HalfLanes<N>::Words extended(typename HalfLanes<N>::Halves h) {
  using Words = typename HalfLanes<N>::Words;
#if NORMKERNELS_SIMD_X86
  if constexpr (N == 4) return (Words)_mm_cvtepu16_epi32(__m128i{bit_cast<long long>(h), 0});
  if constexpr (N == 8) return (Words)_mm256_cvtepu16_epi32((__m128i)h);
#endif
#if NORMKERNELS_SIMD_X86 == 64
  if constexpr (N == 16) return (Words)_mm512_cvtepu16_epi32((__m256i)h);
#endif
  return __builtin_convertvector(h, Words);
}

// Of words below 2^16.
template <int N>
NORMKERNELS_INLINE typename HalfLanes<N>::Halves shortened(typename HalfLanes<N>::Words w) {
  using Halves = typename HalfLanes<N>::Halves;
#if NORMKERNELS_SIMD_X86 == 64
  if constexpr (N == 16) return (Halves)_mm512_cvtepi32_epi16((__m512i)w);
#elif NORMKERNELS_SIMD_X86 == 32
  if constexpr (N == 8) {
    const __m256i words = (__m256i)w;
    return (Halves)_mm_packus_epi32(_mm256_castsi256_si128(words),
                                    _mm256_extracti128_si256(words, 1));
  }
#endif
  return __builtin_convertvector(w, Halves);
}

// ---- Conversion ---------------------------------------------------------------------

// mask ? yes : no, of lanes whose bits are all set or none.
template <class Words, class Masks>
NORMKERNELS_INLINE Words select_words(Masks mask, Words yes, Words no) {
#if NORMKERNELS_SIMD_X86 == 32
  if constexpr (sizeof(Words) == sizeof(__m256i))
    return (Words)_mm256_blendv_epi8((__m256i)no, (__m256i)yes, (__m256i)mask);
#endif
  const Words m = (Words)mask;
  return (m & yes) | (~m & no);
}

template <int N>
NORMKERNELS_INLINE typename HalfLanes<N>::Floats widen(typename HalfLanes<N>::Halves h, Bfloat16) {
  using Floats = typename HalfLanes<N>::Floats;
#if NORMKERNELS_SIMD_X86
  if constexpr (N == 4) {
    const __m128i all = {bit_cast<long long>(h), 0};
    return (Floats)_mm_unpacklo_epi16(_mm_setzero_si128(), all);
  }
#endif
  return (Floats)(extended<N>(h) << 16);
}

// Of numbers.
template <int N>
NORMKERNELS_INLINE typename HalfLanes<N>::Words rounded_bits(typename HalfLanes<N>::Floats a) {
  const auto bits = (typename HalfLanes<N>::Words)a;
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}
// Of any.
template <int N>
NORMKERNELS_INLINE typename HalfLanes<N>::Words narrow_words(typename HalfLanes<N>::Floats a) {
  const auto nan = ((typename HalfLanes<N>::Words)a >> 16) | 0x40;
  return select_words(a == a, rounded_bits<N>(a), nan);
}
template <int N>
NORMKERNELS_INLINE typename HalfLanes<N>::Halves narrow(typename HalfLanes<N>::Floats a, Bfloat16) {
  return shortened<N>(narrow_words<N>(a));
}

// Infinity and NaN have the largest exponent in both types. A denormal number is a whole number of
// 2^-24. Where this is needed it is a function of its own: it takes 30 instructions.
template <int N>
inline __attribute__((noinline)) typename HalfLanes<N>::Floats widen_bits(
    typename HalfLanes<N>::Halves h) {
  using Lanes = HalfLanes<N>;
  using Words = typename Lanes::Words;
  using Masks = typename Lanes::Masks;
  const Words bits = extended<N>(h), sign = (bits & 0x8000) << 16;
  const Words size = bits & 0x7fff, moved = size << 13;
  const Words special = moved | 0x7f800000, quiet = special | 0x400000;
  const Words denormal =
      (Words)(__builtin_convertvector((Masks)size, typename Lanes::Floats) * 0x1p-24f);
  Words r = moved + ((127 - 15) << 23);
  r = select_words((Masks)size < 0x400, denormal, r);
  r = select_words((Masks)size >= 0x7c00, special, r);
  r = select_words((Masks)size > 0x7c00, quiet, r);
  return (typename Lanes::Floats)(r | sign);
}

// Below 2^-14, where halves are whole numbers of 2^-24, adding 0.5 rounds there.
template <int N>
inline __attribute__((noinline)) typename HalfLanes<N>::Halves narrow_bits(
    typename HalfLanes<N>::Floats a) {
  using Lanes = HalfLanes<N>;
  using Words = typename Lanes::Words;
  using Masks = typename Lanes::Masks;
  constexpr int32_t kInfinity = 0x7f800000, kTooLarge = 0x47800000, kLeastNormal = 0x38800000;
  const Words bits = (Words)a, sign = (bits >> 16) & 0x8000, size = bits & 0x7fffffff;
  const Words nan = ((size >> 13) & 0x3ff) | 0x7e00;
  const Words denormal = (Words)((typename Lanes::Floats)size + 0.5f) - 0x3f000000;
  Words r = (size - ((127 - 15) << 23) + 0xfff + ((size >> 13) & 1)) >> 13;
  r = select_words((Masks)size < kLeastNormal, denormal, r);
  r = select_words((Masks)size >= kTooLarge, Words{} + 0x7c00, r);
  r = select_words((Masks)size > kInfinity, nan, r);
  return shortened<N>(r | sign);
}

template <int N>
NORMKERNELS_INLINE typename HalfLanes<N>::Floats widen(typename HalfLanes<N>::Halves h, Float16) {
  using Floats [[maybe_unused]] = typename HalfLanes<N>::Floats;
#if NORMKERNELS_SIMD_X86
  if constexpr (N == 4) return (Floats)_mm_cvtph_ps(__m128i{bit_cast<long long>(h), 0});
  if constexpr (N == 8) return (Floats)_mm256_cvtph_ps((__m128i)h);
#if NORMKERNELS_SIMD_X86 == 64
  if constexpr (N == 16) return (Floats)_mm512_cvtph_ps((__m256i)h);
#endif
#elif NORMKERNELS_SIMD_NEON
  if constexpr (N == 4) return (Floats)vcvt_f32_f16((float16x4_t)h);
#endif
  return widen_bits<N>(h);
}

template <int N>
NORMKERNELS_INLINE typename HalfLanes<N>::Halves narrow(typename HalfLanes<N>::Floats a, Float16) {
  using Halves [[maybe_unused]] = typename HalfLanes<N>::Halves;
#if NORMKERNELS_SIMD_X86 == 64
  if constexpr (N == 16) return (Halves)_mm512_cvtps_ph((__m512)a, _MM_FROUND_TO_NEAREST_INT);
#elif NORMKERNELS_SIMD_X86 == 32
  if constexpr (N == 8) return (Halves)_mm256_cvtps_ph((__m256)a, _MM_FROUND_TO_NEAREST_INT);
#elif NORMKERNELS_SIMD_NEON
  if constexpr (N == 4) return (Halves)vcvt_f16_f32((float32x4_t)a);
#endif
  return narrow_bits<N>(a);
}

// ---- Memory -------------------------------------------------------------------------

template <int N>
NORMKERNELS_INLINE typename HalfLanes<N>::Halves load_halves(const void* p) {
  typename HalfLanes<N>::Halves h;
  memcpy(&h, p, sizeof(h));
  return h;
}

// The first n < N, and zeros.
template <int N>
NORMKERNELS_INLINE typename HalfLanes<N>::Halves load_halves(const uint16_t* p, int n) {
#if NORMKERNELS_SIMD_X86 == 64
  touch<N>(p, n);
  if constexpr (N == 16)
    return bit_cast<typename HalfLanes<N>::Halves>(_mm256_maskz_loadu_epi16(lanes16(n), p));
  if constexpr (N == 8)
    return bit_cast<typename HalfLanes<N>::Halves>(_mm_maskz_loadu_epi16(lanes8(n), p));
#endif
  if constexpr (N == 2) {
    return typename HalfLanes<2>::Halves{n == 0 ? uint16_t{0} : p[0], 0};
  } else {
    constexpr int kHalf = N / 2;
    using Part = typename HalfLanes<kHalf>::Halves;
    const Part parts[2] = {n >= kHalf ? load_halves<kHalf>(p) : load_halves<kHalf>(p, n),
                           n > kHalf ? load_halves<kHalf>(p + kHalf, n - kHalf) : Part{}};
    return load_halves<N>(parts);
  }
}
template <int N>
NORMKERNELS_INLINE void store_halves(uint16_t* p, typename HalfLanes<N>::Halves h, int n) {
#if NORMKERNELS_SIMD_X86 == 64
  touch<N>(p, n);
  if constexpr (N == 16) return _mm256_mask_storeu_epi16(p, lanes16(n), bit_cast<__m256i>(h));
#endif
  if constexpr (N == 2) {
    if (n > 0) p[0] = h[0];
  } else {
    constexpr int kHalf = N / 2;
    typename HalfLanes<kHalf>::Halves parts[2];
    memcpy(parts, &h, sizeof(h));
    if (n < kHalf) return store_halves<kHalf>(p, parts[0], n);
    memcpy(p, &parts[0], sizeof(parts[0]));
    if (n > kHalf) store_halves<kHalf>(p + kHalf, parts[1], n - kHalf);
  }
}

template <class S>
NORMKERNELS_INLINE Vec<float> load_half(const S* p, Full) {
  constexpr int N = Vec<float>::kLanes;
  return {widen<N>(load_halves<N>(p), S{})};
}
template <class S>
NORMKERNELS_INLINE Vec<float> load_half(const S* p, int n) {
  constexpr int N = Vec<float>::kLanes;
  return {widen<N>(load_halves<N>(&p->bits, n), S{})};
}
template <class S>
NORMKERNELS_INLINE void store_half(S* p, Vec<float> a, Full) {
  const auto h = narrow<Vec<float>::kLanes>(a.v, S{});
  memcpy(p, &h, sizeof(h));
}
template <class S>
NORMKERNELS_INLINE void store_half(S* p, Vec<float> a, int n) {
  constexpr int N = Vec<float>::kLanes;
  store_halves<N>(&p->bits, narrow<N>(a.v, S{}), n);
}

// As many as a vector has float64.
template <class S, class Lanes, int = S::kDigits>
NORMKERNELS_INLINE Vec<double> load_widened(const S* p, Lanes lanes) {
  constexpr int N = Vec<double>::kLanes;
  typename HalfLanes<N>::Halves h;
  if constexpr (sizeof(Lanes) == sizeof(int)) {
    h = load_halves<N>(&p->bits, lanes);
  } else {
    h = load_halves<N>(p);
  }
  return {__builtin_convertvector(widen<N>(h, S{}), Vec<double>::Native)};
}

// Vectors of halves as they are.
NORMKERNELS_INLINE Vec<uint16_t> load(const uint16_t* p, int n) {
  return {load_halves<Vec<uint16_t>::kLanes>(p, n)};
}
NORMKERNELS_INLINE void store(uint16_t* p, Vec<uint16_t> a, int n) {
  store_halves<Vec<uint16_t>::kLanes>(p, a.v, n);
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SIMD_HALF_H_
