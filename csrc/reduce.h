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
#ifndef NORMKERNELS_REDUCE_H_
#define NORMKERNELS_REDUCE_H_

#include "loops.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

constexpr int kSumLanes = 64;
constexpr int kFoldedLanes = 16;
constexpr int64_t kBlock = 1024;
constexpr int64_t kChunk = 4096;

// v[First] + v[First + Step] + ..., by halves: vector i and i + N / 2, until one is left. That is,
// the even ones and the odd ones of these, each by itself.
template <int First = 0, int Step = 1, class V, int N>
NORMKERNELS_INLINE V sum_by_halves(const V (&v)[N]) {
  if constexpr (First + Step >= N) {
    return v[First];
  } else {
    return sum_by_halves<First, 2 * Step>(v) + sum_by_halves<First + Step, 2 * Step>(v);
  }
}

// The 16 float64 lanes that the blocks of a chunk are added to.
struct FoldedLanes {
  static constexpr int kVectors = kFoldedLanes / Vec<double>::kLanes;
  Vec<double> v[kVectors];
};

NORMKERNELS_INLINE void add_lanes(FoldedLanes& to,
                                  const Vec<float> (&lanes)[kFoldedLanes / Vec<float>::kLanes]) {
  unroll<kFoldedLanes / Vec<float>::kLanes>([&](auto j) __attribute__((always_inline)) {
    constexpr int i = decltype(j)::value;
    Vec<double> low, high;
    widen(lanes[i], low, high);
    to.v[2 * i] = to.v[2 * i] + low;
    to.v[2 * i + 1] = to.v[2 * i + 1] + high;
  });
}

NORMKERNELS_INLINE void add_lanes(FoldedLanes& to,
                                  const Vec<double> (&lanes)[FoldedLanes::kVectors]) {
  unroll<FoldedLanes::kVectors>([&](auto j) __attribute__((always_inline)) {
    to.v[decltype(j)::value] = to.v[decltype(j)::value] + lanes[decltype(j)::value];
  });
}

// K sums, each still to be folded.
template <int K>
struct LaneSums {
  Vec<double> v[K];
};

// What a sweep that sums does beside it. Sums are bound by arithmetic, what comes before and after
// them by memory, so one goes on in the shadow of the other. run<kFirst, kCount>(i) is the share of
// the kCount elements from i + kFirst on, out of the 64 from i on.

// Asks for what will be written, or read, next.
template <class T>
struct Ahead {
  const T* p;

  NORMKERNELS_INLINE Ahead operator+(int64_t i) const { return {p + i}; }

  template <int kFirst, int kCount>
  NORMKERNELS_INLINE void run(int64_t i) const {
    constexpr int kLine = 64 / sizeof(T);
    unroll<kCount / kLine>([&](auto k) __attribute__((always_inline)) {
      prefetch_to_l2(p + i + kFirst + decltype(k)::value * kLine);
    });
  }
};

// Nothing.
struct Alone {
  NORMKERNELS_INLINE Alone operator+(int64_t) const { return {}; }
  template <int kFirst, int kCount>
  NORMKERNELS_INLINE void run(int64_t) const {}
};

// term(acc[j], i, lanes) for the vectors of W elements kFirst + j, j < N, of every 64 in [begin,
// end); lanes is Full, or how many of the vector's lanes exist (the others must add zero).
template <int W, int kFirst, class Beside, class Acc, int N, class Term>
NORMKERNELS_INLINE void sweep_lanes(int64_t begin, int64_t end, const Beside& beside, Acc (&acc)[N],
                                    Term&& term) {
  int64_t i = begin;
  for (; i + kSumLanes <= end; i += kSumLanes) {
    beside.template run<kFirst * W, N * W>(i);
    unroll<N>([&](auto j) __attribute__((always_inline)) {
      term(acc[decltype(j)::value], i + (kFirst + decltype(j)::value) * W, Full{});
    });
  }
  if (i == end) return;
  beside.template run<kFirst * W, N * W>(i);
  unroll<N>([&](auto j) __attribute__((always_inline)) {
    const int64_t at = i + (kFirst + decltype(j)::value) * W;
    if (end - at >= W) {
      term(acc[decltype(j)::value], at, Full{});
    } else if (end - at > 0) {
      term(acc[decltype(j)::value], at, static_cast<int>(end - at));
    }
  });
}

// The K sums of n <= kMost elements (kChunk, or less where that is known), but for the fold of the
// last lanes, which serves several rows at a time. term(acc, i, lanes) adds the terms of the
// elements from i on to acc[0..K): Vec<T> each.
//
// At most 8 accumulators are live at a time, so that AVX2's 16 registers hold them beside the
// operands: where 64 lanes of K sums need more, the block is swept several times, over other lanes
// each time. It sits in L1.
template <class T, int K, int kMost, class Beside, class Term>
NORMKERNELS_INLINE LaneSums<K> sum_chunk(int64_t n, const Beside& beside, Term&& term) {
  constexpr int W = Vec<T>::kLanes;
  constexpr int kVectors = (kMost < kSumLanes ? kMost : kSumLanes) / W;
  constexpr int kLive = K <= 1 ? 8 : 4;
  constexpr int kGroup = kVectors < kLive ? kVectors : kLive;

  if (n > kMost) __builtin_unreachable();  // no loop over more is compiled
  FoldedLanes folded[K] = {};
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = n - begin < kBlock ? n : begin + kBlock;
    Vec<T> lanes[K][kVectors];
    unroll<kVectors / kGroup>([&](auto g) __attribute__((always_inline)) {
      constexpr int kFirst = decltype(g)::value * kGroup;
      Vec<T> acc[kGroup][K];
      unroll<kGroup * K>([&](auto j) __attribute__((always_inline)) {
        acc[decltype(j)::value / K][decltype(j)::value % K] = Vec<T>::zero();
      });
      sweep_lanes<W, kFirst>(begin, end, beside, acc, term);
      unroll<kGroup * K>([&](auto j) __attribute__((always_inline)) {
        constexpr int a = decltype(j)::value / K, k = decltype(j)::value % K;
        lanes[k][kFirst + a] = acc[a][k];
      });
    });
    unroll<K>([&](auto k) __attribute__((always_inline)) {
      constexpr int kSixteen = kFoldedLanes / W;
      Vec<T> sixteen[kSixteen];
      unroll<kSixteen>([&](auto i) __attribute__((always_inline)) {
        sixteen[decltype(i)::value] =
            sum_by_halves<decltype(i)::value, kSixteen>(lanes[decltype(k)::value]);
      });
      add_lanes(folded[decltype(k)::value], sixteen);
    });
  }
  LaneSums<K> sums;
  unroll<K>([&](auto k) __attribute__((always_inline)) {
    sums.v[decltype(k)::value] = sum_by_halves(folded[decltype(k)::value].v);
  });
  return sums;
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_REDUCE_H_
