// The steps that Caffe2's operators are made of, for code that was written against them.
//
// They take what those take, in that order: dense arrays at addresses, almost all of them required,
// so that there is little to leave out or to name. They throw, and are not there without
// exceptions; normkernels.h says what each computes.
#ifndef NORMKERNELS_STEPS_HPP_
#define NORMKERNELS_STEPS_HPP_

#include <cstdint>
#include <normkernels/call.hpp>
#include <string_view>
#include <type_traits>

namespace normkernels {
inline namespace v0 {

#ifdef __cpp_exceptions

/// A matrix, row-major.
struct Rows {
  std::int64_t rows, cols;
};

/// A tensor of images; `spatial` is the product of its spatial dimensions.
struct Tensor {
  Order order;
  std::int64_t n, c, spatial;
};

/// Arrays of T. T itself is deduced from the first array alone, so that nullptr fits here.
template <class T>
using In = const std::common_type_t<T>*;
template <class T>
using Out = std::common_type_t<T>*;

namespace detail {

template <class... P>
void step(const char* name, normkernels_status (*function)(P...), std::string_view names,
          typename Exactly<P>::type... arguments) {
  throw_unless_ok(Call(name).run(function, names, arguments...));
}

}  // namespace detail

template <class T>
void compute_sigma_and_fused_params(std::int64_t rows, double epsilon, const T* mean, In<T> var,
                                    Out<T> sigma, Out<T> scale, Out<T> bias,
                                    const normkernels_executor* executor = nullptr) {
  detail::step("compute_sigma_and_fused_params", normkernels_compute_sigma_and_fused_params,
               "dtype rows epsilon mean var sigma scale bias executor", dtype<T>, rows, epsilon,
               mean, var, sigma, scale, bias, executor);
}

template <class T>
void layer_norm_apply(Rows shape, const T* x, In<T> scale, In<T> bias, Out<T> y,
                      In<T> gamma = nullptr, In<T> beta = nullptr,
                      const normkernels_executor* executor = nullptr) {
  detail::step("layer_norm_apply", normkernels_layer_norm_apply,
               "dtype rows cols x scale bias gamma beta y executor", dtype<T>, shape.rows,
               shape.cols, x, scale, bias, gamma, beta, y, executor);
}

template <class T>
void layer_norm_internal_gradients(Rows shape, const T* dy, In<T> x, Out<T> ds, Out<T> db,
                                   In<T> gamma = nullptr, Out<T> dyx = nullptr,
                                   const normkernels_executor* executor = nullptr) {
  detail::step("layer_norm_internal_gradients", normkernels_layer_norm_internal_gradients,
               "dtype rows cols dy x gamma dyx ds db executor", dtype<T>, shape.rows, shape.cols,
               dy, x, gamma, dyx, ds, db, executor);
}

template <class T>
void layer_norm_fused_params(Rows shape, const T* mean, In<T> sigma, In<T> ds, In<T> db,
                             Out<T> rstd, Out<T> x_scale, Out<T> bias, Out<T> g_scale = nullptr,
                             const normkernels_executor* executor = nullptr) {
  detail::step("layer_norm_fused_params", normkernels_layer_norm_fused_params,
               "dtype rows cols mean sigma ds db rstd x_scale bias g_scale executor", dtype<T>,
               shape.rows, shape.cols, mean, sigma, ds, db, rstd, x_scale, bias, g_scale, executor);
}

template <class T>
void layer_norm_backward_apply(Rows shape, const T* dy, In<T> x, In<T> dy_scale, In<T> x_scale,
                               In<T> bias, Out<T> dx, In<T> gamma = nullptr,
                               const normkernels_executor* executor = nullptr) {
  detail::step("layer_norm_backward_apply", normkernels_layer_norm_backward_apply,
               "dtype rows cols dy x gamma dy_scale x_scale bias dx executor", dtype<T>, shape.rows,
               shape.cols, dy, x, gamma, dy_scale, x_scale, bias, dx, executor);
}

template <class T>
void layer_norm_gamma_beta_backward(Rows shape, const T* dyx, In<T> dy, In<T> rstd, In<T> g_scale,
                                    Out<T> dgamma, Out<T> dbeta,
                                    const normkernels_executor* executor = nullptr) {
  detail::step("layer_norm_gamma_beta_backward", normkernels_layer_norm_gamma_beta_backward,
               "dtype rows cols dyx dy rstd g_scale dgamma dbeta executor", dtype<T>, shape.rows,
               shape.cols, dyx, dy, rstd, g_scale, dgamma, dbeta, executor);
}

template <class T>
void instance_norm_moments(Tensor shape, const T* x, Out<T> mean, Out<T> rstd,
                           double epsilon = 1e-5, Workspace* workspace = nullptr,
                           const normkernels_executor* executor = nullptr) {
  detail::Call call("instance_norm_moments");
  const detail::Scratch scratch(call, workspace,
                                normkernels_instance_norm_forward_workspace_bytes(
                                    dtype<T>, shape.order, shape.n, shape.c, shape.spatial));
  detail::throw_unless_ok(call.run(normkernels_instance_norm_moments,
                                   "dtype order n c spatial x epsilon mean rstd workspace executor",
                                   dtype<T>, shape.order, shape.n, shape.c, shape.spatial, x,
                                   epsilon, mean, rstd, scratch.data(), executor));
}

template <class T>
void instance_norm_fused_params(std::int64_t n, std::int64_t c, const T* mean, In<T> rstd,
                                In<T> gamma, In<T> beta, Out<T> scale, Out<T> bias,
                                const normkernels_executor* executor = nullptr) {
  detail::step("instance_norm_fused_params", normkernels_instance_norm_fused_params,
               "dtype n c mean rstd gamma beta scale bias executor", dtype<T>, n, c, mean, rstd,
               gamma, beta, scale, bias, executor);
}

template <class T>
void instance_norm_apply(Tensor shape, const T* x, In<T> scale, In<T> bias, Out<T> y,
                         const normkernels_executor* executor = nullptr) {
  detail::step("instance_norm_apply", normkernels_instance_norm_apply,
               "dtype order n c spatial x scale bias y executor", dtype<T>, shape.order, shape.n,
               shape.c, shape.spatial, x, scale, bias, y, executor);
}

template <class T>
void instance_norm_internal_gradients(Tensor shape, const T* dy, In<T> x, Out<T> ds, Out<T> db,
                                      const normkernels_executor* executor = nullptr) {
  detail::step("instance_norm_internal_gradients", normkernels_instance_norm_internal_gradients,
               "dtype order n c spatial dy x ds db executor", dtype<T>, shape.order, shape.n,
               shape.c, shape.spatial, dy, x, ds, db, executor);
}

template <class T>
void instance_norm_backward_apply(Tensor shape, const T* dy, In<T> x, In<T> mean, In<T> rstd,
                                  In<T> gamma, In<T> ds, In<T> db, Out<T> dx,
                                  const normkernels_executor* executor = nullptr) {
  detail::step("instance_norm_backward_apply", normkernels_instance_norm_backward_apply,
               "dtype order n c spatial dy x mean rstd gamma ds db dx executor", dtype<T>,
               shape.order, shape.n, shape.c, shape.spatial, dy, x, mean, rstd, gamma, ds, db, dx,
               executor);
}

template <class T>
void instance_norm_gamma_beta_backward(std::int64_t n, std::int64_t c, const T* ds, In<T> db,
                                       In<T> mean, In<T> rstd, Out<T> dgamma, Out<T> dbeta,
                                       const normkernels_executor* executor = nullptr) {
  detail::step("instance_norm_gamma_beta_backward", normkernels_instance_norm_gamma_beta_backward,
               "dtype n c ds db mean rstd dgamma dbeta executor", dtype<T>, n, c, ds, db, mean,
               rstd, dgamma, dbeta, executor);
}

#endif  // __cpp_exceptions

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_STEPS_HPP_
