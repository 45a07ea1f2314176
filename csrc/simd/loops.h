// Loops over elements by whole vectors and a tail.
#ifndef NORMKERNELS_SIMD_LOOPS_H_
#define NORMKERNELS_SIMD_LOOPS_H_

#include "simd/simd.h"

namespace normkernels::NORMKERNELS_ISA {

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

// Rows of elements that lie next to each other; the rows are `stride` apart.
template <class T>
struct Rows {
  T* p;
  int64_t stride;

  NORMKERNELS_INLINE T* operator[](int64_t row) const { return p + row * stride; }
  NORMKERNELS_INLINE Rows from(int64_t row) const { return at(row, 0); }
  NORMKERNELS_INLINE Rows at(int64_t row, int64_t column) const {
    return {(*this)[row] + column, stride};
  }
};

// f(i, Full) for every whole vector of [0, n), then f(i, lanes) for what is left; `Unroll`
// vectors at a time.
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

// How many elements p is before the next border of so many bytes.
template <int kBytes, class T>
NORMKERNELS_INLINE int64_t elements_to_border(const T* p) {
  return static_cast<int64_t>(-reinterpret_cast<uintptr_t>(p) % kBytes / sizeof(T));
}

// The elements of p[0..n) before its first vector border: a store that straddles two cache lines
// costs two, and a streamed one is not allowed to. Of short rows they are not worth a vector.
template <class Store, class T>
NORMKERNELS_INLINE int unaligned_head(Store, const T* p, int64_t n) {
  constexpr int W = Vec<T>::kLanes;
  constexpr int64_t kWorthIt = Store::kMustBeAligned ? W : 4 * W;
  const int past = static_cast<int>(reinterpret_cast<uintptr_t>(p) / sizeof(T) % W);
  return past != 0 && n >= kWorthIt ? W - past : 0;
}

// f(i, Index<N>, Full) for every N whole vectors, then f(i, Index<1>, Full) and f(i, Index<1>,
// lanes) for what is left.
template <class T, int N, class F>
NORMKERNELS_INLINE void for_each_group(int64_t n, F&& f) {
  constexpr int W = Vec<T>::kLanes;
  int64_t i = 0;
  for (; i + N * W <= n; i += N * W) f(i, Index<N>{}, Full{});
  if constexpr (N > 1) {
    for (; i + W <= n; i += W) f(i, Index<1>{}, Full{});
  }
  if (i < n) f(i, Index<1>{}, static_cast<int>(n - i));
}

// The same of buffers that go on for a vector: f(i, Index<N>), then f(i, Index<1>).
template <class T, int N, class F>
NORMKERNELS_INLINE void for_each_whole_group(int64_t n, F&& f) {
  constexpr int W = Vec<T>::kLanes;
  int64_t i = 0;
  for (; i + N * W <= n; i += N * W) f(i, Index<N>{});
  for (; i < n; i += W) f(i, Index<1>{});
}

// Vectors of columns worked on at a time, two sums and the operands of each in registers: with
// AVX-512's 32 registers four, with 16 two.
constexpr int kColumnVectors = NORMKERNELS_VECTOR_BYTES == 64 ? 4 : 2;

// f(column, vectors, lanes) over the columns [from, width): blocks of several vectors, then of half
// as many, ..., then the tail.
template <class T, int Vectors, class F>
NORMKERNELS_INLINE void for_each_column_block(int64_t width, F&& f, int64_t from = 0) {
  constexpr int W = Vec<T>::kLanes;
  int64_t j = from;
  for (; j + Vectors * W <= width; j += Vectors * W) f(j, Index<Vectors>{}, Full{});
  if constexpr (Vectors > 1) {
    for_each_column_block<T, Vectors / 2>(width, f, j);
  } else {
    if (j < width) f(j, Index<1>{}, static_cast<int>(width - j));
  }
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SIMD_LOOPS_H_
