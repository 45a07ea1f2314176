// The C functions that add before they normalise: check every argument, then call the kernel of
// layer norm.
#include "api/views.h"

using normkernels::Call;
using normkernels::DenseGrid;
using normkernels::Executor;
using normkernels::kBeta;
using normkernels::kBias;
using normkernels::Kernels;
using normkernels::kGamma;
using normkernels::kStatistic;
using normkernels::LayerNormForward;
using normkernels::Matrix;
using normkernels::Placement;
using normkernels::Views;
using normkernels::workspace_bytes;

extern "C" {

normkernels_status normkernels_add_layer_norm_forward(
    normkernels_dtype dtype, int64_t rows, int64_t cols, const void* x, const void* residual,
    const void* bias, const void* gamma, const void* beta, double epsilon, void* total, void* y,
    void* mean, void* sigma, const normkernels_executor* executor) {
  Call call(dtype);
  const int64_t n = call.elements(2, rows, cols);
  LayerNormForward a = {};
  a.shape = {rows, cols};
  a.wide = call.wide();
  a.x = call.input(4, x, n);
  a.residual = call.input(5, residual, n);
  a.bias = call.optional_input(6, bias, cols, kBias);
  a.gamma = call.optional_input(7, gamma, cols, kGamma);
  a.beta = call.optional_input(8, beta, cols, kBeta);
  a.epsilon = call.epsilon(9, epsilon);
  a.total = call.output(10, total, n, 4, 5);
  a.y = call.output(11, y, n, 4, 5);
  a.mean = call.optional_output(12, mean, rows, kStatistic);
  a.sigma = call.optional_output(13, sigma, rows, kStatistic);
  a.stream = call.stream(y, n, x, residual);
  const Executor threads = call.executor(14, executor, 4 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return call.fill({{mean, rows, 0}, {sigma, rows, __builtin_sqrt(epsilon)}});
  DenseGrid grid;
  a.at = grid.of_matrix(call, a.shape);
  kernels->layer_norm->forward(a, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_add_rms_norm_forward(
    normkernels_dtype dtype, int64_t rows, int64_t cols, const void* x, const void* residual,
    const void* bias, const void* gamma, const void* beta, double epsilon, void* total, void* y,
    void* rstd, const normkernels_executor* executor) {
  Call call(dtype);
  const int64_t n = call.elements(2, rows, cols);
  LayerNormForward a = {};
  a.shape = {rows, cols};
  a.wide = call.wide();
  a.centred = false;
  a.x = call.input(4, x, n);
  a.residual = call.input(5, residual, n);
  a.bias = call.optional_input(6, bias, cols, kBias);
  a.gamma = call.optional_input(7, gamma, cols, kGamma);
  a.beta = call.optional_input(8, beta, cols, kBeta);
  a.epsilon = call.epsilon(9, epsilon);
  a.total = call.output(10, total, n, 4, 5);
  a.y = call.output(11, y, n, 4, 5);
  a.rstd = call.optional_output(12, rstd, rows, kStatistic);
  a.stream = call.stream(y, n, x, residual);
  const Executor threads = call.executor(13, executor, 4 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return call.fill({{rstd, rows, 1 / __builtin_sqrt(epsilon)}});
  DenseGrid grid;
  a.at = grid.of_matrix(call, a.shape);
  kernels->layer_norm->forward(a, threads);
  return NORMKERNELS_OK;
}

/* ---- Views -------------------------------------------------------------------------- */

normkernels_status normkernels_add_layer_norm_forward_view(
    normkernels_dtype dtype, int32_t rank, const int64_t* shape, uint64_t axes, const void* x,
    const int64_t* x_strides, const void* residual, const int64_t* residual_strides,
    const void* bias, const void* gamma, const void* beta, double epsilon, void* total,
    const int64_t* total_strides, void* y, const int64_t* y_strides, void* mean, void* sigma,
    void* workspace, const normkernels_executor* executor) {
  Call call(dtype);
  Views views(call, 2, rank, shape);
  views.axes(4, axes);
  const int64_t n = views.elements(), rows = views.elements_of(~axes);
  const int64_t cols = views.elements_of(axes);
  Placement at = {};
  LayerNormForward a = {};
  a.shape = {rows, cols};
  a.wide = call.wide();
  a.x = views.input(5, x, x_strides, &at.x);
  a.residual = views.input(7, residual, residual_strides, &at.residual);
  a.bias = call.optional_input(9, bias, cols, kBias);
  a.gamma = call.optional_input(10, gamma, cols, kGamma);
  a.beta = call.optional_input(11, beta, cols, kBeta);
  a.epsilon = call.epsilon(12, epsilon);
  a.total = views.output(13, total, total_strides, &at.total, 5, 7);
  a.y = views.output(15, y, y_strides, &at.y, 5, 7);
  a.mean = call.optional_output(17, mean, rows, kStatistic);
  a.sigma = call.optional_output(18, sigma, rows, kStatistic);
  a.workspace = call.workspace(
      19, workspace,
      normkernels_add_layer_norm_forward_view_workspace_bytes(dtype, rank, shape, axes));
  a.stream = call.stream(y, n, x, residual);
  const Executor threads = call.executor(20, executor, 4 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return call.fill({{mean, rows, 0}, {sigma, rows, __builtin_sqrt(epsilon)}});
  at.grid = views.matrix(axes);
  a.at = &at;
  kernels->layer_norm->forward(a, threads);
  return NORMKERNELS_OK;
}

size_t normkernels_add_layer_norm_forward_view_workspace_bytes(normkernels_dtype dtype,
                                                               int32_t rank, const int64_t* shape,
                                                               uint64_t axes) {
  Call call(dtype);
  Views views(call, 2, rank, shape);
  views.axes(4, axes);
  const Matrix matrix = {views.elements_of(~axes), views.elements_of(axes)};
  return workspace_bytes(call, views.elements(), [&](auto* k) {
    return k->layer_norm->forward_grid_workspace(matrix, true);
  });
}

normkernels_status normkernels_add_rms_norm_forward_view(
    normkernels_dtype dtype, int32_t rank, const int64_t* shape, uint64_t axes, const void* x,
    const int64_t* x_strides, const void* residual, const int64_t* residual_strides,
    const void* bias, const void* gamma, const void* beta, double epsilon, void* total,
    const int64_t* total_strides, void* y, const int64_t* y_strides, void* rstd, void* workspace,
    const normkernels_executor* executor) {
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
  a.residual = views.input(7, residual, residual_strides, &at.residual);
  a.bias = call.optional_input(9, bias, cols, kBias);
  a.gamma = call.optional_input(10, gamma, cols, kGamma);
  a.beta = call.optional_input(11, beta, cols, kBeta);
  a.epsilon = call.epsilon(12, epsilon);
  a.total = views.output(13, total, total_strides, &at.total, 5, 7);
  a.y = views.output(15, y, y_strides, &at.y, 5, 7);
  a.rstd = call.optional_output(17, rstd, rows, kStatistic);
  a.workspace = call.workspace(
      18, workspace,
      normkernels_add_rms_norm_forward_view_workspace_bytes(dtype, rank, shape, axes));
  a.stream = call.stream(y, n, x, residual);
  const Executor threads = call.executor(19, executor, 4 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return call.fill({{rstd, rows, 1 / __builtin_sqrt(epsilon)}});
  at.grid = views.matrix(axes);
  a.at = &at;
  kernels->layer_norm->forward(a, threads);
  return NORMKERNELS_OK;
}

size_t normkernels_add_rms_norm_forward_view_workspace_bytes(normkernels_dtype dtype, int32_t rank,
                                                             const int64_t* shape, uint64_t axes) {
  return normkernels_add_layer_norm_forward_view_workspace_bytes(dtype, rank, shape, axes);
}

}  // extern "C"
