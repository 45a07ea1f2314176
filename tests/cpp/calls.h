// Every operator, forward and backward, as one list that the tests iterate over.
#ifndef NORMKERNELS_TESTS_CALLS_H_
#define NORMKERNELS_TESTS_CALLS_H_

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <normkernels/normkernels.hpp>
#include <string>
#include <vector>

#include "problem.h"

template <class T>
Outputs<T> layer_norm_forward(const Problem<T>& p, const normkernels_executor* e) {
  Outputs<T> o = {p.tensor(), p.statistics(p.shape.n), p.statistics(p.shape.n)};
  nk::layer_norm_forward(p.matrix(p.x), p.matrix(o[0]),
                         {.gamma = parameter(p.gamma, p.wide.gamma),
                          .beta = parameter(p.beta, p.wide.beta),
                          .epsilon = p.epsilon,
                          .mean = statistic(o[1]),
                          .sigma = statistic(o[2]),
                          .executor = e});
  return o;
}

template <class T>
Outputs<T> layer_norm_backward(const Problem<T>& p, const normkernels_executor* e) {
  const Outputs<T> f = layer_norm_forward(p, e);
  const std::int64_t cols = p.rows().cols;
  Outputs<T> o = {p.tensor(), p.parameters(cols, p.wide.gamma), p.parameters(cols, p.wide.beta)};
  nk::layer_norm_backward(p.matrix(p.dy), p.matrix(p.x), statistic(f[1]), statistic(f[2]),
                          p.matrix(o[0]),
                          {.gamma = parameter(p.gamma, p.wide.gamma),
                           .dgamma = parameter(o[1], p.wide.gamma),
                           .dbeta = parameter(o[2], p.wide.beta),
                           .executor = e});
  return o;
}

/// Of every row, and merged with those of another row; as numbers of what is computed with.
template <class T>
Outputs<T> moments(const Problem<T>& p, const normkernels_executor* e) {
  using Moments = std::vector<normkernels_row_moments>;
  const auto rows = static_cast<std::size_t>(p.rows().rows);
  Moments own(rows), merged(rows);
  nk::moments(p.matrix(p.x), own, {.executor = e});
  const Moments others(own.rbegin(), own.rend());
  nk::merge_moments(own, others, merged);
  Outputs<T> o;
  for (const Moments& all : {own, merged}) {
    constexpr std::int64_t each = sizeof(normkernels_row_moments) / sizeof(nk::Computed<T>);
    o.push_back(p.statistics(each * p.rows().rows));
    o.back().parts = sizeof(double) / sizeof(T);
    if (rows > 0) std::memcpy(o.back().data(), all.data(), sizeof(all[0]) * rows);
  }
  return o;
}

template <class T>
Outputs<T> rms_norm_forward(const Problem<T>& p, const normkernels_executor* e) {
  Outputs<T> o = {p.tensor(), p.statistics(p.shape.n)};
  nk::rms_norm_forward(p.matrix(p.x), p.matrix(o[0]),
                       {.gamma = parameter(p.gamma, p.wide.gamma),
                        .beta = parameter(p.beta, p.wide.beta),
                        .epsilon = p.epsilon,
                        .rstd = statistic(o[1]),
                        .executor = e});
  return o;
}

template <class T, bool saved>
Outputs<T> rms_norm_backward(const Problem<T>& p, const normkernels_executor* e) {
  const Outputs<T> f = rms_norm_forward(p, e);
  const std::int64_t cols = p.rows().cols;
  Outputs<T> o = {p.tensor(), p.parameters(cols, p.wide.gamma), p.parameters(cols, p.wide.beta)};
  nk::rms_norm_backward(p.matrix(p.dy), p.matrix(p.x), p.matrix(o[0]),
                        {.rstd = saved ? statistic(f[1]) : nullptr,
                         .gamma = parameter(p.gamma, p.wide.gamma),
                         .epsilon = p.epsilon,
                         .dgamma = parameter(o[1], p.wide.gamma),
                         .dbeta = parameter(o[2], p.wide.beta),
                         .executor = e});
  return o;
}

/// The residual is dy; only layer norm's has a bias.
template <class T>
Outputs<T> add_layer_norm_forward(const Problem<T>& p, const normkernels_executor* e) {
  Outputs<T> o = {p.tensor(), p.tensor(), p.statistics(p.shape.n), p.statistics(p.shape.n)};
  nk::add_layer_norm_forward(p.matrix(p.x), p.matrix(p.dy), p.matrix(o[0]), p.matrix(o[1]),
                             {.bias = parameter(p.bias, p.wide.bias),
                              .gamma = parameter(p.gamma, p.wide.gamma),
                              .beta = parameter(p.beta, p.wide.beta),
                              .epsilon = p.epsilon,
                              .mean = statistic(o[2]),
                              .sigma = statistic(o[3]),
                              .executor = e});
  return o;
}

