// Local response norm where channels lie next to each other and are few: vectors along so short
// rows would be mostly empty. So the pixels are turned, some at a time, to one image of [c, pixels]
// in L1, and its outputs back.
#ifndef NORMKERNELS_LRN_TURN_H_
#define NORMKERNELS_LRN_TURN_H_

#include "lrn/copies.h"
#include "lrn/strips.h"

namespace normkernels::NORMKERNELS_ISA {

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

// Pixels from `pixel` on, turned: all arrays are copied.
template <class T>
struct TurnedPixels {
  int64_t pixel, pixels, c;

  const void* in_place(const void*, Place) const { return nullptr; }
  void read(const void* array, Place, void* copy) const {
    turn(static_cast<const T*>(array) + pixel * c, pixels, c, static_cast<T*>(copy));
  }
  void write(const void* copy, void* array, Place) const {
    turn_back(static_cast<const T*>(copy), pixels, c, static_cast<T*>(array) + pixel * c);
  }
};

// f(part): the arguments for the pixels from `first` to `last`, turned, some at a time.
template <class T, class F>
void for_each_turned(const LocalResponseNorm& a, const Images& block, int64_t first, int64_t last,
                     T* memory, F&& f) {
  const int64_t c = block.c;
  for (int64_t pixel = first; pixel < last; pixel += block.spatial) {
    const TurnedPixels<T> turned = {pixel, smaller(block.spatial, last - pixel), c};
    LocalResponseNorm part = a;
    part.shape = {1, c, turned.pixels};
    with_copies(a, part, memory, static_cast<uint64_t>(c * block.spatial) * sizeof(T), turned, f);
  }
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_TURN_H_
