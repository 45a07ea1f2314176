// The library's own threads: started when a call is first worth them, asleep between calls.
#ifndef NORMKERNELS_HOST_THREAD_POOL_H_
#define NORMKERNELS_HOST_THREAD_POOL_H_

#include <stdint.h>

#include "host/parallel.h"

namespace normkernels {

struct Share {
  int32_t threads;    // at most, the caller's among them
  bool worth_waking;  // whether the work is, for a thread that sleeps
};

// task(argument, i) for every i in [0, tasks). While another call has the pool, and where no thread
// can be started, on the caller's alone.
void run_on_pool(const Share& share, int64_t tasks, Task task, void* argument);

// A call that uses several threads, as long as it lives. Not in variables of the thread: where no
// memory is left for those, the C library ends the process.
class CallUnderWay {
 public:
  // The sum of the other calls' shares. Callers that are many already keep the processors busy, and
  // workers would only take time from them.
  int32_t begin(int32_t share);
  ~CallUnderWay();
  CallUnderWay() = default;
  CallUnderWay(const CallUnderWay&) = delete;
  CallUnderWay& operator=(const CallUnderWay&) = delete;

 private:
  int32_t share_ = 0;  // 0: not begun
  uint32_t generation_ = 0;
};

}  // namespace normkernels

#endif  // NORMKERNELS_HOST_THREAD_POOL_H_
