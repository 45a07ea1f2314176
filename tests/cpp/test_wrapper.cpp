// The C++ interface of C++17 from a caller's side: options, parameters of every type, executors.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <initializer_list>
#include <normkernels/normkernels.hpp>
#include <string>
#include <vector>

namespace nk = normkernels;

TEST_CASE("an array of C in two lines") {
  const float x[2][4] = {{1, 2, 3, 4}, {40000, 40001, 40002, 40003}};
  float y[2][4];
  nk::layer_norm_forward(x, y);
  for (int i = 0; i < 4; ++i) {
    CHECK(y[0][i] == y[1][i]);
    CHECK(y[0][i] == doctest::Approx((i - 1.5) / std::sqrt(1.25 + 1e-5)));
  }
}

TEST_CASE("halves of the rows of a longer array") {
  const std::int64_t rows = 5;
  std::vector<float> array(static_cast<std::size_t>(rows) * 1536, 7.0f);
  float* const x = array.data();
  for (std::int64_t i = 0; i < 768; ++i) x[2 * 1536 + i] = static_cast<float>(i);
  const nk::Array left(x, {rows, 768}, {1536, 1}), right(x + 768, {rows, 768}, {1536, 1});
  CHECK(!left.is_dense());
  nk::layer_norm_forward(left, right);
  CHECK(x[768] == 0);
  CHECK(x[2 * 1536 + 768] == -x[2 * 1536 + 1535]);
  CHECK(x[2 * 1536 + 768] < -1.7f);
  CHECK(x[2 * 1536 + 767] == 767);
}

TEST_CASE("axes in any order, however often, and from one on") {
  const std::vector<double> x = {1, 5, 2, -3, 0, 7, 4, 4, -1, 2, 9, 0};
  std::vector<double> y(12), expected(12);
  const auto normalised = [&](const nk::Extents& shape, const nk::Axes& axes) {
    nk::LayerNormForward<double> options;
    options.axes = axes;
    nk::layer_norm_forward(nk::Array(x, shape), {y, shape}, options);
    return y;
  };
  nk::layer_norm_forward(nk::Array(x, {1, 12}), {expected, {1, 12}});
  for (const nk::Axes& axes : {nk::Axes{0, 1, 2}, {2, 1, 0}, {-1, -2, 0, 0}, nk::Axes::from(0)})
    CHECK(normalised({2, 3, 2}, axes) == expected);
  nk::layer_norm_forward(nk::Array(x, {2, 6}), {expected, {2, 6}});
  for (const nk::Axes& axes : {nk::Axes{1, 2}, nk::Axes::from(1), nk::Axes::from(-2)})
    CHECK(normalised({2, 3, 2}, axes) == expected);
  const std::vector<int> list = {1, -1};
  CHECK(normalised({2, 3, 2}, {list.data(), list.size()}) == expected);
  nk::rms_norm_forward(nk::Array(x, {6, 2}), {expected, {6, 2}});
  nk::rms_norm_forward(nk::Array(x, {2, 3, 2}), {y, {2, 3, 2}});
  CHECK(y == expected);
  // The first axis: columns of the transpose.
  normalised({2, 6}, {0});
  CHECK(y[0] == -y[6]);
  CHECK(std::abs(y[0]) == doctest::Approx(1).epsilon(1e-4));
}

TEST_CASE("images of either order, where they lie") {
  const std::vector<double> x = {1, 5, 2, -3, 0, 7};
  std::vector<double> y = x, expected(6);
  nk::InstanceNormForward<double> options;
  options.order = nk::nhwc;
  nk::instance_norm_forward(nk::Array(x, {1, 3, 2}), {expected, {1, 3, 2}}, options);
  const nk::Array channels_first(y.data(), {1, 2, 3}, {6, 1, 2});
  nk::instance_norm_forward(nk::Array<const double>(channels_first), channels_first);
  CHECK(y == expected);
  // Groups of all channels are layer norm.
  nk::group_norm_forward(nk::Array(x, {1, 3, 2}), {y, {1, 3, 2}}, 1);
  nk::layer_norm_forward(nk::Array(x, {1, 3, 2}), {expected, {1, 3, 2}});
  for (std::size_t i = 0; i < 6; ++i) CHECK(y[i] == doctest::Approx(expected[i]));
}

