// The C functions of group norm: check every argument, then call the kernel.
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

size_t normkernels_group_norm_forward_workspace_bytes(normkernels_dtype dtype,
                                                      normkernels_order order, int64_t n, int64_t c,
                                                      int64_t spatial, int64_t groups) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  call.groups(6, groups, c);
  return workspace_bytes(call, all, [&](auto* k) {
    return group_norm_kernels(k, order, spatial)->forward_workspace({n, c, spatial}, groups);
  });
}

normkernels_status normkernels_group_norm_forward(normkernels_dtype dtype, normkernels_order order,
                                                  int64_t n, int64_t c, int64_t spatial,
                                                  int64_t groups, const void* x, const void* scale,
                                                  const void* bias, double epsilon, void* y,
                                                  void* mean, void* inv_std, void* workspace,
                                                  const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  GroupNormForward a = {};
  a.shape = {n, c, spatial};
  a.wide = call.wide();
  a.groups = call.groups(6, groups, c);
  const int64_t statistics = call.elements_of(n, groups);
  a.x = call.input(7, x, all);
  a.scale = call.optional_input(8, scale, c, kGamma);
  a.bias = call.optional_input(9, bias, c, kBeta);
  a.epsilon = call.epsilon(10, epsilon);
  a.y = call.output(11, y, all, 7);
  a.mean = call.optional_output(12, mean, statistics, kStatistic);
  a.inv_std = call.optional_output(13, inv_std, statistics, kStatistic);
  a.workspace = call.workspace(
      14, workspace,
      normkernels_group_norm_forward_workspace_bytes(dtype, order, n, c, spatial, groups));
  a.stream = call.stream(y, all, x);
  const Executor threads = call.executor(15, executor, 2 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0)
    return call.fill({{mean, statistics, 0}, {inv_std, statistics, 1 / __builtin_sqrt(epsilon)}});
  DenseGrid grid;
  a.at = grid.of_images(call, order, a.shape, groups);
  group_norm_kernels(kernels, order, spatial)->forward(a, threads);
  return NORMKERNELS_OK;
}

size_t normkernels_group_norm_backward_workspace_bytes(normkernels_dtype dtype,
                                                       normkernels_order order, int64_t n,
                                                       int64_t c, int64_t spatial, int64_t groups) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  call.groups(6, groups, c);
  return workspace_bytes(call, all, [&](auto* k) {
    return group_norm_kernels(k, order, spatial)->backward_workspace({n, c, spatial}, groups);
  });
}

normkernels_status normkernels_group_norm_backward(normkernels_dtype dtype, normkernels_order order,
                                                   int64_t n, int64_t c, int64_t spatial,
                                                   int64_t groups, const void* dy, const void* x,
                                                   const void* scale, const void* mean,
                                                   const void* inv_std, double epsilon, void* dx,
                                                   void* dscale, void* dbias, void* workspace,
                                                   const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  GroupNormBackward a = {};
  a.shape = {n, c, spatial};
  a.wide = call.wide();
  a.groups = call.groups(6, groups, c);
  const int64_t statistics = call.elements_of(n, groups);
  a.dy = call.input(7, dy, all);
  a.x = call.input(8, x, all);
  a.scale = call.optional_input(9, scale, c, kGamma);
  const bool saved = mean != nullptr || inv_std != nullptr;
  if (saved) {
    a.mean = call.input(10, mean, statistics, kStatistic);
    a.inv_std = call.input(11, inv_std, statistics, kStatistic);
  } else {
    a.epsilon = call.epsilon(12, epsilon);
  }
  a.dx = call.output(13, dx, all, 7, 8);
  a.dscale = call.optional_output(14, dscale, c, kGamma);
  a.dbias = call.optional_output(15, dbias, c, kBeta);
  a.workspace = call.workspace(
      16, workspace,
      normkernels_group_norm_backward_workspace_bytes(dtype, order, n, c, spatial, groups));
  a.stream = call.stream(dx, all, x, dy);
  const Executor threads = call.executor(17, executor, 3 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return call.fill({{dscale, c, 0, kGamma}, {dbias, c, 0, kBeta}});
  DenseGrid grid;
  a.at = grid.of_images(call, order, a.shape, groups);
  group_norm_kernels(kernels, order, spatial)->backward(a, threads);
  return NORMKERNELS_OK;
}

}  // extern "C"
