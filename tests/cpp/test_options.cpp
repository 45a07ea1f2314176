// Options by name, as C++20 has them.
#include <doctest/doctest.h>

#include <normkernels/normkernels.hpp>
#include <span>
#include <vector>

namespace nk = normkernels;

TEST_CASE("every option by its name, of arrays of every kind") {
  const std::vector<float> x = {1, 2, 3, 4, 40000, 40001, 40002, 40003}, gamma = {1, 2, 3, 4};
  const float beta[4] = {1, 1, 1, 1};
  std::vector<float> y(8), mean(2), sigma(2), expected(8);
  nk::Workspace workspace;
  const normkernels_executor one = nk::threads(1);
  nk::layer_norm_forward(nk::Array(std::span(x), {2, 4}), {y, {2, 4}},
                         {.axes = {-1},
                          .gamma = gamma,
                          .beta = beta,
                          .epsilon = 1e-6,
                          .mean = mean,
                          .sigma = std::span(sigma),
                          .workspace = &workspace,
                          .executor = &one});
  CHECK(mean == std::vector<float>{2.5, 40001.5});
  nk::LayerNormForward<float> options;
  options.gamma = gamma;
  options.beta = beta;
  options.epsilon = 1e-6;
  nk::layer_norm_forward(nk::Array(x, {2, 4}), {expected, {2, 4}}, options);
  CHECK(y == expected);
  std::vector<float> dx(8), dgamma(4);
  nk::layer_norm_backward(nk::Array(x, {2, 4}), {x, {2, 4}}, mean, sigma, {dx, {2, 4}},
                          {.gamma = gamma, .dgamma = dgamma});
  CHECK(dgamma[0] != 0);
  CHECK(!nk::try_group_norm_forward(nk::Array(x, {2, 4}), {y, {2, 4}}, 2,
                                    {.order = nk::nhwc, .scale = {gamma.data(), 3}})
             .ok());
}
