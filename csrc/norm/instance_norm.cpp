// Instance norm in NCHW: a plane [spatial] of one image and channel is a row, and scale and bias
// are one value per row.
//
// Traffic as in layer norm: the forward reads x once and writes y once, the backward reads dy and x
// once and writes dx once while a plane fits the cache; a longer plane is read once more.
#include "isa_table.h"
#include "norm/blocks.h"
#include "norm/planes.h"
#include "norm/row_forward.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

template <class T>
void instance_norm_forward(const InstanceNormForward& a, const Executor& executor) {
  RowNorm<T> norm = {};
  norm.x = {static_cast<const T*>(a.x), row_stride(a.at, &Placement::x, a.shape.spatial)};
  norm.y = {static_cast<T*>(a.y), row_stride(a.at, &Placement::y, a.shape.spatial)};
  norm.rows = a.shape.n * a.shape.c;
  norm.cols = a.shape.spatial;
  norm.channels = a.shape.c;
  norm.gamma = static_cast<const T*>(a.scale);
  norm.beta = static_cast<const T*>(a.bias);
  norm.epsilon = a.epsilon;
  norm.mean = static_cast<T*>(a.mean);
  norm.rstd = static_cast<T*>(a.inv_std);
  norm.stream = a.stream;
  if (grid_of(a.at) == nullptr) return normalise_rows(norm, executor);
  normalise_grid(norm, *a.at, a.workspace, executor);
}

size_t instance_norm_forward_workspace(const Images&) { return 0; }
template <class T>
size_t instance_norm_forward_grid_workspace(const Images& shape) {
  return normalise_grid_workspace<T>(shape.n * shape.c, shape.spatial);
}

// ---- Backward -----------------------------------------------------------------------

size_t instance_norm_backward_workspace(const Images& shape) {
  return static_cast<size_t>(blocks_of(shape.n).count * 2 * shape.c) * sizeof(double);
}

// A task is one block of images and some channels: image by image, so that memory is read in
// order. Of each block and channel there are two sums, [blocks, 2, c] in the workspace.
struct Tasks {
  Images shape;
  Blocks images;
  int64_t channels_each, groups;

  // With as many blocks as threads there is no need to share the channels.
  Tasks(const Images& all, int64_t shares)
      : shape(all),
        images(blocks_of(all.n)),
        channels_each(parts_of(all.c, shares)),
        groups(parts_of(all.c, channels_each)) {}

  int64_t count() const { return images.count * groups; }

  // f(first plane, planes, channel, sums of the channels) for each image of a task.
  template <class F>
  NORMKERNELS_INLINE void for_each_image(int64_t task, double* sums, F&& f) const {
    const int64_t block = task / groups, from = task % groups * channels_each, c = shape.c;
    const int64_t channels = part_end(from, channels_each, c) - from;
    const int64_t begin = block * images.each;
    const ChannelSums of_block = {sums + 2 * block * c + from, sums + 2 * block * c + c + from};
    for (int64_t k = 0; k < channels; ++k) of_block.scale[k] = of_block.bias[k] = 0;
    for (int64_t image = begin; image < part_end(begin, images.each, shape.n); ++image)
      f(image * c + from, channels, from, of_block);
  }
};

template <class T>
void dense_backward(const InstanceNormBackward& arguments, const PlanesBackward<T>& a, double* sums,
                    const Executor& executor) {
  const Images& shape = arguments.shape;
  const int64_t blocks = blocks_of(shape.n).count;
  const Planes<T> all = {
      {static_cast<const T*>(arguments.dy),
       row_stride(arguments.at, &Placement::dy, shape.spatial)},
      {static_cast<const T*>(arguments.x), row_stride(arguments.at, &Placement::x, shape.spatial)},
      {static_cast<T*>(arguments.y), row_stride(arguments.at, &Placement::y, shape.spatial)},
      {static_cast<T*>(arguments.dx), row_stride(arguments.at, &Placement::dx, shape.spatial)}};
  const bool split = split_rows(blocks * shape.c, shape.spatial, executor);
  const Executor& within = split ? executor : kSerial;
  const Tasks tasks(shape,
                    split || blocks >= 2 * executor.threads ? 1 : 4 * int64_t{executor.threads});
  for_each_task(split ? kSerial : executor, tasks.count(), [&](int64_t task) {
    tasks.for_each_image(
        task, sums,
        [&](int64_t first, int64_t planes, int64_t channel, const ChannelSums& channels)
            __attribute__((always_inline)) {
              planes_backward(a, all.from(first), first, planes, channel, channels, within);
            });
    if (a.stream) stream_fence();
  });
}

