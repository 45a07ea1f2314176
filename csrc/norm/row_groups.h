// The backward of layer norm and RMS norm, a group of rows at a time: dx, and their part of dgamma
// and dbeta.
//
// Rows are taken in groups of kGroup, and of a group a few together, as many as the
// caches hold: first the sums of each row, then one sweep down their columns that writes dx and
// adds up dgamma and dbeta, which wait in memory for the next rows of the group. Groups are
// gathered into blocks (blocks.h).
#ifndef NORMKERNELS_NORM_ROW_GROUPS_H_
#define NORMKERNELS_NORM_ROW_GROUPS_H_

#include "norm/blocks.h"
#include "norm/row_gradient.h"

namespace normkernels::NORMKERNELS_ISA {

constexpr int64_t kGroup = kRun;
constexpr int64_t kStrip = 4096;  // columns that one task takes where threads share a group
static_assert(kGroup <= kRowsTogether, "a group's factors are one table");

// The sums of dy xhat and of dy over some rows, [cols] each or null.
template <class V>
struct ParameterSums {
  V *gamma, *beta;
};

// Those of blocks in float64, and of the group of each block that is being worked on. Those of an
// only group are dgamma and dbeta themselves.
template <class T>
struct GroupWorkspace {
  int64_t blocks, cols;
  void* p;

