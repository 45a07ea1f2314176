// total = x + residual + bias, some rows at a time: what add_layer_norm and add_rms_norm normalise
// while it is in the caches, for which it is stored there. x and residual are read once.
//
// Rounded once in float32; of three terms in float64 the sum is a pair before. `total` may be x or
// residual.
#ifndef NORMKERNELS_NORM_ADDITION_H_
#define NORMKERNELS_NORM_ADDITION_H_

#include "norm/row_writer.h"
#include "norm/tiles.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {

// The sum rounded to odd: where it is not exact its last digit is 1, so that rounding it once more,
// to fewer digits, finds no tie that was none.
NORMKERNELS_INLINE Vec<double> odd_sum(Vec<double> a, Vec<double> b, Vec<double> c) {
  const Pair<Vec<double>> two = two_sum(a, b), three = two_sum(two.hi, c);
  const Vec<double> zero = Vec<double>::zero(), rest = two.lo + three.lo;
  const Pair<Vec<double>> sum = two_sum(three.hi, rest);
  // Where nothing is lost -0 stays, where the sum is infinite it is that.
  const Vec<double> near = select<double>(less(zero, absolute(rest)), sum.hi, three.hi);
  const auto hi = bit_cast<Bits<double>>(near).v, lo = bit_cast<Bits<double>>(sum.lo).v;
  const auto lost = less(zero, absolute(sum.lo)).v;
  const auto even = (hi & 1) - 1, towards = ((hi ^ lo) >> 63) | 1;
  return bit_cast<Vec<double>>(Bits<double>{hi + (towards & even & lost)});
}
NORMKERNELS_INLINE Vec<float> rounded_sum(Vec<float> a, Vec<float> b, Vec<float> c) {
  Vec<double> a_low, a_high, b_low, b_high, c_low, c_high;
  widen(a, a_low, a_high);
  widen(b, b_low, b_high);
  widen(c, c_low, c_high);
  return narrow(odd_sum(a_low, b_low, c_low), odd_sum(a_high, b_high, c_high));
}
// What is lost is left out where it is zero, which would change -0, and NaN, where the sum is
// infinite.
NORMKERNELS_INLINE Vec<double> rounded_sum(Vec<double> a, Vec<double> b, Vec<double> c) {
  const Pair<Vec<double>> two = two_sum(a, b), three = two_sum(two.hi, c);
  const Vec<double> lost = two.lo + three.lo;
  return select<double>(less(Vec<double>::zero(), absolute(lost)), three.hi + lost, three.hi);
}

// A row of them, as RowWriter writes it.
template <class T, bool kBias>
struct AddedRow {
  const T *x, *residual, *bias;
  T* total;

  template <class Lanes>
  NORMKERNELS_INLINE Vec<T> values(int64_t i, int k, Lanes lanes) const {
    const Vec<T> a = load(x + i + k, lanes), b = load(residual + i + k, lanes);
    if constexpr (kBias) return rounded_sum(a, b, load(bias + i + k, lanes));
    return a + b;
  }
  template <class Store, class Lanes>
  NORMKERNELS_INLINE void put(Store how, int64_t i, Vec<T> v, Lanes lanes) const {
    store(how, total + i, v, lanes);
  }
  template <class Store>
  NORMKERNELS_INLINE void ahead(Store, int64_t i) const {
    prefetch(x + i + kLead<T>);
    prefetch(residual + i + kLead<T>);
  }
};

template <class T>
struct Addition {
  Rows<const T> x, residual;
  const T* bias;  // per column, or null
  Rows<T> total;  // null: nothing is added

  template <bool kBias>
  NORMKERNELS_INLINE void write(int64_t row, int64_t begin, int64_t end) const {
    T* const to = total[row] + begin;
    const AddedRow<T, kBias> formula = {x[row] + begin, residual[row] + begin,
                                        kBias ? bias + begin : nullptr, to};
    RowWriter<T, AddedRow<T, kBias>>(formula, to, end - begin).write(false);
  }
};

// Columns [begin, end) of rows [row, row + rows).
template <class T>
__attribute__((noinline)) void add_rows(const Addition<T>& a, int64_t row, int64_t rows,
                                        int64_t begin, int64_t end) {
  for (int64_t i = row; i < row + rows; ++i) {
    if (a.bias == nullptr) {
      a.template write<false>(i, begin, end);
    } else {
      a.template write<true>(i, begin, end);
    }
  }
}

// The same of rows that lie anywhere.
template <class T>
class TiledAddition {
 public:
  static constexpr int64_t kBuffers = 2;

  TiledAddition(const Addition<T>& a, const Placement& at, const TileShape<T>& shape, T* buffers)
      : x_(a.x.p, *at.grid, at.x, shape, buffers),
        residual_(a.residual.p, *at.grid, at.residual, shape, buffers + shape.elements()),
        total_(a.total.p, at.total, x_),
        bias_(a.bias) {}

  // All `cols` columns of rows [row, row + rows).
  void write(int64_t row, int64_t rows, int64_t cols) {
    if (!total_.wanted()) return;
    for_each_chunk(row, rows, 0, cols, [&](const Part& part) {
      const T* const bias = optional_at<const T>(bias_, part.col);
      add_rows<T>({x_.read(part), residual_.read(part), bias, total_.open(part)}, 0, rows, 0,
                  part.cols);
      total_.close(part);
    });
  }

 private:
  TiledInput<T> x_, residual_;
  TiledOutput<T> total_;
  const T* bias_;
};

// In rows.cpp.
extern template void add_rows(const Addition<float>&, int64_t, int64_t, int64_t, int64_t);
extern template void add_rows(const Addition<double>&, int64_t, int64_t, int64_t, int64_t);

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ADDITION_H_
