// What the microbenchmarks time: arrays, and each operator as a function of them.
#ifndef NORMKERNELS_BENCH_SPEED_OPERATORS_H_
#define NORMKERNELS_BENCH_SPEED_OPERATORS_H_

#include <algorithm>
#include <cstdint>
#include <normkernels/normkernels.hpp>
#include <type_traits>
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

// Beside a half type statistics are of float.
template <class T>
using Statistic = std::conditional_t<sizeof(T) == 2, float, T>;

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
  nk::Rows rows() const { return {shape.n, shape.c * shape.spatial}; }

  nk::Tensor shape;
  std::vector<T> x, dy, y, dx, gamma, beta, dgamma, dbeta;
  std::vector<Statistic<T>> mean, std;

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
  void (*run)(Arrays<T>&, const Window&, void* workspace, Executor);
  std::size_t (*workspace_bytes)(const nk::Tensor&, const Window&);
};

template <class T>
void layer_norm_forward(Arrays<T>& a, const Window&, void*, Executor e) {
  nk::layer_norm_forward(a.rows(), a.x.data(), a.y.data(), a.gamma.data(), a.beta.data(), 1e-5,
                         a.mean.data(), a.std.data(), e);
}
template <class T>
void layer_norm_backward(Arrays<T>& a, const Window&, void* workspace, Executor e) {
  nk::layer_norm_backward(a.rows(), a.dy.data(), a.x.data(), a.mean.data(), a.std.data(),
                          a.dx.data(), a.gamma.data(), a.dgamma.data(), a.dbeta.data(), workspace,
                          e);
}
template <class T>
void rms_norm_forward(Arrays<T>& a, const Window&, void*, Executor e) {
  nk::rms_norm_forward(a.rows(), a.x.data(), a.y.data(), a.gamma.data(), nullptr, 1e-5,
                       a.std.data(), e);
}
template <class T>
void rms_norm_backward(Arrays<T>& a, const Window&, void* workspace, Executor e) {
  nk::rms_norm_backward(a.rows(), a.dy.data(), a.x.data(), a.dx.data(), a.std.data(),
                        a.gamma.data(), 1e-5, a.dgamma.data(), nullptr, workspace, e);
}
// dy is the residual, dx the total.
template <class T>
void add_layer_norm_forward(Arrays<T>& a, const Window&, void*, Executor e) {
  nk::add_layer_norm_forward(a.rows(), a.x.data(), a.dy.data(), a.dx.data(), a.y.data(), nullptr,
                             a.gamma.data(), a.beta.data(), 1e-5, a.mean.data(), a.std.data(), e);
}
template <class T>
void add_rms_norm_forward(Arrays<T>& a, const Window&, void*, Executor e) {
  nk::add_rms_norm_forward(a.rows(), a.x.data(), a.dy.data(), a.dx.data(), a.y.data(), nullptr,
                           a.gamma.data(), nullptr, 1e-5, a.std.data(), e);
}
template <class T>
void instance_norm_forward(Arrays<T>& a, const Window&, void* workspace, Executor e) {
  nk::instance_norm_forward(a.shape, a.x.data(), a.y.data(), a.gamma.data(), a.beta.data(), 1e-5,
                            a.mean.data(), a.std.data(), workspace, e);
}
template <class T>
void instance_norm_backward(Arrays<T>& a, const Window&, void* workspace, Executor e) {
  nk::instance_norm_backward(a.shape, a.dy.data(), a.x.data(), a.dx.data(), a.gamma.data(),
                             a.mean.data(), a.std.data(), 1e-5, a.dgamma.data(), a.dbeta.data(),
                             workspace, e);
}
template <class T>
void instance_norm_with_gradient(Arrays<T>& a, const Window&, void* workspace, Executor e) {
  nk::instance_norm_with_gradient(a.shape, a.x.data(), a.dy.data(), a.y.data(), a.dx.data(),
                                  a.gamma.data(), a.beta.data(), 1e-5, a.mean.data(), a.std.data(),
                                  a.dgamma.data(), a.dbeta.data(), workspace, e);
}
template <class T>
void group_norm_forward(Arrays<T>& a, const Window&, void* workspace, Executor e) {
  nk::group_norm_forward(a.shape, kGroups, a.x.data(), a.y.data(), a.gamma.data(), a.beta.data(),
                         1e-5, a.mean.data(), a.std.data(), workspace, e);
}
template <class T>
void group_norm_backward(Arrays<T>& a, const Window&, void* workspace, Executor e) {
  nk::group_norm_backward(a.shape, kGroups, a.dy.data(), a.x.data(), a.dx.data(), a.gamma.data(),
                          a.mean.data(), a.std.data(), 1e-5, a.dgamma.data(), a.dbeta.data(),
                          workspace, e);
}
template <class T>
void local_response_norm_forward(Arrays<T>& a, const Window& w, void* workspace, Executor e) {
  nk::local_response_norm_forward(a.shape, a.x.data(), a.y.data(), w.size, w.alpha, w.beta, w.bias,
                                  nullptr, workspace, e);
}
template <class T>
void local_response_norm_backward(Arrays<T>& a, const Window& w, void* workspace, Executor e) {
  nk::local_response_norm_backward(a.shape, a.dy.data(), a.x.data(), a.dx.data(), w.size, w.alpha,
                                   w.beta, w.bias, nullptr, nullptr, workspace, e);
}

