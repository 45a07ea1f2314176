// Rows normalised.
//
// Sums are bound by arithmetic (four operations in float64 per element), writing by memory, so a
// row is written beside the sums of a later one: in the caches, or past them by whole lines, with x
// asked for half a page ahead.
//
// x comes from memory once, and from L1 or L2 when it is written, if the row fits; y is written
// once. Measured (AVX2, Zen 3): beside is 1.1 to 1.3 times as fast as after, in L2 as well as out
// of it.
#ifndef NORMKERNELS_NORM_ROW_FORWARD_H_
#define NORMKERNELS_NORM_ROW_FORWARD_H_

#include "norm/row_norm.h"
#include "norm/short_rows.h"

namespace normkernels::NORMKERNELS_ISA {

// Whether a row is written beside the sums of another: float64's, in pairs, take so many
// instructions that nothing is gained. Of rows that do not fit L2 two would come from beyond it at
// a time: planes of 200 000 elements are 1.2 times as fast with it on one machine, where L3 is fast
// (Zen 3), and 1.3 times as slow on another.
template <class T>
constexpr bool kOverlaps = sizeof(T) == sizeof(float);
template <class T>
NORMKERNELS_INLINE bool overlaps(const RowNorm<T>& a) {
  return kOverlaps<T> && a.y.p != nullptr && !a.in_pieces() && a.cols <= kMinSpan;
}

// Whether y is asked for while x is summed, since both stay in L2 until it is written: group norm's
// rows of 8192 to 65536 elements that come from memory take 0.57 to 0.83 of the time, those in L3
// 0.94 to 1.05 (Zen 4).
template <class T>
NORMKERNELS_INLINE bool asks_for_y(const RowNorm<T>& a) {
  constexpr int64_t kMost = kMinSpan * sizeof(float) / sizeof(T);
  return a.y.p != nullptr && !a.stream && a.cols <= kMost;
}

// Whether rows are better written at the borders of y's vectors: a store across that of a line
// takes twice as long. Measured (Zen 3, AVX2, arrays 16 bytes into a line, as NumPy's are): 1000 x
// 1000 is 1.15 times as fast, 1000 x 512 1.08 times, 1000 x 300 and 384 as fast, 1000 x 200 0.94
// times.
template <class T>
NORMKERNELS_INLINE bool is_worth_aligning(const RowNorm<T>& a) {
  constexpr int64_t kLong = 1536 / sizeof(T);
  const bool is_aligned = elements_to_border<sizeof(Vec<T>)>(a.y.p) == 0;
  return a.cols >= kLong && !(is_aligned && a.y.stride % Vec<T>::kLanes == 0);
}

// Whether rows are taken by short_rows.h.
template <class T>
NORMKERNELS_INLINE bool are_short(const RowNorm<T>& a) {
  return kTurns<T> && a.channels == 0 && a.cols > 1 && a.cols <= kMostShort;
}

// Groups [begin, end) of such rows.
template <class T>
__attribute__((noinline)) void normalise_short_groups(const RowNorm<T>& a, int64_t together,
                                                      int64_t begin, int64_t end) {
  RowFactors<T> storage;
  const Factors<T> factors = storage.table();
  double sums[kSumFields * kRowsTogether];
  const SumTable moments = {sums, kRowsTogether};
  ShortRows<T> some(gamma_of<T>(a.gamma), beta_of<T>(a.beta), static_cast<int>(a.cols));
  for (int64_t group = begin; group < end; ++group) {
    const int64_t first = group * together, rows = smaller(together, a.rows - first);
    a.add(first, rows, 0, a.cols);
    const Rows<const T> x = a.x.from(first);
    some.sum(x, rows, moments, a.centred);
    a.set_statistics(x, first, rows, moments, kSerial, factors);
    if (a.y.p != nullptr) some.write(x, a.y.from(first), rows, factors);
  }
}

// Groups of rows [begin, end): each is written beside the sums of the next, or after its own.
template <class T>
__attribute__((noinline)) void normalise_long_groups(const RowNorm<T>& a, int64_t together,
                                                     int64_t begin, int64_t end) {
  RowFactors<T> storage[2];
  Copies<T> copies[2] = {Copies<T>(0), Copies<T>(0)};
  double sums[kSumFields * kRowsTogether];
  const SumTable moments = {sums, kRowsTogether};
  const bool beside = overlaps(a), aligns = is_worth_aligning(a);
  // The sums of a group's rows, and beside them what writes those of the one before. In a frame of
  // its own, as those alone: the stack need not hold them all at once.
  const auto sum_beside = [&](Rows<const T> x, int64_t group, int64_t rows, auto how)
      __attribute__((noinline)) {
    const Rows<const T> x_before = a.x.from((group - 1) * together);
    const Rows<T> y_before = a.y.from((group - 1) * together);
    const Parameter<T> g = gamma_of<T>(a.gamma), b = beta_of<T>(a.beta);
    const Factors<T> factors = storage[(group - 1) % 2].table();
    const int64_t channel = a.channel_of((group - 1) * together);
    sum_rows(
        x, rows, a.cols, kSerial,
        [ =, &a, &copies ](int64_t i, int64_t begin, int64_t end) __attribute__((always_inline)) {
          return a.template writer<decltype(how)>(a.channel_after(channel, i), factors.standard(i),
                                                  begin, end, x_before[i] + begin,
                                                  y_before[i] + begin, x[i] + begin, g, b, copies);
        },
        moments, a.centred);
  };
  const auto sum_alone = [&](Rows<const T> x, int64_t first, int64_t rows)
      __attribute__((noinline)) {
    a.sum(x, asks_for_y(a) ? a.y.from(first) : Rows<T>{}, rows, kSerial, moments);
  };
  const auto write = [&](int64_t group, int64_t from, int64_t rows) {
    for (int64_t i = from; i < rows; ++i) {
      const int64_t row = group * together + i;
      a.write(row, storage[group % 2].table().standard(i), 0, a.cols, a.x[row], a.y[row], a.stream,
              copies);
    }
  };
  int64_t rows = 0;
  for (int64_t group = begin; group < end; ++group) {
    const int64_t first = group * together;
    const Factors<T> own = storage[group % 2].table();
    rows = smaller(together, a.rows - first);
    a.add(first, rows, 0, a.cols);
    const Rows<const T> x = a.x.from(first);
    if (beside && group > begin) {
      if constexpr (kOverlaps<T>) {
        if (a.stream) {
          sum_beside(x, group, rows, Streamed{});
        } else if (aligns) {
          sum_beside(x, group, rows, CachedAligned{});
        } else {
          sum_beside(x, group, rows, Cached{});
        }
      }
      write(group - 1, rows, together);
    } else {
      sum_alone(x, first, rows);
    }
    a.set_statistics(x, first, rows, moments, kSerial, own);
    if (!beside && a.y.p != nullptr) write(group, 0, rows);
  }
  if (beside) write(end - 1, 0, rows);
  if (a.stream) stream_fence();
}

// Either, on a stack that is no larger than the one needs.
template <class T>
NORMKERNELS_INLINE void normalise_groups(const RowNorm<T>& a, int64_t together, int64_t begin,
                                         int64_t end) {
  if constexpr (kTurns<T>) {
    if (are_short(a)) return normalise_short_groups(a, together, begin, end);
  }
  normalise_long_groups(a, together, begin, end);
}

// Rows of one element: var = 0, so xhat is 0 and sigma that of epsilon, but NaN for NaN and
// infinity, which x - x gives. A row is a lane, and a parameter per row one per column.
template <class T>
void normalise_singles(const RowNorm<T>& a) {
  const double sigma = sqrt(a.epsilon);
  const Vec<T> sigmas = Vec<T>::all(static_cast<T>(sigma));
  const Vec<T> rstds = Vec<T>::all(static_cast<T>(1 / sigma));
  const Vec<T> shift = Vec<T>::all(sigma == 0 ? T{0} : T{-0.0});  // signs as longer rows have them
  const Copies<T> copies[2] = {Copies<T>(value_or(a.gamma, 0, T{1})),
                               Copies<T>(value_or(a.beta, 0, T{-0.0}))};
  a.add(0, a.rows, 0, 1);
  const bool per_row = a.channels != 0;
  const Parameter<T> g = per_row ? gamma_of<T>(a.gamma) : Parameter<T>::for_all(copies[0]);
  const Parameter<T> b = per_row ? beta_of<T>(a.beta) : Parameter<T>::for_all(copies[1]);
  int64_t channel = per_row ? a.first % a.channels : 0, run;
  for (int64_t begin = 0; begin < a.rows; begin += run, channel = 0) {
    run = smaller(a.rows - begin, per_row ? a.channels - channel : a.rows);
    for_each_vector<T>(
        run, [&](int64_t k, auto lanes) __attribute__((always_inline)) {
          const int64_t i = begin + k;
          const Vec<T> x = load(a.x.p + i, lanes), zero = x - x, mean = x + zero;
          const Vec<T> gamma = load(g.at(channel + k), lanes);
          const Vec<T> beta = load(b.at(channel + k), lanes);
          if (a.y.p != nullptr) store(a.y.p + i, fma((x - mean) + shift, gamma, beta), lanes);
          if (a.mean != nullptr) store(a.mean + i, mean, lanes);
          if (a.sigma != nullptr) store(a.sigma + i, sigmas + zero, lanes);
          if (a.rstd != nullptr) store(a.rstd + i, rstds + zero, lanes);
        });
  }
}

// Rows of a group. One vector of them is the least: until their statistics are there, 130 cycles
// after the sums, nothing can be written. But a thread has some groups, since the first is not
// beside anything, and the last beside nothing; of short rows that is cheaper than to wait.
constexpr int64_t kGroupsOfThread = 8;
template <class T>
NORMKERNELS_INLINE int64_t rows_in_group(int64_t cols, int64_t rows, int64_t threads) {
  constexpr int64_t kElements = 8192, kShort = 1024, W = Vec<double>::kLanes;
  if (cols > kChunk) return 1;
  const int64_t most = smaller(larger(kElements / cols / W, 1) * W, kRowsTogether);
  const int64_t least = cols <= kShort ? W : 1;
  return smaller(larger(rows / (kGroupsOfThread * threads), least), most);
}

// One row after the other, each shared by the threads.
template <class T>
void normalise_long_rows(const RowNorm<T>& a, const Executor& executor) {
  for (int64_t row = 0; row < a.rows; ++row) {
    RowFactors<T> storage;
    const Factors<T> factors = storage.table();
    double sums[kSumFields * kRowsTogether];
    const SumTable moments = {sums, kRowsTogether};
    if (a.adds()) {
      for_each_span(a.cols, executor, [&](int64_t i, int64_t end) { a.add(row, 1, i, end); });
    }
    const Rows<const T> x = a.x.from(row);
    a.sum(x, Rows<T>{}, 1, executor, moments);
    a.set_statistics(x, row, 1, moments, executor, factors);
    if (a.y.p == nullptr) continue;
    for_each_span(a.cols, executor, [&](int64_t begin, int64_t end) {
      Copies<T> copies[2] = {Copies<T>(0), Copies<T>(0)};
      a.write(row, factors.standard(0), begin, end, a.x[row] + begin, a.y[row] + begin, a.stream,
              copies);
    });
  }
}

template <class T>
__attribute__((noinline)) void normalise_rows(RowNorm<T>& a, const Executor& executor) {
  if (a.cols == 1 && a.centred && a.moments == nullptr) return normalise_singles(a);
  a.stream = a.stream && a.cols >= kLeastStreamed<T>;
  if (split_rows(a.rows, a.cols, executor)) return normalise_long_rows(a, executor);
  const bool short_ones = are_short(a);
  const int64_t together =
      short_ones ? kRowsTogether : rows_in_group<T>(a.cols, a.rows, larger(executor.threads, 1));
  for_each_share(
      parts_of(a.rows, together), executor,
      [&](int64_t begin, int64_t end) { normalise_groups(a, together, begin, end); },
      short_ones ? 1 : kGroupsOfThread / 2);
}

// In rows.cpp.
extern template void normalise_rows(RowNorm<float>&, const Executor&);
extern template void normalise_rows(RowNorm<double>&, const Executor&);

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ROW_FORWARD_H_
