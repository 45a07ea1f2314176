// Mean and sum of squared deviations, in twice the precision of the data and in one sweep.
//
// With d = x - pivot, where the pivot is one of the elements x:
//
//   mean = pivot + sum(d) / n        m2 = sum (x - mean)^2 = sum(d^2) - sum(d)^2 / n
//
// The subtraction cancels, but the pivot bounds by how much: (mean - pivot)^2 is one of the n terms
// of m2, so sum(d)^2 / n <= n m2. With n <= kChunk = 2^12 elements about one pivot and 2^6
// additions in a row, m2 keeps 53 - 12 - 6 digits of float64: more than enough for float32. For
// float64 data it is the same with the 106 digits of a pair. The mean is always kept as a pair,
// because a deviation may be far smaller than the last digit of a rounded mean.
//
// The order of the additions is that of reduce.h: 64 lanes, lane = index mod 64, folded by halves;
// chunks merged in index order.
#ifndef NORMKERNELS_MOMENTS_H_
#define NORMKERNELS_MOMENTS_H_

#include "reduce.h"
#include "wide.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// Of `count` elements. V is double for a row, Vec<double> for one column per lane.
template <class T, class V>
struct Moments {
  double count;
  Pair<V> mean;
  Wide<T, V> m2;
};

// Sums of d and d^2.
template <class T, class V>
struct CentredSums {
  Wide<T, V> d, squares;

  NORMKERNELS_INLINE void add(V x, V pivot) {
    if constexpr (sizeof(T) == sizeof(float)) {
      const V difference = x - pivot;
      d = d + difference;
      squares = multiply_add(difference, difference, squares);
    } else {
      const Pair<V> difference = two_sum(x, -pivot);
      Pair<V> square = two_product(difference.hi, difference.hi);
      square.lo = square.lo + splat<V>(2) * difference.hi * difference.lo;
      d = accumulated(d, difference);
      squares = accumulated(squares, square);
    }
  }

  NORMKERNELS_INLINE Moments<T, V> about(V pivot, double count) const {
    const V n = splat<V>(count);
    const Wide<T, V> shift = d / n;
    return {count, Pair<V>{pivot, splat<V>(0)} + shift, squares + -(d * shift)};
  }
};

// Chan, Golub and LeVeque's merge. NaN stays NaN.
template <class T, class V>
NORMKERNELS_INLINE Moments<T, V> merge(const Moments<T, V>& a, const Moments<T, V>& b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  const double count = a.count + b.count;
  const Wide<T, V> delta = widened<T>(b.mean - a.mean);
  const Wide<T, V> share = widened<T>(splat<V>(b.count)) / splat<V>(count);
  return {count, a.mean + delta * share,
          (a.m2 + b.m2) + delta * delta * (share * splat<V>(a.count))};
}

// Whether sums of squares of T can leave float64's range: then a row is multiplied by a power of
// two, `scale`, which is exact.
template <class T>
constexpr bool kNeedsScale = sizeof(T) == sizeof(double);

template <class T, class Lanes>
NORMKERNELS_INLINE Vec<double> load_scaled(const T* p, Vec<double> scale, Lanes lanes) {
  const Vec<double> x = load_widened(p, lanes);
  if constexpr (kNeedsScale<T>) return x * scale;
  return x;
}

// Sums about x[0] over scale * x[0..n), n <= kLanes, or n <= kChunk where kLanes is kSumLanes; but
// for the fold of the last lanes, which serves several rows at a time. Lanes from kLanes on would
// be zeros, which change no bit of what they are added to.
template <class T, int kLanes, class Beside>
__attribute__((noinline)) CentredSums<T, Vec<double>> chunk_sums(const T* x, int64_t n,
                                                                 double scale, double pivot_value,
                                                                 const Beside& beside) {
  using Sums = CentredSums<T, Vec<double>>;
  constexpr int W = Vec<double>::kLanes, kVectors = kLanes / W;
  // As many as 16 or, with AVX-512, 32 registers hold.
  constexpr int kSumRegisters = NORMKERNELS_VECTOR_BYTES == 64 ? 16 : 8;
  constexpr int kFitting = kSumRegisters / static_cast<int>(sizeof(Sums) / sizeof(Vec<double>));
  constexpr int kTogether = kVectors < kFitting ? kVectors : kFitting;

  const Vec<double> pivot = Vec<double>::all(pivot_value), s = Vec<double>::all(scale);
  const Beside meanwhile = beside;  // in registers, which a store cannot have changed
  Wide<T, Vec<double>> d[kVectors], squares[kVectors];
  unroll<kVectors / kTogether>([&](auto group) __attribute__((always_inline)) {
    constexpr int kFirst = decltype(group)::value * kTogether;
    Sums sums[kTogether] = {};
    sweep_lanes<W, kFirst>(
        0, n, meanwhile,
        sums, [=](Sums & to, int64_t i, auto lanes) __attribute__((always_inline)) {
          to.add(load_scaled(x + i, s, lanes), first(pivot, lanes));
        });
    unroll<kTogether>([&](auto j) __attribute__((always_inline)) {
      constexpr int k = decltype(j)::value;
      d[kFirst + k] = sums[k].d;
      squares[kFirst + k] = sums[k].squares;
    });
  });
  return {sum_by_halves(d), sum_by_halves(squares)};
}

