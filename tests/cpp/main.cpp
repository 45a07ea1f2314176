#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "unwritten.h"

#if NORMKERNELS_MEMORY_SANITIZER
#include <stdlib.h>

#include <new>

// The compiled part of the C++ library, which links the nodes of trees, is not instrumented: what
// it writes would pass for unwritten. Workspaces come from the operator of aligned memory, and are.
void* operator new(std::size_t bytes) {
  void* const memory = malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  __msan_unpoison(memory, bytes);
  return memory;
}
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, std::size_t) noexcept { free(memory); }
#endif
