// Loops that move as many bytes as an operator must and compute nothing, with the widest vectors
// of the target: a copy, and the floor, which has the operator's own arrays. traffic.py compiles
// this file for the machine that it runs on; it is part of the C++ benchmarks, too.
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
// So far ahead of streaming stores x is asked for: without it they wait for loads.
constexpr std::size_t kAhead = 2048 / sizeof(Vector);

struct Arrays {
  Vector* to[2];
  const Vector* from[2];
};

template <bool streaming>
void put(Vector* to, Vector v) {
  if (streaming) {
    stream(to, v);
  } else {
    *to = v;
  }
}

// What two inputs have in common goes to every output: a vector of each is read, one is written.
template <int inputs, int outputs, bool streaming>
void move_lines(const Arrays& a, std::size_t lines) {
  for (std::size_t i = 0; i < lines * kVectors; i += kVectors) {
    if (streaming) {
      for (int k = 0; k < inputs; ++k) __builtin_prefetch(a.from[k] + i + kAhead);
    }
    for (std::size_t j = i; j < i + kVectors; ++j) {
      const Vector v = inputs == 1 ? a.from[0][j] : a.from[0][j] & a.from[1][j];
      for (int k = 0; k < outputs; ++k) put<streaming>(a.to[k] + j, v);
    }
  }
#ifdef __SSE2__
  if (streaming) _mm_sfence();
#endif
}

// The ways of bench_move.
constexpr int kMemcpy = 0, kStreaming = 2;

template <int inputs, int outputs>
void move_by(int way, const Arrays& a, std::size_t lines) {
  if (way == kStreaming) {
    move_lines<inputs, outputs, true>(a, lines);
  } else {
    move_lines<inputs, outputs, false>(a, lines);
  }
}

struct Share {
  int way, inputs, outputs;
  Arrays arrays;
  std::size_t lines;
};

void move(const Share& s) {
  if (s.way == kMemcpy) {
    std::memcpy(s.arrays.to[0], s.arrays.from[0], s.lines * kLine);
  } else if (s.inputs == 1) {
    move_by<1, 1>(s.way, s.arrays, s.lines);
  } else if (s.outputs == 1) {
    move_by<2, 1>(s.way, s.arrays, s.lines);
  } else {
    move_by<2, 2>(s.way, s.arrays, s.lines);
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
      move(share_);
      busy_ = false;
    }
  }

  Share share_{};
  std::atomic<bool> busy_{false};
  std::mutex mutex_;
  std::condition_variable woken_;
};

}  // namespace

// way: 0 memcpy, of one input to one output, 1 ordinary stores, 2 streaming stores. One input and
// one output, or two inputs and one or two outputs; what is left over is null. All arrays begin at
// a multiple of kLine and have `bytes` bytes, of which only whole lines are moved. Each of the
// threads, of which the calling one is the first, has its share of the lines. One call at a time.
extern "C" void bench_move(int way, int threads, char* to, char* to_too, const char* from,
                           const char* from_too, std::size_t bytes) {
  // Never destroyed, as their threads never end.
  static auto& helpers = *new std::vector<Helper*>;
  const std::size_t lines = bytes / kLine, count = static_cast<std::size_t>(threads);
  const auto share = [=](std::size_t thread) {
    const std::size_t begin = lines * thread / count, end = lines * (thread + 1) / count;
    const auto output = [=](char* p) {
      return p == nullptr ? nullptr : reinterpret_cast<Vector*>(p + begin * kLine);
    };
    const auto input = [=](const char* p) {
      return p == nullptr ? nullptr : reinterpret_cast<const Vector*>(p + begin * kLine);
    };
    return Share{way,
                 from_too == nullptr ? 1 : 2,
                 to_too == nullptr ? 1 : 2,
                 {{output(to), output(to_too)}, {input(from), input(from_too)}},
                 end - begin};
  };
  while (helpers.size() + 1 < count) helpers.push_back(new Helper);
  for (std::size_t thread = 1; thread < count; ++thread) helpers[thread - 1]->start(share(thread));
  move(share(0));
  for (std::size_t thread = 1; thread < count; ++thread) helpers[thread - 1]->finish();
}
