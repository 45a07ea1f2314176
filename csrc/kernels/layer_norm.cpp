// Layer norm over rows: y = (x - mean) rstd gamma + beta, and its gradients (derived in
// row_gradient.h).
//
// Traffic, for a row that fits the cache: the forward reads x once and writes y once, the backward
// reads dy and x once and writes dx once. Longer rows are read once more, in the sweep that writes.
#include "../kernels.h"
#include "../row_gradient.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

template <class T>
void layer_norm_forward(const LayerNormForward& a, const Executor& executor) {
  const auto* x = static_cast<const T*>(a.x);
  auto* y = static_cast<T*>(a.y);
  auto* mean = static_cast<T*>(a.mean);
  auto* sigma = static_cast<T*>(a.sigma);
  const int64_t cols = a.shape.cols;
  const bool split = split_rows(a.shape.rows, cols, executor);
  const Executor& across = split ? kSerial : executor;
  const Executor& within = split ? executor : kSerial;
  with_optional(static_cast<const T*>(a.gamma), [&](auto gamma) {
    with_optional(static_cast<const T*>(a.beta), [&](auto beta) {
      for_each_row_group(a.shape.rows, rows_together(cols), across,
                         [&](int64_t first, int64_t rows) {
                           RowStatistics<T> row[kRowsTogether];
                           row_statistics(x + first * cols, rows, cols, a.epsilon, within, row);
                           for (int64_t i = 0; i < rows; ++i) {
                             const int64_t at = (first + i) * cols;
                             if (mean != nullptr) mean[first + i] = static_cast<T>(row[i].mean);
                             if (sigma != nullptr) sigma[first + i] = static_cast<T>(row[i].sigma);
                             for_each_span(cols, within, [&](int64_t begin, int64_t end) {
                               normalise(x + at, begin, end, row[i].standard, gamma, beta,
                                         read_ahead(rows, cols), y + at);
                             });
                           }
                         });
    });
  });
}

// ---- Backward -----------------------------------------------------------------------
//
// Rows are taken in groups of kGroup: first the sums of each row, then one sweep down the columns
// that writes dx and adds up dgamma and dbeta of the group in registers. Groups are gathered, in
// float64, into at most kMaxBlocks blocks, and these added in index order; how many rows a block
// has depends on the number of rows alone.

constexpr int64_t kGroup = 16;      // additions one after the other in float32, as in reduce.h
constexpr int64_t kMaxBlocks = 32;  // bounds the workspace; as many threads can share the rows
constexpr int64_t kStrip = 4096;    // columns that one task takes where threads share a group

struct Blocks {
  int64_t rows_each, count;
};

NORMKERNELS_INLINE Blocks blocks_of(int64_t rows) {
  const int64_t groups = (rows + kGroup - 1) / kGroup;
  const int64_t groups_each = (groups + kMaxBlocks - 1) / kMaxBlocks;
  if (groups == 0) return {kGroup, 0};
  return {groups_each * kGroup, (groups + groups_each - 1) / groups_each};
}

size_t layer_norm_backward_workspace(const Matrix& shape) {
  return static_cast<size_t>(blocks_of(shape.rows).count * 2 * shape.cols) * sizeof(double);
}

NORMKERNELS_INLINE void add_to(double* sums, Vec<float> a, bool begin) {
  Vec<double> low, high;
  widen(a, low, high);
  constexpr int W = Vec<double>::kLanes;
  store(sums, begin ? low : load(sums) + low);
  store(sums + W, begin ? high : load(sums + W) + high);
}
NORMKERNELS_INLINE void add_to(double* sums, Vec<double> a, bool begin) {
  store(sums, begin ? a : load(sums) + a);
}
template <class T>
NORMKERNELS_INLINE void add_to(double* sums, Vec<T> a, bool begin, Full) {
  add_to(sums, a, begin);
}
template <class T>
NORMKERNELS_INLINE void add_to(double* sums, Vec<T> a, bool begin, int lanes) {
  double whole[Vec<T>::kLanes] = {};
  add_to(whole, a, true);
  for (int i = 0; i < lanes; ++i) sums[i] = begin ? whole[i] : sums[i] + whole[i];
}

// The block's sums of dy xhat and of dy, each [cols].
struct ParameterSums {
  double *gamma, *beta;
};

