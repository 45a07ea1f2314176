// The sums of rows for their backward, of g xhat, g and xhat, of rows that need no scale: nearly
// all. What short_row_sums of row_gradient.h sums, in the same order, with all that is added up in
// registers. Planes are rows whose gamma is one value, which their factors have.
#ifndef NORMKERNELS_NORM_UNSCALED_SUMS_H_
#define NORMKERNELS_NORM_UNSCALED_SUMS_H_

#include <type_traits>

#include "norm/parameter.h"
#include "norm/row_statistics.h"

namespace normkernels::NORMKERNELS_ISA {

// Vectors long enough for a run's to stay in registers, in one sweep or two. Others are not worth
// the code.
template <class T>
constexpr bool kSumsInRegisters = Vec<T>::kLanes >= 8;

// Rows with a gamma up to this length. Measured (Zen 4, in L2), the whole backward of rows of 80 to
// 160 elements takes 0.81 to 0.92 of the time, of 300 to 4096 0.9 to 0.97 with AVX-512, but 1.02 to
// 1.1 with AVX2: its registers do not hold the two sweeps' gamma as well.
constexpr int64_t kMostWithGamma = NORMKERNELS_VECTOR_BYTES < 64 ? 6 * kSumLanes : kChunk;

// Rows as the backward's sums read them.
template <class T>
struct GradientRows {
  Rows<const T> dy, x;
  Parameter<T> gamma;

  NORMKERNELS_INLINE GradientRows at(int64_t row, int64_t column) const {
    return {dy.at(row, column), x.at(row, column), gamma.from(column)};
  }
};

// g xhat, g and xhat of a vector, or their sums.
template <class T>
struct SumTerms {
  Vec<T> v[3];

  friend NORMKERNELS_INLINE SumTerms operator+(const SumTerms& a, const SumTerms& b) {
    return {{a.v[0] + b.v[0], a.v[1] + b.v[1], a.v[2] + b.v[2]}};
  }
};

// The factors of some rows: of each, or, where planes of a group share them, of the first alone.
template <class T>
struct SharedFactors {
  Factors<T> table;
  int64_t each;  // 1 or 0

  NORMKERNELS_INLINE Standard<T> standard(int64_t i) const { return table.standard(i * each); }
  NORMKERNELS_INLINE RowGradient<T> gradient(int64_t i) const { return table.gradient(i * each); }
  NORMKERNELS_INLINE SharedFactors from(int64_t i) const { return {table.from(i * each), each}; }
  // Whether none of these rows needs a scale: nearly always.
  NORMKERNELS_INLINE bool unscaled(int64_t rows) const {
    const T* const scale = table[Factors<T>::kScale];
    bool all = scale[0] == 1;
    for (int64_t i = each; i < each * rows; ++i) all &= scale[i] == 1;
    return all;
  }
};

// A row, whose gamma is not read where there is none.
template <class T, bool kGamma>
struct SummedRow {
  const T *dy, *x;
  Parameter<T> gamma;
  Vec<T> centre, rstd, shift;

  NORMKERNELS_INLINE SummedRow(const GradientRows<T>& rows, int64_t i, const Standard<T>& of)
      : dy(rows.dy[i]),
        x(rows.x[i]),
        gamma(rows.gamma),
        centre(Vec<T>::all(of.centre)),
        rstd(Vec<T>::all(of.rstd)),
        shift(Vec<T>::all(of.shift)) {}

