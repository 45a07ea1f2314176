// The library's own threads: started when a call is first worth them, asleep between calls.
#ifndef NORMKERNELS_THREAD_POOL_H_
#define NORMKERNELS_THREAD_POOL_H_

#include <stdint.h>

#include "parallel.h"

namespace normkernels {

// task(argument, i) for every i in [0, tasks), on at most `threads` threads, of which the caller's
// is one. While another call has the pool, and where no thread can be started, the caller's alone.
void run_on_pool(int32_t threads, int64_t tasks, Task task, void* argument);

// Around every call that could use the pool. Returns how many others are under way: callers that
// are many already keep the processors busy, and workers would only take time from them.
int32_t begin_call();
void end_call();

}  // namespace normkernels

#endif  // NORMKERNELS_THREAD_POOL_H_
