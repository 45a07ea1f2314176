// Numbers of twice the precision of the data, for what every element of a row depends on: float64
// for float32, and for float64 a pair, hi + lo, with 106 digits. Statistics are formed in them and
// rounded once, at the end.
//
// Pairs are Knuth's and Dekker's double-double; V is double, or Vec<double> for one pair per lane.
// Results are within a few 2^-104 of the terms' size. Infinity gives NaN.
#ifndef NORMKERNELS_SUMS_WIDE_H_
#define NORMKERNELS_SUMS_WIDE_H_

#include "simd/loops.h"

namespace normkernels::NORMKERNELS_ISA {

template <class V>
struct Pair {
  V hi, lo;
};

template <class T, class V>
struct WideOf;
template <class V>
struct WideOf<float, V> {
  using type = V;
};
template <class V>
struct WideOf<double, V> {
  using type = Pair<V>;
};
template <class T, class V>
using Wide = typename WideOf<T, V>::type;

// ---- Exact sums and products --------------------------------------------------------

// hi + lo is exactly a + b; hi is a + b rounded.
template <class V>
NORMKERNELS_INLINE Pair<V> two_sum(V a, V b) {
  const V sum = a + b;
  const V part = sum - a;
  return {sum, (a - (sum - part)) + (b - part)};
}

// The same for |a| >= |b|.
template <class V>
NORMKERNELS_INLINE Pair<V> fast_two_sum(V a, V b) {
  const V sum = a + b;
  return {sum, b - (sum - a)};
}

template <class V>
NORMKERNELS_INLINE Pair<V> two_product(V a, V b) {
  const V product = a * b;
  return {product, product_error(a, b, product)};
}

// sum + a, where `sum` is added to many times: lo gathers what the additions lose.
template <class V>
NORMKERNELS_INLINE V accumulated(V sum, V a) {
  return sum + a;
}
template <class V>
NORMKERNELS_INLINE Pair<V> accumulated(Pair<V> sum, V a) {
  const Pair<V> hi = two_sum(sum.hi, a);
  return {hi.hi, sum.lo + hi.lo};
}
template <class V>
NORMKERNELS_INLINE Pair<V> accumulated(Pair<V> sum, Pair<V> a) {
  const Pair<V> hi = two_sum(sum.hi, a.hi);
  return {hi.hi, sum.lo + (hi.lo + a.lo)};
}

// ---- Arithmetic ---------------------------------------------------------------------

template <class V>
NORMKERNELS_INLINE Pair<V> operator-(Pair<V> a) {
  return {-a.hi, -a.lo};
}
template <class V>
NORMKERNELS_INLINE Pair<V> operator+(Pair<V> a, Pair<V> b) {
  const Pair<V> hi = two_sum(a.hi, b.hi);
  return fast_two_sum(hi.hi, hi.lo + (a.lo + b.lo));
}
template <class V>
NORMKERNELS_INLINE Pair<V> operator+(Pair<V> a, V b) {
  const Pair<V> hi = two_sum(a.hi, b);
  return fast_two_sum(hi.hi, hi.lo + a.lo);
}
template <class V>
NORMKERNELS_INLINE Pair<V> operator-(Pair<V> a, Pair<V> b) {
  return a + -b;
}
template <class V>
NORMKERNELS_INLINE Pair<V> operator*(Pair<V> a, Pair<V> b) {
  const Pair<V> hi = two_product(a.hi, b.hi);
  return fast_two_sum(hi.hi, hi.lo + (a.hi * b.lo + a.lo * b.hi));
}
template <class V>
NORMKERNELS_INLINE Pair<V> operator*(Pair<V> a, V b) {
  const Pair<V> hi = two_product(a.hi, b);
  return fast_two_sum(hi.hi, hi.lo + a.lo * b);
}
// The quotient of the leading parts, then that of what is left: a - quotient * b.
template <class V>
NORMKERNELS_INLINE Pair<V> operator/(Pair<V> a, Pair<V> b) {
  const V quotient = a.hi / b.hi;
  const Pair<V> product = two_product(quotient, b.hi);
  const V left = ((a.hi - product.hi) - product.lo) + (a.lo - quotient * b.lo);
  return fast_two_sum(quotient, left / b.hi);
}
template <class V>
NORMKERNELS_INLINE Pair<V> operator/(Pair<V> a, V b) {
  const V quotient = a.hi / b;
  const Pair<V> product = two_product(quotient, b);
  const V left = ((a.hi - product.hi) - product.lo) + a.lo;
  return fast_two_sum(quotient, left / b);
}

// The root of hi, and half of what is left of a, over it.
NORMKERNELS_INLINE Pair<Vec<double>> sqrt(Pair<Vec<double>> a) {
  using V = Vec<double>;
  const V root = sqrt(a.hi), zero = V::zero();
  const Pair<V> square = two_product(root, root);
  const V rest = ((a.hi - square.hi) - square.lo + a.lo) / (V::all(2) * root);
  return fast_two_sum(root, select<double>(equal(root, zero), zero, rest));
}

// ---- Between precisions -------------------------------------------------------------

template <class T, class V>
NORMKERNELS_INLINE Wide<T, V> widened(V a) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return a;
  } else {
    return {a, splat<V>(0)};
  }
}
template <class T, class V>
NORMKERNELS_INLINE Wide<T, V> widened(Pair<V> a) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return a.hi + a.lo;
  } else {
    return a;
  }
}

// To float64: of a pair that arithmetic has left, hi.
template <class V>
NORMKERNELS_INLINE V rounded(V a) {
  return a;
}
template <class V>
NORMKERNELS_INLINE V rounded(Pair<V> a) {
  return a.hi;
}

// ---- Across lanes -------------------------------------------------------------------

template <int Segment>
NORMKERNELS_INLINE Pair<Vec<double>> low_halves(Pair<Vec<double>> a, Pair<Vec<double>> b) {
  return {low_halves<Segment>(a.hi, b.hi), low_halves<Segment>(a.lo, b.lo)};
}
template <int Segment>
NORMKERNELS_INLINE Pair<Vec<double>> high_halves(Pair<Vec<double>> a, Pair<Vec<double>> b) {
  return {high_halves<Segment>(a.hi, b.hi), high_halves<Segment>(a.lo, b.lo)};
}

// Folds as many rows as a vector has lanes: lane i of the result is fold(row[i]), bit for bit.
template <int Segment = Vec<double>::kLanes, class V>
NORMKERNELS_INLINE V fold_rows(const V* row) {
  if constexpr (Segment == 1) {
    return row[0];
  } else {
    V half[Segment / 2];
    unroll<Segment / 2>([&](auto k) __attribute__((always_inline)) {
      constexpr int i = decltype(k)::value;
      const V a = row[i], b = row[i + Segment / 2];
      half[i] = low_halves<Segment>(a, b) + high_halves<Segment>(a, b);
    });
    return fold_rows<Segment / 2>(half);
  }
}

// Lane i + lane i + half, until one is left.
NORMKERNELS_INLINE Pair<double> fold(Pair<Vec<double>> a) {
  Pair<double> lane[Vec<double>::kLanes];
  for (int i = 0; i < Vec<double>::kLanes; ++i) lane[i] = {a.hi.v[i], a.lo.v[i]};
  for (int half = Vec<double>::kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lane[i] = lane[i] + lane[i + half];
  }
  return lane[0];
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SUMS_WIDE_H_