  template <class Lanes>
  NORMKERNELS_INLINE Vec<T> g(int64_t i, Lanes lanes) const {
    const Vec<T> of_dy = load(dy + i, lanes);
    if constexpr (kGamma) return of_dy * load(gamma.at(i), lanes);
    return of_dy;
  }
  // -(centre - x): x need not be in a register before, and what it changes, the sign of a zero, is
  // lost in a sum.
  template <class Lanes>
  NORMKERNELS_INLINE Vec<T> xhat(int64_t i, Lanes lanes) const {
    return first(fma(-(centre - load(x + i, lanes)), rstd, shift), lanes);
  }
  template <class Lanes>
  NORMKERNELS_INLINE SumTerms<T> terms(int64_t i, Lanes lanes) const {
    const Vec<T> of_g = g(i, lanes), of_x = xhat(i, lanes);
    return {{of_g * of_x, of_g, of_x}};
  }
  // Of vector i of n elements.
  NORMKERNELS_INLINE SumTerms<T> vector(int i, int n) const {
    constexpr int W = Vec<T>::kLanes;
    return n >= (i + 1) * W ? terms(i * W, Full{}) : terms(i * W, n - i * W);
  }
  template <class Lanes>
  NORMKERNELS_INLINE void add(Vec<T> (&sums)[3], int64_t i, Lanes lanes) const {
    const Vec<T> of_g = g(i, lanes), of_x = xhat(i, lanes);
    sums[0] = multiply_add(of_g, of_x, sums[0]);
    sums[1] = sums[1] + of_g;
    sums[2] = sums[2] + of_x;
  }
};

// Sums of some elements, folded to kFoldedLanes.
template <class T>
struct FoldedSums {
  static constexpr int kVectors = kFoldedLanes / Vec<T>::kLanes;
  SumTerms<T> of[kVectors];
};

// The same in memory, of a few rows: of several blocks, which are added in float64, or of one.
template <class T, bool kBlocks>
struct StoredSums {
  static constexpr int W = Vec<double>::kLanes;
  using Stored = std::conditional_t<kBlocks, double, T>;
  alignas(kLineBytes) Stored lanes[W][3][kFoldedLanes];

  // Of block `block`, in index order.
  NORMKERNELS_INLINE void add(int64_t row, int64_t block, const FoldedSums<T>& sums) {
#pragma GCC unroll 4
    for (int k = 0; k < 3; ++k) {
#pragma GCC unroll 16
      for (int i = 0; i < FoldedSums<T>::kVectors; ++i) {
        Stored* const at = lanes[row][k] + i * Vec<T>::kLanes;
        if constexpr (kBlocks) {
          add_wide(at, block, sums.of[i].v[k]);
        } else {
          store(at, sums.of[i].v[k]);
        }
      }
    }
  }

