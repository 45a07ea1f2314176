// The sweep down the columns of a few rows, whose factors are known: writes dx, and adds up dgamma
// and dbeta in the order of the rows. Reads dy and x once, from L1 or L2 where their sums left
// them.
#ifndef NORMKERNELS_NORM_ROW_SWEEP_H_
#define NORMKERNELS_NORM_ROW_SWEEP_H_

#include "norm/row_gradient.h"

namespace normkernels::NORMKERNELS_ISA {

// The sums of dy xhat and of dy over some rows, [cols] each or null.
template <class V>
struct ParameterSums {
  V *gamma, *beta;
};

// Rows [0, rows) of a group, from their first column on, as the sweep down the columns sees them.
template <class T>
struct GroupRows {
  Rows<const T> dy, x;
  Rows<T> dx;
  Factors<T> factors;
  int64_t rows, cols;
  Parameter<T> gamma;
  ParameterSums<T> sums;
  bool begins;
};

// What the sweep needs of each row, at constant offsets from one address: that of a RowFactors.
template <class T>
struct RowConstants {
  using F = Factors<T>;
  const T* factors;

  NORMKERNELS_INLINE Vec<T> value(int field, int64_t i) const {
    return Vec<T>::all(factors[field * kRowsTogether + i]);
  }
  NORMKERNELS_INLINE Standardise<T> standardise(int64_t i) const {
    return {value(F::kScale, i), value(F::kMinusCentre, i), value(F::kRstd, i),
            value(F::kGradientShift, i)};
  }
  NORMKERNELS_INLINE Gradient<T> gradient(int64_t i) const {
    return {value(F::kMeanG, i), value(F::kMeanGx, i), value(F::kFactor, i)};
  }
};

// `kVectors` vectors of columns from j on, of all rows.
//
// The lines of the columns after the next ones, which begin within a line, are asked for: the
// processor does not follow as many streams. Measured (Zen 3, AVX2, in L3): 1000 x 1000 takes 5.5
// ns for 16 elements instead of 6.2. All is read before any is written, for which loads would wait
// (moments.h): 500 x 1500 takes up to 314 us otherwise, and 236 so (Zen 4, AVX-512, each array 64
// bytes further into its page).
template <int kVectors, class Store, class T, class Lanes>
NORMKERNELS_INLINE void write_columns(Store how, const GroupRows<T>& g, const RowConstants<T>& rows,
                                      int64_t j, Lanes lanes) {
  constexpr int W = Vec<T>::kLanes, kColumns = kVectors * W;
  constexpr int kAhead = kColumns + kLineBytes / static_cast<int>(sizeof(T));
  Vec<T> gamma[kVectors], sum_gamma[kVectors] = {}, sum_beta[kVectors] = {};
#pragma GCC unroll 4
  for (int k = 0; k < kVectors; ++k) gamma[k] = load(g.gamma.at(j + k * W), lanes);
#pragma GCC unroll 4
  for (int k = 0; k < kVectors; ++k) {
    if (!g.begins && g.sums.gamma != nullptr) sum_gamma[k] = load(g.sums.gamma + j + k * W, lanes);
    if (!g.begins && g.sums.beta != nullptr) sum_beta[k] = load(g.sums.beta + j + k * W, lanes);
  }
  const T *dy = g.dy.p + j, *x = g.x.p + j;
  T* dx = g.dx.p + j;
  for (int64_t i = 0; i < g.rows; ++i) {
    const Standardise<T> standardise = rows.standardise(i);
    const Gradient<T> gradient = rows.gradient(i);
    if constexpr (Store::kMustBeAligned) {  // the next rows, from beyond the caches
      prefetch_lines_to_l2<kColumns>(dy + g.rows * g.dy.stride);
      prefetch_lines_to_l2<kColumns>(x + g.rows * g.x.stride);
    } else if constexpr (kVectors > 1) {
      prefetch_lines<kColumns>(dy + kAhead);
      prefetch_lines<kColumns>(x + kAhead);
      prefetch_lines_to_write<kColumns>(dx + kAhead);
    }
    Vec<T> values[kVectors];
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) {
      const Vec<T> d = load(dy + k * W, lanes), xhat = standardise(load(x + k * W, lanes));
      values[k] = gradient(d * gamma[k], xhat);
      sum_gamma[k] = multiply_add(d, xhat, sum_gamma[k]);
      sum_beta[k] = sum_beta[k] + d;
    }
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) store(how, dx + k * W, values[k], lanes);
    dy += g.dy.stride, x += g.x.stride, dx += g.dx.stride;
  }
#pragma GCC unroll 4
  for (int k = 0; k < kVectors; ++k) {
    // 0 + x: no negative zero.
    const Vec<T> zero = Vec<T>::zero();
    if (g.sums.gamma != nullptr) store(g.sums.gamma + j + k * W, zero + sum_gamma[k], lanes);
    if (g.sums.beta != nullptr) store(g.sums.beta + j + k * W, zero + sum_beta[k], lanes);
  }
}

