// Every function of the C interface with every one of its arguments spoilt in every way.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "functions.h"

namespace {

constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t array_bytes = 4096;
constexpr std::size_t most_parameters = 24;

// Of [3, 3, 3], with gaps.
constexpr std::int64_t some_strides[] = {12, 4, 1};

// One array for each parameter, apart from each other, with room to be shifted within its slot.
struct alignas(64) Memory {
  std::array<std::array<unsigned char, 2 * array_bytes>, most_parameters> slots;
};

template <class... Args>
class Checker {
 public:
  Checker(const Function<Args...>& function, normkernels_dtype dtype, bool takes_halves)
      : f_(function), dtype_(dtype), takes_halves_(takes_halves) {
    for (auto& slot : memory_.slots) {
      for (std::size_t at = 0; at < slot.size(); at += sizeof(float)) {
        const float value = 0.75f;
        std::memcpy(slot.data() + at, &value, sizeof value);
      }
    }
  }

  void run() {
    CAPTURE(f_.name);
    fill(std::index_sequence_for<Args...>{});
    // Without what a call has written, which would hide that another writes the same once more.
    before_ = memory_;
    accept_all();
    each(std::index_sequence_for<Args...>{});
    fill(std::index_sequence_for<Args...>{});
    accept_all();
  }

 private:
  template <std::size_t... I>
  void fill(std::index_sequence<I...>) {
    (set<I>(), ...);
  }

  // A valid value for parameter I.
  template <std::size_t I>
  void set() {
    using T = std::tuple_element_t<I, std::tuple<Args...>>;
    std::get<I>(arguments_) = valid_argument<T>(f_.parameters[I], {dtype_, three, some_strides, 1},
                                                memory_.slots[I].data(), 3);
  }

  template <std::size_t... I>
  void each(std::index_sequence<I...>) {
    (spoil<I>(), ...);
  }

