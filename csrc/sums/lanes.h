// Canonical sums along a row: the order of the additions is part of the result, so it is fixed here
// once and for all.
//
// - lane: 64 of them, lane = index mod 64. At the end they are folded by halves: lane i and
//   i + 32, then i and i + 16, until one is left.
// - chunk: kChunk = 4096 elements of a row. Chunks are combined in index order.
//
// Vectors of 2 to 16 lanes all do exactly this, and a lane that a short row leaves empty adds an
// exact zero. What statistics depend on is summed in twice the precision of the data (moments.h).
// The sums of gradients, whose terms are rounded anyway, are summed in the compute type, by
// Blanchard, Higham and Mary's blocks:
//
// - block: kBlock = 1024 elements of a chunk, at most 16 additions one after the other in a lane;
//   64 lanes folded to 16 in the compute type, and these added, in float64, to those of the chunk.
//
// The error of a sum of terms t is then at most (16 + 2) u sum|t|.
#ifndef NORMKERNELS_SUMS_LANES_H_
#define NORMKERNELS_SUMS_LANES_H_

#include "simd/extents.h"
#include "simd/loops.h"

namespace normkernels::NORMKERNELS_ISA {

constexpr int kSumLanes = 64;
constexpr int kFoldedLanes = 16;
constexpr int64_t kRun = 16;  // additions one after the other in the compute type
constexpr int64_t kBlock = kRun * kSumLanes;
constexpr int64_t kChunk = 4096;
// What is too long for one core is cut into spans, the same for one thread as for many.
constexpr int64_t kMaxSpans = 64;
// Elements. 256 KiB of float32: a thread's start-up is small against it.
constexpr int64_t kMinSpan = 16 * kChunk;

// v[0] + v[1] + ..., by halves: vector i and i + N / 2, until one is left.
template <class V, int N>
NORMKERNELS_INLINE V sum_by_halves(const V (&v)[N]) {
  if constexpr (N == 1) {
    return v[0];
  } else {
    V half[N / 2];
#pragma GCC unroll 16
    for (int i = 0; i < N / 2; ++i) half[i] = v[i] + v[i + N / 2];
    return sum_by_halves(half);
  }
}

// sums + a, widened.
NORMKERNELS_INLINE void add_widened(Vec<double>* sums, Vec<float> a) {
  Vec<double> low, high;
  widen(a, low, high);
  sums[0] = sums[0] + low;
  sums[1] = sums[1] + high;
}
NORMKERNELS_INLINE void add_widened(Vec<double>* sums, Vec<double> a) { sums[0] = sums[0] + a; }

// a, widened.
NORMKERNELS_INLINE void set_widened(Vec<double>* sums, Vec<float> a) {
  Vec<double> low, high;
  widen(a, low, high);
  sums[0] = low;
  sums[1] = high;
}
NORMKERNELS_INLINE void set_widened(Vec<double>* sums, Vec<double> a) { sums[0] = a; }

// K sums, each still to be folded.
template <int K>
struct LaneSums {
  Vec<double> v[K];
};

// Two arrays that are read together, to be asked for.
template <class T>
struct AheadOfTwo {
  const T *a, *b;

  template <int N>
  NORMKERNELS_INLINE void operator()(int64_t i, Index<N>) const {
    prefetch_lines<N>(a + i);
    prefetch_lines<N>(b + i);
  }
};

// The K sums of lanes, by halves until kFoldedLanes are left, widened and again by halves.
template <class T, int K>
struct FoldedLanes {
  static constexpr int W = Vec<T>::kLanes, kVectors = kFoldedLanes / W;
  static constexpr int kDoubles = kFoldedLanes / Vec<double>::kLanes;
  Vec<double> v[K][kDoubles];

