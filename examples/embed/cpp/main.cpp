// LRN of an image on the program's own threads: the library starts none, and the bits are those of
// one thread.
#include <cstddef>
#include <cstdio>
#include <normkernels/normkernels.hpp>
#include <vector>

#include "pool.h"

int main() {
  constexpr normkernels::Tensor shape{normkernels::nchw, 1, 64, 56 * 56};
  std::vector<float> x(static_cast<std::size_t>(shape.n * shape.c * shape.spatial));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 101) - 50;
  std::vector<float> alone(x.size()), together(x.size());

  Pool pool(4);
  normkernels::Executor executor(
      [&](std::int64_t tasks, const auto& task) { pool.run(tasks, task); }, 4);
  const normkernels_executor one = normkernels::threads(1);
  normkernels::local_response_norm_forward(shape, x.data(), alone.data(), 5, 1e-4, 0.75, 1.0,
                                           nullptr, nullptr, &one);
  normkernels::local_response_norm_forward(shape, x.data(), together.data(), 5, 1e-4, 0.75, 1.0,
                                           nullptr, nullptr, &executor);
  const bool same = alone == together;
  std::printf("%s, %s\n", pool.total() > 0 ? "run by the pool" : "not run by the pool",
              same ? "the same bits" : "other bits");
  return pool.total() > 0 && same ? 0 : 1;
}
