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

// `kVectors` vectors of columns from j on.
template <int kVectors, class Store, class T, class Lanes>
NORMKERNELS_INLINE void write_columns(Store how, const GroupRows<T>& g, int64_t j, Lanes lanes) {
  constexpr int W = Vec<T>::kLanes;
  Vec<T> gamma[kVectors], sum_gamma[kVectors] = {}, sum_beta[kVectors] = {};
#pragma GCC unroll 4
  for (int k = 0; k < kVectors; ++k) gamma[k] = load(g.gamma.at(j + k * W), lanes);
#pragma GCC unroll 4
  for (int k = 0; k < kVectors; ++k) {
    if (!g.begins && g.sums.gamma != nullptr) sum_gamma[k] = load(g.sums.gamma + j + k * W, lanes);
    if (!g.begins && g.sums.beta != nullptr) sum_beta[k] = load(g.sums.beta + j + k * W, lanes);
  }
  for (int64_t i = 0; i < g.rows; ++i) {
    const RowGradient<T> row = g.factors.gradient(i);
    const Standardise<T> standardise(row.standard);
    const Gradient<T> gradient(row);
    const T *dy = g.dy[i] + j, *x = g.x[i] + j;
    T* dx = g.dx[i] + j;
    if constexpr (Store::kMustBeAligned) {  // the next rows, from beyond the caches
      prefetch_to_l2(dy + g.rows * g.dy.stride);
      prefetch_to_l2(x + g.rows * g.x.stride);
    }
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) {
      const Vec<T> d = load(dy + k * W, lanes), xhat = standardise(load(x + k * W, lanes));
      store(how, dx + k * W, gradient(d * gamma[k], xhat), lanes);
      sum_gamma[k] = multiply_add(d, xhat, sum_gamma[k]);
      sum_beta[k] = sum_beta[k] + d;
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < kVectors; ++k) {
    // 0 + x: no negative zero.
    const Vec<T> zero = Vec<T>::zero();
    if (g.sums.gamma != nullptr) store(g.sums.gamma + j + k * W, zero + sum_gamma[k], lanes);
    if (g.sums.beta != nullptr) store(g.sums.beta + j + k * W, zero + sum_beta[k], lanes);
  }
}

// Columns [begin, end) of some rows of a group. In rows of whole vectors, all are aligned alike;
// of narrow ones the borders are not worth another pass.
template <class Store, class T>
__attribute__((noinline)) void write_group(Store how, const GroupRows<T>& group, int64_t begin,
                                           int64_t end) {
  constexpr int W = Vec<T>::kLanes, kVectors = kColumnVectors;
  constexpr int64_t kWorthIt = Store::kMustBeAligned ? 0 : 16 * W;
  const GroupRows<T> g = group;
  int64_t j = begin;
  if (g.dx.stride % W == 0 && g.cols >= kWorthIt) {
    const int64_t head = unaligned_head(how, g.dx.p + begin, end - begin);
    if (head != 0) write_columns<1>(how, g, begin, static_cast<int>(head));
    j += head;
  }
  for (; j + kVectors * W <= end; j += kVectors * W) write_columns<kVectors>(how, g, j, Full{});
  for (; j + W <= end; j += W) write_columns<1>(how, g, j, Full{});
  if (j < end) write_columns<1>(how, g, j, static_cast<int>(end - j));
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

// Rows of a group that are worked on together: as many as sixteen rows would be too far apart for
// the columns of dy, x and dx to stay in L1 and L2, where rows of a multiple of 4 KiB fall on the
// same sets. Measured (Zen 3): 512 x 768 and 1000 x 1023 are fastest with 80 to 100 KiB, 2048 x
// 1024 with 48; 4096 x 4096 takes 3 times as long with 16 rows as with one.
template <class T>
NORMKERNELS_INLINE int64_t group_rows_together(int64_t cols) {
  constexpr int64_t kBytes = 80 * 1024;
  const int64_t rows = kBytes / static_cast<int64_t>(3 * sizeof(T)) / cols;
  return smaller(larger(rows, 1), kGroup);
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
