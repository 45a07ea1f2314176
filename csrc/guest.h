// What a task needs of the thread that it was lent: the caller's floating-point environment, and
// that a call from inside it runs serially.
#ifndef NORMKERNELS_GUEST_H_
#define NORMKERNELS_GUEST_H_

#include <stdint.h>

namespace normkernels {

// How results are rounded and whether denormals are flushed. A thread keeps what it was started
// with, so without this a host's choice would reach only the tasks that its own thread runs.
struct FloatEnvironment {
#if defined(__x86_64__)
  uint32_t control;
  static FloatEnvironment current() { return {__builtin_ia32_stmxcsr()}; }
  void use() const { __builtin_ia32_ldmxcsr(control); }
#elif defined(__aarch64__)
  uint64_t control;
  static FloatEnvironment current() {
    uint64_t control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    return {control};
  }
  void use() const { __asm__ volatile("msr fpcr, %0" : : "r"(control)); }
#else
  uint32_t control;
  static FloatEnvironment current() { return {0}; }
  void use() const {}
#endif
  bool operator==(const FloatEnvironment& other) const { return control == other.control; }
};

// Whether this thread is running a task, of the library's pool or of a caller's executor.
bool is_guest();
void set_guest(bool guest);

// While it lives, this thread is a guest of a caller with that environment.
class Guest {
 public:
  explicit Guest(FloatEnvironment environment)
      : was_guest_(is_guest()), own_(FloatEnvironment::current()), used_(environment) {
    set_guest(true);
    if (!(own_ == used_)) used_.use();
  }
  ~Guest() {
    if (!(own_ == used_)) own_.use();
    set_guest(was_guest_);
  }
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;

 private:
  const bool was_guest_;
  const FloatEnvironment own_, used_;
};

}  // namespace normkernels

#endif  // NORMKERNELS_GUEST_H_
