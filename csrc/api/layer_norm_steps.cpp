// The C functions for the steps of Caffe2's layer norm: check every argument, then call the kernel.
#include "api/call.h"

using normkernels::ApplyBackward;
using normkernels::ApplyForward;
using normkernels::Call;
using normkernels::Executor;
using normkernels::GammaBeta;
using normkernels::Halves;
using normkernels::InternalGradients;
using normkernels::Kernels;
using normkernels::LayerNormFusedParams;
using normkernels::SigmaAndFusedParams;

extern "C" {

normkernels_status normkernels_compute_sigma_and_fused_params(
    normkernels_dtype dtype, int64_t rows, double epsilon, const void* mean, const void* var,
    void* sigma, void* scale, void* bias, const normkernels_executor* executor) {
  Call call(dtype, Halves::kRefused);
  SigmaAndFusedParams a = {};
  a.rows = call.elements(2, rows);
  a.epsilon = call.epsilon(3, epsilon);
  a.mean = call.input(4, mean, rows);
  a.var = call.input(5, var, rows);
  a.sigma = call.output(6, sigma, rows, 5);
  a.scale = call.output(7, scale, rows);
  a.bias = call.output(8, bias, rows);
  const Executor threads = call.executor(9, executor, rows);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  kernels->steps->sigma_and_fused_params(a, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_layer_norm_apply(normkernels_dtype dtype, int64_t rows, int64_t cols,
                                                const void* x, const void* scale, const void* bias,
                                                const void* gamma, const void* beta, void* y,
                                                const normkernels_executor* executor) {
  Call call(dtype, Halves::kRefused);
  const int64_t n = call.elements(2, rows, cols);
  ApplyForward a = {};
  a.shape = {rows, cols};
  a.x = call.input(4, x, n);
  a.scale = call.input(5, scale, rows);
  a.bias = call.input(6, bias, rows);
  a.gamma = call.optional_input(7, gamma, cols);
  a.beta = call.optional_input(8, beta, cols);
  a.y = call.output(9, y, n, 4);
  const Executor threads = call.executor(10, executor, 2 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return NORMKERNELS_OK;
  kernels->steps->apply_forward(a, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_layer_norm_internal_gradients(normkernels_dtype dtype, int64_t rows,
                                                             int64_t cols, const void* dy,
                                                             const void* x, const void* gamma,
                                                             void* dyx, void* ds, void* db,
                                                             const normkernels_executor* executor) {
  Call call(dtype, Halves::kRefused);
  const int64_t n = call.elements(2, rows, cols);
  InternalGradients a = {};
  a.shape = {rows, cols};
  a.dy = call.input(4, dy, n);
  a.x = call.input(5, x, n);
  a.gamma = call.optional_input(6, gamma, cols);
  a.dyx = call.optional_output(7, dyx, n);
  a.ds = call.output(8, ds, rows);
  a.db = call.output(9, db, rows);
  const Executor threads = call.executor(10, executor, 3 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return call.fill({{ds, rows, 0}, {db, rows, 0}});
  kernels->steps->internal_gradients(a, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_layer_norm_fused_params(normkernels_dtype dtype, int64_t rows,
                                                       int64_t cols, const void* mean,
                                                       const void* sigma, const void* ds,
                                                       const void* db, void* rstd, void* x_scale,
                                                       void* bias, void* g_scale,
                                                       const normkernels_executor* executor) {
  Call call(dtype, Halves::kRefused);
  call.elements(2, rows, cols);
  LayerNormFusedParams a = {};
  a.shape = {rows, cols};
  a.mean = call.input(4, mean, rows);
  a.sigma = call.input(5, sigma, rows);
  a.ds = call.input(6, ds, rows);
  a.db = call.input(7, db, rows);
  a.rstd = call.output(8, rstd, rows);
  a.x_scale = call.output(9, x_scale, rows);
  a.bias = call.output(10, bias, rows);
  a.g_scale = call.optional_output(11, g_scale, rows);
  const Executor threads = call.executor(12, executor, rows);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  kernels->steps->layer_norm_fused_params(a, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_layer_norm_backward_apply(normkernels_dtype dtype, int64_t rows,
                                                         int64_t cols, const void* dy,
                                                         const void* x, const void* gamma,
                                                         const void* dy_scale, const void* x_scale,
                                                         const void* bias, void* dx,
                                                         const normkernels_executor* executor) {
  Call call(dtype, Halves::kRefused);
  const int64_t n = call.elements(2, rows, cols);
  ApplyBackward a = {};
  a.shape = {rows, cols};
  a.dy = call.input(4, dy, n);
  a.x = call.input(5, x, n);
  a.gamma = call.optional_input(6, gamma, cols);
  a.dy_scale = call.input(7, dy_scale, rows);
  a.x_scale = call.input(8, x_scale, rows);
  a.bias = call.input(9, bias, rows);
  a.dx = call.output(10, dx, n, 4, 5);
  const Executor threads = call.executor(11, executor, 3 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return NORMKERNELS_OK;
  kernels->steps->apply_backward(a, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_layer_norm_gamma_beta_backward(
    normkernels_dtype dtype, int64_t rows, int64_t cols, const void* dyx, const void* dy,
    const void* rstd, const void* g_scale, void* dgamma, void* dbeta,
    const normkernels_executor* executor) {
  Call call(dtype, Halves::kRefused);
  const int64_t n = call.elements(2, rows, cols);
  GammaBeta a = {};
  a.shape = {rows, cols};
  a.dyx = call.input(4, dyx, n);
  a.dy = call.input(5, dy, n);
  a.rstd = call.input(6, rstd, rows);
  a.g_scale = call.input(7, g_scale, rows);
  a.dgamma = call.output(8, dgamma, cols);
  a.dbeta = call.output(9, dbeta, cols);
  const Executor threads = call.executor(10, executor, 2 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return call.fill({{dgamma, cols, 0}, {dbeta, cols, 0}});
  kernels->steps->gamma_beta(a, threads);
  return NORMKERNELS_OK;
}

}  // extern "C"
