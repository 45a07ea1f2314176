// The exponent range of float32 and float64, and powers of two within it.
#ifndef NORMKERNELS_SIMD_RANGE_H_
#define NORMKERNELS_SIMD_RANGE_H_

#include "simd/simd.h"

namespace normkernels::NORMKERNELS_ISA {

template <class T>
struct Range;
template <>
struct Range<float> {
  static constexpr int kBias = 127, kDigits = 24;
  static constexpr double kMax = 0x1.fffffep127, kUnit = 0x1p-24;
};
template <>
struct Range<double> {
  static constexpr int kBias = 1023, kDigits = 53;
  static constexpr double kMax = 0x1.fffffffffffffp1023, kUnit = 0x1p-53;
};

// 2^exponent for the exponents of normal numbers, and the nearest of these for others.
template <class T>
NORMKERNELS_INLINE T power_of_two(int exponent) {
  using Int = typename BitsOf<T>::type;
  const int least = 1 - Range<T>::kBias, most = Range<T>::kBias;
  const int e = exponent < least ? least : exponent > most ? most : exponent;
  return bit_cast<T>(
      static_cast<Int>(static_cast<Int>(e + Range<T>::kBias) << (Range<T>::kDigits - 1)));
}

// floor(log2(a)) for normal a > 0, the least exponent for smaller ones.
NORMKERNELS_INLINE int exponent_of(double a) {
  return static_cast<int>(bit_cast<int64_t>(a) >> 52) - Range<double>::kBias;
}

NORMKERNELS_INLINE bool is_infinite(double a) { return a == a && a - a != 0; }
NORMKERNELS_INLINE Bits<double> is_finite(Vec<double> a) {
  return equal(a - a, Vec<double>::zero());
}

// a, or the nearest finite T.
template <class T>
NORMKERNELS_INLINE Vec<double> clamped(Vec<double> a) {
  const Vec<double> most = Vec<double>::all(Range<T>::kMax);
  a = select<double>(less(most, a), most, a);
  return select<double>(less(a, -most), -most, a);
}

// A power of two that brings the largest of n elements, `stride` apart, to about 1.
template <class T>
double scale_for(const T* x, int64_t n, int64_t stride) {
  double most = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double a = __builtin_fabs(static_cast<double>(x[i * stride]));
    most = a > most ? a : most;
  }
  return static_cast<double>(power_of_two<T>(-exponent_of(most)));
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SIMD_RANGE_H_
