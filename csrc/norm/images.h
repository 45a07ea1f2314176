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
    return reduce_image(MomentsReduction<T>{x, scale}, fold, c, x.stride == c, reduction, executor);
  }
  double scale_of(int64_t k) const { return scale_for(x[0] + k, spatial, x.stride); }
  SumTable gradients(const Factors<T>& factors) const {
    return reduce_image(GradientReduction<T>{dy, x, factors}, fold, c,
                        dy.stride == c && x.stride == c, reduction, executor);
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

// The same, but its pixels and channels lie anywhere.
template <class T>
struct TiledImage {
  const Fold& fold;
  const Axes& axes;  // of the pixels
  int64_t c, spatial;
  double* reduction;
  mutable TiledInput<T> x, dy;
  mutable TiledOutput<T> y, dx;

  // Image i of a grid of images; the rows of `pixels` are pixels, its columns channels.
  TiledImage(const ImageArrays& a, const Images& shape, int64_t i, const Grid& pixels,
             const Fold& image_fold, const TileShape<T>& tile, T* buffers, double* memory)
      : fold(image_fold),
        axes(pixels.rows),
        c(shape.c),
        spatial(shape.spatial),
        reduction(memory),
        x(image(a.x, pixels, a.at.x, i), pixels, turned(a.at.x), tile, buffers, through()),
        dy(image(a.dy, pixels, a.at.dy, i), pixels, turned(a.at.dy), tile,
           buffers + tile.elements(), through()),
        y(const_cast<void*>(image(a.y, pixels, a.at.y, i)), turned(a.at.y), x),
        dx(const_cast<void*>(image(a.dx, pixels, a.at.dx, i)), turned(a.at.dx), dy) {}
  TiledImage(const TiledImage&) = delete;
  TiledImage& operator=(const TiledImage&) = delete;

  SumTable moments(const T* scale) const {
    const auto of_part = [&](const Part& part) {
      return MomentsReduction<T>{x.read(part), optional_at<const T>(scale, part.col)};
    };
    return reduce(of_part);
  }
  double scale_of(int64_t k) const {
    double scale = Range<T>::kMax;
    for (int64_t i = 0; i < spatial; i += kTileRows) {
      const Part part = {i, smaller(kTileRows, spatial - i), k, 1};
      const Rows<const T> pixels = x.read(part);
      const double of_part = scale_for(pixels.p, part.rows, pixels.stride);
      scale = of_part < scale ? of_part : scale;
    }
    return scale;
  }
  SumTable gradients(const Factors<T>& factors) const {
    const auto of_part = [&](const Part& part) {
      return GradientReduction<T>{dy.read(part), x.read(part), factors.from(part.col)};
    };
    return reduce(of_part);
  }
  void write(const Factors<T>& factors, bool) const {
    sweep_tiles(
        fold, axes, c, spatial,
        [&](const Part& part) {
          return ForwardSweep<T>{factors.from(part.col), x.read(part), {y.open(part), false}};
        },
        [&](const Part& part) { y.close(part); });
  }
  void write_gradients(const Factors<T>& factors, bool, bool of_groups) const {
    if (of_groups) return sweep_backward<Writes::kDxOfGroup>(factors);
    y.wanted() ? sweep_backward<Writes::kDxAndY>(factors) : sweep_backward<Writes::kDx>(factors);
  }

 private:
  static const void* image(const void* p, const Grid& grid, const Strides& strides, int64_t i) {
    if (p == nullptr) return p;
    const int64_t bytes = grid.storage == Storage::kComputed ? sizeof(T) : sizeof(uint16_t);
    return static_cast<const char*>(p) + i * strides.rows[0] * bytes;
  }
  static Strides turned(const Strides& strides) {
    return {0, 0, strides.cols, strides.rows == nullptr ? nullptr : strides.rows + 1};
  }
  Through through() const { return fold.pixels > 1 ? Through::kBuffer : Through::kBufferIfNeeded; }
  template <class ReductionOf>
  SumTable reduce(const ReductionOf& of_part) const {
    return reduce_image(TiledReduction<ReductionOf>{of_part}, fold, c, true, reduction, kSerial);
  }
  template <Writes kWrites>
  void sweep_backward(const Factors<T>& factors) const {
    sweep_tiles(
        fold, axes, c, spatial,
        [&](const Part& part) {
          return BackwardSweep<T, kWrites>{factors.from(part.col),
                                           dy.read(part),
                                           x.read(part),
                                           {y.open(part), false},
                                           {dx.open(part), false}};
        },
        [&](const Part& part) {
          y.close(part);
          dx.close(part);
        });
  }
};

// What one image at a time works in. The table of factors goes on for as many columns as a vector
// may reach into the next row.
template <class T>
struct Scratch {
  static constexpr int64_t kMostLanes = 16;

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
        slots(blocks.count, all.n * all.c * all.spatial, storage, tile, kBuffers,
              Scratch<T>::bytes(fold)) {}

  size_t dense_workspace() const {
    return static_cast<size_t>(blocks.count) * Scratch<T>::bytes(fold);
  }
  size_t grid_workspace() const { return slots.all_bytes(); }

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

// The same of a grid, where the rows of a tile are pixels, its columns channels.
template <class T, class F>
NORMKERNELS_INLINE void for_each_tiled_block(const ImageLayout<T>& layout, const ImageArrays& a,
                                             void* workspace, const Executor& executor,
                                             const F& f) {
  const int64_t c = layout.shape.c;
  const Grid pixels = {a.at.grid->cols, {1, &c}, a.at.grid->storage};
  layout.slots.for_each(layout.blocks.count, workspace, executor,
                        [&](int64_t begin, int64_t end, T* buffers) {
                          const int64_t size = layout.tile.elements();
                          const Scratch<T> scratch(buffers + layout.kBuffers * size, layout.fold);
                          const auto image_of = [&](int64_t i) {
                            return TiledImage<T>(a, layout.shape, i, pixels, layout.fold,
                                                 layout.tile, buffers, scratch.reduction);
                          };
                          for (int64_t block = begin; block < end; ++block)
                            f(block, image_of, scratch.factors);
                        });
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
