// The operators' C functions: check every argument, then call the kernel.
#include "call.h"

using normkernels::Call;
using normkernels::Executor;
using normkernels::Kernels;

namespace {

// Local response norm takes so many times as long as the others move the same bytes: its roots.
constexpr int64_t kLrnCost = 4;

// Workspace queries answer 0 for what the function itself will refuse, and without elements.
template <class Query>
size_t workspace_bytes(Call& call, int64_t elements, Query&& query) {
  const Kernels* kernels = call.kernels();
  return kernels == nullptr || elements == 0 ? 0 : query(kernels);
}

}  // namespace

extern "C" {

// ---- Library ------------------------------------------------------------------------

const char* normkernels_version(void) {
#define NORMKERNELS_TEXT(x) #x
#define NORMKERNELS_DOTTED(a, b, c) \
  NORMKERNELS_TEXT(a) "." NORMKERNELS_TEXT(b) "." NORMKERNELS_TEXT(c)
  return NORMKERNELS_DOTTED(NORMKERNELS_VERSION_MAJOR, NORMKERNELS_VERSION_MINOR,
                            NORMKERNELS_VERSION_PATCH);
#undef NORMKERNELS_DOTTED
#undef NORMKERNELS_TEXT
}

const char* normkernels_status_string(normkernels_status status) {
  switch (normkernels_status_kind(status)) {
    case NORMKERNELS_OK:
      return "success";
    case NORMKERNELS_NULL_POINTER:
      return "a required pointer is NULL";
    case NORMKERNELS_BAD_EXTENT:
      return "an extent is negative, or an array would not fit in memory";
    case NORMKERNELS_BAD_DTYPE:
      return "the dtype is not NORMKERNELS_F32 or NORMKERNELS_F64";
    case NORMKERNELS_BAD_ORDER:
      return "the order is not NORMKERNELS_NCHW or NORMKERNELS_NHWC";
    case NORMKERNELS_BAD_EPSILON:
      return "epsilon is negative, NaN or infinite";
    case NORMKERNELS_BAD_SIZE:
      return "the window has less than one channel";
    case NORMKERNELS_BAD_SCALAR:
      return "a scalar is NaN or infinite";
    case NORMKERNELS_OVERLAP:
      return "an output shares memory with another argument";
    case NORMKERNELS_BAD_EXECUTOR:
      return "the executor's struct_size is wrong or its number of threads negative";
    case NORMKERNELS_UNKNOWN_ISA:
      return "there is no instruction set of that name";
    case NORMKERNELS_UNSUPPORTED_ISA:
      return "this machine does not have that instruction set";
    case NORMKERNELS_BAD_NUM_THREADS:
      return "the environment variable NORMKERNELS_NUM_THREADS is not a whole number of 0 or more";
    case NORMKERNELS_MISALIGNED:
      return "an array is not aligned to its elements, or the workspace not to 64 bytes";
    default:
      return "not a status of this library";
  }
}

// ---- Layer norm ---------------------------------------------------------------------

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

// ---- Instance norm ------------------------------------------------------------------

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

// ---- Local response norm ------------------------------------------------------------

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
  call.input(6, x, all);
  call.at_least_one(7, size);
  call.finite(8, alpha);
  call.finite(9, beta);
  call.finite(10, bias);
  call.output(11, y, all);
  call.optional_output(12, scale, all);
  if (call.ok()) {
    call.workspace(
        13, workspace,
        normkernels_local_response_norm_workspace_bytes(dtype, order, n, c, spatial, size));
  }
  const Executor threads = call.executor(14, executor, kLrnCost * 2 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return NORMKERNELS_OK;
  kernels->local_response_norm->forward({{n, c, spatial},
                                         order == NORMKERNELS_NHWC,
                                         size,
                                         alpha,
                                         beta,
                                         bias,
                                         nullptr,
                                         x,
                                         nullptr,
                                         nullptr,
                                         y,
                                         scale,
                                         nullptr,
                                         workspace},
                                        threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_local_response_norm_backward(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* dy, const void* x, const void* y, const void* scale, int64_t size, double alpha,
    double beta, double bias, void* dx, void* workspace, const normkernels_executor* executor) {
  Call call(dtype);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  call.input(6, dy, all);
  call.input(7, x, all);
  call.optional_input(8, y, all);
  call.optional_input(9, scale, all);
  call.at_least_one(10, size);
  call.finite(11, alpha);
  call.finite(12, beta);
  call.finite(13, bias);
  call.output(14, dx, all);
  if (call.ok()) {
    call.workspace(
        15, workspace,
        normkernels_local_response_norm_workspace_bytes(dtype, order, n, c, spatial, size));
  }
  const Executor threads = call.executor(16, executor, kLrnCost * 3 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return NORMKERNELS_OK;
  kernels->local_response_norm->backward({{n, c, spatial},
                                          order == NORMKERNELS_NHWC,
                                          size,
                                          alpha,
                                          beta,
                                          bias,
                                          dy,
                                          x,
                                          y,
                                          scale,
                                          nullptr,
                                          nullptr,
                                          dx,
                                          workspace},
                                         threads);
  return NORMKERNELS_OK;
}

}  // extern "C"