TEST_CASE("the gradient of everything by its name") {
  const std::vector<double> x = {1, 5, 2, -3, 0, 7}, dy = {1, 0, 0, 0, 2, 0};
  const std::vector<double> gamma = {2, 1, 3};
  std::vector<double> y(6), mean(2), sigma(2), dx(6), dgamma(3), dbeta(3);
  nk::LayerNormForward<double> forward;
  forward.gamma = gamma;
  forward.mean = mean;
  forward.sigma = sigma;
  nk::layer_norm_forward(nk::Array(x, {2, 3}), {y, {2, 3}}, forward);
  CHECK(mean == std::vector<double>{8.0 / 3, 4.0 / 3});
  nk::LayerNormBackward<double> backward;
  backward.gamma = gamma;
  backward.dgamma = dgamma;
  backward.dbeta = dbeta;
  nk::layer_norm_backward(nk::Array(dy, {2, 3}), {x, {2, 3}}, mean, sigma, {dx, {2, 3}}, backward);
  CHECK(dbeta == std::vector<double>{1, 2, 0});
  CHECK(dgamma[0] == doctest::Approx(y[0] / 2));
  CHECK(dx[0] + dx[1] + dx[2] == doctest::Approx(0));
  CHECK(dx[0] > 0);
}

TEST_CASE("moments of parts are merged to those of the whole") {
  const double x[2][5] = {{1, 2, 3, 4, 5}, {7, 7, 7, 7, 7}};
  std::vector<nk::RowMoments> whole(2), first(2), rest(2);
  nk::moments(x, whole);
  nk::moments(nk::Array(&x[0][0], {2, 2}, {5, 1}), first);
  nk::moments(nk::Array(&x[0][2], {2, 3}, {5, 1}), rest);
  nk::merge_moments(first, rest, first);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(first[i].count == 5);
    CHECK(first[i].mean == whole[i].mean);
    CHECK(first[i].m2 == whole[i].m2);
  }
  CHECK(whole[0].mean == 3);
  CHECK(whole[0].m2 == 10);
  nk::RowMoments columns[5];
  nk::Moments options;
  options.axes = {0};
  nk::moments(x, columns, options);
  CHECK(columns[4].mean == 6);
}

TEST_CASE("rows of one element have moments as others do") {
  const double x[] = {3, -0.5};
  nk::RowMoments each[2];
  nk::moments(nk::Array(x, {2, 1}), each);
  for (int i = 0; i < 2; ++i) {
    CHECK(each[i].count == 1);
    CHECK(each[i].mean == x[i]);
    CHECK(each[i].m2 == 0);
  }
}

TEST_CASE("LRN saves its scale for the gradient") {
  const std::vector<float> x = {1, -2, 3, 4, 0, -1}, dy(6, 1.0f);
  std::vector<float> y(6), scale(6), dx(6), dx_again(6);
  nk::LocalResponseNormForward<float> forward;
  forward.alpha = 1;
  forward.scale = {scale, {1, 3, 2}};
  nk::local_response_norm_forward(nk::Array(x, {1, 3, 2}), {y, {1, 3, 2}}, 3, forward);
  CHECK(scale[0] == doctest::Approx(1 + (1.0 + 9) / 3));
  nk::LocalResponseNormBackward<float> backward;
  backward.alpha = 1;
  const nk::Array of_dy(dy, {1, 3, 2});
  nk::local_response_norm_backward(of_dy, {x, {1, 3, 2}}, {dx, {1, 3, 2}}, 3, backward);
  backward.y = {y, {1, 3, 2}};
  backward.scale = forward.scale;
  nk::local_response_norm_backward(of_dy, {x, {1, 3, 2}}, {dx_again, {1, 3, 2}}, 3, backward);
  for (std::size_t i = 0; i < 6; ++i) CHECK(dx[i] == doctest::Approx(dx_again[i]));
}

