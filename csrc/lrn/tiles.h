// Local response norm of arrays that do not lie in one piece.
//
// Pixels have nothing to do with each other, and both layouts give the same bits. So what counts is
// how the channels and pixels lie, not which layout the caller calls it: where all arrays are dense
// in one of the two, or their images are, that layout's kernel runs on them as they are. Others go
// through the workspace, a tile of some pixels with all their channels at a time: inputs are
// gathered, the kernel runs on the tile, outputs are scattered. A tile does not end with an image.
//
// Those of a half type always do, where they are float32.
//
// The rows of the grid are the channels, its columns the pixels of all images.
#ifndef NORMKERNELS_LRN_TILES_H_
#define NORMKERNELS_LRN_TILES_H_

#include "lrn/copies.h"
#include "lrn/workspace.h"
#include "simd/half_parts.h"

namespace normkernels::NORMKERNELS_ISA {

constexpr int64_t kTileElements = 16384;
constexpr int64_t kLeastTilePixels = 48;
// Of more, every array would have its elements in the same sets of the caches as the others.
constexpr uint64_t kTileSpareBytes = 5 * 64;
constexpr int64_t kMaxShares = 16;
// Smaller images are tiles together, rather than by themselves.
constexpr int64_t kImageElements = 2048;

// How the pixels are cut into tiles, and the workspace of all ways to do the work: the strides,
// which say what way it is, are not known when its size is asked for.
template <class T>
struct TileLayout {
  int64_t pixels;  // of a tile
  int64_t tiles;
  uint64_t copy_bytes;    // of an array's tile
  uint64_t serial_bytes;  // of a share, for the kernel on a tile or on an image
  uint64_t share_bytes;
  int64_t shares;  // tasks, each with its own part of the workspace
  uint64_t bytes;

  TileLayout(const Images& shape, int64_t size) {
    const int64_t all = shape.n * shape.spatial;
    pixels = smaller(tile_pixels(shape.c), all);
    tiles = parts_of(all, pixels);
    copy_bytes = whole_lines(static_cast<uint64_t>(shape.c * pixels) * sizeof(T)) + kTileSpareBytes;
    const Images image = {1, shape.c, shape.spatial}, rest = {1, shape.c, all % pixels};
    serial_bytes = 0;
    uint64_t whole = 0;
    constexpr bool kEither[] = {false, true};
    for (const bool channels_last : kEither) {
      const auto layout = [&](const Images& part) {
        return WorkLayout<T>(part, channels_last, size);
      };
      serial_bytes = most(serial_bytes, layout({1, shape.c, pixels}).slot_bytes);
      if (rest.spatial > 0) serial_bytes = most(serial_bytes, layout(rest).slot_bytes);
      serial_bytes = most(serial_bytes, layout(image).slot_bytes);
      whole = most(whole, most(layout(image).bytes(), layout(shape).bytes()));
    }
    share_bytes = serial_bytes + kMostArrays * copy_bytes;
    // All together no larger than one of the arrays.
    const uint64_t array = static_cast<uint64_t>(shape.c * all) * sizeof(T);
    shares = larger(1, smaller(static_cast<int64_t>(array / share_bytes), kMaxShares));
    bytes = most(whole, static_cast<uint64_t>(shares) * share_bytes);
  }

 private:
  // An odd multiple of 16, so that lines of neighbouring rows are in different sets of L1.
  static int64_t tile_pixels(int64_t c) {
    const int64_t fit = kTileElements / c / kLeastTilePixels;
    return fit < 1 ? kLeastTilePixels : (fit - 1 + fit % 2) * kLeastTilePixels;
  }
  static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }
};

// Whether this holds for the strides of all arrays.
template <class F>
bool holds_for_all(const LocalResponseNorm& a, F&& holds) {
  for (const InputArray& input : kInputs) {
    if (a.*input.data != nullptr && !holds(a.at->*input.strides)) return false;
  }
  for (const OutputArray& output : kOutputs) {
    if (a.*output.data != nullptr && !holds(a.at->*output.strides)) return false;
  }
  return true;
}

