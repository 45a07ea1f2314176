// The floating-point environment, which a task needs to be that of its call on every thread.
#ifndef NORMKERNELS_HOST_FLOAT_ENVIRONMENT_H_
#define NORMKERNELS_HOST_FLOAT_ENVIRONMENT_H_

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

// While it lives, this thread has that environment.
class WithFloatEnvironment {
 public:
  explicit WithFloatEnvironment(FloatEnvironment environment)
      : own_(FloatEnvironment::current()), used_(environment) {
    if (!(own_ == used_)) used_.use();
  }
  ~WithFloatEnvironment() {
    if (!(own_ == used_)) own_.use();
  }
  WithFloatEnvironment(const WithFloatEnvironment&) = delete;
  WithFloatEnvironment& operator=(const WithFloatEnvironment&) = delete;

 private:
  const FloatEnvironment own_, used_;
};

}  // namespace normkernels

#endif  // NORMKERNELS_HOST_FLOAT_ENVIRONMENT_H_