template <class T>
Outputs<T> add_rms_norm_forward(const Problem<T>& p, const normkernels_executor* e) {
  Outputs<T> o = {p.tensor(), p.tensor(), p.statistics(p.shape.n)};
  nk::add_rms_norm_forward(p.matrix(p.x), p.matrix(p.dy), p.matrix(o[0]), p.matrix(o[1]),
                           {.gamma = parameter(p.gamma, p.wide.gamma),
                            .beta = parameter(p.beta, p.wide.beta),
                            .epsilon = p.epsilon,
                            .rstd = statistic(o[2]),
                            .executor = e});
  return o;
}

template <class T>
Outputs<T> instance_norm_forward(const Problem<T>& p, const normkernels_executor* e) {
  const std::int64_t planes = p.shape.n * p.shape.c;
  Outputs<T> o = {p.tensor(), p.statistics(planes), p.statistics(planes)};
  nk::instance_norm_forward(p.images(p.x), p.images(o[0]),
                            {.order = p.shape.order,
                             .scale = parameter(p.gamma, p.wide.gamma),
                             .bias = parameter(p.beta, p.wide.beta),
                             .epsilon = p.epsilon,
                             .mean = statistic(o[1]),
                             .inv_std = statistic(o[2]),
                             .executor = e});
  return o;
}

template <class T, bool saved>
Outputs<T> instance_norm_backward(const Problem<T>& p, const normkernels_executor* e) {
  const Outputs<T> f = instance_norm_forward(p, e);
  Outputs<T> o = {p.tensor(), p.parameters(p.shape.c, p.wide.gamma),
                  p.parameters(p.shape.c, p.wide.beta)};
  nk::instance_norm_backward(p.images(p.dy), p.images(p.x), p.images(o[0]),
                             {.order = p.shape.order,
                              .scale = parameter(p.gamma, p.wide.gamma),
                              .mean = saved ? statistic(f[1]) : nullptr,
                              .inv_std = saved ? statistic(f[2]) : nullptr,
                              .epsilon = p.epsilon,
                              .dscale = parameter(o[1], p.wide.gamma),
                              .dbias = parameter(o[2], p.wide.beta),
                              .executor = e});
  return o;
}

template <class T>
Outputs<T> instance_norm_with_gradient(const Problem<T>& p, const normkernels_executor* e) {
  const std::int64_t planes = p.shape.n * p.shape.c;
  Outputs<T> o = {p.tensor(),
                  p.statistics(planes),
                  p.statistics(planes),
                  p.tensor(),
                  p.parameters(p.shape.c, p.wide.gamma),
                  p.parameters(p.shape.c, p.wide.beta)};
  nk::instance_norm_with_gradient(p.images(p.x), p.images(p.dy), p.images(o[0]), p.images(o[3]),
                                  {.order = p.shape.order,
                                   .scale = parameter(p.gamma, p.wide.gamma),
                                   .bias = parameter(p.beta, p.wide.beta),
                                   .epsilon = p.epsilon,
                                   .mean = statistic(o[1]),
                                   .inv_std = statistic(o[2]),
                                   .dscale = parameter(o[4], p.wide.gamma),
                                   .dbias = parameter(o[5], p.wide.beta),
                                   .executor = e});
  return o;
}

/// Groups of two channels or more, where they can be, and more than one.
template <class T>
std::int64_t groups_of(const Problem<T>& p) {
  for (std::int64_t groups = p.shape.c / 2; groups > 1; --groups) {
    if (p.shape.c % groups == 0) return groups;
  }
  return 1;
}

template <class T>
Outputs<T> group_norm_forward(const Problem<T>& p, const normkernels_executor* e) {
  const std::int64_t groups = groups_of(p), rows = p.shape.n * groups;
  Outputs<T> o = {p.tensor(), p.statistics(rows), p.statistics(rows)};
  nk::group_norm_forward(p.images(p.x), p.images(o[0]), groups,
                         {.order = p.shape.order,
                          .scale = parameter(p.gamma, p.wide.gamma),
                          .bias = parameter(p.beta, p.wide.beta),
                          .epsilon = p.epsilon,
                          .mean = statistic(o[1]),
                          .inv_std = statistic(o[2]),
                          .executor = e});
  return o;
}