  // Sum k of each row.
  NORMKERNELS_INLINE Vec<double> sums(int k) const {
    constexpr int kVectors = kFoldedLanes / W;
    Vec<double> of_row[W];
#pragma GCC unroll 8
    for (int row = 0; row < W; ++row) {
      Vec<double> wide[kVectors];
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) wide[i] = load_widened(lanes[row][k] + i * W, Full{});
      of_row[row] = sum_by_halves(wide);
    }
    return Vec<double>::zero() + fold_rows(of_row);  // 0 + x: no negative zero
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
template <class T, bool kGamma>
NORMKERNELS_INLINE FoldedSums<T> sums_of_few(const SummedRow<T, kGamma>& row, int n) {
  constexpr int W = Vec<T>::kLanes, V = FoldedSums<T>::kVectors;
  FoldedSums<T> sums;
#pragma GCC unroll 16
  for (int i = 0; i < V; ++i) {
    const int left = n - i * W;
    SumTerms<T> sum = {};
    if (left > 0) sum = row.vector(i, n);
    if (left > 2 * kFoldedLanes) sum = sum + row.vector(i + 2 * V, n);
    if (left > kFoldedLanes) {
      SumTerms<T> more = row.vector(i + V, n);
      if (left > 3 * kFoldedLanes) more = more + row.vector(i + 3 * V, n);
      sum = sum + more;
    }
    sums.of[i] = sum;
  }
  return sums;
}

// Of elements [begin, end), no more than a block. With AVX2's 16 registers, in two sweeps: each
// over the four vectors of a run of 64 that are added up at its end.
template <class T, bool kGamma>
NORMKERNELS_INLINE FoldedSums<T> sums_of_block(const SummedRow<T, kGamma>& row, int64_t begin,
                                               int64_t end) {
  constexpr int W = Vec<T>::kLanes, V = FoldedSums<T>::kVectors, kLive = kSumLanes / kFoldedLanes;
  const int left = static_cast<int>(end - begin) % kSumLanes;
  const int64_t whole = end - left;
  FoldedSums<T> sums;
#pragma GCC unroll 16
  for (int i = 0; i < V; ++i) {
    // What comes first is added to nothing: planes of 200 to 300 elements take 0.96 of the time.
    SumTerms<T> sum[kLive] = {};
    int64_t at = begin;
    if (at != whole) {
#pragma GCC unroll 4
      for (int j = 0; j < kLive; ++j) sum[j] = row.terms(at + i * W + j * kFoldedLanes, Full{});
      at += kSumLanes;
    }
    for (; at != whole; at += kSumLanes) {
#pragma GCC unroll 4
      for (int j = 0; j < kLive; ++j) row.add(sum[j].v, at + i * W + j * kFoldedLanes, Full{});
    }
    if (left != 0) {
#pragma GCC unroll 4
      for (int j = 0; j < kLive; ++j) {
        const int at = i * W + j * kFoldedLanes;
        if (left >= at + W) {
          row.add(sum[j].v, whole + at, Full{});
        } else if (left > at) {
          row.add(sum[j].v, whole + at, left - at);
        }
      }
    }
    sums.of[i] = (sum[0] + sum[2]) + (sum[1] + sum[3]);
  }
  return sums;
}

enum class RowSize { kFew, kBlock, kChunk };

// Of rows of n elements, no more than kSumLanes, a block or a chunk; into sums[0..3][row]. A few
// rows are summed, and then folded together: one after the other they would wait for each other.
template <class T, RowSize kSize, bool kGamma>
__attribute__((noinline)) void sums_of_size(const GradientRows<T>& r, int64_t rows, int64_t n,
                                            const SharedFactors<T>& factors, SumTable sums) {
  constexpr int W = Vec<double>::kLanes;
  const int64_t blocks = parts_of(n, kBlock);
  StoredSums<T, kSize == RowSize::kChunk> folded;
  for (int64_t begin = 0; begin < rows; begin += W) {
    for (int64_t i = 0; i < W; ++i) {
      if (begin + i >= rows) {
        folded.add(i, 0, {});
        continue;
      }
      const SummedRow<T, kGamma> row(r, begin + i, factors.standard(begin + i));
      if constexpr (kSize == RowSize::kFew) {
        folded.add(i, 0, sums_of_few(row, static_cast<int>(n)));
      } else if constexpr (kSize == RowSize::kBlock) {
        folded.add(i, 0, sums_of_block(row, 0, n));
      } else {
        for (int64_t k = 0; k < blocks; ++k)
          folded.add(i, k, sums_of_block(row, k * kBlock, part_end(k * kBlock, kBlock, n)));
      }
    }
    for (int k = 0; k < 3; ++k) store(sums[k] + begin, folded.sums(k));
  }
}

// Of n <= kChunk elements.
template <class T, bool kGamma>
NORMKERNELS_INLINE void unscaled_sums(const GradientRows<T>& r, int64_t rows, int64_t n,
                                      const SharedFactors<T>& factors, SumTable sums) {
  if (n <= kSumLanes) return sums_of_size<T, RowSize::kFew, kGamma>(r, rows, n, factors, sums);
  if (n <= kBlock) return sums_of_size<T, RowSize::kBlock, kGamma>(r, rows, n, factors, sums);
  if constexpr (!kGamma || kMostWithGamma > kBlock)
    sums_of_size<T, RowSize::kChunk, kGamma>(r, rows, n, factors, sums);
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_UNSCALED_SUMS_H_
