// How many elements each array of a function has, where all extents differ: another may begin where
// it ends, and none where its last element is.
#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "functions.h"

namespace {

constexpr std::int64_t n = 2, c = 6, spatial = 5, groups = 3, rows = n * c, cols = spatial;
constexpr std::int64_t shape[] = {n, c, spatial};
constexpr std::pair<const char*, std::int64_t> extents[] = {
    {"n", n}, {"c", c}, {"spatial", spatial}, {"rows", rows}, {"cols", cols}};

// Each array in a slot, with room for another behind it.
struct alignas(64) Slot : std::array<unsigned char, 32768> {};
std::array<Slot, 24> memory;

template <class... Args>
class Lengths {
 public:
  Lengths(const Function<Args...>& function, normkernels_dtype dtype)
      : f_(function),
        dtype_(dtype),
        is_step_(is_step(function.name)),
        of_images_(starts_with("instance_norm") || starts_with("group_norm")) {}

  void run() {
    CAPTURE(f_.name);
    fill(std::index_sequence_for<Args...>{});
    REQUIRE(std::apply(f_.call, arguments_) == NORMKERNELS_OK);
    each(std::index_sequence_for<Args...>{});
  }

 private:
  bool starts_with(const std::string& text) const { return f_.name.find(text) == 0; }

  template <std::size_t... I>
  void fill(std::index_sequence<I...>) {
    (set<I>(), ...);
  }

  template <std::size_t I>
  void set() {
    using T = std::tuple_element_t<I, std::tuple<Args...>>;
    const std::string& name = f_.parameters[I].name;
    std::int64_t extent = 0;
    for (const auto& [known, value] : extents) extent = name == known ? value : extent;
    REQUIRE((extent != 0 || f_.parameters[I].kind != Kind::extent));
    std::get<I>(arguments_) = valid_argument<T>(f_.parameters[I], {dtype_, shape, nullptr, groups},
                                                memory[I].data(), extent);
  }

  // What an array of this name has; a step's scale and bias are statistics.
  std::int64_t elements(const std::string& name) const {
    if (starts_with("local_response_norm") || is_one_of(name, "x y dy dx dyx total residual"))
      return rows * cols;
    if (is_one_of(name, "gamma beta dgamma dbeta dscale dbias") ||
        (!is_step_ && is_one_of(name, "scale bias")))
      return of_images_ ? c : cols;
    return starts_with("group_norm") ? n * groups : rows;
  }

  // Of an element.
  std::size_t bytes(const std::string& name) const {
    if (name == "moments") return sizeof(normkernels_row_moments);
    if (dtype_ == NORMKERNELS_F64) return sizeof(double);
    const auto is_float = [&](const std::string& names, normkernels_dtype flag) {
      return is_one_of(name, names) && !starts_with("local_response") && (dtype_ & flag) != 0;
    };
    const bool adds = starts_with("add_");
    const bool four = is_one_of(name, "mean sigma rstd inv_std") ||
                      is_float("gamma scale dgamma dscale", NORMKERNELS_F32_GAMMA) ||
                      is_float(adds ? "beta" : "beta dbeta bias dbias", NORMKERNELS_F32_BETA) ||
                      is_float(adds ? "bias" : "", NORMKERNELS_F32_BIAS);
    return four ? sizeof(float) : sizeof(std::uint16_t);
  }
  std::size_t length(std::size_t index) const {
    const Parameter& parameter = f_.parameters[index];
    if (parameter.kind == Kind::workspace) return f_.workspace_bytes(arguments_);
    return static_cast<std::size_t>(elements(parameter.name)) * bytes(parameter.name);
  }

  template <std::size_t... I>
  void each(std::index_sequence<I...> all) {
    (beside<I>(all), ...);
  }
  template <std::size_t I, std::size_t... J>
  void beside(std::index_sequence<J...>) {
    (place<I, J>(), ...);
  }

  bool is_array(std::size_t index) const {
    const Kind kind = f_.parameters[index].kind;
    return kind == Kind::input || kind == Kind::output || kind == Kind::workspace;
  }

  // Array I behind array J, and over the end of it.
  template <std::size_t I, std::size_t J>
  void place() {
    if (I == J || !is_array(I) || !is_array(J) || f_.parameters[I].kind == Kind::workspace) return;
    if (f_.parameters[I].kind == Kind::input && f_.parameters[J].kind == Kind::input) return;
    if (f_.is_unused(f_.parameters[J], arguments_)) return;
    CAPTURE(f_.parameters[I].name);
    CAPTURE(f_.parameters[J].name);
    const std::size_t end = length(J), step = f_.alignment(I, bytes(f_.parameters[I].name));
    REQUIRE(end + length(I) + step <= sizeof(Slot));
    CHECK(at<I>(J, (end + step - 1) / step * step) == NORMKERNELS_OK);
    CHECK(normkernels_status_kind(at<I>(J, (end - 1) / step * step)) == NORMKERNELS_OVERLAP);
  }

  // The status of a call whose array I lies in the slot of J.
  template <std::size_t I>
  normkernels_status at(std::size_t slot, std::size_t offset) {
    using T = std::tuple_element_t<I, std::tuple<Args...>>;
    if constexpr (std::is_pointer_v<T> && !std::is_same_v<T, const normkernels_executor*>) {
      auto arguments = arguments_;
      std::get<I>(arguments) = static_cast<T>(static_cast<void*>(memory[slot].data() + offset));
      return std::apply(f_.call, arguments);
    } else {
      return NORMKERNELS_OK;
    }
  }

  const Function<Args...>& f_;
  const normkernels_dtype dtype_;
  const bool is_step_, of_images_;
  std::tuple<Args...> arguments_{};
};

}  // namespace

TEST_CASE("every array has as many elements as the header says") {
  for_each_function([](const auto& function) {
    for (const normkernels_dtype dtype :
         {+NORMKERNELS_F64, +NORMKERNELS_BF16, NORMKERNELS_F16 | NORMKERNELS_F32_GAMMA,
          NORMKERNELS_BF16 | NORMKERNELS_F32_BETA, NORMKERNELS_BF16 | NORMKERNELS_F32_BIAS}) {
      CAPTURE(dtype);
      const bool takes_it = dtype == NORMKERNELS_F64 || !is_step(function.name);
      if (takes_it) Lengths(function, dtype).run();
    }
  });
}
