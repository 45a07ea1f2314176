// The C functions for the steps of Caffe2's instance norm: check every argument, then call the
// kernel.
#include "api/call.h"

using normkernels::ApplyForward;
using normkernels::Call;
using normkernels::Executor;
using normkernels::GroupNormForward;
using normkernels::Halves;
using normkernels::InstanceNormApplyBackward;
using normkernels::InstanceNormFusedParams;
using normkernels::InstanceNormGammaBeta;
using normkernels::InternalGradients;
using normkernels::InternalGradientsChannelsLast;
using normkernels::Kernels;

extern "C" {

normkernels_status normkernels_instance_norm_moments(normkernels_dtype dtype,
                                                     normkernels_order order, int64_t n, int64_t c,
                                                     int64_t spatial, const void* x, double epsilon,
                                                     void* mean, void* rstd, void* workspace,
                                                     const normkernels_executor* executor) {
  Call call(dtype, Halves::kRefused);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  const int64_t planes = call.elements_of(n, c);
  GroupNormForward a = {};
  a.shape = {n, c, spatial};
  a.groups = c;
  a.x = call.input(6, x, all);
  a.epsilon = call.epsilon(7, epsilon);
  a.mean = call.output(8, mean, planes);
  a.inv_std = call.output(9, rstd, planes);
  a.workspace = call.workspace(
      10, workspace,
      normkernels_instance_norm_forward_workspace_bytes(dtype, order, n, c, spatial));
  const Executor threads = call.executor(11, executor, all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return call.fill({{mean, planes, 0}, {rstd, planes, 1 / __builtin_sqrt(epsilon)}});
  group_norm_kernels(kernels, order, spatial)->forward(a, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_instance_norm_fused_params(normkernels_dtype dtype, int64_t n,
                                                          int64_t c, const void* mean,
                                                          const void* rstd, const void* gamma,
                                                          const void* beta, void* scale, void* bias,
                                                          const normkernels_executor* executor) {
  Call call(dtype, Halves::kRefused);
  const int64_t planes = call.elements(2, n, c);
  InstanceNormFusedParams a = {};
  a.n = n;
  a.c = c;
  a.mean = call.input(4, mean, planes);
  a.rstd = call.input(5, rstd, planes);
  a.gamma = call.input(6, gamma, c);
  a.beta = call.input(7, beta, c);
  a.scale = call.output(8, scale, planes);
  a.bias = call.output(9, bias, planes);
  const Executor threads = call.executor(10, executor, planes);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  kernels->steps->instance_norm_fused_params(a, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_instance_norm_apply(normkernels_dtype dtype, normkernels_order order,
                                                   int64_t n, int64_t c, int64_t spatial,
                                                   const void* x, const void* scale,
                                                   const void* bias, void* y,
                                                   const normkernels_executor* executor) {
  Call call(dtype, Halves::kRefused);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  const int64_t planes = call.elements_of(n, c);
  ApplyForward a = {};
  a.x = call.input(6, x, all);
  a.scale = call.input(7, scale, planes);
  a.bias = call.input(8, bias, planes);
  a.y = call.output(9, y, all, 6);
  const Executor threads = call.executor(10, executor, 2 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return NORMKERNELS_OK;
  if (order == NORMKERNELS_NCHW) {
    a.shape = {n * c, spatial};
    kernels->steps->apply_forward(a, threads);
    return NORMKERNELS_OK;
  }
  // In NHWC the pixels of an image are rows, and its channels' factors what gamma and beta are in
  // layer norm.
  const int64_t bytes = dtype == NORMKERNELS_F64 ? 8 : 4;
  const auto at = [&](const void* p, int64_t i) { return static_cast<const char*>(p) + i * bytes; };
  for (int64_t i = 0; i < n; ++i) {
    ApplyForward image = {};
    image.shape = {spatial, c};
    image.x = at(x, i * spatial * c);
    image.gamma = at(scale, i * c);
    image.beta = at(bias, i * c);
    image.y = static_cast<char*>(y) + i * spatial * c * bytes;
    kernels->steps->apply_forward(image, threads);
  }
  return NORMKERNELS_OK;
}

normkernels_status normkernels_instance_norm_internal_gradients(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* dy, const void* x, void* ds, void* db, const normkernels_executor* executor) {
  Call call(dtype, Halves::kRefused);
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
    InternalGradients a = {};
    a.shape = {n * c, spatial};
    a.dy = dy;
    a.x = x;
    a.ds = ds;
    a.db = db;
    kernels->steps->internal_gradients(a, threads);
  } else {
    InternalGradientsChannelsLast a = {};
    a.shape = {n, c, spatial};
    a.dy = dy;
    a.x = x;
    a.ds = ds;
    a.db = db;
    kernels->steps->internal_gradients_channels_last(a, threads);
  }
  return NORMKERNELS_OK;
}

normkernels_status normkernels_instance_norm_backward_apply(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* dy, const void* x, const void* mean, const void* rstd, const void* gamma,
    const void* ds, const void* db, void* dx, const normkernels_executor* executor) {
  Call call(dtype, Halves::kRefused);
  call.order(2, order);
  const int64_t all = call.elements(3, n, c, spatial);
  const int64_t planes = call.elements_of(n, c);
  InstanceNormApplyBackward a = {};
  a.shape = {n, c, spatial};
  a.channels_last = order == NORMKERNELS_NHWC;
  a.dy = call.input(6, dy, all);
  a.x = call.input(7, x, all);
  a.mean = call.input(8, mean, planes);
  a.rstd = call.input(9, rstd, planes);
  a.gamma = call.input(10, gamma, c);
  a.ds = call.input(11, ds, planes);
  a.db = call.input(12, db, planes);
  a.dx = call.output(13, dx, all, 6, 7);
  const Executor threads = call.executor(14, executor, 3 * all);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (all == 0) return NORMKERNELS_OK;
  kernels->steps->instance_norm_apply_backward(a, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_instance_norm_gamma_beta_backward(
    normkernels_dtype dtype, int64_t n, int64_t c, const void* ds, const void* db, const void* mean,
    const void* rstd, void* dgamma, void* dbeta, const normkernels_executor* executor) {
  Call call(dtype, Halves::kRefused);
  const int64_t planes = call.elements(2, n, c);
  InstanceNormGammaBeta a = {};
  a.n = n;
  a.c = c;
  a.ds = call.input(4, ds, planes);
  a.db = call.input(5, db, planes);
  a.mean = call.input(6, mean, planes);
  a.rstd = call.input(7, rstd, planes);
  a.dgamma = call.output(8, dgamma, c);
  a.dbeta = call.output(9, dbeta, c);
  const Executor threads = call.executor(10, executor, 2 * planes);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  kernels->steps->instance_norm_gamma_beta(a, threads);
  return NORMKERNELS_OK;
}

}  // extern "C"
