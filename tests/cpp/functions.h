// Every function of the C interface that takes an executor, as one list. What its parameters are is
// read from normkernels.h, so that no test has a list of them that could differ.
#ifndef NORMKERNELS_TESTS_FUNCTIONS_H_
#define NORMKERNELS_TESTS_FUNCTIONS_H_

#include <doctest/doctest.h>
#include <normkernels/normkernels.h>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

enum class Kind {
  dtype,
  order,
  extent,
  rank,
  shape,
  axes,
  strides,  // of the array before them
  size,     // of a window
  groups,   // of channels
  epsilon,
  scalar,
  input,
  output,
  workspace,
  executor
};

struct Parameter {
  std::string name;
  Kind kind;
  bool optional;  // may be NULL; of an epsilon, that it is not always read
};

template <class... Args>
struct Function {
  std::string name;
  normkernels_status (*call)(Args...);
  std::vector<Parameter> parameters;
  std::vector<std::string> may_alias;  // "y=x": the output y may be the input x
  std::function<std::size_t(const std::tuple<Args...>&)> workspace_bytes;

  bool has(Kind kind) const {
    return std::any_of(parameters.begin(), parameters.end(),
                       [&](const Parameter& p) { return p.kind == kind; });
  }
  // Whether it is an array with strides.
  bool is_view(std::size_t index) const {
    return index + 1 < parameters.size() && parameters[index + 1].kind == Kind::strides;
  }
  // The bytes that it is aligned to where elements have so many.
  std::size_t alignment(std::size_t index, std::size_t element) const {
    return parameters[index].name == "moments" ? sizeof(double) : element;
  }
  // Whether it is a workspace of no bytes.
  bool is_unused(const Parameter& p, const std::tuple<Args...>& arguments) const {
    return p.kind == Kind::workspace && workspace_bytes(arguments) == 0;
  }
};

inline std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}
inline bool is_one_of(const std::string& word, const std::string& list) {
  const std::vector<std::string> all = words(list);
  return std::find(all.begin(), all.end(), word) != all.end();
}

// A parameter from its declaration, such as "const void* x".
inline Parameter parameter(const std::string& declaration) {
  const std::size_t space = declaration.find_last_of(" \n");
  const std::string name = declaration.substr(space + 1);
  std::string type;
  for (const std::string& word : words(declaration.substr(0, space))) type += word;
  const auto kind = [&] {
    if (type == "normkernels_dtype") return Kind::dtype;
    if (type == "normkernels_order") return Kind::order;
    if (type == "int32_t") return Kind::rank;
    if (type == "constint64_t*") return name == "shape" ? Kind::shape : Kind::strides;
    if (type == "uint64_t") return Kind::axes;
    if (type == "int64_t" && name == "groups") return Kind::groups;
    if (type == "int64_t") return name == "size" ? Kind::size : Kind::extent;
    if (type == "double") return name == "epsilon" ? Kind::epsilon : Kind::scalar;
    if (type == "constvoid*" || type == "constnormkernels_row_moments*") return Kind::input;
    if (type == "void*") return name == "workspace" ? Kind::workspace : Kind::output;
    if (type == "normkernels_row_moments*") return Kind::output;
    REQUIRE(type == "constnormkernels_executor*");
    return Kind::executor;
  };
  return {name, kind(), false};
}

// The parameters of a function, in the order of its declaration.
inline const std::vector<Parameter>& declared(const std::string& function) {
  static const std::string header = [] {
    std::ifstream file(NORMKERNELS_HEADER);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }();
  static std::map<std::string, std::vector<Parameter>> known;
  std::vector<Parameter>& parameters = known[function];
  if (!parameters.empty()) return parameters;
  const std::string opening = "normkernels_" + function + "(";
  const std::size_t found = header.rfind(opening);  // the comment at the top has examples
  REQUIRE(found != std::string::npos);
  const std::size_t begin = found + opening.size();
  std::istringstream list(header.substr(begin, header.find(')', begin) - begin));
  for (std::string one; std::getline(list, one, ',');) parameters.push_back(parameter(one));
  return parameters;
}

// What a query of a workspace says of a function's arguments, of which its own are each the next
// one that has its type.
template <std::size_t I = 0, class Arguments, class... Asked, class... Found>
std::size_t ask(std::size_t (*query)(Asked...), const Arguments& arguments, Found... found) {
  if constexpr (sizeof...(Found) == sizeof...(Asked)) {
    return query(found...);
  } else if constexpr (std::is_same_v<
                           std::tuple_element_t<I, Arguments>,
                           std::tuple_element_t<sizeof...(Found), std::tuple<Asked...>>>) {
    return ask<I + 1>(query, arguments, found..., std::get<I>(arguments));
  } else {
    return ask<I + 1>(query, arguments, found...);
  }
}

inline std::size_t no_workspace() { return 0; }

