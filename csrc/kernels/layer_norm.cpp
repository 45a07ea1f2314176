// Layer norm over rows: y = (x - mean) rstd gamma + beta, and its gradients (derived in
// row_gradient.h).
//
// Traffic, for a row that fits the cache: the forward reads x once and writes y once, the backward
// reads dy and x once and writes dx once. Longer rows are read once more, in the sweep that writes.
#include "../kernels.h"
#include "../row_forward.h"
#include "../row_gradient.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

template <class T>
void layer_norm_forward(const LayerNormForward& a, const Executor& executor) {
  const RowNorm<T> norm = {static_cast<const T*>(a.x),
                           1,
                           a.shape.rows,
                           a.shape.cols,
                           a.epsilon,
                           static_cast<T*>(a.y),
                           static_cast<T*>(a.mean),
                           static_cast<T*>(a.sigma),
                           nullptr,
                           a.stream};
  with_optional(static_cast<const T*>(a.gamma), [&](auto gamma) {
    with_optional(static_cast<const T*>(a.beta),
                  [&](auto beta) { normalise_rows(norm, gamma, beta, executor); });
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
  if (shape.rows <= kGroup) return 0;
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
  double whole[Vec<T>::kLanes];
  add_to(whole, a, true);
  for_each_vector<double, 1>(
      lanes, [&](int64_t i, auto some) __attribute__((always_inline)) {
        const Vec<double> own = load(whole + i, some);
        store(sums + i, begin ? own : load(sums + i, some) + own, some);
      });
}

// What becomes of a group's sums of dy xhat and of dy.

// Not asked for.
struct NoParameters {
  static constexpr bool kWanted = false;
};

// Added to those of a block, or, if it is the only group, dgamma and dbeta themselves; each [cols].
template <class T>
struct Parameters {
  static constexpr bool kWanted = true;
  double *gamma, *beta;
  bool first_group;
  T *dgamma, *dbeta;  // null, but for an only group

  template <class Lanes>
  NORMKERNELS_INLINE void add(int64_t j, Vec<T> of_gamma, Vec<T> of_beta, Lanes lanes) const {
    if (gamma != nullptr) {
      add_to(gamma + j, of_gamma, first_group, lanes);
      add_to(beta + j, of_beta, first_group, lanes);
    }
    // 0 + sum, as blocks are added: no negative zero.
    if (dgamma != nullptr) store(dgamma + j, Vec<T>::zero() + of_gamma, lanes);
    if (dbeta != nullptr) store(dbeta + j, Vec<T>::zero() + of_beta, lanes);
  }
};

// Columns [begin, end) of a group of rows: dx, and the sums for `parameters`.
template <class T, class Wanted, class Store, class Gamma>
NORMKERNELS_INLINE void write_group(Store how, const T* dy, const T* x, int64_t cols,
                                    const Factors<T>& factors, int64_t rows, int64_t begin,
                                    int64_t end, const Gamma& gamma, T* dx,
                                    const Wanted& parameters) {
  constexpr int W = Vec<T>::kLanes;
  // Two sums, gamma and the operands of every column vector must stay in registers: 16 of them, or
  // 32 with AVX-512.
  constexpr int kColumns = NORMKERNELS_VECTOR_BYTES == 64 ? 4 : 2;
  const int64_t next = cols <= kChunk ? rows * cols : 0;
  const auto columns = [=](int64_t j, auto count, auto lanes) __attribute__((always_inline)) {
    constexpr int kCount = decltype(count)::value;
    Vec<T> sum_gamma[kCount], sum_beta[kCount];
    unroll<kCount>([&](auto k) __attribute__((always_inline)) {
      sum_gamma[decltype(k)::value] = Vec<T>::zero();
      sum_beta[decltype(k)::value] = Vec<T>::zero();
    });
    for (int64_t i = 0; i < rows; ++i) {
      const RowGradient<T> row = factors.gradient(i);
      const Standardise<T> standardise(row.standard);
      const Gradient<T> gradient(row);
      unroll<kCount>([&](auto k) __attribute__((always_inline)) {
        constexpr int kAt = decltype(k)::value;
        const int64_t at = i * cols + j + kAt * W;
        prefetch_to_l2(dy + at + next);
        prefetch_to_l2(x + at + next);
        const Vec<T> d = load(dy + at, lanes);
        const Vec<T> xhat = standardise(load(x + at, lanes));
        const Vec<T> g = times(d, gamma, j + kAt * W, lanes);
        store(how, dx + at, gradient(g, xhat), lanes);
        if constexpr (Wanted::kWanted) {
          sum_gamma[kAt] = multiply_add(d, xhat, sum_gamma[kAt]);
          sum_beta[kAt] = sum_beta[kAt] + d;
        }
      });
    }
    if constexpr (Wanted::kWanted) {
      unroll<kCount>([&](auto k) __attribute__((always_inline)) {
        constexpr int kAt = decltype(k)::value;
        parameters.add(j + kAt * W, sum_gamma[kAt], sum_beta[kAt], lanes);
      });
    }
  };
  // In rows of whole vectors, all rows are aligned alike; of narrow ones the borders are not worth
  // another pass.
  constexpr int64_t kWorthIt = Store::kMustBeAligned ? 0 : 16 * W;
  int64_t head = 0;
  if (cols % W == 0 && cols >= kWorthIt) {
    head = unaligned_head(how, dx + begin, end - begin);
    if (head != 0) columns(begin, Index<1>{}, static_cast<int>(head));
  }
  for_each_column_block<T, kColumns>(end, columns, begin + head);
}

// The factors of rows, no more than kRowsTogether, from their saved mean and sigma.
template <class T, class Gamma, class Beside>
__attribute__((noinline)) void backward_factors(const T* dy, const T* x, const T* mean,
                                                const T* sigma, int64_t rows, int64_t cols,
                                                const Gamma& gamma, const Beside& beside,
                                                const Executor& executor,
                                                const Factors<T>& factors) {
  double storage[3 * kRowsTogether], inv_sigma[kRowsTogether];
  for_each_vector<double, 1>(
      rows, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        const Vec<double> inverse = Vec<double>::all(1) / load_widened(sigma + j, lanes);
        set_saved(factors, j, mean + j, inverse, lanes);
        store(inv_sigma + j, inverse, lanes);
      });
  const Columns sums = {storage, kRowsTogether};
  gradient_sums(dy, x, rows, cols, factors, gamma, beside, executor, sums);
  set_all_gradients(
      sums, cols, rows, factors,
      [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        return gradient_factor(load(inv_sigma + j, lanes), Vec<double>::all(1));
      },
      nullptr, nullptr);
}

// One group of rows, its threads (if any) sharing first the rows, then the columns.
template <class T, class Wanted, class Store, class Gamma>
void group_backward(Store how, const LayerNormBackward& a, int64_t begin, int64_t rows,
                    const Gamma& gamma, const Wanted& parameters, const Executor& executor) {
  const int64_t cols = a.shape.cols;
  const T* dy = static_cast<const T*>(a.dy) + begin * cols;
  const T* x = static_cast<const T*>(a.x) + begin * cols;
  const T* mean = static_cast<const T*>(a.mean) + begin;
  const T* sigma = static_cast<const T*>(a.sigma) + begin;
  T* dx = static_cast<T*>(a.dx) + begin * cols;

  static_assert(kGroup <= kRowsTogether, "a group's factors are one table");
  RowFactors<T> storage;
  const Factors<T> factors = storage.table();
  const bool split = split_rows(rows, cols, executor);
  const Executor& across = split ? kSerial : executor;
  for_each_share(rows, across, [&](int64_t first, int64_t last) {
    const int64_t at = first * cols;
    backward_factors(dy + at, x + at, mean + first, sigma + first, last - first, cols, gamma,
                     Ahead<T>{a.stream || cols > kChunk ? x + at : dx + at},
                     split ? executor : kSerial, factors.from(first));
  });
  const int64_t strip = executor.threads > 1 || cols == 0 ? kStrip : cols;
  for_each_task(executor, (cols + strip - 1) / strip, [&](int64_t task) {
    const int64_t end = (task + 1) * strip < cols ? (task + 1) * strip : cols;
    write_group(how, dy, x, cols, factors, rows, task * strip, end, gamma, dx, parameters);
    if (executor.threads > 1) stream_fence();  // this may be another thread
  });
}

// Rows of whole vectors are aligned alike, others not, and cannot be streamed. Measured (16 MiB of
// dx, AVX-512): from 64 columns on it is 1.1 to 1.5 times as fast.
template <class T, class F>
NORMKERNELS_INLINE void with_dx_store(const LayerNormBackward& a, F&& f) {
  constexpr int64_t kLeastColumns = 256 / sizeof(T);
  with_store(a.stream && a.shape.cols >= kLeastColumns && a.shape.cols % Vec<T>::kLanes == 0, f);
}

// f(begin, end, block, executor of its groups) for every block of rows; threads share the blocks,
// or each group where there are too few of them.
template <class F>
NORMKERNELS_INLINE void for_each_block(int64_t rows, const Executor& executor, F&& f) {
  const Blocks blocks = blocks_of(rows);
  const bool share_blocks = blocks.count >= 2 * executor.threads;
  for_each_task(share_blocks ? executor : kSerial, blocks.count, [&](int64_t b) {
    const int64_t begin = b * blocks.rows_each;
    f(begin, begin + blocks.rows_each < rows ? begin + blocks.rows_each : rows, b,
      share_blocks ? kSerial : executor);
  });
}

template <class T, class Gamma, class ParametersOf>
void all_rows_backward(const LayerNormBackward& a, const Gamma& gamma, const Executor& executor,
                       const ParametersOf& parameters_of) {
  for_each_block(a.shape.rows, executor,
                 [&](int64_t begin, int64_t end, int64_t block, const Executor& within) {
                   with_dx_store<T>(a, [&](auto how) {
                     for (int64_t i = begin; i < end; i += kGroup) {
                       group_backward<T>(how, a, i, end - i < kGroup ? end - i : kGroup, gamma,
                                         parameters_of(block, i == begin), within);
                     }
                   });
                 });
}

template <class T>
void layer_norm_backward(const LayerNormBackward& a, const Executor& executor) {
  const int64_t cols = a.shape.cols;
  auto* dgamma = static_cast<T*>(a.dgamma);
  auto* dbeta = static_cast<T*>(a.dbeta);
  auto* sums = static_cast<double*>(a.workspace);  // [blocks, 2, cols]
  with_optional(static_cast<const T*>(a.gamma), [&](auto gamma) {
    if (dgamma == nullptr && dbeta == nullptr) {
      all_rows_backward<T>(a, gamma, executor, [](int64_t, bool) { return NoParameters{}; });
      return;
    }
    const bool only = a.shape.rows > 0 && a.shape.rows <= kGroup;
    all_rows_backward<T>(a, gamma, executor, [=](int64_t block, bool first_group) {
      if (only) return Parameters<T>{nullptr, nullptr, true, dgamma, dbeta};
      double* of_block = sums + 2 * block * cols;
      return Parameters<T>{of_block, of_block + cols, first_group, nullptr, nullptr};
    });
    if (!only) {
      const int64_t blocks = blocks_of(a.shape.rows).count;
      add_blocks(sums, blocks, 2 * cols, cols, dgamma);
      add_blocks(sums + cols, blocks, 2 * cols, cols, dbeta);
    }
  });
}

}  // namespace

const LayerNormKernels layer_norm_f32 = {layer_norm_forward<float>, layer_norm_backward<float>,
                                         layer_norm_backward_workspace};
const LayerNormKernels layer_norm_f64 = {layer_norm_forward<double>, layer_norm_backward<double>,
                                         layer_norm_backward_workspace};

}  // namespace normkernels::NORMKERNELS_ISA
