// One call at a time has the pool. It opens the job, wakes workers, and takes tasks itself until
// none is left. Then it closes the job and waits only for the workers that have joined by then: one
// that is slow to wake up costs the call nothing, so a call may try for its help early.
//
// A child of fork() has none of the threads and the memory as it was at that moment, so it begins
// with an empty pool. Workers are never joined and nothing waits at exit; the library stays loaded
// once they run its code.
#include "host/thread_pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <atomic>

#include "host/float_environment.h"
#include "host/fork_watch.h"
#include "host/loaded_libraries.h"
#include "host/thread_count.h"

namespace normkernels {
namespace {

constexpr int32_t kMaxWorkers = kMaxThreads - 1;
// Kernels need 32 KiB, those of a compiler that was told not to optimise twenty times as much. The
// rest is for what the C library keeps in a thread's stack, the thread-local variables of all
// loaded libraries. Memory that is not touched is not used.
constexpr size_t kStackBytes = 1024 * 1024;
// How long to look for the next job, or for the last worker's end, before going to sleep. Calls
// that follow each other find their workers awake; longer would take time from other pools.
constexpr int64_t kSpinNanoseconds = 50 * 1000;
// Where the system refused a thread, it is asked again after this.
constexpr int64_t kRetryNanoseconds = 1000 * 1000 * 1000;

int64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1000000000 + time.tv_nsec;
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// done(), asked until it holds or the time is over.
template <class Done>
bool spin_until(Done&& done) {
  constexpr int kLooksPerClock = 32;
  for (const int64_t end = now() + kSpinNanoseconds;;) {
    for (int i = 0; i < kLooksPerClock; ++i) {
      if (done()) return true;
      pause();
    }
    if (now() >= end) return false;
  }
}

// Where one thread sleeps until another has changed something and says so.
class Bed {
 public:
  // As new: in a child the sleepers are gone, with what they held.
  void make() {
    pthread_mutex_init(&mutex_, nullptr);
    pthread_cond_init(&changed_, nullptr);
    occupied_.store(false);
  }
  // Returns when awake() holds.
  template <class Awake>
  void sleep_until(Awake&& awake) {
    pthread_mutex_lock(&mutex_);
    occupied_.store(true);
    while (!awake()) pthread_cond_wait(&changed_, &mutex_);
    occupied_.store(false);
    pthread_mutex_unlock(&mutex_);
  }
  bool is_occupied() const { return occupied_.load(); }
  // After the change. Sequential consistency on both sides: either the sleeper has seen the change
  // before it lies down, or it is seen lying here.
  void wake() {
    if (!occupied_.load()) return;
    pthread_mutex_lock(&mutex_);
    pthread_mutex_unlock(&mutex_);
    pthread_cond_signal(&changed_);
  }

