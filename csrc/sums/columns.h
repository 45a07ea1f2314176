// Canonical sums down the columns of an image [spatial, c]: NHWC, where the channels are the lanes
// of a vector.
//
// - fold: few channels would leave most lanes empty, so k pixels are read as one of k * c channels
//   (k a power of two that follows from c and spatial), and the k results folded by halves at the
//   end. Pixels left over come last.
// - tile: kTileRows pixels. Moments are formed per tile as in moments.h, in twice the precision of
//   the data; the sums of gradients in runs of 16 in the compute type, runs in float64.
// - Tiles are merged in index order within a span, spans in index order.
//
// The order of additions of a channel thus depends on spatial and c alone: not on the vectors'
// width, and not on how many channels are worked on at a time.
#ifndef NORMKERNELS_SUMS_COLUMNS_H_
#define NORMKERNELS_SUMS_COLUMNS_H_

#include "host/parallel.h"
#include "sums/moments.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

constexpr int64_t kRun = 16;

// Elements about one pivot, which costs 7 of the 53 digits (moments.h); merging costs little then.
constexpr int64_t kTileRows = 128;

// Vectors of T worked on at a time: with AVX-512's 32 registers four, with 16 two.
constexpr int kColumnVectors = NORMKERNELS_VECTOR_BYTES == 64 ? 4 : 2;

// Rows from which on the cache lines of a block of columns are asked for: the processor itself does
// so for whole rows only.
constexpr int64_t kRowsAhead = 8;

// The line of p, for every 64 bytes of vectors u = 0, 1, ...: asks once where they share a line.
template <class T, int u>
NORMKERNELS_INLINE void prefetch_line(const T* p) {
  constexpr int kVectorsPerLine = 64 / (Vec<double>::kLanes * static_cast<int>(sizeof(T)));
  if constexpr (kVectorsPerLine <= 1 || u % kVectorsPerLine == 0) prefetch(p);
}

template <class T, int U>
constexpr int kDoublesFor = U* Vec<T>::kLanes / Vec<double>::kLanes;

// K sums down `rows` rows for U vectors of columns. term(acc, i, u) adds the terms of row i, vector
// u to acc[0..K).
template <class T, int K, int U>
struct ColumnSums {
  Vec<double> v[K][kDoublesFor<T, U>];

  template <class Term>
  NORMKERNELS_INLINE void add(int64_t rows, Term&& term) {
    for (int64_t begin = 0; begin < rows; begin += kRun) {
      const int64_t end = rows - begin < kRun ? rows : begin + kRun;
      Vec<T> acc[U][K];
      unroll<U * K>([&](auto j) __attribute__((always_inline)) {
        acc[decltype(j)::value / K][decltype(j)::value % K] = Vec<T>::zero();
      });
      for (int64_t i = begin; i < end; ++i) {
        unroll<U>([&](auto u)
                      __attribute__((always_inline)) { term(acc[decltype(u)::value], i, u); });
      }
      unroll<U * K>([&](auto j) __attribute__((always_inline)) {
        constexpr int u = decltype(j)::value / K, k = decltype(j)::value % K;
        add_widened(&v[k][kDoublesFor<T, u>], acc[u][k]);
      });
    }
  }
};

// ---- How an image is cut ------------------------------------------------------------

struct Fold {
  int64_t pixels;  // k
  int64_t width;   // k * c columns
  int64_t rows;    // whole rows of k pixels
  int64_t rest;    // pixels left over
  int64_t span;    // rows: whole tiles
  int64_t spans;
};

NORMKERNELS_INLINE Fold fold_of(int64_t c, int64_t spatial) {
  constexpr int64_t kFewChannels = 32, kEnoughColumns = 64, kWholeVectors = 16, kMaxSpans = 64;
  constexpr int64_t kMinSpanElements = 65536;
  int64_t k = 1;
  if (c < kFewChannels && c > 0) {
    while (k * c < kEnoughColumns || k * c % kWholeVectors != 0) k *= 2;
    while (k > 1 && spatial < 4 * k) k /= 2;
  }
  Fold fold = {k, k * c, spatial / k, spatial % k, 0, 0};
  const int64_t enough = (kMinSpanElements + fold.width) / (fold.width + 1);
  const int64_t share = (fold.rows + kMaxSpans - 1) / kMaxSpans;
  fold.span = ((share > enough ? share : enough) + kTileRows - 1) / kTileRows * kTileRows;
  fold.spans = (fold.rows + fold.span - 1) / fold.span;
  return fold;
}

NORMKERNELS_INLINE int64_t reduction_doubles(const Fold& fold) {
  return kColumnFields * fold.width * (fold.spans + 1);
}

