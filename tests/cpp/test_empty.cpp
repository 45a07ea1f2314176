// Calls without elements, and extents from all over: what is written, at once, and nothing else.
// The test has a time limit, and a build with -fsanitize=undefined sees what is computed on the
// way.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "functions.h"

namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t small[] = {0, 1, 2, 3, 17};
constexpr std::int64_t any[] = {0,
                                1,
                                2,
                                3,
                                17,
                                1 << 20,
                                std::int64_t{1} << 31,
                                std::int64_t{1} << 40,
                                most / 64,
                                most / 8,
                                most - 1,
                                most,
                                -1,
                                -(std::int64_t{1} << 40),
                                -most,
                                -most - 1};

enum class Arrays {
  real,     // large enough for small extents
  absent,   // NULL
  nowhere,  // where not even one element can be
};

std::array<std::array<double, 17 * 17 * 17>, 20> memory;  // for each parameter
struct alignas(64) Workspace : std::array<unsigned char, 1 << 20> {
} workspace;

template <class List>
auto one_of(const List& list, std::mt19937& random) {
  return list[random() % std::size(list)];
}

// One call of a function with random arguments of the kinds that its parameters have.
template <class... Args>
class Random {
 public:
  Random(const Function<Args...>& function, std::mt19937& random)
      : function_(function), random_(random) {}

  normkernels_status call(Arrays arrays) {
    arrays_ = arrays;
    return call(std::index_sequence_for<Args...>{});
  }

  // Of the last call.
  bool nonnegative() const { return least_ >= 0; }
  std::vector<std::int64_t> extents;  // 0 for a parameter that is none

 private:
  template <std::size_t... I>
  normkernels_status call(std::index_sequence<I...>) {
    extents.assign(sizeof...(Args), 0);
    least_ = 0;
    f64_ = false;
    const std::tuple<Args...> arguments = {value<Args>(I)...};
    return std::apply(function_.call, arguments);
  }

  template <class T>
  T value(std::size_t index) {
    const Kind kind = function_.parameters[index].kind;
    if constexpr (std::is_same_v<T, const normkernels_executor*>) {
      return nullptr;
    } else if constexpr (std::is_pointer_v<T>) {
      return array(index);
    } else if constexpr (std::is_same_v<T, double>) {
      return 0.75;
    } else if (kind == Kind::dtype) {
      f64_ = one_of(std::array{false, true}, random_);
      return f64_ ? NORMKERNELS_F64 : NORMKERNELS_F32;
    } else if (kind == Kind::order) {
      return one_of(std::array{NORMKERNELS_NCHW, NORMKERNELS_NHWC}, random_);
    } else if (kind == Kind::size) {
      return static_cast<T>(one_of(std::array{std::int64_t{1}, std::int64_t{5}, most}, random_));
    } else {
      const std::int64_t extent =
          arrays_ == Arrays::real ? one_of(small, random_) : one_of(any, random_);
      extents[index] = extent;
      least_ = extent < least_ ? extent : least_;
      return static_cast<T>(extent);
    }
  }

  void* array(std::size_t index) {
    const Parameter& parameter = function_.parameters[index];
    if (arrays_ == Arrays::absent) return nullptr;
    if (arrays_ == Arrays::nowhere) return reinterpret_cast<void*>(UINTPTR_MAX - (f64_ ? 7 : 3));
    if (parameter.kind == Kind::workspace) return workspace.data();
    const bool leave_out = parameter.optional && one_of(std::array{false, true}, random_);
    return leave_out ? nullptr : memory[index].data();
  }

  const Function<Args...>& function_;
  std::mt19937& random_;
  Arrays arrays_ = Arrays::real;
  std::int64_t least_ = 0;
  bool f64_ = false;
};

}  // namespace

TEST_CASE("extents from all over are computed with or refused") {
  std::mt19937 random(11);
  for_each_function([&](const auto& function) {
    CAPTURE(function.name);
    Random call(function, random);
    for (int i = 0; i < 500; ++i) {
      // instance_norm_backward has its saved statistics both or not at all.
      const normkernels_status computed = call.call(Arrays::real);
      CAPTURE(call.extents);
      if (computed != NORMKERNELS_NULL_POINTER + 9 && computed != NORMKERNELS_NULL_POINTER + 10)
        CHECK(computed == NORMKERNELS_OK);
    }
    for (const Arrays arrays : {Arrays::absent, Arrays::nowhere}) {
      for (int i = 0; i < 5000; ++i) {
        const normkernels_status status = call.call(arrays);
        CAPTURE(call.extents);
        const normkernels_status kind = normkernels_status_kind(status);
        if (!call.nonnegative()) {
          CHECK(kind == NORMKERNELS_BAD_EXTENT);
          const auto position = static_cast<std::size_t>(normkernels_status_argument(status));
          REQUIRE(position <= call.extents.size());
          CHECK(call.extents[position - 1] < 0);
        } else if (kind != NORMKERNELS_OK && kind != NORMKERNELS_BAD_EXTENT) {
          CHECK(arrays == Arrays::absent);
          CHECK(kind == NORMKERNELS_NULL_POINTER);
        }
      }
    }
  });
}

