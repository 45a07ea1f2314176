// Rows of a few elements, turned in registers: a row per lane, a vector per column.
//
// One by one, such a row costs its fold, its factors in every lane and the ends of its vectors many
// times what its elements do. Turned, each of these serves a vector of rows, and what is added is
// added in the order of moments.h and lanes.h; but nothing is added where a row has no element.
// Measured (AVX2, Zen 3), ns a row, of 3, 8 and 15 columns: forward 4.8, 6.0 and 9.4 instead of
// 15.1, 12.5 and 14.5; backward 6.8, 9.8 and 17.6 instead of 19.9, 15.1 and 19.8.
#ifndef NORMKERNELS_NORM_TURNED_ROWS_H_
#define NORMKERNELS_NORM_TURNED_ROWS_H_

#include "norm/row_sweep.h"

namespace normkernels::NORMKERNELS_ISA {

// Of rows of this type; of shorter vectors and of pairs it is not worth the code.
template <class T>
constexpr bool kTurns = sizeof(T) == sizeof(float) && Vec<T>::kLanes >= 8;
// Columns. From here on whole vectors are as fast, and up to here a lane has one element at most.
constexpr int kMostTurned = 16;

// ---- Turning ------------------------------------------------------------------------

// f(j, Index<N>) for every N = 4 columns from j on, and for those left over.
template <class F>
NORMKERNELS_INLINE void for_each_quad(int n, F&& f) {
  int j = 0;
  for (; j + 4 <= n; j += 4) f(j, Index<4>{});
  if (n - j == 1) f(j, Index<1>{});
  if (n - j == 2) f(j, Index<2>{});
  if (n - j == 3) f(j, Index<3>{});
}

// The columns of kRows rows. A vector of them is made of quads, 4 rows next to each other; the
// quads are kStep rows apart.
template <class T, int kRows, int kStep>
struct Columns {
  static constexpr int W = Vec<T>::kLanes;
  alignas(64) T v[kMostTurned][kRows];

  // The first row of vector i.
  static NORMKERNELS_INLINE int64_t row_of(int64_t i) { return kStep == 4 ? i * W : i * 4; }
  NORMKERNELS_INLINE Vec<T> at(int j, int64_t i) const { return load(v[j] + i * W); }

  // Vector i, from its first row on.
  NORMKERNELS_INLINE void read(const Rows<const T>& rows, int64_t i, int n) {
    for_each_quad(
        n, [&](int j, auto lanes) __attribute__((always_inline)) {
          Vec<T> quads[4];
#pragma GCC unroll 4
          for (int k = 0; k < 4; ++k)
            quads[k] = load_quads<decltype(lanes)::value>(rows[k] + j, kStep * rows.stride);
          transpose_quads(quads);
#pragma GCC unroll 4
          for (int k = 0; k < decltype(lanes)::value; ++k) store(v[j + k] + i * W, quads[k]);
        });
  }
};

// values(j) of N columns from j on; turned back, a vector is the quads of a row of each.
template <int N, class T, class Values>
NORMKERNELS_INLINE void turned_back(Vec<T> (&quads)[4], int j, Index<N>, const Values& values) {
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) quads[k] = k < N ? values(j + k) : Vec<T>::zero();
  transpose_quads(quads);
}

// ---- Sums ---------------------------------------------------------------------------

// K sums, one row per lane.
template <int K>
struct TurnedSums {
  Vec<double> v[K];

  friend NORMKERNELS_INLINE TurnedSums operator+(const TurnedSums& a, const TurnedSums& b) {
    TurnedSums sums;
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) sums.v[k] = a.v[k] + b.v[k];
    return sums;
  }
};

// of_lane(i) for the 16 lanes, of which n have elements, folded by halves: from lane i on every
// kStep-th.
template <int kStep = 1, class OfLane>
NORMKERNELS_INLINE auto folded_lanes(int i, int n, const OfLane& of_lane) {
  static_assert(kMomentLanes == kFoldedLanes, "one order for both");
  if constexpr (kStep == kMomentLanes) {
    return of_lane(i);
  } else {
    auto sum = folded_lanes<2 * kStep>(i, n, of_lane);
    if (i + kStep < n) sum = sum + folded_lanes<2 * kStep>(i + kStep, n, of_lane);
    return sum;
  }
}

// What moments_in_lanes makes. A lane begins with its first element, not with 0, which is the same
// but for -0; and the deviation of element 0 is +0.
template <class T, class Columns>
__attribute__((noinline)) void turned_moments(const Columns& x, int64_t rows, int n, SumTable out,
                                              bool centred) {
  using V = Vec<double>;
  for (int64_t row = 0; row < rows; row += V::kLanes) {
    const auto element = [&](int j) __attribute__((always_inline)) {
      return load_widened(x.v[j] + row, Full{});
    };
    const V pivot = centred ? element(0) : V::zero();
    const TurnedSums<2> sums = folded_lanes(
        0, n, [&](int j) __attribute__((always_inline)) {
          const V difference = element(j) - pivot;
          return TurnedSums<2>{{difference, difference * difference}};
        });
    const CentredSums<T, V> all = {sums.v[0], sums.v[1]};
    store_moments(all.about(pivot, static_cast<double>(n), centred), out, row, Full{});
  }
}

