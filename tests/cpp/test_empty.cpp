// Calls without elements, and extents from all over: what is written, at once, and nothing else.
// The test has a time limit, and a build with -fsanitize=undefined sees what is computed on the
// way.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
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

std::array<std::array<double, 17 * 17 * 17>, 24> memory;  // for each parameter
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
  Random(const Function<Args...>& function, bool takes_halves, std::mt19937& random)
      : function_(function), takes_halves_(takes_halves), random_(random) {}

  normkernels_status call(Arrays arrays) {
    arrays_ = arrays;
    return call(std::index_sequence_for<Args...>{});
  }

  // Of the last call.
  bool nonnegative() const { return least_ >= 0; }
  bool is_half() const { return (dtype_ & 0xff) >= NORMKERNELS_F16; }
  std::vector<std::int64_t> extents;  // 0 for a parameter that is none, the least of a shape

 private:
  template <std::size_t... I>
  normkernels_status call(std::index_sequence<I...>) {
    extents.assign(sizeof...(Args), 0);
    least_ = 0;
    const std::tuple<Args...> arguments = {value<Args>(I)...};
    return std::apply(function_.call, arguments);
  }

  template <class T>
  T value(std::size_t index) {
    const Kind kind = function_.parameters[index].kind;
    if constexpr (std::is_same_v<T, const normkernels_executor*>) {
      return nullptr;
    } else if constexpr (std::is_same_v<T, const std::int64_t*>) {
      return kind == Kind::shape ? shape(index) : strides(index);
    } else if constexpr (std::is_pointer_v<T>) {
      return static_cast<T>(array(index));
    } else if constexpr (std::is_same_v<T, std::uint64_t>) {
      return static_cast<T>(one_of(std::array{1, 2, 3}, random_));
    } else if constexpr (std::is_same_v<T, double>) {
      return 0.75;
    } else if (kind == Kind::dtype) {
      dtype_ = one_of(std::array{+NORMKERNELS_F32, +NORMKERNELS_F64, +NORMKERNELS_F16,
                                 NORMKERNELS_BF16 | NORMKERNELS_F32_GAMMA},
                      random_);
      if (!takes_halves_ && (dtype_ & 0xff) >= NORMKERNELS_F16) dtype_ = NORMKERNELS_F32;
      return dtype_;
    } else if (kind == Kind::order) {
      return one_of(std::array{NORMKERNELS_NCHW, NORMKERNELS_NHWC}, random_);
    } else if (kind == Kind::size) {
      return static_cast<T>(one_of(std::array{std::int64_t{1}, std::int64_t{5}, most}, random_));
    } else if (kind == Kind::groups) {
      // Of the channels, which a list of extents has before the positions.
      const std::int64_t c = function_.has(Kind::rank) ? 1 : extents[index - 2];
      return static_cast<T>(
          one_of(std::array{std::int64_t{1}, std::max(c, std::int64_t{1})}, random_));
    } else if (kind == Kind::rank) {
      shape_.resize(one_of(std::array{2u, 3u}, random_));
      return static_cast<T>(shape_.size());
    } else {
      return static_cast<T>(extents[index] = extent());
    }
  }

  std::int64_t extent() {
    const std::int64_t extent =
        arrays_ == Arrays::real ? one_of(small, random_) : one_of(any, random_);
    least_ = std::min(extent, least_);
    return extent;
  }

  const std::int64_t* shape(std::size_t index) {
    for (std::int64_t& one : shape_) one = extent();
    extents[index] = *std::min_element(shape_.begin(), shape_.end());
    return shape_.data();
  }

  // None, or any; in real arrays, those of a dense one in Fortran's order.
  const std::int64_t* strides(std::size_t index) {
    if (one_of(std::array{false, true}, random_)) return nullptr;
    std::vector<std::int64_t>& strides = strides_[index];
    strides.assign(1, 1);
    for (const std::int64_t one : shape_)
      strides.push_back(arrays_ == Arrays::real ? strides.back() * one : one_of(any, random_));
    return strides.data();
  }

  void* array(std::size_t index) {
    const Parameter& parameter = function_.parameters[index];
    if (arrays_ == Arrays::absent) return nullptr;
    if (arrays_ == Arrays::nowhere) {
      const std::size_t element = dtype_ == NORMKERNELS_F64 ? 8 : dtype_ == NORMKERNELS_F32 ? 4 : 2;
      return reinterpret_cast<void*>(UINTPTR_MAX - (function_.alignment(index, element) - 1));
    }
    if (parameter.kind == Kind::workspace) return workspace.data();
    const bool leave_out = parameter.optional && one_of(std::array{false, true}, random_);
    return leave_out ? nullptr : memory[index].data();
  }

  const Function<Args...>& function_;
  const bool takes_halves_;
  std::mt19937& random_;
  Arrays arrays_ = Arrays::real;
  std::vector<std::int64_t> shape_;
  std::map<std::size_t, std::vector<std::int64_t>> strides_;
  std::int64_t least_ = 0;
  normkernels_dtype dtype_ = 0;
};

