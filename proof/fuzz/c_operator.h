// The functions of tests/cpp/functions.h as one type, and what their arrays are: how many elements
// of which type.
#ifndef NORMKERNELS_PROOF_FUZZ_C_OPERATOR_H_
#define NORMKERNELS_PROOF_FUZZ_C_OPERATOR_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include "functions.h"

namespace fuzz {

/// A finding: libFuzzer keeps the input of what ends the program.
[[noreturn]] inline void report(const std::string& what) {
  std::fprintf(stderr, "FINDING: %s\n", what.c_str());
  std::abort();
}

/// An argument of any type.
struct Argument {
  std::int64_t integer = 0;  // also an order, a set of axes
  double number = 0;
  void* pointer = nullptr;

  template <class T>
  T as() const {
    if constexpr (std::is_pointer_v<T>) {
      return static_cast<T>(pointer);
    } else if constexpr (std::is_same_v<T, double>) {
      return number;
    } else {
      return static_cast<T>(integer);
    }
  }
};
using Arguments = std::vector<Argument>;

struct Operator {
  std::string name;
  std::vector<Parameter> parameters;
  std::vector<std::string> may_alias;
  bool is_step;
  std::function<normkernels_status(const Arguments&)> call;
  std::function<std::size_t(const Arguments&)> workspace_bytes;

  static constexpr std::size_t none = ~std::size_t{0};

  std::size_t find(const std::string& parameter) const {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (parameters[i].name == parameter) return i;
    }
    return none;
  }
  std::size_t find(Kind kind) const {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (parameters[i].kind == kind) return i;
    }
    return none;
  }
  bool has(Kind kind) const { return find(kind) != none; }
  bool named(const std::string& part) const { return name.find(part) != std::string::npos; }
  bool is_array(std::size_t i) const {
    const Kind kind = parameters[i].kind;
    return kind == Kind::input || kind == Kind::output || kind == Kind::workspace;
  }
  bool is_view(std::size_t i) const {
    return i + 1 < parameters.size() && parameters[i + 1].kind == Kind::strides;
  }
  /// Whether one of the two may be the other, an output in the place of an input.
  bool may_be(std::size_t a, std::size_t b) const {
    const std::string pair = parameters[a].name + "=" + parameters[b].name;
    return std::find(may_alias.begin(), may_alias.end(), pair) != may_alias.end();
  }
};

/// All that the tests have, and the one function of arrays that takes neither dtype nor executor.
const std::vector<Operator>& operators();

/// The one of that name.
const Operator& operator_named(const std::string& name);

/// What the elements of an array are.
enum class Element { f32, f64, f16, bf16, moments, byte };

inline std::int64_t bytes_of(Element element) {
  constexpr std::int64_t bytes[] = {4, 8, 2, 2, sizeof(normkernels_row_moments), 1};
  return bytes[static_cast<int>(element)];
}
inline std::int64_t alignment_of(Element element) {
  return element == Element::moments ? 8 : element == Element::byte ? 64 : bytes_of(element);
}

/// Which array it is.
enum class Role { data, statistic, gamma, beta, bias, moments, workspace };

inline bool one_of(const std::string& name, const std::string& list) {
  return (" " + list + " ").find(" " + name + " ") != std::string::npos;
}

inline Role role(const Operator& op, std::size_t i) {
  const std::string& name = op.parameters[i].name;
  if (op.parameters[i].kind == Kind::workspace) return Role::workspace;
  if (one_of(name, "moments a b out")) return Role::moments;
  if (one_of(name, "x dy y dx residual total dyx")) return Role::data;
  if (one_of(name, "gamma dgamma")) return Role::gamma;
  if (one_of(name, "beta dbeta")) return Role::beta;
  if (name == "scale" && op.named("local_response")) return Role::data;
  if (!op.is_step && one_of(name, "scale dscale")) return Role::gamma;
  if (!op.is_step && one_of(name, "bias dbias")) return op.named("add_") ? Role::bias : Role::beta;
  return Role::statistic;
}

inline Element element(const Operator& op, std::size_t i, normkernels_dtype dtype) {
  const Role r = role(op, i);
  if (r == Role::moments) return Element::moments;
  if (r == Role::workspace) return Element::byte;
  const int type = dtype & 0xff;
  if (type == NORMKERNELS_F64) return Element::f64;
  const bool wide = r == Role::statistic ||
                    (r == Role::gamma && (dtype & NORMKERNELS_F32_GAMMA) != 0) ||
                    (r == Role::beta && (dtype & NORMKERNELS_F32_BETA) != 0) ||
                    (r == Role::bias && (dtype & NORMKERNELS_F32_BIAS) != 0);
  if (type == NORMKERNELS_F32 || wide) return Element::f32;
  return type == NORMKERNELS_F16 ? Element::f16 : Element::bf16;
}

}  // namespace fuzz

#endif  // NORMKERNELS_PROOF_FUZZ_C_OPERATOR_H_
