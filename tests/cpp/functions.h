// Every function of the C interface that takes an executor, as one list, and what each of its
// parameters is.
#ifndef NORMKERNELS_TESTS_FUNCTIONS_H_
#define NORMKERNELS_TESTS_FUNCTIONS_H_

#include <normkernels/normkernels.h>

#include <cstddef>
#include <string_view>

// One letter for each parameter:
//   d dtype   o order   e extent   i input   n input or NULL   w output   z output or NULL
//   s workspace   x executor   k window size   f finite scalar   p epsilon (finite, >= 0)
//   q epsilon that is not always read
template <class... Args>
struct Function {
  const char* name;
  normkernels_status (*call)(Args...);
  std::string_view parameters;
  std::string_view may_alias;        // pairs of positions as letters (a is the first parameter)
  std::size_t (*workspace_bytes)();  // of extents of 3
};

template <class... Args>
Function<Args...> function(
    const char* name, normkernels_status (*call)(Args...), std::string_view parameters,
    std::string_view may_alias = "",
    std::size_t (*workspace_bytes)() = [] { return std::size_t{0}; }) {
  return {name, call, parameters, may_alias, workspace_bytes};
}
inline std::size_t instance_norm_forward_bytes() {
  return normkernels_instance_norm_forward_workspace_bytes(NORMKERNELS_F32, NORMKERNELS_NCHW, 3, 3,
                                                           3);
}
inline std::size_t instance_norm_backward_bytes() {
  return normkernels_instance_norm_backward_workspace_bytes(NORMKERNELS_F32, NORMKERNELS_NCHW, 3, 3,
                                                            3);
}
inline std::size_t local_response_norm_bytes() {
  return normkernels_local_response_norm_workspace_bytes(NORMKERNELS_F32, NORMKERNELS_NCHW, 3, 3, 3,
                                                         3);
}

template <class F>
void for_each_function(F&& f) {
  f(function("layer_norm_forward", normkernels_layer_norm_forward, "deeinnpwzzx", "hd"));
  f(function("layer_norm_backward", normkernels_layer_norm_backward, "deeiiiinwzzsx", "id ie"));
  f(function("instance_norm_forward", normkernels_instance_norm_forward, "doeeeinnpwzzsx", "jf",
             instance_norm_forward_bytes));
  f(function("instance_norm_backward", normkernels_instance_norm_backward, "doeeeiinnnqwzzsx",
             "lf lg", instance_norm_backward_bytes));
  f(function("instance_norm_with_gradient", normkernels_instance_norm_with_gradient,
             "doeeeinnipwzzwzzsx", "kf ni", instance_norm_backward_bytes));
  f(function("local_response_norm_forward", normkernels_local_response_norm_forward,
             "doeeeikfffwzsx", "", local_response_norm_bytes));
  f(function("local_response_norm_backward", normkernels_local_response_norm_backward,
             "doeeeiinnkfffwsx", "", local_response_norm_bytes));
  f(function("compute_sigma_and_fused_params", normkernels_compute_sigma_and_fused_params,
             "depiiwwwx", "fe"));
  f(function("layer_norm_apply", normkernels_layer_norm_apply, "deeiiinnwx", "id"));
  f(function("layer_norm_internal_gradients", normkernels_layer_norm_internal_gradients,
             "deeiinzwwx"));
  f(function("layer_norm_fused_params", normkernels_layer_norm_fused_params, "deeiiiiwwwzx"));
  f(function("layer_norm_backward_apply", normkernels_layer_norm_backward_apply, "deeiiniiiwx",
             "jd je"));
  f(function("layer_norm_gamma_beta_backward", normkernels_layer_norm_gamma_beta_backward,
             "deeiiiiwwx"));
  f(function("instance_norm_moments", normkernels_instance_norm_moments, "doeeeipwwsx", "",
             instance_norm_forward_bytes));
  f(function("instance_norm_fused_params", normkernels_instance_norm_fused_params, "deeiiiiwwx"));
  f(function("instance_norm_apply", normkernels_instance_norm_apply, "doeeeiiiwx", "if"));
  f(function("instance_norm_internal_gradients", normkernels_instance_norm_internal_gradients,
             "doeeeiiwwx"));
  f(function("instance_norm_backward_apply", normkernels_instance_norm_backward_apply,
             "doeeeiiiiiiiwx", "mf mg"));
  f(function("instance_norm_gamma_beta_backward", normkernels_instance_norm_gamma_beta_backward,
             "deeiiiiwwx"));
}

#endif  // NORMKERNELS_TESTS_FUNCTIONS_H_
