#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <normkernels/views.hpp>
#include <string>

#include "calls.h"

TEST_CASE("the header's own example") {
  const std::vector<float> x = {1, 2, 3, 4, 40000, 40001, 40002, 40003};
  std::vector<float> y(8);
  nk::layer_norm_forward({2, 4}, x.data(), y.data());
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(y[i] == y[i + 4]);
    CHECK(y[i] == doctest::Approx((static_cast<double>(i) - 1.5) / std::sqrt(1.25 + 1e-5)));
  }
}

TEST_CASE("the example of the header of views") {
  const std::int64_t rows = 5, strides[] = {1536, 1};
  std::vector<float> array(static_cast<std::size_t>(rows) * 1536, 7.0f);
  float* const x = array.data();
  for (std::int64_t i = 0; i < 768; ++i) x[2 * 1536 + i] = static_cast<float>(i);
  const nk::View left(x, strides), right(x + 768, strides);
  nk::layer_norm_forward({rows, 768}, {-1}, left, right);
  CHECK(x[768] == 0);
  CHECK(x[2 * 1536 + 768] == -x[2 * 1536 + 1535]);
  CHECK(x[2 * 1536 + 768] < -1.7f);
  CHECK(x[2 * 1536 + 767] == 767);
}

TEST_CASE("shapes, axes and views from what callers have") {
  const std::array<double, 6> x = {1, 5, 2, -3, 0, 7};
  std::array<double, 6> y{}, expected{};
  nk::layer_norm_forward({2, 3}, x.data(), expected.data());
  const nk::Shape shape = {2, 3};
  const nk::Axes last = {-1};
  nk::layer_norm_forward(shape, last, nk::View(x.data()), y.data());
  CHECK(y == expected);
  // Both axes, in any order and however often.
  nk::layer_norm_forward({1, 6}, x.data(), expected.data());
  for (const nk::Axes& axes : {nk::Axes{0, 1}, {1, 0}, {-1, -2, 0}}) {
    nk::layer_norm_forward(shape, axes, nk::View(x.data()), y.data());
    CHECK(y == expected);
  }
  // In its own place, and read through a view of what may not be written.
  const std::int64_t strides[] = {6, 1, 2};
  nk::instance_norm_forward({nk::nhwc, 1, 2, 3}, x.data(), expected.data());
  y = x;
  const nk::View<double> channels_first(y.data(), strides);
  const nk::View<const double> input = channels_first;
  nk::instance_norm_forward(nk::nchw, {1, 2, 3}, input, channels_first);
  CHECK(y == expected);
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
  const auto check = [&] {
    const float expected[] = {1, -3, 1, -3};
    for (std::size_t i = 0; i < 4; ++i) CHECK(static_cast<float>(y[i]) == expected[i]);
    y.assign(4, {});
  };
  nk::layer_norm_forward({2, 2}, x.data(), y.data(), gamma.data(), nullptr, 0, mean.data());
  check();
  nk::layer_norm_forward({2, 2}, x.data(), y.data(), wide_gamma.data(), zeros.data(), 0);
  check();
  nk::layer_norm_forward({2, 2}, {-1}, nk::View(x.data()), y.data(), wide_gamma.data(), nullptr, 0);
  check();
  nk::instance_norm_forward({nk::nhwc, 1, 1, 4}, x.data(), y.data(), wide_gamma.data());
  CHECK(static_cast<float>(y[3]) == doctest::Approx(-2 / std::sqrt(2.5)).epsilon(1e-3));
}

TEST_CASE("version") {
  CHECK(nk::version() == std::to_string(NORMKERNELS_VERSION_MAJOR) + "." +
                             std::to_string(NORMKERNELS_VERSION_MINOR) + "." +
                             std::to_string(NORMKERNELS_VERSION_PATCH));
}

TEST_CASE("absent parameters act as ones and zeros") {
  std::array<double, 6> x = {1, 5, 2, -3, 0, 7}, y{}, expected{};
  const std::array<double, 3> ones = {1, 1, 1}, zeros{};
  nk::layer_norm_forward({2, 3}, x.data(), y.data());
  nk::layer_norm_forward({2, 3}, x.data(), expected.data(), ones.data(), zeros.data());
  CHECK(y == expected);
  nk::instance_norm_forward({nk::nhwc, 1, 3, 2}, x.data(), y.data());
  nk::instance_norm_forward({nk::nhwc, 1, 3, 2}, x.data(), expected.data(), ones.data(),
                            zeros.data());
  CHECK(y == expected);
}