// Columns [begin, end) of all rows, more than one vector of them and less than two: two vectors
// that overlap, since masked stores take AMD's processors as long as five others. Both are read
// before either is written, which may be in place.
template <class T>
__attribute__((noinline)) void write_last_columns(const GroupRows<T>& g,
                                                  const RowConstants<T>& rows, int64_t begin,
                                                  int64_t end) {
  constexpr int W = Vec<T>::kLanes;
  const int64_t at[2] = {begin, end - W};
  Vec<T> gamma[2], sum_gamma[2] = {}, sum_beta[2] = {};
#pragma GCC unroll 2
  for (int k = 0; k < 2; ++k) {
    gamma[k] = load(g.gamma.at(at[k]));
    if (!g.begins && g.sums.gamma != nullptr) sum_gamma[k] = load(g.sums.gamma + at[k]);
    if (!g.begins && g.sums.beta != nullptr) sum_beta[k] = load(g.sums.beta + at[k]);
  }
  for (int64_t i = 0; i < g.rows; ++i) {
    const Standardise<T> standardise = rows.standardise(i);
    const Gradient<T> gradient = rows.gradient(i);
    const Vec<T> d[2] = {load(g.dy[i] + at[0]), load(g.dy[i] + at[1])};
    const Vec<T> xhat[2] = {standardise(load(g.x[i] + at[0])), standardise(load(g.x[i] + at[1]))};
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      store(g.dx[i] + at[k], gradient(d[k] * gamma[k], xhat[k]));
      sum_gamma[k] = multiply_add(d[k], xhat[k], sum_gamma[k]);
      sum_beta[k] = sum_beta[k] + d[k];
    }
  }
#pragma GCC unroll 2
  for (int k = 0; k < 2; ++k) {
    const Vec<T> zero = Vec<T>::zero();
    if (g.sums.gamma != nullptr) store(g.sums.gamma + at[k], zero + sum_gamma[k]);
    if (g.sums.beta != nullptr) store(g.sums.beta + at[k], zero + sum_beta[k]);
  }
}

// Columns [begin, end) of all rows.
template <class Store, class T>
__attribute__((noinline)) void sweep_columns(Store how, const GroupRows<T>& group,
                                             const RowConstants<T>& rows, int64_t begin,
                                             int64_t end) {
  constexpr int W = Vec<T>::kLanes, kVectors = kColumnVectors;
  const GroupRows<T> g = group;
  const int64_t rest = (end - begin) % W;
  // Of aligned columns the last would reach back over the border of a page, in rows of 4 KiB each:
  // 1000 x 1024 is 1.05 times as fast with a mask (Zen 3).
  const bool aligned =
      g.dx.stride % W == 0 && elements_to_border<sizeof(Vec<T>)>(g.dx.p + end - rest) == 0;
  const bool overlaps = rest != 0 && end - begin > W && (!aligned || end - begin < 2 * W);
  const int64_t stop = overlaps ? end - rest - W : end - rest;
  int64_t j = begin;
  for (; j + kVectors * W <= stop; j += kVectors * W)
    write_columns<kVectors>(how, g, rows, j, Full{});
  for (; j < stop; j += W) write_columns<1>(how, g, rows, j, Full{});
  if (overlaps) return write_last_columns(g, rows, j, end);
  if (rest != 0) write_columns<1>(how, g, rows, j, static_cast<int>(rest));
}

// Columns [begin, end), whole lines, of two rows at a time, whose constants stay in registers; an
// odd row is left over. It is the sums that are read and written again and again, and a row's
// elements are read before any of the same columns is written.
template <class Store, class T>
__attribute__((noinline)) void sweep_pairs(Store how, const GroupRows<T>& group,
                                           const RowConstants<T>& rows, int64_t begin,
                                           int64_t end) {
  constexpr int W = Vec<T>::kLanes, kLine = kLineBytes / static_cast<int>(sizeof(T)), kRows = 2;
  const GroupRows<T> g = group;
  alignas(kLineBytes) T unwanted[2][kLine] = {};
  const bool has_gamma = g.sums.gamma != nullptr, has_beta = g.sums.beta != nullptr;
  for (int64_t i = 0; i + kRows <= g.rows; i += kRows) {
    Standardise<T> standardise[kRows];
    Gradient<T> gradient[kRows];
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      standardise[r] = rows.standardise(i + r);
      gradient[r] = rows.gradient(i + r);
    }
    const T *dy[kRows] = {g.dy[i], g.dy[i + 1]}, *x[kRows] = {g.x[i], g.x[i + 1]};
    T* const dx[kRows] = {g.dx[i], g.dx[i + 1]};
    T* sum_gamma = has_gamma ? g.sums.gamma + begin : unwanted[0];
    T* sum_beta = has_beta ? g.sums.beta + begin : unwanted[1];
    for (int64_t j = begin; j < end; j += kLine) {
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) {
        if constexpr (Store::kMustBeAligned) {
          prefetch_to_l2(dy[r] + j + g.rows * g.dy.stride);
          prefetch_to_l2(x[r] + j + g.rows * g.x.stride);
        } else {
          prefetch_to_write(dx[r] + j + 4 * kLine);
        }
      }
#pragma GCC unroll 4
      for (int k = 0; k < kLine; k += W) {
        const Vec<T> gamma = load(g.gamma.at(j) + k);
        Vec<T> of_gamma = load(sum_gamma + k), of_beta = load(sum_beta + k), d[kRows], xhat[kRows];
#pragma GCC unroll 2
        for (int r = 0; r < kRows; ++r) {
          d[r] = load(dy[r] + j + k);
          xhat[r] = standardise[r](load(x[r] + j + k));
          of_gamma = multiply_add(d[r], xhat[r], of_gamma);
          of_beta = of_beta + d[r];
        }
        // 0 + x: a product below all numbers leaves a negative zero, which no other way does.
        const Vec<T> zero = Vec<T>::zero();
        store(sum_gamma + k, zero + of_gamma);
        store(sum_beta + k, of_beta);
#pragma GCC unroll 2
        for (int r = 0; r < kRows; ++r)
          store(how, dx[r] + j + k, gradient[r](d[r] * gamma, xhat[r]), Full{});
      }
      sum_gamma += has_gamma ? kLine : 0;
      sum_beta += has_beta ? kLine : 0;
    }
  }
}

