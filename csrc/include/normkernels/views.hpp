// The functions of normkernels.hpp on arrays with strides, and along any axes.
//
//     #include <normkernels/views.hpp>
//
//     const std::int64_t strides[] = {1536, 1};  // of the halves of rows of 1536
//     const normkernels::View left(x, strides), right(x + 768, strides);
//     normkernels::layer_norm_forward({rows, 768}, {-1}, left, right);
//
// Each is the C function of that name and _view, which normkernels.h describes. Axes below 0 count
// from the last one.
#ifndef NORMKERNELS_VIEWS_HPP_
#define NORMKERNELS_VIEWS_HPP_

#include <limits>
#include <normkernels/normkernels.hpp>

namespace normkernels {
inline namespace v0 {

/// The extents of an array of any rank, and some of its axes.
using Shape = std::vector<std::int64_t>;
using Axes = std::vector<int>;

/// An array and its strides in elements, one for each axis: of neither it holds more than the
/// address. Without strides it is dense.
template <class T>
struct View {
  View(T* array, const std::int64_t* array_strides = nullptr)
      : data(array), strides(array_strides) {}
  template <class Other, class = std::enable_if_t<std::is_same_v<const Other, T>>>
  View(const View<Other>& other) : data(other.data), strides(other.strides) {}

  T* data;
  const std::int64_t* strides;
};
template <class T>
using InView = View<const std::common_type_t<T>>;
template <class T>
using OutView = View<std::common_type_t<T>>;

namespace detail {

inline std::int32_t rank(const Shape& shape) {
  constexpr std::size_t most = std::numeric_limits<std::int32_t>::max();
  return static_cast<std::int32_t>(std::min(shape.size(), most));
}

// A bit for each axis.
inline std::uint64_t bits(const Axes& axes, const Shape& shape, const char* function) {
  std::uint64_t result = 0;
  for (const int axis : axes) {
    const int index = axis < 0 ? axis + rank(shape) : axis;
    if (index < 0 || index >= std::min(rank(shape), 64))
      check(NORMKERNELS_BAD_AXES + 4, function, "dtype rank shape axes");
    result |= std::uint64_t{1} << index;
  }
  return result;
}

}  // namespace detail

template <class T>
void layer_norm_forward(const Shape& shape, const Axes& axes, View<T> x, OutView<T> y,
                        InParameter<T> gamma = nullptr, InParameter<T> beta = nullptr,
                        double epsilon = 1e-5, OutStatistic<T> mean = nullptr,
                        OutStatistic<T> sigma = nullptr, void* workspace = nullptr,
                        const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({gamma}, {beta});
  const std::int32_t rank = detail::rank(shape);
  const std::uint64_t mask = detail::bits(axes, shape, "layer_norm_forward");
  const detail::Workspace scratch(workspace, normkernels_layer_norm_forward_view_workspace_bytes(
                                                 type, rank, shape.data(), mask));
  detail::check(normkernels_layer_norm_forward_view(
                    type, rank, shape.data(), mask, x.data, x.strides, gamma.data, beta.data,
                    epsilon, y.data, y.strides, mean, sigma, scratch.data(), executor),
                "layer_norm_forward",
                "dtype rank shape axes x x_strides gamma beta epsilon y y_strides mean sigma "
                "workspace executor");
}

template <class T>
void layer_norm_backward(const Shape& shape, const Axes& axes, View<T> dy, InView<T> x,
                         InStatistic<T> mean, InStatistic<T> sigma, OutView<T> dx,
                         InParameter<T> gamma = nullptr, OutParameter<T> dgamma = nullptr,
                         OutParameter<T> dbeta = nullptr, void* workspace = nullptr,
                         const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({gamma, dgamma}, {dbeta});
  const std::int32_t rank = detail::rank(shape);
  const std::uint64_t mask = detail::bits(axes, shape, "layer_norm_backward");
  const detail::Workspace scratch(workspace, normkernels_layer_norm_backward_view_workspace_bytes(
                                                 type, rank, shape.data(), mask));
  detail::check(
      normkernels_layer_norm_backward_view(
          type, rank, shape.data(), mask, dy.data, dy.strides, x.data, x.strides, mean, sigma,
          gamma.data, dx.data, dx.strides, dgamma.data, dbeta.data, scratch.data(), executor),
      "layer_norm_backward",
      "dtype rank shape axes dy dy_strides x x_strides mean sigma gamma dx dx_strides dgamma dbeta "
      "workspace executor");
}

template <class T>
void moments(const Shape& shape, const Axes& axes, View<T> x, normkernels_row_moments* moments,
             void* workspace = nullptr, const normkernels_executor* executor = nullptr) {
  const std::int32_t rank = detail::rank(shape);
  const std::uint64_t mask = detail::bits(axes, shape, "moments");
  const detail::Workspace scratch(
      workspace, normkernels_moments_view_workspace_bytes(dtype<T>, rank, shape.data(), mask));
  detail::check(normkernels_moments_view(dtype<T>, rank, shape.data(), mask, x.data, x.strides,
                                         moments, scratch.data(), executor),
                "moments", "dtype rank shape axes x x_strides moments workspace executor");
}

template <class T>
void rms_norm_forward(const Shape& shape, const Axes& axes, View<T> x, OutView<T> y,
                      InParameter<T> gamma = nullptr, InParameter<T> beta = nullptr,
                      double epsilon = 1e-5, OutStatistic<T> rstd = nullptr,
                      void* workspace = nullptr, const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({gamma}, {beta});
  const std::int32_t rank = detail::rank(shape);
  const std::uint64_t mask = detail::bits(axes, shape, "rms_norm_forward");
  const detail::Workspace scratch(
      workspace, normkernels_rms_norm_forward_view_workspace_bytes(type, rank, shape.data(), mask));
  detail::check(normkernels_rms_norm_forward_view(type, rank, shape.data(), mask, x.data, x.strides,
                                                  gamma.data, beta.data, epsilon, y.data, y.strides,
                                                  rstd, scratch.data(), executor),
                "rms_norm_forward",
                "dtype rank shape axes x x_strides gamma beta epsilon y y_strides rstd workspace "
                "executor");
}

template <class T>
void rms_norm_backward(const Shape& shape, const Axes& axes, View<T> dy, InView<T> x, OutView<T> dx,
                       InStatistic<T> rstd = nullptr, InParameter<T> gamma = nullptr,
                       double epsilon = 1e-5, OutParameter<T> dgamma = nullptr,
                       OutParameter<T> dbeta = nullptr, void* workspace = nullptr,
                       const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({gamma, dgamma}, {dbeta});
  const std::int32_t rank = detail::rank(shape);
  const std::uint64_t mask = detail::bits(axes, shape, "rms_norm_backward");
  const detail::Workspace scratch(workspace, normkernels_rms_norm_backward_view_workspace_bytes(
                                                 type, rank, shape.data(), mask));
  detail::check(
      normkernels_rms_norm_backward_view(
          type, rank, shape.data(), mask, dy.data, dy.strides, x.data, x.strides, rstd, gamma.data,
          epsilon, dx.data, dx.strides, dgamma.data, dbeta.data, scratch.data(), executor),
      "rms_norm_backward",
      "dtype rank shape axes dy dy_strides x x_strides rstd gamma epsilon dx dx_strides dgamma "
      "dbeta workspace executor");
}

template <class T>
void add_layer_norm_forward(const Shape& shape, const Axes& axes, View<T> x, InView<T> residual,
                            OutView<T> total, OutView<T> y, InParameter<T> bias = nullptr,
                            InParameter<T> gamma = nullptr, InParameter<T> beta = nullptr,
                            double epsilon = 1e-5, OutStatistic<T> mean = nullptr,
                            OutStatistic<T> sigma = nullptr, void* workspace = nullptr,
                            const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({gamma}, {beta}, {bias});
  const std::int32_t rank = detail::rank(shape);
  const std::uint64_t mask = detail::bits(axes, shape, "add_layer_norm_forward");
  const detail::Workspace scratch(
      workspace,
      normkernels_add_layer_norm_forward_view_workspace_bytes(type, rank, shape.data(), mask));
  detail::check(normkernels_add_layer_norm_forward_view(
                    type, rank, shape.data(), mask, x.data, x.strides, residual.data,
                    residual.strides, bias.data, gamma.data, beta.data, epsilon, total.data,
                    total.strides, y.data, y.strides, mean, sigma, scratch.data(), executor),
                "add_layer_norm_forward",
                "dtype rank shape axes x x_strides residual residual_strides bias gamma beta "
                "epsilon total total_strides y y_strides mean sigma workspace executor");
}

template <class T>
void add_rms_norm_forward(const Shape& shape, const Axes& axes, View<T> x, InView<T> residual,
                          OutView<T> total, OutView<T> y, InParameter<T> bias = nullptr,
                          InParameter<T> gamma = nullptr, InParameter<T> beta = nullptr,
                          double epsilon = 1e-5, OutStatistic<T> rstd = nullptr,
                          void* workspace = nullptr,
                          const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({gamma}, {beta}, {bias});
  const std::int32_t rank = detail::rank(shape);
  const std::uint64_t mask = detail::bits(axes, shape, "add_rms_norm_forward");
  const detail::Workspace scratch(workspace, normkernels_add_rms_norm_forward_view_workspace_bytes(
                                                 type, rank, shape.data(), mask));
  detail::check(normkernels_add_rms_norm_forward_view(
                    type, rank, shape.data(), mask, x.data, x.strides, residual.data,
                    residual.strides, bias.data, gamma.data, beta.data, epsilon, total.data,
                    total.strides, y.data, y.strides, rstd, scratch.data(), executor),
                "add_rms_norm_forward",
                "dtype rank shape axes x x_strides residual residual_strides bias gamma beta "
                "epsilon total total_strides y y_strides rstd workspace executor");
}

template <class T>
void instance_norm_forward(Order order, const Shape& shape, View<T> x, OutView<T> y,
                           InParameter<T> scale = nullptr, InParameter<T> bias = nullptr,
                           double epsilon = 1e-5, OutStatistic<T> mean = nullptr,
                           OutStatistic<T> inv_std = nullptr, void* workspace = nullptr,
                           const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({scale}, {bias});
  const std::int32_t rank = detail::rank(shape);
  const detail::Workspace scratch(workspace, normkernels_instance_norm_forward_view_workspace_bytes(
                                                 type, order, rank, shape.data()));
  detail::check(normkernels_instance_norm_forward_view(
                    type, order, rank, shape.data(), x.data, x.strides, scale.data, bias.data,
                    epsilon, y.data, y.strides, mean, inv_std, scratch.data(), executor),
                "instance_norm_forward",
                "dtype order rank shape x x_strides scale bias epsilon y y_strides mean inv_std "
                "workspace executor");
}

template <class T>
void instance_norm_backward(Order order, const Shape& shape, View<T> dy, InView<T> x, OutView<T> dx,
                            InParameter<T> scale = nullptr, InStatistic<T> mean = nullptr,
                            InStatistic<T> inv_std = nullptr, double epsilon = 1e-5,
                            OutParameter<T> dscale = nullptr, OutParameter<T> dbias = nullptr,
                            void* workspace = nullptr,
                            const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({scale, dscale}, {dbias});
  const std::int32_t rank = detail::rank(shape);
  const detail::Workspace scratch(
      workspace,
      normkernels_instance_norm_backward_view_workspace_bytes(type, order, rank, shape.data()));
  detail::check(
      normkernels_instance_norm_backward_view(
          type, order, rank, shape.data(), dy.data, dy.strides, x.data, x.strides, scale.data, mean,
          inv_std, epsilon, dx.data, dx.strides, dscale.data, dbias.data, scratch.data(), executor),
      "instance_norm_backward",
      "dtype order rank shape dy dy_strides x x_strides scale mean inv_std epsilon dx "
      "dx_strides dscale dbias workspace executor");
}

template <class T>
void instance_norm_with_gradient(Order order, const Shape& shape, View<T> x, InView<T> dy,
                                 OutView<T> y, OutView<T> dx, InParameter<T> scale = nullptr,
                                 InParameter<T> bias = nullptr, double epsilon = 1e-5,
                                 OutStatistic<T> mean = nullptr, OutStatistic<T> inv_std = nullptr,
                                 OutParameter<T> dscale = nullptr, OutParameter<T> dbias = nullptr,
                                 void* workspace = nullptr,
                                 const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({scale, dscale}, {bias, dbias});
  const std::int32_t rank = detail::rank(shape);
  const detail::Workspace scratch(
      workspace,
      normkernels_instance_norm_backward_view_workspace_bytes(type, order, rank, shape.data()));
  detail::check(normkernels_instance_norm_with_gradient_view(
                    type, order, rank, shape.data(), x.data, x.strides, scale.data, bias.data,
                    dy.data, dy.strides, epsilon, y.data, y.strides, mean, inv_std, dx.data,
                    dx.strides, dscale.data, dbias.data, scratch.data(), executor),
                "instance_norm_with_gradient",
                "dtype order rank shape x x_strides scale bias dy dy_strides epsilon y y_strides "
                "mean inv_std dx dx_strides dscale dbias workspace executor");
}

template <class T>
void group_norm_forward(Order order, const Shape& shape, std::int64_t groups, View<T> x,
                        OutView<T> y, InParameter<T> scale = nullptr, InParameter<T> bias = nullptr,
                        double epsilon = 1e-5, OutStatistic<T> mean = nullptr,
                        OutStatistic<T> inv_std = nullptr, void* workspace = nullptr,
                        const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({scale}, {bias});
  const std::int32_t rank = detail::rank(shape);
  const detail::Workspace scratch(workspace, normkernels_group_norm_forward_view_workspace_bytes(
                                                 type, order, rank, shape.data(), groups));
  detail::check(normkernels_group_norm_forward_view(
                    type, order, rank, shape.data(), groups, x.data, x.strides, scale.data,
                    bias.data, epsilon, y.data, y.strides, mean, inv_std, scratch.data(), executor),
                "group_norm_forward",
                "dtype order rank shape groups x x_strides scale bias epsilon y y_strides mean "
                "inv_std workspace executor");
}

template <class T>
void group_norm_backward(Order order, const Shape& shape, std::int64_t groups, View<T> dy,
                         InView<T> x, OutView<T> dx, InParameter<T> scale = nullptr,
                         InStatistic<T> mean = nullptr, InStatistic<T> inv_std = nullptr,
                         double epsilon = 1e-5, OutParameter<T> dscale = nullptr,
                         OutParameter<T> dbias = nullptr, void* workspace = nullptr,
                         const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({scale, dscale}, {dbias});
  const std::int32_t rank = detail::rank(shape);
  const detail::Workspace scratch(workspace, normkernels_group_norm_backward_view_workspace_bytes(
                                                 type, order, rank, shape.data(), groups));
  detail::check(normkernels_group_norm_backward_view(
                    type, order, rank, shape.data(), groups, dy.data, dy.strides, x.data, x.strides,
                    scale.data, mean, inv_std, epsilon, dx.data, dx.strides, dscale.data,
                    dbias.data, scratch.data(), executor),
                "group_norm_backward",
                "dtype order rank shape groups dy dy_strides x x_strides scale mean inv_std "
                "epsilon dx dx_strides dscale dbias workspace executor");
}

template <class T>
void local_response_norm_forward(Order order, const Shape& shape, View<T> x, OutView<T> y,
                                 std::int64_t size, double alpha, double beta, double bias,
                                 OutView<T> scale = nullptr, void* workspace = nullptr,
                                 const normkernels_executor* executor = nullptr) {
  const std::int32_t rank = detail::rank(shape);
  const detail::Workspace scratch(workspace, normkernels_local_response_norm_view_workspace_bytes(
                                                 dtype<T>, order, rank, shape.data(), size));
  detail::check(normkernels_local_response_norm_forward_view(
                    dtype<T>, order, rank, shape.data(), x.data, x.strides, size, alpha, beta, bias,
                    y.data, y.strides, scale.data, scale.strides, scratch.data(), executor),
                "local_response_norm_forward",
                "dtype order rank shape x x_strides size alpha beta bias y y_strides scale "
                "scale_strides workspace executor");
}

template <class T>
void local_response_norm_backward(Order order, const Shape& shape, View<T> dy, InView<T> x,
                                  OutView<T> dx, std::int64_t size, double alpha, double beta,
                                  double bias, InView<T> y = nullptr, InView<T> scale = nullptr,
                                  void* workspace = nullptr,
                                  const normkernels_executor* executor = nullptr) {
  const std::int32_t rank = detail::rank(shape);
  const detail::Workspace scratch(workspace, normkernels_local_response_norm_view_workspace_bytes(
                                                 dtype<T>, order, rank, shape.data(), size));
  detail::check(normkernels_local_response_norm_backward_view(
                    dtype<T>, order, rank, shape.data(), dy.data, dy.strides, x.data, x.strides,
                    y.data, y.strides, scale.data, scale.strides, size, alpha, beta, bias, dx.data,
                    dx.strides, scratch.data(), executor),
                "local_response_norm_backward",
                "dtype order rank shape dy dy_strides x x_strides y y_strides scale scale_strides "
                "size alpha beta bias dx dx_strides workspace executor");
}

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_VIEWS_HPP_