// `optional` and `may_alias` are lists of words, as in Parameter and Function.
template <class... Args, class... Asked>
Function<Args...> function(const std::string& name, normkernels_status (*call)(Args...),
                           const std::string& optional, const std::string& may_alias,
                           std::size_t (*query)(Asked...)) {
  CAPTURE(name);
  std::vector<Parameter> parameters = declared(name);
  REQUIRE(parameters.size() == sizeof...(Args));
  const auto named = [&](const std::string& wanted) {
    CAPTURE(wanted);
    const auto found = std::find_if(parameters.begin(), parameters.end(),
                                    [&](const Parameter& p) { return p.name == wanted; });
    REQUIRE(found != parameters.end());
    return found;
  };
  for (const std::string& word : words(optional)) named(word)->optional = true;
  for (const std::string& pair : words(may_alias)) {
    REQUIRE(named(pair.substr(0, pair.find('=')))->kind == Kind::output);
    REQUIRE(named(pair.substr(pair.find('=') + 1))->kind == Kind::input);
  }
  return {name, call, parameters, words(may_alias),
          [query](const std::tuple<Args...>& arguments) { return ask(query, arguments); }};
}
template <class... Args>
Function<Args...> function(const std::string& name, normkernels_status (*call)(Args...),
                           const std::string& optional, const std::string& may_alias = "") {
  return function(name, call, optional, may_alias, no_workspace);
}

// What the valid arguments of a call have in common; strides may be null.
struct Valid {
  normkernels_dtype dtype;
  const std::int64_t *shape, *strides;
  std::int64_t groups;
};
constexpr std::uint64_t last_axis = 4;  // of three

// A valid argument for a parameter: `array` if it is one, `extent` if it is one, no executor.
template <class T>
T valid_argument(const Parameter& parameter, const Valid& valid, void* array, std::int64_t extent) {
  const Kind kind = parameter.kind;
  if constexpr (std::is_same_v<T, const normkernels_executor*>) {
    return nullptr;
  } else if constexpr (std::is_same_v<T, const std::int64_t*>) {
    return kind == Kind::shape ? valid.shape : valid.strides;
  } else if constexpr (std::is_pointer_v<T>) {
    return static_cast<T>(array);
  } else if constexpr (std::is_same_v<T, std::uint64_t>) {
    return last_axis;
  } else if constexpr (std::is_same_v<T, double>) {
    return kind == Kind::epsilon ? 1e-5 : 0.75;
  } else {
    return static_cast<T>(kind == Kind::dtype    ? valid.dtype
                          : kind == Kind::order  ? +NORMKERNELS_NCHW
                          : kind == Kind::groups ? valid.groups
                          : kind == Kind::extent ? extent
                                                 : 3);  // rank and size
  }
}

constexpr std::int64_t three[] = {3, 3, 3};

// Those with strides.
template <class F>
void for_each_view_function(F&& f) {
  f(function("layer_norm_forward_view", normkernels_layer_norm_forward_view,
             "gamma beta mean sigma", "y=x", normkernels_layer_norm_forward_view_workspace_bytes));
  f(function("layer_norm_backward_view", normkernels_layer_norm_backward_view, "gamma dgamma dbeta",
             "dx=dy dx=x", normkernels_layer_norm_backward_view_workspace_bytes));
  f(function("moments_view", normkernels_moments_view, "", "",
             normkernels_moments_view_workspace_bytes));
  f(function("rms_norm_forward_view", normkernels_rms_norm_forward_view, "gamma beta rstd", "y=x",
             normkernels_rms_norm_forward_view_workspace_bytes));
  f(function("rms_norm_backward_view", normkernels_rms_norm_backward_view,
             "rstd gamma epsilon dgamma dbeta", "dx=dy dx=x",
             normkernels_rms_norm_backward_view_workspace_bytes));
  f(function("add_layer_norm_forward_view", normkernels_add_layer_norm_forward_view,
             "bias gamma beta mean sigma", "total=x total=residual y=x y=residual",
             normkernels_add_layer_norm_forward_view_workspace_bytes));
  f(function("add_rms_norm_forward_view", normkernels_add_rms_norm_forward_view,
             "bias gamma beta rstd", "total=x total=residual y=x y=residual",
             normkernels_add_rms_norm_forward_view_workspace_bytes));
  f(function("instance_norm_forward_view", normkernels_instance_norm_forward_view,
             "scale bias mean inv_std", "y=x",
             normkernels_instance_norm_forward_view_workspace_bytes));
  f(function("instance_norm_backward_view", normkernels_instance_norm_backward_view,
             "scale mean inv_std epsilon dscale dbias", "dx=dy dx=x",
             normkernels_instance_norm_backward_view_workspace_bytes));
  f(function("instance_norm_with_gradient_view", normkernels_instance_norm_with_gradient_view,
             "scale bias mean inv_std dscale dbias", "y=x dx=dy",
             normkernels_instance_norm_backward_view_workspace_bytes));
  f(function("group_norm_forward_view", normkernels_group_norm_forward_view,
             "scale bias mean inv_std", "y=x",
             normkernels_group_norm_forward_view_workspace_bytes));
  f(function("group_norm_backward_view", normkernels_group_norm_backward_view,
             "scale mean inv_std epsilon dscale dbias", "dx=dy dx=x",
             normkernels_group_norm_backward_view_workspace_bytes));
  f(function("local_response_norm_forward_view", normkernels_local_response_norm_forward_view,
             "scale", "", normkernels_local_response_norm_view_workspace_bytes));
  f(function("local_response_norm_backward_view", normkernels_local_response_norm_backward_view,
             "y scale", "", normkernels_local_response_norm_view_workspace_bytes));
}