// From here on an image is any `spatial` pixels that follow each other in the grid, which has its
// axes in an order of its own.

// Whether each image is dense in all arrays.
inline bool has_dense_images(const LocalResponseNorm& a, bool channels_last) {
  const Axes &channels = a.at->grid->rows, &pixels = a.at->grid->cols;
  const int64_t spatial = a.shape.spatial;
  const int last = pixels.count - 1;
  if (spatial > 1 && pixels.extents[last] % spatial != 0) return false;
  return holds_for_all(a, [&](const Strides& strides) {
    if (channels.count > 0 && strides.rows[0] != (channels_last ? 1 : spatial)) return false;
    return spatial == 1 || strides.cols[last] == (channels_last ? a.shape.c : 1);
  });
}

// Whether images that are dense follow each other without a gap.
inline bool has_adjacent_images(const LocalResponseNorm& a) {
  const Axes& pixels = a.at->grid->cols;
  return holds_for_all(a, [&](const Strides& strides) {
    int64_t images = 1;
    for (int k = pixels.count; k-- > 0;) {
      const bool within = k == pixels.count - 1;  // the axis along which images are cut
      const int64_t extent = within ? pixels.extents[k] / a.shape.spatial : pixels.extents[k];
      const int64_t stride = within ? strides.cols[k] * a.shape.spatial : strides.cols[k];
      if (extent > 1 && stride != images * a.shape.c * a.shape.spatial) return false;
      images *= extent;
    }
    return true;
  });
}

// The arguments for one image, of those that are dense.
template <class T>
LocalResponseNorm image_of(const LocalResponseNorm& a, bool channels_last, int64_t image) {
  LocalResponseNorm part = a;
  part.at = nullptr;
  part.channels_last = channels_last;
  part.shape.n = 1;
  const auto start = [&](const Strides& strides) {
    return offset_of(a.at->grid->cols, strides.cols, image * a.shape.spatial);
  };
  for (const InputArray& input : kInputs) {
    if (a.*input.data == nullptr) continue;
    part.*input.data = static_cast<const T*>(a.*input.data) + start(a.at->*input.strides);
  }
  for (const OutputArray& output : kOutputs) {
    if (a.*output.data == nullptr) continue;
    part.*output.data = static_cast<T*>(a.*output.data) + start(a.at->*output.strides);
  }
  return part;
}

// Some pixels as [c, pixels] or, channels last, [pixels, c].
template <class T>
class Tile {
 public:
  Tile(const Placement& at, bool channels_last, int64_t c, int64_t pixel, int64_t pixels)
      : at_(at),
        grid_(*at.grid),
        channels_last_(channels_last),
        c_(c),
        pixel_(pixel),
        pixels_(pixels) {}

  // Pixels in one piece that are next to each other are such a tile already.
  const void* in_place(const void* array, Place place) const {
    if (is_half()) return nullptr;
    const Strides& strides = at_.*place;
    const Axes& axes = grid_.cols;
    int64_t stride = c_;
    if (!channels_last_) return nullptr;
    if (c_ > 1 && strides.rows[0] != 1) return nullptr;
    for (int k = axes.count; k-- > 0;) {
      if (strides.cols[k] != stride) return nullptr;
      stride *= axes.extents[k];
    }
    return static_cast<const T*>(array) + pixel_ * c_;
  }
  void read(const void* array, Place place, void* copy) const {
    if constexpr (sizeof(T) == sizeof(float)) {
      if (is_half())
        return widen_part(grid(), lying(at_.*place), part(), array, static_cast<T*>(copy),
                          stride());
    }
    gather(sizeof(T), grid(), lying(at_.*place), part(), array, copy, stride());
  }
  void write(void* copy, void* array, Place place) const {
    if constexpr (sizeof(T) == sizeof(float)) {
      if (is_half())
        return narrow_part(grid(), lying(at_.*place), part(), static_cast<T*>(copy), stride(),
                           array);
    }
    scatter(sizeof(T), grid(), lying(at_.*place), part(), copy, stride(), array);
  }

