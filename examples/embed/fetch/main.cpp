// RMS norm of the rows of a matrix, and which kernels this build has.
#include <cstdio>
#include <normkernels/normkernels.hpp>
#include <vector>

int main() {
  const std::vector<float> x = {3, 4, 30000, 40000};
  std::vector<float> y(x.size());
  normkernels::rms_norm_forward({2, 2}, x.data(), y.data());
  std::printf("%g %g\n%g %g\n", y[0], y[1], y[2], y[3]);
  for (const normkernels::Isa& isa : normkernels::isas()) {
    std::printf("%s: %s\n", isa.name.c_str(), isa.supported ? "runs here" : "not of this machine");
  }
}
