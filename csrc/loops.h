// Loops over elements by whole vectors and a tail.
#ifndef NORMKERNELS_LOOPS_H_
#define NORMKERNELS_LOOPS_H_

#include "simd.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

template <int N>
struct Index {
  static constexpr int value = N;
};

template <int N, class F>
NORMKERNELS_INLINE void unroll(F&& f) {
  if constexpr (N > 0) {
    unroll<N - 1>(f);
    f(Index<N - 1>{});
  }
}

// f(i, Full) for every whole vector of [0, n), then f(i, lanes) for what is left: two vectors of
// `Unroll` at a time.
template <class T, int Unroll = 4, class F>
NORMKERNELS_INLINE void for_each_vector(int64_t n, F&& f) {
  constexpr int W = Vec<T>::kLanes;
  int64_t i = 0;
  for (; i + Unroll * W <= n; i += Unroll * W) {
    unroll<Unroll>([&](auto j)
                       __attribute__((always_inline)) { f(i + decltype(j)::value * W, Full{}); });
  }
  for (; i + W <= n; i += W) f(i, Full{});
  if (i < n) f(i, static_cast<int>(n - i));
}

// The same where f writes at p + i: whole vectors begin at p's own vector borders, since a store
// that straddles two cache lines costs two. For element-wise work only: it moves elements between
// lanes.
template <class T, class F>
NORMKERNELS_INLINE void for_each_aligned_vector(const T* p, int64_t n, F&& f) {
  constexpr int W = Vec<T>::kLanes;
  constexpr int64_t kWorthIt = 4 * W;
  const int past = static_cast<int>(reinterpret_cast<uintptr_t>(p) / sizeof(T) % W);
  const int head = past != 0 && n >= kWorthIt ? W - past : 0;
  if (head != 0) f(int64_t{0}, head);
  for_each_vector<T>(
      n - head, [&](int64_t i, auto lanes) __attribute__((always_inline)) { f(head + i, lanes); });
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LOOPS_H_
