// Instance and group norm in NCHW: a group of channels of one image is a row, of a plane [spatial]
// per channel, each with one value of scale and bias. In instance norm a channel is a group.
//
// Traffic as in layer norm: the forward reads x once and writes y once, the backward reads dy and x
// once and writes dx once while a plane fits the cache; a longer plane is read once more.
#include "isa_table.h"
#include "norm/blocks.h"
#include "norm/group_planes.h"
#include "norm/row_grid.h"
#include "norm/wide_parameters.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

template <class T>
void group_norm_forward(const GroupNormForward& a, const Executor& executor) {
  const Matrix rows = group_rows(a.shape, a.groups);
  RowNorm<T> norm = {};
  norm.x = {static_cast<const T*>(a.x), row_stride(a.at, &Placement::x, rows.cols)};
  norm.y = {static_cast<T*>(a.y), row_stride(a.at, &Placement::y, rows.cols)};
  norm.rows = rows.rows;
  norm.cols = rows.cols;
  norm.channels = a.shape.c;
  norm.pieces = a.shape.c / a.groups;
  norm.gamma = static_cast<const T*>(a.scale);
  norm.beta = static_cast<const T*>(a.bias);
  norm.epsilon = a.epsilon;
  norm.mean = static_cast<T*>(a.mean);
  norm.rstd = static_cast<T*>(a.inv_std);
  norm.stream = a.stream && (!norm.in_pieces() || a.shape.spatial >= kLeastStreamed<T>);
  if (grid_of(a.at) == nullptr) return normalise_rows(norm, executor);
  normalise_grid(norm, *a.at, a.workspace, executor);
}

size_t group_norm_forward_workspace(const Images&, int64_t) { return 0; }
template <class T, Storage kStorage = Storage::kComputed>
size_t group_norm_forward_grid_workspace(const Images& shape, int64_t groups) {
  const Matrix rows = group_rows(shape, groups);
  return normalise_grid_workspace<T>(rows.rows, rows.cols, kStorage);
}

// ---- Backward -----------------------------------------------------------------------

// Of each block of images and channel there are two sums in the workspace, [blocks, 2, c]; where
// groups are more than a channel, then come three of the image at hand, [blocks, 3, c].
size_t group_norm_backward_workspace(const Images& shape, int64_t groups) {
  const int64_t sums = groups == shape.c ? 2 : 5;
  return static_cast<size_t>(blocks_of(shape.n).count * sums * shape.c) * sizeof(double);
}

// A task is one block of images and some groups: image by image, so that memory is read in order.
struct Tasks {
  Images shape;
  Blocks images;
  int64_t groups, channels, groups_each, parts;

  // With as many blocks as threads there is no need to share the groups.
  Tasks(const Images& all, int64_t groups_in_all, int64_t shares)
      : shape(all),
        images(blocks_of(all.n)),
        groups(groups_in_all),
        channels(all.c / groups),
        groups_each(parts_of(groups, shares)),
        parts(parts_of(groups, groups_each)) {}

  int64_t count() const { return images.count * parts; }

  // f(TaskGroups) for each image of a task.
  template <class F>
  NORMKERNELS_INLINE void for_each_image(int64_t task, double* sums, F&& f) const {
    const int64_t block = task / parts, from = task % parts * groups_each, c = shape.c;
    const int64_t count = part_end(from, groups_each, groups) - from, channel = from * channels;
    const int64_t begin = block * images.each;
    double *own = sums + 2 * block * c + channel, *more = sums + 2 * images.count * c;
    const ChannelSums of_block = {own, own + c};
    const SumTable of_image = {channels == 1 ? nullptr : more + 3 * block * c + channel, c};
    for (int64_t k = 0; k < count * channels; ++k) of_block.scale[k] = of_block.bias[k] = 0;
    for (int64_t image = begin; image < part_end(begin, images.each, shape.n); ++image)
      f(TaskGroups{image * groups + from, count, channel, of_block, of_image});
  }
};

template <class T>
void dense_backward(const GroupNormBackward& arguments, const PlanesBackward<T>& a, double* sums,
                    const Executor& executor) {
  const Images& shape = arguments.shape;
  const int64_t blocks = blocks_of(shape.n).count, groups = arguments.groups;
  const int64_t cols = group_rows(shape, groups).cols;
  const Planes<T> all = {
      {static_cast<const T*>(arguments.dy), row_stride(arguments.at, &Placement::dy, cols)},
      {static_cast<const T*>(arguments.x), row_stride(arguments.at, &Placement::x, cols)},
      {static_cast<T*>(arguments.y), row_stride(arguments.at, &Placement::y, cols)},
      {static_cast<T*>(arguments.dx), row_stride(arguments.at, &Placement::dx, cols)}};
  const bool split = split_rows(blocks * groups, cols, executor);
  const Executor& within = split ? executor : kSerial;
  const Tasks tasks(shape, groups,
                    split || blocks >= 2 * executor.threads ? 1 : 4 * int64_t{executor.threads});
  for_each_task(split ? kSerial : executor, tasks.count(), [&](int64_t task) {
    tasks.for_each_image(
        task, sums, [&](const TaskGroups& some) __attribute__((always_inline)) {
          groups_backward(a, all.from(some.first), tasks.channels, some, within);
        });
    if (a.stream) stream_fence();
  });
}

