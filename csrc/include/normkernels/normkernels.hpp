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
//   Types      float, double, float16 and bfloat16 are told apart by the type of the arrays. Beside
//              arrays of a half type, statistics are of float, and parameters of either.
//   Defaults   Optional arrays come last and default to nullptr, epsilon to 1e-5.
//   Errors     are thrown as normkernels::error, which names the function and the argument.
//   Workspace  is allocated where the function needs one, unless the caller gives it: aligned to
//              64 bytes.
//
// The functions on arrays with strides are in views.hpp.
#ifndef NORMKERNELS_NORMKERNELS_HPP_
#define NORMKERNELS_NORMKERNELS_HPP_

#include <cstdint>
#include <normkernels/steps.hpp>
#include <normkernels/types.hpp>
#include <string>
#include <utility>
#include <vector>

namespace normkernels {
inline namespace v0 {

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
void layer_norm_forward(Rows shape, const T* x, Out<T> y, InParameter<T> gamma = nullptr,
                        InParameter<T> beta = nullptr, double epsilon = 1e-5,
                        OutStatistic<T> mean = nullptr, OutStatistic<T> sigma = nullptr,
                        const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({gamma}, {beta});
  detail::check(normkernels_layer_norm_forward(type, shape.rows, shape.cols, x, gamma.data,
                                               beta.data, epsilon, y, mean, sigma, executor),
                "layer_norm_forward", "dtype rows cols x gamma beta epsilon y mean sigma executor");
}

template <class T>
void layer_norm_backward(Rows shape, const T* dy, In<T> x, InStatistic<T> mean,
                         InStatistic<T> sigma, Out<T> dx, InParameter<T> gamma = nullptr,
                         OutParameter<T> dgamma = nullptr, OutParameter<T> dbeta = nullptr,
                         void* workspace = nullptr,
                         const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({gamma, dgamma}, {dbeta});
  const detail::Workspace scratch(
      workspace, normkernels_layer_norm_backward_workspace_bytes(type, shape.rows, shape.cols));
  detail::check(
      normkernels_layer_norm_backward(type, shape.rows, shape.cols, dy, x, mean, sigma, gamma.data,
                                      dx, dgamma.data, dbeta.data, scratch.data(), executor),
      "layer_norm_backward",
      "dtype rows cols dy x mean sigma gamma dx dgamma dbeta workspace executor");
}

// ---- Moments ------------------------------------------------------------------------------------

template <class T>
void moments(Rows shape, const T* x, normkernels_row_moments* moments,
             const normkernels_executor* executor = nullptr) {
  detail::check(normkernels_moments(dtype<T>, shape.rows, shape.cols, x, moments, executor),
                "moments", "dtype rows cols x moments executor");
}

inline void merge_moments(std::int64_t n, const normkernels_row_moments* a,
                          const normkernels_row_moments* b, normkernels_row_moments* out) {
  detail::check(normkernels_merge_moments(n, a, b, out), "merge_moments", "n a b out");
}

// ---- RMS norm -----------------------------------------------------------------------------------

template <class T>
void rms_norm_forward(Rows shape, const T* x, Out<T> y, InParameter<T> gamma = nullptr,
                      InParameter<T> beta = nullptr, double epsilon = 1e-5,
                      OutStatistic<T> rstd = nullptr,
                      const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({gamma}, {beta});
  detail::check(normkernels_rms_norm_forward(type, shape.rows, shape.cols, x, gamma.data, beta.data,
                                             epsilon, y, rstd, executor),
                "rms_norm_forward", "dtype rows cols x gamma beta epsilon y rstd executor");
}

template <class T>
void rms_norm_backward(Rows shape, const T* dy, In<T> x, Out<T> dx, InStatistic<T> rstd = nullptr,
                       InParameter<T> gamma = nullptr, double epsilon = 1e-5,
                       OutParameter<T> dgamma = nullptr, OutParameter<T> dbeta = nullptr,
                       void* workspace = nullptr, const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({gamma, dgamma}, {dbeta});
  const detail::Workspace scratch(
      workspace, normkernels_rms_norm_backward_workspace_bytes(type, shape.rows, shape.cols));
  detail::check(
      normkernels_rms_norm_backward(type, shape.rows, shape.cols, dy, x, rstd, gamma.data, epsilon,
                                    dx, dgamma.data, dbeta.data, scratch.data(), executor),
      "rms_norm_backward",
      "dtype rows cols dy x rstd gamma epsilon dx dgamma dbeta workspace executor");
}

// ---- Norms of a sum -----------------------------------------------------------------------------

template <class T>
void add_layer_norm_forward(Rows shape, const T* x, In<T> residual, Out<T> total, Out<T> y,
                            InParameter<T> bias = nullptr, InParameter<T> gamma = nullptr,
                            InParameter<T> beta = nullptr, double epsilon = 1e-5,
                            OutStatistic<T> mean = nullptr, OutStatistic<T> sigma = nullptr,
                            const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({gamma}, {beta}, {bias});
  detail::check(normkernels_add_layer_norm_forward(type, shape.rows, shape.cols, x, residual,
                                                   bias.data, gamma.data, beta.data, epsilon, total,
                                                   y, mean, sigma, executor),
                "add_layer_norm_forward",
                "dtype rows cols x residual bias gamma beta epsilon total y mean sigma executor");
}

template <class T>
void add_rms_norm_forward(Rows shape, const T* x, In<T> residual, Out<T> total, Out<T> y,
                          InParameter<T> bias = nullptr, InParameter<T> gamma = nullptr,
                          InParameter<T> beta = nullptr, double epsilon = 1e-5,
                          OutStatistic<T> rstd = nullptr,
                          const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({gamma}, {beta}, {bias});
  detail::check(
      normkernels_add_rms_norm_forward(type, shape.rows, shape.cols, x, residual, bias.data,
                                       gamma.data, beta.data, epsilon, total, y, rstd, executor),
      "add_rms_norm_forward",
      "dtype rows cols x residual bias gamma beta epsilon total y rstd executor");
}

// ---- Instance norm ------------------------------------------------------------------------------

template <class T>
void instance_norm_forward(Tensor shape, const T* x, Out<T> y, InParameter<T> scale = nullptr,
                           InParameter<T> bias = nullptr, double epsilon = 1e-5,
                           OutStatistic<T> mean = nullptr, OutStatistic<T> inv_std = nullptr,
                           void* workspace = nullptr,
                           const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({scale}, {bias});
  const detail::Workspace scratch(
      workspace, normkernels_instance_norm_forward_workspace_bytes(type, shape.order, shape.n,
                                                                   shape.c, shape.spatial));
  detail::check(normkernels_instance_norm_forward(type, shape.order, shape.n, shape.c,
                                                  shape.spatial, x, scale.data, bias.data, epsilon,
                                                  y, mean, inv_std, scratch.data(), executor),
                "instance_norm_forward",
                "dtype order n c spatial x scale bias epsilon y mean inv_std workspace executor");
}

template <class T>
void instance_norm_backward(Tensor shape, const T* dy, In<T> x, Out<T> dx,
                            InParameter<T> scale = nullptr, InStatistic<T> mean = nullptr,
                            InStatistic<T> inv_std = nullptr, double epsilon = 1e-5,
                            OutParameter<T> dscale = nullptr, OutParameter<T> dbias = nullptr,
                            void* workspace = nullptr,
                            const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({scale, dscale}, {dbias});
  const detail::Workspace scratch(
      workspace, normkernels_instance_norm_backward_workspace_bytes(type, shape.order, shape.n,
                                                                    shape.c, shape.spatial));
  detail::check(
      normkernels_instance_norm_backward(type, shape.order, shape.n, shape.c, shape.spatial, dy, x,
                                         scale.data, mean, inv_std, epsilon, dx, dscale.data,
                                         dbias.data, scratch.data(), executor),
      "instance_norm_backward",
      "dtype order n c spatial dy x scale mean inv_std epsilon dx dscale dbias workspace executor");
}

template <class T>
void instance_norm_with_gradient(Tensor shape, const T* x, In<T> dy, Out<T> y, Out<T> dx,
                                 InParameter<T> scale = nullptr, InParameter<T> bias = nullptr,
                                 double epsilon = 1e-5, OutStatistic<T> mean = nullptr,
                                 OutStatistic<T> inv_std = nullptr,
                                 OutParameter<T> dscale = nullptr, OutParameter<T> dbias = nullptr,
                                 void* workspace = nullptr,
                                 const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({scale, dscale}, {bias, dbias});
  const detail::Workspace scratch(
      workspace, normkernels_instance_norm_backward_workspace_bytes(type, shape.order, shape.n,
                                                                    shape.c, shape.spatial));
  detail::check(normkernels_instance_norm_with_gradient(type, shape.order, shape.n, shape.c,
                                                        shape.spatial, x, scale.data, bias.data, dy,
                                                        epsilon, y, mean, inv_std, dx, dscale.data,
                                                        dbias.data, scratch.data(), executor),
                "instance_norm_with_gradient",
                "dtype order n c spatial x scale bias dy epsilon y mean inv_std dx dscale dbias "
                "workspace executor");
}

// ---- Group norm ---------------------------------------------------------------------------------

template <class T>
void group_norm_forward(Tensor shape, std::int64_t groups, const T* x, Out<T> y,
                        InParameter<T> scale = nullptr, InParameter<T> bias = nullptr,
                        double epsilon = 1e-5, OutStatistic<T> mean = nullptr,
                        OutStatistic<T> inv_std = nullptr, void* workspace = nullptr,
                        const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({scale}, {bias});
  const detail::Workspace scratch(
      workspace, normkernels_group_norm_forward_workspace_bytes(type, shape.order, shape.n, shape.c,
                                                                shape.spatial, groups));
  detail::check(
      normkernels_group_norm_forward(type, shape.order, shape.n, shape.c, shape.spatial, groups, x,
                                     scale.data, bias.data, epsilon, y, mean, inv_std,
                                     scratch.data(), executor),
      "group_norm_forward",
      "dtype order n c spatial groups x scale bias epsilon y mean inv_std workspace executor");
}

template <class T>
void group_norm_backward(Tensor shape, std::int64_t groups, const T* dy, In<T> x, Out<T> dx,
                         InParameter<T> scale = nullptr, InStatistic<T> mean = nullptr,
                         InStatistic<T> inv_std = nullptr, double epsilon = 1e-5,
                         OutParameter<T> dscale = nullptr, OutParameter<T> dbias = nullptr,
                         void* workspace = nullptr,
                         const normkernels_executor* executor = nullptr) {
  const normkernels_dtype type = detail::dtype_of<T>({scale, dscale}, {dbias});
  const detail::Workspace scratch(
      workspace, normkernels_group_norm_backward_workspace_bytes(type, shape.order, shape.n,
                                                                 shape.c, shape.spatial, groups));
  detail::check(
      normkernels_group_norm_backward(type, shape.order, shape.n, shape.c, shape.spatial, groups,
                                      dy, x, scale.data, mean, inv_std, epsilon, dx, dscale.data,
                                      dbias.data, scratch.data(), executor),
      "group_norm_backward",
      "dtype order n c spatial groups dy x scale mean inv_std epsilon dx dscale dbias workspace "
      "executor");
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

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_NORMKERNELS_HPP_
