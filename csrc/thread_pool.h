// The library's own threads: started when a call is first worth them, asleep between calls.
#ifndef NORMKERNELS_THREAD_POOL_H_
#define NORMKERNELS_THREAD_POOL_H_

#include <stdint.h>

#include "parallel.h"

namespace normkernels {

struct Share {
  int32_t threads;    // at most, the caller's among them
  bool worth_waking;  // whether the work is, for a thread that sleeps
};

// task(argument, i) for every i in [0, tasks). While another call has the pool, and where no thread
// can be started, on the caller's alone.
void run_on_pool(const Share& share, int64_t tasks, Task task, void* argument);

// Around every call that could use the pool. Returns how many others are under way: callers that
// are many already keep the processors busy, and workers would only take time from them.
int32_t begin_call();
void end_call();

}  // namespace normkernels

#endif  // NORMKERNELS_THREAD_POOL_H_
