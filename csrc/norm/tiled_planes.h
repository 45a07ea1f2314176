// The backward of group norm in NCHW on planes that lie anywhere, a tile at a time: what
// planes.h does with planes in one piece, in the same order.
#ifndef NORMKERNELS_NORM_TILED_PLANES_H_
#define NORMKERNELS_NORM_TILED_PLANES_H_

#include "norm/planes.h"
#include "norm/tiled_rows.h"

namespace normkernels::NORMKERNELS_ISA {

template <class T>
struct TiledPlanes {
  TiledInput<T> dy, x;
  TiledOutput<T> y, dx;

  TiledPlanes(const GroupNormBackward& a, const TileShape<T>& shape, T* buffers)
      : dy(a.dy, *a.at->grid, a.at->dy, shape, buffers),
        x(a.x, *a.at->grid, a.at->x, shape, buffers + shape.elements()),
        y(a.y, a.at->y, x),
        dx(a.dx, a.at->dx, dy) {}

  Planes<T> open(const Part& part) {
    return {dy.read(part), x.read(part), y.open(part), dx.open(part)};
  }
  void close(const Part& part) {
    y.close(part);
    dx.close(part);
  }
};

// Planes longer than a chunk.
template <class T>
__attribute__((noinline)) void long_planes_backward(const PlanesBackward<T>& a,
                                                    TiledPlanes<T>& tiles, int64_t first,
                                                    int64_t count, int64_t channel,
                                                    const ChannelSums& channels) {
  RowFactors<T> storage;
  const Factors<T> factors = storage.table();
  double rstd[kRowsTogether], sums_storage[3 * kRowsTogether];
  const SumTable sums = {sums_storage, kRowsTogether};
  plane_statistics(a, first, count, factors, rstd, [&](const Wanted<T>& wanted) {
    tiled_statistics(tiles.x, first, count, a.cols, factors, wanted);
  });
  tiled_gradient_sums(tiles.dy, tiles.x, gamma_of<T>(nullptr), first, count, a.cols, factors, sums);
  set_plane_gradients(sums, a.cols, count, factors, rstd, optional_at<const T>(a.scale, channel),
                      channels);
  for_each_chunk(first, count, 0, a.cols, [&](const Part& part) {
    write_planes(a, tiles.open(part), count, part.cols, channel, {factors, 1}, kSerial);
    tiles.close(part);
  });
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_TILED_PLANES_H_
