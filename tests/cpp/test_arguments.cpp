// Every function of the C interface with every one of its arguments spoilt in every way.
#include <doctest/doctest.h>
#include <normkernels/normkernels.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace {

// One letter for each parameter:
//   d dtype   o order   e extent   i input   n input or NULL   w output   z output or NULL   s
//   workspace   x executor p epsilon (finite, >= 0)   k window size   f finite scalar
template <class... Args>
struct Function {
  const char* name;
  normkernels_status (*call)(Args...);
  std::string_view parameters;
  std::string_view
      may_alias;  // pairs of positions as letters (a is the first parameter): "output input ..."
  std::size_t (*workspace_bytes)();
};

constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t array_bytes = 1024;
constexpr std::size_t most_parameters = 20;

// One array for each parameter, apart from each other, with room to be shifted within its slot.
struct alignas(64) Memory {
  std::array<std::array<unsigned char, 2 * array_bytes>, most_parameters> slots;
};

template <class... Args>
class Checker {
 public:
  explicit Checker(const Function<Args...>& function) : f_(function) {
    for (auto& slot : memory_.slots) {
      for (std::size_t at = 0; at < slot.size(); at += sizeof(float)) {
        const float value = 0.75f;
        std::memcpy(slot.data() + at, &value, sizeof value);
      }
    }
  }

  void run() {
    CAPTURE(std::string(f_.name));
    REQUIRE(f_.parameters.size() == sizeof...(Args));
    fill(std::index_sequence_for<Args...>{});
    CHECK(call() == NORMKERNELS_OK);
    before_ = memory_;
    each(std::index_sequence_for<Args...>{});
    fill(std::index_sequence_for<Args...>{});
    CHECK(call() == NORMKERNELS_OK);
  }

 private:
  template <std::size_t... I>
  void fill(std::index_sequence<I...>) {
    (set<I>(), ...);
  }

  // A valid value for parameter I.
  template <std::size_t I>
  void set() {
    auto& argument = std::get<I>(arguments_);
    using T = std::decay_t<decltype(argument)>;
    const char kind = f_.parameters[I];
    if constexpr (std::is_same_v<T, const normkernels_executor*>) {
      argument = nullptr;
    } else if constexpr (std::is_pointer_v<T>) {
      argument = memory_.slots[I].data();
    } else if constexpr (std::is_same_v<T, double>) {
      argument = kind == 'p' ? 1e-5 : 0.75;
    } else {
      argument = static_cast<T>(kind == 'e' || kind == 'k' ? 3 : 1);
    }
  }

  template <std::size_t... I>
  void each(std::index_sequence<I...>) {
    (spoil<I>(), ...);
  }

  template <std::size_t I>
  void spoil() {
    const char kind = f_.parameters[I];
    const auto position = static_cast<normkernels_status>(I + 1);
    using T = std::tuple_element_t<I, std::tuple<Args...>>;
    CAPTURE(position);
    if constexpr (std::is_same_v<T, const normkernels_executor*>) {
      normkernels_executor executor = {sizeof(normkernels_executor), 0, nullptr, nullptr};
      executor.struct_size = 4;
      expect<I>(&executor, NORMKERNELS_BAD_EXECUTOR + position);
      executor = {sizeof(normkernels_executor), -1, nullptr, nullptr};
      expect<I>(&executor, NORMKERNELS_BAD_EXECUTOR + position);
      executor.num_threads = 2;
      accept<I>(&executor);
    } else if constexpr (std::is_pointer_v<T>) {
      const bool optional =
          kind == 'n' || kind == 'z' || (kind == 's' && f_.workspace_bytes() == 0);
      if (optional) {
        accept_null<I>();
      } else {
        expect<I>(nullptr, NORMKERNELS_NULL_POINTER + position);
      }
      if (kind == 'w' || kind == 'z') overlap<I>(std::index_sequence_for<Args...>{});
    } else if (kind == 'd') {
      for (const int bad : {0, 3, -1, 100}) expect<I>(T(bad), NORMKERNELS_BAD_DTYPE + position);
      accept<I>(T(NORMKERNELS_F64));
    } else if (kind == 'o') {
      for (const int bad : {0, 3, -1, 100}) expect<I>(T(bad), NORMKERNELS_BAD_ORDER + position);
      accept<I>(T(NORMKERNELS_NHWC));
    } else if (kind == 'e') {
      expect<I>(T(-1), NORMKERNELS_BAD_EXTENT + position);
      expect<I>(static_cast<T>(-huge), NORMKERNELS_BAD_EXTENT + position);
      std::get<I>(arguments_) = static_cast<T>(huge);
      CHECK(normkernels_status_kind(refused()) == NORMKERNELS_BAD_EXTENT);
      set<I>();
      accept<I>(T(0));
    } else if (kind == 'k') {
      expect<I>(T(0), NORMKERNELS_BAD_SIZE + position);
      expect<I>(T(-1), NORMKERNELS_BAD_SIZE + position);
      accept<I>(T(1));
      accept<I>(static_cast<T>(huge));
    } else if (kind == 'q') {
      accept<I>(static_cast<T>(std::nan("")));
    } else {
      const normkernels_status bad = kind == 'p' ? NORMKERNELS_BAD_EPSILON : NORMKERNELS_BAD_SCALAR;
      expect<I>(static_cast<T>(std::nan("")), bad + position);
      expect<I>(static_cast<T>(HUGE_VAL), bad + position);
      expect<I>(static_cast<T>(-HUGE_VAL), bad + position);
      if (kind == 'p') expect<I>(static_cast<T>(-1e-9), bad + position);
      accept<I>(T(0));
    }
  }

