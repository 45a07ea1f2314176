// Layer norm over rows: y = (x - mean) rstd gamma + beta, and its gradients (derived in
// row_gradient.h). RMS norm is layer norm whose mean is 0: its rows are not centred, which changes
// a few numbers per row and no loop. Either may be that of a sum (addition.h).
//
// Traffic, for a row that fits the cache: the forward reads x once and writes y once, the backward
// reads dy and x once and writes dx once. Longer rows are read once more, in the sweep that writes.
#include "isa_table.h"
#include "norm/row_grid.h"
#include "norm/row_groups.h"
#include "norm/wide_parameters.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

template <class T>
RowNorm<T> row_norm_of(const LayerNormForward& a) {
  RowNorm<T> norm = {};
  norm.x = {static_cast<const T*>(a.x), row_stride(a.at, &Placement::x, a.shape.cols)};
  if (a.total != nullptr) {
    const Rows<T> total = {static_cast<T*>(a.total),
                           row_stride(a.at, &Placement::total, a.shape.cols)};
    norm.addition = {
        norm.x,
        {static_cast<const T*>(a.residual), row_stride(a.at, &Placement::residual, a.shape.cols)},
        static_cast<const T*>(a.bias),
        total};
    norm.x = {total.p, total.stride};
  }
  norm.y = {static_cast<T*>(a.y), row_stride(a.at, &Placement::y, a.shape.cols)};
  norm.rows = a.shape.rows;
  norm.cols = a.shape.cols;
  norm.gamma = static_cast<const T*>(a.gamma);
  norm.beta = static_cast<const T*>(a.beta);
  norm.epsilon = a.epsilon;
  norm.mean = static_cast<T*>(a.mean);
  norm.sigma = static_cast<T*>(a.sigma);
  norm.rstd = static_cast<T*>(a.rstd);
  norm.centred = a.centred;
  norm.stream = a.stream;
  norm.moments = a.moments;
  return norm;
}

template <class T>
void layer_norm_forward(const LayerNormForward& a, const Executor& executor) {
  RowNorm<T> norm = row_norm_of<T>(a);
  if (grid_of(a.at) == nullptr) return normalise_rows(norm, executor);
  normalise_grid(norm, *a.at, a.workspace, executor);
}

template <class T, Storage kStorage = Storage::kComputed>
size_t layer_norm_forward_grid_workspace(const Matrix& shape, bool adds) {
  return normalise_grid_workspace<T>(shape.rows, shape.cols, kStorage, adds);
}

// ---- Backward -----------------------------------------------------------------------

template <class T>
size_t layer_norm_backward_workspace(const Matrix& shape) {
  if (shape.rows <= kGroup) return 0;
  return GroupWorkspace<T>{blocks_of(shape.rows, kGroup), shape.cols, false, 0, nullptr}.bytes();
}

// The same of rows that lie anywhere.
template <class T>
struct TiledBackward {
  TiledInput<T> dy, x;
  TiledOutput<T> dx;

  TiledBackward(const LayerNormBackward& a, const TileShape<T>& shape, T* buffers)
      : dy(a.dy, *a.at->grid, a.at->dy, shape, buffers),
        x(a.x, *a.at->grid, a.at->x, shape, buffers + shape.elements()),
        dx(a.dx, a.at->dx, dy) {}
};

// Rows longer than a chunk.
template <class T>
__attribute__((noinline)) void long_tile_backward(const RowsBackward<T>& a, TiledBackward<T>& tiles,
                                                  int64_t begin, int64_t rows, bool begins,
                                                  const ParameterSums<T>& sums) {
  RowFactors<T> storage;
  const Factors<T> factors = storage.table();
  factors_from(
      a, begin, rows, factors,
      [&](const Wanted<T>& wanted) {
        tiled_statistics(tiles.x, begin, rows, a.cols, factors, wanted);
      },
      [&](SumTable of_rows) {
        tiled_gradient_sums(tiles.dy, tiles.x, a.gamma, begin, rows, a.cols, factors, of_rows);
      });
  for_each_chunk(begin, rows, 0, a.cols, [&](const Part& part) {
    const GroupRows<T> group = {
        tiles.dy.read(part),
        tiles.x.read(part),
        tiles.dx.open(part),
        factors,
        rows,
        part.cols,
        a.gamma.from(part.col),
        {optional_at<T>(sums.gamma, part.col), optional_at<T>(sums.beta, part.col)},
        begins};
    write_group(Cached{}, group, 0, part.cols);
    tiles.dx.close(part);
  });
}