TEST_CASE("an error names the function and the argument") {
  float x[6] = {}, y[6] = {};
  const auto message = [&](auto call) -> std::string {
    try {
      call();
    } catch (const nk::error& e) {
      CHECK(e.status() == e.kind() + normkernels_status_argument(e.status()));
      return e.what();
    }
    return "no error";
  };
  const auto begins = [](const std::string& text, const std::string& start) {
    CAPTURE(text);
    CHECK(text.compare(0, start.size(), start) == 0);
    CHECK(text.size() > start.size());
  };
  const nk::Tensor shape = {nk::nchw, 1, 2, 3};
  begins(message([&] { nk::layer_norm_forward({-2, 3}, x, y); }), "layer_norm_forward: rows: ");
  begins(message([&] { nk::layer_norm_forward({2, 3}, x, x + 1); }), "layer_norm_forward: y: ");
  begins(message([&] {
           nk::layer_norm_forward<float>({2, 3}, nullptr, y);
         }),
         "layer_norm_forward: x: ");
  begins(message([&] { nk::instance_norm_forward(shape, x, y, nullptr, nullptr, -1); }),
         "instance_norm_forward: epsilon: ");
  begins(message([&] { nk::local_response_norm_forward(shape, x, y, 0, 1, 0.75, 1); }),
         "local_response_norm_forward: size: ");
  begins(message([&] { nk::local_response_norm_forward(shape, x, y, 5, 1, std::nan(""), 1); }),
         "local_response_norm_forward: beta: ");
  begins(message([&] { nk::force_isa("nonsense"); }), "isa_force: name: ");
  begins(message([&] { nk::set_num_threads(-1); }), "set_num_threads: num_threads: ");
  const normkernels_executor wrong = {1, 0, nullptr, nullptr};
  begins(message([&] {
           nk::layer_norm_forward({2, 3}, x, y, nullptr, nullptr, 1e-5, nullptr, nullptr, &wrong);
         }),
         "layer_norm_forward: executor: ");
  CHECK_THROWS_AS(nk::set_num_threads(-1), std::invalid_argument);
  for (const int axis : {2, -3, 64, 100, std::numeric_limits<int>::min()}) {
    begins(message([&] {
             nk::layer_norm_forward({2, 3}, {axis}, nk::View(x), y);
           }),
           "layer_norm_forward: axes: ");
    begins(message([&] {
             nk::layer_norm_backward({2, 3}, {axis}, nk::View(x), x, x, x, nk::View(y));
           }),
           "layer_norm_backward: axes: ");
  }
  begins(message([&] {
           nk::layer_norm_forward({2, 3}, {}, nk::View(x), y);
         }),
         "layer_norm_forward: axes: ");
  begins(message([&] { nk::layer_norm_forward({}, {0}, nk::View(x), y); }),
         "layer_norm_forward: axes: ");
  begins(message([&] {
           nk::layer_norm_forward({-2, 3}, {0}, nk::View(x), y);
         }),
         "layer_norm_forward: shape: ");
  begins(message([&] { nk::layer_norm_forward(nk::Shape(65, 1), {0}, nk::View(x), y); }),
         "layer_norm_forward: rank: ");
  begins(message([&] { nk::instance_norm_forward(nk::nchw, {6}, nk::View(x), y); }),
         "instance_norm_forward: rank: ");
  const std::int64_t far[] = {INT64_MAX, 1}, twice[] = {0, 1};
  begins(message([&] {
           nk::layer_norm_forward({2, 3}, {1}, nk::View(x, far), y);
         }),
         "layer_norm_forward: x_strides: ");
  begins(message([&] {
           nk::layer_norm_forward({2, 3}, {1}, nk::View(x), {y, twice});
         }),
         "layer_norm_forward: y: ");
}

TEST_CASE("a status that no function returns is an error that names no argument") {
  for (const normkernels_status status :
       {42, -5, 12345, NORMKERNELS_NULL_POINTER + 3, NORMKERNELS_NULL_POINTER + 99}) {
    CAPTURE(status);
    try {
      nk::detail::check(status, "function", "dtype rows");
      FAIL("no error");
    } catch (const nk::error& thrown) {
      CHECK(thrown.what() == std::string("function: ") + normkernels_status_string(status));
      CHECK(thrown.status() == status);
      CHECK(thrown.kind() != NORMKERNELS_OK);
    }
  }
}

TEST_CASE("what the environment has spoilt is an error of no single argument") {
  const nk::error e(NORMKERNELS_UNKNOWN_ISA, "");
  CHECK(normkernels_status_argument(e.status()) == 0);
  try {
    nk::detail::check(NORMKERNELS_UNKNOWN_ISA, "layer_norm_forward", "dtype rows");
  } catch (const nk::error& thrown) {
    CHECK(thrown.what() ==
          "layer_norm_forward: " + std::string(normkernels_status_string(NORMKERNELS_UNKNOWN_ISA)));
  }
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
  nk::layer_norm_forward({1024, 1024}, x.data(), y.data(), nullptr, nullptr, 1e-5, nullptr, nullptr,
                         &executor);
  CHECK(ran > 1);
  CHECK(y == std::vector<float>(x.size(), 0.0f));
}
