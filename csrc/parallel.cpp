#include "parallel.h"

#include <errno.h>
#include <stdlib.h>

#include <atomic>

#include "normkernels/normkernels.h"

#if defined(_OPENMP)
#include <omp.h>
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sched.h>
#include <stdio.h>
#endif

namespace normkernels {
namespace {

constexpr int32_t kMaxThreads = 1024;

std::atomic<int32_t> threads_set{0};
std::atomic<int32_t> threads_found{0};

#if defined(__linux__)
// "max 100000" or "150000 100000": microseconds of processor time per period that the container may
// use.
int32_t cgroup_quota() {
  FILE* file = fopen("/sys/fs/cgroup/cpu.max", "re");
  if (file == nullptr) return kMaxThreads;
  char text[64] = {};
  const size_t length = fread(text, 1, sizeof(text) - 1, file);
  fclose(file);
  text[length] = '\0';
  char* end = nullptr;
  const long long quota = strtoll(text, &end, 10);
  if (end == text) return kMaxThreads;
  const long long period = strtoll(end, nullptr, 10);
  if (quota <= 0 || period <= 0) return kMaxThreads;
  const long long whole = (quota + period - 1) / period;
  return whole < kMaxThreads ? static_cast<int32_t>(whole) : kMaxThreads;
}

int32_t processors() {
  cpu_set_t set;
  const int32_t affine =
      sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : kMaxThreads;
  const int32_t quota = cgroup_quota();
  return affine < quota ? affine : quota;
}
#elif defined(_OPENMP)
int32_t processors() { return omp_get_num_procs(); }
#else
int32_t processors() { return 1; }
#endif

int32_t automatic_threads() {
  const char* text = getenv("NORMKERNELS_NUM_THREADS");
  if (text != nullptr) {
    char* end = nullptr;
    const long value = strtol(text, &end, 10);
    if (end != text && *end == '\0' && value >= 1)
      return value < kMaxThreads ? static_cast<int32_t>(value) : kMaxThreads;
  }
  const int32_t found = processors();
  return found < 1 ? 1 : found;
}

}  // namespace

int32_t default_threads() {
  const int32_t set = threads_set.load(std::memory_order_relaxed);
  if (set > 0) return set;
  int32_t found = threads_found.load(std::memory_order_relaxed);
  if (found == 0) {
    const int caller_errno = errno;  // which reading files and numbers may set
    found = automatic_threads();
    errno = caller_errno;
    threads_found.store(found, std::memory_order_relaxed);
  }
  return found;
}

void set_default_threads(int32_t threads) {
  threads_set.store(threads < kMaxThreads ? threads : kMaxThreads, std::memory_order_relaxed);
}

#if defined(_OPENMP)

namespace {

// Whether this process was forked from one whose OpenMP threads had been started: they are not in
// the child, and the runtime would wait for them for ever.
std::atomic<bool> threads_started{false};
std::atomic<bool> threads_lost{false};

void in_child() { threads_lost.store(true, std::memory_order_relaxed); }

void note_start() {
  if (!threads_started.exchange(true)) pthread_atfork(nullptr, nullptr, in_child);
}

}  // namespace

bool must_run_serially() {
  return omp_in_parallel() != 0 || threads_lost.load(std::memory_order_relaxed);
}

void run_on_own_threads(int32_t threads, int64_t tasks, Task task, void* argument) {
  note_start();
  const int32_t used = tasks < threads ? static_cast<int32_t>(tasks) : threads;
#pragma omp parallel for num_threads(used) schedule(dynamic, 1)
  for (int64_t i = 0; i < tasks; ++i) task(argument, i);
}

#else

bool must_run_serially() { return true; }

void run_on_own_threads(int32_t, int64_t tasks, Task task, void* argument) {
  for (int64_t i = 0; i < tasks; ++i) task(argument, i);
}

#endif

}  // namespace normkernels

extern "C" {

int32_t normkernels_num_threads(void) { return normkernels::default_threads(); }

normkernels_status normkernels_set_num_threads(int32_t num_threads) {
  if (num_threads < 0) return NORMKERNELS_BAD_EXECUTOR + 1;
  normkernels::set_default_threads(num_threads);
  return NORMKERNELS_OK;
}

}  // extern "C"
