// The sums of long rows that lie anywhere, a chunk of some rows at a time: those of
// row_statistics.h and row_gradient.h, in the same order.
#ifndef NORMKERNELS_NORM_TILED_ROWS_H_
#define NORMKERNELS_NORM_TILED_ROWS_H_

#include "norm/row_gradient.h"
#include "norm/tiles.h"

namespace normkernels::NORMKERNELS_ISA {

// Moments of scale * x of rows [first, first + rows), as row_moments has them.
template <class T>
__attribute__((noinline)) void tiled_moments(TiledInput<T>& x, int64_t first, int64_t rows,
                                             int64_t n, double scale, bool centred,
                                             Moments<T, double>* all) {
  const int64_t span = span_of(n);
  for (int64_t begin = 0; begin < n; begin += span) {
    Moments<T, double> of_span[kRowsTogether] = {};
    for_each_chunk(first, rows, begin, part_end(begin, span, n), [&](const Part& part) {
      const Rows<const T> chunk = x.read(part);
      for (int64_t i = 0; i < rows; ++i)
        of_span[i] = merge(of_span[i],
                           chunk_moments(chunk[i], part.cols, scale, centred, Ahead<T>(chunk[i])));
    });
    for (int64_t i = 0; i < rows; ++i) all[i] = begin == 0 ? of_span[i] : merge(all[i], of_span[i]);
  }
}

// The factors of such rows.
template <class T>
__attribute__((noinline)) void tiled_statistics(TiledInput<T>& x, int64_t first, int64_t rows,
                                                int64_t n, const Factors<T>& factors,
                                                const Wanted<T>& wanted) {
  double storage[kSumFields * kRowsTogether];
  const SumTable moments = {storage, kRowsTogether};
  Moments<T, double> of_row[kRowsTogether];
  tiled_moments(x, first, rows, n, 1, wanted.centred, of_row);
  for (int64_t i = 0; i < rows; ++i) store_moments(of_row[i], moments, i);
  // The smallest of the chunks' scales is that of the largest element.
  const auto scale_of = [&](int64_t i) {
    double scale = Range<T>::kMax;
    for_each_chunk(first + i, 1, 0, n, [&](const Part& part) {
      const double of_chunk = scale_for(x.read(part)[0], part.cols, 1);
      scale = of_chunk < scale ? of_chunk : scale;
    });
    return scale;
  };
  const auto moments_of = [&](int64_t i, double scale) {
    Moments<T, double> of_one[1];
    tiled_moments(x, first + i, 1, n, scale, wanted.centred, of_one);
    return of_one[0];
  };
  const T* const scale =
      rescale_extreme(moments, rows, n, wanted.epsilon, factors, scale_of, moments_of);
  if (wanted.moments != nullptr) hand_out(moments, n, rows, scale, wanted.moments);
  set_all_statistics(moments, static_cast<double>(n), rows, scale, wanted.epsilon, factors,
                     wanted.mean, wanted.sigma, wanted.rstd, wanted.exact_rstd);
}

NORMKERNELS_INLINE void add_table(const double* from, double* to) {
  for_each_vector<double, 1>(
      3 * kRowsTogether, [=](int64_t i, auto lanes) __attribute__((always_inline)) {
        store(to + i, load(to + i, lanes) + load(from + i, lanes), lanes);
      });
}

// What gradient_sums does with long rows, which begin at column `col`.
template <class T>
__attribute__((noinline)) void tiled_gradient_sums(TiledInput<T>& dy, TiledInput<T>& x,
                                                   const Parameter<T>& gamma, int64_t first,
                                                   int64_t rows, int64_t n,
                                                   const Factors<T>& factors, SumTable sums,
                                                   int64_t col = 0) {
  double of_row[3 * kRowsTogether] = {};
  const int64_t span = span_of(n);
  for (int64_t begin = 0; begin < n; begin += span) {
    double of_span[3 * kRowsTogether] = {};
    for_each_chunk(first, rows, col + begin, col + part_end(begin, span, n), [&](const Part& part) {
      double of_chunk[3 * kRowsTogether] = {};
      chunk_sums<T>({dy.read(part), x.read(part), gamma.from(part.col - col)}, rows, part.cols,
                    factors, {of_chunk, kRowsTogether});
      add_table(of_chunk, of_span);
    });
    add_table(of_span, of_row);
  }
  for (int k = 0; k < 3; ++k)
    memcpy(sums[k], of_row + k * kRowsTogether, sizeof(double) * static_cast<size_t>(rows));
}

// In rows.cpp.
extern template void tiled_statistics(TiledInput<float>&, int64_t, int64_t, int64_t,
                                      const Factors<float>&, const Wanted<float>&);
extern template void tiled_statistics(TiledInput<double>&, int64_t, int64_t, int64_t,
                                      const Factors<double>&, const Wanted<double>&);
extern template void tiled_gradient_sums(TiledInput<float>&, TiledInput<float>&,
                                         const Parameter<float>&, int64_t, int64_t, int64_t,
                                         const Factors<float>&, SumTable, int64_t);
extern template void tiled_gradient_sums(TiledInput<double>&, TiledInput<double>&,
                                         const Parameter<double>&, int64_t, int64_t, int64_t,
                                         const Factors<double>&, SumTable, int64_t);

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_TILED_ROWS_H_
