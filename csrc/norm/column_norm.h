// The columns of an image normalised, in NHWC: the sweeps that write y and dx.
//
// Memory is read and written once, nearly in its own order. Of rows that are whole cache lines a
// band is written at a time, block of columns by block of columns, each with its factors in
// registers; an image of other rows vector by vector, whatever their columns, with factors from L1.
// Either way whole vectors lie at the output's own borders, and partial ones, whose masked stores
// take AMD's processors 12 cycles each, are at the ends of the image alone.
//
// Measured (AVX2, Zen 3, out of the caches): 1.2 to 1.6 times as fast as sweeps down 128 rows,
// which skip from page to page.
#ifndef NORMKERNELS_NORM_COLUMN_NORM_H_
#define NORMKERNELS_NORM_COLUMN_NORM_H_

#include "norm/row_gradient.h"
#include "sums/columns.h"

namespace normkernels::NORMKERNELS_ISA {

// ---- What is written ----------------------------------------------------------------
//
// A sweep has, where pixel or row i is [i] of each of its arrays,
//
//   Column                          the factors of a vector of columns
//   put(column, i, j, lanes)        writes row i from column j on
//   ahead(i, j)                     asks for its line there
//   out()                           the output whose lines are written whole
//   ordinary()                      the same with no output written past the caches
//   contiguous(c)                   whether all pixels lie next to each other
//   in_rows(pixel, width)           the same from a pixel on, in rows of `width`, if they do
//
// Loops hold it by value, so that no store can have changed it.

// An output, and whether it is written past the caches. That is looked at for every vector: the
// branch costs nothing beside what it decides.
template <class T>
struct Output {
  Rows<T> rows;
  bool stream;

  NORMKERNELS_INLINE void ahead(int64_t i, int64_t j) const {
    if (!stream) prefetch_to_write(rows[i] + j);
  }
  NORMKERNELS_INLINE void put(int64_t i, int64_t j, Vec<T> v, Full) const {
    if (stream) {
      normkernels::NORMKERNELS_ISA::stream(rows[i] + j, v);
    } else {
      store(rows[i] + j, v);
    }
  }
  NORMKERNELS_INLINE void put(int64_t i, int64_t j, Vec<T> v, int lanes) const {
    store(rows[i] + j, v, lanes);
  }
  NORMKERNELS_INLINE Output in_rows(int64_t pixel, int64_t width) const {
    return {{rows[pixel], width}, stream};
  }
  NORMKERNELS_INLINE Output from(int64_t pixel) const { return {rows.from(pixel), stream}; }
};

// y = xhat gamma + beta.
template <class T>
struct ForwardSweep {
  Factors<T> factors;
  Rows<const T> x;
  Output<T> y;

  struct Column {
    Standardise<T> xhat;
    Vec<T> gamma, beta;

    Column() = default;
    template <class Lanes>
    NORMKERNELS_INLINE Column(const Factors<T>& f, int64_t j, Lanes lanes)
        : xhat(f, Factors<T>::kShift, j, lanes),
          gamma(load(f[Factors<T>::kGamma] + j, lanes)),
          beta(load(f[Factors<T>::kBeta] + j, lanes)) {}
    NORMKERNELS_INLINE Vec<T> y(Vec<T> x) const { return fma(xhat(x), gamma, beta); }
  };

