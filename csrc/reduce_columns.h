// Canonical sums down the columns of an image [spatial, c]: NHWC, where the channels are the lanes
// of a vector.
//
// - fold: few channels would leave most lanes empty, so k pixels are read as one of k * c channels
//   (k a power of two that follows from c and spatial), and the k results folded by halves at the
//   end. Pixels left over come last.
// - tile: kTileRows pixels, summed as in reduce.h: runs of 16 in the compute type, runs in float64.
//   Tiles are merged in index order within a span, spans in index order.
//
// The order of additions of a channel thus depends on spatial and c alone: not on the vectors'
// width, and not on how many channels are worked on at a time.
#ifndef NORMKERNELS_REDUCE_COLUMNS_H_
#define NORMKERNELS_REDUCE_COLUMNS_H_

#include "parallel.h"
#include "reduce.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

constexpr int64_t kRun = 16;

// 16 to 32 KiB of a register block: the second sweep of a tile finds it in L1 or L2.
constexpr int64_t kTileRows = 128;

// Vectors of T worked on at a time: with AVX-512's 32 registers four, with 16 two.
constexpr int kColumnVectors = NORMKERNELS_VECTOR_BYTES == 64 ? 4 : 2;

template <class T, int U>
constexpr int kDoublesFor = U* Vec<T>::kLanes / Vec<double>::kLanes;

NORMKERNELS_INLINE void add_widened(Vec<double>* sums, Vec<float> a) {
  Vec<double> low, high;
  widen(a, low, high);
  sums[0] = sums[0] + low;
  sums[1] = sums[1] + high;
}
NORMKERNELS_INLINE void add_widened(Vec<double>* sums, Vec<double> a) { sums[0] = sums[0] + a; }

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

// f(column, vectors, lanes) over `width` columns: blocks of kColumnVectors, then single vectors,
// then the tail.
template <class T, class F>
NORMKERNELS_INLINE void for_each_column_block(int64_t width, F&& f) {
  constexpr int W = Vec<T>::kLanes;
  int64_t j = 0;
  for (; j + kColumnVectors * W <= width; j += kColumnVectors * W)
    f(j, Index<kColumnVectors>{}, Full{});
  for (; j + W <= width; j += W) f(j, Index<1>{}, Full{});
  if (j < width) f(j, Index<1>{}, static_cast<int>(width - j));
}

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

// Three float64 values per column, e.g. the hi, lo and m2 of its moments.
struct Columns {
  double* p;
  int64_t stride;

  NORMKERNELS_INLINE double* operator[](int k) const { return p + k * stride; }
  NORMKERNELS_INLINE Columns from(int64_t column) const { return {p + column, stride}; }
};

constexpr int kColumnFields = 3;

NORMKERNELS_INLINE int64_t reduction_doubles(const Fold& fold) {
  return kColumnFields * fold.width * (fold.spans + 1);
}

// Reduces an image with `reduction`, which has
//
//   rows(begin, rows, width, stride, out)    reduces pixels-rows from element `begin` on, `stride`
//   apart, into `out` merge(a, count_a, b, count_b, width)     a = a and b together
//
// The result is in the first c columns of the first 3 * width of `scratch` (reduction_doubles
// long).
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

NORMKERNELS_INLINE void merge_moments(Vec<double>& hi, Vec<double>& lo, Vec<double>& m2,
                                      Vec<double> hi_b, Vec<double> lo_b, Vec<double> m2_b,
                                      double count_a, double count_b) {
  const double count = count_a + count_b;
  const Vec<double> delta = (hi_b - hi) + (lo_b - lo);
  const Vec<double> step = delta * Vec<double>::all(count_b / count);
  const Vec<double> mean = hi + step;
  const Vec<double> rest = mean - hi;
  lo = (hi - (mean - rest)) + (step - rest) + lo;
  m2 = m2 + m2_b + delta * delta * Vec<double>::all(count_a * (count_b / count));
  hi = mean;
}

// scale: a power of two per column, or null for 1.
template <class T>
struct MomentsReduction {
  const T* x;
  const T* scale;

