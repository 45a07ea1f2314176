// Group norm: instance norm whose statistics neighbouring channels share, c / groups of them.
//
//     y = (x - mean) * inv_std * scale + bias,     inv_std = 1 / sqrt(variance + epsilon)
//
// with mean and variance over the channels and positions of each image and group. Arrays are
// [n, c, positions...] or, with order nhwc, [n, positions..., c]. normkernels.h has the whole of
// it.
#ifndef NORMKERNELS_GROUP_NORM_HPP_
#define NORMKERNELS_GROUP_NORM_HPP_

#include <normkernels/call.hpp>

namespace normkernels {
inline namespace v0 {

/// Options of group_norm_forward.
template <class T>
struct GroupNormForward {
  Order order = nchw;
  Line<const T> scale = nullptr, bias = nullptr;      // [c]: factors and summands; 1 and 0
  double epsilon = 1e-5;                              // finite, not negative
  OutStatistic<T> mean = nullptr, inv_std = nullptr;  // [n, groups]: written, for the backward
  Workspace* workspace = nullptr;
  const normkernels_executor* executor = nullptr;
};

/// Options of group_norm_backward.
template <class T>
struct GroupNormBackward {
  Order order = nchw;
  Line<const T> scale = nullptr;                     // [c], that of the forward
  InStatistic<T> mean = nullptr, inv_std = nullptr;  // [n, groups], as written; or computed again
  double epsilon = 1e-5;                             // read only without them
  Line<T> dscale = nullptr, dbias = nullptr;         // [c]: written
  Workspace* workspace = nullptr;
  const normkernels_executor* executor = nullptr;
};

/// Group norm of x into y, which has its shape and may be x. `groups` divides the channels.
template <class X>
Status try_group_norm_forward(const X& input, const Output<X>& y, std::int64_t groups,
                              const GroupNormForward<Element<X>>& o = {}) noexcept {
  using T = Element<X>;
  const auto& x = detail::array_of(input);
  detail::Call call("group_norm_forward", "x", x.layout());
  const detail::Images i = call.images(o.order);
  const std::int64_t rows = call.groups_of(i, groups);
  call.same_shape("y", y);
  call.line("scale", o.scale, i.c);
  call.line("bias", o.bias, i.c);
  call.line("mean", o.mean, rows);
  call.line("inv_std", o.inv_std, rows);
  const normkernels_dtype type = detail::dtype_with<T>(o.scale.is_wide(), o.bias.is_wide());
  if (call.is_dense()) {
    const detail::Scratch scratch(
        call, o.workspace,
        normkernels_group_norm_forward_workspace_bytes(type, i.order, i.n, i.c, i.spatial, groups));
    return call.run(
        normkernels_group_norm_forward,
        "dtype order n c spatial groups x scale bias epsilon y mean inv_std workspace executor",
        type, i.order, i.n, i.c, i.spatial, groups, x.data(), o.scale.data(), o.bias.data(),
        o.epsilon, y.data(), o.mean.data(), o.inv_std.data(), scratch.data(), o.executor);
  }
  const detail::Scratch scratch(call, o.workspace,
                                normkernels_group_norm_forward_view_workspace_bytes(
                                    type, i.order, x.rank(), x.shape(), groups));
  return call.run(normkernels_group_norm_forward_view,
                  "dtype order rank shape groups x x_strides scale bias epsilon y y_strides mean "
                  "inv_std workspace executor",
                  type, i.order, x.rank(), x.shape(), groups, x.data(), x.strides(), o.scale.data(),
                  o.bias.data(), o.epsilon, y.data(), y.strides(), o.mean.data(), o.inv_std.data(),
                  scratch.data(), o.executor);
}

/// Gradients of group norm: of x into dx, which may be dy or x, and of scale and bias.
template <class X>
Status try_group_norm_backward(const X& input, const Input<X>& x, const Output<X>& dx,
                               std::int64_t groups,
                               const GroupNormBackward<Element<X>>& o = {}) noexcept {
  using T = Element<X>;
  const auto& dy = detail::array_of(input);
  detail::Call call("group_norm_backward", "dy", dy.layout());
  const detail::Images i = call.images(o.order);
  const std::int64_t rows = call.groups_of(i, groups);
  call.same_shape("x", x);
  call.same_shape("dx", dx);
  call.line("scale", o.scale, i.c);
  call.line("mean", o.mean, rows);
  call.line("inv_std", o.inv_std, rows);
  call.line("dscale", o.dscale, i.c);
  call.line("dbias", o.dbias, i.c);
  call.same_type("dscale", o.dscale, o.scale);
  const normkernels_dtype type =
      detail::dtype_with<T>(o.scale.is_wide() || o.dscale.is_wide(), o.dbias.is_wide());
  if (call.is_dense()) {
    const detail::Scratch scratch(call, o.workspace,
                                  normkernels_group_norm_backward_workspace_bytes(
                                      type, i.order, i.n, i.c, i.spatial, groups));
    return call.run(normkernels_group_norm_backward,
                    "dtype order n c spatial groups dy x scale mean inv_std epsilon dx dscale "
                    "dbias workspace executor",
                    type, i.order, i.n, i.c, i.spatial, groups, dy.data(), x.data(), o.scale.data(),
                    o.mean.data(), o.inv_std.data(), o.epsilon, dx.data(), o.dscale.data(),
                    o.dbias.data(), scratch.data(), o.executor);
  }
  const detail::Scratch scratch(call, o.workspace,
                                normkernels_group_norm_backward_view_workspace_bytes(
                                    type, i.order, dy.rank(), dy.shape(), groups));
  return call.run(normkernels_group_norm_backward_view,
                  "dtype order rank shape groups dy dy_strides x x_strides scale mean inv_std "
                  "epsilon dx dx_strides dscale dbias workspace executor",
                  type, i.order, dy.rank(), dy.shape(), groups, dy.data(), dy.strides(), x.data(),
                  x.strides(), o.scale.data(), o.mean.data(), o.inv_std.data(), o.epsilon,
                  dx.data(), dx.strides(), o.dscale.data(), o.dbias.data(), scratch.data(),
                  o.executor);
}

#ifdef __cpp_exceptions
template <class X>
void group_norm_forward(const X& x, const Output<X>& y, std::int64_t groups,
                        const GroupNormForward<Element<X>>& options = {}) {
  detail::throw_unless_ok(try_group_norm_forward(x, y, groups, options));
}
template <class X>
void group_norm_backward(const X& dy, const Input<X>& x, const Output<X>& dx, std::int64_t groups,
                         const GroupNormBackward<Element<X>>& options = {}) {
  detail::throw_unless_ok(try_group_norm_backward(dy, x, dx, groups, options));
}
#endif

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_GROUP_NORM_HPP_
