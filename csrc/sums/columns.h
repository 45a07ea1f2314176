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

// Elements about one pivot, which costs 7 of the 53 digits (moments.h); merging costs little then.
constexpr int64_t kTileRows = 128;

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
      const int64_t end = part_end(begin, kRun, rows);
      Vec<T> acc[U][K] = {};
      for (int64_t i = begin; i < end; ++i) {
#pragma GCC unroll 4
        for (int u = 0; u < U; ++u) term(acc[u], i, u);
      }
#pragma GCC unroll 4
      for (int u = 0; u < U; ++u) {
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k) add_widened(&v[k][kDoublesFor<T, 1> * u], acc[u][k]);
      }
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

  // Where no more than so many tasks share them.
  NORMKERNELS_INLINE int64_t spans_of_share(int64_t shares) const {
    return larger(parts_of(spans, shares), 1);
  }
};

NORMKERNELS_INLINE Fold fold_of(int64_t c, int64_t spatial) {
  constexpr int64_t kFewChannels = 32, kEnoughColumns = 64, kWholeVectors = 16;
  int64_t k = 1;
  if (c < kFewChannels && c > 0) {
    while (k * c < kEnoughColumns || k * c % kWholeVectors != 0) k *= 2;
    while (k > 1 && spatial < 4 * k) k /= 2;
  }
  Fold fold = {k, k * c, spatial / k, spatial % k, 0, 0};
  const int64_t enough = parts_of(kMinSpan, fold.width + 1);
  const int64_t share = parts_of(fold.rows, kMaxSpans);
  fold.span = parts_of(larger(share, enough), kTileRows) * kTileRows;
  fold.spans = parts_of(fold.rows, fold.span);
  return fold;
}

// Rows of an image as a reduction reads them: each is `width` elements from a pixel on, the first
// of them from pixel `first`, and the others every `step` pixels. Those of the `before` rows above
// them, if any, are in the result already.
struct PixelRows {
  int64_t first, step, rows, width, before;

  template <class T>
  NORMKERNELS_INLINE Rows<const T> of(const Rows<const T>& pixels) const {
    return {pixels[first], step * pixels.stride};
  }
};

// Tables of sums are written by whole vectors, which reach over the last column.
constexpr int64_t kPadding = 16;

NORMKERNELS_INLINE int64_t reduction_doubles(const Fold& fold) {
  return kSumFields * (fold.width + kPadding) * (fold.spans + 1);
}

// Reduces an image with `reduction`, which has
//
//   rows(PixelRows, out)                     reduces rows into `out`
//   merge(a, count_a, b, count_b, width)     a = a and b together
//
// The threads share the spans in as many tasks as `shares` says, or fewer. The result is in the
// first c columns of a table in `scratch` (reduction_doubles long). Where
// pixels do not lie next to each other, the pixels of a folded row are reduced one after the other:
// columns are independent, so the bits are the same.
template <class Reduction>
__attribute__((noinline)) SumTable reduce_image(const Reduction& reduction, const Fold& fold,
                                                int64_t c, bool contiguous, double* scratch,
                                                const Executor& executor, int64_t shares) {
  const int64_t stride = fold.width + kPadding, parts = contiguous ? 1 : fold.pixels;
  const auto span_columns = [&](int64_t i) {
    return SumTable{scratch + kSumFields * stride * i, stride};
  };
  const auto rows_of = [&](int64_t i) { return smaller(fold.span, fold.rows - i * fold.span); };
  const int64_t each = fold.spans_of_share(shares);
  for_each_task(executor, parts_of(fold.spans, each), [&](int64_t share) {
    for (int64_t i = share * each; i < part_end(share * each, each, fold.spans); ++i) {
      for (int64_t part = 0; part < parts; ++part) {
        reduction.rows(
            {i * fold.span * fold.pixels + part, fold.pixels, rows_of(i), fold.width / parts, 0},
            span_columns(i).from(part * c));
      }
    }
  });
  const SumTable all = span_columns(0);
  if (fold.spans == 0)
    memset(scratch, 0, sizeof(double) * static_cast<size_t>(kSumFields * stride));
  for (int64_t i = 1; i < fold.spans; ++i) {
    reduction.merge(all, static_cast<double>(i * fold.span), span_columns(i),
                    static_cast<double>(rows_of(i)), fold.width);
  }
  double count = static_cast<double>(fold.rows);
  for (int64_t half = fold.pixels / 2; half > 0; half /= 2, count *= 2) {
    reduction.merge(all, count, all.from(half * c), count, half * c);
  }
  if (fold.rest > 0) {
    const SumTable rest = span_columns(fold.spans);
    reduction.rows({fold.rows * fold.pixels, 1, fold.rest, c, 0}, rest);
    reduction.merge(all, count, rest, static_cast<double>(fold.rest), c);
  }
  return all;
}

