// The C++ interface in a program without exceptions: the functions that return a Status are there.
#include <cstdio>
#include <cstring>
#include <normkernels/dlpack.hpp>
#include <normkernels/normkernels.hpp>
#include <vector>

#ifdef __cpp_exceptions
#error "compile with -fno-exceptions"
#endif

namespace nk = normkernels;

int main() {
  const std::vector<float> x = {1, 2, 3, 4};
  std::vector<float> y(4);
  const std::vector<float> gamma(3, 1.0f);
  nk::LayerNormForward<float> options;
  options.epsilon = 0;
  if (!nk::try_layer_norm_forward(nk::Array(x, {1, 4}), {y, {1, 4}}, options).ok()) return 1;
  if (y[0] != -y[3] || !(y[3] > 1.34f)) return 2;
  options.gamma = gamma;
  const nk::Status status = nk::try_layer_norm_forward(nk::Array(x, {1, 4}), {y, {1, 4}}, options);
  const char* const expected = "layer_norm_forward: gamma: holds 3 elements, must hold 4";
  if (std::strcmp(status.message(), expected) != 0) return std::puts(status.message()), 3;
  return nk::try_force_isa("nonsense").kind() == NORMKERNELS_UNKNOWN_ISA ? 0 : 4;
}