  template <int kAll>
  NORMKERNELS_INLINE void set(const Vec<T> (&lanes)[K][kAll]) {
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) {
#pragma GCC unroll 16
      for (int i = 0; i < kVectors; ++i) {
        Vec<T> of_lane[kAll / kVectors];
#pragma GCC unroll 16
        for (int j = 0; j < kAll / kVectors; ++j) of_lane[j] = lanes[k][i + j * kVectors];
        set_widened(&v[k][i * kDoubles / kVectors], sum_by_halves(of_lane));
      }
    }
  }
  NORMKERNELS_INLINE LaneSums<K> sums() const {
    LaneSums<K> sums;
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) sums.v[k] = sum_by_halves(v[k]);
    return sums;
  }
};

// term(acc, i, lanes) for the vector at i, if any of it is before `end`.
template <class T, int K, class Term>
NORMKERNELS_INLINE void add_last_term(Vec<T> (&acc)[K], int64_t i, int64_t end, const Term& term) {
  constexpr int W = Vec<T>::kLanes;
  if (end - i >= W) {
    term(acc, i, Full{});
  } else if (end - i > 0) {
    term(acc, i, static_cast<int>(end - i));
  }
}

// The K sums of n elements, no more than kChunk, but for the fold of the last lanes, which serves
// several rows at a time. term(acc, i, lanes) adds the terms of the vector from element i on to
// acc[0..K); lanes is Full, or how many of its lanes exist (the others must add zero). ahead(i,
// Index<N>) asks for elements [i, i + N) of the next block, or row.
//
// 64 lanes of three sums need 24 registers on AVX2, which has 16: a block, which sits in L1, is
// swept several times, over some of the lanes each time. The processor's own prefetcher does not
// see through that order, so the next block is asked for in the order of memory.
template <class T, int K, class Term, class Ahead>
NORMKERNELS_INLINE LaneSums<K> sum_chunk(int64_t n, const Term& term, const Ahead& ahead) {
  constexpr int W = Vec<T>::kLanes, kVectors = kSumLanes / W;
  constexpr int kLive = NORMKERNELS_VECTOR_BYTES == 64 ? 4 : 2;
  FoldedLanes<T, K> folded;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = part_end(begin, kBlock, n);
    int64_t next = end;
    Vec<T> lanes[K][kVectors];
    for (int first = 0; first < kVectors; first += kLive) {
      Vec<T> acc[kLive][K] = {};
      int64_t i = begin + first * W;
      for (; i - first * W + kSumLanes <= end; i += kSumLanes) {
        ahead(next, Index<kLive * W>{});
        next += kLive * W;
#pragma GCC unroll 16
        for (int j = 0; j < kLive; ++j) term(acc[j], i + j * W, Full{});
      }
#pragma GCC unroll 16
      for (int j = 0; j < kLive; ++j, i += W) add_last_term<T>(acc[j], i, end, term);
#pragma GCC unroll 16
      for (int j = 0; j < kLive; ++j) {
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k) lanes[k][first + j] = acc[j][k];
      }
    }
    FoldedLanes<T, K> of_block;
    FoldedLanes<T, K>& to = begin == 0 ? folded : of_block;
    to.set(lanes);
    if (begin == 0) continue;
#pragma GCC unroll 64
    for (int i = 0; i < K * folded.kDoubles; ++i) {
      Vec<double>& sum = folded.v[i / folded.kDoubles][i % folded.kDoubles];
      sum = sum + of_block.v[i / folded.kDoubles][i % folded.kDoubles];
    }
  }
  return folded.sums();
}

// The same of no more than kLanes elements.
template <class T, int K, int kLanes, class Term>
NORMKERNELS_INLINE LaneSums<K> sum_few(int64_t n, const Term& term) {
  constexpr int W = Vec<T>::kLanes, kVectors = kLanes / W;
  Vec<T> lanes[K][kVectors];
#pragma GCC unroll 16
  for (int j = 0; j < kVectors; ++j) {
    Vec<T> acc[K] = {};
    add_last_term<T>(acc, j * W, n, term);
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) lanes[k][j] = acc[k];
  }
  FoldedLanes<T, K> folded;
  folded.set(lanes);
  return folded.sums();
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SUMS_LANES_H_
