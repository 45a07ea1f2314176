// The C functions of instance norm on arrays with strides.
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

normkernels_status normkernels_instance_norm_forward_view(
    normkernels_dtype dtype, normkernels_order order, int32_t rank, const int64_t* shape,
    const void* x, const int64_t* x_strides, const void* scale, const void* bias, double epsilon,
    void* y, const int64_t* y_strides, void* mean, void* inv_std, void* workspace,
    const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  Views views(call, 3, rank, shape);
  const Images images = views.extents(3, order);
  const int64_t all = views.elements(), planes = call.elements_of(images.n, images.c);
  Placement at = {};
  GroupNormForward a = {};
  a.shape = images;
  a.wide = call.wide();
  a.groups = images.c;
  a.x = views.input(5, x, x_strides, &at.x);
  a.scale = call.optional_input(7, scale, images.c, kGamma);
  a.bias = call.optional_input(8, bias, images.c, kBeta);
  a.epsilon = call.epsilon(9, epsilon);
  a.y = views.output(10, y, y_strides, &at.y, 5);
  a.mean = call.optional_output(12, mean, planes, kStatistic);
  a.inv_std = call.optional_output(13, inv_std, planes, kStatistic);
  a.workspace = call.workspace(
      14, workspace,
      normkernels_instance_norm_forward_view_workspace_bytes(dtype, order, rank, shape));
  a.stream = call.stream(y, all, x);
  const Executor threads = call.executor(15, executor, 2 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0)
    return call.fill({{mean, planes, 0}, {inv_std, planes, 1 / __builtin_sqrt(epsilon)}});
  at.grid = views.images(order, images.c);
  a.at = &at;
  group_norm_kernels(kernels, order, images.spatial)->forward(a, threads);
  return NORMKERNELS_OK;
}

size_t normkernels_instance_norm_forward_view_workspace_bytes(normkernels_dtype dtype,
                                                              normkernels_order order, int32_t rank,
                                                              const int64_t* shape) {
  Call call(dtype);
  call.order(2, order);
  const Views views(call, 3, rank, shape);
  const Images images = views.extents(3, order);
  return workspace_bytes(call, views.elements(), [&](auto* k) {
    const auto* kernels = group_norm_kernels(k, order, images.spatial);
    return std::max(kernels->forward_workspace(images, images.c),
                    kernels->forward_grid_workspace(images, images.c));
  });
}

normkernels_status normkernels_instance_norm_backward_view(
    normkernels_dtype dtype, normkernels_order order, int32_t rank, const int64_t* shape,
    const void* dy, const int64_t* dy_strides, const void* x, const int64_t* x_strides,
    const void* scale, const void* mean, const void* inv_std, double epsilon, void* dx,
    const int64_t* dx_strides, void* dscale, void* dbias, void* workspace,
    const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  Views views(call, 3, rank, shape);
  const Images images = views.extents(3, order);
  const int64_t all = views.elements(), planes = call.elements_of(images.n, images.c);
  Placement at = {};
  GroupNormBackward a = {};
  a.shape = images;
  a.wide = call.wide();
  a.groups = images.c;
  a.dy = views.input(5, dy, dy_strides, &at.dy);
  a.x = views.input(7, x, x_strides, &at.x);
  a.scale = call.optional_input(9, scale, images.c, kGamma);
  const bool saved = mean != nullptr || inv_std != nullptr;
  if (saved) {
    a.mean = call.input(10, mean, planes, kStatistic);
    a.inv_std = call.input(11, inv_std, planes, kStatistic);
  } else {
    a.epsilon = call.epsilon(12, epsilon);
  }
  a.dx = views.output(13, dx, dx_strides, &at.dx, 5, 7);
  a.dscale = call.optional_output(15, dscale, images.c, kGamma);
  a.dbias = call.optional_output(16, dbias, images.c, kBeta);
  a.workspace = call.workspace(
      17, workspace,
      normkernels_instance_norm_backward_view_workspace_bytes(dtype, order, rank, shape));
  a.stream = call.stream(dx, all, x, dy);
  const Executor threads = call.executor(18, executor, 3 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return call.fill({{dscale, images.c, 0, kGamma}, {dbias, images.c, 0, kBeta}});
  at.grid = views.images(order, images.c);
  a.at = &at;
  group_norm_kernels(kernels, order, images.spatial)->backward(a, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_instance_norm_with_gradient_view(
    normkernels_dtype dtype, normkernels_order order, int32_t rank, const int64_t* shape,
    const void* x, const int64_t* x_strides, const void* scale, const void* bias, const void* dy,
    const int64_t* dy_strides, double epsilon, void* y, const int64_t* y_strides, void* mean,
    void* inv_std, void* dx, const int64_t* dx_strides, void* dscale, void* dbias, void* workspace,
    const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  Views views(call, 3, rank, shape);
  const Images images = views.extents(3, order);
  const int64_t all = views.elements(), planes = call.elements_of(images.n, images.c);
  Placement at = {};
  GroupNormBackward a = {};
  a.shape = images;
  a.wide = call.wide();
  a.groups = images.c;
  a.x = views.input(5, x, x_strides, &at.x);
  a.scale = call.optional_input(7, scale, images.c, kGamma);
  a.bias = call.optional_input(8, bias, images.c, kBeta);
  a.dy = views.input(9, dy, dy_strides, &at.dy);
  a.epsilon = call.epsilon(11, epsilon);
  a.y = views.output(12, y, y_strides, &at.y, 5);
  a.mean_out = call.optional_output(14, mean, planes, kStatistic);
  a.inv_std_out = call.optional_output(15, inv_std, planes, kStatistic);
  a.dx = views.output(16, dx, dx_strides, &at.dx, 9);
  a.dscale = call.optional_output(18, dscale, images.c, kGamma);
  a.dbias = call.optional_output(19, dbias, images.c, kBeta);
  a.workspace = call.workspace(
      20, workspace,
      normkernels_instance_norm_backward_view_workspace_bytes(dtype, order, rank, shape));
  a.stream = call.stream(dx, all, x, dy);
  const Executor threads = call.executor(21, executor, 4 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) {
    const double inv_std_of_none = 1 / __builtin_sqrt(epsilon);
    return call.fill({{mean, planes, 0},
                      {inv_std, planes, inv_std_of_none},
                      {dscale, images.c, 0, kGamma},
                      {dbias, images.c, 0, kBeta}});
  }
  at.grid = views.images(order, images.c);
  a.at = &at;
  group_norm_kernels(kernels, order, images.spatial)->backward(a, threads);
  return NORMKERNELS_OK;
}

size_t normkernels_instance_norm_backward_view_workspace_bytes(normkernels_dtype dtype,
                                                               normkernels_order order,
                                                               int32_t rank, const int64_t* shape) {
  Call call(dtype);
  call.order(2, order);
  const Views views(call, 3, rank, shape);
  const Images images = views.extents(3, order);
  return workspace_bytes(call, views.elements(), [&](auto* k) {
    const auto* kernels = group_norm_kernels(k, order, images.spatial);
    return std::max(kernels->backward_workspace(images, images.c),
                    kernels->backward_grid_workspace(images, images.c));
  });
}

}  // extern "C"