// ---- Planes that lie anywhere -------------------------------------------------------

// Tasks enough for every slot.
template <class T>
Tasks grid_tasks(const Images& shape, int64_t groups) {
  return Tasks(shape, groups, TileSlots<T>::kMost);
}
template <class T>
TileShape<T> tile_of(const Images& shape, int64_t groups) {
  return TileShape<T>(groups, group_rows(shape, groups).cols);
}
template <class T>
TileSlots<T> slots_of(const Images& shape, int64_t groups, Storage storage) {
  return TileSlots<T>(grid_tasks<T>(shape, groups).count(), shape.n * shape.c * shape.spatial,
                      storage, tile_of<T>(shape, groups), 2);
}

template <class T>
void grid_backward(const GroupNormBackward& arguments, PlanesBackward<T> a, double* sums,
                   void* buffers, const Executor& executor) {
  const Images& shape = arguments.shape;
  const Tasks tasks = grid_tasks<T>(shape, arguments.groups);
  const TileShape<T> tile = tile_of<T>(shape, arguments.groups);
  a.stream = false;
  slots_of<T>(shape, arguments.groups, arguments.at->grid->storage)
      .for_each(tasks.count(), buffers, executor, [&](int64_t begin, int64_t end, T* own) {
        TiledPlanes<T> tiles(arguments, tile, own);
        for (int64_t task = begin; task < end; ++task) {
          tasks.for_each_image(task, sums, [&](const TaskGroups& some) {
            tiled_groups_backward(a, tiles, *arguments.at->grid, tile, tasks.channels, some);
          });
        }
      });
}

template <class T>
void group_norm_backward(const GroupNormBackward& arguments, const Executor& executor) {
  const PlanesBackward<T> a(arguments);
  const Images& shape = arguments.shape;
  const int64_t c = shape.c, blocks = blocks_of(shape.n).count;
  double* sums = static_cast<double*>(arguments.workspace);
  if (grid_of(arguments.at) == nullptr) {
    dense_backward(arguments, a, sums, executor);
  } else {
    const size_t of_sums = whole_lines(group_norm_backward_workspace(shape, arguments.groups));
    grid_backward(arguments, a, sums, static_cast<char*>(arguments.workspace) + of_sums, executor);
  }
  add_blocks(sums, blocks, 2 * c, c, static_cast<T*>(arguments.dscale));
  add_blocks(sums + c, blocks, 2 * c, c, static_cast<T*>(arguments.dbias));
}

template <class T, Storage kStorage = Storage::kComputed>
size_t group_norm_backward_grid_workspace(const Images& shape, int64_t groups) {
  return whole_lines(group_norm_backward_workspace(shape, groups)) +
         slots_of<T>(shape, groups, kStorage).all_bytes();
}

void half_group_norm_forward(const GroupNormForward& a, const Executor& executor) {
  with_wide_parameters(a, executor, group_norm_forward<float>);
}
void half_group_norm_backward(const GroupNormBackward& a, const Executor& executor) {
  with_wide_parameters(a, executor, group_norm_backward<float>);
}

template <class T>
constexpr GroupNormKernels kKernels = {group_norm_forward<T>,
                                       group_norm_backward<T>,
                                       group_norm_forward_workspace,
                                       group_norm_backward_workspace,
                                       group_norm_forward_grid_workspace<T>,
                                       group_norm_backward_grid_workspace<T>};

}  // namespace

const GroupNormKernels group_norm_nchw_half = {
    half_group_norm_forward,
    half_group_norm_backward,
    wide_workspace<group_norm_forward_grid_workspace<float, kHalf>>,
    wide_workspace<group_norm_backward_grid_workspace<float, kHalf>>,
    wide_workspace<group_norm_forward_grid_workspace<float, kHalf>>,
    wide_workspace<group_norm_backward_grid_workspace<float, kHalf>>};
const GroupNormKernels group_norm_nchw_f32 = kKernels<float>;
const GroupNormKernels group_norm_nchw_f64 = kKernels<double>;

}  // namespace normkernels::NORMKERNELS_ISA
