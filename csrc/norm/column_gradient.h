// The sums down the columns of an image that a backward needs, in NHWC.
#ifndef NORMKERNELS_NORM_COLUMN_GRADIENT_H_
#define NORMKERNELS_NORM_COLUMN_GRADIENT_H_

#include "norm/factors.h"
#include "sums/columns.h"

namespace normkernels::NORMKERNELS_ISA {

// Sums of dy xhat, dy and xhat per channel.
template <class T>
struct GradientReduction {
  Rows<const T> dy, x;
  Factors<T> factors;
  static constexpr int kSums = 3;

  __attribute__((noinline)) void merge(SumTable a, double, SumTable b, double,
                                       int64_t width) const {
    for (int k = 0; k < kSums; ++k) {
      for_each_vector<double, 1>(
          width, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
            store(a[k] + j, load(a[k] + j, lanes) + load(b[k] + j, lanes), lanes);
          });
    }
  }

  __attribute__((noinline)) void rows(const PixelRows& r, SumTable out) const {
    const Rows<const T> all_dy = r.of(dy), all_x = r.of(x);
    for (int64_t i = 0; i < r.rows; i += kRun) {
      const int64_t count = smaller(kRun, r.rows - i);
      for_each_column_block<T, kColumnVectors>(
          r.width, [&](int64_t j, auto vectors, auto lanes) __attribute__((always_inline)) {
            add_tile<decltype(vectors)::value>(all_dy.from(i), all_x.from(i), count, j, lanes,
                                               r.before + i == 0, out);
          });
    }
  }

 private:
  // Adds the sums of U vectors of columns of a tile, the first one or not, to those in `out`.
  template <int U, class Lanes>
  NORMKERNELS_INLINE void add_tile(const Rows<const T>& dy_rows, const Rows<const T>& x_rows,
                                   int64_t rows, int64_t column, Lanes lanes, bool is_first,
                                   SumTable out) const {
    constexpr int W = Vec<T>::kLanes, kDoubles = kDoublesFor<T, U>;
    const AheadOfBlock<T> dy_ahead(dy_rows, rows, column, U * W);
    const AheadOfBlock<T> x_ahead(x_rows, rows, column, U * W);
    Standardise<T> xhat_of[U];
#pragma GCC unroll 4
    for (int u = 0; u < U; ++u) xhat_of[u] = {factors, Factors<T>::kShift, column + u * W, lanes};
    ColumnSums<T, kSums, U> sums = {};
    if (!is_first) {
#pragma GCC unroll 32
      for (int k = 0; k < kSums * kDoubles; ++k)
        sums.v[k / kDoubles][k % kDoubles] =
            load(out[k / kDoubles] + column + k % kDoubles * Vec<double>::kLanes);
    }
    sums.add(
        rows, [&](Vec<T>(&acc)[kSums], int64_t i, int u) __attribute__((always_inline)) {
          if (u == 0) {
            dy_ahead.template operator()<U * W>(i);
            x_ahead.template operator()<U * W>(i);
          }
          const Vec<T> g = load(dy_rows[i] + column + u * W, lanes);
          const Vec<T> xhat = xhat_of[u](load(x_rows[i] + column + u * W, lanes));
          acc[0] = multiply_add(g, xhat, acc[0]);
          acc[1] = acc[1] + g;
          acc[2] = acc[2] + xhat;
        });
#pragma GCC unroll 32
    for (int k = 0; k < kSums * kDoubles; ++k)
      store(out[k / kDoubles] + column + k % kDoubles * Vec<double>::kLanes,
            sums.v[k / kDoubles][k % kDoubles]);
  }
};

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_COLUMN_GRADIENT_H_
