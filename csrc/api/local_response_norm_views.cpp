// The C functions of local response norm on arrays with strides.
#include "api/views.h"

using normkernels::Call;
using normkernels::Executor;
using normkernels::Images;
using normkernels::Kernels;
using normkernels::kLrnCost;
using normkernels::LocalResponseNorm;
using normkernels::Placement;
using normkernels::Views;
using normkernels::workspace_bytes;

extern "C" {

size_t normkernels_local_response_norm_view_workspace_bytes(normkernels_dtype dtype,
                                                            normkernels_order order, int32_t rank,
                                                            const int64_t* shape, int64_t size) {
  Call call(dtype);
  call.order(2, order);
  const Views views(call, 3, rank, shape);
  const Images images = views.extents(3, order);
  call.at_least_one(5, size);
  return workspace_bytes(call, views.elements(), [&](auto* k) {
    return k->local_response_norm->grid_workspace(images, size);
  });
}

normkernels_status normkernels_local_response_norm_forward_view(
    normkernels_dtype dtype, normkernels_order order, int32_t rank, const int64_t* shape,
    const void* x, const int64_t* x_strides, int64_t size, double alpha, double beta, double bias,
    void* y, const int64_t* y_strides, void* scale, const int64_t* scale_strides, void* workspace,
    const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  Views views(call, 3, rank, shape);
  const int64_t all = views.elements();
  Placement at = {};
  LocalResponseNorm a = {};
  a.shape = views.extents(3, order);
  a.x = views.input(5, x, x_strides, &at.x);
  a.size = call.at_least_one(7, size);
  a.alpha = call.finite(8, alpha);
  a.beta = call.finite(9, beta);
  a.bias = call.finite(10, bias);
  a.y = views.output(11, y, y_strides, &at.y);
  a.scale = views.optional_output(13, scale, scale_strides, &at.scale);
  a.workspace = call.workspace(
      15, workspace,
      normkernels_local_response_norm_view_workspace_bytes(dtype, order, rank, shape, size));
  const Executor threads = call.executor(16, executor, kLrnCost * 2 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return NORMKERNELS_OK;
  at.grid = views.pixels(order);
  a.at = &at;
  kernels->local_response_norm->forward(a, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_local_response_norm_backward_view(
    normkernels_dtype dtype, normkernels_order order, int32_t rank, const int64_t* shape,
    const void* dy, const int64_t* dy_strides, const void* x, const int64_t* x_strides,
    const void* y, const int64_t* y_strides, const void* scale, const int64_t* scale_strides,
    int64_t size, double alpha, double beta, double bias, void* dx, const int64_t* dx_strides,
    void* workspace, const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  Views views(call, 3, rank, shape);
  const int64_t all = views.elements();
  Placement at = {};
  LocalResponseNorm a = {};
  a.shape = views.extents(3, order);
  a.dy = views.input(5, dy, dy_strides, &at.dy);
  a.x = views.input(7, x, x_strides, &at.x);
  a.y_in = views.optional_input(9, y, y_strides, &at.y_in);
  a.scale_in = views.optional_input(11, scale, scale_strides, &at.scale_in);
  a.size = call.at_least_one(13, size);
  a.alpha = call.finite(14, alpha);
  a.beta = call.finite(15, beta);
  a.bias = call.finite(16, bias);
  a.dx = views.output(17, dx, dx_strides, &at.dx);
  a.workspace = call.workspace(
      19, workspace,
      normkernels_local_response_norm_view_workspace_bytes(dtype, order, rank, shape, size));
  const Executor threads = call.executor(20, executor, kLrnCost * 3 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return NORMKERNELS_OK;
  at.grid = views.pixels(order);
  a.at = &at;
  kernels->local_response_norm->backward(a, threads);
  return NORMKERNELS_OK;
}

}  // extern "C"