// ---- Planes that lie anywhere -------------------------------------------------------

template <class T>
struct TiledPlanes {
  TiledInput<T> dy, x;
  TiledOutput<T> y, dx;

  TiledPlanes(const InstanceNormBackward& a, const TileShape<T>& shape, T* buffers)
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
  plane_statistics(a, first, count, factors, rstd, [&](T* mean, T* inv_std) {
    tiled_statistics(tiles.x, first, count, a.cols, a.epsilon, factors, mean,
                     static_cast<T*>(nullptr), inv_std, rstd);
  });
  tiled_gradient_sums(tiles.dy, tiles.x, gamma_of<T>(nullptr), first, count, a.cols, factors, sums);
  set_plane_gradients(sums, a.cols, count, factors, rstd, optional_at<const T>(a.scale, channel),
                      channels);
  for_each_chunk(first, count, 0, a.cols, [&](const Part& part) {
    write_planes(a, tiles.open(part), count, part.cols, channel, kLead<T>, factors, kSerial);
    tiles.close(part);
  });
}

// Tasks enough for every slot.
template <class T>
Tasks grid_tasks(const Images& shape) {
  return Tasks(shape, TileSlots<T>::kMost);
}
template <class T>
TileShape<T> tile_of(const Images& shape) {
  return TileShape<T>(shape.c, shape.spatial);
}
template <class T>
TileSlots<T> slots_of(const Images& shape) {
  return TileSlots<T>(grid_tasks<T>(shape).count(), shape.n * shape.c * shape.spatial,
                      tile_of<T>(shape), 2);
}

template <class T>
void grid_backward(const InstanceNormBackward& arguments, PlanesBackward<T> a, double* sums,
                   void* buffers, const Executor& executor) {
  const Images& shape = arguments.shape;
  const Tasks tasks = grid_tasks<T>(shape);
  const TileShape<T> tile = tile_of<T>(shape);
  a.stream = false;
  slots_of<T>(shape).for_each(
      tasks.count(), buffers, executor, [&](int64_t begin, int64_t end, T* own) {
        TiledPlanes<T> tiles(arguments, tile, own);
        for (int64_t task = begin; task < end; ++task) {
          tasks.for_each_image(
              task, sums,
              [&](int64_t first, int64_t planes, int64_t channel, const ChannelSums& channels) {
                for (int64_t k = 0, count; k < planes; k += count) {
                  count = rows_of_tile(*arguments.at->grid, tile, first + k, first + planes);
                  if (a.cols > kChunk) {
                    long_planes_backward(a, tiles, first + k, count, channel + k, channels.from(k));
                    continue;
                  }
                  const Part part = {first + k, count, 0, a.cols};
                  planes_backward(a, tiles.open(part), first + k, count, channel + k,
                                  channels.from(k), kSerial);
                  tiles.close(part);
                }
              });
        }
      });
}

template <class T>
void instance_norm_backward(const InstanceNormBackward& arguments, const Executor& executor) {
  const PlanesBackward<T> a(arguments);
  const Images& shape = arguments.shape;
  const int64_t c = shape.c, blocks = blocks_of(shape.n).count;
  double* sums = static_cast<double*>(arguments.workspace);
  if (grid_of(arguments.at) == nullptr) {
    dense_backward(arguments, a, sums, executor);
  } else {
    const size_t of_sums = whole_lines(instance_norm_backward_workspace(shape));
    grid_backward(arguments, a, sums, static_cast<char*>(arguments.workspace) + of_sums, executor);
  }
  add_blocks(sums, blocks, 2 * c, c, static_cast<T*>(arguments.dscale));
  add_blocks(sums + c, blocks, 2 * c, c, static_cast<T*>(arguments.dbias));
}

template <class T>
size_t instance_norm_backward_grid_workspace(const Images& shape) {
  return whole_lines(instance_norm_backward_workspace(shape)) + slots_of<T>(shape).all_bytes();
}

template <class T>
constexpr InstanceNormKernels kKernels = {instance_norm_forward<T>,
                                          instance_norm_backward<T>,
                                          instance_norm_forward_workspace,
                                          instance_norm_backward_workspace,
                                          instance_norm_forward_grid_workspace<T>,
                                          instance_norm_backward_grid_workspace<T>};

}  // namespace

const InstanceNormKernels instance_norm_nchw_f32 = kKernels<float>;
const InstanceNormKernels instance_norm_nchw_f64 = kKernels<double>;

}  // namespace normkernels::NORMKERNELS_ISA