template <class T, bool saved>
Outputs<T> group_norm_backward(const Problem<T>& p, const normkernels_executor* e) {
  const Outputs<T> f = group_norm_forward(p, e);
  Outputs<T> o = {p.tensor(), p.parameters(p.shape.c, p.wide.gamma),
                  p.parameters(p.shape.c, p.wide.beta)};
  nk::group_norm_backward(p.images(p.dy), p.images(p.x), p.images(o[0]), groups_of(p),
                          {.order = p.shape.order,
                           .scale = parameter(p.gamma, p.wide.gamma),
                           .mean = saved ? statistic(f[1]) : nullptr,
                           .inv_std = saved ? statistic(f[2]) : nullptr,
                           .epsilon = p.epsilon,
                           .dscale = parameter(o[1], p.wide.gamma),
                           .dbias = parameter(o[2], p.wide.beta),
                           .executor = e});
  return o;
}

template <class T>
Outputs<T> local_response_norm_forward(const Problem<T>& p, const normkernels_executor* e) {
  const Window& w = p.window;
  Outputs<T> o = {p.tensor(), p.tensor()};
  nk::local_response_norm_forward(p.images(p.x), p.images(o[0]), w.size,
                                  {.order = p.shape.order,
                                   .alpha = w.alpha,
                                   .beta = w.beta,
                                   .bias = w.bias,
                                   .scale = p.images(o[1]),
                                   .executor = e});
  return o;
}

template <class T, bool saved>
Outputs<T> local_response_norm_backward(const Problem<T>& p, const normkernels_executor* e) {
  const Window& w = p.window;
  const Outputs<T> f = local_response_norm_forward(p, e);
  Outputs<T> o = {p.tensor()};
  nk::LocalResponseNormBackward<T> options = {
      .order = p.shape.order, .alpha = w.alpha, .beta = w.beta, .bias = w.bias, .executor = e};
  if (saved) options.y = p.images(f[0]), options.scale = p.images(f[1]);
  nk::local_response_norm_backward(p.images(p.dy), p.images(p.x), p.images(o[0]), w.size, options);
  return o;
}

/// The originals' steps, chained as they were. They take no half types.
template <class T>
Outputs<T> layer_norm_steps(const Problem<T>& p, const normkernels_executor* e) {
  if constexpr (nk::is_half<T>) return {};
  const nk::Rows r = p.rows();
  Outputs<T> o;
  for (int i = 0; i < 9; ++i) o.push_back(p.output(r.rows));
  for (int i = 0; i < 2; ++i) o.push_back(p.output(r.cols));
  for (int i = 0; i < 3; ++i) o.push_back(p.tensor());
  const auto at = [&](int i) { return o[static_cast<std::size_t>(i)].data(); };
  const Outputs<T> f = layer_norm_forward(p, e);
  nk::compute_sigma_and_fused_params(r.rows, p.epsilon, f[1].data(), f[2].data(), at(0), at(1),
                                     at(2), e);
  nk::layer_norm_apply(r, p.x.data(), at(1), at(2), at(11), p.gamma.data(), p.beta.data(), e);
  nk::layer_norm_internal_gradients(r, p.dy.data(), p.x.data(), at(3), at(4), p.gamma.data(),
                                    at(12), e);
  nk::layer_norm_fused_params(r, f[1].data(), at(0), at(3), at(4), at(5), at(6), at(7), at(8), e);
  nk::layer_norm_gamma_beta_backward(r, at(12), p.dy.data(), at(5), at(8), at(9), at(10), e);
  nk::layer_norm_backward_apply(r, p.dy.data(), p.x.data(), at(5), at(6), at(7), at(13),
                                p.gamma.data(), e);
  return o;
}

template <class T>
Outputs<T> instance_norm_steps(const Problem<T>& p, const normkernels_executor* e) {
  if constexpr (nk::is_half<T>) return {};
  const std::int64_t n = p.shape.n, c = p.shape.c;
  Outputs<T> o;
  for (int i = 0; i < 6; ++i) o.push_back(p.output(n * c));
  for (int i = 0; i < 2; ++i) o.push_back(p.output(c));
  for (int i = 0; i < 2; ++i) o.push_back(p.tensor());
  const auto at = [&](int i) { return o[static_cast<std::size_t>(i)].data(); };
  nk::instance_norm_moments(p.shape, p.x.data(), at(0), at(1), p.epsilon, nullptr, e);
  nk::instance_norm_fused_params(n, c, at(0), at(1), p.gamma.data(), p.beta.data(), at(2), at(3),
                                 e);
  nk::instance_norm_apply(p.shape, p.x.data(), at(2), at(3), at(8), e);
  nk::instance_norm_internal_gradients(p.shape, p.dy.data(), p.x.data(), at(4), at(5), e);
  nk::instance_norm_gamma_beta_backward(n, c, at(4), at(5), at(0), at(1), at(6), at(7), e);
  nk::instance_norm_backward_apply(p.shape, p.dy.data(), p.x.data(), at(0), at(1), p.gamma.data(),
                                   at(4), at(5), at(9), e);
  return o;
}

