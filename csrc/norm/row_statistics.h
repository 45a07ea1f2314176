// The statistics of rows, and the numbers that the loops over their elements need. Shared by layer
// norm, whose rows are the last dimensions, RMS norm, whose rows are those but not centred, and
// group norm in NCHW, whose rows are groups of planes: in instance norm single ones.
#ifndef NORMKERNELS_NORM_ROW_STATISTICS_H_
#define NORMKERNELS_NORM_ROW_STATISTICS_H_

#include "norm/factors.h"
#include "norm/rows.h"
#include "normkernels/normkernels.h"

namespace normkernels::NORMKERNELS_ISA {

// The factors of a group of rows.
template <class T>
struct RowFactors {
  alignas(64) T storage[Factors<T>::kFields * kRowsTogether];

  NORMKERNELS_INLINE Factors<T> table() { return {storage, kRowsTogether}; }
};

// What is asked of the statistics of rows; outputs [rows] or null.
template <class T>
struct Wanted {
  double epsilon;
  bool centred;
  T *mean, *sigma, *rstd;
  double* exact_rstd;
  normkernels_row_moments* moments = nullptr;
};

// ---- Statistics of rows -------------------------------------------------------------

// The lanes where the squares of float64 deviations, and what is made of them, leave the exponent
// range: also without fma, where products are split, and at its lower end with all their digits,
// unless epsilon hides these.
NORMKERNELS_INLINE unsigned lanes_out_of_range(const Moments<double, Vec<double>>& m,
                                               double epsilon) {
  constexpr double kMost = 0x1p960, kLeastVariance = 0x1p-900, kLeastEpsilon = 0x1p-840;
  const bool any_size = epsilon >= kLeastEpsilon || m.count == 0;
  return lanes_outside(m.m2.hi, Vec<double>::all(any_size ? -kMost : kLeastVariance * m.count),
                       Vec<double>::all(kMost));
}

// Moments of scale * x[0..n) as every path computes them: chunks within spans, spans in order.
// beside_chunk(begin, end) goes on beside a chunk.
template <class T, class BesideChunk>
__attribute__((noinline)) Moments<T, double> row_moments(const T* x, int64_t n, double scale,
                                                         bool centred, const Executor& executor,
                                                         const BesideChunk& beside_chunk) {
  const int64_t span = span_of(n), spans = spans_in(n);
  const auto span_moments = [&](int64_t begin) {
    return range_moments(x, begin, part_end(begin, span, n), scale, centred, beside_chunk);
  };
  if (spans <= 1) return span_moments(0);
  Moments<T, double> of_span[kMaxSpans];
  for_each_task(executor, spans, [&](int64_t i) { of_span[i] = span_moments(i * span); });
  Moments<T, double> all = of_span[0];
  for (int64_t i = 1; i < spans; ++i) all = merge(all, of_span[i]);
  return all;
}
template <class T>
NORMKERNELS_INLINE Moments<T, double> row_moments(const T* x, int64_t n, double scale, bool centred,
                                                  const Executor& executor) {
  return row_moments(x, n, scale, centred, executor,
                     [=](int64_t i, int64_t) { return Ahead<T>(x + i); });
}

// Whether the sums of a row are no function of their own: a call and its arguments are a tenth of a
// row of 300 elements. Those of float64 are long.
template <class T>
constexpr bool kInline = sizeof(T) == sizeof(float) && NORMKERNELS_HAS_FMA;

// Moments of `rows` rows of n <= kChunk elements, no more than kRowsTogether, a row per lane: row
// by row the sums, and when all are there what is made of them, so that none waits for its own.
template <class T, class Beside>
NORMKERNELS_INLINE void moments_in_lanes(const Rows<const T>& x_in, int64_t rows, int64_t n,
                                         const Beside& beside_in, SumTable out, bool centred) {
  using V = Vec<double>;
  constexpr int64_t W = V::kLanes;
  const Rows<const T> x = x_in;     // in registers, which a store
  const Beside beside = beside_in;  // cannot have changed
  Wide<T, V> d[kRowsTogether], squares[kRowsTogether];
  double pivots[kRowsTogether];
  for (int64_t i = 0; i < rows; ++i) {
    const T* const row = x[i];
    pivots[i] = centred ? static_cast<double>(row[0]) : 0;
    const auto own = beside(i, 0, n);
    const CentredSums<T, V> sums = kInline<T> ? inline_chunk_sums(row, n, 1, pivots[i], own)
                                              : chunk_sums(row, n, 1, pivots[i], own);
    d[i] = sums.d;
    squares[i] = sums.squares;
  }
  for (int64_t i = rows; i % W != 0; ++i) {
    d[i] = squares[i] = Wide<T, V>{};
    pivots[i] = 0;
  }
  for (int64_t i = 0; i < rows; i += W) {
    const CentredSums<T, V> all = {fold_rows(d + i), fold_rows(squares + i)};
    store_moments(all.about(load(pivots + i), static_cast<double>(n), centred), out, i, Full{});
  }
}

// The factors of rows or columns [0, n) from the moments of scale * x; `scale` may be null for 1,
// and be the factors' own. Outputs [n] or null.
template <class T>
NORMKERNELS_INLINE void set_statistics_of_all(SumTable moments, double count, int64_t n,
                                              const T* scale, double epsilon, const Factors<T>& f,
                                              T* mean, T* sigma, T* rstd, double* exact_rstd) {
  for_each_vector<double, 1>(
      n, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        const Vec<double> s =
            scale == nullptr ? Vec<double>::all(1) : load_widened(scale + j, lanes);
        const Statistics of =
            set_statistics(f, j, load_moments<T>(moments, j, count, lanes), s, epsilon);
        if (mean != nullptr) store_rounded(mean + j, of.mean, lanes);
        if (sigma != nullptr) store_rounded(sigma + j, of.sigma, lanes);
        if (rstd != nullptr) store_rounded(rstd + j, of.rstd, lanes);
        if (exact_rstd != nullptr) store(exact_rstd + j, of.rstd);
      });
}
// The same as a function of its own, for all but short rows, where the call is felt.
template <class T>
__attribute__((noinline)) void set_all_statistics(SumTable moments, double count, int64_t n,
                                                  const T* scale, double epsilon,
                                                  const Factors<T>& f, T* mean, T* sigma, T* rstd,
                                                  double* exact_rstd = nullptr) {
  set_statistics_of_all(moments, count, n, scale, epsilon, f, mean, sigma, rstd, exact_rstd);
}

