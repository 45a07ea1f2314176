// The forward of short rows: a few elements turned (turned_rows.h), more of them one by one, by the
// plainest loops there are. Beside each other, or by lines with borders, rows of 16 to 64 elements
// take up to 1.4 times as long (AVX2, Zen 3).
#ifndef NORMKERNELS_NORM_SHORT_ROWS_H_
#define NORMKERNELS_NORM_SHORT_ROWS_H_

#include "norm/turned_rows.h"

namespace normkernels::NORMKERNELS_ISA {

constexpr int kMostShort = 64;

// ---- Turned -------------------------------------------------------------------------

template <class T>
using ForwardColumns = Columns<T, kRowsTogether, 4>;

template <class T>
__attribute__((noinline)) void read_short(const Rows<const T>& x, int64_t rows, int n,
                                          ForwardColumns<T>& to) {
  constexpr int W = Vec<T>::kLanes;
  const int64_t whole = rows / W, rest = rows % W;
  for (int64_t i = 0; i < whole; ++i) to.read(x.from(to.row_of(i)), i, n);
  if (rest == 0) return;
  T copy[W * kMostTurned] = {};
  for (int64_t k = 0; k < rest; ++k)
    memcpy(copy + k * n, x[whole * W + k], sizeof(T) * static_cast<size_t>(n));
  to.read({copy, n}, whole, n);
}

// gamma or beta of a short row.
template <class T>
struct ShortLine {
  alignas(kLineBytes) T v[kMostShort];

  NORMKERNELS_INLINE ShortLine(Parameter<T> from, int n) {
    for (int j = 0; j < n; ++j) v[j] = *from.at(j);
  }
  NORMKERNELS_INLINE Vec<T> operator[](int j) const { return Vec<T>::all(v[j]); }
};

// y of rows that have been read.
template <class T>
__attribute__((noinline)) void write_short(const ForwardColumns<T>& x, Rows<T> y, int64_t rows,
                                           int n, const Factors<T>& factors,
                                           const ShortLine<T>& gamma, const ShortLine<T>& beta) {
  constexpr int W = Vec<T>::kLanes;
  T copy[W * kMostTurned];
  for (int64_t i = 0; i * W < rows; ++i) {
    const Standardise<T> xhat(factors, Factors<T>::kShift, i * W, Full{});
    const int64_t left = rows - i * W;
    const Rows<T> to = left >= W ? y.from(i * W) : Rows<T>{copy, n};
    for_each_quad(
        n, [ =, &x, &gamma, &beta ](int j, auto lanes) __attribute__((always_inline)) {
          Vec<T> quads[4];
          turned_back(
              quads, j, lanes, [&](int k) __attribute__((always_inline)) {
                return fma(xhat(x.at(k, i)), gamma[k], beta[k]);
              });
#pragma GCC unroll 4
          for (int k = 0; k < 4; ++k)
            store_quads<decltype(lanes)::value>(to[k] + j, 4 * to.stride, quads[k]);
        });
    for (int64_t k = 0; k < left && left < W; ++k)
      memcpy(y[i * W + k], copy + k * n, sizeof(T) * static_cast<size_t>(n));
  }
}

// ---- One by one ---------------------------------------------------------------------

// What moments_in_lanes makes of rows of at least kMomentLanes elements, begun with the first of
// them: what turned_moments says of -0 holds here. kTail vectors of a row are no whole block, and
// of the last of these `last` elements exist.
template <class T, int kTail>
NORMKERNELS_INLINE void short_moments(const Rows<const T>& x, int64_t rows, int n, SumTable out,
                                      bool centred) {
  using V = Vec<double>;
  constexpr int W = V::kLanes, kVectors = kMomentLanes / W;
  const int last = (n - 1) % W + 1;
  for (int64_t begin = 0; begin < rows; begin += W) {
    V d[W], squares[W], pivots = V::zero();
    const T* row = x[begin];
#pragma GCC unroll 8
    for (int k = 0; k < W; ++k) {
      const T* p = row;
      row += begin + k + 1 < rows ? x.stride : 0;
      const V pivot = centred ? V::all(static_cast<double>(p[0])) : V::zero();
      pivots.v[k] = pivot.v[0];
      V sum[kVectors], square[kVectors];
      const auto add = [&](int j, V difference) __attribute__((always_inline)) {
        sum[j] = sum[j] + difference;
        square[j] = multiply_add(difference, difference, square[j]);
      };
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) {
        sum[j] = load_widened(p + j * W, Full{}) - pivot;
        square[j] = sum[j] * sum[j];
      }
      int i = kMomentLanes;
      for (p += kMomentLanes; i + kMomentLanes <= n; i += kMomentLanes, p += kMomentLanes) {
#pragma GCC unroll 8
        for (int j = 0; j < kVectors; ++j) add(j, load_widened(p + j * W, Full{}) - pivot);
      }
#pragma GCC unroll 8
      for (int j = 0; j < kTail; ++j) {
        const bool is_whole = j < kTail - 1 || last == W;
        add(j, is_whole ? load_widened(p + j * W, Full{}) - pivot
                        : load_widened(p + j * W, last) - first(pivot, last));
      }
      d[k] = sum_by_halves(sum);
      squares[k] = sum_by_halves(square);
    }
    const CentredSums<T, V> all = {fold_rows(d), fold_rows(squares)};
    store_moments(all.about(pivots, static_cast<double>(n), centred), out, begin, Full{});
  }
}
template <class T, int kTail = 0>
NORMKERNELS_INLINE void short_moments_of(const Rows<const T>& x, int64_t rows, int n, SumTable out,
                                         bool centred) {
  constexpr int W = Vec<double>::kLanes;
  if constexpr (kTail * W < kMomentLanes) {
    if (n % kMomentLanes > kTail * W)
      return short_moments_of<T, kTail + 1>(x, rows, n, out, centred);
  }
  short_moments<T, kTail>(x, rows, n, out, centred);
}

