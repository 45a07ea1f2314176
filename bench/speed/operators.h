// What the microbenchmarks time: arrays, and each operator as a function of them.
#ifndef NORMKERNELS_BENCH_SPEED_OPERATORS_H_
#define NORMKERNELS_BENCH_SPEED_OPERATORS_H_

#include <cstdint>
#include <normkernels/normkernels.hpp>
#include <vector>

namespace {

namespace nk = normkernels;

constexpr std::int64_t kGroups = 32;  // of group norm

struct Window {
  std::int64_t size;
  double alpha, beta, bias;
  const char*
      label;  // empty for the usual one, which runs on every shape; the others run on the first
};

template <class T>
struct Arrays {
  explicit Arrays(nk::Tensor tensor)
      : shape(tensor),
        x(size(tensor.n * tensor.c * tensor.spatial)),
        dy(x.size()),
        y(x.size()),
        dx(x.size()),
        gamma(size(tensor.c * tensor.spatial), static_cast<T>(1.5f)),
        beta(gamma.size(), static_cast<T>(0.5f)),
        dgamma(gamma.size()),
        dbeta(gamma.size()),
        mean(size(tensor.n * tensor.c)),
        std(mean.size()) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = number(i * 2654435761u);
      dy[i] = number(i * 2246822519u);
    }
  }
  // An array of as many elements as rows, and as images.
  nk::Array<T> matrix(std::vector<T>& array) const {
    return {array.data(), {shape.n, shape.c * shape.spatial}};
  }
  nk::Array<T> images(std::vector<T>& array) const {
    if (shape.order == nk::nhwc) return {array.data(), {shape.n, shape.spatial, shape.c}};
    return {array.data(), {shape.n, shape.c, shape.spatial}};
  }

  nk::Tensor shape;
  std::vector<T> x, dy, y, dx, gamma, beta, dgamma, dbeta;
  std::vector<nk::Computed<T>> mean, std;

 private:
  static T number(std::size_t i) {
    return static_cast<T>(static_cast<float>(i % 2048) / 1024.0f - 1.0f);
  }
  static std::size_t size(std::int64_t extent) { return static_cast<std::size_t>(extent); }
};

using Executor = const normkernels_executor*;

template <class T>
struct Operator {
  const char* name;
  int arrays_moved;
  void (*prepare)(Arrays<T>&);
  void (*run)(Arrays<T>&, const Window&, nk::Workspace*, Executor);
};