// A call by names: every array is absent but those outputs that it is given.
template <class T>
struct Sparse {
  std::string function;
  std::vector<std::int64_t> extents;
  normkernels_order order = NORMKERNELS_NCHW;
  double epsilon = 0.1;
  std::map<std::string, std::array<T, 7>> outputs = {};
  normkernels_dtype dtype = sizeof(T) == 4 ? NORMKERNELS_F32 : NORMKERNELS_F64;
  std::vector<std::int64_t> shape = {};  // the extents as an array has them

  normkernels_status call() {
    normkernels_status status = -1;
    for_each_function([&](const auto& one) {
      if (one.name == function) status = call(one);
    });
    return status;
  }

 private:
  template <class... Args>
  normkernels_status call(const Function<Args...>& one) {
    return call(one, std::index_sequence_for<Args...>{});
  }

  template <class... Args, std::size_t... I>
  normkernels_status call(const Function<Args...>& one, std::index_sequence<I...>) {
    const std::int64_t* extent = extents.data();
    const std::tuple<Args...> arguments = {value<Args>(one.parameters[I], extent)...};
    REQUIRE((one.has(Kind::shape) || extent == extents.data() + extents.size()));
    return std::apply(one.call, arguments);
  }

  template <class Argument>
  Argument value(const Parameter& parameter, const std::int64_t*& extent) {
    if constexpr (std::is_same_v<Argument, void*>) {
      const auto found = outputs.find(parameter.name);
      return found == outputs.end() ? nullptr : found->second.data();
    } else if constexpr (std::is_same_v<Argument, const std::int64_t*>) {
      if (parameter.kind == Kind::strides) return nullptr;
      shape = extents;
      if (order == NORMKERNELS_NHWC && shape.size() == 3) std::swap(shape[1], shape[2]);
      return shape.data();
    } else if constexpr (std::is_pointer_v<Argument>) {
      return nullptr;
    } else if constexpr (std::is_same_v<Argument, double>) {
      return parameter.kind == Kind::epsilon ? epsilon : 0.75;
    } else if (parameter.kind == Kind::dtype) {
      return dtype;
    } else if (parameter.kind == Kind::order) {
      return static_cast<Argument>(order);
    } else if (parameter.kind == Kind::rank) {
      return static_cast<Argument>(extents.size());
    } else if (parameter.kind == Kind::axes) {
      return 2;  // the columns
    } else if (parameter.kind == Kind::groups) {
      return static_cast<Argument>(std::max(extents[1], std::int64_t{1}));
    } else {
      return static_cast<Argument>(parameter.kind == Kind::size ? most : *extent++);
    }
  }
};

}  // namespace

