// The columns of an image normalised, in NHWC: the loops over pixels that write y and dx.
//
// Memory is read and written once, nearly in its own order: of narrow rows a band at a time, some
// lines of each with their factors in registers; wide ones four at a time from one end to the
// other, with factors from L1. Pixels that lie next to each other are swept in rows of as many as
// make whole lines, so that whole vectors lie at the output's own borders; partial ones, whose
// masked stores take AMD's processors 12 cycles each, are at the ends of the image alone.
//
// Measured (AVX2, Zen 3): with 37 and 100 channels 1.7 times as fast as in memory order with
// factors from L1. In fours rather than in bands: with 1280 channels 1.1 times as fast, with
// 512 1.2 and with 1024, whose bands would be single rows, 1.8 times; with 64 channels no faster.
#ifndef NORMKERNELS_NORM_COLUMN_NORM_H_
#define NORMKERNELS_NORM_COLUMN_NORM_H_

#include "norm/column_sweeps.h"
#include "sums/columns.h"

namespace normkernels::NORMKERNELS_ISA {

// Rows of a band, whose lines of input and output are to stay in L1. x and y often lie alike in
// their pages, and then a load from a row waits for the store to an earlier one that lies in its
// page as this row does: a band ends before (256 channels: 1.2 times as fast).
template <class T>
NORMKERNELS_INLINE int64_t band_of(int64_t stride) {
  constexpr int64_t kPage = 4096 / sizeof(T), kLeast = 16;
  int64_t alike = kPage;
  while (alike > 1 && stride * (alike / 2) % kPage == 0) alike /= 2;
  return smaller(alike, larger(kPage / stride, kLeast));
}

// Elements [from, to) of rows [0, rows), a band at a time.
template <class Sweep>
__attribute__((noinline)) void sweep_bands(const Sweep& sweep, int64_t rows, int64_t from,
                                           int64_t to, int64_t c) {
  using T = typename Sweep::Element;
  constexpr int W = Vec<T>::kLanes, kLine = kLineBytes / sizeof(T);
  const Sweep s = sweep;
  const int64_t band = band_of<T>(s.out().rows.stride);
  const int64_t lead = parts_of(kLead<T>, to - from);
  for (int64_t begin = 0; begin < rows; begin += band) {
    const int64_t end = part_end(begin, band, rows);
    int64_t i = from, j = from % c;
    const auto put = [&](auto vectors, auto lanes) __attribute__((always_inline)) {
      constexpr int U = decltype(vectors)::value;
      typename Sweep::Column column[U];
#pragma GCC unroll 8
      for (int u = 0; u < U; ++u) {
        column[u] = {s.factors, j, lanes};
        for (j += W; j >= c;) j -= c;
      }
      for (int64_t row = begin; row < end; ++row) {
        // All is read before any is written, for which loads would wait (moments.h): of 64 channels
        // 8 and 15 % where y begins 16 and 48 bytes further into its page than x (Zen 4).
        typename Sweep::Operands operands[U];
#pragma GCC unroll 8
        for (int u = 0; u < U; ++u) {
          if (u * W % kLine == 0) s.ahead(row + lead, i + u * W);
          operands[u] = s.read(row, i + u * W, lanes);
        }
#pragma GCC unroll 8
        for (int u = 0; u < U; ++u) s.put(column[u], operands[u], row, i + u * W, lanes);
      }
      i += U * W;
    };
    while (i + Sweep::kVectors * W <= to) put(Index<Sweep::kVectors>{}, Full{});
    while (i + W <= to) put(Index<1>{}, Full{});
    if (i < to) put(Index<1>{}, static_cast<int>(to - i));
  }
}

// Rows worked on together, from `row` on: whole vectors of elements [from, to), in their own order.
// What is read of all rows comes before what is written, since these lines may lie alike as well.
constexpr int kRowsAlong = 4;
template <class Sweep>
struct AlongRows {
  static constexpr int W = Vec<typename Sweep::Element>::kLanes;
  typename Sweep::Operands of[kRowsAlong];

