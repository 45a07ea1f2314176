// The statistics of rows, and the numbers that the loops over their elements need. Shared by layer
// norm, whose rows are the last dimensions, and instance norm in NCHW, whose rows are the planes of
// a channel.
#ifndef NORMKERNELS_NORM_ROW_STATISTICS_H_
#define NORMKERNELS_NORM_ROW_STATISTICS_H_

#include "host/parallel.h"
#include "norm/factors.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// Rows of elements that lie next to each other; the rows are `stride` apart.
template <class T>
struct Rows {
  T* p;
  int64_t stride;

  NORMKERNELS_INLINE T* operator[](int64_t row) const { return p + row * stride; }
  NORMKERNELS_INLINE Rows from(int64_t row) const { return at(row, 0); }
  NORMKERNELS_INLINE Rows at(int64_t row, int64_t column) const {
    return {(*this)[row] + column, stride};
  }
};

// ---- Spans: how a row that is too long for one core is shared -----------------------

constexpr int kMaxSpans = 64;
// 256 KiB of float32: a thread's start-up is small against it.
constexpr int64_t kMinSpan = 16 * kChunk;

// The chunks of a row are merged in two levels, first within a span, then spans; a span is a number
// of whole chunks that depends on the length alone. It is the same for one thread as for many.
NORMKERNELS_INLINE int64_t span_of(int64_t n) {
  const int64_t share = (n + kMaxSpans - 1) / kMaxSpans;
  const int64_t chunks = (share + kChunk - 1) / kChunk;
  return chunks * kChunk < kMinSpan ? kMinSpan : chunks * kChunk;
}
NORMKERNELS_INLINE int64_t spans_in(int64_t n) {
  return n <= kMinSpan ? n > 0 : (n + span_of(n) - 1) / span_of(n);
}

// Rows on one side, spans of a row on the other: which of them the threads share is a matter of
// speed alone. A second span has to be half as long as the first to be worth a thread.
NORMKERNELS_INLINE bool split_rows(int64_t rows, int64_t cols, const Executor& executor) {
  return executor.threads > 1 && rows < 2 * executor.threads && cols >= kMinSpan + kMinSpan / 2;
}

// Rows are worked on a few at a time, step by step: a row's sums, mean, square root and division
// wait for one another, and another row's fill that time. They stay in L1 between the steps.
constexpr int64_t kRowsTogether = 32;
// Elements: these, the next ones and what is written fit L1 together.
constexpr int64_t kTogether = 2048;

NORMKERNELS_INLINE int64_t rows_together(int64_t cols) {
  const int64_t rows = kTogether / (cols > 0 ? cols : 1);
  return rows < 1 ? 1 : rows < kRowsTogether ? rows : kRowsTogether;
}

// The factors of a group of rows.
template <class T>
struct RowFactors {
  alignas(64) T storage[Factors<T>::kFields * kRowsTogether];

  NORMKERNELS_INLINE Factors<T> table() { return {storage, kRowsTogether}; }
};

// f(begin, end) over [0, n): all of it for one thread, a few tasks each for several.
template <class F>
NORMKERNELS_INLINE void for_each_share(int64_t n, const Executor& executor, F&& f) {
  const int64_t tasks_wanted = executor.threads <= 1 ? 1 : 4 * int64_t{executor.threads};
  const int64_t each = (n + tasks_wanted - 1) / tasks_wanted;
  if (n == 0) return;
  for_each_task(executor, (n + each - 1) / each, [&](int64_t task) {
    f(task * each, (task + 1) * each < n ? (task + 1) * each : n);
  });
}

template <class F>
NORMKERNELS_INLINE void for_each_row(int64_t rows, const Executor& executor, F&& f) {
  for_each_share(rows, executor, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i);
  });
}

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
template <class T>
__attribute__((noinline)) Moments<T, double> row_moments(const T* x, int64_t n, double scale,
                                                         const Executor& executor) {
  const int64_t span = span_of(n), spans = spans_in(n);
  if (spans <= 1) return range_moments(x, 0, n, scale);
  Moments<T, double> of_span[kMaxSpans];
  for_each_task(executor, spans, [&](int64_t i) {
    const int64_t end = (i + 1) * span < n ? (i + 1) * span : n;
    of_span[i] = range_moments(x, i * span, end, scale);
  });
  Moments<T, double> all = of_span[0];
  for (int64_t i = 1; i < spans; ++i) all = merge(all, of_span[i]);
  return all;
}

