// RMS norm of the rows of a matrix, and which kernels this build has.
#include <cstdio>
#include <normkernels/normkernels.hpp>

int main() {
  const float x[2][2] = {{3, 4}, {30000, 40000}};
  float y[2][2];
  normkernels::rms_norm_forward(x, y);
  std::printf("%g %g\n%g %g\n", y[0][0], y[0][1], y[1][0], y[1][1]);
  for (const normkernels::Isa& isa : normkernels::isas()) {
    std::printf("%s: %s\n", isa.name.c_str(), isa.supported ? "runs here" : "not of this machine");
  }
}