// Whether rows so far apart have columns at about the same place of a page a few rows on. A
// processor takes what is loaded there for what is still to be stored, and waits. Measured (Zen 3,
// AVX2, 16 rows together, for 16 elements): 1000 x 1024 takes 6.5 ns in pairs instead of 13, 1000 x
// 1025 8.4 instead of 13, 64 x 768 5.7 instead of 6.3; 1000 x 1000 6.8 in pairs instead of 5.6.
// With AVX-512, whose blocks of columns are wider, that one takes 6.2 in pairs instead of 7.3 (Zen
// 4).
NORMKERNELS_INLINE bool shares_page_offsets(int64_t bytes) {
  constexpr int64_t kPage = 4096, kFewRows = 8, kBlock = kColumnVectors * NORMKERNELS_VECTOR_BYTES;
  for (int64_t rows = 1; rows <= kFewRows; rows *= 2) {
    if ((bytes * rows + kBlock) % kPage <= 2 * kBlock) return true;
  }
  return false;
}

// Columns [begin, end) of a group in pairs of rows.
template <class Store, class T>
NORMKERNELS_INLINE void write_in_pairs(Store how, const GroupRows<T>& g,
                                       const RowConstants<T>& rows, int64_t begin, int64_t end) {
  if (g.begins) {
    const size_t bytes = static_cast<size_t>(end - begin) * sizeof(T);
    if (g.sums.gamma != nullptr) memset(g.sums.gamma + begin, 0, bytes);
    if (g.sums.beta != nullptr) memset(g.sums.beta + begin, 0, bytes);
  }
  sweep_pairs(how, g, rows, begin, end);
  if (g.rows % 2 == 0) return;
  const int64_t last = g.rows - 1;
  GroupRows<T> odd = g;
  odd.dy = g.dy.from(last), odd.x = g.x.from(last), odd.dx = g.dx.from(last);
  odd.rows = 1;
  odd.factors = g.factors.from(last);
  odd.begins = false;
  sweep_columns(how, odd, RowConstants<T>{odd.factors.p}, begin, end);
}

// Columns [begin, end) of some rows of a group. In rows of whole vectors, all are aligned alike;
// of narrow ones the borders are not worth another pass. In rows of whole lines none is streamed in
// part: beside an ordinary store to the same line it would come back from memory. Measured (Zen 3,
// AVX2, dx 16 bytes into a line): 2048 x 1024 is 1.3 times as fast, 10000 x 304 2.8 times.
template <class Store, class T>
__attribute__((noinline)) void write_group(Store how, const GroupRows<T>& g, int64_t begin,
                                           int64_t end) {
  constexpr int W = Vec<T>::kLanes, kLine = kLineBytes / static_cast<int>(sizeof(T));
  constexpr int64_t kWorthIt = Store::kMustBeAligned ? 0 : 16 * W;
  const RowConstants<T> rows = {g.factors.p};
  const bool whole_lines = Store::kMustBeAligned && g.dx.stride % kLine == 0;
  int64_t j = begin;
  if (g.cols >= kWorthIt) {
    int64_t head = 0;
    if (whole_lines) {
      head = smaller(elements_to_border<kLineBytes>(g.dx.p + begin), end - begin);
    } else if (g.dx.stride % W == 0) {
      head = unaligned_head(how, g.dx.p + begin, end - begin);
      if (!Store::kMustBeAligned && head != 0) head += W;  // in two vectors, without a mask
    }
    if (head != 0) sweep_columns(Cached{}, g, rows, begin, begin + head);
    j += head;
    const int64_t lines = (end - j) / kLine * kLine;
    if (shares_page_offsets(g.dx.stride * static_cast<int64_t>(sizeof(T)))) {
      write_in_pairs(how, g, rows, j, j + lines);
      j += lines;
    } else if (whole_lines) {
      sweep_columns(how, g, rows, j, j + lines);
      j += lines;
    }
  }
  if (whole_lines) return sweep_columns(Cached{}, g, rows, j, end);
  sweep_columns(how, g, rows, j, end);
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ROW_SWEEP_H_