  template <std::size_t I>
  void spoil() {
    const Parameter& parameter = f_.parameters[I];
    const Kind kind = parameter.kind;
    const auto position = static_cast<normkernels_status>(I + 1);
    using T = std::tuple_element_t<I, std::tuple<Args...>>;
    CAPTURE(parameter.name);
    if constexpr (std::is_same_v<T, const normkernels_executor*>) {
      normkernels_executor executor = {sizeof(normkernels_executor), 0, nullptr, nullptr};
      executor.struct_size = 4;
      expect<I>(&executor, NORMKERNELS_BAD_EXECUTOR + position);
      executor = {sizeof(normkernels_executor), -1, nullptr, nullptr};
      expect<I>(&executor, NORMKERNELS_BAD_EXECUTOR + position);
      executor.num_threads = 2;
      accept<I>(&executor);
    } else if constexpr (std::is_same_v<T, const std::int64_t*>) {
      kind == Kind::shape ? spoil_shape<I>() : spoil_strides<I>();
    } else if constexpr (std::is_same_v<T, std::uint64_t>) {
      for (const std::uint64_t bad : {0, 8, 9}) expect<I>(bad, NORMKERNELS_BAD_AXES + position);
      expect<I>(~std::uint64_t{0}, NORMKERNELS_BAD_AXES + position);
      for (const std::uint64_t good : {1, 3, 5, 7}) accept<I>(good);
    } else if constexpr (std::is_pointer_v<T>) {
      const bool unused = f_.is_unused(parameter, arguments_);
      if (parameter.optional || unused) {
        accept_null<I>();
      } else {
        expect<I>(nullptr, NORMKERNELS_NULL_POINTER + position);
      }
      if (kind == Kind::output) overlap<I>(std::index_sequence_for<Args...>{});
      if (!unused) misplace<I>();
    } else if (kind == Kind::dtype) {
      constexpr int gamma = NORMKERNELS_F32_GAMMA, all = 0x700;
      for (const int bad : {0, -1, 5, 100, gamma, NORMKERNELS_F32 | 0x800, NORMKERNELS_F16 | 0x800,
                            NORMKERNELS_F64 | gamma, NORMKERNELS_F64 | all})
        expect<I>(T(bad), NORMKERNELS_BAD_DTYPE + position);
      for (const int good : {+NORMKERNELS_F64, NORMKERNELS_F32 | all}) accept<I>(T(good));
      for (const int half : {+NORMKERNELS_F16, +NORMKERNELS_BF16, NORMKERNELS_BF16 | gamma}) {
        if (takes_halves_) {
          accept<I>(T(half));
        } else {
          expect<I>(T(half), NORMKERNELS_BAD_DTYPE + position);
        }
      }
    } else if (kind == Kind::order) {
      for (const int bad : {0, 3, -1, 100}) expect<I>(T(bad), NORMKERNELS_BAD_ORDER + position);
      accept<I>(T(NORMKERNELS_NHWC));
    } else if (kind == Kind::extent) {
      expect<I>(T(-1), NORMKERNELS_BAD_EXTENT + position);
      expect<I>(static_cast<T>(-huge), NORMKERNELS_BAD_EXTENT + position);
      std::get<I>(arguments_) = static_cast<T>(huge);
      CHECK(normkernels_status_kind(refused()) == NORMKERNELS_BAD_EXTENT);
      set<I>();
      accept<I>(T(0));
    } else if (kind == Kind::rank) {
      for (const int bad : {-1, 65, INT32_MIN, INT32_MAX})
        expect<I>(T(bad), NORMKERNELS_BAD_EXTENT + position);
      const bool images = f_.has(Kind::order);  // others lack the axis that is normalised
      const auto few = images ? NORMKERNELS_BAD_EXTENT + position : NORMKERNELS_BAD_AXES + 4;
      for (const int bad : {0, 1}) expect<I>(T(bad), few);
      if (images) accept<I>(T(2));
    } else if (kind == Kind::size) {
      expect<I>(T(0), NORMKERNELS_BAD_SIZE + position);
      expect<I>(T(-1), NORMKERNELS_BAD_SIZE + position);
      accept<I>(T(1));
      accept<I>(static_cast<T>(huge));
    } else if (kind == Kind::groups) {
      for (const std::int64_t bad : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{2}, huge})
        expect<I>(static_cast<T>(bad), NORMKERNELS_BAD_SIZE + position);
      accept<I>(T(3));
    } else if (parameter.optional) {
      accept<I>(static_cast<T>(std::nan("")));
    } else {
      const bool epsilon = kind == Kind::epsilon;
      const normkernels_status bad = epsilon ? NORMKERNELS_BAD_EPSILON : NORMKERNELS_BAD_SCALAR;
      expect<I>(static_cast<T>(std::nan("")), bad + position);
      expect<I>(static_cast<T>(HUGE_VAL), bad + position);
      expect<I>(static_cast<T>(-HUGE_VAL), bad + position);
      if (epsilon) expect<I>(static_cast<T>(-1e-9), bad + position);
      accept<I>(T(0));
    }
  }

  template <std::size_t I>
  void spoil_shape() {
    constexpr auto position = static_cast<normkernels_status>(I + 1);
    expect<I>(nullptr, NORMKERNELS_NULL_POINTER + position);
    constexpr std::int64_t many = std::int64_t{1} << 30;
    constexpr std::int64_t bad[][3] = {
        {-1, 3, 3}, {3, 3, -1}, {0, -huge, 3}, {huge, 3, 3}, {many, many, many}};
    for (const auto& shape : bad) expect<I>(shape, NORMKERNELS_BAD_EXTENT + position);
    constexpr std::int64_t good[][3] = {{0, 3, 3}, {3, 0, 3}, {3, 3, 0}, {1, 1, 1}};
    for (const auto& shape : good) accept<I>(shape);
  }

  // Without strides an array is dense, which fits here, too.
  template <std::size_t I>
  void spoil_strides() {
    constexpr auto position = static_cast<normkernels_status>(I + 1);
    accept<I>(nullptr);
    constexpr std::int64_t far = std::int64_t{1} << 61;
    constexpr std::int64_t bad[][3] = {
        {far, 4, 1}, {12, -far, 1}, {12, 4, huge}, {-huge - 1, -huge - 1, -huge - 1}};
    for (const auto& strides : bad) expect<I>(strides, NORMKERNELS_BAD_EXTENT + position);
    constexpr std::int64_t twice[][3] = {{0, 4, 1}, {12, 1, 1}, {12, -1, 1}, {2, 2, 9}};
    for (const auto& strides : twice) {
      if (f_.parameters[I - 1].kind == Kind::input) {
        accept<I>(strides);
      } else {
        expect<I>(strides, NORMKERNELS_OVERLAP + position - 1);
      }
    }
    constexpr std::int64_t good[][3] = {{9, 3, 1}, {1, 4, 12}, {1, 3, 9}, {20, 1, 6}};
    for (const auto& strides : good) accept<I>(strides);
  }