  void merge(Columns a, double count_a, Columns b, double count_b, int64_t width) const {
    for_each_vector<double, 1>(
        width, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
          Vec<double> hi = load(a[0] + j, lanes), lo = load(a[1] + j, lanes),
                      m2 = load(a[2] + j, lanes);
          merge_moments(hi, lo, m2, load(b[0] + j, lanes), load(b[1] + j, lanes),
                        load(b[2] + j, lanes), count_a, count_b);
          store(a[0] + j, hi, lanes);
          store(a[1] + j, lo, lanes);
          store(a[2] + j, m2, lanes);
        });
  }

  void rows(int64_t begin, int64_t rows, int64_t width, int64_t stride, Columns out) const {
    for (int64_t i = 0; i < rows; i += kTileRows) {
      const int64_t count = rows - i < kTileRows ? rows - i : kTileRows;
      for_each_column_block<T>(
          width, [&](int64_t j, auto vectors, auto lanes) __attribute__((always_inline)) {
            const T* tile = x + begin + i * stride + j;
            if (scale == nullptr) {
              add_tile<decltype(vectors)::value>(
                  tile, stride, count, static_cast<double>(i), lanes, out.from(j),
                  [](auto, Vec<T> v) __attribute__((always_inline)) { return v; });
            } else {
              add_tile<decltype(vectors)::value>(
                  tile, stride, count, static_cast<double>(i), lanes,
                  out.from(j), [&](auto u, Vec<T> v) __attribute__((always_inline)) {
                    return v * load(scale + j + decltype(u)::value * Vec<T>::kLanes, lanes);
                  });
            }
          });
    }
  }

 private:
  // The moments of a tile, merged with those of the `before` rows above it. Two sweeps: a first
  // mean, then everything about it, as in chunk_moments.
  template <int U, class Lanes, class Scaled>
  static NORMKERNELS_INLINE void add_tile(const T* tile, int64_t stride, int64_t rows,
                                          double before, Lanes lanes, Columns out,
                                          Scaled&& scaled) {
    constexpr int W = Vec<T>::kLanes, kWide = Vec<double>::kLanes, kDoubles = kDoublesFor<T, U>;
    const double count = static_cast<double>(rows);
    const auto at = [&](int64_t i, auto u) __attribute__((always_inline)) {
      return scaled(u, load(tile + i * stride + decltype(u)::value * W, lanes));
    };
    ColumnSums<T, 1, U> first = {};
    first.add(
        rows, [&](Vec<T>(&acc)[1], int64_t i, auto u)
                  __attribute__((always_inline)) { acc[0] = acc[0] + at(i, u); });
    double mean[U * W];
    T pivots[U * W];
    unroll<kDoubles>([&](auto d) __attribute__((always_inline)) {
      constexpr int k = decltype(d)::value;
      store(mean + k * kWide, first.v[0][k] / Vec<double>::all(count));
    });
    for (int k = 0; k < U * W; ++k) pivots[k] = static_cast<T>(mean[k]);
    Vec<T> pivot[U];
    unroll<U>([&](auto u) __attribute__((always_inline)) {
      pivot[decltype(u)::value] = load(pivots + decltype(u)::value * W);
    });
    ColumnSums<T, 2, U> centred = {};
    centred.add(
        rows, [&](Vec<T>(&acc)[2], int64_t i, auto u) __attribute__((always_inline)) {
          const Vec<T> d = at(i, u) - pivot[decltype(u)::value];
          acc[0] = acc[0] + d;
          acc[1] = fma(d, d, acc[1]);
        });
    double hi[U * W], lo[U * W], m2[U * W];
    for (int k = 0; k < U * W; ++k) mean[k] = static_cast<double>(pivots[k]);
    unroll<kDoubles>([&](auto d) __attribute__((always_inline)) {
      constexpr int k = decltype(d)::value;
      const Vec<double> shift = centred.v[0][k] / Vec<double>::all(count);
      const Vec<double> centre = load(mean + k * kWide), moved = centre + shift;
      const Vec<double> squares = centred.v[1][k] - centred.v[0][k] * shift;
      store(hi + k * kWide, moved);
      store(lo + k * kWide, shift - (moved - centre));
      store(m2 + k * kWide,
            select<double>(less(squares, Vec<double>::zero()), Vec<double>::zero(), squares));
    });
    const int64_t columns = columns_in<U>(lanes);
    for_each_vector<double, 1>(
        columns, [&](int64_t k, auto left) __attribute__((always_inline)) {
          Vec<double> all_hi = load(hi + k), all_lo = load(lo + k), all_m2 = load(m2 + k);
          if (before > 0) {
            Vec<double> a_hi = load(out[0] + k, left), a_lo = load(out[1] + k, left),
                        a_m2 = load(out[2] + k, left);
            merge_moments(a_hi, a_lo, a_m2, all_hi, all_lo, all_m2, before, count);
            all_hi = a_hi, all_lo = a_lo, all_m2 = a_m2;
          }
          store(out[0] + k, all_hi, left);
          store(out[1] + k, all_lo, left);
          store(out[2] + k, all_m2, left);
        });
  }

  template <int U>
  static constexpr int64_t columns_in(Full) {
    return U * Vec<T>::kLanes;
  }
  template <int U>
  static NORMKERNELS_INLINE int64_t columns_in(int lanes) {
    return lanes;
  }
};

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_REDUCE_COLUMNS_H_