// The steps of the originals, which take no half type.
template <class F>
void for_each_step(F&& f) {
  f(function("compute_sigma_and_fused_params", normkernels_compute_sigma_and_fused_params, "",
             "sigma=var"));
  f(function("layer_norm_apply", normkernels_layer_norm_apply, "gamma beta", "y=x"));
  f(function("layer_norm_internal_gradients", normkernels_layer_norm_internal_gradients,
             "gamma dyx"));
  f(function("layer_norm_fused_params", normkernels_layer_norm_fused_params, "g_scale"));
  f(function("layer_norm_backward_apply", normkernels_layer_norm_backward_apply, "gamma",
             "dx=dy dx=x"));
  f(function("layer_norm_gamma_beta_backward", normkernels_layer_norm_gamma_beta_backward, ""));
  f(function("instance_norm_moments", normkernels_instance_norm_moments, "", "",
             normkernels_instance_norm_forward_workspace_bytes));
  f(function("instance_norm_fused_params", normkernels_instance_norm_fused_params, ""));
  f(function("instance_norm_apply", normkernels_instance_norm_apply, "", "y=x"));
  f(function("instance_norm_internal_gradients", normkernels_instance_norm_internal_gradients, ""));
  f(function("instance_norm_backward_apply", normkernels_instance_norm_backward_apply, "",
             "dx=dy dx=x"));
  f(function("instance_norm_gamma_beta_backward", normkernels_instance_norm_gamma_beta_backward,
             ""));
}

inline bool is_step(const std::string& function) {
  static const std::set<std::string> steps = [] {
    std::set<std::string> names;
    for_each_step([&](const auto& step) { names.insert(step.name); });
    return names;
  }();
  return steps.count(function) != 0;
}

template <class F>
void for_each_function(F&& f) {
  f(function("layer_norm_forward", normkernels_layer_norm_forward, "gamma beta mean sigma", "y=x"));
  f(function("layer_norm_backward", normkernels_layer_norm_backward, "gamma dgamma dbeta",
             "dx=dy dx=x", normkernels_layer_norm_backward_workspace_bytes));
  f(function("moments", normkernels_moments, ""));
  f(function("rms_norm_forward", normkernels_rms_norm_forward, "gamma beta rstd", "y=x"));
  f(function("rms_norm_backward", normkernels_rms_norm_backward, "rstd gamma epsilon dgamma dbeta",
             "dx=dy dx=x", normkernels_rms_norm_backward_workspace_bytes));
  f(function("add_layer_norm_forward", normkernels_add_layer_norm_forward,
             "bias gamma beta mean sigma", "total=x total=residual y=x y=residual"));
  f(function("add_rms_norm_forward", normkernels_add_rms_norm_forward, "bias gamma beta rstd",
             "total=x total=residual y=x y=residual"));
  f(function("instance_norm_forward", normkernels_instance_norm_forward, "scale bias mean inv_std",
             "y=x", normkernels_instance_norm_forward_workspace_bytes));
  f(function("instance_norm_backward", normkernels_instance_norm_backward,
             "scale mean inv_std epsilon dscale dbias", "dx=dy dx=x",
             normkernels_instance_norm_backward_workspace_bytes));
  f(function("instance_norm_with_gradient", normkernels_instance_norm_with_gradient,
             "scale bias mean inv_std dscale dbias", "y=x dx=dy",
             normkernels_instance_norm_backward_workspace_bytes));
  f(function("group_norm_forward", normkernels_group_norm_forward, "scale bias mean inv_std", "y=x",
             normkernels_group_norm_forward_workspace_bytes));
  f(function("group_norm_backward", normkernels_group_norm_backward,
             "scale mean inv_std epsilon dscale dbias", "dx=dy dx=x",
             normkernels_group_norm_backward_workspace_bytes));
  f(function("local_response_norm_forward", normkernels_local_response_norm_forward, "scale", "",
             normkernels_local_response_norm_workspace_bytes));
  f(function("local_response_norm_backward", normkernels_local_response_norm_backward, "y scale",
             "", normkernels_local_response_norm_workspace_bytes));
  for_each_step(f);
  for_each_view_function(f);
}

#endif  // NORMKERNELS_TESTS_FUNCTIONS_H_