// Their y.
template <class T>
__attribute__((noinline)) void write_rows(const Rows<const T>& x, const Rows<T>& y, int64_t rows,
                                          int n, const Factors<T>& factors,
                                          const ShortLine<T>& gamma, const ShortLine<T>& beta) {
  constexpr int W = Vec<T>::kLanes;
  const T* from = x.p;
  T* to = y.p;
  const int64_t x_stride = x.stride, y_stride = y.stride;
  const Factors<T> f = factors;
  for (int64_t i = 0; i < rows; ++i) {
    const Standardise<T> xhat(f.standard(i));
    const auto value = [ =, &gamma, &beta ](int j) __attribute__((always_inline)) {
      return fma(xhat(load(from + j)), load(gamma.v + j), load(beta.v + j));
    };
    const Vec<T> last = value(n - W);  // before it is overwritten
    for (int j = 0; j < n - W; j += W) store(to + j, value(j));
    store(to + n - W, last);
    from += x_stride;
    to += y_stride;
  }
}

// ---- Either -------------------------------------------------------------------------

// Rows of 2 to kMostShort columns, some together.
template <class T>
class ShortRows {
 public:
  ShortRows(Parameter<T> gamma, Parameter<T> beta, int n)
      : n_(n), gamma_(gamma, n), beta_(beta, n) {}

  __attribute__((noinline)) void sum(const Rows<const T>& x, int64_t rows, SumTable moments,
                                     bool centred) {
    if (!turns()) return short_moments_of(x, rows, n_, moments, centred);
    read_short(x, rows, n_, columns_);
    turned_moments<T>(columns_, rows, n_, moments, centred);
  }
  NORMKERNELS_INLINE void write(const Rows<const T>& x, const Rows<T>& y, int64_t rows,
                                const Factors<T>& factors) const {
    if (!turns()) return write_rows(x, y, rows, n_, factors, gamma_, beta_);
    write_short(columns_, y, rows, n_, factors, gamma_, beta_);
  }

 private:
  bool turns() const { return n_ < kMostTurned; }

  int n_;
  ShortLine<T> gamma_, beta_;
  ForwardColumns<T> columns_;
};

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_SHORT_ROWS_H_