template <class T>
void tile_backward(const RowsBackward<T>& a, TiledBackward<T>& tiles, int64_t begin, int64_t rows,
                   bool begins, const ParameterSums<T>& sums) {
  if (a.cols > kChunk) return long_tile_backward(a, tiles, begin, rows, begins, sums);
  const Part part = {begin, rows, 0, a.cols};
  RowsBackward<T> tile = a;
  tile.dy = tiles.dy.read(part);
  tile.x = tiles.x.read(part);
  tile.dx = tiles.dx.open(part);
  tile.mean = optional_at<const T>(a.mean, begin);
  tile.sigma = optional_at<const T>(a.sigma, begin);
  tile.rstd = optional_at<const T>(a.rstd, begin);
  tile.stream = false;
  rows_backward(tile, 0, rows, begins, sums, kSerial);
  tiles.dx.close(part);
}

// sums, if they have begun, and some more.
template <class T>
__attribute__((noinline)) void add_sums(const T* more, int64_t n, bool begins, double* sums) {
  for_each_vector<double>(
      n, [=](int64_t j, auto lanes) __attribute__((always_inline)) {
        const Vec<double> own = load_widened(more + j, lanes);
        store(sums + j, begins ? own : load(sums + j, lanes) + own, lanes);
      });
}

template <class T>
NORMKERNELS_INLINE void add_group(const ParameterSums<T>& group, int64_t n, bool begins,
                                  double* sums) {
  add_sums(group.gamma, n, begins, sums);
  add_sums(group.beta, n, begins, sums + n);
}

// The groups of a block, but for the first `done` of its rows, or an only group. rows_of(begin,
// end, sums): the rows of a group.
template <class T, class RowsOf>
NORMKERNELS_INLINE void for_each_group_of(const RowsBackward<T>& a, int64_t block,
                                          const RowsOf& rows_of, int64_t done = 0) {
  const GroupWorkspace<T>& w = a.workspace;
  const bool adds = a.adds_groups(), single = w.has_single_groups();
  const int64_t n = 2 * a.cols, begin = block * w.blocks.each;
  const int64_t end = part_end(begin, w.blocks.each, a.rows);
  const ParameterSums<T> sums = adds ? w.of_group(block) : ParameterSums<T>{a.dgamma, a.dbeta};
  for (int64_t group = begin + done; group < end; group += kGroup) {
    rows_of(group, part_end(group, kGroup, end), sums);
    if (adds && !single) add_group(sums, a.cols, group == begin, w.of_block(block));
  }
  if (adds && w.in_order) {
    single ? add_group(sums, a.cols, block == 0, w.total())
           : add_sums(w.of_block(block), n, block == 0, w.total());
  }
  if (a.stream) stream_fence();
}

// dgamma and dbeta from the sums of all groups.
template <class T>
void add_all_groups(const RowsBackward<T>& a, const Executor& executor) {
  const GroupWorkspace<T>& w = a.workspace;
  const int64_t count = w.in_order ? 1 : w.blocks.count;
  const auto add = [&](const auto* gamma, const auto* beta, int64_t stride) {
    add_blocks(gamma, count, stride, a.cols, a.dgamma, executor);
    add_blocks(beta, count, stride, a.cols, a.dbeta, executor);
  };
  if (w.has_single_groups() && !w.in_order) {
    const ParameterSums<T> sums = w.of_group(0);
    add(sums.gamma, sums.beta, 2 * w.group_stride());
  } else {
    add(w.total(), w.total() + a.cols, 2 * a.cols);
  }
}

template <class T>
void block_backward(const RowsBackward<T>& a, int64_t block, const Executor& executor) {
  int64_t done = 0;
  if constexpr (kTurns<T>) {
    const int64_t each = a.workspace.blocks.each, begin = block * each;
    const int64_t end = part_end(begin, each, a.rows);
    if (a.rows > kGroup && a.cols > 1 && a.cols < kMostTurned)
      done = turned_rows_backward(a, begin, end, block) - begin;
  }
  const int64_t together =
      executor.threads > 1 ? kGroup : group_rows_together<T>(a.cols, a.dx.stride, a.stream);
  for_each_group_of(
      a, block,
      [&](int64_t begin, int64_t end, const ParameterSums<T>& sums) {
        for (int64_t i = begin; i < end; i += together)
          rows_backward(a, i, smaller(together, end - i), i == begin, sums, executor);
      },
      done);
}

template <class T>
TileShape<T> tile_of(const Matrix& shape) {
  return TileShape<T>(shape.rows, shape.cols, kGroup);
}
template <class T>
TileSlots<T> slots_of(const Matrix& shape, Storage storage) {
  return TileSlots<T>(blocks_of(shape.rows, kGroup).count, shape.rows * shape.cols, storage,
                      tile_of<T>(shape), 2);
}

template <class T>
void grid_backward(const RowsBackward<T>& a, const LayerNormBackward& arguments, void* buffers,
                   const Executor& executor) {
  const TileShape<T> shape = tile_of<T>(arguments.shape);
  slots_of<T>(arguments.shape, arguments.at->grid->storage)
      .for_each(a.workspace.blocks.count, buffers, executor,
                [&](int64_t first, int64_t last, T* own) {
                  TiledBackward<T> tiles(arguments, shape, own);
                  for (int64_t block = first; block < last; ++block) {
                    for_each_group_of(
                        a, block, [&](int64_t begin, int64_t end, const ParameterSums<T>& sums) {
                          for (int64_t i = begin, rows; i < end; i += rows) {
                            rows = rows_of_tile(*arguments.at->grid, shape, i, end);
                            tile_backward(a, tiles, i, rows, i == begin, sums);
                          }
                        });
                  }
                });
}