template <class T>
struct Call {
  const char* name;
  Outputs<T> (*run)(const Problem<T>&, const normkernels_executor*);
};

/// The call's outputs are `expected`, and nothing beside them is written.
template <class T>
void check_same_bits(const Call<T>& call, const Problem<T>& problem, const Outputs<T>& expected,
                     const normkernels_executor* executor) {
  const Outputs<T> outputs = call.run(problem, executor);
  REQUIRE(outputs.size() == expected.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    CAPTURE(i);
    CHECK(outputs[i].same_bits(expected[i]));
    CHECK(outputs[i].intact());
  }
}

template <class T>
constexpr Call<T> calls[] = {
    {"layer_norm_forward", layer_norm_forward<T>},
    {"layer_norm_backward", layer_norm_backward<T>},
    {"layer_norm_steps", layer_norm_steps<T>},
    {"moments", moments<T>},
    {"rms_norm_forward", rms_norm_forward<T>},
    {"rms_norm_backward", rms_norm_backward<T, false>},
    {"rms_norm_backward, saved rstd", rms_norm_backward<T, true>},
    {"add_layer_norm_forward", add_layer_norm_forward<T>},
    {"add_rms_norm_forward", add_rms_norm_forward<T>},
    {"instance_norm_forward", instance_norm_forward<T>},
    {"instance_norm_backward", instance_norm_backward<T, false>},
    {"instance_norm_backward, saved statistics", instance_norm_backward<T, true>},
    {"instance_norm_with_gradient", instance_norm_with_gradient<T>},
    {"instance_norm_steps", instance_norm_steps<T>},
    {"group_norm_forward", group_norm_forward<T>},
    {"group_norm_backward", group_norm_backward<T, false>},
    {"group_norm_backward, saved statistics", group_norm_backward<T, true>},
    {"local_response_norm_forward", local_response_norm_forward<T>},
    {"local_response_norm_backward", local_response_norm_backward<T, false>},
    {"local_response_norm_backward, saved y and scale", local_response_norm_backward<T, true>},
};

/// Shapes around the widths of vectors and of blocks, in both layouts.
inline std::vector<nk::Tensor> shapes() {
  std::vector<nk::Tensor> result;
  for (const nk::Order order : {nk::nchw, nk::nhwc}) {
    for (const std::int64_t spatial : {1, 7, 16, 65, 1023})
      result.push_back({order, 2, 5, spatial});
    for (const std::int64_t c : {1, 3, 17, 64, 67}) result.push_back({order, 3, c, 49});
    result.push_back({order, 37, 3, 9});
  }
  return result;
}

inline std::vector<std::string> supported_isas() {
  std::vector<std::string> result;
  for (const nk::Isa& isa : nk::isas()) {
    if (isa.supported) result.push_back(isa.name);
  }
  return result;
}

/// Where kernels run slowly, one in so many of the longest tests' cases is run, on the best
/// instruction set alone.
#ifdef NORMKERNELS_SLOW_KERNELS
inline constexpr std::size_t kEvery = 7;
#else
inline constexpr std::size_t kEvery = 1;
#endif
inline std::vector<std::string> isas_to_test() {
  std::vector<std::string> result = supported_isas();
  if (kEvery > 1) result.erase(result.begin(), result.end() - 1);
  return result;
}

/// Those whose bits are the same. The baseline, compiled as this is, has fma where the processor
/// always has.
inline std::vector<std::string> supported_isas_with_fma() {
  std::vector<std::string> result = supported_isas();
#ifndef __FP_FAST_FMA
  result.erase(std::remove(result.begin(), result.end(), "baseline"), result.end());
#endif
  return result;
}

/// Uses an instruction set for as long as it lives.
struct ForcedIsa {
  explicit ForcedIsa(const std::string& name) { nk::force_isa(name.c_str()); }
  ForcedIsa(const ForcedIsa&) = delete;
  ForcedIsa& operator=(const ForcedIsa&) = delete;
  ~ForcedIsa() { normkernels_isa_force(nullptr); }
};

#endif  // NORMKERNELS_TESTS_CALLS_H_
