// The C functions of layer norm: check every argument, then call the kernel.
#include "api/call.h"

using normkernels::Call;
using normkernels::Executor;
using normkernels::Kernels;
using normkernels::workspace_bytes;

extern "C" {

normkernels_status normkernels_layer_norm_forward(normkernels_dtype dtype, int64_t rows,
                                                  int64_t cols, const void* x, const void* gamma,
                                                  const void* beta, double epsilon, void* y,
                                                  void* mean, void* sigma,
                                                  const normkernels_executor* executor) {
  Call call(dtype);
  const int64_t n = call.elements(2, rows, cols);
  call.input(4, x, n);
  call.optional_input(5, gamma, cols);
  call.optional_input(6, beta, cols);
  call.epsilon(7, epsilon);
  call.output(8, y, n, 4);
  call.optional_output(9, mean, rows);
  call.optional_output(10, sigma, rows);
  const Executor threads = call.executor(11, executor, 2 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return call.fill({{mean, rows, 0}, {sigma, rows, __builtin_sqrt(epsilon)}});
  kernels->layer_norm->forward(
      {{rows, cols}, x, gamma, beta, epsilon, y, mean, sigma, call.stream(y, n, x)}, threads);
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
  call.input(4, dy, n);
  call.input(5, x, n);
  call.input(6, mean, rows);
  call.input(7, sigma, rows);
  call.optional_input(8, gamma, cols);
  call.output(9, dx, n, 4, 5);
  call.optional_output(10, dgamma, cols);
  call.optional_output(11, dbeta, cols);
  const bool parameters = dgamma != nullptr || dbeta != nullptr;
  if (parameters && call.ok()) {
    call.workspace(12, workspace,
                   normkernels_layer_norm_backward_workspace_bytes(dtype, rows, cols));
  }
  const Executor threads = call.executor(13, executor, 3 * n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return call.fill({{dgamma, cols, 0}, {dbeta, cols, 0}});
  kernels->layer_norm->backward({{rows, cols},
                                 dy,
                                 x,
                                 mean,
                                 sigma,
                                 gamma,
                                 dx,
                                 dgamma,
                                 dbeta,
                                 workspace,
                                 call.stream(dx, n, x, dy)},
                                threads);
  return NORMKERNELS_OK;
}

}  // extern "C"