// The moments of scale * x of `rows` rows, as they are handed out. A constant row's squares leave
// no range: it is given without the scale that its 0 called for, if the square of its difference
// from any other row does neither. Zeros have every scale, and NaN none.
template <class T>
__attribute__((noinline)) void hand_out(SumTable moments, int64_t count, int64_t rows,
                                        const T* scale, normkernels_row_moments* out) {
  constexpr double kLeast = 0x1p-300, kMost = 0x1p300;
  for (int64_t i = 0; i < rows; ++i) {
    double low = 0, s = 1, by = 1;
    if constexpr (kNeedsScale<T>) {
      low = moments[3][i];
      if (scale != nullptr) s = scale[i];
      const double m2 = moments[2][i], mean = __builtin_fabs(moments[0][i] / s);
      const bool varies = m2 < 0 || m2 > 0;
      if (!varies && !(mean > 0 && (mean < kLeast || mean > kMost))) by = 1 / s, s = 1;
    }
    out[i] = {count, s, moments[0][i] * by, moments[1][i] * by, moments[2][i], low};
  }
}

// scale[0..n): a power of two, scale_of(i), for the rows or columns whose moments left the exponent
// range, 1 for the others. Whether there was any.
template <class F>
bool scale_extreme(SumTable moments, double count, int64_t n, double epsilon, double* scale,
                   F&& scale_of) {
  bool any = false;
  for_each_vector<double, 1>(n, [&](int64_t j, auto lanes) {
    const unsigned extreme =
        lanes_out_of_range(load_moments<double>(moments, j, count, lanes), epsilon);
    for (int64_t i = j; i < n && i < j + Vec<double>::kLanes; ++i) {
      const bool is_extreme = (extreme >> (i - j) & 1) != 0;
      scale[i] = is_extreme ? scale_of(i) : 1;
      any |= is_extreme;
    }
  });
  return any;
}

