// Memory that nobody may touch: the address sanitizer reports who does. Without it nothing happens.
#ifndef NORMKERNELS_TESTS_FORBIDDEN_H_
#define NORMKERNELS_TESTS_FORBIDDEN_H_

#include <cstddef>

// Of the runtime, which files that are not instrumented may call as well; null without it.
extern "C" {
__attribute__((weak)) void __asan_poison_memory_region(const volatile void*, std::size_t);
__attribute__((weak)) void __asan_unpoison_memory_region(const volatile void*, std::size_t);
}

inline void forbid(const void* memory, std::size_t bytes) {
  if (__asan_poison_memory_region != nullptr) __asan_poison_memory_region(memory, bytes);
}
inline void allow(const void* memory, std::size_t bytes) {
  if (__asan_unpoison_memory_region != nullptr) __asan_unpoison_memory_region(memory, bytes);
}

#endif  // NORMKERNELS_TESTS_FORBIDDEN_H_
