// The sums of planes for their backward: what row_gradient.h sums of rows, in the same order, of
// rows that need no scale and whose gamma is one value, which their factors have.
#ifndef NORMKERNELS_NORM_PLANE_SUMS_H_
#define NORMKERNELS_NORM_PLANE_SUMS_H_

#include <type_traits>

#include "norm/row_gradient.h"

namespace normkernels::NORMKERNELS_ISA {

// g xhat, g and xhat of a vector, or their sums.
template <class T>
struct PlaneTerms {
  Vec<T> v[3];

  friend NORMKERNELS_INLINE PlaneTerms operator+(const PlaneTerms& a, const PlaneTerms& b) {
    return {{a.v[0] + b.v[0], a.v[1] + b.v[1], a.v[2] + b.v[2]}};
  }
};

// The factors of some planes: of each, or, where planes of a group share them, of the first alone.
template <class T>
struct PlaneFactors {
  Factors<T> table;
  int64_t each;  // 1 or 0

  NORMKERNELS_INLINE Standard<T> standard(int64_t i) const { return table.standard(i * each); }
  NORMKERNELS_INLINE RowGradient<T> gradient(int64_t i) const { return table.gradient(i * each); }
  NORMKERNELS_INLINE PlaneFactors from(int64_t i) const { return {table.from(i * each), each}; }
  // Whether none of these planes needs a scale: nearly always.
  NORMKERNELS_INLINE bool unscaled(int64_t planes) const {
    const T* const scale = table[Factors<T>::kScale];
    bool all = scale[0] == 1;
    for (int64_t i = each; i < each * planes; ++i) all &= scale[i] == 1;
    return all;
  }
};

template <class T>
struct SummedPlane {
  const T *dy, *x;
  Vec<T> centre, rstd, shift;

  NORMKERNELS_INLINE SummedPlane(const T* dy_of, const T* x_of, const Standard<T>& of)
      : dy(dy_of),
        x(x_of),
        centre(Vec<T>::all(of.centre)),
        rstd(Vec<T>::all(of.rstd)),
        shift(Vec<T>::all(of.shift)) {}

  // -(centre - x): x need not be in a register before, and what it changes, the sign of a zero, is
  // lost in a sum.
  template <class Lanes>
  NORMKERNELS_INLINE Vec<T> xhat(const T* at, Lanes lanes) const {
    return first(fma(-(centre - load(at, lanes)), rstd, shift), lanes);
  }
  template <class Lanes>
  NORMKERNELS_INLINE PlaneTerms<T> terms(int64_t i, Lanes lanes) const {
    const Vec<T> g = load(dy + i, lanes), of_x = xhat(x + i, lanes);
    return {{g * of_x, g, of_x}};
  }
  // Of vector i of n elements.
  NORMKERNELS_INLINE PlaneTerms<T> vector(int i, int n) const {
    constexpr int W = Vec<T>::kLanes;
    return n >= (i + 1) * W ? terms(i * W, Full{}) : terms(i * W, n - i * W);
  }
  template <class Lanes>
  NORMKERNELS_INLINE void add(Vec<T> (&sums)[3], const T* dy_at, const T* x_at, Lanes lanes) const {
    const Vec<T> g = load(dy_at, lanes), of_x = xhat(x_at, lanes);
    sums[0] = multiply_add(g, of_x, sums[0]);
    sums[1] = sums[1] + g;
    sums[2] = sums[2] + of_x;
  }
};

// Sums of some elements, folded to kFoldedLanes.
template <class T>
struct FoldedSums {
  static constexpr int kVectors = kFoldedLanes / Vec<T>::kLanes;
  PlaneTerms<T> of[kVectors];
};

// The same in memory, of a few planes: of several blocks, which are added in float64, or of one.
template <class T, bool kBlocks>
struct StoredSums {
  static constexpr int W = Vec<double>::kLanes;
  using Stored = std::conditional_t<kBlocks, double, T>;
  alignas(kLineBytes) Stored lanes[W][3][kFoldedLanes];

  // Of block `block`, in index order.
  NORMKERNELS_INLINE void add(int64_t plane, int64_t block, const FoldedSums<T>& sums) {
#pragma GCC unroll 4
    for (int k = 0; k < 3; ++k) {
#pragma GCC unroll 16
      for (int i = 0; i < FoldedSums<T>::kVectors; ++i) {
        Stored* const at = lanes[plane][k] + i * Vec<T>::kLanes;
        if constexpr (kBlocks) {
          add_wide(at, block, sums.of[i].v[k]);
        } else {
          store(at, sums.of[i].v[k]);
        }
      }
    }
  }