  using Element = T;
  NORMKERNELS_INLINE const Output<T>& out() const { return y; }
  NORMKERNELS_INLINE ForwardSweep ordinary() const { return {factors, x, {y.rows, false}}; }
  NORMKERNELS_INLINE bool contiguous(int64_t c) const {
    return x.stride == c && y.rows.stride == c;
  }
  NORMKERNELS_INLINE ForwardSweep in_rows(int64_t pixel, int64_t width) const {
    return {factors, {x[pixel], width}, y.in_rows(pixel, width)};
  }
  NORMKERNELS_INLINE ForwardSweep from(int64_t pixel) const {
    return {factors, x.from(pixel), y.from(pixel)};
  }
  NORMKERNELS_INLINE void ahead(int64_t i, int64_t j) const {
    prefetch(x[i] + j);
    y.ahead(i, j);
  }
  template <class Lanes>
  NORMKERNELS_INLINE void put(const Column& column, int64_t i, int64_t j, Lanes lanes) const {
    y.put(i, j, column.y(load(x[i] + j, lanes)), lanes);
  }
};

// dx, and y as well in one sweep, since y may be x.
template <class T, Writes kWrites>
struct BackwardSweep {
  static constexpr bool kForward = kWrites == Writes::kDxAndY;
  static constexpr bool kOfGroup = kWrites == Writes::kDxOfGroup;
  Factors<T> factors;
  Rows<const T> dy, x;
  Output<T> y, dx;

  struct Column {
    Standardise<T> xhat;
    Gradient<T> gradient;
    Vec<T> gamma;
    typename ForwardSweep<T>::Column forward;

    Column() = default;
    template <class Lanes>
    NORMKERNELS_INLINE Column(const Factors<T>& f, int64_t j, Lanes lanes)
        : xhat(f, Factors<T>::kGradientShift, j, lanes), gradient(f, j, lanes), gamma(), forward() {
      if constexpr (kOfGroup) gamma = load(f[Factors<T>::kGamma] + j, lanes);
      if constexpr (kForward) forward = typename ForwardSweep<T>::Column(f, j, lanes);
    }
  };