template <class T>
NORMKERNELS_INLINE double scaled(T x, double scale) {
  return kNeedsScale<T> ? static_cast<double>(x) * scale : static_cast<double>(x);
}

// The moments of scale * x[0..n), n <= kChunk.
template <class T, class Beside>
NORMKERNELS_INLINE Moments<T, double> chunk_moments(const T* x, int64_t n, double scale,
                                                    const Beside& beside) {
  const double pivot = scaled(x[0], scale);
  const CentredSums<T, Vec<double>> sums = chunk_sums<T, kSumLanes>(x, n, scale, pivot, beside);
  const CentredSums<T, double> all = {fold(sums.d), fold(sums.squares)};
  return all.about(pivot, static_cast<double>(n));
}

// Moments of the chunks that begin in [begin, end), merged in index order.
template <class T, class Beside>
NORMKERNELS_INLINE Moments<T, double> range_moments(const T* x, int64_t begin, int64_t end,
                                                    double scale, const Beside& beside) {
  Moments<T, double> all = {};
  for (int64_t i = begin; i < end; i += kChunk) {
    all = merge(all, chunk_moments(x + i, end - i < kChunk ? end - i : kChunk, scale, beside + i));
  }
  return all;
}

// ---- Tables of moments --------------------------------------------------------------

// Some float64 values per row or column: sums, or the numbers that moments are made of.
struct Columns {
  double* p;
  int64_t stride;

  NORMKERNELS_INLINE double* operator[](int k) const { return p + k * stride; }
  NORMKERNELS_INLINE Columns from(int64_t column) const { return {p + column, stride}; }
};

constexpr int kColumnFields = 4;

// A vector of moments, kept as mean.hi, mean.lo and m2 (hi and lo).
template <class T, class Lanes>
NORMKERNELS_INLINE Moments<T, Vec<double>> load_moments(Columns from, int64_t j, double count,
                                                        Lanes lanes) {
  const Pair<Vec<double>> mean = {load(from[0] + j, lanes), load(from[1] + j, lanes)};
  if constexpr (sizeof(T) == sizeof(float)) {
    return {count, mean, load(from[2] + j, lanes)};
  } else {
    return {count, mean, {load(from[2] + j, lanes), load(from[3] + j, lanes)}};
  }
}

template <class T, class Lanes>
NORMKERNELS_INLINE void store_moments(const Moments<T, Vec<double>>& m, Columns to, int64_t j,
                                      Lanes lanes) {
  store(to[0] + j, m.mean.hi, lanes);
  store(to[1] + j, m.mean.lo, lanes);
  if constexpr (sizeof(T) == sizeof(float)) {
    store(to[2] + j, m.m2, lanes);
  } else {
    store(to[2] + j, m.m2.hi, lanes);
    store(to[3] + j, m.m2.lo, lanes);
  }
}

// One row's.
template <class T>
NORMKERNELS_INLINE void store_moments(const Moments<T, double>& m, Columns to, int64_t j) {
  to[0][j] = m.mean.hi;
  to[1][j] = m.mean.lo;
  if constexpr (sizeof(T) == sizeof(float)) {
    to[2][j] = m.m2;
  } else {
    to[2][j] = m.m2.hi;
    to[3][j] = m.m2.lo;
  }
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_MOMENTS_H_