  // Sum k of each plane.
  NORMKERNELS_INLINE Vec<double> sums(int k) const {
    constexpr int kVectors = kFoldedLanes / W;
    Vec<double> of_plane[W];
#pragma GCC unroll 8
    for (int plane = 0; plane < W; ++plane) {
      Vec<double> wide[kVectors];
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) wide[i] = load_widened(lanes[plane][k] + i * W, Full{});
      of_plane[plane] = sum_by_halves(wide);
    }
    return Vec<double>::zero() + fold_rows(of_plane);  // 0 + x: no negative zero
  }

 private:
  static NORMKERNELS_INLINE void add_wide(double* at, int64_t block, Vec<T> a) {
    constexpr int kWide = Vec<T>::kLanes / W;
    Vec<double> wide[kWide];
    set_widened(wide, a);
#pragma GCC unroll 2
    for (int j = 0; j < kWide; ++j)
      store(at + j * W, block == 0 ? wide[j] : load(at + j * W) + wide[j]);
  }
};

// Of n <= kSumLanes elements: what is not there is not added. A plane of 8 x 8 takes two thirds of
// the time that it takes with accumulators.
template <class T>
NORMKERNELS_INLINE FoldedSums<T> sums_of_few(const SummedPlane<T>& plane, int n) {
  constexpr int W = Vec<T>::kLanes, V = FoldedSums<T>::kVectors;
  FoldedSums<T> sums;
#pragma GCC unroll 16
  for (int i = 0; i < V; ++i) {
    const int left = n - i * W;
    PlaneTerms<T> sum = {};
    if (left > 0) sum = plane.vector(i, n);
    if (left > 2 * kFoldedLanes) sum = sum + plane.vector(i + 2 * V, n);
    if (left > kFoldedLanes) {
      PlaneTerms<T> more = plane.vector(i + V, n);
      if (left > 3 * kFoldedLanes) more = more + plane.vector(i + 3 * V, n);
      sum = sum + more;
    }
    sums.of[i] = sum;
  }
  return sums;
}

// Of elements [begin, end), no more than a block. With AVX2's 16 registers, in two sweeps: each
// over the four vectors of a run of 64 that are added up at its end.
template <class T>
NORMKERNELS_INLINE FoldedSums<T> sums_of_block(const SummedPlane<T>& plane, int64_t begin,
                                               int64_t end) {
  constexpr int W = Vec<T>::kLanes, V = FoldedSums<T>::kVectors, kLive = kSumLanes / kFoldedLanes;
  const int left = static_cast<int>(end - begin) % kSumLanes;
  const int64_t whole = end - left;
  const T *dy_rest = plane.dy + whole, *x_rest = plane.x + whole;
  FoldedSums<T> sums;
#pragma GCC unroll 16
  for (int i = 0; i < V; ++i) {
    // What comes first is added to nothing: planes of 200 to 300 elements take 0.96 of the time.
    PlaneTerms<T> sum[kLive] = {};
    int64_t at = begin;
    if (at != whole) {
#pragma GCC unroll 4
      for (int j = 0; j < kLive; ++j) sum[j] = plane.terms(at + i * W + j * kFoldedLanes, Full{});
      at += kSumLanes;
    }
    for (; at != whole; at += kSumLanes) {
      const T *dy = plane.dy + at, *x = plane.x + at;
#pragma GCC unroll 4
      for (int j = 0; j < kLive; ++j)
        plane.add(sum[j].v, dy + i * W + j * kFoldedLanes, x + i * W + j * kFoldedLanes, Full{});
    }
    if (left != 0) {
#pragma GCC unroll 4
      for (int j = 0; j < kLive; ++j) {
        const int at = i * W + j * kFoldedLanes;
        if (left >= at + W) {
          plane.add(sum[j].v, dy_rest + at, x_rest + at, Full{});
        } else if (left > at) {
          plane.add(sum[j].v, dy_rest + at, x_rest + at, left - at);
        }
      }
    }
    sums.of[i] = (sum[0] + sum[2]) + (sum[1] + sum[3]);
  }
  return sums;
}

