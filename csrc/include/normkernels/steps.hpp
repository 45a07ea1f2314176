// The steps that the originals are made of, as normkernels.hpp has its functions. Included by it.
#ifndef NORMKERNELS_STEPS_HPP_
#define NORMKERNELS_STEPS_HPP_

#include <cstdint>
#include <normkernels/types.hpp>

namespace normkernels {
inline namespace v0 {

template <class T>
void compute_sigma_and_fused_params(std::int64_t rows, double epsilon, const T* mean, In<T> var,
                                    Out<T> sigma, Out<T> scale, Out<T> bias,
                                    const normkernels_executor* executor = nullptr) {
  detail::check(normkernels_compute_sigma_and_fused_params(dtype<T>, rows, epsilon, mean, var,
                                                           sigma, scale, bias, executor),
                "compute_sigma_and_fused_params",
                "dtype rows epsilon mean var sigma scale bias executor");
}

template <class T>
void layer_norm_apply(Rows shape, const T* x, In<T> scale, In<T> bias, Out<T> y,
                      In<T> gamma = nullptr, In<T> beta = nullptr,
                      const normkernels_executor* executor = nullptr) {
  detail::check(normkernels_layer_norm_apply(dtype<T>, shape.rows, shape.cols, x, scale, bias,
                                             gamma, beta, y, executor),
                "layer_norm_apply", "dtype rows cols x scale bias gamma beta y executor");
}

template <class T>
void layer_norm_internal_gradients(Rows shape, const T* dy, In<T> x, Out<T> ds, Out<T> db,
                                   In<T> gamma = nullptr, Out<T> dyx = nullptr,
                                   const normkernels_executor* executor = nullptr) {
  detail::check(normkernels_layer_norm_internal_gradients(dtype<T>, shape.rows, shape.cols, dy, x,
                                                          gamma, dyx, ds, db, executor),
                "layer_norm_internal_gradients", "dtype rows cols dy x gamma dyx ds db executor");
}

template <class T>
void layer_norm_fused_params(Rows shape, const T* mean, In<T> sigma, In<T> ds, In<T> db,
                             Out<T> rstd, Out<T> x_scale, Out<T> bias, Out<T> g_scale = nullptr,
                             const normkernels_executor* executor = nullptr) {
  detail::check(normkernels_layer_norm_fused_params(dtype<T>, shape.rows, shape.cols, mean, sigma,
                                                    ds, db, rstd, x_scale, bias, g_scale, executor),
                "layer_norm_fused_params",
                "dtype rows cols mean sigma ds db rstd x_scale bias g_scale executor");
}

template <class T>
void layer_norm_backward_apply(Rows shape, const T* dy, In<T> x, In<T> dy_scale, In<T> x_scale,
                               In<T> bias, Out<T> dx, In<T> gamma = nullptr,
                               const normkernels_executor* executor = nullptr) {
  detail::check(normkernels_layer_norm_backward_apply(dtype<T>, shape.rows, shape.cols, dy, x,
                                                      gamma, dy_scale, x_scale, bias, dx, executor),
                "layer_norm_backward_apply",
                "dtype rows cols dy x gamma dy_scale x_scale bias dx executor");
}

template <class T>
void layer_norm_gamma_beta_backward(Rows shape, const T* dyx, In<T> dy, In<T> rstd, In<T> g_scale,
                                    Out<T> dgamma, Out<T> dbeta,
                                    const normkernels_executor* executor = nullptr) {
  detail::check(
      normkernels_layer_norm_gamma_beta_backward(dtype<T>, shape.rows, shape.cols, dyx, dy, rstd,
                                                 g_scale, dgamma, dbeta, executor),
      "layer_norm_gamma_beta_backward",
      "dtype rows cols dyx dy rstd g_scale dgamma dbeta executor");
}

template <class T>
void instance_norm_moments(Tensor shape, const T* x, Out<T> mean, Out<T> rstd,
                           double epsilon = 1e-5, void* workspace = nullptr,
                           const normkernels_executor* executor = nullptr) {
  const detail::Workspace scratch(
      workspace, normkernels_instance_norm_forward_workspace_bytes(dtype<T>, shape.order, shape.n,
                                                                   shape.c, shape.spatial));
  detail::check(
      normkernels_instance_norm_moments(dtype<T>, shape.order, shape.n, shape.c, shape.spatial, x,
                                        epsilon, mean, rstd, scratch.data(), executor),
      "instance_norm_moments", "dtype order n c spatial x epsilon mean rstd workspace executor");
}

template <class T>
void instance_norm_fused_params(std::int64_t n, std::int64_t c, const T* mean, In<T> rstd,
                                In<T> gamma, In<T> beta, Out<T> scale, Out<T> bias,
                                const normkernels_executor* executor = nullptr) {
  detail::check(normkernels_instance_norm_fused_params(dtype<T>, n, c, mean, rstd, gamma, beta,
                                                       scale, bias, executor),
                "instance_norm_fused_params", "dtype n c mean rstd gamma beta scale bias executor");
}

template <class T>
void instance_norm_apply(Tensor shape, const T* x, In<T> scale, In<T> bias, Out<T> y,
                         const normkernels_executor* executor = nullptr) {
  detail::check(normkernels_instance_norm_apply(dtype<T>, shape.order, shape.n, shape.c,
                                                shape.spatial, x, scale, bias, y, executor),
                "instance_norm_apply", "dtype order n c spatial x scale bias y executor");
}

template <class T>
void instance_norm_internal_gradients(Tensor shape, const T* dy, In<T> x, Out<T> ds, Out<T> db,
                                      const normkernels_executor* executor = nullptr) {
  detail::check(
      normkernels_instance_norm_internal_gradients(dtype<T>, shape.order, shape.n, shape.c,
                                                   shape.spatial, dy, x, ds, db, executor),
      "instance_norm_internal_gradients", "dtype order n c spatial dy x ds db executor");
}

template <class T>
void instance_norm_backward_apply(Tensor shape, const T* dy, In<T> x, In<T> mean, In<T> rstd,
                                  In<T> gamma, In<T> ds, In<T> db, Out<T> dx,
                                  const normkernels_executor* executor = nullptr) {
  detail::check(normkernels_instance_norm_backward_apply(dtype<T>, shape.order, shape.n, shape.c,
                                                         shape.spatial, dy, x, mean, rstd, gamma,
                                                         ds, db, dx, executor),
                "instance_norm_backward_apply",
                "dtype order n c spatial dy x mean rstd gamma ds db dx executor");
}

template <class T>
void instance_norm_gamma_beta_backward(std::int64_t n, std::int64_t c, const T* ds, In<T> db,
                                       In<T> mean, In<T> rstd, Out<T> dgamma, Out<T> dbeta,
                                       const normkernels_executor* executor = nullptr) {
  detail::check(normkernels_instance_norm_gamma_beta_backward(dtype<T>, n, c, ds, db, mean, rstd,
                                                              dgamma, dbeta, executor),
                "instance_norm_gamma_beta_backward",
                "dtype n c ds db mean rstd dgamma dbeta executor");
}

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_STEPS_HPP_
