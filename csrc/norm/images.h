// The images of a call, in NHWC, where they are or a tile at a time: what is summed over them and
// written to them.
#ifndef NORMKERNELS_NORM_IMAGES_H_
#define NORMKERNELS_NORM_IMAGES_H_

#include "norm/blocks.h"
#include "norm/column_gradient.h"
#include "norm/tiled_columns.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {

// The arrays of a call; dy, y and dx may be null.
struct ImageArrays {
  const void *x, *dy;
  void *y, *dx;
  Placement at;
};

inline Placement placement_of(const Placement* at, const Images& shape) {
  if (at != nullptr) return *at;
  const Strides dense = {shape.spatial * shape.c, shape.c, nullptr, nullptr};
  Placement all = {};
  all.x = all.dy = all.y = all.dx = dense;
  return all;
}

// An image whose pixels are equally far apart. dy, y and dx are there if they are needed.
template <class T>
struct DenseImage {
  const Fold& fold;
  int64_t c, spatial;
  Rows<const T> x, dy;
  Rows<T> y, dx;
  double* reduction;
  const Executor& executor;

  SumTable moments(const T* scale) const {
    return reduce_image(MomentsReduction<T>{x, scale}, fold, c, x.stride == c, reduction, executor,
                        kMaxSpans);
  }
  double scale_of(int64_t k) const { return scale_for(x[0] + k, spatial, x.stride); }
  SumTable gradients(const Factors<T>& factors) const {
    return reduce_image(GradientReduction<T>{dy, x, factors}, fold, c,
                        dy.stride == c && x.stride == c, reduction, executor, kMaxSpans);
  }
  void write(const Factors<T>& factors, bool stream) const {
    sweep_image(ForwardSweep<T>{factors, x, {y, stream}}, fold, c, spatial, executor);
  }
  void write_gradients(const Factors<T>& factors, bool stream, bool of_groups) const {
    if (of_groups) {
      return sweep_image(BackwardSweep<T, Writes::kDxOfGroup>{factors, dy, x, {}, {dx, stream}},
                         fold, c, spatial, executor);
    }
    if (y.p == nullptr) {
      return sweep_image(BackwardSweep<T, Writes::kDx>{factors, dy, x, {}, {dx, stream}}, fold, c,
                         spatial, executor);
    }
    const bool alike = elements_to_border<64>(y.p) == elements_to_border<64>(dx.p);
    const bool stream_y = stream && y.p != x.p && alike;
    sweep_image(BackwardSweep<T, Writes::kDxAndY>{factors, dy, x, {y, stream_y}, {dx, stream}},
                fold, c, spatial, executor);
  }
};

// Of a grid whose rows are pixels, from those of one whose rows are images and channels.
inline Strides turned(const Strides& strides) {
  return {0, 0, strides.cols, strides.rows == nullptr ? nullptr : strides.rows + 1};
}

// The tiles of an image whose pixels and channels lie anywhere. The rows of `pixels` are pixels,
// its columns channels.
template <class T>
struct Tiles {
  TiledInput<T> x, dy;
  TiledOutput<T> y, dx;

  // Of image i.
  Tiles(const ImageArrays& a, int64_t i, const Grid& pixels, Through through,
        const TileShape<T>& tile, T* buffers)
      : x(image(a.x, pixels, a.at.x, i), pixels, turned(a.at.x), tile, buffers, through),
        dy(image(a.dy, pixels, a.at.dy, i), pixels, turned(a.at.dy), tile,
           buffers + tile.elements(), through),
        y(const_cast<void*>(image(a.y, pixels, a.at.y, i)), turned(a.at.y), x),
        dx(const_cast<void*>(image(a.dx, pixels, a.at.dx, i)), turned(a.at.dx), dy) {}
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

 private:
  static const void* image(const void* p, const Grid& grid, const Strides& strides, int64_t i) {
    if (p == nullptr) return p;
    const int64_t bytes = grid.storage == Storage::kComputed ? sizeof(T) : sizeof(uint16_t);
    return static_cast<const char*>(p) + i * strides.rows[0] * bytes;
  }
};

// Who works on the tiles of an image: `shares` tasks, or fewer, each with buffers of its own,
// `step` elements from the one before it.
template <class T>
struct TileShares {
  T* buffers;
  int64_t step, shares;
  const Executor& executor;
};

// What a DenseImage is, of such an image. Where one task does it all, it finds again what its tiles
// hold: an image of one tile is read once.
template <class T>
struct TiledImage {
  const ImageArrays& arrays;
  int64_t index;
  const Grid& pixels;
  const Fold& fold;
  const TileShape<T>& tile;
  int64_t c, spatial;
  double* reduction;
  TileShares<T> shares;
  mutable Tiles<T> own;

