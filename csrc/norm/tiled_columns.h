// The columns of an image that lies anywhere, a tile of pixels and channels at a time: the sums of
// columns.h, in the same order, and the sweeps of column_norm.h.
#ifndef NORMKERNELS_NORM_TILED_COLUMNS_H_
#define NORMKERNELS_NORM_TILED_COLUMNS_H_

#include "norm/column_norm.h"
#include "norm/tiles.h"

namespace normkernels::NORMKERNELS_ISA {

// A tile is kTileRows rows of a fold, each of whole pixels; of many channels, that are not folded,
// some at a time.
constexpr int64_t kTileChannels = 128;

template <class T>
TileShape<T> tile_of(const Fold& fold, int64_t c, int64_t spatial) {
  TileShape<T> shape(kTileRows * fold.pixels, smaller(c, kTileChannels));
  shape.rows = smaller(kTileRows * fold.pixels, spatial);
  // The pixels of a folded row lie next to each other.
  if (fold.pixels > 1) shape.stride = c;
  return shape;
}

// A reduction (columns.h) of the tiles of an image: with_tiles(pixel, f) calls f with the tiles
// that whoever works from that pixel on may use, reduction_of(tiles, part) is the reduction of a
// part.
template <class Image, class ReductionOf>
struct TiledReduction {
  const Image& image;
  const ReductionOf& reduction_of;

  NORMKERNELS_INLINE void merge(SumTable a, double count_a, SumTable b, double count_b,
                                int64_t width) const {
    reduction_of(image.own, {}).merge(a, count_a, b, count_b, width);
  }
  __attribute__((noinline)) void rows(const PixelRows& r, SumTable out) const {
    const int64_t c = r.width / r.step;
    image.with_tiles(r.first, [&](auto& tiles) {
      for (int64_t i = 0; i < r.rows; i += kTileRows) {
        const int64_t rows = smaller(kTileRows, r.rows - i);
        for (int64_t j = 0; j < c; j += kTileChannels) {
          const int64_t channels = smaller(kTileChannels, c - j);
          const Part part = {r.first + i * r.step, rows * r.step, j, channels};
          reduction_of(tiles, part).rows({0, r.step, rows, channels * r.step, i}, out.from(j));
        }
      }
    });
  }
};

// The pixels [begin, end). sweep_of(part): the sweep of a tile; close(part) follows it. A tile has
// no more pixels than are equally far apart, if those are work enough.
template <class SweepOf, class Close>
__attribute__((noinline)) void sweep_tiles(const Fold& fold, const Axes& axes, int64_t c,
                                           int64_t begin, int64_t end, const SweepOf& sweep_of,
                                           const Close& close) {
  const int64_t most = kTileRows * fold.pixels;
  for (int64_t i = begin, count; i < end; i += count) {
    const int64_t run = run_of(axes, i);
    count = smaller(run * c >= kElementsTogether ? smaller(run, most) : most, end - i);
    for (int64_t j = 0; j < c; j += kTileChannels) {
      const Part part = {i, count, j, smaller(kTileChannels, c - j)};
      const auto sweep = sweep_of(part);
      if (fold.pixels > 1) {
        sweep_lines(sweep, count * c, fold.width);
      } else {
        sweep_rows(sweep, count, 0, part.cols, part.cols);
      }
      close(part);
    }
  }
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_TILED_COLUMNS_H_