// The scales of rows of n elements whose moments left the exponent range, and their moments anew;
// null if there are none. scale_of(i): for a row that needs one; moments_of(i, scale): of scale *
// x.
template <class T, class ScaleOf, class MomentsOf>
NORMKERNELS_INLINE const T* rescale_extreme(SumTable moments, int64_t rows, int64_t n,
                                            double epsilon, const Factors<T>& factors,
                                            const ScaleOf& scale_of, const MomentsOf& moments_of) {
  if constexpr (kNeedsScale<T>) {
    T* const scale = factors[Factors<T>::kScale];
    if (scale_extreme(moments, static_cast<double>(n), rows, epsilon, scale, scale_of)) {
      for (int64_t i = 0; i < rows; ++i) {
        if (scale[i] != 1) store_moments(moments_of(i, scale[i]), moments, i);
      }
      return scale;
    }
  }
  return nullptr;
}

// The sums of `rows` rows, no more than kRowsTogether. Reads x once. `executor` shares a single
// long row. beside(i, begin, end) goes on beside columns [begin, end) of row i, no more than a
// chunk.
template <class T, class Beside>
NORMKERNELS_INLINE void sum_rows(const Rows<const T>& x, int64_t rows, int64_t n,
                                 const Executor& executor, const Beside& beside, SumTable moments,
                                 bool centred) {
  if (n <= kChunk) return moments_in_lanes<T>(x, rows, n, beside, moments, centred);
  for (int64_t i = 0; i < rows; ++i) {
    store_moments(row_moments(
                      x[i], n, 1, centred, executor,
                      [&](int64_t begin, int64_t end)
                          __attribute__((always_inline)) { return beside(i, begin, end); }),
                  moments, i);
  }
}
// What such sums ask for, where nothing else goes on: x, and y, if that is not null.
template <class T>
NORMKERNELS_INLINE auto ahead_of(const Rows<const T>& x, const Rows<T>& y, int64_t n) {
  return [=](int64_t i, int64_t begin, int64_t) __attribute__((always_inline)) {
    Ahead<T> ahead = begin == 0 ? Ahead<T>(x, i, n) : Ahead<T>(x[i] + begin);
    if (y.p != nullptr) ahead.written = y.at(i, begin).p;
    return ahead;
  };
}

// The scales of such rows, where they need any.
template <class T>
NORMKERNELS_INLINE const T* rescale_rows(SumTable moments, const Rows<const T>& x, int64_t rows,
                                         int64_t n, double epsilon, const Executor& executor,
                                         const Factors<T>& factors, bool centred) {
  return rescale_extreme(
      moments, rows, n, epsilon, factors, [&](int64_t i) { return scale_for(x[i], n, 1); },
      [&](int64_t i, double scale) { return row_moments(x[i], n, scale, centred, executor); });
}

// The factors of such rows.
template <class T>
__attribute__((noinline)) void row_statistics(const Rows<const T>& x, int64_t rows, int64_t n,
                                              const Executor& executor, const Factors<T>& factors,
                                              const Wanted<T>& wanted) {
  double storage[kSumFields * kRowsTogether];
  const SumTable moments = {storage, kRowsTogether};
  const Rows<const T> from = x;
  sum_rows(from, rows, n, executor, ahead_of(from, Rows<T>{}, n), moments, wanted.centred);
  const T* const scale =
      rescale_rows(moments, from, rows, n, wanted.epsilon, executor, factors, wanted.centred);
  if (wanted.moments != nullptr) hand_out(moments, n, rows, scale, wanted.moments);
  set_all_statistics(moments, static_cast<double>(n), rows, scale, wanted.epsilon, factors,
                     wanted.mean, wanted.sigma, wanted.rstd, wanted.exact_rstd);
}

// In rows.cpp.
extern template void hand_out(SumTable, int64_t, int64_t, const float*, normkernels_row_moments*);
extern template void hand_out(SumTable, int64_t, int64_t, const double*, normkernels_row_moments*);
extern template void set_all_statistics(SumTable, double, int64_t, const float*, double,
                                        const Factors<float>&, float*, float*, float*, double*);
extern template void set_all_statistics(SumTable, double, int64_t, const double*, double,
                                        const Factors<double>&, double*, double*, double*, double*);
extern template void row_statistics(const Rows<const float>&, int64_t, int64_t, const Executor&,
                                    const Factors<float>&, const Wanted<float>&);
extern template void row_statistics(const Rows<const double>&, int64_t, int64_t, const Executor&,
                                    const Factors<double>&, const Wanted<double>&);

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ROW_STATISTICS_H_