  bool is_half() const { return (dtype_ & 0xff) >= NORMKERNELS_F16; }
  // Of the other arrays of a half type some are of float.
  bool is_float(const std::string& name) const {
    if (is_one_of(name, "mean sigma rstd inv_std moments")) return true;
    const bool of_lrn = f_.name.find("local_response") == 0;
    return !of_lrn && (dtype_ & NORMKERNELS_F32_GAMMA) != 0 &&
           is_one_of(name, "gamma beta bias scale dgamma dbeta dscale dbias");
  }

  // Array I where no element of it can be, and where none of its elements may be.
  template <std::size_t I>
  void misplace() {
    constexpr auto position = static_cast<normkernels_status>(I + 1);
    unsigned char* const own = memory_.slots[I].data();
    const bool is_workspace = f_.parameters[I].kind == Kind::workspace;
    expect<I>(own + 1, NORMKERNELS_MISALIGNED + position);
    if (is_half() && !is_workspace && !is_float(f_.parameters[I].name)) {
      accept<I>(own + sizeof(float) / 2);
    } else {
      expect<I>(own + sizeof(float) / 2, NORMKERNELS_MISALIGNED + position);
    }
    if (is_workspace) expect<I>(own + sizeof(double), NORMKERNELS_MISALIGNED + position);
    const std::uintptr_t last =
        UINTPTR_MAX - (is_workspace ? 63 : f_.alignment(I, sizeof(float)) - 1);
    expect<I>(reinterpret_cast<void*>(last),
              NORMKERNELS_BAD_EXTENT + position + (f_.is_view(I) ? 1 : 0));
  }

  // Output I over every other array, exactly and by a part.
  template <std::size_t I, std::size_t... J>
  void overlap(std::index_sequence<J...>) {
    (overlap_with<I, J>(), ...);
  }

  template <std::size_t I, std::size_t J>
  void overlap_with() {
    using T = std::tuple_element_t<J, std::tuple<Args...>>;
    if constexpr (I != J && std::is_pointer_v<T> && std::is_void_v<std::remove_pointer_t<T>>) {
      const Parameter& other_parameter = f_.parameters[J];
      if (f_.is_unused(other_parameter, arguments_)) return;
      const std::string pair = f_.parameters[I].name + "=" + other_parameter.name;
      const auto& pairs = f_.may_alias;
      const bool allowed = std::find(pairs.begin(), pairs.end(), pair) != pairs.end();
      CAPTURE(pair);
      auto* const other = memory_.slots[J].data();
      if (allowed) {
        accept<I>(other);
      } else {
        expect_overlap<I>(other, J);
      }
      expect_overlap<I>(other + f_.alignment(I, sizeof(float)), J);
    }
  }

  template <std::size_t I>
  void expect_overlap(void* p, std::size_t other) {
    assign<I>(p);
    const normkernels_status status = refused();
    CHECK(normkernels_status_kind(status) == NORMKERNELS_OVERLAP);
    const std::int32_t position = normkernels_status_argument(status);
    CHECK((position == static_cast<std::int32_t>(I + 1) ||
           position == static_cast<std::int32_t>(other + 1)));
    set<I>();
  }

  // A value for parameter I: arrays come as addresses of bytes.
  template <std::size_t I, class T>
  void assign(T value) {
    using Argument = std::tuple_element_t<I, std::tuple<Args...>>;
    if constexpr (std::is_convertible_v<T, Argument>) {
      std::get<I>(arguments_) = value;
    } else {
      std::get<I>(arguments_) = static_cast<Argument>(static_cast<void*>(value));
    }
  }

  template <std::size_t I, class T>
  void expect(T value, normkernels_status status) {
    assign<I>(value);
    CHECK(refused() == status);
    set<I>();
  }

  void accept_all() {
    CHECK(call() == NORMKERNELS_OK);
    memory_ = before_;
  }

  template <std::size_t I, class T>
  void accept(T value) {
    assign<I>(value);
    accept_all();
    set<I>();
  }

