// Memory that the memory sanitizer takes for unwritten: who lets it decide anything is reported.
#ifndef NORMKERNELS_TESTS_UNWRITTEN_H_
#define NORMKERNELS_TESTS_UNWRITTEN_H_

#include <cstddef>

#define NORMKERNELS_MEMORY_SANITIZER 0
#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#undef NORMKERNELS_MEMORY_SANITIZER
#define NORMKERNELS_MEMORY_SANITIZER 1
#include <sanitizer/msan_interface.h>
#endif
#endif

/// The bytes keep their values.
inline void make_unwritten([[maybe_unused]] void* data, [[maybe_unused]] std::size_t bytes) {
#if NORMKERNELS_MEMORY_SANITIZER
  __msan_poison(data, bytes);
#endif
}

#endif  // NORMKERNELS_TESTS_UNWRITTEN_H_