  TiledImage(const ImageArrays& a, const Images& shape, int64_t i, const Grid& pixel_grid,
             const Fold& image_fold, const TileShape<T>& image_tile, double* memory,
             const TileShares<T>& all_shares)
      : arrays(a),
        index(i),
        pixels(pixel_grid),
        fold(image_fold),
        tile(image_tile),
        c(shape.c),
        spatial(shape.spatial),
        reduction(memory),
        shares(all_shares),
        own(a, i, pixels, through(), tile, shares.buffers) {}

  // f(tiles) with the tiles of the task that works from `pixel` on.
  template <class F>
  NORMKERNELS_INLINE void with_tiles(int64_t pixel, const F& f) const {
    const int64_t each = fold.spans_of_share(shares.shares) * fold.span * fold.pixels;
    const int64_t share = smaller(pixel / larger(each, 1), shares.shares - 1);
    Tiles<T> others(arrays, index, pixels, through(), tile, shares.buffers + share * shares.step);
    f(shares.shares == 1 ? own : others);
  }

  SumTable moments(const T* scale) const {
    return reduce([&](Tiles<T>& tiles, const Part& part) {
      return MomentsReduction<T>{tiles.x.read(part), optional_at<const T>(scale, part.col)};
    });
  }
  double scale_of(int64_t k) const {
    double scale = Range<T>::kMax;
    for (int64_t i = 0; i < spatial; i += kTileRows) {
      const Part part = {i, smaller(kTileRows, spatial - i), k, 1};
      const Rows<const T> of_part = own.x.read(part);
      const double least = scale_for(of_part.p, part.rows, of_part.stride);
      scale = least < scale ? least : scale;
    }
    return scale;
  }
  SumTable gradients(const Factors<T>& factors) const {
    return reduce([&](Tiles<T>& tiles, const Part& part) {
      return GradientReduction<T>{tiles.dy.read(part), tiles.x.read(part), factors.from(part.col)};
    });
  }
  void write(const Factors<T>& factors, bool) const {
    sweep(
        [&](Tiles<T>& tiles, const Part& part) {
          return ForwardSweep<T>{
              factors.from(part.col), tiles.x.read(part), {tiles.y.open(part), false}};
        },
        [](Tiles<T>& tiles, const Part& part) { tiles.y.close(part); });
  }
  void write_gradients(const Factors<T>& factors, bool, bool of_groups) const {
    if (of_groups) return sweep_backward<Writes::kDxOfGroup>(factors);
    own.y.wanted() ? sweep_backward<Writes::kDxAndY>(factors)
                   : sweep_backward<Writes::kDx>(factors);
  }

 private:
  Through through() const { return fold.pixels > 1 ? Through::kBuffer : Through::kBufferIfNeeded; }
  template <class ReductionOf>
  SumTable reduce(const ReductionOf& of_part) const {
    return reduce_image(TiledReduction<TiledImage, ReductionOf>{*this, of_part}, fold, c, true,
                        reduction, shares.executor, shares.shares);
  }
  template <class SweepOf, class Close>
  void sweep(const SweepOf& sweep_of, const Close& close) const {
    for_each_share_of_pixels(fold, spatial, shares.executor, shares.shares,
                             [&](int64_t, int64_t begin, int64_t end) {
                               with_tiles(begin, [&](Tiles<T>& tiles) {
                                 sweep_tiles(
                                     fold, pixels.rows, c, begin, end,
                                     [&](const Part& part) { return sweep_of(tiles, part); },
                                     [&](const Part& part) { close(tiles, part); });
                               });
                             });
  }
  template <Writes kWrites>
  void sweep_backward(const Factors<T>& factors) const {
    sweep(
        [&](Tiles<T>& tiles, const Part& part) {
          return BackwardSweep<T, kWrites>{factors.from(part.col),
                                           tiles.dy.read(part),
                                           tiles.x.read(part),
                                           {tiles.y.open(part), false},
                                           {tiles.dx.open(part), false}};
        },
        [](Tiles<T>& tiles, const Part& part) {
          tiles.y.close(part);
          tiles.dx.close(part);
        });
  }
};

// What one image at a time works in. The table of factors goes on for as many columns as a vector
// may reach into the next row.
template <class T>
struct Scratch {
  static constexpr int64_t kMostLanes = 32;

  double* reduction;
  Factors<T> factors;

  static size_t bytes(const Fold& fold) {
    const int64_t doubles =
        reduction_doubles(fold) + Factors<T>::kFields * (fold.width + kMostLanes);
    return whole_lines(static_cast<size_t>(doubles) * sizeof(double));
  }
  Scratch(void* memory, const Fold& fold)
      : reduction(static_cast<double*>(memory)),
        factors{reinterpret_cast<T*>(reduction + reduction_doubles(fold)),
                fold.width + kMostLanes} {}
};

template <class T>
struct ImageLayout {
  Images shape;
  Fold fold;
  Blocks blocks;
  TileShape<T> tile;
  TileSlots<T> slots;