 private:
  bool is_half() const { return grid_.storage != Storage::kComputed; }
  // The grid whose rows are those of the tile.
  Grid grid() const { return channels_last_ ? Grid{grid_.cols, grid_.rows, grid_.storage} : grid_; }
  Strides lying(const Strides& s) const {
    return channels_last_ ? Strides{0, 0, s.cols, s.rows} : s;
  }
  Part part() const {
    return channels_last_ ? Part{pixel_, pixels_, 0, c_} : Part{0, c_, pixel_, pixels_};
  }
  int64_t stride() const { return channels_last_ ? c_ : pixels_; }

  const Placement& at_;
  const Grid& grid_;
  const bool channels_last_;
  const int64_t c_, pixel_, pixels_;
};

// f(part) with the arguments for each tile from `first` to `last`. It lies as x does, so that of
// x, and most often of all arrays, rows are copied; but few channels would be turned again.
template <class T, class F>
void for_each_tile(const LocalResponseNorm& a, const TileLayout<T>& layout, int64_t first,
                   int64_t last, char* memory, F&& f) {
  const int64_t c = a.shape.c, all = a.shape.n * a.shape.spatial;
  for (int64_t tile = first; tile < last; ++tile) {
    const int64_t pixel = tile * layout.pixels, pixels = smaller(layout.pixels, all - pixel);
    LocalResponseNorm part = a;
    part.at = nullptr;
    part.channels_last = c > kFewChannels && a.at->x.rows[0] == 1;
    part.shape = {1, c, pixels};
    part.workspace = memory;
    with_copies(a, part, memory + layout.serial_bytes, layout.copy_bytes,
                Tile<T>(*a.at, part.channels_last, c, pixel, pixels), f);
  }
}

// f(first, last, memory) for all of n images or tiles, some to a task.
template <class T, class F>
void for_each_share(const LocalResponseNorm& a, const TileLayout<T>& layout, int64_t n,
                    const Executor& executor, F&& f) {
  char* const workspace = static_cast<char*>(a.workspace);
  if (executor.threads <= 1) return f(0, n, workspace);
  const int64_t each = parts_of(n, layout.shares);
  for_each_task(executor, parts_of(n, each), [&](int64_t task) {
    f(task * each, part_end(task * each, each, n),
      workspace + static_cast<uint64_t>(task) * layout.share_bytes);
  });
}

// f(part, executor) for dense parts that together are all of a.
template <class T, class F>
void for_each_dense(const LocalResponseNorm& a, const Executor& executor, F&& f) {
  const TileLayout<T> layout(a.shape, a.size);
  const Executor serial = {1, nullptr, nullptr};
  const bool computed = a.at->grid->storage == Storage::kComputed;
  const bool channels_first = computed && has_dense_images(a, false);
  const bool dense = channels_first || (computed && has_dense_images(a, true));
  if (dense && has_adjacent_images(a)) {
    LocalResponseNorm whole = a;
    whole.at = nullptr;
    whole.channels_last = !channels_first;
    return f(whole, executor);
  }
  if (!dense || a.shape.c * a.shape.spatial < kImageElements) {
    return for_each_share(
        a, layout, layout.tiles, executor, [&](int64_t first, int64_t last, char* memory) {
          for_each_tile<T>(a, layout, first, last, memory,
                           [&](const LocalResponseNorm& part) { f(part, serial); });
        });
  }
  if (a.shape.n < 4 * int64_t{executor.threads}) {
    for (int64_t image = 0; image < a.shape.n; ++image)
      f(image_of<T>(a, !channels_first, image), executor);
    return;
  }
  for_each_share(a, layout, a.shape.n, executor, [&](int64_t first, int64_t last, char* memory) {
    for (int64_t image = first; image < last; ++image) {
      LocalResponseNorm part = image_of<T>(a, !channels_first, image);
      part.workspace = memory;
      f(part, serial);
    }
  });
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_TILES_H_