  // mean and inv_std of the instance or group norm's backward are given or left out together.
  template <std::size_t I>
  void accept_null() {
    const std::string& name = f_.parameters[I].name;
    const bool backward = f_.has(Kind::order) && f_.name.find("_norm_backward") < f_.name.size();
    if (backward && (name == "mean" || name == "inv_std")) {
      expect<I>(nullptr, NORMKERNELS_NULL_POINTER + static_cast<normkernels_status>(I + 1));
      return;
    }
    accept<I>(nullptr);
  }

  normkernels_status refused() {
    const normkernels_status status = call();
    CHECK(std::memcmp(&memory_, &before_, sizeof(Memory)) == 0);
    memory_ = before_;
    return status;
  }

  normkernels_status call() { return std::apply(f_.call, arguments_); }

  const Function<Args...>& f_;
  const normkernels_dtype dtype_;
  const bool takes_halves_;
  std::tuple<Args...> arguments_{};
  Memory memory_, before_;
};

}  // namespace

TEST_CASE("every function refuses bad arguments and writes nothing") {
  for_each_function([&](const auto& function) {
    const bool takes_halves = !is_step(function.name);
    const normkernels_dtype all_of_float =
        NORMKERNELS_BF16 | NORMKERNELS_F32_GAMMA | NORMKERNELS_F32_BETA | NORMKERNELS_F32_BIAS;
    for (const normkernels_dtype dtype : {+NORMKERNELS_F32, +NORMKERNELS_F16, all_of_float}) {
      CAPTURE(dtype);
      if (dtype == NORMKERNELS_F32 || takes_halves) Checker(function, dtype, takes_halves).run();
    }
  });
}

TEST_CASE("the layer norm's backward wants a workspace for the gradients of many rows") {
  std::array<float, 300> dy{}, x{}, statistics{}, dx{}, dgamma{};
  const auto call = [&](std::int64_t rows, float* dgamma_or_null, std::int64_t cols = 1) {
    return normkernels_layer_norm_backward(NORMKERNELS_F32, rows, cols, dy.data(), x.data(),
                                           statistics.data(), statistics.data(), nullptr, dx.data(),
                                           dgamma_or_null, nullptr, nullptr, nullptr);
  };
  CHECK(normkernels_layer_norm_backward_workspace_bytes(NORMKERNELS_F32, 100, 1) > 0);
  dx.fill(7);
  CHECK(call(100, dgamma.data()) == NORMKERNELS_NULL_POINTER + 12);
  CHECK(dx[0] == 7);
  CHECK(call(100, nullptr) == NORMKERNELS_OK);
  CHECK(call(100, nullptr, 3) == NORMKERNELS_OK);  // nor is an address in it formed
  CHECK(normkernels_layer_norm_backward_workspace_bytes(NORMKERNELS_F32, 3, 1) == 0);
  CHECK(call(3, dgamma.data()) == NORMKERNELS_OK);
}

TEST_CASE("the instance norm's backward reads epsilon where it has no statistics") {
  const float x[4] = {1, 2, 3, 4}, one[1] = {1};
  float dx[4] = {7, 7, 7, 7};
  alignas(64) unsigned char workspace[array_bytes];
  const auto call = [&](const float* statistics, double epsilon) {
    return normkernels_instance_norm_backward(NORMKERNELS_F32, NORMKERNELS_NCHW, 1, 1, 4, x, x,
                                              nullptr, statistics, statistics, epsilon, dx, nullptr,
                                              nullptr, workspace, nullptr);
  };
  for (const double bad : {-1e-9, std::nan(""), HUGE_VAL}) {
    CHECK(call(nullptr, bad) == NORMKERNELS_BAD_EPSILON + 11);
    CHECK(dx[0] == 7);
  }
  CHECK(call(one, -1) == NORMKERNELS_OK);
}

TEST_CASE("an array of float64 is aligned to 8 bytes, an absent one to nothing") {
  alignas(8) const double x[3] = {1, 2, 3};
  alignas(8) double y[3];
  const auto* const shifted = reinterpret_cast<const unsigned char*>(x) + sizeof(float);
  const auto call = [&](const void* in, std::int64_t rows) {
    return normkernels_layer_norm_forward(NORMKERNELS_F64, rows, 2, in, nullptr, nullptr, 0, y,
                                          nullptr, nullptr, nullptr);
  };
  CHECK(call(x, 1) == NORMKERNELS_OK);
  CHECK(call(shifted, 1) == NORMKERNELS_MISALIGNED + 4);
  CHECK(call(shifted, 0) == NORMKERNELS_OK);
}
