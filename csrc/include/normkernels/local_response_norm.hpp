// Local response norm (LRN) across channels, as ONNX defines it. Over the window of each channel,
// of `size` channels,
//
//     s = bias + alpha / size * sum of x^2,     y = x * s^-beta
//
// Arrays are [n, c, positions...] or, with order nhwc, [n, positions..., c], of two axes or more.
// normkernels.h has the whole of it.
#ifndef NORMKERNELS_LOCAL_RESPONSE_NORM_HPP_
#define NORMKERNELS_LOCAL_RESPONSE_NORM_HPP_

#include <normkernels/call.hpp>

namespace normkernels {
inline namespace v0 {

/// Options of local_response_norm_forward.
template <class T>
struct LocalResponseNormForward {
  Order order = nchw;
  double alpha = 1e-4, beta = 0.75, bias = 1;  // finite
  Array<T> scale = nullptr;                    // of the shape of x: s is written, for the backward
  Workspace* workspace = nullptr;
  const normkernels_executor* executor = nullptr;
};

/// Options of local_response_norm_backward.
template <class T>
struct LocalResponseNormBackward {
  Order order = nchw;
  double alpha = 1e-4, beta = 0.75, bias = 1;   // those of the forward
  Array<const T> y = nullptr, scale = nullptr;  // as the forward wrote them: spare work
  Workspace* workspace = nullptr;
  const normkernels_executor* executor = nullptr;
};

/// LRN of x into y, which has its shape and must not be x. `size` is 1 at least.
template <class X>
Status try_local_response_norm_forward(
    const X& input, const Output<X>& y, std::int64_t size,
    const LocalResponseNormForward<Element<X>>& o = {}) noexcept {
  constexpr normkernels_dtype type = dtype<Element<X>>;
  const auto& x = detail::array_of(input);
  detail::Call call("local_response_norm_forward", "x", x.layout());
  const detail::Images i = call.images(o.order);
  call.same_shape("y", y);
  call.optional_same_shape("scale", o.scale);
  if (call.is_dense()) {
    const detail::Scratch scratch(
        call, o.workspace,
        normkernels_local_response_norm_workspace_bytes(type, i.order, i.n, i.c, i.spatial, size));
    return call.run(normkernels_local_response_norm_forward,
                    "dtype order n c spatial x size alpha beta bias y scale workspace executor",
                    type, i.order, i.n, i.c, i.spatial, x.data(), size, o.alpha, o.beta, o.bias,
                    y.data(), o.scale.data(), scratch.data(), o.executor);
  }
  const detail::Scratch scratch(call, o.workspace,
                                normkernels_local_response_norm_view_workspace_bytes(
                                    type, i.order, x.rank(), x.shape(), size));
  return call.run(normkernels_local_response_norm_forward_view,
                  "dtype order rank shape x x_strides size alpha beta bias y y_strides scale "
                  "scale_strides workspace executor",
                  type, i.order, x.rank(), x.shape(), x.data(), x.strides(), size, o.alpha, o.beta,
                  o.bias, y.data(), y.strides(), o.scale.data(), o.scale.strides(), scratch.data(),
                  o.executor);
}

/// Gradient of LRN into dx, which must be none of the other arrays.
template <class X>
Status try_local_response_norm_backward(
    const X& input, const Input<X>& x, const Output<X>& dx, std::int64_t size,
    const LocalResponseNormBackward<Element<X>>& o = {}) noexcept {
  constexpr normkernels_dtype type = dtype<Element<X>>;
  const auto& dy = detail::array_of(input);
  detail::Call call("local_response_norm_backward", "dy", dy.layout());
  const detail::Images i = call.images(o.order);
  call.same_shape("x", x);
  call.same_shape("dx", dx);
  call.optional_same_shape("y", o.y);
  call.optional_same_shape("scale", o.scale);
  if (call.is_dense()) {
    const detail::Scratch scratch(
        call, o.workspace,
        normkernels_local_response_norm_workspace_bytes(type, i.order, i.n, i.c, i.spatial, size));
    return call.run(
        normkernels_local_response_norm_backward,
        "dtype order n c spatial dy x y scale size alpha beta bias dx workspace executor", type,
        i.order, i.n, i.c, i.spatial, dy.data(), x.data(), o.y.data(), o.scale.data(), size,
        o.alpha, o.beta, o.bias, dx.data(), scratch.data(), o.executor);
  }
  const detail::Scratch scratch(call, o.workspace,
                                normkernels_local_response_norm_view_workspace_bytes(
                                    type, i.order, dy.rank(), dy.shape(), size));
  return call.run(
      normkernels_local_response_norm_backward_view,
      "dtype order rank shape dy dy_strides x x_strides y y_strides scale scale_strides "
      "size alpha beta bias dx dx_strides workspace executor",
      type, i.order, dy.rank(), dy.shape(), dy.data(), dy.strides(), x.data(), x.strides(),
      o.y.data(), o.y.strides(), o.scale.data(), o.scale.strides(), size, o.alpha, o.beta, o.bias,
      dx.data(), dx.strides(), scratch.data(), o.executor);
}

#ifdef __cpp_exceptions
template <class X>
void local_response_norm_forward(const X& x, const Output<X>& y, std::int64_t size,
                                 const LocalResponseNormForward<Element<X>>& options = {}) {
  detail::throw_unless_ok(try_local_response_norm_forward(x, y, size, options));
}
template <class X>
void local_response_norm_backward(const X& dy, const Input<X>& x, const Output<X>& dx,
                                  std::int64_t size,
                                  const LocalResponseNormBackward<Element<X>>& options = {}) {
  detail::throw_unless_ok(try_local_response_norm_backward(dy, x, dx, size, options));
}
#endif

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_LOCAL_RESPONSE_NORM_HPP_