// Columns [begin, end) of a group of rows: dx, and with kParameters the sums.
template <class T, bool kParameters, class Gamma>
NORMKERNELS_INLINE void write_group(const T* dy, const T* x, int64_t cols,
                                    const RowGradient<T>* row, int64_t rows, int64_t begin,
                                    int64_t end, const Gamma& gamma, T* dx, ParameterSums sums,
                                    bool first_group) {
  constexpr int W = Vec<T>::kLanes;
  // Two sums, gamma and the operands of every column vector must stay in registers: 16 of them, or
  // 32 with AVX-512.
  constexpr int kColumns = NORMKERNELS_VECTOR_BYTES == 64 ? 4 : 2;
  const auto columns = [=](int64_t j, auto count, auto lanes) __attribute__((always_inline)) {
    constexpr int kCount = decltype(count)::value;
    Vec<T> sum_gamma[kCount], sum_beta[kCount];
    unroll<kCount>([&](auto k) __attribute__((always_inline)) {
      sum_gamma[decltype(k)::value] = Vec<T>::zero();
      sum_beta[decltype(k)::value] = Vec<T>::zero();
    });
    for (int64_t i = 0; i < rows; ++i) {
      const Standardise<T> standardise(row[i].standard);
      const Gradient<T> gradient(row[i]);
      unroll<kCount>([&](auto k) __attribute__((always_inline)) {
        constexpr int kAt = decltype(k)::value;
        const int64_t at = i * cols + j + kAt * W;
        const Vec<T> d = load(dy + at, lanes);
        const Vec<T> xhat = standardise(load(x + at, lanes));
        const Vec<T> g = times(d, gamma, j + kAt * W, lanes);
        store(dx + at, gradient(g, xhat), lanes);
        if constexpr (kParameters) {
          sum_gamma[kAt] = multiply_add(d, xhat, sum_gamma[kAt]);
          sum_beta[kAt] = sum_beta[kAt] + d;
        }
      });
    }
    if constexpr (kParameters) {
      unroll<kCount>([&](auto k) __attribute__((always_inline)) {
        constexpr int kAt = decltype(k)::value;
        add_to(sums.gamma + j + kAt * W, sum_gamma[kAt], first_group, lanes);
        add_to(sums.beta + j + kAt * W, sum_beta[kAt], first_group, lanes);
      });
    }
  };
  int64_t j = begin;
  for (; j + kColumns * W <= end; j += kColumns * W) columns(j, Index<kColumns>{}, Full{});
  for (; j + W <= end; j += W) columns(j, Index<1>{}, Full{});
  if (j < end) columns(j, Index<1>{}, static_cast<int>(end - j));
}

// One group of rows, its threads (if any) sharing first the rows, then the columns.
template <class T, bool kParameters, class Gamma>
void group_backward(const LayerNormBackward& a, int64_t begin, int64_t rows, const Gamma& gamma,
                    ParameterSums sums, bool first_group, const Executor& executor) {
  const int64_t cols = a.shape.cols;
  const T* dy = static_cast<const T*>(a.dy) + begin * cols;
  const T* x = static_cast<const T*>(a.x) + begin * cols;
  const T* mean = static_cast<const T*>(a.mean) + begin;
  const T* sigma = static_cast<const T*>(a.sigma) + begin;
  T* dx = static_cast<T*>(a.dx) + begin * cols;

  RowGradient<T> row[kGroup];
  const bool split = split_rows(rows, cols, executor);
  for_each_task(split ? kSerial : executor, rows, [&](int64_t i) {
    const double inv_sigma = 1 / static_cast<double>(sigma[i]);
    const Standard<T> standard = standard_of_saved(mean[i], inv_sigma);
    const Sums<3> of_row = gradient_sums(dy + i * cols, x + i * cols, cols, standard, gamma,
                                         split ? executor : kSerial);
    row[i] = row_gradient_of(standard, of_row, cols, is_finite(inv_sigma) ? inv_sigma : 0);
  });
  const int64_t strip = executor.threads > 1 || cols == 0 ? kStrip : cols;
  for_each_task(executor, (cols + strip - 1) / strip, [&](int64_t task) {
    const int64_t end = (task + 1) * strip < cols ? (task + 1) * strip : cols;
    write_group<T, kParameters>(dy, x, cols, row, rows, task * strip, end, gamma, dx, sums,
                                first_group);
  });
}

template <class T, bool kParameters, class Gamma>
void all_blocks_backward(const LayerNormBackward& a, const Gamma& gamma, const Executor& executor) {
  const int64_t rows = a.shape.rows, cols = a.shape.cols;
  const Blocks blocks = blocks_of(rows);
  const bool share_blocks = blocks.count >= 2 * executor.threads;
  for_each_task(share_blocks ? executor : kSerial, blocks.count, [&](int64_t b) {
    double* workspace = static_cast<double*>(a.workspace);
    const ParameterSums sums = {workspace + 2 * b * cols, workspace + (2 * b + 1) * cols};
    const int64_t begin = b * blocks.rows_each;
    const int64_t end = begin + blocks.rows_each < rows ? begin + blocks.rows_each : rows;
    for (int64_t i = begin; i < end; i += kGroup) {
      group_backward<T, kParameters>(a, i, end - i < kGroup ? end - i : kGroup, gamma, sums,
                                     i == begin, share_blocks ? kSerial : executor);
    }
  });
  const double* sums = static_cast<const double*>(a.workspace);
  add_blocks(sums, blocks.count, 2 * cols, cols, static_cast<T*>(a.dgamma));
  add_blocks(sums + cols, blocks.count, 2 * cols, cols, static_cast<T*>(a.dbeta));
}

template <class T>
void layer_norm_backward(const LayerNormBackward& a, const Executor& executor) {
  with_optional(static_cast<const T*>(a.gamma), [&](auto gamma) {
    if (a.dgamma != nullptr || a.dbeta != nullptr) {
      all_blocks_backward<T, true>(a, gamma, executor);
    } else {
      all_blocks_backward<T, false>(a, gamma, executor);
    }
  });
}

}  // namespace

const LayerNormKernels layer_norm_f32 = {layer_norm_forward<float>, layer_norm_backward<float>,
                                         layer_norm_backward_workspace};
const LayerNormKernels layer_norm_f64 = {layer_norm_forward<double>, layer_norm_backward<double>,
                                         layer_norm_backward_workspace};

}  // namespace normkernels::NORMKERNELS_ISA
