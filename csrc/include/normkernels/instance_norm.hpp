// Instance norm. With mean and variance over the positions of each image and channel,
//
//     y = (x - mean) * inv_std * scale + bias,     inv_std = 1 / sqrt(variance + epsilon)
//
// Arrays are [n, c, positions...] or, with order nhwc, [n, positions..., c], of two axes or more.
// normkernels.h has the whole of it.
#ifndef NORMKERNELS_INSTANCE_NORM_HPP_
#define NORMKERNELS_INSTANCE_NORM_HPP_

#include <normkernels/call.hpp>

namespace normkernels {
inline namespace v0 {

/// Options of instance_norm_forward.
template <class T>
struct InstanceNormForward {
  Order order = nchw;
  Line<const T> scale = nullptr, bias = nullptr;      // [c]: factors and summands; 1 and 0
  double epsilon = 1e-5;                              // finite, not negative
  OutStatistic<T> mean = nullptr, inv_std = nullptr;  // [n, c]: written, for the backward
  Workspace* workspace = nullptr;
  const normkernels_executor* executor = nullptr;
};

/// Options of instance_norm_backward.
template <class T>
struct InstanceNormBackward {
  Order order = nchw;
  Line<const T> scale = nullptr;                     // [c], that of the forward
  InStatistic<T> mean = nullptr, inv_std = nullptr;  // [n, c], as written; or computed again
  double epsilon = 1e-5;                             // read only without them
  Line<T> dscale = nullptr, dbias = nullptr;         // [c]: written
  Workspace* workspace = nullptr;
  const normkernels_executor* executor = nullptr;
};

/// Options of instance_norm_with_gradient: those of both.
template <class T>
struct InstanceNormWithGradient {
  Order order = nchw;
  Line<const T> scale = nullptr, bias = nullptr;
  double epsilon = 1e-5;
  OutStatistic<T> mean = nullptr, inv_std = nullptr;
  Line<T> dscale = nullptr, dbias = nullptr;
  Workspace* workspace = nullptr;
  const normkernels_executor* executor = nullptr;
};

/// Instance norm of x into y, which has its shape and may be x.
template <class X>
Status try_instance_norm_forward(const X& input, const Output<X>& y,
                                 const InstanceNormForward<Element<X>>& o = {}) noexcept {
  using T = Element<X>;
  const auto& x = detail::array_of(input);
  detail::Call call("instance_norm_forward", "x", x.layout());
  const detail::Images i = call.images(o.order);
  call.same_shape("y", y);
  call.line("scale", o.scale, i.c);
  call.line("bias", o.bias, i.c);
  call.line("mean", o.mean, i.planes);
  call.line("inv_std", o.inv_std, i.planes);
  const normkernels_dtype type = detail::dtype_with<T>(o.scale.is_wide(), o.bias.is_wide());
  if (call.is_dense()) {
    const detail::Scratch scratch(
        call, o.workspace,
        normkernels_instance_norm_forward_workspace_bytes(type, i.order, i.n, i.c, i.spatial));
    return call.run(
        normkernels_instance_norm_forward,
        "dtype order n c spatial x scale bias epsilon y mean inv_std workspace executor", type,
        i.order, i.n, i.c, i.spatial, x.data(), o.scale.data(), o.bias.data(), o.epsilon, y.data(),
        o.mean.data(), o.inv_std.data(), scratch.data(), o.executor);
  }
  const detail::Scratch scratch(
      call, o.workspace,
      normkernels_instance_norm_forward_view_workspace_bytes(type, i.order, x.rank(), x.shape()));
  return call.run(normkernels_instance_norm_forward_view,
                  "dtype order rank shape x x_strides scale bias epsilon y y_strides mean inv_std "
                  "workspace executor",
                  type, i.order, x.rank(), x.shape(), x.data(), x.strides(), o.scale.data(),
                  o.bias.data(), o.epsilon, y.data(), y.strides(), o.mean.data(), o.inv_std.data(),
                  scratch.data(), o.executor);
}

/// Gradients of instance norm: of x into dx, which may be dy or x, and of scale and bias.
template <class X>
Status try_instance_norm_backward(const X& input, const Input<X>& x, const Output<X>& dx,
                                  const InstanceNormBackward<Element<X>>& o = {}) noexcept {
  using T = Element<X>;
  const auto& dy = detail::array_of(input);
  detail::Call call("instance_norm_backward", "dy", dy.layout());
  const detail::Images i = call.images(o.order);
  call.same_shape("x", x);
  call.same_shape("dx", dx);
  call.line("scale", o.scale, i.c);
  call.line("mean", o.mean, i.planes);
  call.line("inv_std", o.inv_std, i.planes);
  call.line("dscale", o.dscale, i.c);
  call.line("dbias", o.dbias, i.c);
  call.same_type("dscale", o.dscale, o.scale);
  const normkernels_dtype type =
      detail::dtype_with<T>(o.scale.is_wide() || o.dscale.is_wide(), o.dbias.is_wide());
  if (call.is_dense()) {
    const detail::Scratch scratch(
        call, o.workspace,
        normkernels_instance_norm_backward_workspace_bytes(type, i.order, i.n, i.c, i.spatial));
    return call.run(normkernels_instance_norm_backward,
                    "dtype order n c spatial dy x scale mean inv_std epsilon dx dscale dbias "
                    "workspace executor",
                    type, i.order, i.n, i.c, i.spatial, dy.data(), x.data(), o.scale.data(),
                    o.mean.data(), o.inv_std.data(), o.epsilon, dx.data(), o.dscale.data(),
                    o.dbias.data(), scratch.data(), o.executor);
  }
  const detail::Scratch scratch(call, o.workspace,
                                normkernels_instance_norm_backward_view_workspace_bytes(
                                    type, i.order, dy.rank(), dy.shape()));
  return call.run(normkernels_instance_norm_backward_view,
                  "dtype order rank shape dy dy_strides x x_strides scale mean inv_std epsilon dx "
                  "dx_strides dscale dbias workspace executor",
                  type, i.order, dy.rank(), dy.shape(), dy.data(), dy.strides(), x.data(),
                  x.strides(), o.scale.data(), o.mean.data(), o.inv_std.data(), o.epsilon,
                  dx.data(), dx.strides(), o.dscale.data(), o.dbias.data(), scratch.data(),
                  o.executor);
}

/// Forward and backward at once, for a dy that is known before y: the bits of one after the other,
/// but the statistics are computed once. y may be x, and dx may be dy.
template <class X>
Status try_instance_norm_with_gradient(
    const X& input, const Input<X>& dy, const Output<X>& y, const Output<X>& dx,
    const InstanceNormWithGradient<Element<X>>& o = {}) noexcept {
  using T = Element<X>;
  const auto& x = detail::array_of(input);
  detail::Call call("instance_norm_with_gradient", "x", x.layout());
  const detail::Images i = call.images(o.order);
  call.same_shape("dy", dy);
  call.same_shape("y", y);
  call.same_shape("dx", dx);
  call.line("scale", o.scale, i.c);
  call.line("bias", o.bias, i.c);
  call.line("mean", o.mean, i.planes);
  call.line("inv_std", o.inv_std, i.planes);
  call.line("dscale", o.dscale, i.c);
  call.line("dbias", o.dbias, i.c);
  call.same_type("dscale", o.dscale, o.scale);
  call.same_type("dbias", o.dbias, o.bias);
  const normkernels_dtype type = detail::dtype_with<T>(o.scale.is_wide() || o.dscale.is_wide(),
                                                       o.bias.is_wide() || o.dbias.is_wide());
  if (call.is_dense()) {
    const detail::Scratch scratch(
        call, o.workspace,
        normkernels_instance_norm_backward_workspace_bytes(type, i.order, i.n, i.c, i.spatial));
    return call.run(normkernels_instance_norm_with_gradient,
                    "dtype order n c spatial x scale bias dy epsilon y mean inv_std dx dscale "
                    "dbias workspace executor",
                    type, i.order, i.n, i.c, i.spatial, x.data(), o.scale.data(), o.bias.data(),
                    dy.data(), o.epsilon, y.data(), o.mean.data(), o.inv_std.data(), dx.data(),
                    o.dscale.data(), o.dbias.data(), scratch.data(), o.executor);
  }
  const detail::Scratch scratch(
      call, o.workspace,
      normkernels_instance_norm_backward_view_workspace_bytes(type, i.order, x.rank(), x.shape()));
  return call.run(normkernels_instance_norm_with_gradient_view,
                  "dtype order rank shape x x_strides scale bias dy dy_strides epsilon y "
                  "y_strides mean inv_std dx dx_strides dscale dbias workspace executor",
                  type, i.order, x.rank(), x.shape(), x.data(), x.strides(), o.scale.data(),
                  o.bias.data(), dy.data(), dy.strides(), o.epsilon, y.data(), y.strides(),
                  o.mean.data(), o.inv_std.data(), dx.data(), dx.strides(), o.dscale.data(),
                  o.dbias.data(), scratch.data(), o.executor);
}

#ifdef __cpp_exceptions
template <class X>
void instance_norm_forward(const X& x, const Output<X>& y,
                           const InstanceNormForward<Element<X>>& options = {}) {
  detail::throw_unless_ok(try_instance_norm_forward(x, y, options));
}
template <class X>
void instance_norm_backward(const X& dy, const Input<X>& x, const Output<X>& dx,
                            const InstanceNormBackward<Element<X>>& options = {}) {
  detail::throw_unless_ok(try_instance_norm_backward(dy, x, dx, options));
}
template <class X>
void instance_norm_with_gradient(const X& x, const Input<X>& dy, const Output<X>& y,
                                 const Output<X>& dx,
                                 const InstanceNormWithGradient<Element<X>>& options = {}) {
  detail::throw_unless_ok(try_instance_norm_with_gradient(x, dy, y, dx, options));
}
#endif

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_INSTANCE_NORM_HPP_
