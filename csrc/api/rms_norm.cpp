// The C functions of RMS norm: check every argument, then call the kernel of layer norm, which does
// not centre the rows then.
#include "api/views.h"

using normkernels::Call;
using normkernels::DenseGrid;
using normkernels::Executor;
using normkernels::kBeta;
using normkernels::Kernels;
using normkernels::kGamma;
using normkernels::kStatistic;
using normkernels::LayerNormBackward;
using normkernels::LayerNormForward;
using normkernels::Placement;
using normkernels::Views;

extern "C" {

normkernels_status normkernels_rms_norm_forward(normkernels_dtype dtype, int64_t rows, int64_t cols,
                                                const void* x, const void* gamma, const void* beta,
                                                double epsilon, void* y, void* rstd,
                                                const normkernels_executor* executor) {
  Call call(dtype);
  const int64_t n = call.elements(2, rows, cols);
  LayerNormForward a = {};
  a.shape = {rows, cols};
  a.wide = call.wide();
  a.centred = false;
  a.x = call.input(4, x, n);
  a.gamma = call.optional_input(5, gamma, cols, kGamma);
  a.beta = call.optional_input(6, beta, cols, kBeta);
  a.epsilon = call.epsilon(7, epsilon);
  a.y = call.output(8, y, n, 4);
  a.rstd = call.optional_output(9, rstd, rows, kStatistic);
  a.stream = call.stream(y, n, x);
  const Executor threads = call.executor(10, executor, 2 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return call.fill({{rstd, rows, 1 / __builtin_sqrt(epsilon)}});
  DenseGrid grid;
  a.at = grid.of_matrix(call, a.shape);
  kernels->layer_norm->forward(a, threads);
  return NORMKERNELS_OK;
}

size_t normkernels_rms_norm_backward_workspace_bytes(normkernels_dtype dtype, int64_t rows,
                                                     int64_t cols) {
  return normkernels_layer_norm_backward_workspace_bytes(dtype, rows, cols);
}

normkernels_status normkernels_rms_norm_backward(normkernels_dtype dtype, int64_t rows,
                                                 int64_t cols, const void* dy, const void* x,
                                                 const void* rstd, const void* gamma,
                                                 double epsilon, void* dx, void* dgamma,
                                                 void* dbeta, void* workspace,
                                                 const normkernels_executor* executor) {
  Call call(dtype);
  const int64_t n = call.elements(2, rows, cols);
  LayerNormBackward a = {};
  a.shape = {rows, cols};
  a.wide = call.wide();
  a.centred = false;
  a.dy = call.input(4, dy, n);
  a.x = call.input(5, x, n);
  a.rstd = call.optional_input(6, rstd, rows, kStatistic);
  a.gamma = call.optional_input(7, gamma, cols, kGamma);
  if (rstd == nullptr) a.epsilon = call.epsilon(8, epsilon);
  a.dx = call.output(9, dx, n, 4, 5);
  a.dgamma = call.optional_output(10, dgamma, cols, kGamma);
  a.dbeta = call.optional_output(11, dbeta, cols, kBeta);
  if (call.is_half() || dgamma != nullptr || dbeta != nullptr) {
    a.workspace = call.workspace(12, workspace,
                                 normkernels_rms_norm_backward_workspace_bytes(dtype, rows, cols));
  }
  a.stream = call.stream(dx, n, x, dy);
  const Executor threads = call.executor(13, executor, 3 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return call.fill({{dgamma, cols, 0, kGamma}, {dbeta, cols, 0, kBeta}});
  DenseGrid grid;
  a.at = grid.of_matrix(call, a.shape);
  kernels->layer_norm->backward(a, threads);
  return NORMKERNELS_OK;
}

/* ---- Views -------------------------------------------------------------------------- */

normkernels_status normkernels_rms_norm_forward_view(
    normkernels_dtype dtype, int32_t rank, const int64_t* shape, uint64_t axes, const void* x,
    const int64_t* x_strides, const void* gamma, const void* beta, double epsilon, void* y,
    const int64_t* y_strides, void* rstd, void* workspace, const normkernels_executor* executor) {
  Call call(dtype);
  Views views(call, 2, rank, shape);
  views.axes(4, axes);
  const int64_t n = views.elements(), rows = views.elements_of(~axes);
  const int64_t cols = views.elements_of(axes);
  Placement at = {};
  LayerNormForward a = {};
  a.shape = {rows, cols};
  a.wide = call.wide();
  a.centred = false;
  a.x = views.input(5, x, x_strides, &at.x);
  a.gamma = call.optional_input(7, gamma, cols, kGamma);
  a.beta = call.optional_input(8, beta, cols, kBeta);
  a.epsilon = call.epsilon(9, epsilon);
  a.y = views.output(10, y, y_strides, &at.y, 5);
  a.rstd = call.optional_output(12, rstd, rows, kStatistic);
  a.workspace = call.workspace(
      13, workspace, normkernels_rms_norm_forward_view_workspace_bytes(dtype, rank, shape, axes));
  a.stream = call.stream(y, n, x);
  const Executor threads = call.executor(14, executor, 2 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return call.fill({{rstd, rows, 1 / __builtin_sqrt(epsilon)}});
  at.grid = views.matrix(axes);
  a.at = &at;
  kernels->layer_norm->forward(a, threads);
  return NORMKERNELS_OK;
}

size_t normkernels_rms_norm_forward_view_workspace_bytes(normkernels_dtype dtype, int32_t rank,
                                                         const int64_t* shape, uint64_t axes) {
  return normkernels_layer_norm_forward_view_workspace_bytes(dtype, rank, shape, axes);
}

normkernels_status normkernels_rms_norm_backward_view(
    normkernels_dtype dtype, int32_t rank, const int64_t* shape, uint64_t axes, const void* dy,
    const int64_t* dy_strides, const void* x, const int64_t* x_strides, const void* rstd,
    const void* gamma, double epsilon, void* dx, const int64_t* dx_strides, void* dgamma,
    void* dbeta, void* workspace, const normkernels_executor* executor) {
  Call call(dtype);
  Views views(call, 2, rank, shape);
  views.axes(4, axes);
  const int64_t n = views.elements(), rows = views.elements_of(~axes);
  const int64_t cols = views.elements_of(axes);
  Placement at = {};
  LayerNormBackward a = {};
  a.shape = {rows, cols};
  a.wide = call.wide();
  a.centred = false;
  a.dy = views.input(5, dy, dy_strides, &at.dy);
  a.x = views.input(7, x, x_strides, &at.x);
  a.rstd = call.optional_input(9, rstd, rows, kStatistic);
  a.gamma = call.optional_input(10, gamma, cols, kGamma);
  if (rstd == nullptr) a.epsilon = call.epsilon(11, epsilon);
  a.dx = views.output(12, dx, dx_strides, &at.dx, 5, 7);
  a.dgamma = call.optional_output(14, dgamma, cols, kGamma);
  a.dbeta = call.optional_output(15, dbeta, cols, kBeta);
  a.workspace = call.workspace(
      16, workspace, normkernels_rms_norm_backward_view_workspace_bytes(dtype, rank, shape, axes));
  a.stream = call.stream(dx, n, x, dy);
  const Executor threads = call.executor(17, executor, 3 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return call.fill({{dgamma, cols, 0, kGamma}, {dbeta, cols, 0, kBeta}});
  at.grid = views.matrix(axes);
  a.at = &at;
  kernels->layer_norm->backward(a, threads);
  return NORMKERNELS_OK;
}

size_t normkernels_rms_norm_backward_view_workspace_bytes(normkernels_dtype dtype, int32_t rank,
                                                          const int64_t* shape, uint64_t axes) {
  return normkernels_layer_norm_backward_view_workspace_bytes(dtype, rank, shape, axes);
}

}  // extern "C"
