// Rows normalised: layer norm, and instance norm in NCHW, which differ in gamma and beta alone.
//
// Sums are bound by arithmetic (four operations in float64 per element), writing by memory. While
// x and y are in the caches a row is therefore written beside the sums of a later one. Beyond them
// that would interleave two streams of memory and flush lines half full: there some rows are
// summed, x asked for half a page ahead, and then written from L1 by whole streamed lines.
//
// x comes from memory once, and from L1 or L2 when it is written, if the row fits; y is written
// once. Measured (AVX2, Zen 3 and 4): beside is 1.2 times as fast as after in L2, after 1.6 times
// as fast as beside out of it.
#ifndef NORMKERNELS_NORM_ROW_FORWARD_H_
#define NORMKERNELS_NORM_ROW_FORWARD_H_

#include "norm/parameter.h"
#include "norm/row_statistics.h"
#include "norm/row_writer.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// y = xhat gamma + beta of a row. Reads x once, writes y once; y may be x.
template <class T>
struct Forward {
  const T* x;
  Standardise<T> xhat;
  Parameter<T> gamma, beta;
  T* y;

  template <class Lanes>
  NORMKERNELS_INLINE Vec<T> values(int64_t i, int k, Lanes lanes) const {
    const Vec<T> v = xhat(load(x + i + k, lanes));
    return fma(v, load(gamma.at(i) + k, lanes), load(beta.at(i) + k, lanes));
  }
  template <class Store, class Lanes>
  NORMKERNELS_INLINE void put(Store how, int64_t i, Vec<T> v, Lanes lanes) const {
    store(how, y + i, v, lanes);
  }
  template <class Store>
  NORMKERNELS_INLINE void ahead(Store, int64_t i) const {
    if constexpr (!Store::kMustBeAligned) prefetch_to_write(y + i + kLead<T>);
  }
};

// y [rows, cols] and the statistics, each [rows]; all but x may be null. gamma and beta have a
// value per column, or, where there are channels, one per row: that of channel row % channels.
template <class T>
struct RowNorm {
  Rows<const T> x;
  Rows<T> y;
  int64_t rows, cols, channels;
  const T *gamma, *beta;
  double epsilon;
  T *mean, *sigma, *rstd;
  bool stream;

  template <class BesideRow>
  NORMKERNELS_INLINE void statistics(int64_t first, int64_t count, const Executor& executor,
                                     const BesideRow& beside_row, const Factors<T>& factors) const {
    const auto at = [=](T* p) { return p == nullptr ? p : p + first; };
    row_statistics(x.from(first), count, cols, epsilon, executor, beside_row, factors, at(mean),
                   at(sigma), at(rstd));
  }
  NORMKERNELS_INLINE auto ahead_of(int64_t first) const {
    return [=](int64_t i) { return Ahead<T>{x[first + i]}; };
  }

  // Of columns [begin, end). Where gamma and beta are one value per row, `copies` holds them.
  NORMKERNELS_INLINE auto writer(int64_t row, const Standard<T>& s, int64_t begin, int64_t end,
                                 Copies<T> (&copies)[2]) const {
    Parameter<T> g = gamma_of<T>(gamma), b = beta_of<T>(beta);
    if (channels != 0) {
      copies[0] = Copies<T>(value_or(gamma, row % channels, T{1}));
      copies[1] = Copies<T>(value_or(beta, row % channels, T{-0.0}));
      g = Parameter<T>::for_all(copies[0]), b = Parameter<T>::for_all(copies[1]);
    }
    T* const out = y[row] + begin;
    const Forward<T> forward = {x[row] + begin, Standardise<T>(s), g.from(begin), b.from(begin),
                                out};
    return RowWriter<T, Forward<T>>(forward, out, end - begin);
  }
};

// Whether a row is written beside the sums of another: float64's, in pairs, take so many
// instructions that nothing is gained, and short rows are all ends.
template <class T>
constexpr bool kOverlaps = sizeof(T) == sizeof(float);
template <class T>
NORMKERNELS_INLINE bool overlaps(const RowNorm<T>& a) {
  constexpr int64_t kLeast = 64;
  return kOverlaps<T> && a.y.p != nullptr && !a.stream && a.cols >= kLeast && a.cols <= kChunk;
}