TEST_CASE("half types beside parameters of either type") {
  const auto halves = [](std::initializer_list<float> values) {
    std::vector<nk::float16> result;
    for (const float value : values) result.emplace_back(value);
    return result;
  };
  const std::vector<nk::float16> x = halves({1, -1, 2, -2}), gamma = halves({1, 3});
  const std::vector<nk::float16> zeros = halves({0, 0});
  const std::vector<float> wide_gamma = {1, 3};
  std::vector<nk::float16> y(4);
  std::vector<float> mean(2);
  nk::LayerNormForward<nk::float16> options;
  options.epsilon = 0;
  const auto check = [&](const nk::Extents& strides) {
    nk::layer_norm_forward(nk::Array(x, {2, 2}, strides), {y, {2, 2}, strides}, options);
    const float expected[] = {1, -3, 1, -3};
    for (std::size_t i = 0; i < 4; ++i) CHECK(static_cast<float>(y[i]) == expected[i]);
    y.assign(4, {});
  };
  options.gamma = gamma;
  options.mean = mean;
  check({2, 1});
  options.gamma = wide_gamma;
  options.beta = zeros;
  check({2, 1});
  options.gamma = {wide_gamma.data(), 2};
  options.beta = zeros.data();
  check({2, 1});
  nk::InstanceNormForward<nk::float16> images;
  images.order = nk::nhwc;
  images.scale = wide_gamma;
  nk::instance_norm_forward(nk::Array(x, {1, 2, 2}), {y, {1, 2, 2}}, images);
  CHECK(static_cast<float>(y[0]) == -1);
  CHECK(static_cast<float>(y[1]) == 3);
}

TEST_CASE("a workspace is kept and grows") {
  const std::vector<float> x(4 * 6 * 50, 1.0f);
  std::vector<float> y(x.size());
  nk::Workspace workspace;
  nk::GroupNormForward<float> options;
  options.workspace = &workspace;
  options.order = nk::nhwc;
  nk::group_norm_forward(nk::Array(x, {4, 50, 6}), {y, {4, 50, 6}}, 2, options);
  const std::size_t size = workspace.size();
  const void* const data = workspace.data();
  CHECK(size == normkernels_group_norm_forward_workspace_bytes(NORMKERNELS_F32, NORMKERNELS_NHWC, 4,
                                                               6, 50, 2));
  nk::group_norm_forward(nk::Array(x, {4, 50, 6}), {y, {4, 50, 6}}, 2, options);
  CHECK(workspace.data() == data);
  nk::Workspace other = std::move(workspace);
  CHECK(other.data() == data);
  CHECK(workspace.size() == 0);
  CHECK(other.reserve(size + 1));
  CHECK(other.size() == size + 1);
}

TEST_CASE("version") {
  CHECK(nk::version() == std::to_string(NORMKERNELS_VERSION_MAJOR) + "." +
                             std::to_string(NORMKERNELS_VERSION_MINOR) + "." +
                             std::to_string(NORMKERNELS_VERSION_PATCH) +
                             NORMKERNELS_VERSION_SUFFIX);
}

TEST_CASE("absent parameters act as ones and zeros") {
  const std::array<double, 6> x = {1, 5, 2, -3, 0, 7};
  std::array<double, 6> y{}, expected{};
  const std::array<double, 3> ones = {1, 1, 1}, zeros{};
  nk::LayerNormForward<double> options;
  nk::layer_norm_forward(nk::Array(x, {2, 3}), {y, {2, 3}}, options);
  options.gamma = ones;
  options.beta = zeros;
  nk::layer_norm_forward(nk::Array(x, {2, 3}), {expected, {2, 3}}, options);
  CHECK(y == expected);
}

TEST_CASE("an executor calls the caller's function") {
  std::int64_t ran = 0;
  nk::Executor executor(
      [&](std::int64_t tasks, auto task) {
        for (std::int64_t i = 0; i < tasks; ++i, ++ran) task(i);
      },
      2);
  // Enough for two threads to be worth it.
  const std::vector<float> x(1 << 20, 3.0f);
  std::vector<float> y(x.size(), 7.0f);
  nk::LayerNormForward<float> options;
  options.executor = &executor;
  nk::layer_norm_forward(nk::Array(x, {1024, 1024}), {y, {1024, 1024}}, options);
  CHECK(ran > 1);
  CHECK(y == std::vector<float>(x.size(), 0.0f));
}

TEST_CASE("the steps of the originals") {
  const double mean[] = {2}, var[] = {4};
  double sigma, scale, bias;
  nk::compute_sigma_and_fused_params(1, 0, mean, var, &sigma, &scale, &bias);
  CHECK(sigma == 2);
  CHECK(scale == 0.5);
  CHECK(bias == -1);
}
