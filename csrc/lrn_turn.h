// Local response norm where channels lie next to each other and are few: vectors along so short
// rows would be mostly empty. So the pixels are turned, some at a time, to one image of [c, pixels]
// in L1, and its outputs back.
#ifndef NORMKERNELS_LRN_TURN_H_
#define NORMKERNELS_LRN_TURN_H_

#include "lrn_stream.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

constexpr int64_t kFewChannels = 16;  // from there on rows as they are were as fast
constexpr int64_t kTurnedPixels = 128;

// to[j][i] = from[i][j].
template <class T>
void turn(const T* from, int64_t rows, int64_t columns, T* to) {
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t i = 0; i < rows; ++i) to[j * rows + i] = from[i * columns + j];
  }
}

NORMKERNELS_INLINE bool should_turn(const Images& channels_first) {
  return channels_first.spatial == 1 && channels_first.c <= kFewChannels && channels_first.n > 1;
}

// f(part, task): the arguments for some pixels that have been turned.
template <class T, class F>
NORMKERNELS_INLINE void for_each_turned(const LocalResponseNorm& a, const Images& channels_first,
                                        const Executor& executor, F&& f) {
  using Inputs = const void* LocalResponseNorm::*;
  using Outputs = void* LocalResponseNorm::*;
  constexpr Inputs kInputs[] = {&LocalResponseNorm::dy, &LocalResponseNorm::x,
                                &LocalResponseNorm::y_in, &LocalResponseNorm::scale_in};
  constexpr Outputs kOutputs[] = {&LocalResponseNorm::y, &LocalResponseNorm::scale,
                                  &LocalResponseNorm::dx};
  const int64_t c = channels_first.c, all = channels_first.n;
  if (c == 0) return;
  const int64_t wanted = 8 * int64_t{executor.threads};
  const int64_t each = ((all + wanted - 1) / wanted + kTurnedPixels - 1) / kTurnedPixels;
  const int64_t pixels_each = each * kTurnedPixels;
  for_each_task(executor, (all + pixels_each - 1) / pixels_each, [&](int64_t task) {
    alignas(64) T turned[5][kFewChannels * kTurnedPixels];
    const int64_t first = task * pixels_each;
    const int64_t last = first + pixels_each < all ? first + pixels_each : all;
    for (int64_t pixel = first; pixel < last; pixel += kTurnedPixels) {
      const int64_t pixels = last - pixel < kTurnedPixels ? last - pixel : kTurnedPixels;
      LocalResponseNorm part = a;
      part.shape = {1, c, pixels};
      int used = 0;
      for (const Inputs input : kInputs) {
        if (a.*input == nullptr) continue;
        turn(static_cast<const T*>(a.*input) + pixel * c, pixels, c, turned[used]);
        part.*input = turned[used++];
      }
      for (const Outputs output : kOutputs) {
        if (a.*output != nullptr) part.*output = turned[used++];
      }
      f(part, task);
      for (const Outputs output : kOutputs) {
        if (a.*output == nullptr) continue;
        turn(static_cast<const T*>(part.*output), c, pixels,
             static_cast<T*>(a.*output) + pixel * c);
      }
    }
  });
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_TURN_H_