 private:
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t changed_ = PTHREAD_COND_INITIALIZER;
  std::atomic<bool> occupied_{false};
};

struct alignas(128) Worker {
  std::atomic<uint32_t> called{0};  // how often; a worker that has seen all calls sleeps
  Bed bed;
};

// The tasks that a thread does before it helps the others: of one call and the next like it the
// same, so it finds in its own caches what it left there. Measured (Zen 3, two threads, against one
// queue for all): layer norm backward of 512 x 768 and 1000 x 512 is 1.3 times as fast.
struct alignas(64) Lot {
  std::atomic<int64_t> next{0};
  int64_t end = 0;
};

// Constant initialisation: nothing runs before main, and pages of workers that never start are
// never touched.
struct Pool {
  std::atomic<bool> taken{false};  // by the call that runs
  // That call's job; workers may read it while they are counted in `door`.
  Task task = nullptr;
  void* argument = nullptr;
  int32_t workers = 0;  // wanted
  FloatEnvironment environment = {0};
  alignas(128) std::atomic<uint32_t> door{0};  // kOpen, and how many workers are inside
  Bed caller;
  // Changed by the call that has the pool alone.
  int32_t started = 0;     // workers
  int64_t refused_at = 0;  // the next one
  int64_t left_at = 0;     // by the call before
  Worker worker[kMaxWorkers];
  Lot lot[kMaxThreads];  // the caller's, and those of the workers
};
constexpr uint32_t kOpen = uint32_t{1} << 31;

Pool pool;

std::atomic<int32_t> shares{0};       // of the calls under way
std::atomic<uint32_t> generation{0};  // of this process: how many forks lead to it

bool enter() {
  uint32_t door = pool.door.load();
  while ((door & kOpen) != 0) {
    if (pool.door.compare_exchange_weak(door, door + 1)) return true;
  }
  return false;
}

void leave() {
  if (pool.door.fetch_sub(1) == 1) pool.caller.wake();
}

void share_out(int64_t tasks, int32_t threads) {
  for (int64_t i = 0, end = 0; i < threads; ++i) {
    pool.lot[i].next.store(end, std::memory_order_relaxed);
    end += tasks / threads + (i < tasks % threads ? 1 : 0);
    pool.lot[i].end = end;
  }
}

void take_tasks(int32_t self) {
  const Task task = pool.task;
  void* const argument = pool.argument;
  const int32_t threads = pool.workers + 1;
  for (int32_t k = 0; k < threads; ++k) {
    Lot& lot = pool.lot[(self + k) % threads];
    for (;;) {
      const int64_t i = lot.next.fetch_add(1, std::memory_order_relaxed);
      if (i >= lot.end) break;
      task(argument, i);
    }
  }
}

void call(int32_t index) {
  if (index >= pool.workers) return;
  pool.worker[index].called.fetch_add(1);
  pool.worker[index].bed.wake();
}

// Waking takes a system call each, so every worker wakes two more: the caller is soon at work.
void call_children(int32_t index) {
  call(2 * index + 2);
  call(2 * index + 3);
}

void* work(void* argument) {
  Worker& self = *static_cast<Worker*>(argument);
  const auto index = static_cast<int32_t>(&self - pool.worker);
  for (uint32_t seen = 0;;) {
    const auto is_called = [&] { return self.called.load() != seen; };
    if (!spin_until(is_called)) self.bed.sleep_until(is_called);
    seen = self.called.load();
    if (!enter()) continue;
    if (index < pool.workers) {
      call_children(index);
      pool.environment.use();
      take_tasks(index + 1);
    }
    leave();
  }
}

void begin_in_child() {
  ++generation;
  shares.store(0);
  pool.taken.store(false);
  pool.door.store(0);
  pool.caller.make();
  pool.started = 0;
  pool.refused_at = 0;
  forget_processors();
}

ForkWatch forks(nullptr, nullptr, begin_in_child);

bool start(Worker& worker, const pthread_attr_t* attributes) {
  worker.called.store(0);
  worker.bed.make();
  pthread_t thread;
  if (pthread_create(&thread, attributes, work, &worker) != 0) return false;
  pthread_detach(thread);
  return true;
}

// Signals are the host's: its handlers run on its own threads. But a fault is this thread's.
void block_signals(sigset_t* before) {
  sigset_t blocked;
  sigfillset(&blocked);
  constexpr int kFaults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
  for (const int fault : kFaults) sigdelset(&blocked, fault);
  pthread_sigmask(SIG_SETMASK, &blocked, before);
}

// As many of `wanted` workers as there can be.
int32_t start_workers(int32_t wanted) {
  if (pool.started >= wanted) return wanted;
  if (pool.refused_at != 0 && now() - pool.refused_at < kRetryNanoseconds) return pool.started;
  if (pool.started == 0) stay_loaded();
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return pool.started;
  pthread_attr_setstacksize(&attributes, kStackBytes);
  sigset_t before;
  block_signals(&before);
  pool.refused_at = 0;
  for (; pool.started < wanted; ++pool.started) {
    Worker& worker = pool.worker[pool.started];
    // Too many thread-local variables for the stack asked for: then what is usual.
    if (!start(worker, &attributes) && !start(worker, nullptr)) {
      pool.refused_at = now();
      break;
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  return pool.started;
}

// Calls that follow each other closely find the worker awake that one of them has woken; for a
// small one alone it would come too late.
bool is_worth_it(const Share& share) {
  const bool awake = pool.started > 0 && !pool.worker[0].bed.is_occupied();
  return awake || share.worth_waking || now() - pool.left_at < kSpinNanoseconds;
}

// A cancelled caller must not leave workers with its job.
void wait_until_empty() {
  const auto is_empty = [] { return pool.door.load() == 0; };
  if (is_empty() || spin_until(is_empty)) return;
  int before;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
  pool.caller.sleep_until(is_empty);
  pthread_setcancelstate(before, nullptr);
}

}  // namespace

int32_t CallUnderWay::begin(int32_t share) {
  if (!forks.is_on()) return 0;
  share_ = share;
  generation_ = generation.load();
  return shares.fetch_add(share);
}

// What began before a fork is not counted in the child.
CallUnderWay::~CallUnderWay() {
  if (share_ != 0 && generation_ == generation.load()) shares.fetch_sub(share_);
}

void run_on_pool(const Share& share, int64_t tasks, Task task, void* argument) {
  const auto most = static_cast<int32_t>(share.threads < tasks ? share.threads : tasks);
  const int caller_errno = errno;
  const bool has_pool = most > 1 && forks.is_on() && !pool.taken.exchange(true);
  const int32_t workers = has_pool && is_worth_it(share) ? start_workers(most - 1) : 0;
  errno = caller_errno;
  if (workers > 0) {
    pool.task = task;
    pool.argument = argument;
    pool.workers = workers;
    pool.environment = FloatEnvironment::current();
    share_out(tasks, workers + 1);
    pool.door.store(kOpen);
    call_children(-1);
    take_tasks(0);
    pool.door.fetch_and(~kOpen);
    wait_until_empty();
  } else {
    for (int64_t i = 0; i < tasks; ++i) task(argument, i);
  }
  if (has_pool) {
    pool.left_at = now();
    pool.taken.store(false);
  }
}

}  // namespace normkernels
