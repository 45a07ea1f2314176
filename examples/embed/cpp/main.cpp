// LRN of an image on the program's own threads: the library starts none, and the bits are those of
// one thread.
#include <cstddef>
#include <cstdio>
#include <normkernels/normkernels.hpp>
#include <vector>

#include "pool.h"

int main() {
  const normkernels::Extents shape = {1, 64, 56, 56};  // NCHW
  std::vector<float> x(64 * 56 * 56);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 101) - 50;
  std::vector<float> alone(x.size()), together(x.size());

  Pool pool(4);
  normkernels::Executor executor(
      [&](std::int64_t tasks, const auto& task) { pool.run(tasks, task); }, 4);
  const normkernels_executor one = normkernels::threads(1);
  const normkernels::Array image(x, shape);
  normkernels::LocalResponseNormForward<float> options;
  options.executor = &one;
  normkernels::local_response_norm_forward(image, {alone, shape}, 5, options);
  options.executor = &executor;
  normkernels::local_response_norm_forward(image, {together, shape}, 5, options);
  const bool same = alone == together;
  std::printf("%s, %s\n", pool.total() > 0 ? "run by the pool" : "not run by the pool",
              same ? "the same bits" : "other bits");
  return pool.total() > 0 && same ? 0 : 1;
}
