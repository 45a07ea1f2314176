// The dozen operations on vectors that need an intrinsic, or have one in some instruction set:
// avx512.h, avx2.h and generic.h have the same ones.
//
// The only file that includes intrinsics headers. With NORMKERNELS_GENERIC_SIMD defined there are
// none at all, which is how the 16-lane kernels run on a machine without AVX-512, and how an
// unknown processor gets any.
#ifndef NORMKERNELS_SIMD_SIMD_H_
#define NORMKERNELS_SIMD_SIMD_H_

#include "simd/touch.h"
#include "simd/vector.h"

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

// __FP_FAST_FMA is what GCC has for all processors, s390x and POWER among them, and Clang for few.
#if defined(__FMA__) || defined(__aarch64__) || defined(__FP_FAST_FMA)
#define NORMKERNELS_HAS_FMA 1
#else
#define NORMKERNELS_HAS_FMA 0
#endif

namespace normkernels::NORMKERNELS_ISA {

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

#if NORMKERNELS_SIMD_X86
// N of 4 elements by ordinary loads and stores: a masked store takes AMD's processors 12 cycles.
template <int N>
NORMKERNELS_INLINE __m128 load_quad(const float* p) {
  if constexpr (N == 4) return _mm_loadu_ps(p);
  if constexpr (N == 1) return _mm_load_ss(p);
  double low;
  memcpy(&low, p, sizeof(low));
  const __m128 two = _mm_castpd_ps(_mm_set_sd(low));
  if constexpr (N == 2) return two;
  return _mm_movelh_ps(two, _mm_load_ss(p + 2));
}
template <int N>
NORMKERNELS_INLINE void store_quad(float* p, __m128 a) {
  if constexpr (N == 4) return _mm_storeu_ps(p, a);
  if constexpr (N == 1) return _mm_store_ss(p, a);
  touch<2>(p);
  _mm_storel_pi(reinterpret_cast<__m64*>(p), a);
  if constexpr (N == 3) _mm_store_ss(p + 2, _mm_movehl_ps(a, a));
}
#endif

}  // namespace normkernels::NORMKERNELS_ISA

#if NORMKERNELS_SIMD_X86 == 64
#include "simd/avx512.h"
#elif NORMKERNELS_SIMD_X86 == 32
#include "simd/avx2.h"
#else
#include "simd/generic.h"
#endif

namespace normkernels::NORMKERNELS_ISA {

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
inline __attribute__((noinline)) Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  Vec<double> a_low, a_high, b_low, b_high, c_low, c_high;
  widen(a, a_low, a_high);
  widen(b, b_low, b_high);
  widen(c, c_low, c_high);
  return narrow(a_low * b_low + c_low, a_high * b_high + c_high);
}
inline __attribute__((noinline)) Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
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

// As many float32 as a vector has float64.
typedef float HalfVector __attribute__((vector_size(NORMKERNELS_VECTOR_BYTES / 2)));

// Rounded to a T.
template <class T>
NORMKERNELS_INLINE Vec<double> rounded_to(Vec<double> a) {
  if constexpr (sizeof(T) == sizeof(double)) return a;
  const HalfVector rounded = __builtin_convertvector(a.v, HalfVector);
  return {__builtin_convertvector(rounded, Vec<double>::Native)};
}

// Vec<double>::kLanes elements of type T from p on, each rounded.
template <class Lanes>
NORMKERNELS_INLINE void store_rounded(double* p, Vec<double> a, Lanes lanes) {
  store(p, a, lanes);
}
NORMKERNELS_INLINE void store_rounded(float* p, Vec<double> a, Full) {
  const HalfVector rounded = __builtin_convertvector(a.v, HalfVector);
  memcpy(p, &rounded, sizeof(rounded));
}
NORMKERNELS_INLINE void store_rounded(float* p, Vec<double> a, int n) {
  store(p, narrow(a, Vec<double>::zero()), n);
}

// Past the caches; p must be aligned to a vector.
template <class T>
NORMKERNELS_INLINE void stream(T* p, Vec<T> a) {
  touch<Vec<T>::kLanes>(p);
#if NORMKERNELS_SIMD_X86 == 64
  _mm512_stream_si512(reinterpret_cast<__m512i*>(p), bit_cast<__m512i>(a.v));
#elif NORMKERNELS_SIMD_X86 == 32
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), bit_cast<__m256i>(a.v));
#else
  store(p, a);
#endif
}

// How whole vectors are stored, where loops are compiled for several ways.
struct Cached {
  static constexpr bool kMustBeAligned = false;
  static constexpr bool kAligns = false;
};
// Where they begin is the loop's choice: at the output's own borders.
struct CachedAligned : Cached {
  static constexpr bool kAligns = true;
};
struct Streamed {
  static constexpr bool kMustBeAligned = true;
  static constexpr bool kAligns = true;
};

template <class Store, class T>
NORMKERNELS_INLINE void store(Store, T* p, Vec<T> a, int n) {
  store(p, a, n);
}
template <class T>
NORMKERNELS_INLINE void store(Cached, T* p, Vec<T> a, Full) {
  store(p, a);
}
template <class T>
NORMKERNELS_INLINE void store(Streamed, T* p, Vec<T> a, Full) {
  stream(p, a);
}

// After the last streamed store of a task, so that others see them in order.
NORMKERNELS_INLINE void stream_fence() {
#if NORMKERNELS_SIMD_X86
  _mm_sfence();
#endif
}

constexpr int kLineBytes = 64;

NORMKERNELS_INLINE size_t whole_lines(size_t bytes) {
  return (bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
}

// How many elements before it is needed memory is asked for: half a page, since the processor's own
// prefetcher stops at the end of one.
template <class T>
constexpr int64_t kLead = 2048 / sizeof(T);
// The same of memory that will be written. Asked for as early, it holds up what is read: with both
// leads as they are, data that comes from memory takes 0.78 to 0.94 of the time forward, and
// backward planes of 28 x 28 and 56 x 56 0.9, from L3 as well (Zen 4).
template <class T>
constexpr int64_t kWriteLead = 256 / sizeof(T);

// Asks for the cache line of p, which may lie beyond the array.
NORMKERNELS_INLINE void prefetch(const void* p) { __builtin_prefetch(p); }
// The same for each line of kElements from p on, a line at least.
template <int kElements, class T>
NORMKERNELS_INLINE void prefetch_lines(const T* p) {
  constexpr int kLine = kLineBytes / sizeof(T);
#pragma GCC unroll 8
  for (int k = 0; k < kElements; k += kLine) prefetch(p + k);
}
NORMKERNELS_INLINE void prefetch_to_l2(const void* p) { __builtin_prefetch(p, 0, 2); }
template <int kElements, class T>
NORMKERNELS_INLINE void prefetch_lines_to_l2(const T* p) {
  constexpr int kLine = kLineBytes / sizeof(T);
#pragma GCC unroll 8
  for (int k = 0; k < kElements; k += kLine) prefetch_to_l2(p + k);
}
// The same for a line that will be written.
NORMKERNELS_INLINE void prefetch_to_write(const void* p) { __builtin_prefetch(p, 1); }

template <int kElements, class T>
NORMKERNELS_INLINE void prefetch_lines_to_write(const T* p) {
  constexpr int kLine = kLineBytes / sizeof(T);
#pragma GCC unroll 8
  for (int k = 0; k < kElements; k += kLine) prefetch_to_write(p + k);
}

// One value at a time, for what is computed once per row.
NORMKERNELS_INLINE double sqrt(double a) { return __builtin_sqrt(a); }

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SIMD_SIMD_H_