  ImageLayout(const Images& all, Storage storage)
      : shape(all),
        fold(fold_of(all.c, all.spatial)),
        blocks(blocks_of(all.n)),
        tile(tile_of<T>(fold, all.c, all.spatial)),
        slots(blocks.count * larger(fold.spans, 1), all.n * all.c * all.spatial, storage, tile,
              kBuffers) {}

  size_t dense_workspace() const {
    return static_cast<size_t>(blocks.count) * Scratch<T>::bytes(fold);
  }
  size_t grid_workspace() const {
    return slots.all_bytes() + static_cast<size_t>(at_a_time()) * Scratch<T>::bytes(fold);
  }
  // Images of a grid that can be worked on at a time.
  int64_t at_a_time() const { return smaller(slots.count, blocks.count); }

  static constexpr int64_t kBuffers = 2;  // of x and y, and of dy and dx
};

template <class T, class Void>
NORMKERNELS_INLINE Rows<T> image_at(Void* p, const Strides& strides, int64_t i) {
  return {optional_at<T>(p, i * strides.image), strides.row};
}

// Images are shared by the threads a block at a time, or where there are too few, their pixels.
template <class T, class F>
NORMKERNELS_INLINE void for_each_dense_block(const ImageLayout<T>& layout, const ImageArrays& a,
                                             void* workspace, const Executor& executor,
                                             const F& f) {
  const Blocks& blocks = layout.blocks;
  const bool share_blocks = blocks.count >= executor.threads;
  const Executor& within = share_blocks ? kSerial : executor;
  for_each_task(share_blocks ? executor : kSerial, blocks.count, [&](int64_t block) {
    const Scratch<T> scratch(
        static_cast<char*>(workspace) + static_cast<size_t>(block) * Scratch<T>::bytes(layout.fold),
        layout.fold);
    const auto image_of = [&](int64_t i) {
      return DenseImage<T>{layout.fold,
                           layout.shape.c,
                           layout.shape.spatial,
                           image_at<const T>(a.x, a.at.x, i),
                           image_at<const T>(a.dy, a.at.dy, i),
                           image_at<T>(a.y, a.at.y, i),
                           image_at<T>(a.dx, a.at.dx, i),
                           scratch.reduction,
                           within};
    };
    f(block, image_of, scratch.factors);
  });
}

// The same of a grid: image_from(i, reduction, shares) is an image that may use these. With two
// threads an image of bfloat16 is 1.6 times as fast as by one of them (65536 x 64, Zen 3).
template <class T, class ImageFrom, class F>
NORMKERNELS_INLINE void for_each_grid_block(const ImageLayout<T>& layout, void* workspace,
                                            const Executor& executor, const ImageFrom& image_from,
                                            const F& f) {
  const int64_t blocks = layout.blocks.count;
  const bool share_blocks = layout.at_a_time() >= smaller(executor.threads, layout.slots.count);
  char* const scratches = static_cast<char*>(workspace) + layout.slots.all_bytes();
  const int64_t each = parts_of(blocks, layout.at_a_time());
  for_each_task(share_blocks ? executor : kSerial, parts_of(blocks, each), [&](int64_t slot) {
    const Scratch<T> scratch(scratches + static_cast<size_t>(slot) * Scratch<T>::bytes(layout.fold),
                             layout.fold);
    const TileShares<T> shares = {layout.slots.buffers(workspace, share_blocks ? slot : 0),
                                  layout.slots.bytes / static_cast<int64_t>(sizeof(T)),
                                  share_blocks ? 1 : layout.slots.count,
                                  share_blocks ? kSerial : executor};
    const auto image_of = [&](int64_t i) { return image_from(i, scratch.reduction, shares); };
    for (int64_t block = slot * each; block < part_end(slot * each, each, blocks); ++block)
      f(block, image_of, scratch.factors);
  });
}

// The rows of a tile are pixels, its columns channels.
inline Grid pixels_of(const Grid& grid, const int64_t* c) {
  return {grid.cols, {1, c}, grid.storage};
}
template <class T, class F>
NORMKERNELS_INLINE void for_each_tiled_block(const ImageLayout<T>& layout, const ImageArrays& a,
                                             void* workspace, const Executor& executor,
                                             const F& f) {
  const Grid pixels = pixels_of(*a.at.grid, &layout.shape.c);
  const auto image_from = [&](int64_t i, double* reduction, const TileShares<T>& shares) {
    return TiledImage<T>(a, layout.shape, i, pixels, layout.fold, layout.tile, reduction, shares);
  };
  for_each_grid_block(layout, workspace, executor, image_from, f);
}

// f(block, image_of, factors) for every block of images; image_of(i) is image i, and `factors` a
// table that one image at a time can use.
template <class T, class F>
NORMKERNELS_INLINE void for_each_block(const ImageLayout<T>& layout, const ImageArrays& a,
                                       void* workspace, const Executor& executor, const F& f) {
  if (a.at.grid == nullptr) {
    for_each_dense_block(layout, a, workspace, executor, f);
  } else {
    for_each_tiled_block(layout, a, workspace, executor, f);
  }
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_IMAGES_H_
