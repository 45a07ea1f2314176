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
#include "norm/tiled_rows.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {

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
// value per column, or, where there are channels, one per row: row i has that of channel
// (first + i) % channels.
template <class T>
struct RowNorm {
  Rows<const T> x;
  Rows<T> y;
  int64_t rows, cols, channels, first;
  const T *gamma, *beta;
  double epsilon;
  T *mean, *sigma, *rstd;
  bool stream;

  NORMKERNELS_INLINE void set_statistics(int64_t row, int64_t count, SumTable moments,
                                         const Executor& executor,
                                         const Factors<T>& factors) const {
    const T* const scale =
        rescale_rows(moments, x.from(row), count, cols, epsilon, executor, factors);
    set_statistics_of_all(moments, static_cast<double>(cols), count, scale, epsilon, factors,
                          optional_at<T>(mean, row), optional_at<T>(sigma, row),
                          optional_at<T>(rstd, row), nullptr);
  }
  NORMKERNELS_INLINE auto ahead_of(int64_t row) const {
    return [=](int64_t i) { return Ahead<T>(x, row + i, cols); };
  }

  // Of columns [begin, end), which are at `from` and `to`. Where gamma and beta are one value per
  // row, `copies` holds them.
  NORMKERNELS_INLINE auto writer(int64_t row, const Standard<T>& s, int64_t begin, int64_t end,
                                 const T* from, T* to, Copies<T> (&copies)[2]) const {
    Parameter<T> g = gamma_of<T>(gamma), b = beta_of<T>(beta);
    if (channels != 0) {
      const int64_t channel = (first + row) % channels;
      copies[0] = Copies<T>(value_or(gamma, channel, T{1}));
      copies[1] = Copies<T>(value_or(beta, channel, T{-0.0}));
      g = Parameter<T>::for_all(copies[0]), b = Parameter<T>::for_all(copies[1]);
    }
    const Forward<T> forward = {from, Standardise<T>(s), g.from(begin), b.from(begin), to};
    return RowWriter<T, Forward<T>>(forward, to, end - begin);
  }
  NORMKERNELS_INLINE auto writer(int64_t row, const Standard<T>& s, int64_t begin, int64_t end,
                                 Copies<T> (&copies)[2]) const {
    return writer(row, s, begin, end, x[row] + begin, y[row] + begin, copies);
  }
  // Rows [row, row + count), which are at `from` and `to`.
  NORMKERNELS_INLINE RowNorm part(int64_t row, int64_t count, const Rows<const T>& from,
                                  const Rows<T>& to) const {
    RowNorm some = *this;
    some.x = from;
    some.y = to;
    some.rows = count;
    some.first = first + row;
    some.mean = optional_at<T>(mean, row);
    some.sigma = optional_at<T>(sigma, row);
    some.rstd = optional_at<T>(rstd, row);
    return some;
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
  double sums[kSumFields * kRowsTogether];
  const SumTable moments = {sums, kRowsTogether};
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
    const Rows<const T> x = a.x.from(first);
    if (beside && group > begin) {
      if constexpr (kOverlaps<T>) {
        moments_in_lanes<T>(
            x, rows, a.cols, [&](int64_t i) { return writer(group - 1, i); }, moments);
      }
      write(group - 1, rows, together);
    } else {
      sum_rows(x, rows, a.cols, kSerial, a.ahead_of(first), moments);
    }
    a.set_statistics(first, rows, moments, kSerial, own);
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

// One row after the other, each shared by the threads.
template <class T>
void normalise_long_rows(const RowNorm<T>& a, const Executor& executor) {
  for (int64_t row = 0; row < a.rows; ++row) {
    RowFactors<T> storage;
    const Factors<T> factors = storage.table();
    double sums[kSumFields * kRowsTogether];
    const SumTable moments = {sums, kRowsTogether};
    sum_rows(a.x.from(row), 1, a.cols, executor, a.ahead_of(row), moments);
    a.set_statistics(row, 1, moments, executor, factors);
    if (a.y.p == nullptr) continue;
    for_each_span(a.cols, executor, [&](int64_t begin, int64_t end) {
      Copies<T> copies[2] = {Copies<T>(0), Copies<T>(0)};
      a.writer(row, factors.standard(0), begin, end, copies).write(a.stream);
    });
  }
}

template <class T>
__attribute__((noinline)) void normalise_rows(RowNorm<T>& a, const Executor& executor) {
  if (a.cols == 1) return normalise_singles(a);
  a.stream = a.stream && a.cols >= kLeastStreamed<T>;
  if (split_rows(a.rows, a.cols, executor)) return normalise_long_rows(a, executor);
  const int64_t together = rows_together(a.cols);
  for_each_share(parts_of(a.rows, together), executor,
                 [&](int64_t begin, int64_t end) { normalise_groups(a, together, begin, end); });
}

// ---- Rows that lie anywhere ---------------------------------------------------------

// Rows [row, row + rows), longer than a chunk.
template <class T>
void normalise_long_tile(const RowNorm<T>& a, int64_t row, int64_t rows, TiledInput<T>& x,
                         TiledOutput<T>& y) {
  RowFactors<T> storage;
  const Factors<T> factors = storage.table();
  const RowNorm<T> own = a.part(row, rows, {}, {});
  tiled_statistics(x, row, rows, a.cols, a.epsilon, factors, own.mean, own.sigma, own.rstd);
  if (!y.wanted()) return;
  Copies<T> copies[2] = {Copies<T>(0), Copies<T>(0)};
  for_each_chunk(row, rows, 0, a.cols, [&](const Part& part) {
    const Rows<const T> from = x.read(part);
    const Rows<T> to = y.open(part);
    for (int64_t i = 0; i < rows; ++i) {
      own.writer(i, factors.standard(i), part.col, part.col + part.cols, from[i], to[i], copies)
          .write(a.stream && y.in_place());
    }
    y.close(part);
  });
}

// x and y as `a` has them, but anywhere. The workspace is that of normalise_grid_workspace.
template <class T>
void normalise_grid(const RowNorm<T>& a, const Placement& at, void* workspace,
                    const Executor& executor) {
  const Grid& grid = *at.grid;
  const TileShape<T> shape(a.rows, a.cols);
  const TileSlots<T> slots(a.rows, a.rows * a.cols, shape, 1);
  slots.for_each(a.rows, workspace, executor, [&](int64_t begin, int64_t end, T* buffers) {
    TiledInput<T> x(a.x.p, grid, at.x, shape, buffers);
    TiledOutput<T> y(a.y.p, at.y, x);
    for (int64_t row = begin, rows; row < end; row += rows) {
      rows = rows_of_tile(grid, shape, row, end);
      if (a.cols > kChunk) {
        normalise_long_tile(a, row, rows, x, y);
        continue;
      }
      const Part part = {row, rows, 0, a.cols};
      const Rows<const T> from = x.read(part);
      RowNorm<T> tile = a.part(row, rows, from, y.open(part));
      tile.stream = a.stream && y.in_place();
      normalise_rows(tile, kSerial);
      y.close(part);
    }
    if (a.stream) stream_fence();
  });
}

template <class T>
size_t normalise_grid_workspace(int64_t rows, int64_t cols) {
  return TileSlots<T>(rows, rows * cols, TileShape<T>(rows, cols), 1).all_bytes();
}

// In rows.cpp.
extern template void normalise_rows(RowNorm<float>&, const Executor&);
extern template void normalise_rows(RowNorm<double>&, const Executor&);
extern template void normalise_grid(const RowNorm<float>&, const Placement&, void*,
                                    const Executor&);
extern template void normalise_grid(const RowNorm<double>&, const Placement&, void*,
                                    const Executor&);

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ROW_FORWARD_H_
