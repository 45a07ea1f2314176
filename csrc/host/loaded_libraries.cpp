// Nothing of OpenMP is linked or started here: a runtime that is in the process already is asked.
// Only GNU's, since its two questions read a variable of the thread; LLVM's and Intel's would
// start up, which may end the process where two of them are loaded.
#include "host/loaded_libraries.h"

#if defined(__linux__)
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <string.h>

#include <atomic>

#include "host/fork_watch.h"

// In a program without a dynamic linker, and with a C library that has these in a library of its
// own which nobody loaded, there is nothing to be asked either.
#pragma weak dl_iterate_phdr
#pragma weak dladdr
#pragma weak dlopen
#pragma weak dlsym

namespace normkernels {
namespace {

constexpr int kMaxRuntimes = 4;
constexpr size_t kPathBytes = 512;

struct Runtime {
  std::atomic<int (*)()> max_threads{nullptr}, in_parallel{nullptr};
};
Runtime runtimes[kMaxRuntimes];

// How many libraries had ever been loaded when they were last searched.
std::atomic<unsigned long long> searched{0};

struct Search {
  unsigned long long loaded = 0;
  int count = 0;
  char path[kMaxRuntimes][kPathBytes];
};

const char* file_name(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash == nullptr ? path : slash + 1;
}

// Wheels carry the runtime as libgomp.so.1 or as libgomp-<digest>.so.1.0.0.
int look_at(dl_phdr_info* info, size_t, void* argument) {
  Search& search = *static_cast<Search*>(argument);
  search.loaded = info->dlpi_adds;
  if (search.loaded == searched.load()) return 1;
  const char* path = info->dlpi_name;
  const bool is_runtime = path != nullptr && strncmp(file_name(path), "libgomp", 7) == 0;
  if (is_runtime && search.count < kMaxRuntimes && strlen(path) < kPathBytes) {
    strcpy(search.path[search.count++], path);
  }
  return 0;
}

template <class Function>
Function* symbol(void* library, const char* name) {
  return reinterpret_cast<Function*>(dlsym(library, name));
}

// dl_iterate_phdr takes a lock of the C library's (glibc's at least) that a child of fork() finds
// as it was, and waits for forever if a thread of its parent had it. So none of ours has, then.
pthread_mutex_t looking = PTHREAD_MUTEX_INITIALIZER;
void lock() { pthread_mutex_lock(&looking); }
void unlock() { pthread_mutex_unlock(&looking); }
ForkWatch forks(lock, unlock, unlock);

// Whether libraries were gone through, which they are only after another one was loaded.
bool look(Search& search) {
  if (!forks.is_on()) return false;
  lock();
  const bool ended_early = dl_iterate_phdr(look_at, &search) != 0;
  unlock();
  return !ended_early;
}

// The runtimes that are loaded.
void search_runtimes() {
  if (dl_iterate_phdr == nullptr || dlopen == nullptr || dlsym == nullptr) return;
  Search search;
  if (!look(search)) return;
  for (int i = 0; i < search.count; ++i) {
    // The handle is kept: what is asked must not be unloaded.
    void* const library = dlopen(search.path[i], RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) continue;
    runtimes[i].max_threads.store(symbol<int()>(library, "omp_get_max_threads"));
    runtimes[i].in_parallel.store(symbol<int()>(library, "omp_in_parallel"));
  }
  searched.store(search.loaded);
}

}  // namespace

void stay_loaded() {
  Dl_info self;
  if (dladdr == nullptr || dlopen == nullptr) return;
  if (dladdr(reinterpret_cast<const void*>(&stay_loaded), &self) == 0) return;
  dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

int32_t openmp_runtime_threads(int32_t most) {
  search_runtimes();
  for (const Runtime& runtime : runtimes) {
    const auto max_threads = runtime.max_threads.load();
    const int32_t threads = max_threads == nullptr ? most : max_threads();
    if (threads >= 1 && threads < most) most = threads;
  }
  return most;
}

bool in_openmp_region() {
  search_runtimes();
  for (const Runtime& runtime : runtimes) {
    const auto in_parallel = runtime.in_parallel.load();
    if (in_parallel != nullptr && in_parallel() != 0) return true;
  }
  return false;
}

}  // namespace normkernels

#else

namespace normkernels {

void stay_loaded() {}
int32_t openmp_runtime_threads(int32_t most) { return most; }
bool in_openmp_region() { return false; }

}  // namespace normkernels

#endif
