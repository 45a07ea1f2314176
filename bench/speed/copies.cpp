// Copies to be held against an operator that moves as many bytes, with the widest vectors of the
// target. copies.py compiles this file for the machine that it runs on; it is part of the C++
// benchmarks, too.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace {

constexpr std::size_t kLine = 64;

#if defined(__AVX512F__)
using Vector = __m512i;
void stream(Vector* to, Vector v) { _mm512_stream_si512(to, v); }
#elif defined(__AVX__)
using Vector = __m256i;
void stream(Vector* to, Vector v) { _mm256_stream_si256(to, v); }
#elif defined(__SSE2__)
using Vector = __m128i;
void stream(Vector* to, Vector v) { _mm_stream_si128(to, v); }
#else
typedef std::int32_t Vector __attribute__((vector_size(16)));
void stream(Vector* to, Vector v) { *to = v; }
#endif

constexpr std::size_t kVectors = kLine / sizeof(Vector);

void copy_lines(Vector* to, const Vector* from, std::size_t lines, bool streaming) {
  if (!streaming) {
    for (std::size_t i = 0; i < lines * kVectors; ++i) to[i] = from[i];
    return;
  }
  for (std::size_t i = 0; i < lines * kVectors; ++i) stream(to + i, from[i]);
#ifdef __SSE2__
  _mm_sfence();
#endif
}

struct Share {
  int way;
  char* to;
  const char* from;
  std::size_t bytes;  // a multiple of kLine
};

void copy(const Share& share) {
  if (share.way == 0) {
    std::memcpy(share.to, share.from, share.bytes);
  } else {
    copy_lines(reinterpret_cast<Vector*>(share.to), reinterpret_cast<const Vector*>(share.from),
               share.bytes / kLine, share.way == 2);
  }
}

// Between calls a thread looks out for the next one before it falls asleep: waking it would take
// longer than most copies.
constexpr std::chrono::milliseconds kLookout{1};

// A thread that lives as long as the process.
class Helper {
 public:
  Helper() {
    std::thread([this] { run(); }).detach();
  }

  void start(const Share& share) {
    share_ = share;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      busy_ = true;
    }
    woken_.notify_one();
  }

  void finish() const {
    while (busy_) std::this_thread::yield();
  }

 private:
  [[noreturn]] void run() {
    for (;;) {
      const auto end = std::chrono::steady_clock::now() + kLookout;
      while (!busy_ && std::chrono::steady_clock::now() < end) std::this_thread::yield();
      {
        std::unique_lock<std::mutex> lock(mutex_);
        woken_.wait(lock, [this] { return busy_.load(); });
      }
      copy(share_);
      busy_ = false;
    }
  }

  Share share_{};
  std::atomic<bool> busy_{false};
  std::mutex mutex_;
  std::condition_variable woken_;
};

}  // namespace

// way: 0 memcpy, 1 ordinary stores, 2 streaming stores. Both arrays begin at a multiple of kLine.
// Each of the threads, of which the calling one is the first, copies its share of the lines. One
// call at a time.
extern "C" void bench_copy(int way, int threads, char* to, const char* from, std::size_t bytes) {
  // Never destroyed, as their threads never end.
  static auto& helpers = *new std::vector<Helper*>;
  const std::size_t lines = bytes / kLine, count = static_cast<std::size_t>(threads);
  const auto share = [=](std::size_t thread) {
    const std::size_t begin = lines * thread / count * kLine;
    const std::size_t end = lines * (thread + 1) / count * kLine;
    return Share{way, to + begin, from + begin, end - begin};
  };
  while (helpers.size() + 1 < count) helpers.push_back(new Helper);
  for (std::size_t thread = 1; thread < count; ++thread) helpers[thread - 1]->start(share(thread));
  copy(share(0));
  for (std::size_t thread = 1; thread < count; ++thread) helpers[thread - 1]->finish();
  std::memcpy(to + lines * kLine, from + lines * kLine, bytes - lines * kLine);
}
