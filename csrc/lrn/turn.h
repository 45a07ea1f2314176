// Local response norm where channels lie next to each other and are few: vectors along so short
// rows would be mostly empty. So the pixels are turned, some at a time, to one image of [c, pixels]
// in L1, and its outputs back.
#ifndef NORMKERNELS_LRN_TURN_H_
#define NORMKERNELS_LRN_TURN_H_

#include "lrn/strips.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

constexpr int64_t kFewChannels = 16;  // from there on rows as they are were as fast
constexpr int64_t kTurnedPixels = 128;

// Of a few pixels of c channels, [pixels, c] to [c, pixels] and back. The inner loop is the long
// one; as short as it is by itself, its speed would hang on where it lies in memory.
template <class T>
__attribute__((noinline)) void turn(const T* __restrict__ from, int64_t pixels, int64_t c,
                                    T* __restrict__ to) {
  for (int64_t j = 0; j < c; ++j) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < pixels; ++i) to[j * pixels + i] = from[i * c + j];
  }
}
template <class T>
__attribute__((noinline)) void turn_back(const T* __restrict__ from, int64_t pixels, int64_t c,
                                         T* __restrict__ to) {
  for (int64_t j = 0; j < c; ++j) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < pixels; ++i) to[i * c + j] = from[j * pixels + i];
  }
}

NORMKERNELS_INLINE bool should_turn(const Images& channels_first) {
  return channels_first.spatial == 1 && channels_first.c <= kFewChannels && channels_first.n > 1;
}

// So many elements of a tensor are turned at a time.
NORMKERNELS_INLINE Images turned_shape(const Images& channels_first) {
  return {1, channels_first.c, smaller(channels_first.n, kTurnedPixels)};
}

// Elements of memory for those of every tensor that there is.
constexpr int64_t kTurnedTensors = 5;

// f(part): the arguments for the pixels from `first` to `last`, turned, some at a time.
template <class T, class F>
void for_each_turned(const LocalResponseNorm& a, const Images& block, int64_t first, int64_t last,
                     T* memory, F&& f) {
  using Inputs = const void* LocalResponseNorm::*;
  using Outputs = void* LocalResponseNorm::*;
  constexpr Inputs kInputs[] = {&LocalResponseNorm::dy, &LocalResponseNorm::x,
                                &LocalResponseNorm::y_in, &LocalResponseNorm::scale_in};
  constexpr Outputs kOutputs[] = {&LocalResponseNorm::y, &LocalResponseNorm::scale,
                                  &LocalResponseNorm::dx};
  const int64_t c = block.c;
  for (int64_t pixel = first; pixel < last; pixel += block.spatial) {
    const int64_t pixels = smaller(block.spatial, last - pixel);
    T* turned = memory;
    const auto next = [&] {
      T* const used = turned;
      turned += c * block.spatial;
      return used;
    };
    LocalResponseNorm part = a;
    part.shape = {1, c, pixels};
    for (const Inputs input : kInputs) {
      if (a.*input == nullptr) continue;
      T* const to = next();
      turn(static_cast<const T*>(a.*input) + pixel * c, pixels, c, to);
      part.*input = to;
    }
    for (const Outputs output : kOutputs) {
      if (a.*output != nullptr) part.*output = next();
    }
    f(part);
    for (const Outputs output : kOutputs) {
      if (a.*output == nullptr) continue;
      turn_back(static_cast<const T*>(part.*output), pixels, c,
                static_cast<T*>(a.*output) + pixel * c);
    }
  }
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_TURN_H_