  // Output I over every other array, exactly and by a part.
  template <std::size_t I, std::size_t... J>
  void overlap(std::index_sequence<J...>) {
    (overlap_with<I, J>(), ...);
  }

  template <std::size_t I, std::size_t J>
  void overlap_with() {
    using T = std::tuple_element_t<J, std::tuple<Args...>>;
    if constexpr (I != J && std::is_pointer_v<T> &&
                  !std::is_same_v<T, const normkernels_executor*>) {
      if (f_.parameters[J] == 's' && f_.workspace_bytes() == 0) return;
      const char pair[] = {static_cast<char>('a' + I), static_cast<char>('a' + J)};
      bool allowed = false;
      for (std::size_t at = 0; at + 1 < f_.may_alias.size(); at += 3) {
        allowed = allowed || f_.may_alias.substr(at, 2) == std::string_view(pair, 2);
      }
      CAPTURE(J + 1);
      auto* const other = memory_.slots[J].data();
      if (allowed) {
        accept<I>(other);
      } else {
        expect_overlap<I>(other, J);
      }
      expect_overlap<I>(other + sizeof(float), J);
    }
  }

  template <std::size_t I>
  void expect_overlap(void* p, std::size_t other) {
    std::get<I>(arguments_) = p;
    const normkernels_status status = refused();
    CHECK(normkernels_status_kind(status) == NORMKERNELS_OVERLAP);
    const std::int32_t position = normkernels_status_argument(status);
    CHECK((position == static_cast<std::int32_t>(I + 1) ||
           position == static_cast<std::int32_t>(other + 1)));
    set<I>();
  }

  template <std::size_t I, class T>
  void expect(T value, normkernels_status status) {
    std::get<I>(arguments_) = value;
    CHECK(refused() == status);
    set<I>();
  }

  template <std::size_t I, class T>
  void accept(T value) {
    std::get<I>(arguments_) = value;
    CHECK(call() == NORMKERNELS_OK);
    set<I>();
    memory_ = before_;
  }

