// An image in NHWC that lies anywhere, or is of a half type: what dense_images.h does, a tile at a
// time.
#ifndef NORMKERNELS_NORM_TILED_IMAGES_H_
#define NORMKERNELS_NORM_TILED_IMAGES_H_

#include "norm/dense_images.h"
#include "norm/tiled_columns.h"

namespace normkernels::NORMKERNELS_ISA {

// A grid whose rows are pixels, its columns channels.
inline Grid pixels_of(const Grid& grid, const int64_t* c) {
  return {grid.cols, {1, c}, grid.storage};
}

// Its strides, from those of one whose rows are images and channels.
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

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_TILED_IMAGES_H_
