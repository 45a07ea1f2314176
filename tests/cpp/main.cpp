#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "unwritten.h"

#if NORMKERNELS_MEMORY_SANITIZER
// The compiled part of the C++ library, which links the nodes of trees, is not instrumented: what
// it writes would pass for unwritten. Workspaces come from the operator of aligned memory, and are.
// The sanitizer has operators of its own, which the linker does not let a program replace.
extern "C" void* __real__Znwm(std::size_t bytes);
extern "C" void* __wrap__Znwm(std::size_t bytes) {
  void* const memory = __real__Znwm(bytes);
  __msan_unpoison(memory, bytes);
  return memory;
}
#endif
