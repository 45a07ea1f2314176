// normkernels for C++17: the C interface of normkernels.h with types. Header-only.
//
//     #include <normkernels/normkernels.hpp>
//
//     std::vector<float> x = {1, 2, 3, 4, 40000, 40001, 40002, 40003}, y(8);
//     normkernels::layer_norm_forward({2, 4}, x.data(), y.data());
//
// Every function here is the C function of that name: normkernels.h says what it computes, which
// arrays may be the same one, and what the shapes are. What this header adds:
//
//   Types      float and double are told apart by the type of the arrays.
//   Defaults   Optional arrays come last and default to nullptr, epsilon to 1e-5.
//   Errors     are thrown as normkernels::error, which names the function and the argument.
//   Workspace  is allocated where the function needs one, unless the caller gives it: aligned to
//              64 bytes.
//
// The functions on arrays with strides are in views.hpp.
#ifndef NORMKERNELS_NORMKERNELS_HPP_
#define NORMKERNELS_NORMKERNELS_HPP_

#include <normkernels/normkernels.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace normkernels {
// The library's own C++ symbols live in `normkernels`, too; an inline namespace keeps the two apart
// in a static link.
inline namespace v0 {

/// The dtype of an element type: float or double.
template <class T>
inline constexpr normkernels_dtype dtype = [] {
  using Element = std::remove_const_t<T>;
  static_assert(std::is_same_v<Element, float> || std::is_same_v<Element, double>,
                "arrays of float or double");
  return std::is_same_v<Element, float> ? NORMKERNELS_F32 : NORMKERNELS_F64;
}();

/// A matrix, row-major.
struct Rows {
  std::int64_t rows, cols;
};

enum Order : normkernels_order { nchw = NORMKERNELS_NCHW, nhwc = NORMKERNELS_NHWC };

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

/// An argument was refused. Nothing has been written.
class error : public std::invalid_argument {
 public:
  error(normkernels_status status, const std::string& message)
      : std::invalid_argument(message), status_(status) {}
  normkernels_status status() const noexcept { return status_; }
  normkernels_status kind() const noexcept { return normkernels_status_kind(status_); }

 private:
  normkernels_status status_;
};

namespace detail {

// `parameters` are the names of the C function's parameters, separated by spaces.
inline void check(normkernels_status status, const char* function, std::string_view parameters) {
  if (status == NORMKERNELS_OK) return;
  std::string message = function;
  if (const std::int32_t position = normkernels_status_argument(status); position > 0) {
    for (std::int32_t i = 1; i < position && !parameters.empty(); ++i)
      parameters.remove_prefix(std::min(parameters.find(' '), parameters.size() - 1) + 1);
    if (!parameters.empty())
      message.append(": ").append(parameters.substr(0, parameters.find(' ')));
  }
  throw error(status, message + ": " + normkernels_status_string(status));
}

// The caller's workspace, or one of our own where there is none.
class Workspace {
 public:
  Workspace(void* given, std::size_t bytes) : data_(given) {
    if (given != nullptr || bytes == 0) return;
    own_.reset(::operator new(bytes, alignment));
    data_ = own_.get();
  }
  void* data() const { return data_; }

 private:
  static constexpr std::align_val_t alignment{64};
  struct Delete {
    void operator()(void* p) const { ::operator delete(p, alignment); }
  };
  std::unique_ptr<void, Delete> own_;
  void* data_;
};

}  // namespace detail

// ---- Threads and instruction sets ---------------------------------------------------------------

/// The caller's own threads as an executor. `run(tasks, task)` calls task(i) once for every i in
/// [0, tasks), in any order and on any threads, and returns when all are done; it must not throw.
/// Pass its address where a function takes an executor; it must outlive the call.
template <class Run>
class Executor : public normkernels_executor {
 public:
  explicit Executor(Run function, std::int32_t thread_count = 0)
      : normkernels_executor{sizeof(normkernels_executor), thread_count, &call, nullptr},
        run_(std::move(function)) {
    context = &run_;
  }
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

 private:
  static void call(void* self, std::int64_t tasks, void (*task)(void*, std::int64_t),
                   void* argument) {
    (*static_cast<Run*>(self))(tasks, [=](std::int64_t index) { task(argument, index); });
  }
  Run run_;
};

/// The library's threads, `count` of them at most.
inline normkernels_executor threads(std::int32_t count) {
  return {sizeof(normkernels_executor), count, nullptr, nullptr};
}

inline std::int32_t num_threads() { return normkernels_num_threads(); }

inline void set_num_threads(std::int32_t count) {
  detail::check(normkernels_set_num_threads(count), "set_num_threads", "num_threads");
}

inline const char* version() { return normkernels_version(); }

struct Isa {
  std::string name;
  bool supported;
};

/// The instruction sets of this build, worst first.
inline std::vector<Isa> isas() {
  std::vector<Isa> result;
  for (std::int32_t i = 0; i < normkernels_isa_count(); ++i) {
    result.push_back({normkernels_isa_name(i), normkernels_isa_supported(i) != 0});
  }
  return result;
}

/// The one in use; empty where NORMKERNELS_ISA names one that cannot be, or the machine has none.
inline std::string active_isa() {
  const char* name = normkernels_isa_name(normkernels_isa_active());
  return name == nullptr ? std::string() : std::string(name);
}

inline void force_isa(const char* name) {
  detail::check(normkernels_isa_force(name), "isa_force", "name");
}

// ---- Layer norm ---------------------------------------------------------------------------------

template <class T>
void layer_norm_forward(Rows shape, const T* x, Out<T> y, In<T> gamma = nullptr,
                        In<T> beta = nullptr, double epsilon = 1e-5, Out<T> mean = nullptr,
                        Out<T> sigma = nullptr, const normkernels_executor* executor = nullptr) {
  detail::check(normkernels_layer_norm_forward(dtype<T>, shape.rows, shape.cols, x, gamma, beta,
                                               epsilon, y, mean, sigma, executor),
                "layer_norm_forward", "dtype rows cols x gamma beta epsilon y mean sigma executor");
}

template <class T>
void layer_norm_backward(Rows shape, const T* dy, In<T> x, In<T> mean, In<T> sigma, Out<T> dx,
                         In<T> gamma = nullptr, Out<T> dgamma = nullptr, Out<T> dbeta = nullptr,
                         void* workspace = nullptr,
                         const normkernels_executor* executor = nullptr) {
  const detail::Workspace scratch(
      workspace, normkernels_layer_norm_backward_workspace_bytes(dtype<T>, shape.rows, shape.cols));
  detail::check(
      normkernels_layer_norm_backward(dtype<T>, shape.rows, shape.cols, dy, x, mean, sigma, gamma,
                                      dx, dgamma, dbeta, scratch.data(), executor),
      "layer_norm_backward",
      "dtype rows cols dy x mean sigma gamma dx dgamma dbeta workspace executor");
}

// ---- Instance norm ------------------------------------------------------------------------------

template <class T>
void instance_norm_forward(Tensor shape, const T* x, Out<T> y, In<T> scale = nullptr,
                           In<T> bias = nullptr, double epsilon = 1e-5, Out<T> mean = nullptr,
                           Out<T> inv_std = nullptr, void* workspace = nullptr,
                           const normkernels_executor* executor = nullptr) {
  const detail::Workspace scratch(
      workspace, normkernels_instance_norm_forward_workspace_bytes(dtype<T>, shape.order, shape.n,
                                                                   shape.c, shape.spatial));
  detail::check(normkernels_instance_norm_forward(dtype<T>, shape.order, shape.n, shape.c,
                                                  shape.spatial, x, scale, bias, epsilon, y, mean,
                                                  inv_std, scratch.data(), executor),
                "instance_norm_forward",
                "dtype order n c spatial x scale bias epsilon y mean inv_std workspace executor");
}

template <class T>
void instance_norm_backward(Tensor shape, const T* dy, In<T> x, Out<T> dx, In<T> scale = nullptr,
                            In<T> mean = nullptr, In<T> inv_std = nullptr, double epsilon = 1e-5,
                            Out<T> dscale = nullptr, Out<T> dbias = nullptr,
                            void* workspace = nullptr,
                            const normkernels_executor* executor = nullptr) {
  const detail::Workspace scratch(
      workspace, normkernels_instance_norm_backward_workspace_bytes(dtype<T>, shape.order, shape.n,
                                                                    shape.c, shape.spatial));
  detail::check(
      normkernels_instance_norm_backward(dtype<T>, shape.order, shape.n, shape.c, shape.spatial, dy,
                                         x, scale, mean, inv_std, epsilon, dx, dscale, dbias,
                                         scratch.data(), executor),
      "instance_norm_backward",
      "dtype order n c spatial dy x scale mean inv_std epsilon dx dscale dbias workspace executor");
}

template <class T>
void instance_norm_with_gradient(Tensor shape, const T* x, In<T> dy, Out<T> y, Out<T> dx,
                                 In<T> scale = nullptr, In<T> bias = nullptr, double epsilon = 1e-5,
                                 Out<T> mean = nullptr, Out<T> inv_std = nullptr,
                                 Out<T> dscale = nullptr, Out<T> dbias = nullptr,
                                 void* workspace = nullptr,
                                 const normkernels_executor* executor = nullptr) {
  const detail::Workspace scratch(
      workspace, normkernels_instance_norm_backward_workspace_bytes(dtype<T>, shape.order, shape.n,
                                                                    shape.c, shape.spatial));
  detail::check(normkernels_instance_norm_with_gradient(
                    dtype<T>, shape.order, shape.n, shape.c, shape.spatial, x, scale, bias, dy,
                    epsilon, y, mean, inv_std, dx, dscale, dbias, scratch.data(), executor),
                "instance_norm_with_gradient",
                "dtype order n c spatial x scale bias dy epsilon y mean inv_std dx dscale dbias "
                "workspace executor");
}

// ---- Local response norm (LRN) ------------------------------------------------------------------

template <class T>
void local_response_norm_forward(Tensor shape, const T* x, Out<T> y, std::int64_t size,
                                 double alpha, double beta, double bias, Out<T> scale = nullptr,
                                 void* workspace = nullptr,
                                 const normkernels_executor* executor = nullptr) {
  const detail::Workspace scratch(
      workspace, normkernels_local_response_norm_workspace_bytes(dtype<T>, shape.order, shape.n,
                                                                 shape.c, shape.spatial, size));
  detail::check(normkernels_local_response_norm_forward(dtype<T>, shape.order, shape.n, shape.c,
                                                        shape.spatial, x, size, alpha, beta, bias,
                                                        y, scale, scratch.data(), executor),
                "local_response_norm_forward",
                "dtype order n c spatial x size alpha beta bias y scale workspace executor");
}

template <class T>
void local_response_norm_backward(Tensor shape, const T* dy, In<T> x, Out<T> dx, std::int64_t size,
                                  double alpha, double beta, double bias, In<T> y = nullptr,
                                  In<T> scale = nullptr, void* workspace = nullptr,
                                  const normkernels_executor* executor = nullptr) {
  const detail::Workspace scratch(
      workspace, normkernels_local_response_norm_workspace_bytes(dtype<T>, shape.order, shape.n,
                                                                 shape.c, shape.spatial, size));
  detail::check(normkernels_local_response_norm_backward(
                    dtype<T>, shape.order, shape.n, shape.c, shape.spatial, dy, x, y, scale, size,
                    alpha, beta, bias, dx, scratch.data(), executor),
                "local_response_norm_backward",
                "dtype order n c spatial dy x y scale size alpha beta bias dx workspace executor");
}

// ---- The steps of the originals -----------------------------------------------------------------

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

#endif  // NORMKERNELS_NORMKERNELS_HPP_