template <class T>
void layer_norm_forward(Arrays<T>& a, const Window&, nk::Workspace* w, Executor e) {
  nk::layer_norm_forward(a.matrix(a.x), a.matrix(a.y),
                         {.gamma = a.gamma,
                          .beta = a.beta,
                          .mean = a.mean.data(),
                          .sigma = a.std.data(),
                          .workspace = w,
                          .executor = e});
}
template <class T>
void layer_norm_backward(Arrays<T>& a, const Window&, nk::Workspace* w, Executor e) {
  nk::layer_norm_backward(
      a.matrix(a.dy), a.matrix(a.x), a.mean.data(), a.std.data(), a.matrix(a.dx),
      {.gamma = a.gamma, .dgamma = a.dgamma, .dbeta = a.dbeta, .workspace = w, .executor = e});
}
template <class T>
void rms_norm_forward(Arrays<T>& a, const Window&, nk::Workspace* w, Executor e) {
  nk::rms_norm_forward(a.matrix(a.x), a.matrix(a.y),
                       {.gamma = a.gamma, .rstd = a.std.data(), .workspace = w, .executor = e});
}
template <class T>
void rms_norm_backward(Arrays<T>& a, const Window&, nk::Workspace* w, Executor e) {
  nk::rms_norm_backward(
      a.matrix(a.dy), a.matrix(a.x), a.matrix(a.dx),
      {.rstd = a.std.data(), .gamma = a.gamma, .dgamma = a.dgamma, .workspace = w, .executor = e});
}
// dy is the residual, dx the total.
template <class T>
void add_layer_norm_forward(Arrays<T>& a, const Window&, nk::Workspace* w, Executor e) {
  nk::add_layer_norm_forward(a.matrix(a.x), a.matrix(a.dy), a.matrix(a.dx), a.matrix(a.y),
                             {.gamma = a.gamma,
                              .beta = a.beta,
                              .mean = a.mean.data(),
                              .sigma = a.std.data(),
                              .workspace = w,
                              .executor = e});
}
template <class T>
void add_rms_norm_forward(Arrays<T>& a, const Window&, nk::Workspace* w, Executor e) {
  nk::add_rms_norm_forward(a.matrix(a.x), a.matrix(a.dy), a.matrix(a.dx), a.matrix(a.y),
                           {.gamma = a.gamma, .rstd = a.std.data(), .workspace = w, .executor = e});
}
// Of the parameters, whose size is that of a row, the first are those of the channels.
template <class T>
void instance_norm_forward(Arrays<T>& a, const Window&, nk::Workspace* w, Executor e) {
  nk::instance_norm_forward(a.images(a.x), a.images(a.y),
                            {.order = a.shape.order,
                             .scale = a.gamma.data(),
                             .bias = a.beta.data(),
                             .mean = a.mean.data(),
                             .inv_std = a.std.data(),
                             .workspace = w,
                             .executor = e});
}
template <class T>
void instance_norm_backward(Arrays<T>& a, const Window&, nk::Workspace* w, Executor e) {
  nk::instance_norm_backward(a.images(a.dy), a.images(a.x), a.images(a.dx),
                             {.order = a.shape.order,
                              .scale = a.gamma.data(),
                              .mean = a.mean.data(),
                              .inv_std = a.std.data(),
                              .dscale = a.dgamma.data(),
                              .dbias = a.dbeta.data(),
                              .workspace = w,
                              .executor = e});
}
template <class T>
void instance_norm_with_gradient(Arrays<T>& a, const Window&, nk::Workspace* w, Executor e) {
  nk::instance_norm_with_gradient(a.images(a.x), a.images(a.dy), a.images(a.y), a.images(a.dx),
                                  {.order = a.shape.order,
                                   .scale = a.gamma.data(),
                                   .bias = a.beta.data(),
                                   .mean = a.mean.data(),
                                   .inv_std = a.std.data(),
                                   .dscale = a.dgamma.data(),
                                   .dbias = a.dbeta.data(),
                                   .workspace = w,
                                   .executor = e});
}
template <class T>
void group_norm_forward(Arrays<T>& a, const Window&, nk::Workspace* w, Executor e) {
  nk::group_norm_forward(a.images(a.x), a.images(a.y), kGroups,
                         {.order = a.shape.order,
                          .scale = a.gamma.data(),
                          .bias = a.beta.data(),
                          .mean = a.mean.data(),
                          .inv_std = a.std.data(),
                          .workspace = w,
                          .executor = e});
}
template <class T>
void group_norm_backward(Arrays<T>& a, const Window&, nk::Workspace* w, Executor e) {
  nk::group_norm_backward(a.images(a.dy), a.images(a.x), a.images(a.dx), kGroups,
                          {.order = a.shape.order,
                           .scale = a.gamma.data(),
                           .mean = a.mean.data(),
                           .inv_std = a.std.data(),
                           .dscale = a.dgamma.data(),
                           .dbias = a.dbeta.data(),
                           .workspace = w,
                           .executor = e});
}
template <class T>
void local_response_norm_forward(Arrays<T>& a, const Window& window, nk::Workspace* w, Executor e) {
  nk::local_response_norm_forward(a.images(a.x), a.images(a.y), window.size,
                                  {.order = a.shape.order,
                                   .alpha = window.alpha,
                                   .beta = window.beta,
                                   .bias = window.bias,
                                   .workspace = w,
                                   .executor = e});
}
template <class T>
void local_response_norm_backward(Arrays<T>& a, const Window& window, nk::Workspace* w,
                                  Executor e) {
  nk::local_response_norm_backward(a.images(a.dy), a.images(a.x), a.images(a.dx), window.size,
                                   {.order = a.shape.order,
                                    .alpha = window.alpha,
                                    .beta = window.beta,
                                    .bias = window.bias,
                                    .workspace = w,
                                    .executor = e});
}

// The backward passes start from what the forward has saved.
template <class T, auto forward>
void prepare(Arrays<T>& a) {
  forward(a, Window{}, nullptr, nullptr);
}

template <class T>
constexpr Operator<T> layer_norm[] = {
    {"layer_norm/forward", 2, nullptr, layer_norm_forward<T>},
    {"layer_norm/backward", 3, prepare<T, layer_norm_forward<T>>, layer_norm_backward<T>}};

template <class T>
constexpr Operator<T> rms_norm[] = {
    {"rms_norm/forward", 2, nullptr, rms_norm_forward<T>},
    {"rms_norm/backward", 3, prepare<T, rms_norm_forward<T>>, rms_norm_backward<T>},
    {"add_layer_norm/forward", 4, nullptr, add_layer_norm_forward<T>},
    {"add_rms_norm/forward", 4, nullptr, add_rms_norm_forward<T>}};

template <class T>
constexpr Operator<T> instance_norm[] = {
    {"instance_norm/forward", 2, nullptr, instance_norm_forward<T>},
    {"instance_norm/backward", 3, prepare<T, instance_norm_forward<T>>, instance_norm_backward<T>},
    {"instance_norm/with_gradient", 4, nullptr, instance_norm_with_gradient<T>}};

template <class T>
constexpr Operator<T> group_norm[] = {
    {"group_norm/forward", 2, nullptr, group_norm_forward<T>},
    {"group_norm/backward", 3, prepare<T, group_norm_forward<T>>, group_norm_backward<T>}};

template <class T>
constexpr Operator<T> local_response_norm[] = {
    {"local_response_norm/forward", 2, nullptr, local_response_norm_forward<T>},
    {"local_response_norm/backward", 3, nullptr, local_response_norm_backward<T>}};

}  // namespace

#endif  // NORMKERNELS_BENCH_SPEED_OPERATORS_H_