// Moments of `rows` rows of n <= kChunk elements, a row per lane.
template <class T, class BesideRow>
NORMKERNELS_INLINE void moments_in_lanes(const Rows<const T>& x, int64_t rows, int64_t n,
                                         const BesideRow& beside_row, Columns out) {
  using V = Vec<double>;
  constexpr int W = V::kLanes;
  for (int64_t begin = 0; begin < rows; begin += W) {
    Wide<T, V> d[W], squares[W];
    double first[W];
    for (int i = 0; i < W; ++i) {
      if (begin + i >= rows) {
        d[i] = squares[i] = Wide<T, V>{};
        first[i] = 0;
        continue;
      }
      const T* row = x[begin + i];
      first[i] = static_cast<double>(row[0]);
      const CentredSums<T, V> sums = chunk_sums(row, n, 1, first[i], beside_row(begin + i));
      d[i] = sums.d;
      squares[i] = sums.squares;
    }
    const V pivot = load(first);
    const CentredSums<T, V> all = {fold_rows(d), fold_rows(squares)};
    store_moments(all.about(pivot, static_cast<double>(n)), out, begin, Full{});
  }
}

// The factors of rows or columns [0, n) from the moments of scale * x; `scale` may be null for 1,
// and be the factors' own. Outputs [n] or null.
template <class T>
NORMKERNELS_INLINE void set_all_statistics(Columns moments, double count, int64_t n, const T* scale,
                                           double epsilon, const Factors<T>& f, T* mean, T* sigma,
                                           T* inv_sigma, double* exact_inv_sigma = nullptr) {
  for_each_vector<double, 1>(
      n, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        const Vec<double> s =
            scale == nullptr ? Vec<double>::all(1) : load_widened(scale + j, lanes);
        const Statistics of =
            set_statistics(f, j, load_moments<T>(moments, j, count, lanes), s, epsilon);
        if (mean != nullptr) store_rounded(mean + j, of.mean, lanes);
        if (sigma != nullptr) store_rounded(sigma + j, of.sigma, lanes);
        if (inv_sigma != nullptr) store_rounded(inv_sigma + j, of.inv_sigma, lanes);
        if (exact_inv_sigma != nullptr) store(exact_inv_sigma + j, of.inv_sigma);
      });
}

// scale[0..n): a power of two, scale_of(i), for the rows or columns whose moments left the exponent
// range, 1 for the others. Whether there was any.
template <class F>
bool scale_extreme(Columns moments, double count, int64_t n, double epsilon, double* scale,
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

// Factors of `rows` rows, no more than rows_together(n). Reads x once. `executor` shares a
// single long row. beside_row(i) goes on beside row i, of no more than a chunk. mean, sigma and
// inv_sigma are [rows] or null.
template <class T, class BesideRow>
NORMKERNELS_INLINE void row_statistics(const Rows<const T>& x, int64_t rows, int64_t n,
                                       double epsilon, const Executor& executor,
                                       const BesideRow& beside_row, const Factors<T>& factors,
                                       T* mean, T* sigma, T* inv_sigma,
                                       double* exact_inv_sigma = nullptr) {
  double storage[kColumnFields * kRowsTogether];
  const Columns moments = {storage, kRowsTogether};
  if (n > kChunk) {
    for (int64_t i = 0; i < rows; ++i) store_moments(row_moments(x[i], n, 1, executor), moments, i);
  } else {
    moments_in_lanes<T>(x, rows, n, beside_row, moments);
  }
  const double count = static_cast<double>(n);
  const T* scale = nullptr;
  if constexpr (kNeedsScale<T>) {
    T* const wanted = factors[Factors<T>::kScale];
    if (scale_extreme(moments, count, rows, epsilon, wanted,
                      [&](int64_t i) { return scale_for(x[i], n, 1); })) {
      for (int64_t i = 0; i < rows; ++i) {
        if (wanted[i] != 1) store_moments(row_moments(x[i], n, wanted[i], executor), moments, i);
      }
      scale = wanted;
    }
  }
  set_all_statistics(moments, count, rows, scale, epsilon, factors, mean, sigma, inv_sigma,
                     exact_inv_sigma);
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ROW_STATISTICS_H_