  // mean and inv_std of the instance norm's backward are given or left out together.
  template <std::size_t I>
  void accept_null() {
    if (std::string_view(f_.name) == "instance_norm_backward" && (I == 8 || I == 9)) {
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
  std::tuple<Args...> arguments_{};
  Memory memory_, before_;
};

std::size_t none() { return 0; }

std::size_t instance_norm_forward_bytes() {
  return normkernels_instance_norm_forward_workspace_bytes(NORMKERNELS_F32, NORMKERNELS_NCHW, 3, 3,
                                                           3);
}
std::size_t instance_norm_backward_bytes() {
  return normkernels_instance_norm_backward_workspace_bytes(NORMKERNELS_F32, NORMKERNELS_NCHW, 3, 3,
                                                            3);
}

template <class... Args>
void check(const char* name, normkernels_status (*call)(Args...), std::string_view parameters,
           std::string_view may_alias = "", std::size_t (*workspace_bytes)() = none) {
  static_assert(sizeof...(Args) <= most_parameters);
  Checker<Args...>(Function<Args...>{name, call, parameters, may_alias, workspace_bytes}).run();
}

}  // namespace

#define CHECK_FUNCTION(name, ...) check(#name, normkernels_##name, __VA_ARGS__)

TEST_CASE("layer norm refuses bad arguments and writes nothing") {
  CHECK_FUNCTION(layer_norm_forward, "deeinnpwzzx", "hd");
  CHECK_FUNCTION(layer_norm_backward, "deeiiiinwzzsx", "id ie");
}

TEST_CASE("the layer norm's backward wants a workspace for the gradients of many rows") {
  std::array<float, 100> dy{}, x{}, statistics{}, dx{}, dgamma{};
  const auto call = [&](std::int64_t rows, float* dgamma_or_null) {
    return normkernels_layer_norm_backward(NORMKERNELS_F32, rows, 1, dy.data(), x.data(),
                                           statistics.data(), statistics.data(), nullptr, dx.data(),
                                           dgamma_or_null, nullptr, nullptr, nullptr);
  };
  CHECK(normkernels_layer_norm_backward_workspace_bytes(NORMKERNELS_F32, 100, 1) > 0);
  dx.fill(7);
  CHECK(call(100, dgamma.data()) == NORMKERNELS_NULL_POINTER + 12);
  CHECK(dx[0] == 7);
  CHECK(call(100, nullptr) == NORMKERNELS_OK);
  CHECK(normkernels_layer_norm_backward_workspace_bytes(NORMKERNELS_F32, 3, 1) == 0);
  CHECK(call(3, dgamma.data()) == NORMKERNELS_OK);
}

TEST_CASE("instance norm refuses bad arguments and writes nothing") {
  CHECK_FUNCTION(instance_norm_forward, "doeeeinnpwzzsx", "jf", instance_norm_forward_bytes);
  CHECK_FUNCTION(instance_norm_backward, "doeeeiinnnqwzzsx", "lf lg", instance_norm_backward_bytes);
  CHECK_FUNCTION(instance_norm_with_gradient, "doeeeinnipwzzwzzsx", "kf ni",
                 instance_norm_backward_bytes);
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

TEST_CASE("local response norm refuses bad arguments and writes nothing") {
  CHECK_FUNCTION(local_response_norm_forward, "doeeeikfffwzsx");
  CHECK_FUNCTION(local_response_norm_backward, "doeeeiinnkfffwsx");
}

TEST_CASE("the layer norm's steps refuse bad arguments and write nothing") {
  CHECK_FUNCTION(compute_sigma_and_fused_params, "depiiwwwx", "fe");
  CHECK_FUNCTION(layer_norm_apply, "deeiiinnwx", "id");
  CHECK_FUNCTION(layer_norm_internal_gradients, "deeiinzwwx");
  CHECK_FUNCTION(layer_norm_fused_params, "deeiiiiwwwzx");
  CHECK_FUNCTION(layer_norm_backward_apply, "deeiiniiiwx", "jd je");
  CHECK_FUNCTION(layer_norm_gamma_beta_backward, "deeiiiiwwx");
}

TEST_CASE("the instance norm's steps refuse bad arguments and write nothing") {
  CHECK_FUNCTION(instance_norm_moments, "doeeeipwwsx", "", instance_norm_forward_bytes);
  CHECK_FUNCTION(instance_norm_fused_params, "deeiiiiwwx");
  CHECK_FUNCTION(instance_norm_apply, "doeeeiiiwx", "if");
  CHECK_FUNCTION(instance_norm_internal_gradients, "doeeeiiwwx");
  CHECK_FUNCTION(instance_norm_backward_apply, "doeeeiiiiiiiwx", "mf mg");
  CHECK_FUNCTION(instance_norm_gamma_beta_backward, "deeiiiiwwx");
}

TEST_CASE("every status has a sentence of its own") {
  const normkernels_status kinds[] = {
      NORMKERNELS_OK,           NORMKERNELS_NULL_POINTER, NORMKERNELS_BAD_EXTENT,
      NORMKERNELS_BAD_DTYPE,    NORMKERNELS_BAD_ORDER,    NORMKERNELS_BAD_EPSILON,
      NORMKERNELS_BAD_SIZE,     NORMKERNELS_BAD_SCALAR,   NORMKERNELS_OVERLAP,
      NORMKERNELS_BAD_EXECUTOR, NORMKERNELS_UNKNOWN_ISA,  NORMKERNELS_UNSUPPORTED_ISA};
  for (const normkernels_status kind : kinds) {
    CAPTURE(kind);
    const std::string sentence = normkernels_status_string(kind);
    CHECK_FALSE(sentence.empty());
    if (kind != NORMKERNELS_OK) CHECK(sentence == normkernels_status_string(kind + 3));
    for (const normkernels_status other : kinds) {
      if (other != kind) CHECK(sentence != normkernels_status_string(other));
    }
  }
  for (const normkernels_status unknown : {-1, 12345, 99}) {
    CHECK(normkernels_status_string(unknown) != nullptr);
  }
}
