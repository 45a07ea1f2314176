#include "isa.h"

#include <stdlib.h>
#include <string.h>

#include <atomic>

namespace normkernels {

// The tables of kernels/table.cpp, one pair per instruction set in the build.
#if NORMKERNELS_HAVE_BASELINE
namespace baseline {
extern const Kernels kernels_f32, kernels_f64;
}
#endif
#if NORMKERNELS_HAVE_AVX2
namespace avx2 {
extern const Kernels kernels_f32, kernels_f64;
}
#endif
#if NORMKERNELS_HAVE_AVX512
namespace avx512 {
extern const Kernels kernels_f32, kernels_f64;
}
#endif
#if NORMKERNELS_HAVE_EMULATED_WIDE
namespace emulated_wide {
extern const Kernels kernels_f32, kernels_f64;
}
#endif
#if NORMKERNELS_HAVE_NEON
namespace neon {
extern const Kernels kernels_f32, kernels_f64;
}
#endif

namespace {

[[maybe_unused]] bool always() { return true; }

#if defined(__x86_64__)
// Every feature that -march=x86-64-v3 and -v4 let the compiler use; the level names themselves came
// late to Clang. The builtin also asks whether the operating system saves the registers. What it
// has no name for (MOVBE, LZCNT, F16C) has come with these on every processor.
[[maybe_unused]] bool has_avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
[[maybe_unused]] bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
#endif

// Worst first. The emulated one computes what AVX-512 does and is there to be tested, never to be
// chosen.
constexpr Isa kIsas[] = {
#if NORMKERNELS_HAVE_EMULATED_WIDE
    {"emulated_wide", "emulated_wide", has_avx2, &emulated_wide::kernels_f32,
     &emulated_wide::kernels_f64},
#endif
#if NORMKERNELS_HAVE_BASELINE
    {"baseline", "baseline", always, &baseline::kernels_f32, &baseline::kernels_f64},
#endif
#if NORMKERNELS_HAVE_NEON
    {"neon", "neon", always, &neon::kernels_f32, &neon::kernels_f64},
#endif
#if NORMKERNELS_HAVE_AVX2
    {"avx2", "x86_64_v3", has_avx2, &avx2::kernels_f32, &avx2::kernels_f64},
#endif
#if NORMKERNELS_HAVE_AVX512
    {"avx512", "x86_64_v4", has_avx512, &avx512::kernels_f32, &avx512::kernels_f64},
#endif
};
constexpr int32_t kCount = sizeof(kIsas) / sizeof(kIsas[0]);

constexpr int32_t kUndecided = -1;
std::atomic<int32_t> chosen{kUndecided};

int32_t best() {
  for (int32_t i = kCount - 1; i > 0; --i) {
    if (kIsas[i].supported()) return i;
  }
  return 0;
}

normkernels_status find(const char* name, int32_t* index) {
  for (int32_t i = 0; i < kCount; ++i) {
    if (strcmp(name, kIsas[i].name) != 0 && strcmp(name, kIsas[i].alias) != 0) continue;
    *index = i;
    return kIsas[i].supported() ? NORMKERNELS_OK : NORMKERNELS_UNSUPPORTED_ISA;
  }
  return NORMKERNELS_UNKNOWN_ISA;
}

// The automatic choice: the environment's, or the best.
normkernels_status automatic(int32_t* index) {
  const char* name = getenv("NORMKERNELS_ISA");
  if (name != nullptr && name[0] != '\0') return find(name, index);
  *index = best();
  return NORMKERNELS_OK;
}

}  // namespace

const Isa* active_isa(normkernels_status* status) {
  int32_t index = chosen.load(std::memory_order_relaxed);
  if (index == kUndecided) {
    *status = automatic(&index);
    if (*status != NORMKERNELS_OK) return nullptr;
    // Another thread may have forced one meanwhile: that stays.
    int32_t expected = kUndecided;
    if (!chosen.compare_exchange_strong(expected, index, std::memory_order_relaxed))
      index = expected;
  }
  *status = NORMKERNELS_OK;
  return &kIsas[index];
}

}  // namespace normkernels

extern "C" {

int32_t normkernels_isa_count(void) { return normkernels::kCount; }

const char* normkernels_isa_name(int32_t index) {
  return index >= 0 && index < normkernels::kCount ? normkernels::kIsas[index].name : nullptr;
}

int32_t normkernels_isa_supported(int32_t index) {
  return index >= 0 && index < normkernels::kCount && normkernels::kIsas[index].supported() ? 1 : 0;
}

int32_t normkernels_isa_active(void) {
  normkernels_status status;
  const normkernels::Isa* isa = normkernels::active_isa(&status);
  return isa == nullptr ? -1 : static_cast<int32_t>(isa - normkernels::kIsas);
}

normkernels_status normkernels_isa_force(const char* name) {
  int32_t index = normkernels::kUndecided;
  if (name != nullptr) {
    const normkernels_status status = normkernels::find(name, &index);
    if (status != NORMKERNELS_OK) return status + 1;
  }
  normkernels::chosen.store(index, std::memory_order_relaxed);
  return NORMKERNELS_OK;
}

}  // extern "C"
