// The columns of an image normalised, in NHWC: the sweeps that write y and dx.
//
// Memory is read and written row by row, a block of columns at a time with its factors in
// registers.
#ifndef NORMKERNELS_NORM_COLUMN_NORM_H_
#define NORMKERNELS_NORM_COLUMN_NORM_H_

#include "norm/factors.h"
#include "norm/row_statistics.h"
#include "sums/columns.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// U vectors of columns with their factors in registers.
template <class T, int U, class Lanes>
struct RegisterBlock {
  Vec<T> field[Factors<T>::kFields][U];
  Lanes lanes;

  template <class... Fields>
  NORMKERNELS_INLINE RegisterBlock(const Factors<T>& factors, int64_t j, Lanes l, Fields... fields)
      : lanes(l) {
    unroll<U>([&](auto u) __attribute__((always_inline)) {
      constexpr int k = decltype(u)::value;
      ((field[fields][k] = load(factors[fields] + j + k * Vec<T>::kLanes, lanes)), ...);
    });
  }
  NORMKERNELS_INLINE Vec<T> xhat(Vec<T> x, int u, int shift) const {
    using F = Factors<T>;
    const Vec<T> d = multiply_add(x, field[F::kScale][u], -field[F::kCentre][u]);
    return fma(d, field[F::kRstd][u], field[shift][u]);
  }
};

// f with the store that an output wants: past the cache (a streaming store saves reading what it
// overwrites), or into it.
template <class F>
NORMKERNELS_INLINE void with_store(bool stream, F&& f) {
  if (!stream) return f(Cached{});
  f(Streamed{});
  stream_fence();
}

// f(store, begin, rows, width, first column, end) for the tiles of an image, of which p will be
// written. Whole vectors begin at p's own vector borders: where rows are whole vectors, they may as
// well begin, and end, further on.
template <class T, class F>
void for_each_aligned_tile(bool stream, const T* p, const Fold& fold, int64_t c,
                           const Executor& executor, F&& f) {
  for_each_tile(fold, c, executor, [&](int64_t begin, int64_t rows, int64_t width) {
    if (width % Vec<T>::kLanes != 0) return f(Cached{}, begin, rows, width, 0, width);
    with_store(stream, [&](auto how) {
      const int64_t head = unaligned_head(how, p + begin, width);
      if (head == 0) return f(how, begin, rows, width, 0, width);
      f(how, begin, 1, width, 0, head);
      f(how, begin, rows - 1, width, head, head + width);
      f(how, begin + (rows - 1) * width, 1, width, head, width);
    });
  });
}

template <class T>
void write_forward(bool stream, const T* x, const Factors<T>& factors, const Fold& fold, int64_t c,
                   T* y, const Executor& executor) {
  using F = Factors<T>;
  for_each_aligned_tile(
      stream, y, fold, c, executor,
      [&](auto how, int64_t begin, int64_t rows, int64_t width, int64_t from, int64_t to) {
        for_each_column_block<T, kColumnVectors>(
            to,
            [&](int64_t j, auto vectors, auto lanes) __attribute__((always_inline)) {
              constexpr int U = decltype(vectors)::value;
              const RegisterBlock<T, U, decltype(lanes)> block(factors, j, lanes, F::kScale,
                                                               F::kCentre, F::kRstd, F::kShift,
                                                               F::kGamma, F::kBeta);
              for (int64_t i = 0; i < rows; ++i) {
                unroll<U>([&](auto u) __attribute__((always_inline)) {
                  constexpr int k = decltype(u)::value;
                  const int64_t at = begin + i * width + j + k * Vec<T>::kLanes;
                  prefetch(x + at + kRowsAhead * width);
                  if constexpr (!decltype(how)::kMustBeAligned)
                    prefetch_to_write(y + at + kRowsAhead * width);
                  const Vec<T> xhat = block.xhat(load(x + at, lanes), k, F::kShift);
                  store(how, y + at, fma(xhat, block.field[F::kGamma][k], block.field[F::kBeta][k]),
                        lanes);
                });
              }
            },
            from);
      });
}

// dx, and y as well (kForward): in one sweep, since y may be x.
template <class T, bool kForward>
void write_backward(bool stream, const T* dy, const T* x, const Factors<T>& factors,
                    const Fold& fold, int64_t c, T* y, T* dx, const Executor& executor) {
  using F = Factors<T>;
  for_each_aligned_tile(
      stream, dx, fold, c, executor,
      [&](auto how, int64_t begin, int64_t rows, int64_t width, int64_t from, int64_t to) {
        for_each_column_block<T, kColumnVectors>(
            to,
            [&](int64_t j, auto vectors, auto lanes) __attribute__((always_inline)) {
              constexpr int U = decltype(vectors)::value;
              const RegisterBlock<T, U, decltype(lanes)> block(
                  factors, j, lanes, F::kScale, F::kCentre, F::kRstd, F::kShift, F::kGamma,
                  F::kBeta, F::kMeanG, F::kMeanGx, F::kFactor, F::kGradientShift);
              for (int64_t i = 0; i < rows; ++i) {
                unroll<U>([&](auto u) __attribute__((always_inline)) {
                  constexpr int k = decltype(u)::value;
                  const int64_t at = begin + i * width + j + k * Vec<T>::kLanes;
                  prefetch(x + at + kRowsAhead * width);
                  prefetch(dy + at + kRowsAhead * width);
                  if constexpr (!decltype(how)::kMustBeAligned)
                    prefetch_to_write(dx + at + kRowsAhead * width);
                  const Vec<T> v = load(x + at, lanes), g = load(dy + at, lanes);
                  if constexpr (kForward) {
                    const Vec<T> xhat = block.xhat(v, k, F::kShift);
                    store(y + at, fma(xhat, block.field[F::kGamma][k], block.field[F::kBeta][k]),
                          lanes);
                  }
                  const Vec<T> xhat = block.xhat(v, k, F::kGradientShift);
                  const Vec<T> centred = multiply_add(-xhat, block.field[F::kMeanGx][k],
                                                      g - block.field[F::kMeanG][k]);
                  store(how, dx + at, centred * block.field[F::kFactor][k], lanes);
                });
              }
            },
            from);
      });
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_COLUMN_NORM_H_