template <class T>
std::size_t layer_norm_bytes(const nk::Tensor& s, const Window&) {
  return normkernels_layer_norm_backward_workspace_bytes(nk::dtype<T>, s.n, s.c * s.spatial);
}
template <class T>
std::size_t rms_norm_bytes(const nk::Tensor& s, const Window&) {
  return normkernels_rms_norm_backward_workspace_bytes(nk::dtype<T>, s.n, s.c * s.spatial);
}
template <class T>
std::size_t instance_norm_bytes(const nk::Tensor& s, const Window&) {
  return std::max(
      normkernels_instance_norm_forward_workspace_bytes(nk::dtype<T>, s.order, s.n, s.c, s.spatial),
      normkernels_instance_norm_backward_workspace_bytes(nk::dtype<T>, s.order, s.n, s.c,
                                                         s.spatial));
}
template <class T>
std::size_t group_norm_bytes(const nk::Tensor& s, const Window&) {
  return std::max(normkernels_group_norm_forward_workspace_bytes(nk::dtype<T>, s.order, s.n, s.c,
                                                                 s.spatial, kGroups),
                  normkernels_group_norm_backward_workspace_bytes(nk::dtype<T>, s.order, s.n, s.c,
                                                                  s.spatial, kGroups));
}
template <class T>
std::size_t local_response_norm_bytes(const nk::Tensor& s, const Window& w) {
  return normkernels_local_response_norm_workspace_bytes(nk::dtype<T>, s.order, s.n, s.c, s.spatial,
                                                         w.size);
}

// The backward passes start from what the forward has saved.
template <class T, auto forward>
void prepare(Arrays<T>& a) {
  forward(a, Window{}, nullptr, nullptr);
}

template <class T>
constexpr Operator<T> layer_norm[] = {
    {"layer_norm/forward", 2, nullptr, layer_norm_forward<T>, layer_norm_bytes<T>},
    {"layer_norm/backward", 3, prepare<T, layer_norm_forward<T>>, layer_norm_backward<T>,
     layer_norm_bytes<T>}};

template <class T>
constexpr Operator<T> rms_norm[] = {
    {"rms_norm/forward", 2, nullptr, rms_norm_forward<T>, rms_norm_bytes<T>},
    {"rms_norm/backward", 3, prepare<T, rms_norm_forward<T>>, rms_norm_backward<T>,
     rms_norm_bytes<T>},
    {"add_layer_norm/forward", 4, nullptr, add_layer_norm_forward<T>, rms_norm_bytes<T>},
    {"add_rms_norm/forward", 4, nullptr, add_rms_norm_forward<T>, rms_norm_bytes<T>}};

template <class T>
constexpr Operator<T> instance_norm[] = {
    {"instance_norm/forward", 2, nullptr, instance_norm_forward<T>, instance_norm_bytes<T>},
    {"instance_norm/backward", 3, prepare<T, instance_norm_forward<T>>, instance_norm_backward<T>,
     instance_norm_bytes<T>},
    {"instance_norm/with_gradient", 4, nullptr, instance_norm_with_gradient<T>,
     instance_norm_bytes<T>}};

template <class T>
constexpr Operator<T> group_norm[] = {
    {"group_norm/forward", 2, nullptr, group_norm_forward<T>, group_norm_bytes<T>},
    {"group_norm/backward", 3, prepare<T, group_norm_forward<T>>, group_norm_backward<T>,
     group_norm_bytes<T>}};

template <class T>
constexpr Operator<T> local_response_norm[] = {
    {"local_response_norm/forward", 2, nullptr, local_response_norm_forward<T>,
     local_response_norm_bytes<T>},
    {"local_response_norm/backward", 3, nullptr, local_response_norm_backward<T>,
     local_response_norm_bytes<T>}};

}  // namespace

#endif  // NORMKERNELS_BENCH_SPEED_OPERATORS_H_
