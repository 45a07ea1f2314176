// Rows: how they are shared between threads and worked on together.
#ifndef NORMKERNELS_NORM_ROWS_H_
#define NORMKERNELS_NORM_ROWS_H_

#include "host/parallel.h"
#include "simd/extents.h"
#include "sums/lanes.h"

namespace normkernels::NORMKERNELS_ISA {

// p + i, or null if p is.
template <class T, class Void>
NORMKERNELS_INLINE T* optional_at(Void* p, int64_t i) {
  return p == nullptr ? nullptr : static_cast<T*>(p) + i;
}

constexpr Executor kSerial = {1, nullptr, nullptr};

// f(begin, end) over [0, n): all of it for one thread, a few tasks each for several, of no less
// than `least` unless a thread would have nothing to do.
template <class F>
NORMKERNELS_INLINE void for_each_share(int64_t n, const Executor& executor, F&& f,
                                       int64_t least = 1) {
  if (n == 0) return;
  const int64_t threads = larger(executor.threads, 1), most = parts_of(n, threads);
  const int64_t each = threads == 1 ? n : smaller(larger(parts_of(n, 4 * threads), least), most);
  for_each_task(executor, parts_of(n, each),
                [&](int64_t task) { f(task * each, part_end(task * each, each, n)); });
}

template <class F>
NORMKERNELS_INLINE void for_each_row(int64_t rows, const Executor& executor, F&& f) {
  for_each_share(rows, executor, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i);
  });
}

// ---- Rows that are worked on together -----------------------------------------------
//
// Step by step: a row's sums, mean, square root and division wait for one another, and another
// row's fill that time. They stay in L1 between the steps.

constexpr int64_t kRowsTogether = 32;
// Elements: these, the next ones and what is written fit L1 together.
constexpr int64_t kElementsTogether = 2048;

NORMKERNELS_INLINE int64_t rows_together(int64_t cols) {
  return smaller(larger(kElementsTogether / cols, 1), kRowsTogether);
}

// Rows so long that few of their lines are shared with neighbours are worth streaming.
template <class T>
constexpr int64_t kLeastStreamed = 1024 / sizeof(T);

// ---- Spans: how a row that is too long for one core is shared -----------------------

// The chunks of a row are merged in two levels, first within a span, then spans; a span is a number
// of whole chunks that depends on the length alone.
NORMKERNELS_INLINE int64_t span_of(int64_t n) {
  return larger(parts_of(parts_of(n, kMaxSpans), kChunk) * kChunk, kMinSpan);
}
NORMKERNELS_INLINE int64_t spans_in(int64_t n) { return parts_of(n, span_of(n)); }

// f(begin, end) over the spans of a row.
template <class F>
NORMKERNELS_INLINE void for_each_span(int64_t n, const Executor& executor, F&& f) {
  if (n <= kMinSpan) return f(int64_t{0}, n);
  const int64_t span = span_of(n);
  for_each_task(executor, spans_in(n), [&](int64_t i) {
    f(i * span, part_end(i * span, span, n));
    stream_fence();  // this may be another thread
  });
}

// Rows on one side, spans of a row on the other: which of them the threads share is a matter of
// speed alone. A second span has to be half as long as the first to be worth a thread.
NORMKERNELS_INLINE bool split_rows(int64_t rows, int64_t cols, const Executor& executor) {
  return executor.threads > 1 && rows < 2 * executor.threads && cols >= kMinSpan + kMinSpan / 2;
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ROWS_H_