enum class PlaneSize { kFew, kBlock, kChunk };

// Of planes of n elements, no more than kSumLanes, a block or a chunk; into sums[0..3][plane]. A
// few planes are summed, and then folded together: one after the other they would wait for each
// other.
template <class T, PlaneSize kSize>
__attribute__((noinline)) void short_plane_sums(const Rows<const T>& dy, const Rows<const T>& x,
                                                int64_t planes, int64_t n,
                                                const PlaneFactors<T>& factors, SumTable sums) {
  constexpr int W = Vec<double>::kLanes;
  const int64_t blocks = parts_of(n, kBlock);
  StoredSums<T, kSize == PlaneSize::kChunk> folded;
  for (int64_t begin = 0; begin < planes; begin += W) {
    for (int64_t i = 0; i < W; ++i) {
      if (begin + i >= planes) {
        folded.add(i, 0, {});
        continue;
      }
      const SummedPlane<T> plane(dy[begin + i], x[begin + i], factors.standard(begin + i));
      if constexpr (kSize == PlaneSize::kFew) {
        folded.add(i, 0, sums_of_few(plane, static_cast<int>(n)));
      } else if constexpr (kSize == PlaneSize::kBlock) {
        folded.add(i, 0, sums_of_block(plane, 0, n));
      } else {
        for (int64_t k = 0; k < blocks; ++k)
          folded.add(i, k, sums_of_block(plane, k * kBlock, part_end(k * kBlock, kBlock, n)));
      }
    }
    for (int k = 0; k < 3; ++k) store(sums[k] + begin, folded.sums(k));
  }
}

// Of a plane longer than a chunk, with factors of its own: chunks within spans, spans in index
// order.
template <class T>
__attribute__((noinline)) void long_plane_sums(const T* dy, const T* x, int64_t n,
                                               const PlaneFactors<T>& factors,
                                               const Executor& executor, SumTable sums) {
  double of_span[kMaxSpans][3];
  const int64_t span = span_of(n);
  for_each_span(n, executor, [&](int64_t first, int64_t stop) {
    double all[3] = {0, 0, 0};
    for (int64_t i = first; i < stop; i += kChunk) {
      double chunk[3][Vec<double>::kLanes];
      short_plane_sums<T, PlaneSize::kChunk>({dy + i, 0}, {x + i, 0}, 1, smaller(kChunk, stop - i),
                                             factors, {chunk[0], Vec<double>::kLanes});
      for (int k = 0; k < 3; ++k) all[k] += chunk[k][0];
    }
    memcpy(of_span[first / span], all, sizeof(all));
  });
  double all[3] = {0, 0, 0};
  for (int64_t i = 0; i < spans_in(n); ++i) {
    for (int k = 0; k < 3; ++k) all[k] += of_span[i][k];
  }
  for (int k = 0; k < 3; ++k) *sums[k] = all[k];
}

// Vectors long enough for a run's to stay in registers, in one sweep or two. Others are not worth
// the code.
template <class T>
constexpr bool kSumsInRegisters = Vec<T>::kLanes >= 8;

// Of planes of any length but 1, no more than kRowsTogether. Reads dy and x once.
template <class T>
NORMKERNELS_INLINE void sums_of_planes(const Rows<const T>& dy, const Rows<const T>& x,
                                       int64_t planes, int64_t n, const PlaneFactors<T>& factors,
                                       const Executor& executor, SumTable sums) {
  if constexpr (kSumsInRegisters<T>) {
    if (__builtin_expect(factors.unscaled(planes), 1)) {
      if (n <= kSumLanes)
        return short_plane_sums<T, PlaneSize::kFew>(dy, x, planes, n, factors, sums);
      if (n <= kBlock)
        return short_plane_sums<T, PlaneSize::kBlock>(dy, x, planes, n, factors, sums);
      if (n <= kChunk)
        return short_plane_sums<T, PlaneSize::kChunk>(dy, x, planes, n, factors, sums);
      for (int64_t i = 0; i < planes; ++i)
        long_plane_sums(dy[i], x[i], n, factors.from(i), executor, sums.from(i));
      return;
    }
  }
  gradient_sums<T>({dy, x, gamma_of<T>(nullptr)}, planes, n, factors.table, executor, sums);
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_PLANE_SUMS_H_
