#include "host/cache.h"

#include <errno.h>
#include <stdlib.h>
#if defined(__linux__)
#include <unistd.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <atomic>

namespace normkernels {
namespace {

constexpr int64_t kUnknown = 0;

// Larger ones are no faster than memory for a core: they are spread over all of a processor.
// Measured (Intel model 207, 300 MiB, one thread): outputs of 8 to 80 MiB take 1.1 to 1.7 times as
// long into the caches.
constexpr int64_t kMostCache = int64_t{32} << 20;

std::atomic<int64_t> found{kUnknown};

#if defined(__x86_64__)
// What the processor says of its caches, under a leaf of Intel's or the same of AMD's: the largest
// that this core has a share of. sysconf adds up all of a socket's on AMD's, 256 MiB for 32.
int64_t cache_of_leaf(unsigned leaf) {
  int64_t most = 0;
  for (unsigned i = 0; i < 8; ++i) {
    unsigned a, b, c, d;
    if (__get_cpuid_count(leaf, i, &a, &b, &c, &d) == 0 || (a & 0x1f) == 0) break;
    const int64_t ways = (b >> 22) + 1, partitions = (b >> 12 & 0x3ff) + 1, line = (b & 0xfff) + 1;
    const int64_t bytes = ways * partitions * line * (int64_t{c} + 1);
    most = bytes > most ? bytes : most;
  }
  return most;
}
#endif

int64_t last_level_cache() {
#if defined(__x86_64__)
  constexpr unsigned kIntel = 4, kAmd = 0x8000001d;
  const int64_t intel = cache_of_leaf(kIntel), amd = cache_of_leaf(kAmd);
  if (intel > 0 || amd > 0) return intel > amd ? intel : amd;
#endif
#if defined(_SC_LEVEL3_CACHE_SIZE)
  const long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
  if (bytes > 0) return bytes;
#endif
  return kMostCache;
}

int64_t find() {
  const char* text = getenv("NORMKERNELS_STREAM_BYTES");
  if (text != nullptr) {
    char* end = nullptr;
    const long long bytes = strtoll(text, &end, 10);
    if (end != text && *end == '\0' && bytes > 0) return bytes;
  }
  const int64_t cache = last_level_cache();
  return (cache < kMostCache ? cache : kMostCache) / 4;
}

}  // namespace

int64_t stream_from_bytes() {
  int64_t bytes = found.load(std::memory_order_relaxed);
  if (bytes == kUnknown) {
    const int caller_errno = errno;
    bytes = find();
    errno = caller_errno;
    found.store(bytes, std::memory_order_relaxed);
  }
  return bytes;
}

}  // namespace normkernels
