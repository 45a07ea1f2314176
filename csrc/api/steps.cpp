// The C functions for the steps of the originals: check every argument, then call the kernel.
#include "api/call.h"

using normkernels::Call;
using normkernels::Executor;
using normkernels::Kernels;

extern "C" {

normkernels_status normkernels_compute_sigma_and_fused_params(
    normkernels_dtype dtype, int64_t rows, double epsilon, const void* mean, const void* var,
    void* sigma, void* scale, void* bias, const normkernels_executor* executor) {
  Call call(dtype);
  call.elements(2, rows);
  call.epsilon(3, epsilon);
  call.input(4, mean, rows);
  call.input(5, var, rows);
  call.output(6, sigma, rows, 5);
  call.output(7, scale, rows);
  call.output(8, bias, rows);
  const Executor threads = call.executor(9, executor, rows);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  kernels->steps->sigma_and_fused_params({rows, epsilon, mean, var, sigma, scale, bias}, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_layer_norm_apply(normkernels_dtype dtype, int64_t rows, int64_t cols,
                                                const void* x, const void* scale, const void* bias,
                                                const void* gamma, const void* beta, void* y,
                                                const normkernels_executor* executor) {
  Call call(dtype);
  const int64_t n = call.elements(2, rows, cols);
  call.input(4, x, n);
  call.input(5, scale, rows);
  call.input(6, bias, rows);
  call.optional_input(7, gamma, cols);
  call.optional_input(8, beta, cols);
  call.output(9, y, n, 4);
  const Executor threads = call.executor(10, executor, 2 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return NORMKERNELS_OK;
  kernels->steps->apply_forward({{rows, cols}, x, scale, bias, gamma, beta, y}, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_layer_norm_internal_gradients(normkernels_dtype dtype, int64_t rows,
                                                             int64_t cols, const void* dy,
                                                             const void* x, const void* gamma,
                                                             void* dyx, void* ds, void* db,
                                                             const normkernels_executor* executor) {
  Call call(dtype);
  const int64_t n = call.elements(2, rows, cols);
  call.input(4, dy, n);
  call.input(5, x, n);
  call.optional_input(6, gamma, cols);
  call.optional_output(7, dyx, n);
  call.output(8, ds, rows);
  call.output(9, db, rows);
  const Executor threads = call.executor(10, executor, 3 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return call.fill({{ds, rows, 0}, {db, rows, 0}});
  kernels->steps->internal_gradients({{rows, cols}, dy, x, gamma, dyx, ds, db}, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_layer_norm_fused_params(normkernels_dtype dtype, int64_t rows,
                                                       int64_t cols, const void* mean,
                                                       const void* sigma, const void* ds,
                                                       const void* db, void* rstd, void* x_scale,
                                                       void* bias, void* g_scale,
                                                       const normkernels_executor* executor) {
  Call call(dtype);
  call.elements(2, rows, cols);
  call.input(4, mean, rows);
  call.input(5, sigma, rows);
  call.input(6, ds, rows);
  call.input(7, db, rows);
  call.output(8, rstd, rows);
  call.output(9, x_scale, rows);
  call.output(10, bias, rows);
  call.optional_output(11, g_scale, rows);
  const Executor threads = call.executor(12, executor, rows);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  kernels->steps->layer_norm_fused_params(
      {{rows, cols}, mean, sigma, ds, db, rstd, x_scale, bias, g_scale}, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_layer_norm_backward_apply(normkernels_dtype dtype, int64_t rows,
                                                         int64_t cols, const void* dy,
                                                         const void* x, const void* gamma,
                                                         const void* dy_scale, const void* x_scale,
                                                         const void* bias, void* dx,
                                                         const normkernels_executor* executor) {
  Call call(dtype);
  const int64_t n = call.elements(2, rows, cols);
  call.input(4, dy, n);
  call.input(5, x, n);
  call.optional_input(6, gamma, cols);
  call.input(7, dy_scale, rows);
  call.input(8, x_scale, rows);
  call.input(9, bias, rows);
  call.output(10, dx, n, 4, 5);
  const Executor threads = call.executor(11, executor, 3 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return NORMKERNELS_OK;
  kernels->steps->apply_backward({{rows, cols}, dy, x, gamma, dy_scale, x_scale, bias, dx},
                                 threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_layer_norm_gamma_beta_backward(
    normkernels_dtype dtype, int64_t rows, int64_t cols, const void* dyx, const void* dy,
    const void* rstd, const void* g_scale, void* dgamma, void* dbeta,
    const normkernels_executor* executor) {
  Call call(dtype);
  const int64_t n = call.elements(2, rows, cols);
  call.input(4, dyx, n);
  call.input(5, dy, n);
  call.input(6, rstd, rows);
  call.input(7, g_scale, rows);
  call.output(8, dgamma, cols);
  call.output(9, dbeta, cols);
  const Executor threads = call.executor(10, executor, 2 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return call.fill({{dgamma, cols, 0}, {dbeta, cols, 0}});
  kernels->steps->gamma_beta({{rows, cols}, dyx, dy, rstd, g_scale, dgamma, dbeta}, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_instance_norm_moments(normkernels_dtype dtype,
                                                     normkernels_order order, int64_t n, int64_t c,
                                                     int64_t spatial, const void* x, double epsilon,
                                                     void* mean, void* rstd, void* workspace,
                                                     const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  const int64_t planes = call.elements_of(n, c);
  call.input(6, x, all);
  call.epsilon(7, epsilon);
  call.output(8, mean, planes);
  call.output(9, rstd, planes);
  if (call.ok()) {
    call.workspace(10, workspace,
                   normkernels_instance_norm_forward_workspace_bytes(dtype, order, n, c, spatial));
  }
  const Executor threads = call.executor(11, executor, all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return call.fill({{mean, planes, 0}, {rstd, planes, 1 / __builtin_sqrt(epsilon)}});
  instance_norm_kernels(kernels, order, spatial)
      ->forward(
          {{n, c, spatial}, x, nullptr, nullptr, epsilon, nullptr, mean, rstd, workspace, false},
          threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_instance_norm_fused_params(normkernels_dtype dtype, int64_t n,
                                                          int64_t c, const void* mean,
                                                          const void* rstd, const void* gamma,
                                                          const void* beta, void* scale, void* bias,
                                                          const normkernels_executor* executor) {
  Call call(dtype);
  const int64_t planes = call.elements(2, n, c);
  call.input(4, mean, planes);
  call.input(5, rstd, planes);
  call.input(6, gamma, c);
  call.input(7, beta, c);
  call.output(8, scale, planes);
  call.output(9, bias, planes);
  const Executor threads = call.executor(10, executor, planes);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  kernels->steps->instance_norm_fused_params({n, c, mean, rstd, gamma, beta, scale, bias}, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_instance_norm_apply(normkernels_dtype dtype, normkernels_order order,
                                                   int64_t n, int64_t c, int64_t spatial,
                                                   const void* x, const void* scale,
                                                   const void* bias, void* y,
                                                   const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  const int64_t planes = call.elements_of(n, c);
  call.input(6, x, all);
  call.input(7, scale, planes);
  call.input(8, bias, planes);
  call.output(9, y, all, 6);
  const Executor threads = call.executor(10, executor, 2 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return NORMKERNELS_OK;
  if (order == NORMKERNELS_NCHW) {
    kernels->steps->apply_forward({{n * c, spatial}, x, scale, bias, nullptr, nullptr, y}, threads);
    return NORMKERNELS_OK;
  }
  // In NHWC the pixels of an image are rows, and its channels' factors what gamma and beta are in
  // layer norm.
  const int64_t bytes = dtype == NORMKERNELS_F64 ? 8 : 4;
  const auto at = [&](const void* p, int64_t i) { return static_cast<const char*>(p) + i * bytes; };
  for (int64_t i = 0; i < n; ++i) {
    kernels->steps->apply_forward({{spatial, c},
                                   at(x, i * spatial * c),
                                   nullptr,
                                   nullptr,
                                   at(scale, i * c),
                                   at(bias, i * c),
                                   static_cast<char*>(y) + i * spatial * c * bytes},
                                  threads);
  }
  return NORMKERNELS_OK;
}

normkernels_status normkernels_instance_norm_internal_gradients(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* dy, const void* x, void* ds, void* db, const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  const int64_t planes = call.elements_of(n, c);
  call.input(6, dy, all);
  call.input(7, x, all);
  call.output(8, ds, planes);
  call.output(9, db, planes);
  const Executor threads = call.executor(10, executor, 2 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return call.fill({{ds, planes, 0}, {db, planes, 0}});
  if (order == NORMKERNELS_NCHW) {
    kernels->steps->internal_gradients({{n * c, spatial}, dy, x, nullptr, nullptr, ds, db},
                                       threads);
  } else {
    kernels->steps->internal_gradients_channels_last({{n, c, spatial}, dy, x, ds, db}, threads);
  }
  return NORMKERNELS_OK;
}

normkernels_status normkernels_instance_norm_backward_apply(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* dy, const void* x, const void* mean, const void* rstd, const void* gamma,
    const void* ds, const void* db, void* dx, const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  const int64_t planes = call.elements_of(n, c);
  call.input(6, dy, all);
  call.input(7, x, all);
  call.input(8, mean, planes);
  call.input(9, rstd, planes);
  call.input(10, gamma, c);
  call.input(11, ds, planes);
  call.input(12, db, planes);
  call.output(13, dx, all, 6, 7);
  const Executor threads = call.executor(14, executor, 3 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return NORMKERNELS_OK;
  kernels->steps->instance_norm_apply_backward(
      {{n, c, spatial}, order == NORMKERNELS_NHWC, dy, x, mean, rstd, gamma, ds, db, dx}, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_instance_norm_gamma_beta_backward(
    normkernels_dtype dtype, int64_t n, int64_t c, const void* ds, const void* db, const void* mean,
    const void* rstd, void* dgamma, void* dbeta, const normkernels_executor* executor) {
  Call call(dtype);
  const int64_t planes = call.elements(2, n, c);
  call.input(4, ds, planes);
  call.input(5, db, planes);
  call.input(6, mean, planes);
  call.input(7, rstd, planes);
  call.output(8, dgamma, c);
  call.output(9, dbeta, c);
  const Executor threads = call.executor(10, executor, 2 * planes);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  kernels->steps->instance_norm_gamma_beta({n, c, ds, db, mean, rstd, dgamma, dbeta}, threads);
  return NORMKERNELS_OK;
}

}  // extern "C"