TEST_CASE("workspaces of extents from all over") {
  for (const std::int64_t n : any) {
    for (const std::int64_t c : any) {
      CAPTURE(n);
      CAPTURE(c);
      const std::size_t rows =
          normkernels_layer_norm_backward_workspace_bytes(NORMKERNELS_F64, n, c);
      if (n <= 0 || c <= 0) CHECK(rows == 0);
      for (const std::int64_t spatial : any) {
        CAPTURE(spatial);
        for (const normkernels_order order : {NORMKERNELS_NCHW, NORMKERNELS_NHWC}) {
          const std::size_t bytes[] = {normkernels_instance_norm_forward_workspace_bytes(
                                           NORMKERNELS_F32, order, n, c, spatial),
                                       normkernels_instance_norm_backward_workspace_bytes(
                                           NORMKERNELS_F64, order, n, c, spatial),
                                       normkernels_local_response_norm_workspace_bytes(
                                           NORMKERNELS_F32, order, n, c, spatial, most)};
          for (const std::size_t size : bytes) {
            if (n <= 0 || c <= 0 || spatial <= 0) CHECK(size == 0);
            if (n <= 17 && c <= 17 && spatial <= 17) CHECK(size <= workspace.size());
          }
        }
      }
    }
  }
}

TEST_CASE("a call without elements returns at once, whatever its other extents") {
  const auto layer_norm = [](std::int64_t rows, std::int64_t cols, float* mean) {
    return normkernels_layer_norm_forward(NORMKERNELS_F32, rows, cols, nullptr, nullptr, nullptr, 0,
                                          nullptr, mean, nullptr, nullptr);
  };
  CHECK(layer_norm(most, 0, nullptr) == NORMKERNELS_OK);
  CHECK(layer_norm(0, most, nullptr) == NORMKERNELS_OK);
  float mean[1] = {7};
  CHECK(layer_norm(0, most, mean) == NORMKERNELS_OK);
  CHECK(layer_norm(most, 0, mean) == NORMKERNELS_BAD_EXTENT + 9);
  CHECK(mean[0] == 7);
  for (const normkernels_order order : {NORMKERNELS_NCHW, NORMKERNELS_NHWC}) {
    const std::int64_t shapes[][3] = {{0, most, most}, {most, 0, most}, {most, most, 0}};
    for (const auto& [n, c, spatial] : shapes) {
      CHECK(normkernels_instance_norm_forward(NORMKERNELS_F64, order, n, c, spatial, nullptr,
                                              nullptr, nullptr, 0, nullptr, nullptr, nullptr,
                                              nullptr, nullptr) == NORMKERNELS_OK);
      CHECK(normkernels_local_response_norm_forward(NORMKERNELS_F64, order, n, c, spatial, nullptr,
                                                    most, 1, 0.75, 1, nullptr, nullptr, nullptr,
                                                    nullptr) == NORMKERNELS_OK);
    }
  }
}

TEST_CASE_TEMPLATE("what is written without elements", T, float, double) {
  const normkernels_dtype dtype = sizeof(T) == 4 ? NORMKERNELS_F32 : NORMKERNELS_F64;
  const double epsilon = 0.1;
  T a[7], b[7], c[7], d[7];
  // The first 6 elements of an array are `value`, and no more.
  const auto is = [](T(&array)[7], double value) {
    for (int i = 0; i < 6; ++i) CHECK(array[i] == static_cast<T>(value));
    CHECK(array[6] == 9);
    std::fill(array, array + 7, T(9));
  };
  for (T* array : {a, b, c, d}) std::fill(array, array + 7, T(9));

  CHECK(normkernels_layer_norm_forward(dtype, 6, 0, nullptr, nullptr, nullptr, epsilon, nullptr, a,
                                       b, nullptr) == NORMKERNELS_OK);
  is(a, 0);
  is(b, std::sqrt(epsilon));
  CHECK(normkernels_layer_norm_backward(dtype, 0, 6, nullptr, nullptr, nullptr, nullptr, nullptr,
                                        nullptr, a, b, nullptr, nullptr) == NORMKERNELS_OK);
  is(a, 0);
  is(b, 0);
  CHECK(normkernels_layer_norm_internal_gradients(dtype, 6, 0, nullptr, nullptr, nullptr, nullptr,
                                                  a, b, nullptr) == NORMKERNELS_OK);
  is(a, 0);
  is(b, 0);
  CHECK(normkernels_layer_norm_gamma_beta_backward(dtype, 0, 6, nullptr, nullptr, nullptr, nullptr,
                                                   a, b, nullptr) == NORMKERNELS_OK);
  is(a, 0);
  is(b, 0);
  for (const normkernels_order order : {NORMKERNELS_NCHW, NORMKERNELS_NHWC}) {
    CHECK(normkernels_instance_norm_with_gradient(dtype, order, 1, 6, 0, nullptr, nullptr, nullptr,
                                                  nullptr, epsilon, nullptr, a, b, nullptr, c, d,
                                                  nullptr, nullptr) == NORMKERNELS_OK);
    is(a, 0);
    is(b, 1 / std::sqrt(epsilon));
    is(c, 0);
    is(d, 0);
    CHECK(normkernels_instance_norm_moments(dtype, order, 2, 3, 0, nullptr, 0, a, b, nullptr,
                                            nullptr) == NORMKERNELS_OK);
    is(a, 0);
    is(b, HUGE_VAL);
    CHECK(normkernels_instance_norm_backward(dtype, order, 0, 6, 5, nullptr, nullptr, nullptr,
                                             nullptr, nullptr, epsilon, nullptr, a, b, nullptr,
                                             nullptr) == NORMKERNELS_OK);
    is(a, 0);
    is(b, 0);
    CHECK(normkernels_instance_norm_internal_gradients(dtype, order, 3, 2, 0, nullptr, nullptr, a,
                                                       b, nullptr) == NORMKERNELS_OK);
    is(a, 0);
    is(b, 0);
  }
}