template <class T>
void layer_norm_backward(const LayerNormBackward& a, const Executor& executor) {
  const int64_t rows = a.shape.rows, cols = a.shape.cols;
  const Blocks blocks = blocks_of(rows, kGroup);
  RowsBackward<T> all = {};
  all.dy = {static_cast<const T*>(a.dy), row_stride(a.at, &Placement::dy, cols)};
  all.x = {static_cast<const T*>(a.x), row_stride(a.at, &Placement::x, cols)};
  all.dx = {static_cast<T*>(a.dx), row_stride(a.at, &Placement::dx, cols)};
  all.rows = rows;
  all.cols = cols;
  all.mean = static_cast<const T*>(a.mean);
  all.sigma = static_cast<const T*>(a.sigma);
  all.rstd = static_cast<const T*>(a.rstd);
  all.epsilon = a.epsilon;
  all.centred = a.centred;
  all.gamma = gamma_of<T>(a.gamma);
  // Rows of whole vectors are aligned alike, others not, and cannot be streamed. Measured (16 MiB
  // of dx, AVX-512): from 64 columns on it is 1.1 to 1.5 times as fast.
  constexpr int64_t kLeastColumns = 256 / sizeof(T);
  all.stream = a.stream && cols >= kLeastColumns && all.dx.stride % Vec<T>::kLanes == 0;
  all.dgamma = static_cast<T*>(a.dgamma);
  all.dbeta = static_cast<T*>(a.dbeta);
  const bool on_grid = grid_of(a.at) != nullptr;
  const bool share_blocks = blocks.count >= 2 * executor.threads;
  const bool in_order = executor.threads <= 1 || (!on_grid && !share_blocks);
  all.workspace = {blocks, cols, in_order, elements_to_border<kLineBytes>(all.dx.p), a.workspace};
  if (on_grid) {
    const size_t sums = layer_norm_backward_workspace<T>(a.shape);
    grid_backward(all, a, static_cast<char*>(a.workspace) + whole_lines(sums), executor);
  } else {
    for_each_task(share_blocks ? executor : kSerial, blocks.count, [&](int64_t block) {
      block_backward(all, block, share_blocks ? kSerial : executor);
    });
  }
  if (all.adds_groups()) add_all_groups(all, executor);
}

template <class T, Storage kStorage = Storage::kComputed>
size_t layer_norm_backward_grid_workspace(const Matrix& shape) {
  return whole_lines(layer_norm_backward_workspace<T>(shape)) +
         slots_of<T>(shape, kStorage).all_bytes();
}

// ---- Half types ---------------------------------------------------------------------

void half_layer_norm_forward(const LayerNormForward& a, const Executor& executor) {
  // The functions for dense arrays take no workspace. Lines of float32 make 1000 rows of 768
  // columns 1.04 times as fast, but have to be made: of long rows they are beyond L2 (16 x
  // 100000: 1.27 times as slow; AVX2, Zen 3).
  constexpr int64_t kFewRows = 8;
  const RowNorm<float> norm = row_norm_of<float>(a);
  const bool has_lines = a.shape.rows >= kFewRows && a.shape.cols <= kChunk;
  if (a.workspace == nullptr || (!has_lines && has_half_rows(norm, *a.at)))
    return normalise_half_rows(norm, a.wide, *a.at, executor);
  with_wide_parameters(a, executor, layer_norm_forward<float>);
}
void half_layer_norm_backward(const LayerNormBackward& a, const Executor& executor) {
  with_wide_parameters(a, executor, layer_norm_backward<float>);
}

}  // namespace

const LayerNormKernels layer_norm_half = {
    half_layer_norm_forward, half_layer_norm_backward,
    wide_workspace<layer_norm_backward_grid_workspace<float, kHalf>>,
    wide_workspace<layer_norm_forward_grid_workspace<float, kHalf>>,
    wide_workspace<layer_norm_backward_grid_workspace<float, kHalf>>};
const LayerNormKernels layer_norm_f32 = {
    layer_norm_forward<float>, layer_norm_backward<float>, layer_norm_backward_workspace<float>,
    layer_norm_forward_grid_workspace<float>, layer_norm_backward_grid_workspace<float>};
const LayerNormKernels layer_norm_f64 = {
    layer_norm_forward<double>, layer_norm_backward<double>, layer_norm_backward_workspace<double>,
    layer_norm_forward_grid_workspace<double>, layer_norm_backward_grid_workspace<double>};

}  // namespace normkernels::NORMKERNELS_ISA
