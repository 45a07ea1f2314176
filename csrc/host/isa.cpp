#include "host/isa.h"

#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <atomic>

namespace normkernels {

// What table.cpp has of each instruction set in the build.
#if NORMKERNELS_HAVE_BASELINE
namespace baseline {
extern const Kernels* const kernels[];
}
#endif
#if NORMKERNELS_HAVE_AVX2
namespace avx2 {
extern const Kernels* const kernels[];
}
#endif
#if NORMKERNELS_HAVE_AVX512
namespace avx512 {
extern const Kernels* const kernels[];
}
#endif
#if NORMKERNELS_HAVE_EMULATED_WIDE
namespace emulated_wide {
extern const Kernels* const kernels[];
}
#endif
#if NORMKERNELS_HAVE_NEON
namespace neon {
extern const Kernels* const kernels[];
}
#endif

namespace {

[[maybe_unused]] bool always() { return true; }

#if defined(__x86_64__)
// A word with these bits.
template <class... Bits>
constexpr uint32_t bits(Bits... bit) {
  return ((uint32_t{1} << bit) | ...);
}

bool has_all(uint32_t word, uint32_t wanted) { return (word & wanted) == wanted; }

struct Cpuid {
  uint32_t a = 0, b = 0, c = 0, d = 0;

  explicit Cpuid(uint32_t leaf) {
    if (__get_cpuid_count(leaf, 0, &a, &b, &c, &d) == 0) a = b = c = d = 0;
  }
};

// Whether the operating system saves these registers.
bool saves(uint32_t registers) {
  constexpr uint32_t kOsxsave = bits(27);
  if (!has_all(Cpuid(1).c, kOsxsave)) return false;
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return has_all(low, registers);
}

// Every feature that -march=x86-64-v3 and -v4 let the compiler use. Asked of the processor itself:
// the compilers' __builtin_cpu_supports is a variable of their runtime library, which a program
// that is not linked by them may lack, and knows half of these names.
[[maybe_unused]] bool has_avx2() {
  constexpr uint32_t kXmmAndYmm = bits(1, 2);
  // SSE3, SSSE3, FMA, CX16, SSE4.1, SSE4.2, MOVBE, POPCNT, AVX, F16C; BMI1, AVX2, BMI2; LAHF, LZCNT
  constexpr uint32_t kLeaf1C = bits(0, 9, 12, 13, 19, 20, 22, 23, 28, 29);
  constexpr uint32_t kLeaf7B = bits(3, 5, 8);
  constexpr uint32_t kExtendedC = bits(0, 5);
  return saves(kXmmAndYmm) && has_all(Cpuid(1).c, kLeaf1C) && has_all(Cpuid(7).b, kLeaf7B) &&
         has_all(Cpuid(0x80000001).c, kExtendedC);
}
[[maybe_unused]] bool has_avx512() {
  constexpr uint32_t kMasksAndZmm = bits(5, 6, 7);
  constexpr uint32_t kLeaf7B = bits(16, 17, 28, 30, 31);  // F, DQ, CD, BW, VL
  return has_avx2() && saves(kMasksAndZmm) && has_all(Cpuid(7).b, kLeaf7B);
}
#endif

// Worst first. The emulated one computes what AVX-512 does and is there to be tested, never to be
// chosen.
constexpr Isa kIsas[] = {
#if NORMKERNELS_HAVE_EMULATED_WIDE
    {"emulated_wide", "emulated_wide", has_avx2, emulated_wide::kernels},
#endif
#if NORMKERNELS_HAVE_BASELINE
    {"baseline", "baseline", always, baseline::kernels},
#endif
#if NORMKERNELS_HAVE_NEON
    {"neon", "neon", always, neon::kernels},
#endif
#if NORMKERNELS_HAVE_AVX2
    {"avx2", "x86_64_v3", has_avx2, avx2::kernels},
#endif
#if NORMKERNELS_HAVE_AVX512
    {"avx512", "x86_64_v4", has_avx512, avx512::kernels},
#endif
};
constexpr int32_t kCount = sizeof(kIsas) / sizeof(kIsas[0]);

constexpr int32_t kUndecided = -1;
std::atomic<int32_t> chosen{kUndecided};

normkernels_status find(const char* name, int32_t* index) {
  for (int32_t i = 0; i < kCount; ++i) {
    if (strcmp(name, kIsas[i].name) != 0 && strcmp(name, kIsas[i].alias) != 0) continue;
    *index = i;
    return kIsas[i].supported() ? NORMKERNELS_OK : NORMKERNELS_UNSUPPORTED_ISA;
  }
  return NORMKERNELS_UNKNOWN_ISA;
}

// The automatic choice: the environment's, or the best that the machine has.
normkernels_status automatic(int32_t* index) {
  const char* name = getenv("NORMKERNELS_ISA");
  if (name != nullptr && name[0] != '\0') return find(name, index);
  for (int32_t i = kCount - 1; i >= 0; --i) {
    if (!kIsas[i].supported()) continue;
    *index = i;
    return NORMKERNELS_OK;
  }
  return NORMKERNELS_UNSUPPORTED_ISA;  // a build without kernels for every machine
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
