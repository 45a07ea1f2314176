// Layer norm, and layer norm of a sum. With mean and variance over the normalised axes of each row,
//
//     y = (x - mean) / sigma * gamma + beta,     sigma = sqrt(variance + epsilon)
//
// Rows are the places along the other axes. normkernels.h has the whole of it.
#ifndef NORMKERNELS_LAYER_NORM_HPP_
#define NORMKERNELS_LAYER_NORM_HPP_

#include <normkernels/call.hpp>

namespace normkernels {
inline namespace v0 {

/// Options of layer_norm_forward. `rows` and `cols`: the numbers of places along the other and
/// along the normalised axes.
template <class T>
struct LayerNormForward {
  Axes axes = Axes::from(1);                        // those that are normalised
  Line<const T> gamma = nullptr, beta = nullptr;    // [cols]: factors and summands; 1 and 0
  double epsilon = 1e-5;                            // finite, not negative
  OutStatistic<T> mean = nullptr, sigma = nullptr;  // [rows]: written, for the backward
  Workspace* workspace = nullptr;                   // not for dense rows of float or double
  const normkernels_executor* executor = nullptr;
};

/// Options of layer_norm_backward.
template <class T>
struct LayerNormBackward {
  Axes axes = Axes::from(1);
  Line<const T> gamma = nullptr;              // [cols], that of the forward
  Line<T> dgamma = nullptr, dbeta = nullptr;  // [cols]: written
  Workspace* workspace = nullptr;
  const normkernels_executor* executor = nullptr;
};

/// Options of add_layer_norm_forward.
template <class T>
struct AddLayerNormForward {
  Axes axes = Axes::from(1);
  Line<const T> bias = nullptr;                   // [cols]: added before it is normalised
  Line<const T> gamma = nullptr, beta = nullptr;  // [cols]
  double epsilon = 1e-5;
  OutStatistic<T> mean = nullptr, sigma = nullptr;  // [rows]: written
  Workspace* workspace = nullptr;
  const normkernels_executor* executor = nullptr;
};

/// Layer norm of x into y, which has its shape and may be x.
template <class X>
Status try_layer_norm_forward(const X& input, const Output<X>& y,
                              const LayerNormForward<Element<X>>& o = {}) noexcept {
  using T = Element<X>;
  const auto& x = detail::array_of(input);
  detail::Call call("layer_norm_forward", "x", x.layout());
  const detail::Matrix m = call.matrix(o.axes);
  call.same_shape("y", y);
  call.line("gamma", o.gamma, m.cols);
  call.line("beta", o.beta, m.cols);
  call.line("mean", o.mean, m.rows);
  call.line("sigma", o.sigma, m.rows);
  const normkernels_dtype type = detail::dtype_with<T>(o.gamma.is_wide(), o.beta.is_wide());
  if (call.is_dense())
    return call.run(normkernels_layer_norm_forward,
                    "dtype rows cols x gamma beta epsilon y mean sigma executor", type, m.rows,
                    m.cols, x.data(), o.gamma.data(), o.beta.data(), o.epsilon, y.data(),
                    o.mean.data(), o.sigma.data(), o.executor);
  const detail::Scratch scratch(
      call, o.workspace,
      normkernels_layer_norm_forward_view_workspace_bytes(type, x.rank(), x.shape(), m.axes));
  return call.run(normkernels_layer_norm_forward_view,
                  "dtype rank shape axes x x_strides gamma beta epsilon y y_strides mean sigma "
                  "workspace executor",
                  type, x.rank(), x.shape(), m.axes, x.data(), x.strides(), o.gamma.data(),
                  o.beta.data(), o.epsilon, y.data(), y.strides(), o.mean.data(), o.sigma.data(),
                  scratch.data(), o.executor);
}

/// Gradients of layer norm: of x into dx, which may be dy or x, and of gamma and beta. mean and
/// sigma are [rows], as the forward wrote them.
template <class X>
Status try_layer_norm_backward(const X& input, const Input<X>& x,
                               const InStatistic<Element<X>>& mean,
                               const InStatistic<Element<X>>& sigma, const Output<X>& dx,
                               const LayerNormBackward<Element<X>>& o = {}) noexcept {
  using T = Element<X>;
  const auto& dy = detail::array_of(input);
  detail::Call call("layer_norm_backward", "dy", dy.layout());
  const detail::Matrix m = call.matrix(o.axes);
  call.same_shape("x", x);
  call.line("mean", mean, m.rows);
  call.line("sigma", sigma, m.rows);
  call.same_shape("dx", dx);
  call.line("gamma", o.gamma, m.cols);
  call.line("dgamma", o.dgamma, m.cols);
  call.line("dbeta", o.dbeta, m.cols);
  call.same_type("dgamma", o.dgamma, o.gamma);
  const normkernels_dtype type =
      detail::dtype_with<T>(o.gamma.is_wide() || o.dgamma.is_wide(), o.dbeta.is_wide());
  if (call.is_dense()) {
    const detail::Scratch scratch(
        call, o.workspace, normkernels_layer_norm_backward_workspace_bytes(type, m.rows, m.cols));
    return call.run(normkernels_layer_norm_backward,
                    "dtype rows cols dy x mean sigma gamma dx dgamma dbeta workspace executor",
                    type, m.rows, m.cols, dy.data(), x.data(), mean.data(), sigma.data(),
                    o.gamma.data(), dx.data(), o.dgamma.data(), o.dbeta.data(), scratch.data(),
                    o.executor);
  }
  const detail::Scratch scratch(
      call, o.workspace,
      normkernels_layer_norm_backward_view_workspace_bytes(type, dy.rank(), dy.shape(), m.axes));
  return call.run(normkernels_layer_norm_backward_view,
                  "dtype rank shape axes dy dy_strides x x_strides mean sigma gamma dx dx_strides "
                  "dgamma dbeta workspace executor",
                  type, dy.rank(), dy.shape(), m.axes, dy.data(), dy.strides(), x.data(),
                  x.strides(), mean.data(), sigma.data(), o.gamma.data(), dx.data(), dx.strides(),
                  o.dgamma.data(), o.dbeta.data(), scratch.data(), o.executor);
}

/// total = x + residual + bias, and layer norm of it into y. All of one shape; total and y may be x
/// or residual.
template <class X>
Status try_add_layer_norm_forward(const X& input, const Input<X>& residual, const Output<X>& total,
                                  const Output<X>& y,
                                  const AddLayerNormForward<Element<X>>& o = {}) noexcept {
  using T = Element<X>;
  const auto& x = detail::array_of(input);
  detail::Call call("add_layer_norm_forward", "x", x.layout());
  const detail::Matrix m = call.matrix(o.axes);
  call.same_shape("residual", residual);
  call.same_shape("total", total);
  call.same_shape("y", y);
  call.line("bias", o.bias, m.cols);
  call.line("gamma", o.gamma, m.cols);
  call.line("beta", o.beta, m.cols);
  call.line("mean", o.mean, m.rows);
  call.line("sigma", o.sigma, m.rows);
  const normkernels_dtype type =
      detail::dtype_with<T>(o.gamma.is_wide(), o.beta.is_wide(), o.bias.is_wide());
  if (call.is_dense())
    return call.run(
        normkernels_add_layer_norm_forward,
        "dtype rows cols x residual bias gamma beta epsilon total y mean sigma executor", type,
        m.rows, m.cols, x.data(), residual.data(), o.bias.data(), o.gamma.data(), o.beta.data(),
        o.epsilon, total.data(), y.data(), o.mean.data(), o.sigma.data(), o.executor);
  const detail::Scratch scratch(
      call, o.workspace,
      normkernels_add_layer_norm_forward_view_workspace_bytes(type, x.rank(), x.shape(), m.axes));
  return call.run(normkernels_add_layer_norm_forward_view,
                  "dtype rank shape axes x x_strides residual residual_strides bias gamma beta "
                  "epsilon total total_strides y y_strides mean sigma workspace executor",
                  type, x.rank(), x.shape(), m.axes, x.data(), x.strides(), residual.data(),
                  residual.strides(), o.bias.data(), o.gamma.data(), o.beta.data(), o.epsilon,
                  total.data(), total.strides(), y.data(), y.strides(), o.mean.data(),
                  o.sigma.data(), scratch.data(), o.executor);
}

#ifdef __cpp_exceptions
template <class X>
void layer_norm_forward(const X& x, const Output<X>& y,
                        const LayerNormForward<Element<X>>& options = {}) {
  detail::throw_unless_ok(try_layer_norm_forward(x, y, options));
}
template <class X>
void layer_norm_backward(const X& dy, const Input<X>& x, const InStatistic<Element<X>>& mean,
                         const InStatistic<Element<X>>& sigma, const Output<X>& dx,
                         const LayerNormBackward<Element<X>>& options = {}) {
  detail::throw_unless_ok(try_layer_norm_backward(dy, x, mean, sigma, dx, options));
}
template <class X>
void add_layer_norm_forward(const X& x, const Input<X>& residual, const Output<X>& total,
                            const Output<X>& y,
                            const AddLayerNormForward<Element<X>>& options = {}) {
  detail::throw_unless_ok(try_add_layer_norm_forward(x, residual, total, y, options));
}
#endif

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_LAYER_NORM_HPP_
