// The C functions of instance norm: check every argument, then call the kernel.
#include "api/views.h"

using normkernels::Call;
using normkernels::DenseGrid;
using normkernels::Executor;
using normkernels::group_norm_kernels;
using normkernels::GroupNormBackward;
using normkernels::GroupNormForward;
using normkernels::kBeta;
using normkernels::Kernels;
using normkernels::kGamma;
using normkernels::kStatistic;
using normkernels::workspace_bytes;

extern "C" {

size_t normkernels_instance_norm_forward_workspace_bytes(normkernels_dtype dtype,
                                                         normkernels_order order, int64_t n,
                                                         int64_t c, int64_t spatial) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  return workspace_bytes(call, all, [&](auto* k) {
    return group_norm_kernels(k, order, spatial)->forward_workspace({n, c, spatial}, c);
  });
}

normkernels_status normkernels_instance_norm_forward(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* x, const void* scale, const void* bias, double epsilon, void* y, void* mean,
    void* inv_std, void* workspace, const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  const int64_t planes = call.elements_of(n, c);
  GroupNormForward a = {};
  a.shape = {n, c, spatial};
  a.wide = call.wide();
  a.groups = c;
  a.x = call.input(6, x, all);
  a.scale = call.optional_input(7, scale, c, kGamma);
  a.bias = call.optional_input(8, bias, c, kBeta);
  a.epsilon = call.epsilon(9, epsilon);
  a.y = call.output(10, y, all, 6);
  a.mean = call.optional_output(11, mean, planes, kStatistic);
  a.inv_std = call.optional_output(12, inv_std, planes, kStatistic);
  a.workspace = call.workspace(
      13, workspace,
      normkernels_instance_norm_forward_workspace_bytes(dtype, order, n, c, spatial));
  a.stream = call.stream(y, all, x);
  const Executor threads = call.executor(14, executor, 2 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0)
    return call.fill({{mean, planes, 0}, {inv_std, planes, 1 / __builtin_sqrt(epsilon)}});
  DenseGrid grid;
  a.at = grid.of_images(call, order, a.shape, c);
  group_norm_kernels(kernels, order, spatial)->forward(a, threads);
  return NORMKERNELS_OK;
}

size_t normkernels_instance_norm_backward_workspace_bytes(normkernels_dtype dtype,
                                                          normkernels_order order, int64_t n,
                                                          int64_t c, int64_t spatial) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  return workspace_bytes(call, all, [&](auto* k) {
    return group_norm_kernels(k, order, spatial)->backward_workspace({n, c, spatial}, c);
  });
}

normkernels_status normkernels_instance_norm_backward(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* dy, const void* x, const void* scale, const void* mean, const void* inv_std,
    double epsilon, void* dx, void* dscale, void* dbias, void* workspace,
    const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  const int64_t planes = call.elements_of(n, c);
  GroupNormBackward a = {};
  a.shape = {n, c, spatial};
  a.wide = call.wide();
  a.groups = c;
  a.dy = call.input(6, dy, all);
  a.x = call.input(7, x, all);
  a.scale = call.optional_input(8, scale, c, kGamma);
  const bool saved = mean != nullptr || inv_std != nullptr;
  if (saved) {
    a.mean = call.input(9, mean, planes, kStatistic);
    a.inv_std = call.input(10, inv_std, planes, kStatistic);
  } else {
    a.epsilon = call.epsilon(11, epsilon);
  }
  a.dx = call.output(12, dx, all, 6, 7);
  a.dscale = call.optional_output(13, dscale, c, kGamma);
  a.dbias = call.optional_output(14, dbias, c, kBeta);
  a.workspace = call.workspace(
      15, workspace,
      normkernels_instance_norm_backward_workspace_bytes(dtype, order, n, c, spatial));
  a.stream = call.stream(dx, all, x, dy);
  const Executor threads = call.executor(16, executor, 3 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return call.fill({{dscale, c, 0, kGamma}, {dbias, c, 0, kBeta}});
  DenseGrid grid;
  a.at = grid.of_images(call, order, a.shape, c);
  group_norm_kernels(kernels, order, spatial)->backward(a, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_instance_norm_with_gradient(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* x, const void* scale, const void* bias, const void* dy, double epsilon, void* y,
    void* mean, void* inv_std, void* dx, void* dscale, void* dbias, void* workspace,
    const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  const int64_t planes = call.elements_of(n, c);
  GroupNormBackward a = {};
  a.shape = {n, c, spatial};
  a.wide = call.wide();
  a.groups = c;
  a.x = call.input(6, x, all);
  a.scale = call.optional_input(7, scale, c, kGamma);
  a.bias = call.optional_input(8, bias, c, kBeta);
  a.dy = call.input(9, dy, all);
  a.epsilon = call.epsilon(10, epsilon);
  a.y = call.output(11, y, all, 6);
  a.mean_out = call.optional_output(12, mean, planes, kStatistic);
  a.inv_std_out = call.optional_output(13, inv_std, planes, kStatistic);
  a.dx = call.output(14, dx, all, 9);
  a.dscale = call.optional_output(15, dscale, c, kGamma);
  a.dbias = call.optional_output(16, dbias, c, kBeta);
  a.workspace = call.workspace(
      17, workspace,
      normkernels_instance_norm_backward_workspace_bytes(dtype, order, n, c, spatial));
  a.stream = call.stream(dx, all, x, dy);
  const Executor threads = call.executor(18, executor, 4 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) {
    const double inv_std_of_none = 1 / __builtin_sqrt(epsilon);
    return call.fill({{mean, planes, 0},
                      {inv_std, planes, inv_std_of_none},
                      {dscale, c, 0, kGamma},
                      {dbias, c, 0, kBeta}});
  }
  DenseGrid grid;
  a.at = grid.of_images(call, order, a.shape, c);
  group_norm_kernels(kernels, order, spatial)->backward(a, threads);
  return NORMKERNELS_OK;
}

}  // extern "C"