// What sum_few makes of the terms term(j) of a vector of rows.
template <class T, class Term>
NORMKERNELS_INLINE void turned_sum(int n, double* out, const Term& term) {
  using V = Vec<double>;
  const auto of_lane = [&](int i) __attribute__((always_inline)) {
    TurnedSums<2> wide;
    widen(term(i), wide.v[0], wide.v[1]);
    return wide;
  };
  const TurnedSums<2> sums = folded_lanes(0, n, of_lane);
  store(out, V::zero() + sums.v[0]);  // 0 + x: no negative zero
  store(out + V::kLanes, V::zero() + sums.v[1]);
}

// ---- Backward -----------------------------------------------------------------------

// As many groups of kRun rows as a vector has quads: a row of each is added to the sums of its
// group at a time.
template <class T>
struct TurnedGroups {
  static constexpr int W = Vec<T>::kLanes, kGroups = W / 4, kRows = kGroups * kRun;
  static constexpr int kVectors = kRows / W;
  using Table = Columns<T, kRows, kRun>;

  int n;
  T gamma[kMostTurned];
  Table dy, x;

  NORMKERNELS_INLINE Vec<T> g(int j, int64_t i) const {
    return dy.at(j, i) * Vec<T>::all(gamma[j]);
  }

  // What gradient_sums makes.
  __attribute__((noinline)) void sum(const Factors<T>& factors, SumTable sums, bool centred) const {
    for (int64_t i = 0; i < kVectors; ++i) {
      const Standardise<T> standardise(factors, Factors<T>::kShift, i * W, Full{});
      const auto g_of = [&](int j) __attribute__((always_inline)) { return g(j, i); };
      const auto xhat = [&](int j) __attribute__((always_inline)) {
        return standardise(x.at(j, i));
      };
      turned_sum<T>(
          n,
          sums[0] + i * W, [&](int j) __attribute__((always_inline)) { return g_of(j) * xhat(j); });
      if (!centred) continue;
      turned_sum<T>(n, sums[1] + i * W, g_of);
      turned_sum<T>(n, sums[2] + i * W, xhat);
    }
  }

  // What write_group does, with the sums of its groups added to those of a block.
  __attribute__((noinline)) void write(Rows<const T> dy_rows, Rows<T> dx_rows,
                                       const Factors<T>& all_factors, double* of_gamma,
                                       double* of_beta) const {
    const Factors<T> factors = all_factors;
    const int64_t dy_step = kRun * dy_rows.stride, dx_step = kRun * dx_rows.stride;
    for_each_quad(
        n, [&, dy_step, dx_step ](int j, auto lanes) __attribute__((always_inline)) {
          Vec<T> sum_gamma = Vec<T>::zero(), sum_beta = sum_gamma;
          const T* from = dy_rows.p + j;
          T* to = dx_rows.p + j;
          for (int64_t i = 0; i < kVectors; ++i) {
            const Standardise<T> standardise(factors, Factors<T>::kGradientShift, i * W, Full{});
            const Gradient<T> gradient(factors, i * W, Full{});
            Vec<T> xhat[4], values[4];
            turned_back(
                xhat, j, lanes, [&](int k) __attribute__((always_inline)) {
                  return standardise(x.at(k, i));
                });
            turned_back(
                values, j, lanes, [&](int k) __attribute__((always_inline)) {
                  return gradient(g(k, i), standardise(x.at(k, i)));
                });
#pragma GCC unroll 4
            for (int k = 0; k < 4; ++k) {
              const Vec<T> d = load_quads<decltype(lanes)::value>(from, dy_step);
              sum_gamma = multiply_add(d, xhat[k], sum_gamma);
              sum_beta = sum_beta + d;
              store_quads<decltype(lanes)::value>(to, dx_step, values[k]);
              from += dy_rows.stride;
              to += dx_rows.stride;
            }
          }
          add_quads(sum_gamma, of_gamma + j);
          add_quads(sum_beta, of_beta + j);
        });
  }

 private:
  // The quads of `sums`, one after the other, added to four of `all`.
  static NORMKERNELS_INLINE void add_quads(Vec<T> sums, double* all) {
    alignas(64) T quads[W];
    store(quads, sums);
    for_each_vector<double, 1>(
        4, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
          Vec<double> sum = load(all + j, lanes);
#pragma GCC unroll 4
          for (int i = 0; i < kGroups; ++i) sum = sum + load_widened(quads + 4 * i + j, lanes);
          store(all + j, sum, lanes);
        });
  }
};

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_TURNED_ROWS_H_
