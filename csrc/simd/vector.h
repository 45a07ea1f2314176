// Vectors of the machine's native width. Compiled once per instruction set with
//
// - NORMKERNELS_ISA: the namespace, e.g. avx2.
// - NORMKERNELS_VECTOR_BYTES: 16, 32 or 64, the width of a register. Wider vectors would be split
//   and go through the stack.
//
// Arithmetic is the compiler's own (GNU vectors): operators on Vec<T> mean the operation on every
// lane. All of it sits in an anonymous namespace: code compiled for one instruction set must never
// be merged with another's.
#ifndef NORMKERNELS_SIMD_VECTOR_H_
#define NORMKERNELS_SIMD_VECTOR_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define NORMKERNELS_INLINE inline __attribute__((always_inline))

namespace normkernels::NORMKERNELS_ISA {

template <class T>
struct Vec {
  typedef T Native __attribute__((vector_size(NORMKERNELS_VECTOR_BYTES)));
  static constexpr int kLanes = NORMKERNELS_VECTOR_BYTES / static_cast<int>(sizeof(T));

  Native v;

  // s - 0 and not 0 + s: keeps the sign of a negative zero.
  static NORMKERNELS_INLINE Vec all(T s) { return {s - Native{}}; }
  static NORMKERNELS_INLINE Vec zero() { return {Native{}}; }

  friend NORMKERNELS_INLINE Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  friend NORMKERNELS_INLINE Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
  friend NORMKERNELS_INLINE Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  friend NORMKERNELS_INLINE Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
  friend NORMKERNELS_INLINE Vec operator&(Vec a, Vec b) { return {a.v & b.v}; }
  friend NORMKERNELS_INLINE Vec operator|(Vec a, Vec b) { return {a.v | b.v}; }
  friend NORMKERNELS_INLINE Vec operator-(Vec a) { return {-a.v}; }
  friend NORMKERNELS_INLINE Vec operator<<(Vec a, int n) { return {a.v << n}; }
  friend NORMKERNELS_INLINE Vec operator>>(Vec a, int n) { return {a.v >> n}; }
};

// The integers of T's size, which comparisons and bit patterns are made of.
template <class T>
struct BitsOf;
template <>
struct BitsOf<float> {
  using type = int32_t;
};
template <>
struct BitsOf<double> {
  using type = int64_t;
};
template <class T>
using Bits = Vec<typename BitsOf<T>::type>;

template <class To, class From>
NORMKERNELS_INLINE To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast between sizes");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

// Lanes: all bits set where it holds, none where not (NaN compares false).
template <class T>
NORMKERNELS_INLINE Bits<T> less(Vec<T> a, Vec<T> b) {
  return {bit_cast<typename Bits<T>::Native>(a.v < b.v)};
}

template <class T>
NORMKERNELS_INLINE Bits<T> equal(Vec<T> a, Vec<T> b) {
  return {bit_cast<typename Bits<T>::Native>(a.v == b.v)};
}

template <class T>
NORMKERNELS_INLINE Vec<T> select(Bits<T> mask, Vec<T> yes, Vec<T> no) {
  const auto m = mask.v;
  const auto y = bit_cast<typename Bits<T>::Native>(yes.v);
  const auto n = bit_cast<typename Bits<T>::Native>(no.v);
  return {bit_cast<typename Vec<T>::Native>((m & y) | (~m & n))};
}

template <class T>
NORMKERNELS_INLINE Vec<T> absolute(Vec<T> a) {
  using Int = typename BitsOf<T>::type;
  constexpr Int kSign = Int{1} << (8 * sizeof(Int) - 2);  // twice: shifting into the sign overflows
  return bit_cast<Vec<T>>(bit_cast<Bits<T>>(a) & Bits<T>::all((kSign - 1) + kSign));
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SIMD_VECTOR_H_