  NORMKERNELS_INLINE ParameterSums<double> of_block(int64_t block) const {
    double* sums = static_cast<double*>(p) + 2 * block * cols;
    return {sums, sums + cols};
  }
  NORMKERNELS_INLINE ParameterSums<T> of_group(int64_t block) const {
    T* sums = reinterpret_cast<T*>(of_block(blocks).gamma) + 2 * block * cols;
    return {sums, sums + cols};
  }
  size_t bytes() const {
    return static_cast<size_t>(2 * blocks * cols) * (sizeof(double) + sizeof(T));
  }
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
// ns for 16 elements instead of 6.2.
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
      prefetch_to_l2(dy + g.rows * g.dy.stride);
      prefetch_to_l2(x + g.rows * g.x.stride);
    } else if constexpr (kVectors > 1) {
      prefetch_lines<kColumns>(dy + kAhead);
      prefetch_lines<kColumns>(x + kAhead);
      prefetch_lines_to_write<kColumns>(dx + kAhead);
    }
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) {
      const Vec<T> d = load(dy + k * W, lanes), xhat = standardise(load(x + k * W, lanes));
      store(how, dx + k * W, gradient(d * gamma[k], xhat), lanes);
      sum_gamma[k] = multiply_add(d, xhat, sum_gamma[k]);
      sum_beta[k] = sum_beta[k] + d;
    }
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
  const bool overlaps = rest != 0 && end - begin > W;
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
        store(sum_gamma + k, of_gamma);
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
NORMKERNELS_INLINE bool shares_page_offsets(int64_t bytes) {
  constexpr int64_t kPage = 4096, kFewRows = 8;
  for (int64_t rows = 1; rows <= kFewRows; rows *= 2) {
    if ((bytes * rows + kLineBytes) % kPage <= 2 * kLineBytes) return true;
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
// of narrow ones the borders are not worth another pass.
template <class Store, class T>
__attribute__((noinline)) void write_group(Store how, const GroupRows<T>& g, int64_t begin,
                                           int64_t end) {
  constexpr int W = Vec<T>::kLanes, kLine = kLineBytes / static_cast<int>(sizeof(T));
  constexpr int64_t kWorthIt = Store::kMustBeAligned ? 0 : 16 * W;
  const RowConstants<T> rows = {g.factors.p};
  int64_t j = begin;
  if (g.cols >= kWorthIt) {
    const int64_t head =
        g.dx.stride % W == 0 ? unaligned_head(how, g.dx.p + begin, end - begin) : 0;
    if (head != 0) sweep_columns(how, g, rows, begin, begin + head);
    j += head;
    if (shares_page_offsets(g.dx.stride * static_cast<int64_t>(sizeof(T)))) {
      const int64_t lines = (end - j) / kLine * kLine;
      write_in_pairs(how, g, rows, j, j + lines);
      j += lines;
    }
  }
  sweep_columns(how, g, rows, j, end);
}

// A backward's arrays by their types. Saved are mean and sigma, or, of rows that are not centred,
// rstd or nothing.
template <class T>
struct RowsBackward {
  Rows<const T> dy, x;
  Rows<T> dx;
  int64_t rows, cols;
  const T *mean, *sigma, *rstd;
  double epsilon;
  Parameter<T> gamma;
  bool stream;
  bool centred = true;
  T *dgamma, *dbeta;
  GroupWorkspace<T> workspace;

  NORMKERNELS_INLINE bool has_statistics() const { return centred || rstd != nullptr; }
  NORMKERNELS_INLINE bool wants_parameters() const { return dgamma != nullptr || dbeta != nullptr; }
};

// What the saved statistics say of rows [first, first + rows), no more than kRowsTogether.
template <class T>
__attribute__((noinline)) void set_saved_rows(const RowsBackward<T>& a, int64_t first, int64_t rows,
                                              const Factors<T>& factors, double* rstd) {
  const T* const saved = a.centred ? a.sigma : a.rstd;
  for_each_vector<double, 1>(
      rows, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        const Vec<double> one = Vec<double>::all(1), zero = Vec<double>::zero();
        const Vec<double> given = load_widened(saved + first + j, lanes);
        const Vec<double> inverse = a.centred ? one / given : given;
        const Vec<double> mean = a.centred ? load_widened(a.mean + first + j, lanes) : zero;
        set_standard<T>(factors, j, one, {mean, zero}, inverse);
        store(rstd + j, inverse);
      });
}

template <class T>
__attribute__((noinline)) void set_row_gradients(SumTable sums, int64_t cols, int64_t rows,
                                                 const Factors<T>& factors, const double* rstd,
                                                 bool centred) {
  set_all_gradients(
      sums, cols, rows, factors,
      [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        return gradient_factor(load(rstd + j, lanes), Vec<double>::all(1));
      },
      nullptr, nullptr, centred);
  using F = Factors<T>;
  for (int64_t i = 0; i < rows; i += Vec<double>::kLanes)
    factors.set(F::kMinusCentre, i, -load_widened(factors[F::kCentre] + i, Full{}));
}

// Their factors; own(wanted): finds statistics that were not saved; sums_of(sums): of
// gradient_sums.
template <class T, class Own, class SumsOf>
NORMKERNELS_INLINE void factors_from(const RowsBackward<T>& a, int64_t first, int64_t rows,
                                     const Factors<T>& factors, const Own& own,
                                     const SumsOf& sums_of) {
  double storage[3 * kRowsTogether], rstd[kRowsTogether];
  const SumTable sums = {storage, kRowsTogether};
  if (a.has_statistics()) {
    set_saved_rows(a, first, rows, factors, rstd);
  } else {
    own(Wanted<T>{a.epsilon, a.centred, nullptr, nullptr, nullptr, rstd});
  }
  sums_of(sums);
  set_row_gradients(sums, a.cols, rows, factors, rstd, a.centred);
}
template <class T>
__attribute__((noinline)) void backward_factors(const RowsBackward<T>& a, int64_t first,
                                                int64_t rows, const Executor& executor,
                                                const Factors<T>& factors) {
  const Rows<const T> x = a.x.from(first);
  factors_from(
      a, first, rows, factors,
      [&](const Wanted<T>& wanted) { row_statistics(x, rows, a.cols, executor, factors, wanted); },
      [&](SumTable sums) {
        gradient_sums<T>({a.dy.from(first), x, a.gamma}, rows, a.cols, factors, executor, sums);
      });
}

// Rows of a group that are worked on together: as many as stay in L2 between the sums and the
// sweep that writes, but some even of long rows, which share the sums of a column. Streamed, lines
// of rows that are not whole lines apart are left half written until the next columns, and a core
// keeps only some of these open. Measured (Zen 3, L2 of 512 KiB, AVX2): 3000 x 1000 takes 2.5
// times as long with 16 rows as with 6; 100 x 40000 1.1 to 1.2 times as long with 1 as with 4.
// Streamed rows of 4 KiB go one by one: a load from the next would wait until the store to the same
// place of a page has left, and 4096 x 1024 takes 3 times as long with 2 or 16 rows.
template <class T>
NORMKERNELS_INLINE int64_t group_rows_together(int64_t cols, int64_t stride, bool stream) {
  constexpr int64_t kBytes = 384 * 1024, kStreamedBytes = 128 * 1024, kLeast = 4, kPage = 4096;
  constexpr auto kSize = static_cast<int64_t>(sizeof(T));
  if (stream && stride * kSize % kPage == 0) return 1;
  const int64_t most = stream && stride * kSize % kLineBytes != 0 ? 6 : kGroup;
  const int64_t rows = (stream ? kStreamedBytes / 2 : kBytes / 3) / kSize / cols;
  return smaller(larger(rows, kLeast), most);
}

// Rows [begin, begin + rows) of a group, of which they are the first ones or not. Threads (if any)
// share first the rows, then the columns.
template <class T>
void rows_backward(const RowsBackward<T>& a, int64_t begin, int64_t rows, bool begins,
                   const ParameterSums<T>& sums, const Executor& executor) {
  RowFactors<T> storage;
  const Factors<T> factors = storage.table();
  const bool split = split_rows(rows, a.cols, executor);
  if (split || executor.threads <= 1) {
    backward_factors(a, begin, rows, executor, factors);
  } else {
    for_each_row(rows, executor, [&](int64_t i) {
      RowFactors<T> own;
      backward_factors(a, begin + i, 1, kSerial, own.table());
      for (int field = 0; field < Factors<T>::kFields; ++field)
        factors[field][i] = own.table()[field][0];
    });
  }
  const GroupRows<T> group = {a.dy.from(begin),
                              a.x.from(begin),
                              a.dx.from(begin),
                              factors,
                              rows,
                              a.cols,
                              a.gamma,
                              sums,
                              begins};
  const bool shares = executor.threads > 1;
  const int64_t strip = shares ? kStrip : a.cols;
  for_each_task(executor, parts_of(a.cols, strip), [&](int64_t task) {
    const int64_t end = part_end(task * strip, strip, a.cols);
    if (a.stream) {
      write_group(Streamed{}, group, task * strip, end);
      if (shares) stream_fence();  // this may be another thread
    } else {
      write_group(Cached{}, group, task * strip, end);
    }
  });
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ROW_GROUPS_H_
