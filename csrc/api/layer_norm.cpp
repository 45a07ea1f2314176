// The C functions of layer norm: check every argument, then call the kernel.
#include "api/call.h"

using normkernels::Call;
using normkernels::Executor;
using normkernels::Kernels;
using normkernels::LayerNormBackward;
using normkernels::LayerNormForward;
using normkernels::workspace_bytes;

extern "C" {

normkernels_status normkernels_layer_norm_forward(normkernels_dtype dtype, int64_t rows,
                                                  int64_t cols, const void* x, const void* gamma,
                                                  const void* beta, double epsilon, void* y,
                                                  void* mean, void* sigma,
                                                  const normkernels_executor* executor) {
  Call call(dtype);
  const int64_t n = call.elements(2, rows, cols);
  LayerNormForward a = {};
  a.shape = {rows, cols};
  a.x = call.input(4, x, n);
  a.gamma = call.optional_input(5, gamma, cols);
  a.beta = call.optional_input(6, beta, cols);
  a.epsilon = call.epsilon(7, epsilon);
  a.y = call.output(8, y, n, 4);
  a.mean = call.optional_output(9, mean, rows);
  a.sigma = call.optional_output(10, sigma, rows);
  a.stream = call.stream(y, n, x);
  const Executor threads = call.executor(11, executor, 2 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return call.fill({{mean, rows, 0}, {sigma, rows, __builtin_sqrt(epsilon)}});
  kernels->layer_norm->forward(a, threads);
  return NORMKERNELS_OK;
}

size_t normkernels_layer_norm_backward_workspace_bytes(normkernels_dtype dtype, int64_t rows,
                                                       int64_t cols) {
  Call call(dtype);
  const int64_t n = call.elements(2, rows, cols);
  return workspace_bytes(call, n, [&](auto* k) {
    return k->layer_norm->backward_workspace({rows, cols});
  });
}

normkernels_status normkernels_layer_norm_backward(normkernels_dtype dtype, int64_t rows,
                                                   int64_t cols, const void* dy, const void* x,
                                                   const void* mean, const void* sigma,
                                                   const void* gamma, void* dx, void* dgamma,
                                                   void* dbeta, void* workspace,
                                                   const normkernels_executor* executor) {
  Call call(dtype);
  const int64_t n = call.elements(2, rows, cols);
  LayerNormBackward a = {};
  a.shape = {rows, cols};
  a.dy = call.input(4, dy, n);
  a.x = call.input(5, x, n);
  a.mean = call.input(6, mean, rows);
  a.sigma = call.input(7, sigma, rows);
  a.gamma = call.optional_input(8, gamma, cols);
  a.dx = call.output(9, dx, n, 4, 5);
  a.dgamma = call.optional_output(10, dgamma, cols);
  a.dbeta = call.optional_output(11, dbeta, cols);
  const bool parameters = dgamma != nullptr || dbeta != nullptr;
  if (parameters) {
    a.workspace = call.workspace(
        12, workspace, normkernels_layer_norm_backward_workspace_bytes(dtype, rows, cols));
  }
  a.stream = call.stream(dx, n, x, dy);
  const Executor threads = call.executor(13, executor, 3 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return call.fill({{dgamma, cols, 0}, {dbeta, cols, 0}});
  kernels->layer_norm->backward(a, threads);
  return NORMKERNELS_OK;
}

}  // extern "C"
