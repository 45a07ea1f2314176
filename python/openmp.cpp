/* Tasks on the threads of an OpenMP runtime that somebody else has loaded: torch's.
 *
 * Its workers wait for more work in a busy loop, for milliseconds after each of torch's operators.
 * A pool beside them finds the processors taken, and takes them from the operator that follows; in
 * the runtime's own regions they are there at once. Nothing of OpenMP is linked: the functions are
 * those that torch itself calls, and normkernels.torch has looked them up. */
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <memory>

#include "bind.h"

namespace normkernels::python::openmp {

namespace {

using Task = void (*)(void* argument, int64_t index);
/* GOMP_parallel, which libgomp has, and for its callers' sake LLVM's and Intel's runtimes. */
using Parallel = void (*)(void (*body)(void*), void* argument, unsigned threads, unsigned flags);
using ThreadNumber = int (*)(); /* omp_get_thread_num */

constexpr int32_t kMaxLots = 64;
/* So many as the caller's settings say. Any other number would end threads, or start them. */
constexpr unsigned kAllThreads = 0;

/* In such a child the runtime would wait for workers that only the parent has. */
std::atomic<bool> in_forked_child{false};

struct Runtime {
  normkernels_executor executor;
  Parallel parallel;
  ThreadNumber thread_number;
};

/* A thread begins with its own part, the same in a call and the next like it, and near that which
 * torch's operators give it: what it left there is in its caches. */
struct alignas(64) Lot {
  std::atomic<int64_t> next;
  int64_t end;
};

struct Region {
  Task task;
  void* argument;
  ThreadNumber thread_number;
  int64_t lots;
  Lot lot[kMaxLots];
};

void take_tasks(void* argument) {
  Region& region = *static_cast<Region*>(argument);
  const int64_t self = region.thread_number();
  for (int64_t k = 0; k < region.lots; ++k) {
    Lot& lot = region.lot[(self + k) % region.lots];
    for (;;) {
      const int64_t i = lot.next.fetch_add(1, std::memory_order_relaxed);
      if (i >= lot.end) break;
      region.task(region.argument, i);
    }
  }
}

void run(void* context, int64_t tasks, Task task, void* argument) {
  const auto& runtime = *static_cast<const Runtime*>(context);
  Region region;
  region.task = task;
  region.argument = argument;
  region.thread_number = runtime.thread_number;
  region.lots = std::min<int64_t>({runtime.executor.num_threads, tasks, kMaxLots});
  for (int64_t i = 0, end = 0; i < region.lots; ++i) {
    region.lot[i].next.store(end, std::memory_order_relaxed);
    end += tasks / region.lots + (i < tasks % region.lots ? 1 : 0);
    region.lot[i].end = end;
  }
  runtime.parallel(take_tasks, &region, kAllThreads, 0);
}

/* Whether forks are noticed, from the import on: the runtime may have been used before we are. */
bool watches_forks = false;

/* An address that dlsym has returned. */
template <class Function>
Function function(const Integer& address) {
  return reinterpret_cast<Function>(static_cast<intptr_t>(address.get()));
}

constexpr const char* kDoc = R"(openmp_executor(parallel, thread_number, num_threads)
--

What may be given as `num_threads` in the place of a number: the threads of an OpenMP runtime, whose
functions GOMP_parallel and omp_get_thread_num have these addresses. In a child of fork() it means
as many of the library's own.)";

py::object openmp_executor(Call&, const Integer& parallel, const Integer& thread_number,
                           Threads num_threads) {
  auto runtime = std::make_unique<Runtime>();
  runtime->executor = {sizeof(normkernels_executor), num_threads.get(),
                       watches_forks ? run : nullptr, runtime.get()};
  runtime->parallel = function<Parallel>(parallel);
  runtime->thread_number = function<ThreadNumber>(thread_number);
  const auto destroy = [](PyObject* capsule) {
    delete static_cast<Runtime*>(PyCapsule_GetPointer(capsule, kCapsule));
  };
  py::object capsule =
      py::reinterpret_steal<py::object>(PyCapsule_New(runtime.get(), kCapsule, destroy));
  if (!capsule) throw py::error_already_set();
  runtime.release();
  return capsule;
}

}  // namespace

bool find_executor(py::handle value, normkernels_executor* executor) {
  if (!PyCapsule_IsValid(value.ptr(), kCapsule)) return false;
  *executor = static_cast<Runtime*>(PyCapsule_GetPointer(value.ptr(), kCapsule))->executor;
  if (in_forked_child.load()) executor->run = nullptr;
  return true;
}

void bind(py::module_& module) {
  watches_forks = pthread_atfork(nullptr, nullptr, [] { in_forked_child.store(true); }) == 0;
  add<openmp_executor>(module, kDoc);
}

}  // namespace normkernels::python::openmp
