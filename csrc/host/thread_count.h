// How many threads a call may use.
#ifndef NORMKERNELS_HOST_THREAD_COUNT_H_
#define NORMKERNELS_HOST_THREAD_COUNT_H_

#include <stdint.h>

namespace normkernels {

// Whoever names more, by whatever way, means so many.
constexpr int32_t kMaxThreads = 1024;

// Of a call that names none: what set_default_threads said, else NORMKERNELS_NUM_THREADS, else
// OMP_NUM_THREADS or the processors that affinity and cgroups leave, and no more than
// OMP_THREAD_LIMIT and a loaded OpenMP runtime allow. 0: NORMKERNELS_NUM_THREADS says no number.
int32_t default_threads();
// 0: back to automatic.
void set_default_threads(int32_t threads);

// Whether default_threads() is more than 0, for the price of a load.
bool has_default_threads();

// In a child of fork(), which may have been moved.
void forget_processors();

// The processors that the cgroups of this process may use, of both versions and from its own group
// up to the root; kMaxThreads without a limit. `root` is put before the system's paths, for tests.
int32_t cgroup_processors(const char* root);

}  // namespace normkernels

#endif  // NORMKERNELS_HOST_THREAD_COUNT_H_