// Groups of rows [begin, end): each is written beside the sums of the next, or after its own.
template <class T>
void normalise_groups(const RowNorm<T>& a, int64_t together, int64_t begin, int64_t end) {
  RowFactors<T> storage[2];
  Copies<T> copies[2] = {Copies<T>(0), Copies<T>(0)};
  const bool beside = overlaps(a);
  const auto writer = [&](int64_t group, int64_t i) __attribute__((always_inline)) {
    return a.writer(group * together + i, storage[group % 2].table().standard(i), 0, a.cols,
                    copies);
  };
  const auto write = [&](int64_t group, int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) writer(group, i).write(a.stream);
  };
  int64_t rows = 0;
  for (int64_t group = begin; group < end; ++group) {
    const int64_t first = group * together;
    const Factors<T> own = storage[group % 2].table();
    rows = smaller(together, a.rows - first);
    if (beside && group > begin) {
      if constexpr (kOverlaps<T>) {
        a.statistics(
            first, rows, kSerial, [&](int64_t i) { return writer(group - 1, i); }, own);
      }
      write(group - 1, rows, together);
    } else {
      a.statistics(first, rows, kSerial, a.ahead_of(first), own);
    }
    if (!beside && a.y.p != nullptr) write(group, 0, rows);
  }
  if (beside) write(end - 1, 0, rows);
  if (a.stream) stream_fence();
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
  const bool per_row = a.channels != 0;
  const Parameter<T> g = per_row ? gamma_of<T>(a.gamma) : Parameter<T>::for_all(copies[0]);
  const Parameter<T> b = per_row ? beta_of<T>(a.beta) : Parameter<T>::for_all(copies[1]);
  const int64_t run = per_row ? a.channels : a.rows;
  for (int64_t begin = 0; begin < a.rows; begin += run) {
    for_each_vector<T>(
        run, [&](int64_t k, auto lanes) __attribute__((always_inline)) {
          const int64_t i = begin + k;
          const Vec<T> x = load(a.x.p + i, lanes), zero = x - x, mean = x + zero;
          const Vec<T> gamma = load(g.at(k), lanes), beta = load(b.at(k), lanes);
          if (a.y.p != nullptr) store(a.y.p + i, fma((x - mean) + shift, gamma, beta), lanes);
          if (a.mean != nullptr) store(a.mean + i, mean, lanes);
          if (a.sigma != nullptr) store(a.sigma + i, sigmas + zero, lanes);
          if (a.rstd != nullptr) store(a.rstd + i, rstds + zero, lanes);
        });
  }
}

// One row after the other, each shared by the threads.
template <class T>
void normalise_long_rows(const RowNorm<T>& a, const Executor& executor) {
  for (int64_t row = 0; row < a.rows; ++row) {
    RowFactors<T> storage;
    const Factors<T> factors = storage.table();
    a.statistics(row, 1, executor, a.ahead_of(row), factors);
    if (a.y.p == nullptr) continue;
    for_each_span(a.cols, executor, [&](int64_t begin, int64_t end) {
      Copies<T> copies[2] = {Copies<T>(0), Copies<T>(0)};
      a.writer(row, factors.standard(0), begin, end, copies).write(a.stream);
    });
  }
}

template <class T>
void normalise_rows(RowNorm<T> a, const Executor& executor) {
  if (a.cols == 1) return normalise_singles(a);
  a.stream = a.stream && a.cols >= kLeastStreamed<T>;
  if (split_rows(a.rows, a.cols, executor)) return normalise_long_rows(a, executor);
  const int64_t together = rows_together(a.cols);
  for_each_share(parts_of(a.rows, together), executor,
                 [&](int64_t begin, int64_t end) { normalise_groups(a, together, begin, end); });
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ROW_FORWARD_H_
