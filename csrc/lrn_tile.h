// The piece of a tensor that local response norm works on at a time: some channels of some pixels,
// kept in L1 or L2 as a matrix [channels, pixels] with a border of zeros for the windows that reach
// beyond the first or last channel.
//
// Both layouts are this one matrix. NCHW takes some neighbouring pixels, so that a channel
// is a row of memory; NHWC takes one pixel, so that the channels are. In either case the window of
// an element is the elements `pixels` apart, and vectors run along the flattened matrix.
#ifndef NORMKERNELS_LRN_TILE_H_
#define NORMKERNELS_LRN_TILE_H_

#include "kernels.h"
#include "loops.h"
#include "wide.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// Channels before and after, cut to what the tensor has: further ones do not exist for any channel.
struct Window {
  int64_t before, after;
};

NORMKERNELS_INLINE Window window_of(int64_t size, int64_t c) {
  const int64_t most = c > 0 ? c - 1 : 0;
  const int64_t before = (size - 1) / 2, after = size - 1 - before;
  return {before < most ? before : most, after < most ? after : most};
}

constexpr int64_t kTileElements =
    4096;                          // of each buffer: squares 32 KiB, two of float32 16 KiB each
constexpr int64_t kMaxSlots = 32;  // workspaces, where the buffers are not on the stack

// How tiles are cut. Which is a matter of speed alone: every element's window is summed by itself.
struct Tiling {
  int64_t pixels;    // per tile
  int64_t channels;  // per tile, without the border
  int64_t border;    // channels on each side of them that the windows need
  bool on_stack;

  NORMKERNELS_INLINE int64_t elements() const { return (channels + 2 * border) * pixels; }
};

// `reach`: how many windows deep the result depends on x: 1 forward, 2 backward.
NORMKERNELS_INLINE Tiling tiling_of(const Images& shape, bool channels_last, int64_t size,
                                    int64_t reach, int64_t bytes) {
  const Window w = window_of(size, shape.c);
  const int64_t border = reach * (w.before > w.after ? w.before : w.after);
  int64_t pixels = 256 / bytes;
  if (shape.spatial < pixels) pixels = shape.spatial > 0 ? shape.spatial : 1;
  if (channels_last) pixels = 1;
  while (pixels > 1 && 4 * border * pixels > kTileElements) pixels = (pixels + 1) / 2;
  const int64_t fitting = kTileElements / pixels - 2 * border;
  if (fitting <= 0) return {pixels, shape.c, border, false};
  const int64_t tiles = (shape.c + fitting - 1) / fitting;
  return {pixels, tiles > 0 ? (shape.c + tiles - 1) / tiles : 0, border, true};
}

// Where a tile is in memory: element (channel, pixel) of the image is at channel * channel_stride +
// pixel * pixel_stride from its first.
struct Tile {
  int64_t origin;  // element offset of (channel 0, first pixel)
  int64_t channel_stride, pixel_stride;
  int64_t pixels;
  int64_t first, last;  // channels, without the border
  int64_t c;

  NORMKERNELS_INLINE int64_t at(int64_t channel, int64_t pixel) const {
    return origin + channel * channel_stride + pixel * pixel_stride;
  }

  // f(matrix offset, memory offset, length) for the runs of memory that make up the channels [from,
  // to), matrix row 0 being channel `top`: one run where channels lie next to each other, else one
  // per channel.
  template <class F>
  NORMKERNELS_INLINE void for_each_run(int64_t top, int64_t from, int64_t to, F&& f) const {
    if (channel_stride == pixels) {
      f((from - top) * pixels, origin + from * channel_stride, (to - from) * pixels);
      return;
    }
    for (int64_t k = from; k < to; ++k) f((k - top) * pixels, origin + k * channel_stride, pixels);
  }
};

// f(tile, slot) for every tile of the tensor; slot < kMaxSlots is a number that no two running
// tasks share.
template <class F>
NORMKERNELS_INLINE void for_each_tile(const Images& shape, bool channels_last, const Tiling& tiling,
                                      const Executor& executor, F&& f) {
  if (shape.c == 0) return;
  const int64_t strips = (shape.spatial + tiling.pixels - 1) / tiling.pixels,
                all = shape.n * strips;
  const int64_t tasks_wanted = tiling.on_stack ? 8 * int64_t{executor.threads} : kMaxSlots;
  const int64_t each = (all + tasks_wanted - 1) / tasks_wanted;
  if (each == 0) return;
  for_each_task(executor, (all + each - 1) / each, [&](int64_t task) {
    for (int64_t i = task * each; i < all && i < (task + 1) * each; ++i) {
      const int64_t image = i / strips * shape.c * shape.spatial,
                    pixel = i % strips * tiling.pixels;
      const int64_t left = shape.spatial - pixel;
      Tile tile = {image + (channels_last ? pixel * shape.c : pixel),
                   channels_last ? 1 : shape.spatial,
                   channels_last ? shape.c : 1,
                   left < tiling.pixels ? left : tiling.pixels,
                   0,
                   0,
                   shape.c};
      for (; tile.first < shape.c; tile.first = tile.last) {
        tile.last = tile.first + tiling.channels < shape.c ? tile.first + tiling.channels : shape.c;
        f(tile, task);
      }
    }
  });
}

// The sum of `size` elements load(0), load(1), ...: the even ones and the odd ones, then both. Each
// window is added up by itself. A running sum would be cheaper by an addition, but a large value
// that leaves it would take its neighbours' digits along, and an infinite one leave NaN.
template <class Sum, class Size, class Load>
NORMKERNELS_INLINE Sum window_sum(Size size, Load&& load) {
  Sum even = accumulated(Sum{}, load(0));
  if (size.value == 1) return even;
  Sum odd = accumulated(Sum{}, load(1));
  for (int64_t k = 2; k < size.value; k += 2) {
    even = accumulated(even, load(k));
    if (k + 1 < size.value) odd = accumulated(odd, load(k + 1));
  }
  return even + odd;
}

struct RuntimeSize {
  int64_t value;
};

// f with the usual sizes as constants, which unrolls their loops.
template <class F>
NORMKERNELS_INLINE void with_size(int64_t size, F&& f) {
  switch (size) {
    case 3:
      return f(Index<3>{});
    case 5:
      return f(Index<5>{});
    case 7:
      return f(Index<7>{});
    default:
      return f(RuntimeSize{size});
  }
}

// The buffers of a task: on its stack, or its slot of the workspace for windows of a thousand
// channels and more.
template <class T>
struct TileBuffers {
  double* squares;
  T *first, *second;

  TileBuffers(const Tiling& tiling, void* workspace, int64_t slot)
      : squares(squares_stack), first(first_stack), second(second_stack) {
    if (tiling.on_stack) return;
    squares = static_cast<double*>(workspace) + slot * doubles(tiling);
    first = reinterpret_cast<T*>(squares + tiling.elements());
    second = first + tiling.elements();
  }

  // Of the workspace, per slot.
  static int64_t doubles(const Tiling& tiling) {
    const int64_t values = 2 * tiling.elements() * static_cast<int64_t>(sizeof(T));
    return tiling.elements() + values / static_cast<int64_t>(sizeof(double)) + 1;
  }

 private:
  alignas(64) double squares_stack[kTileElements];
  alignas(64) T first_stack[kTileElements];
  alignas(64) T second_stack[kTileElements];
};

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_TILE_H_