  using Element = T;
  NORMKERNELS_INLINE const Output<T>& out() const { return dx; }
  NORMKERNELS_INLINE BackwardSweep ordinary() const {
    return {factors, dy, x, {y.rows, false}, {dx.rows, false}};
  }
  NORMKERNELS_INLINE bool contiguous(int64_t c) const {
    return dy.stride == c && x.stride == c && dx.rows.stride == c &&
           (!kForward || y.rows.stride == c);
  }
  NORMKERNELS_INLINE BackwardSweep in_rows(int64_t pixel, int64_t width) const {
    return {factors,
            {dy[pixel], width},
            {x[pixel], width},
            kForward ? y.in_rows(pixel, width) : y,
            dx.in_rows(pixel, width)};
  }
  NORMKERNELS_INLINE BackwardSweep from(int64_t pixel) const {
    return {factors, dy.from(pixel), x.from(pixel), kForward ? y.from(pixel) : y, dx.from(pixel)};
  }
  NORMKERNELS_INLINE void ahead(int64_t i, int64_t j) const {
    prefetch(x[i] + j);
    prefetch(dy[i] + j);
    dx.ahead(i, j);
  }
  template <class Lanes>
  NORMKERNELS_INLINE void put(const Column& column, int64_t i, int64_t j, Lanes lanes) const {
    const Vec<T> v = load(x[i] + j, lanes), d = load(dy[i] + j, lanes);
    const Vec<T> g = kOfGroup ? d * column.gamma : d;
    if constexpr (kForward) y.put(i, j, column.forward.y(v), lanes);
    dx.put(i, j, column.gradient(g, column.xhat(v)), lanes);
  }
};

// ---- How ----------------------------------------------------------------------------

// Rows of a band, which stays in L1, and those from which on its lines are asked for. Measured
// (Zen 3): longer bands are slower by up to 1.2 where inputs and outputs lie alike in their pages,
// shorter ones of many channels load their factors too often.
constexpr int64_t kRowsAhead = 8;
template <class T>
NORMKERNELS_INLINE int64_t band_of(int64_t width) {
  constexpr int64_t kElements = 4096 / sizeof(T), kLeast = 16;
  return larger(kElements / width, kLeast);
}

// Rows [0, rows), columns [from, to), band by band.
template <class Sweep>
__attribute__((noinline)) void sweep_rows(const Sweep& sweep, int64_t rows, int64_t from,
                                          int64_t to) {
  using T = typename Sweep::Element;
  constexpr int W = Vec<T>::kLanes, kLine = kLineBytes / sizeof(T);
  const Sweep s = sweep;
  const int64_t band = band_of<T>(to - from);
  for (int64_t begin = 0; begin < rows; begin += band) {
    const int64_t end = part_end(begin, band, rows);
    for_each_column_block<T, kColumnVectors>(
        to,
        [&](int64_t j, auto vectors, auto lanes) __attribute__((always_inline)) {
          constexpr int U = decltype(vectors)::value;
          typename Sweep::Column column[U];
#pragma GCC unroll 4
          for (int u = 0; u < U; ++u) column[u] = {s.factors, j + u * W, lanes};
          for (int64_t i = begin; i < end; ++i) {
#pragma GCC unroll 4
            for (int u = 0; u < U; ++u) {
              if (u * W % kLine == 0) s.ahead(i + kRowsAhead, j + u * W);
              s.put(column[u], i, j + u * W, lanes);
            }
          }
        },
        from);
  }
}

// Elements [begin, end) of pixels that lie next to each other, in memory order.
template <class Sweep>
__attribute__((noinline)) void sweep_elements(const Sweep& sweep, int64_t begin, int64_t end,
                                              int64_t c) {
  using T = typename Sweep::Element;
  constexpr int W = Vec<T>::kLanes, kLine = kLineBytes / sizeof(T);
  const Sweep s = sweep;
  int64_t i = begin, j = begin % c;
  const auto put = [&](int64_t at) __attribute__((always_inline)) {
    s.put(typename Sweep::Column(s.factors, j, Full{}), 0, at, Full{});
    for (j += W; j >= c;) j -= c;
  };
  for (; i + kLine <= end; i += kLine) {
    s.ahead(0, i + kLead<T>);
#pragma GCC unroll 2
    for (int k = 0; k < kLine; k += W) put(i + k);
  }
  for (; i + W <= end; i += W) put(i);
  if (i < end) {
    const int left = static_cast<int>(end - i);
    s.put(typename Sweep::Column(s.factors, j, left), 0, i, left);
  }
}

// n elements of pixels that lie next to each other, in rows. The lines of the output are written
// whole, but for those at the ends.
template <class Sweep>
NORMKERNELS_INLINE void sweep_lines(const Sweep& s, int64_t n, int64_t c) {
  using T = typename Sweep::Element;
  constexpr int64_t kLine = kLineBytes / sizeof(T);
  const int64_t width = s.out().rows.stride,
                head = smaller(elements_to_border<kLineBytes>(s.out().rows.p), n);
  const int64_t rows = width % kLine == 0 ? (n - head) / width : 0;
  if (head > 0) sweep_elements(s.ordinary(), 0, head, c);
  if (rows > 0) sweep_rows(s, rows, head, head + width);
  if (head < n) sweep_elements(s, head + rows * width, n, c);
}

// All pixels of an image.
template <class Sweep>
__attribute__((noinline)) void sweep_image(const Sweep& s, const Fold& fold, int64_t c,
                                           int64_t pixels, const Executor& executor) {
  const bool contiguous = s.contiguous(c);
  const int64_t spans = fold.spans > 0 ? fold.spans : 1;
  for_each_task(executor, spans, [&](int64_t i) {
    const int64_t begin = i * fold.span * fold.pixels;
    const int64_t end = i + 1 == spans ? pixels : begin + fold.span * fold.pixels;
    if (contiguous) {
      sweep_lines(s.in_rows(begin, fold.width), (end - begin) * c, c);
      stream_fence();
    } else {
      // Pixels with gaps between them do not begin at borders of vectors.
      sweep_rows(s.ordinary().from(begin), end - begin, 0, c);
    }
  });
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_COLUMN_NORM_H_
