// Canonical sums: the order of the additions is part of the result, so it is fixed here once and
// for all.
//
// - chunk: kChunk = 4096 elements of a row, which stay in L1 between sweeps. Chunks are combined in
//   index order, in float64.
// - block: kBlock = 1024 elements of a chunk, summed in the compute type over 64 lanes, lane =
// index
//   mod 64: at most 16 additions one after the other.
// - fold: the 64 lanes of a block to 16 by halves (i and i + 32, then i and i + 16), and these, in
//   float64, onto the 16 lanes of the chunk; at the chunk's end 16 to 8, 4, 2, 1, again by halves.
//
// Vectors of 4, 8 and 16 lanes all do exactly this, and a lane that a short row leaves empty adds
// an exact zero. This is Blanchard, Higham and Mary's blocked summation with a float64 outer sum:
// the error of a sum of terms t is at most (16 + 2) u sum|t|.
#ifndef NORMKERNELS_REDUCE_H_
#define NORMKERNELS_REDUCE_H_

#include "simd.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

constexpr int kSumLanes = 64;
constexpr int kFoldedLanes = 16;
constexpr int64_t kBlock = 1024;
constexpr int64_t kChunk = 4096;

// The 16 float64 lanes that the blocks of a chunk are added to.
struct FoldedLanes {
  static constexpr int kVectors = kFoldedLanes / Vec<double>::kLanes;
  Vec<double> v[kVectors];

  // By halves: vectors i and i + half until one is left, then its lanes.
  NORMKERNELS_INLINE double total() const { return fold(sum_of<0, 1>()); }

 private:
  // v[First] + v[First + Step] + ...: the even and the odd ones of these, each by itself.
  template <int First, int Step>
  NORMKERNELS_INLINE Vec<double> sum_of() const {
    if constexpr (First + Step >= kVectors) {
      return v[First];
    } else {
      return sum_of<First, 2 * Step>() + sum_of<First + Step, 2 * Step>();
    }
  }
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

template <int K>
struct Sums {
  double v[K];
};

// The K sums of a chunk of n <= kChunk elements. term(acc, i, lanes) adds the terms of the elements
// from i on to acc[0..K): Vec<T> each; lanes is Full, or how many of the vector's lanes exist (the
// others must add zero).
//
// At most 8 accumulators are live at a time, so that AVX2's 16 registers hold them beside the
// operands: where 64 lanes of K sums need more, the block is swept several times, over other lanes
// each time. It sits in L1.
template <class T, int K, class Term>
NORMKERNELS_INLINE Sums<K> sum_chunk(int64_t n, Term&& term) {
  constexpr int W = Vec<T>::kLanes;
  constexpr int kVectors = kSumLanes / W;
  constexpr int kLive = K <= 1 ? 8 : 4;
  constexpr int kGroup = kVectors < kLive ? kVectors : kLive;

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
      int64_t i = begin;
      for (; i + kSumLanes <= end; i += kSumLanes) {
        unroll<kGroup>([&](auto j) __attribute__((always_inline)) {
          constexpr int kAt = (kFirst + decltype(j)::value) * W;
          term(acc[decltype(j)::value], i + kAt, Full{});
        });
      }
      if (i < end) {
        unroll<kGroup>([&](auto j) __attribute__((always_inline)) {
          constexpr int kAt = (kFirst + decltype(j)::value) * W;
          const int64_t left = end - i - kAt;
          if (left >= W) {
            term(acc[decltype(j)::value], i + kAt, Full{});
          } else if (left > 0) {
            term(acc[decltype(j)::value], i + kAt, static_cast<int>(left));
          }
        });
      }
      unroll<kGroup * K>([&](auto j) __attribute__((always_inline)) {
        constexpr int a = decltype(j)::value / K, k = decltype(j)::value % K;
        lanes[k][kFirst + a] = acc[a][k];
      });
    });
    unroll<K>([&](auto k) __attribute__((always_inline)) {
      auto& l = lanes[decltype(k)::value];
      constexpr int kQuarter = kVectors / 4;
      Vec<T> sixteen[kQuarter];
      unroll<kQuarter>([&](auto q) __attribute__((always_inline)) {
        constexpr int i = decltype(q)::value;
        sixteen[i] = (l[i] + l[i + 2 * kQuarter]) + (l[i + kQuarter] + l[i + 3 * kQuarter]);
      });
      add_lanes(folded[decltype(k)::value], sixteen);
    });
  }
  Sums<K> sums;
  unroll<K>([&](auto k) __attribute__((always_inline)) {
    sums.v[decltype(k)::value] = folded[decltype(k)::value].total();
  });
  return sums;
}