// What the sweep down a block of columns of a tile asks for. A tile's lines are not read in the
// order of memory, which the processor's own prefetcher waits for: each row of a block asks for as
// many bytes of the next tile, which is thereby complete, and in that order, when it is needed; or,
// where tiles are too large to wait in L2, for the same row of the next block. Lines of rows that
// are a power of two apart share a few places in L1, so few rows are asked into it ahead.
template <class T>
struct AheadOfBlock {
  static constexpr int64_t kRows = 4, kMostBytes = 96 * 1024;
  const T* p;
  int64_t step;

  // Of columns [j, j + columns) of `rows` rows.
  NORMKERNELS_INLINE AheadOfBlock(const Rows<const T>& tile, int64_t rows, int64_t j,
                                  int64_t columns) {
    const bool waits = rows * tile.stride * static_cast<int64_t>(sizeof(T)) <= kMostBytes;
    p = waits ? tile[rows] + j * rows : tile[0] + j + columns;
    step = waits ? columns : tile.stride;
  }
  template <int kColumns>
  NORMKERNELS_INLINE void operator()(int64_t i) const {
    prefetch_lines_to_l2<kColumns>(p + i * step);
  }
};

// ---- Moments ------------------------------------------------------------------------

// Each column about its first element of the tile, tiles merged: what moments.h does with chunks.
// scale: a power of two per column, or null for 1; only for T that needs it. x is stored as S.
template <class T, class S = T>
struct MomentsReduction {
  Rows<const S> x;
  const T* scale;

  __attribute__((noinline)) void merge(SumTable a, double count_a, SumTable b, double count_b,
                                       int64_t width) const {
    for_each_vector<double, 1>(
        width, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
          store_moments(normkernels::NORMKERNELS_ISA::merge(load_moments<T>(a, j, count_a, lanes),
                                                            load_moments<T>(b, j, count_b, lanes)),
                        a, j, lanes);
        });
  }

  __attribute__((noinline)) void rows(const PixelRows& r, SumTable out) const {
    constexpr int kWide = sizeof(double) / sizeof(T);
    const Rows<const S> all = r.of(x);
    for (int64_t i = 0; i < r.rows; i += kTileRows) {
      const int64_t count = smaller(kTileRows, r.rows - i);
      for_each_column_block<double, kColumnVectors * kWide>(
          r.width, [&](int64_t j, auto vectors, auto lanes) __attribute__((always_inline)) {
            add_tile<decltype(vectors)::value>(all.from(i), count, j, lanes, r.before + i, out);
          });
    }
  }

 private:
  // The moments of U vectors of columns of a tile, merged with those of the `before` rows above it.
  template <int U, class Lanes>
  NORMKERNELS_INLINE void add_tile(const Rows<const S>& tile, int64_t rows, int64_t column,
                                   Lanes lanes, int64_t before, SumTable out) const {
    constexpr int W = Vec<double>::kLanes;
    const AheadOfBlock<S> ahead(tile, rows, column, U * W);
    Vec<double> scales[U], pivot[U];
    CentredSums<T, Vec<double>> sums[U] = {};
#pragma GCC unroll 8
    for (int u = 0; u < U; ++u) {
      scales[u] = Vec<double>::all(1);
      if (kNeedsScale<T> && scale != nullptr)
        scales[u] = load_widened(scale + column + u * W, lanes);
      pivot[u] = load_scaled(tile[0] + column + u * W, scales[u], lanes);
    }
    for (int64_t i = 0; i < rows; ++i) {
      const S* row = tile[i] + column;
      ahead.template operator()<U * W>(i);
      prefetch_lines<U * W>(row + AheadOfBlock<S>::kRows * tile.stride);  // from there into L1
      // By fma, as in moments.h: 1.3 times as fast in L1 (Zen 3).
#pragma GCC unroll 8
      for (int u = 0; u < U; ++u)
        sums[u].template add<NORMKERNELS_HAS_FMA>(load_scaled(row + u * W, scales[u], lanes),
                                                  pivot[u]);
    }
#pragma GCC unroll 8
    for (int u = 0; u < U; ++u) {
      const int64_t j = column + u * W;
      Moments<T, Vec<double>> all = sums[u].about(pivot[u], static_cast<double>(rows));
      if (before > 0) {
        all = normkernels::NORMKERNELS_ISA::merge(
            load_moments<T>(out, j, static_cast<double>(before), lanes), all);
      }
      store_moments(all, out, j, Full{});
    }
  }
};

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SUMS_COLUMNS_H_
