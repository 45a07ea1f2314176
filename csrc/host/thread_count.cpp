#include "host/thread_count.h"

#include <errno.h>
#include <stdlib.h>

#include <atomic>

#include "host/loaded_libraries.h"
#include "normkernels/normkernels.h"

#if defined(__linux__)
#include <sched.h>
#else
#include <unistd.h>
#endif

namespace normkernels {
namespace {

constexpr int32_t kUnknown = -1;   // not looked at
constexpr int32_t kAutomatic = 0;  // looked at, and nothing is asked for
constexpr int32_t kNoNumber = -2;  // what cannot be understood

std::atomic<int32_t> asked_for{kAutomatic};   // by set_default_threads
std::atomic<int32_t> own_variable{kUnknown};  // NORMKERNELS_NUM_THREADS
std::atomic<int32_t> found{kUnknown};         // OMP_NUM_THREADS or processors

int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

// The number of 0 and more that `text` begins with, up to kMaxThreads, and where it ends; kNoNumber
// without one.
int32_t leading_number(const char* text, const char** end) {
  char* after = nullptr;
  const long long value = strtoll(text, &after, 10);
  *end = after;
  if (after == text || value < 0) return kNoNumber;
  while (**end == ' ' || **end == '\t') ++*end;
  return value < kMaxThreads ? static_cast<int32_t>(value) : kMaxThreads;
}

int32_t read_own_variable() {
  const char* text = getenv("NORMKERNELS_NUM_THREADS");
  if (text == nullptr || *text == '\0') return kAutomatic;
  const char* end = nullptr;
  const int32_t number = leading_number(text, &end);
  return *end == '\0' ? number : kNoNumber;
}

// A variable of OpenMP's, which may be a list by level of nesting. It is not ours, so what cannot
// be understood is passed over.
int32_t openmp_variable(const char* name, int32_t otherwise) {
  const char* text = getenv(name);
  if (text == nullptr) return otherwise;
  const char* end = nullptr;
  const int32_t number = leading_number(text, &end);
  return number > 0 && (*end == '\0' || *end == ',') ? number : otherwise;
}

int32_t processors() {
#if defined(__linux__)
  cpu_set_t set;
  const int32_t affine =
      sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : kMaxThreads;
  const int32_t left = smaller(affine, cgroup_processors(""));
#else
  const auto left = static_cast<int32_t>(sysconf(_SC_NPROCESSORS_ONLN));
#endif
  return left < 1 ? 1 : smaller(left, kMaxThreads);
}

// The value, found by `find` the first time. Two threads may both find it.
template <class Find>
int32_t once(std::atomic<int32_t>& value, Find&& find) {
  int32_t known = value.load(std::memory_order_relaxed);
  if (known != kUnknown) return known;
  const int caller_errno = errno;  // which reading files and numbers may set
  known = find();
  errno = caller_errno;
  value.store(known, std::memory_order_relaxed);
  return known;
}

int32_t own_threads() {
  const int32_t asked = asked_for.load(std::memory_order_relaxed);
  return asked != kAutomatic ? asked : once(own_variable, read_own_variable);
}

int32_t automatic_threads() {
  const int32_t wanted = once(found, [] {
    return smaller(openmp_variable("OMP_NUM_THREADS", processors()),
                   openmp_variable("OMP_THREAD_LIMIT", kMaxThreads));
  });
  return smaller(wanted, openmp_runtime_threads(kMaxThreads));
}

}  // namespace

bool has_default_threads() { return own_threads() != kNoNumber; }

int32_t default_threads() {
  const int32_t own = own_threads();
  if (own == kNoNumber) return 0;
  return own != kAutomatic ? own : automatic_threads();
}

void set_default_threads(int32_t threads) {
  asked_for.store(smaller(threads, kMaxThreads), std::memory_order_relaxed);
}

void forget_processors() { found.store(kUnknown, std::memory_order_relaxed); }

}  // namespace normkernels

extern "C" {

int32_t normkernels_num_threads(void) { return normkernels::default_threads(); }

normkernels_status normkernels_set_num_threads(int32_t num_threads) {
  if (num_threads < 0) return NORMKERNELS_BAD_EXECUTOR + 1;
  normkernels::set_default_threads(num_threads);
  return NORMKERNELS_OK;
}

}  // extern "C"
