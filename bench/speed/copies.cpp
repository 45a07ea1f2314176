// Copies to be held against an operator that moves as many bytes, with the widest vectors of the
// target. copies.py compiles this file for the machine that it runs on; it is part of the C++
// benchmarks, too.
#include <cstddef>
#include <cstdint>
#include <cstring>

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

}  // namespace

// way: 0 memcpy, 1 ordinary stores, 2 streaming stores. Both arrays begin at a multiple of kLine.
// Each of the threads, which OpenMP starts once and keeps, copies its share of the lines.
extern "C" void bench_copy(int way, int threads, char* to, const char* from, std::size_t bytes) {
  const std::size_t lines = bytes / kLine;
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
#endif
  for (int thread = 0; thread < threads; ++thread) {
    const std::size_t begin = lines * thread / threads * kLine;
    const std::size_t end = lines * (thread + 1) / threads * kLine;
    if (way == 0) {
      std::memcpy(to + begin, from + begin, end - begin);
    } else {
      copy_lines(reinterpret_cast<Vector*>(to + begin),
                 reinterpret_cast<const Vector*>(from + begin), (end - begin) / kLine, way == 2);
    }
  }
  std::memcpy(to + lines * kLine, from + lines * kLine, bytes - lines * kLine);
}
