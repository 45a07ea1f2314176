// The C functions of group norm on arrays with strides.
#include <algorithm>

#include "api/views.h"

using normkernels::Call;
using normkernels::Executor;
using normkernels::group_norm_kernels;
using normkernels::GroupNormBackward;
using normkernels::GroupNormForward;
using normkernels::Images;
using normkernels::kBeta;
using normkernels::Kernels;
using normkernels::kGamma;
using normkernels::kStatistic;
using normkernels::Placement;
using normkernels::Views;
using normkernels::workspace_bytes;

extern "C" {

normkernels_status normkernels_group_norm_forward_view(
    normkernels_dtype dtype, normkernels_order order, int32_t rank, const int64_t* shape,
    int64_t groups, const void* x, const int64_t* x_strides, const void* scale, const void* bias,
    double epsilon, void* y, const int64_t* y_strides, void* mean, void* inv_std, void* workspace,
    const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  Views views(call, 3, rank, shape);
  const Images images = views.extents(3, order);
  const int64_t all = views.elements();
  Placement at = {};
  GroupNormForward a = {};
  a.shape = images;
  a.wide = call.wide();
  a.groups = call.groups(5, groups, images.c);
  const int64_t statistics = call.elements_of(images.n, groups);
  a.x = views.input(6, x, x_strides, &at.x);
  a.scale = call.optional_input(8, scale, images.c, kGamma);
  a.bias = call.optional_input(9, bias, images.c, kBeta);
  a.epsilon = call.epsilon(10, epsilon);
  a.y = views.output(11, y, y_strides, &at.y, 6);
  a.mean = call.optional_output(13, mean, statistics, kStatistic);
  a.inv_std = call.optional_output(14, inv_std, statistics, kStatistic);
  a.workspace = call.workspace(
      15, workspace,
      normkernels_group_norm_forward_view_workspace_bytes(dtype, order, rank, shape, groups));
  a.stream = call.stream(y, all, x);
  const Executor threads = call.executor(16, executor, 2 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0)
    return call.fill({{mean, statistics, 0}, {inv_std, statistics, 1 / __builtin_sqrt(epsilon)}});
  at.grid = views.images(order, groups);
  a.at = &at;
  group_norm_kernels(kernels, order, images.spatial)->forward(a, threads);
  return NORMKERNELS_OK;
}

size_t normkernels_group_norm_forward_view_workspace_bytes(normkernels_dtype dtype,
                                                           normkernels_order order, int32_t rank,
                                                           const int64_t* shape, int64_t groups) {
  Call call(dtype);
  call.order(2, order);
  const Views views(call, 3, rank, shape);
  const Images images = views.extents(3, order);
  call.groups(5, groups, images.c);
  return workspace_bytes(call, views.elements(), [&](auto* k) {
    const auto* kernels = group_norm_kernels(k, order, images.spatial);
    return std::max(kernels->forward_workspace(images, groups),
                    kernels->forward_grid_workspace(images, groups));
  });
}

normkernels_status normkernels_group_norm_backward_view(
    normkernels_dtype dtype, normkernels_order order, int32_t rank, const int64_t* shape,
    int64_t groups, const void* dy, const int64_t* dy_strides, const void* x,
    const int64_t* x_strides, const void* scale, const void* mean, const void* inv_std,
    double epsilon, void* dx, const int64_t* dx_strides, void* dscale, void* dbias, void* workspace,
    const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  Views views(call, 3, rank, shape);
  const Images images = views.extents(3, order);
  const int64_t all = views.elements();
  Placement at = {};
  GroupNormBackward a = {};
  a.shape = images;
  a.wide = call.wide();
  a.groups = call.groups(5, groups, images.c);
  const int64_t statistics = call.elements_of(images.n, groups);
  a.dy = views.input(6, dy, dy_strides, &at.dy);
  a.x = views.input(8, x, x_strides, &at.x);
  a.scale = call.optional_input(10, scale, images.c, kGamma);
  const bool saved = mean != nullptr || inv_std != nullptr;
  if (saved) {
    a.mean = call.input(11, mean, statistics, kStatistic);
    a.inv_std = call.input(12, inv_std, statistics, kStatistic);
  } else {
    a.epsilon = call.epsilon(13, epsilon);
  }
  a.dx = views.output(14, dx, dx_strides, &at.dx, 6, 8);
  a.dscale = call.optional_output(16, dscale, images.c, kGamma);
  a.dbias = call.optional_output(17, dbias, images.c, kBeta);
  a.workspace = call.workspace(
      18, workspace,
      normkernels_group_norm_backward_view_workspace_bytes(dtype, order, rank, shape, groups));
  a.stream = call.stream(dx, all, x, dy);
  const Executor threads = call.executor(19, executor, 3 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return call.fill({{dscale, images.c, 0, kGamma}, {dbias, images.c, 0, kBeta}});
  at.grid = views.images(order, groups);
  a.at = &at;
  group_norm_kernels(kernels, order, images.spatial)->backward(a, threads);
  return NORMKERNELS_OK;
}

size_t normkernels_group_norm_backward_view_workspace_bytes(normkernels_dtype dtype,
                                                            normkernels_order order, int32_t rank,
                                                            const int64_t* shape, int64_t groups) {
  Call call(dtype);
  call.order(2, order);
  const Views views(call, 3, rank, shape);
  const Images images = views.extents(3, order);
  call.groups(5, groups, images.c);
  return workspace_bytes(call, views.elements(), [&](auto* k) {
    const auto* kernels = group_norm_kernels(k, order, images.spatial);
    return std::max(kernels->backward_workspace(images, groups),
                    kernels->backward_grid_workspace(images, groups));
  });
}

}  // extern "C"
