// The C functions of local response norm: check every argument, then call the kernel.
#include "api/views.h"

using normkernels::Call;
using normkernels::DenseGrid;
using normkernels::Executor;
using normkernels::Kernels;
using normkernels::kLrnCost;
using normkernels::LocalResponseNorm;
using normkernels::workspace_bytes;

extern "C" {

size_t normkernels_local_response_norm_workspace_bytes(normkernels_dtype dtype,
                                                       normkernels_order order, int64_t n,
                                                       int64_t c, int64_t spatial, int64_t size) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  call.at_least_one(6, size);
  return workspace_bytes(call, all, [&](auto* k) {
    return k->local_response_norm->workspace({n, c, spatial}, order == NORMKERNELS_NHWC, size);
  });
}

normkernels_status normkernels_local_response_norm_forward(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* x, int64_t size, double alpha, double beta, double bias, void* y, void* scale,
    void* workspace, const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  LocalResponseNorm a = {};
  a.shape = {n, c, spatial};
  a.channels_last = order == NORMKERNELS_NHWC;
  a.x = call.input(6, x, all);
  a.size = call.at_least_one(7, size);
  a.alpha = call.finite(8, alpha);
  a.beta = call.finite(9, beta);
  a.bias = call.finite(10, bias);
  a.y = call.output(11, y, all);
  a.scale = call.optional_output(12, scale, all);
  a.workspace = call.workspace(
      13, workspace,
      normkernels_local_response_norm_workspace_bytes(dtype, order, n, c, spatial, size));
  const Executor threads = call.executor(14, executor, kLrnCost * 2 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return NORMKERNELS_OK;
  DenseGrid grid;
  a.at = grid.of_pixels(call, order, a.shape);
  kernels->local_response_norm->forward(a, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_local_response_norm_backward(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* dy, const void* x, const void* y, const void* scale, int64_t size, double alpha,
    double beta, double bias, void* dx, void* workspace, const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  LocalResponseNorm a = {};
  a.shape = {n, c, spatial};
  a.channels_last = order == NORMKERNELS_NHWC;
  a.dy = call.input(6, dy, all);
  a.x = call.input(7, x, all);
  a.y_in = call.optional_input(8, y, all);
  a.scale_in = call.optional_input(9, scale, all);
  a.size = call.at_least_one(10, size);
  a.alpha = call.finite(11, alpha);
  a.beta = call.finite(12, beta);
  a.bias = call.finite(13, bias);
  a.dx = call.output(14, dx, all);
  a.workspace = call.workspace(
      15, workspace,
      normkernels_local_response_norm_workspace_bytes(dtype, order, n, c, spatial, size));
  const Executor threads = call.executor(16, executor, kLrnCost * 3 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return NORMKERNELS_OK;
  DenseGrid grid;
  a.at = grid.of_pixels(call, order, a.shape);
  kernels->local_response_norm->backward(a, threads);
  return NORMKERNELS_OK;
}

}  // extern "C"