// ---- Moments ------------------------------------------------------------------------

// Mean (hi + lo, so that a float64 row keeps its digits too) and m2 = sum of (x - mean)^2 of
// `count` elements.
struct Moments {
  double count, hi, lo, m2;
};

NORMKERNELS_INLINE Moments moments_about(double count, double pivot, double sum,
                                         double sum_squares) {
  const double shift = sum / count;
  const double hi = pivot + shift;
  const double m2 = sum_squares - sum * shift;
  return {count, hi, shift - (hi - pivot), m2 < 0 ? 0 : m2};
}

// Chan, Golub and LeVeque's merge. NaN stays NaN.
NORMKERNELS_INLINE Moments merge(const Moments& a, const Moments& b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  const double count = a.count + b.count;
  const double delta = (b.hi - a.hi) + (b.lo - a.lo);
  const double step = delta * (b.count / count);
  const double hi = a.hi + step;
  const double rest = hi - a.hi;
  const double lo = (a.hi - (hi - rest)) + (step - rest) + a.lo;
  return {count, hi, lo, a.m2 + b.m2 + delta * delta * (a.count * (b.count / count))};
}

// The moments of scale * x[0..n), n <= kChunk, scale a power of two, in two sweeps: a first mean,
// then everything about it. A first mean that is off by a few ulp of a large offset costs nothing:
// its error is the sum of the differences, which are exact.
template <class T>
NORMKERNELS_INLINE T first_mean(const T* x, int64_t n, T scale) {
  const Vec<T> s = Vec<T>::all(scale);
  const Sums<1> first_sum = sum_chunk<T, 1>(
      n, [=](Vec<T>(&acc)[1], int64_t i, auto lanes)
             __attribute__((always_inline)) { acc[0] = fma(load(x + i, lanes), s, acc[0]); });
  return static_cast<T>(first_sum.v[0] / static_cast<double>(n));
}

template <class T>
NORMKERNELS_INLINE Moments moments_about(const T* x, int64_t n, T scale, T pivot) {
  const Vec<T> s = Vec<T>::all(scale);
  const Vec<T> p = Vec<T>::all(pivot);
  const Sums<2> centred = sum_chunk<T, 2>(
      n, [=](Vec<T>(&acc)[2], int64_t i, auto lanes) __attribute__((always_inline)) {
        const Vec<T> d = first(fma(load(x + i, lanes), s, -p), lanes);
        acc[0] = acc[0] + d;
        acc[1] = fma(d, d, acc[1]);
      });
  return moments_about(static_cast<double>(n), static_cast<double>(pivot), centred.v[0],
                       centred.v[1]);
}

template <class T>
NORMKERNELS_INLINE Moments chunk_moments(const T* x, int64_t n, T scale) {
  return moments_about(x, n, scale, first_mean(x, n, scale));
}

// Moments of the chunks that begin in [begin, end), merged in index order.
template <class T>
Moments range_moments(const T* x, int64_t begin, int64_t end, T scale) {
  Moments all = {0, 0, 0, 0};
  for (int64_t i = begin; i < end; i += kChunk) {
    all = merge(all, chunk_moments(x + i, end - i < kChunk ? end - i : kChunk, scale));
  }
  return all;
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_REDUCE_H_
