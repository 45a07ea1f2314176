// Rows that lie anywhere, normalised: a tile of some of them at a time (tiles.h), where they are or
// through a buffer.
#ifndef NORMKERNELS_NORM_ROW_GRID_H_
#define NORMKERNELS_NORM_ROW_GRID_H_

#include "norm/half_rows.h"
#include "norm/tiled_rows.h"

namespace normkernels::NORMKERNELS_ISA {

// Rows [row, row + rows), longer than a chunk.
template <class T>
void normalise_long_tile(const RowNorm<T>& a, int64_t row, int64_t rows, TiledInput<T>& x,
                         TiledOutput<T>& y) {
  RowFactors<T> storage;
  const Factors<T> factors = storage.table();
  const RowNorm<T> own = a.part(row, rows, {}, {});
  tiled_statistics(x, row, rows, a.cols, factors,
                   {a.epsilon, a.centred, own.mean, own.sigma, own.rstd, nullptr, own.moments});
  if (!y.wanted()) return;
  Copies<T> copies[2] = {Copies<T>(0), Copies<T>(0)};
  for_each_chunk(row, rows, 0, a.cols, [&](const Part& part) {
    const Rows<const T> from = x.read(part);
    const Rows<T> to = y.open(part);
    for (int64_t i = 0; i < rows; ++i) {
      own.write(i, factors.standard(i), part.col, part.col + part.cols, from[i], to[i],
                a.stream && y.in_place(), copies);
    }
    y.close(part);
  });
}

template <class T>
TileSlots<T> normalise_slots(int64_t rows, int64_t cols, Storage storage, const TileShape<T>& shape,
                             bool adds) {
  return TileSlots<T>(rows, rows * cols, storage, shape, adds ? 1 + TiledAddition<T>::kBuffers : 1);
}

// The arrays as `a` has them, but anywhere. The workspace is that of normalise_grid_workspace.
template <class T>
void normalise_grid(const RowNorm<T>& a, const Placement& at, void* workspace,
                    const Executor& executor) {
  const Grid& grid = *at.grid;
  if constexpr (sizeof(T) == sizeof(float)) {
    if (has_half_rows(a, at)) return normalise_half_rows(a, {true, true, true}, at, executor);
  }
  const TileShape<T> shape(a.rows, a.cols);
  const TileSlots<T> slots = normalise_slots<T>(a.rows, a.cols, grid.storage, shape, a.adds());
  slots.for_each(a.rows, workspace, executor, [&](int64_t begin, int64_t end, T* buffers) {
    const Strides& strides = a.adds() ? at.total : at.x;
    TiledAddition<T> addition(a.addition, at, shape, buffers + shape.elements());
    TiledInput<T> x(a.x.p, grid, strides, shape, buffers);
    TiledOutput<T> y(a.y.p, at.y, x);
    for (int64_t row = begin, rows; row < end; row += rows) {
      rows = rows_of_tile(grid, shape, row, end);
      addition.write(row, rows, a.cols);
      if (a.cols > kChunk) {
        normalise_long_tile(a, row, rows, x, y);
        continue;
      }
      const Part part = {row, rows, 0, a.cols};
      const Rows<const T> from = x.read(part);
      RowNorm<T> tile = a.part(row, rows, from, y.open(part));
      tile.stream = a.stream && y.in_place();
      normalise_rows(tile, kSerial);
      y.close(part);
    }
    if (a.stream) stream_fence();
  });
}

template <class T>
size_t normalise_grid_workspace(int64_t rows, int64_t cols, Storage storage, bool adds = false) {
  return normalise_slots<T>(rows, cols, storage, TileShape<T>(rows, cols), adds).all_bytes();
}

// In rows.cpp.
extern template void normalise_grid(const RowNorm<float>&, const Placement&, void*,
                                    const Executor&);
extern template void normalise_grid(const RowNorm<double>&, const Placement&, void*,
                                    const Executor&);

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ROW_GRID_H_
