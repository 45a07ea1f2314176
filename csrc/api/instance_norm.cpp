// The C functions of instance norm: check every argument, then call the kernel.
#include "api/call.h"

using normkernels::Call;
using normkernels::Executor;
using normkernels::instance_norm_kernels;
using normkernels::Kernels;
using normkernels::workspace_bytes;

extern "C" {

size_t normkernels_instance_norm_forward_workspace_bytes(normkernels_dtype dtype,
                                                         normkernels_order order, int64_t n,
                                                         int64_t c, int64_t spatial) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  return workspace_bytes(call, all, [&](auto* k) {
    return instance_norm_kernels(k, order, spatial)->forward_workspace({n, c, spatial});
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
  call.input(6, x, all);
  call.optional_input(7, scale, c);
  call.optional_input(8, bias, c);
  call.epsilon(9, epsilon);
  call.output(10, y, all, 6);
  call.optional_output(11, mean, planes);
  call.optional_output(12, inv_std, planes);
  if (call.ok()) {
    call.workspace(13, workspace,
                   normkernels_instance_norm_forward_workspace_bytes(dtype, order, n, c, spatial));
  }
  const Executor threads = call.executor(14, executor, 2 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0)
    return call.fill({{mean, planes, 0}, {inv_std, planes, 1 / __builtin_sqrt(epsilon)}});
  instance_norm_kernels(kernels, order, spatial)
      ->forward({{n, c, spatial},
                 x,
                 scale,
                 bias,
                 epsilon,
                 y,
                 mean,
                 inv_std,
                 workspace,
                 call.stream(y, all, x)},
                threads);
  return NORMKERNELS_OK;
}

size_t normkernels_instance_norm_backward_workspace_bytes(normkernels_dtype dtype,
                                                          normkernels_order order, int64_t n,
                                                          int64_t c, int64_t spatial) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  return workspace_bytes(call, all, [&](auto* k) {
    return instance_norm_kernels(k, order, spatial)->backward_workspace({n, c, spatial});
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
  const bool saved = mean != nullptr || inv_std != nullptr;
  call.input(6, dy, all);
  call.input(7, x, all);
  call.optional_input(8, scale, c);
  if (saved) {
    call.input(9, mean, planes);
    call.input(10, inv_std, planes);
  } else {
    call.epsilon(11, epsilon);
  }
  call.output(12, dx, all, 6, 7);
  call.optional_output(13, dscale, c);
  call.optional_output(14, dbias, c);
  if (call.ok()) {
    call.workspace(15, workspace,
                   normkernels_instance_norm_backward_workspace_bytes(dtype, order, n, c, spatial));
  }
  const Executor threads = call.executor(16, executor, 3 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return call.fill({{dscale, c, 0}, {dbias, c, 0}});
  instance_norm_kernels(kernels, order, spatial)
      ->backward({{n, c, spatial},
                  dy,
                  x,
                  scale,
                  nullptr,
                  mean,
                  inv_std,
                  epsilon,
                  nullptr,
                  nullptr,
                  nullptr,
                  dx,
                  dscale,
                  dbias,
                  workspace,
                  call.stream(dx, all, x, dy)},
                 threads);
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
  call.input(6, x, all);
  call.optional_input(7, scale, c);
  call.optional_input(8, bias, c);
  call.input(9, dy, all);
  call.epsilon(10, epsilon);
  call.output(11, y, all, 6);
  call.optional_output(12, mean, planes);
  call.optional_output(13, inv_std, planes);
  call.output(14, dx, all, 9);
  call.optional_output(15, dscale, c);
  call.optional_output(16, dbias, c);
  if (call.ok()) {
    call.workspace(17, workspace,
                   normkernels_instance_norm_backward_workspace_bytes(dtype, order, n, c, spatial));
  }
  const Executor threads = call.executor(18, executor, 4 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0)
    return call.fill({{mean, planes, 0},
                      {inv_std, planes, 1 / __builtin_sqrt(epsilon)},
                      {dscale, c, 0},
                      {dbias, c, 0}});
  instance_norm_kernels(kernels, order, spatial)
      ->backward({{n, c, spatial},
                  dy,
                  x,
                  scale,
                  bias,
                  nullptr,
                  nullptr,
                  epsilon,
                  y,
                  mean,
                  inv_std,
                  dx,
                  dscale,
                  dbias,
                  workspace,
                  call.stream(dx, all, x, dy)},
                 threads);
  return NORMKERNELS_OK;
}

}  // extern "C"
