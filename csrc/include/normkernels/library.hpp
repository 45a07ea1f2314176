// Threads and instruction sets: whom the work is given to, and what of the library runs it.
#ifndef NORMKERNELS_LIBRARY_HPP_
#define NORMKERNELS_LIBRARY_HPP_

#include <normkernels/normkernels.h>

#include <cstdint>
#include <normkernels/call.hpp>
#include <string>
#include <utility>
#include <vector>

namespace normkernels {
inline namespace v0 {

/// The caller's own threads as an executor. `run(tasks, task)` calls task(i) once for every i in
/// [0, tasks), in any order and on any threads, and returns when all are done; it must not throw.
/// Pass its address where a function takes an executor; it must outlive the call.
template <class Run>
class Executor : public normkernels_executor {
 public:
  explicit Executor(Run function, std::int32_t thread_count = 0)
      : normkernels_executor{sizeof(normkernels_executor), thread_count, &call, nullptr},
        run_(std::move(function)) {
    context = &run_;
  }
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

 private:
  static void call(void* self, std::int64_t tasks, void (*task)(void*, std::int64_t),
                   void* argument) {
    (*static_cast<Run*>(self))(tasks, [=](std::int64_t index) { task(argument, index); });
  }
  Run run_;
};

/// The library's threads, `count` of them at most.
inline normkernels_executor threads(std::int32_t count) noexcept {
  return {sizeof(normkernels_executor), count, nullptr, nullptr};
}

/// The default number of threads; 0 if NORMKERNELS_NUM_THREADS is no number.
inline std::int32_t num_threads() noexcept { return normkernels_num_threads(); }

/// Sets that default; 0 returns to the automatic one. Refuses a number below 0.
inline Status try_set_num_threads(std::int32_t num_threads) noexcept {
  return detail::Call("set_num_threads")
      .run(normkernels_set_num_threads, "num_threads", num_threads);
}

/// "MAJOR.MINOR.PATCH" of the library that is running.
inline const char* version() noexcept { return normkernels_version(); }

/// An instruction set, and whether this machine has it.
struct Isa {
  std::string name;
  bool supported;
};

/// The instruction sets of this build, worst first.
inline std::vector<Isa> isas() {
  std::vector<Isa> result;
  for (std::int32_t i = 0; i < normkernels_isa_count(); ++i) {
    result.push_back({normkernels_isa_name(i), normkernels_isa_supported(i) != 0});
  }
  return result;
}

/// The one in use; empty where NORMKERNELS_ISA names one that cannot be, or the machine has none.
inline std::string active_isa() {
  const char* name = normkernels_isa_name(normkernels_isa_active());
  return name == nullptr ? std::string() : std::string(name);
}

/// Uses the one of that name from now on, NULL: the best. Refuses one that is not known or not
/// here.
inline Status try_force_isa(const char* name) noexcept {
  return detail::Call("force_isa").run(normkernels_isa_force, "name", name);
}

#ifdef __cpp_exceptions
inline void set_num_threads(std::int32_t count) {
  detail::throw_unless_ok(try_set_num_threads(count));
}
inline void force_isa(const char* name) { detail::throw_unless_ok(try_force_isa(name)); }
#endif

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_LIBRARY_HPP_