  NORMKERNELS_INLINE void read(const Sweep& s, int64_t row, int64_t i) {
#pragma GCC unroll 8
    for (int r = 0; r < kRowsAlong; ++r) of[r] = s.read(row + r, i, Full{});
  }
  NORMKERNELS_INLINE void put(const Sweep& s, int64_t row, int64_t i, int64_t j) const {
    const typename Sweep::Column column = {s.factors, j, Full{}};
#pragma GCC unroll 8
    for (int r = 0; r < kRowsAlong; ++r) s.put(column, of[r], row + r, i, Full{});
  }
};

// kAhead: a line is read before what is written of the one before it. 512 channels take 0.87 of the
// time with AVX-512. With AVX2, whose registers do not hold a line of four rows, it is 1.3 times as
// slow, but where reads would wait for what was just written 1.4 times as fast (Zen 4).
template <bool kAhead, class Sweep>
__attribute__((noinline)) void sweep_along(const Sweep& sweep, int64_t row, int64_t from,
                                           int64_t to, int64_t c) {
  constexpr int W = AlongRows<Sweep>::W;
  const Sweep s = sweep;
  int64_t i = from, j = from % c;
  const auto put = [&](const AlongRows<Sweep>& vector) __attribute__((always_inline)) {
    vector.put(s, row, i, j);
    i += W;
    for (j += W; j >= c;) j -= c;
  };
  if constexpr (kAhead) {
    constexpr int kLine = kLineBytes / sizeof(typename Sweep::Element), kVectors = kLine / W;
    AlongRows<Sweep> line[kVectors];
#pragma GCC unroll 8
    for (int u = 0; u < kVectors; ++u) line[u].read(s, row, i + u * W);
    while (i + 2 * kLine <= to) {
#pragma GCC unroll 8
      for (int u = 0; u < kVectors; ++u) {
        const AlongRows<Sweep> vector = line[u];
        line[u].read(s, row, i + kLine);
        put(vector);
      }
    }
#pragma GCC unroll 8
    for (int u = 0; u < kVectors; ++u) put(line[u]);
  }
  while (i < to) {
    AlongRows<Sweep> rest;
    rest.read(s, row, i);
    put(rest);
  }
}

// Rows [0, rows), elements [from, to) of each, whose columns are those of c, over again.
template <class Sweep>
__attribute__((noinline)) void sweep_rows(const Sweep& s, int64_t rows, int64_t from, int64_t to,
                                          int64_t c) {
  using T = typename Sweep::Element;
  constexpr int64_t kWide = 2048 / sizeof(T), W = Vec<T>::kLanes;
  int64_t row = 0;
  if (to - from >= kWide) {
    const int64_t end = to - (to - from) % W;
    for (; row + kRowsAlong <= rows; row += kRowsAlong) {
      constexpr bool kAhead = NORMKERNELS_VECTOR_BYTES == 64;
      kAhead || s.waits() ? sweep_along<true>(s, row, from, end, c)
                          : sweep_along<kAhead>(s, row, from, end, c);
    }
    if (end < to) sweep_bands(s, row, end, to, c);
  }
  if (row < rows) sweep_bands(s.from(row), rows - row, from, to, c);
}

// n elements of pixels that lie next to each other, whose columns are those of `width`, over again.
// They are written in rows that are whole lines of the output, all but those at the ends.
template <class Sweep>
__attribute__((noinline)) void sweep_lines(const Sweep& s, int64_t n, int64_t width) {
  using T = typename Sweep::Element;
  constexpr int64_t kLine = kLineBytes / sizeof(T);
  int64_t row = width;
  while (row % kLine != 0) row *= 2;
  const int64_t head = smaller(elements_to_border<kLineBytes>(s.out().rows.p), n);
  const int64_t rows = (n - head) / row, done = head + rows * row;
  if (head > 0) sweep_rows(s.ordinary(), 1, 0, head, width);
  if (rows > 0) sweep_rows(s.in_rows(row), rows, head, head + row, width);
  if (done < n) sweep_rows(s, 1, done, n, width);
}

// f(share, begin, end) for the pixels of the spans of each of `shares` tasks, or fewer.
template <class F>
NORMKERNELS_INLINE void for_each_share_of_pixels(const Fold& fold, int64_t pixels,
                                                 const Executor& executor, int64_t shares,
                                                 const F& f) {
  const int64_t each = fold.spans_of_share(shares), tasks = larger(parts_of(fold.spans, each), 1);
  for_each_task(executor, tasks, [&](int64_t i) {
    const int64_t begin = i * each * fold.span * fold.pixels;
    f(i, begin, i + 1 == tasks ? pixels : begin + each * fold.span * fold.pixels);
  });
}

// All pixels of an image.
template <class Sweep>
__attribute__((noinline)) void sweep_image(const Sweep& s, const Fold& fold, int64_t c,
                                           int64_t pixels, const Executor& executor) {
  const bool contiguous = s.contiguous(c);
  for_each_share_of_pixels(fold, pixels, executor, kMaxSpans,
                           [&](int64_t, int64_t begin, int64_t end) {
                             if (contiguous) {
                               sweep_lines(s.from(begin), (end - begin) * c, fold.width);
                               stream_fence();
                             } else {
                               // Pixels with gaps between them do not begin at borders of vectors.
                               sweep_rows(s.ordinary().from(begin), end - begin, 0, c, c);
                             }
                           });
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_COLUMN_NORM_H_
