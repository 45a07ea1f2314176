// Who runs the work: `tasks` calls of a function, on the library's threads or the caller's.
//
// Kernels cut their work into tasks along canonical borders (rows, groups of rows, spans of a long
// row), so that neither the number of threads nor the order of the tasks can reach a result.
#ifndef NORMKERNELS_HOST_PARALLEL_H_
#define NORMKERNELS_HOST_PARALLEL_H_

#include <stdint.h>

namespace normkernels {

using Task = void (*)(void* argument, int64_t index);

struct Executor {
  int32_t threads;  // to plan for; 1: everything runs in the caller's thread
  void (*run)(void* context, int64_t tasks, Task task, void* argument);
  void* context;
};

namespace {

// f(i) for every i in [0, tasks). In an anonymous namespace because f is compiled for one
// instruction set.
template <class F>
inline __attribute__((always_inline)) void for_each_task(const Executor& executor, int64_t tasks,
                                                         F&& f) {
  if (executor.threads <= 1 || tasks <= 1) {
    for (int64_t i = 0; i < tasks; ++i) f(i);
    return;
  }
  struct Call {
    static void task(void* argument, int64_t index) { (*static_cast<F*>(argument))(index); }
  };
  executor.run(executor.context, tasks, Call::task, &f);
}

}  // namespace
}  // namespace normkernels

#endif  // NORMKERNELS_HOST_PARALLEL_H_