// Reduces an image with `reduction`, which has
//
//   rows(begin, rows, width, stride, out)    reduces pixels-rows from element `begin` on, `stride`
//   apart, into `out` merge(a, count_a, b, count_b, width)     a = a and b together
//
// The result is in the first c columns of the first kColumnFields * width of `scratch`
// (reduction_doubles long).
template <class Reduction>
NORMKERNELS_INLINE Columns reduce_image(const Reduction& reduction, const Fold& fold, int64_t c,
                                        double* scratch, const Executor& executor) {
  const auto span_columns = [&](int64_t i) {
    return Columns{scratch + kColumnFields * fold.width * i, fold.width};
  };
  const auto rows_of = [&](int64_t i) {
    return (i + 1) * fold.span < fold.rows ? fold.span : fold.rows - i * fold.span;
  };
  for_each_task(executor, fold.spans, [&](int64_t i) {
    reduction.rows(i * fold.span * fold.width, rows_of(i), fold.width, fold.width, span_columns(i));
  });
  const Columns all = span_columns(0);
  if (fold.spans == 0)
    memset(scratch, 0, sizeof(double) * static_cast<size_t>(kColumnFields * fold.width));
  for (int64_t i = 1; i < fold.spans; ++i) {
    reduction.merge(all, static_cast<double>(i * fold.span), span_columns(i),
                    static_cast<double>(rows_of(i)), fold.width);
  }
  double count = static_cast<double>(fold.rows);
  for (int64_t half = fold.pixels / 2; half > 0; half /= 2, count *= 2) {
    reduction.merge(all, count, all.from(half * c), count, half * c);
  }
  if (fold.rest > 0) {
    const Columns rest = span_columns(fold.spans);
    reduction.rows(fold.rows * fold.width, fold.rest, c, c, rest);
    reduction.merge(all, count, rest, static_cast<double>(fold.rest), c);
  }
  return all;
}

// The pixels of an image as the sweeps that write take them: f(first element, rows, width), in
// tiles.
template <class F>
NORMKERNELS_INLINE void for_each_tile(const Fold& fold, int64_t c, const Executor& executor,
                                      F&& f) {
  for_each_task(executor, fold.spans, [&](int64_t i) {
    const int64_t end = (i + 1) * fold.span < fold.rows ? (i + 1) * fold.span : fold.rows;
    for (int64_t row = i * fold.span; row < end; row += kTileRows) {
      f(row * fold.width, end - row < kTileRows ? end - row : kTileRows, fold.width);
    }
  });
  if (fold.rest > 0) f(fold.rows * fold.width, fold.rest, c);
}

// ---- Moments ------------------------------------------------------------------------

// Each column about its first element of the tile, tiles merged: what moments.h does with chunks.
// scale: a power of two per column, or null for 1; only for T that needs it.
template <class T>
struct MomentsReduction {
  const T* x;
  const T* scale;

  void merge(Columns a, double count_a, Columns b, double count_b, int64_t width) const {
    for_each_vector<double, 1>(
        width, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
          store_moments(normkernels::NORMKERNELS_ISA::merge(load_moments<T>(a, j, count_a, lanes),
                                                            load_moments<T>(b, j, count_b, lanes)),
                        a, j, lanes);
        });
  }

  void rows(int64_t begin, int64_t rows, int64_t width, int64_t stride, Columns out) const {
    constexpr int kVectors = kColumnVectors * static_cast<int>(sizeof(double) / sizeof(T));
    for (int64_t i = 0; i < rows; i += kTileRows) {
      const int64_t count = rows - i < kTileRows ? rows - i : kTileRows;
      for_each_column_block<double, kVectors>(
          width, [&](int64_t j, auto vectors, auto lanes) __attribute__((always_inline)) {
            add_tile<decltype(vectors)::value>(begin + i * stride, count, stride, j, lanes,
                                               static_cast<double>(i), out);
          });
    }
  }

 private:
  // The moments of U vectors of columns of a tile, merged with those of the `before` rows above it.
  template <int U, class Lanes>
  NORMKERNELS_INLINE void add_tile(int64_t begin, int64_t rows, int64_t stride, int64_t column,
                                   Lanes lanes, double before, Columns out) const {
    constexpr int W = Vec<double>::kLanes;
    const T* tile = x + begin + column;
    Vec<double> scales[U], pivot[U];
    CentredSums<T, Vec<double>> sums[U] = {};
    unroll<U>([&](auto u) __attribute__((always_inline)) {
      constexpr int k = decltype(u)::value;
      scales[k] = Vec<double>::all(1);
      if (kNeedsScale<T> && scale != nullptr) {
        scales[k] = load_widened(scale + column + k * W, lanes);
      }
      pivot[k] = load_scaled(tile + k * W, scales[k], lanes);
    });
    for (int64_t i = 0; i < rows; ++i) {
      unroll<U>([&](auto u) __attribute__((always_inline)) {
        constexpr int k = decltype(u)::value;
        prefetch_line<T, k>(tile + (i + kRowsAhead) * stride + k * W);
        sums[k].add(load_scaled(tile + i * stride + k * W, scales[k], lanes), pivot[k]);
      });
    }
    unroll<U>([&](auto u) __attribute__((always_inline)) {
      constexpr int k = decltype(u)::value;
      const int64_t j = column + k * W;
      Moments<T, Vec<double>> all = sums[k].about(pivot[k], static_cast<double>(rows));
      if (before > 0) {
        all = normkernels::NORMKERNELS_ISA::merge(load_moments<T>(out, j, before, lanes), all);
      }
      store_moments(all, out, j, lanes);
    });
  }
};

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SUMS_COLUMNS_H_