TEST_CASE("extents from all over are computed with or refused") {
  std::mt19937 random(11);
  for_each_function([&](const auto& function) {
    CAPTURE(function.name);
    Random call(function, !is_step(function.name), random);
    for (int i = 0; i < 500; ++i) {
      // instance_norm_backward and group_norm_backward have their saved statistics both or not at
      // all.
      const normkernels_status computed = call.call(Arrays::real);
      CAPTURE(call.extents);
      const auto at = static_cast<std::size_t>(normkernels_status_argument(computed));
      const std::string at_fault = at == 0 ? "" : function.parameters[at - 1].name;
      if (computed != NORMKERNELS_OK) {
        CHECK(normkernels_status_kind(computed) == NORMKERNELS_NULL_POINTER);
        CHECK((at_fault == "mean" || at_fault == "inv_std"));
      }
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
          // Nowhere, the statistics of half types are not aligned either.
          const bool absent = arrays == Arrays::absent;
          CHECK((absent || call.is_half()));
          CHECK(kind == (absent ? NORMKERNELS_NULL_POINTER : NORMKERNELS_MISALIGNED));
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
      const std::int64_t matrix[] = {n, c};
      for (const std::uint64_t axes : {0, 1, 2, 3, 4}) {
        const std::size_t bytes[] = {
            normkernels_layer_norm_forward_view_workspace_bytes(NORMKERNELS_F32, 2, matrix, axes),
            normkernels_layer_norm_backward_view_workspace_bytes(NORMKERNELS_BF16, 2, matrix, axes),
            normkernels_layer_norm_backward_view_workspace_bytes(NORMKERNELS_F64, 2, matrix, axes),
            normkernels_add_layer_norm_forward_view_workspace_bytes(NORMKERNELS_F64, 2, matrix,
                                                                    axes)};
        for (const std::size_t size : bytes) {
          if (n <= 0 || c <= 0 || axes == 0 || axes == 4) CHECK(size == 0);
          if (n <= 17 * 17 && c <= 17 * 17) CHECK(size <= workspace.size());
        }
      }
      for (const std::int64_t spatial : any) {
        CAPTURE(spatial);
        for (const normkernels_order order : {NORMKERNELS_NCHW, NORMKERNELS_NHWC}) {
          const std::int64_t shape[] = {n, c, spatial};
          const std::size_t bytes[] = {normkernels_instance_norm_forward_view_workspace_bytes(
                                           NORMKERNELS_F64, order, 3, shape),
                                       normkernels_instance_norm_backward_view_workspace_bytes(
                                           NORMKERNELS_F32, order, 3, shape),
                                       normkernels_group_norm_forward_view_workspace_bytes(
                                           NORMKERNELS_F64, order, 3, shape, 1),
                                       normkernels_group_norm_backward_view_workspace_bytes(
                                           NORMKERNELS_F32, order, 3, shape, 1),
                                       normkernels_group_norm_forward_workspace_bytes(
                                           NORMKERNELS_F32, order, n, c, spatial, 1),
                                       normkernels_group_norm_backward_workspace_bytes(
                                           NORMKERNELS_F64, order, n, c, spatial, 1),
                                       normkernels_local_response_norm_view_workspace_bytes(
                                           NORMKERNELS_F64, order, 3, shape, most),
                                       normkernels_instance_norm_forward_workspace_bytes(
                                           NORMKERNELS_F32, order, n, c, spatial),
                                       normkernels_group_norm_backward_workspace_bytes(
                                           NORMKERNELS_F16, order, n, c, spatial, 1),
                                       normkernels_local_response_norm_workspace_bytes(
                                           NORMKERNELS_BF16, order, n, c, spatial, most),
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
  for (const char* function :
       {"layer_norm_forward", "layer_norm_forward_view", "rms_norm_forward",
        "rms_norm_forward_view", "add_layer_norm_forward", "add_layer_norm_forward_view",
        "add_rms_norm_forward", "add_rms_norm_forward_view"}) {
    CHECK(Sparse<float>{function, {most, 0}}.call() == NORMKERNELS_OK);
    CHECK(Sparse<float>{function, {0, most}}.call() == NORMKERNELS_OK);
  }
  for (const normkernels_order order : {NORMKERNELS_NCHW, NORMKERNELS_NHWC}) {
    const std::vector<std::int64_t> shapes[] = {{0, most, most}, {most, 0, most}, {most, most, 0}};
    for (const auto& shape : shapes) {
      for (const char* function :
           {"instance_norm_forward", "instance_norm_forward_view", "group_norm_forward",
            "group_norm_forward_view", "local_response_norm_forward",
            "local_response_norm_forward_view"})
        CHECK(Sparse<double>{function, shape, order}.call() == NORMKERNELS_OK);
    }
  }
}

TEST_CASE("statistics that would not fit in memory are refused though there are no elements") {
  Sparse<float> layer = {"layer_norm_forward", {0, most}};
  layer.outputs["mean"] = {7};
  CHECK(layer.call() == NORMKERNELS_OK);
  layer.extents = {most, 0};
  CHECK(layer.call() == NORMKERNELS_BAD_EXTENT + 9);
  layer.function = "layer_norm_forward_view";
  CHECK(layer.call() == NORMKERNELS_BAD_EXTENT + 12);
  CHECK(layer.outputs["mean"][0] == 7);
}

// Of half types the statistics are of float, and the gradients of parameters may be.
TEST_CASE_TEMPLATE("what is written without elements", T, float, double, std::uint16_t) {
  constexpr bool is_half = sizeof(T) == 2;
  constexpr normkernels_dtype flags =
      is_half ? 0 : NORMKERNELS_F32_GAMMA | NORMKERNELS_F32_BETA | NORMKERNELS_F32_BIAS;
  std::vector<normkernels_dtype> dtypes = {NORMKERNELS_F16 | flags, NORMKERNELS_BF16 | flags};
  if (std::is_same_v<T, float>) dtypes.push_back(NORMKERNELS_F32);
  if (std::is_same_v<T, double>) dtypes = {NORMKERNELS_F64};

  const double epsilon = 0.1, sigma = std::sqrt(epsilon);
  struct Written {
    std::string function;
    std::vector<std::int64_t> extents;
    double epsilon;
    std::map<std::string, double> values;  // of 6 elements each, and no more
  };
  const Written calls[] = {
      {"layer_norm_forward", {6, 0}, epsilon, {{"mean", 0}, {"sigma", sigma}}},
      {"layer_norm_backward", {0, 6}, epsilon, {{"dgamma", 0}, {"dbeta", 0}}},
      {"layer_norm_internal_gradients", {6, 0}, epsilon, {{"ds", 0}, {"db", 0}}},
      {"layer_norm_gamma_beta_backward", {0, 6}, epsilon, {{"dgamma", 0}, {"dbeta", 0}}},
      {"rms_norm_forward", {6, 0}, epsilon, {{"rstd", 1 / sigma}}},
      {"rms_norm_backward", {0, 6}, epsilon, {{"dgamma", 0}, {"dbeta", 0}}},
      {"add_layer_norm_forward", {6, 0}, epsilon, {{"mean", 0}, {"sigma", sigma}}},
      {"add_rms_norm_forward", {6, 0}, 0, {{"rstd", HUGE_VAL}}},
      {"instance_norm_forward", {2, 3, 0}, epsilon, {{"mean", 0}, {"inv_std", 1 / sigma}}},
      {"instance_norm_backward", {0, 6, 5}, epsilon, {{"dscale", 0}, {"dbias", 0}}},
      {"instance_norm_with_gradient",
       {1, 6, 0},
       epsilon,
       {{"mean", 0}, {"inv_std", 1 / sigma}, {"dscale", 0}, {"dbias", 0}}},
      {"group_norm_forward", {2, 3, 0}, epsilon, {{"mean", 0}, {"inv_std", 1 / sigma}}},
      {"group_norm_forward", {6, 0, 2}, epsilon, {{"mean", 0}, {"inv_std", 1 / sigma}}},
      {"group_norm_backward", {0, 6, 5}, epsilon, {{"dscale", 0}, {"dbias", 0}}},
      {"instance_norm_moments", {2, 3, 0}, 0, {{"mean", 0}, {"rstd", HUGE_VAL}}},
      {"instance_norm_internal_gradients", {3, 2, 0}, epsilon, {{"ds", 0}, {"db", 0}}},
      {"instance_norm_gamma_beta_backward", {0, 6}, epsilon, {{"dgamma", 0}, {"dbeta", 0}}},
  };
  std::set<std::string> functions;
  for_each_function([&](const auto& function) { functions.insert(function.name); });
  for (const Written& written : calls) {
    const bool gradients = written.function.find("_norm_backward") != std::string::npos;
    if (is_half && !gradients) continue;
    for (const std::string& function : {written.function, written.function + "_view"}) {
      if (functions.count(function) == 0) continue;
      CAPTURE(function);
      for (const normkernels_dtype dtype : dtypes) {
        CAPTURE(dtype);
        if (is_step(function) && (dtype & 0xff) >= NORMKERNELS_F16) continue;
        for (const normkernels_order order : {NORMKERNELS_NCHW, NORMKERNELS_NHWC}) {
          Sparse<T> sparse = {function, written.extents, order, written.epsilon};
          sparse.dtype = dtype;
          for (const auto& value : written.values) sparse.outputs[value.first].fill(9);
          CHECK(sparse.call() == NORMKERNELS_OK);
          for (const auto& value : written.values) {
            CAPTURE(value.first);
            const std::array<T, 7>& output = sparse.outputs[value.first];
            for (std::size_t i = 0; i < 6; ++i) CHECK(output[i] == static_cast<T>(value.second));
            CHECK(output[6] == 9);
          }
        }
      }
    }
  }
}
