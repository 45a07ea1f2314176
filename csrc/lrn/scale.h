// s = bias + alpha / size * (sum of x^2 over a window of channels), of vectors.
//
// The sum is formed in twice the precision of x: s is within 1 u of the exact value for float32,
// within 2 u for float64 (whose squares are rounded before), whatever the size of the window.
#ifndef NORMKERNELS_LRN_SCALE_H_
#define NORMKERNELS_LRN_SCALE_H_

#include "lrn/power.h"
#include "lrn/strips.h"
#include "sums/wide.h"

namespace normkernels::NORMKERNELS_ISA {

// The squares of a piece, and zeros where its strip ends.
template <class T>
NORMKERNELS_INLINE void fill_squares(const T* x, const Piece& piece, double* squares) {
  const T* from = x + piece.at;
  double* to = squares + piece.offset;
  for_each_vector<double>(
      piece.n, [=](int64_t i, auto lanes) __attribute__((always_inline)) {
        const Vec<double> v = load_widened(from + i, lanes);
        store(to + i, v * v);
      });
  if (piece.ends_strip()) clear(squares, piece.strip_end(), piece.next_strip());
}

// ---- Sums over windows --------------------------------------------------------------

// f(Index<size>) for the usual sizes of windows, whose loops that unrolls, and f(Index<0>) for
// others. Of float32 alone: 3 and 5 as constants save 8 % of its time, 7 and more nothing, and the
// additions of pairs take so long that their loop does not matter.
template <class T, class F>
NORMKERNELS_INLINE auto with_usual_size(int64_t size, F&& f) {
  if constexpr (sizeof(T) == sizeof(float)) {
    if (size == 5) return f(Index<5>{});
    if (size == 3) return f(Index<3>{});
  }
  return f(Index<0>{});
}

// The rows that windows are made of: element i of row k is element k of the window that begins at
// element i of the first row. Of a constant Size they are pointers in registers, which GCC does not
// find out by itself.
template <class E, int Size>
class WindowRows {
 public:
  NORMKERNELS_INLINE WindowRows(const E* windows, int64_t step, int64_t size)
      : step_(step), size_(size) {
#pragma GCC unroll 8
    for (int k = 0; k < kPointers; ++k) row_[k] = windows + k * step;
  }
  // Of a constant size, wherever they are.
  NORMKERNELS_INLINE explicit WindowRows(const E* const (&rows)[Size > 0 ? Size : 1])
      : step_(0), size_(Size) {
#pragma GCC unroll 8
    for (int k = 0; k < kPointers; ++k) row_[k] = rows[k];
  }
  NORMKERNELS_INLINE int64_t size() const { return Size > 0 ? Size : size_; }
  NORMKERNELS_INLINE const E* operator[](int64_t k) const {
    return Size > 0 ? row_[k] : row_[0] + k * step_;
  }

 private:
  static constexpr int kPointers = Size > 0 ? Size : 1;
  const E* row_[kPointers];
  int64_t step_, size_;
};

template <class Sum, class V>
NORMKERNELS_INLINE Sum sum_of_one(V a) {
  if constexpr (sizeof(Sum) == sizeof(V)) {
    return a;
  } else {
    return {a, V::zero()};
  }
}

// The sums of N vectors of windows of `size` elements, load(k, i) being element k of vector i: the
// even ones and the odd ones, then both. Each window is added up by itself. A running sum would be
// cheaper by an addition, but a large value that leaves it would take its neighbours' digits along,
// and an infinite one leave NaN. N vectors side by side share the loop.
template <class Sum, int N, class Load>
NORMKERNELS_INLINE void window_sums(int64_t size, Sum (&sum)[N], Load&& load) {
  Sum odd[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) sum[i] = sum_of_one<Sum>(load(0, i));
  if (size == 1) return;
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) odd[i] = sum_of_one<Sum>(load(1, i));
  int64_t k = 2;
  for (; k + 1 < size; k += 2) {
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) sum[i] = accumulated(sum[i], load(k, i));
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) odd[i] = accumulated(odd[i], load(k + 1, i));
  }
  if (k < size) {
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) sum[i] = accumulated(sum[i], load(k, i));
  }
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) sum[i] = sum[i] + odd[i];
}

// Of the windows that begin at element `at` of the first row and those after it.
template <class Sum, int N, class E, int Size>
NORMKERNELS_INLINE void window_sums(const WindowRows<E, Size>& rows, int64_t at, Sum (&sum)[N]) {
  window_sums(
      rows.size(), sum, [&](int64_t k, int i) __attribute__((always_inline)) {
        return load(rows[k] + at + i * Vec<E>::kLanes);
      });
}

// ---- s ------------------------------------------------------------------------------

// s from a window sum. The sum has twice the precision of T, so s is rounded once (float64: with
// the squares, twice).
template <class T>
struct ScaleOf {
  Wide<T, double> weight;
  double bias;

  explicit ScaleOf(const LocalResponseNorm& a)
      : weight(widened<T>(a.alpha) / static_cast<double>(a.size)), bias(a.bias) {}

  NORMKERNELS_INLINE Vec<double> operator()(Vec<double> sum) const {
    return multiply_add(sum, Vec<double>::all(weight), Vec<double>::all(bias));
  }
  NORMKERNELS_INLINE Vec<double> operator()(Pair<Vec<double>> sum) const {
    const Pair<Vec<double>> w = {Vec<double>::all(weight.hi), Vec<double>::all(weight.lo)};
    return (sum * w + Vec<double>::all(bias)).hi;
  }

  // Of N vectors of elements, from the squares of their windows.
  template <int N, int Size>
  NORMKERNELS_INLINE Group<T, N> of_windows(const WindowRows<double, Size>& squares,
                                            int64_t at) const {
    constexpr int kDoubles = N * kDoublesPer<T>;
    Wide<T, Vec<double>> sum[kDoubles];
    window_sums(squares, at, sum);
    Group<double, kDoubles> s;
#pragma GCC unroll 8
    for (int i = 0; i < kDoubles; ++i) s.v[i] = (*this)(sum[i]);
    return from_double<T>(s);
  }
};

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_SCALE_H_
