// The backward of one normalised row: its two means, and the constants of the sweep that writes dx.
// Shared by layer norm and instance norm in NCHW.
//
// With xhat_i = (x_i - mean) rstd, g = dy gamma and y_i = xhat_i gamma_i + beta_i, the chain rule
// through mean and rstd, whose derivatives by x_j are 1/n and -rstd^2 xhat_j / n, gives
//
//   dx_j = sum_i g_i dxhat_i/dx_j,   dxhat_i/dx_j = rstd ([i = j] - 1/n - xhat_i xhat_j / n)
//        = rstd (g_j - mean(g) - xhat_j mean(g xhat)).
//
// x enters only as x - mean, so an offset costs no digit. RMS norm's xhat_i = x_i rstd does not
// depend on a mean: without the terms of mean, 1/n and mean(g), it is the same.
#ifndef NORMKERNELS_NORM_ROW_GRADIENT_H_
#define NORMKERNELS_NORM_ROW_GRADIENT_H_

#include "norm/unscaled_sums.h"

namespace normkernels::NORMKERNELS_ISA {

// The sums of g xhat, g and xhat of `rows` rows of n elements, no more than kMost; into
// sums[0..3][row], a vector of rows at a time.
template <class T, int64_t kMost>
__attribute__((noinline)) void short_row_sums(const GradientRows<T>& r, int64_t rows, int64_t n,
                                              const Factors<T>& factors, SumTable sums) {
  constexpr int W = Vec<double>::kLanes;
  for (int64_t begin = 0; begin < rows; begin += W) {
    Vec<double> of_row[3][W];
    for (int64_t i = begin; i < begin + W; ++i) {
      if (i >= rows) {
        for (auto& sum : of_row) sum[i - begin] = Vec<double>::zero();
        continue;
      }
      const T *dy = r.dy[i], *x = r.x[i];
      const Parameter<T> gamma = r.gamma;
      const Standardise<T> standardise(factors.standard(i));
      const auto term = [=](Vec<T>(&acc)[3], int64_t at, auto lanes)
          __attribute__((always_inline)) {
        const Vec<T> g = load(dy + at, lanes) * load(gamma.at(at), lanes);
        const Vec<T> xhat = first(standardise(load(x + at, lanes)), lanes);
        acc[0] = multiply_add(g, xhat, acc[0]);
        acc[1] = acc[1] + g;
        acc[2] = acc[2] + xhat;
      };
      LaneSums<3> row;
      if constexpr (kMost > kSumLanes) {
        row = sum_chunk<T, 3>(n, term, AheadOfTwo<T>{dy, x});
      } else {
        row = sum_few<T, 3, kMost>(n, term);
      }
      for (int k = 0; k < 3; ++k) of_row[k][i - begin] = row.v[k];
    }
    for (int k = 0; k < 3; ++k) store(sums[k] + begin, fold_rows(of_row[k]));
  }
}

// The same of rows no longer than a chunk.
template <class T>
__attribute__((noinline)) void chunk_sums(const GradientRows<T>& r, int64_t rows, int64_t n,
                                          const Factors<T>& factors, SumTable sums) {
  if constexpr (kSumsInRegisters<T>) {
    const SharedFactors<T> own = {factors, 1};
    if (n <= kMostWithGamma && __builtin_expect(own.unscaled(rows), 1))
      return unscaled_sums<T, true>(r, rows, n, own, sums);
  } else {
    if (n <= kFoldedLanes) return short_row_sums<T, kFoldedLanes>(r, rows, n, factors, sums);
    if (n <= kSumLanes / 2) return short_row_sums<T, kSumLanes / 2>(r, rows, n, factors, sums);
    if (n <= kSumLanes) return short_row_sums<T, kSumLanes>(r, rows, n, factors, sums);
  }
  short_row_sums<T, kChunk>(r, rows, n, factors, sums);
}

// The same over a longer row: of_chunk(begin, count, sums), chunks within spans, spans in index
// order.
template <class OfChunk>
NORMKERNELS_INLINE void long_sums(int64_t n, const Executor& executor, double (&all)[3],
                                  const OfChunk& of_chunk) {
  double of_span[kMaxSpans][3];
  const int64_t span = span_of(n);
  for_each_span(n, executor, [&](int64_t first, int64_t stop) {
    double sums[3] = {0, 0, 0};
    for (int64_t begin = first; begin < stop; begin += kChunk) {
      double chunk[3][Vec<double>::kLanes];
      of_chunk(begin, smaller(kChunk, stop - begin), {chunk[0], Vec<double>::kLanes});
      for (int k = 0; k < 3; ++k) sums[k] += chunk[k][0];
    }
    memcpy(of_span[first / span], sums, sizeof(sums));
  });
  for (double& sum : all) sum = 0;
  for (int64_t i = 0; i < spans_in(n); ++i) {
    for (int k = 0; k < 3; ++k) all[k] += of_span[i][k];
  }
}

// The same of `rows` rows, no more than kRowsTogether. Reads dy and x once. `executor` shares a
// single long row.
template <class T>
__attribute__((noinline)) void gradient_sums(const GradientRows<T>& r, int64_t rows, int64_t n,
                                             const Factors<T>& factors, const Executor& executor,
                                             SumTable sums) {
  if (n <= kChunk) return chunk_sums(r, rows, n, factors, sums);
  for (int64_t i = 0; i < rows; ++i) {
    const GradientRows<T> row = r.at(i, 0);
    const Factors<T> own = factors.from(i);
    double all[3];
    long_sums(n, executor, all, [&](int64_t begin, int64_t count, SumTable of_chunk) {
      chunk_sums(row.at(0, begin), 1, count, own, of_chunk);
    });
    for (int k = 0; k < 3; ++k) sums[k][i] = all[k];
  }
}

// The rest of a backward's factors, for rows or columns [0, n) of `count` elements, from the sums
// of g xhat, g and xhat. factor_of(j, lanes): 1 / sigma, and gamma where it is one per row. The
// sums of g xhat and g as the parameters' gradients need them are added to gx and g, if wanted.
template <class T, class FactorOf>
NORMKERNELS_INLINE void set_all_gradients(SumTable sums, int64_t count, int64_t n,
                                          const Factors<T>& factors, FactorOf&& factor_of,
                                          double* gx, double* g, bool centred = true) {
  const Factors<T> f = factors;  // in registers, which a store cannot have changed
  for_each_vector<double, 1>(
      n, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        const Vec<double> of_row[3] = {load(sums[0] + j, lanes), load(sums[1] + j, lanes),
                                       load(sums[2] + j, lanes)};
        const RowSums own = set_gradient(f, j, of_row, count, factor_of(j, lanes), centred);
        if (gx == nullptr) return;
        store(gx + j, load(gx + j, lanes) + own.gx, lanes);
        store(g + j, load(g + j, lanes) + own.g, lanes);
      });
}

// In rows.cpp.
extern template void gradient_sums(const GradientRows<float>&, int64_t, int64_t,
                                   const Factors<float>&, const Executor&, SumTable);
extern template void gradient_sums(const GradientRows<double>&, int64_t, int64_t,
                                   const Factors<double>&, const Executor&, SumTable);

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ROW_GRADIENT_H_
