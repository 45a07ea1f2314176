#include "host/cache.h"

#include <errno.h>
#include <stdlib.h>
#if defined(__linux__)
#include <unistd.h>
#endif

#include <atomic>

namespace normkernels {
namespace {

constexpr int64_t kUnknown = 0, kUsualCache = int64_t{32} << 20;

std::atomic<int64_t> found{kUnknown};

int64_t last_level_cache() {
#if defined(_SC_LEVEL3_CACHE_SIZE)
  const long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
  if (bytes > 0) return bytes;
#endif
  return kUsualCache;
}

int64_t find() {
  const char* text = getenv("NORMKERNELS_STREAM_BYTES");
  if (text != nullptr) {
    char* end = nullptr;
    const long long bytes = strtoll(text, &end, 10);
    if (end != text && *end == '\0' && bytes > 0) return bytes;
  }
  return last_level_cache() / 4;
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
