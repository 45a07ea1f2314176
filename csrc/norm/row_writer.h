// Writes a row, element by element, by a formula: whole vectors that begin at the output's own
// borders, past the caches or into them.
#ifndef NORMKERNELS_NORM_ROW_WRITER_H_
#define NORMKERNELS_NORM_ROW_WRITER_H_

#include "simd/loops.h"
#include "sums/moments.h"

namespace normkernels::NORMKERNELS_ISA {

// A Formula has
//
//   values(i, k, lanes)    what is written of the vector k elements behind the begin i of a line
//   put(how, i, v, lanes)  writes it at i, by the store `how`
//   ahead(how, i)          asks for memory, once for the line from i on
//
// and may write where it reads. The row's ends, where vectors reach over what lines have written,
// are therefore computed before, while the input is still there, and stored last: masked stores
// take AMD's processors 12 cycles each.
//
// It can run beside the sums of another row as long (moments.h), and finish() does what is left; or
// write() all of it.
template <class T, class Formula>
class RowWriter {
 public:
  // `out` is what is aligned, of n elements.
  NORMKERNELS_INLINE RowWriter(const Formula& formula, const T* out, int64_t n)
      : formula_(formula), out_(out), n_(n) {
    if (n < W) {
      first_ = last_ = formula.values(0, 0, static_cast<int>(n));
      begin_ = n;
    } else {
      first_ = formula.values(0, 0, Full{});
      last_ = n == W ? first_ : formula.values(n - W, 0, Full{});
      begin_ = n <= 2 * W ? n : elements_to_border<sizeof(Vec<T>)>(out);
    }
  }

  NORMKERNELS_INLINE void operator()(int64_t i) const {
    if (begin_ + i + kMomentLanes <= n_) lines(Cached{}, begin_ + i, begin_ + i + kMomentLanes);
  }
  NORMKERNELS_INLINE void finish() const {
    finish_from(begin_ + (n_ - begin_) / kMomentLanes * kMomentLanes);
  }

  NORMKERNELS_INLINE void write(bool stream) const {
    const RowWriter w = *this;  // in registers, which a store cannot have changed
    if (!stream) return w.finish_from(w.lines(Cached{}, w.begin_, w.n_));
    int64_t i = w.begin_;
    for (; i + W <= w.n_ && elements_to_border<kLineBytes>(w.out_ + i) != 0; i += W) w.put(i);
    w.finish_from(w.lines(Streamed{}, i, w.n_));
  }

 private:
  static constexpr int W = Vec<T>::kLanes;

  NORMKERNELS_INLINE void put(int64_t i) const {
    formula_.put(Cached{}, i, formula_.values(i, 0, Full{}), Full{});
  }

  // Whole lines of [begin, end); returns where the rest begins.
  template <class Store>
  NORMKERNELS_INLINE int64_t lines(Store how, int64_t begin, int64_t end) const {
    constexpr int kLine = kLineBytes / sizeof(T);
    int64_t i = begin;
    for (; i + kLine <= end; i += kLine) {
      formula_.ahead(how, i);
#pragma GCC unroll 8
      for (int k = 0; k < kLine; k += W) {
        formula_.put(how, i + k, formula_.values(i, k, Full{}), Full{});
      }
    }
    return i;
  }

  NORMKERNELS_INLINE void finish_from(int64_t i) const {
    for (; i + W <= n_; i += W) put(i);
    if (n_ < W) return formula_.put(Cached{}, 0, first_, static_cast<int>(n_));
    formula_.put(Cached{}, 0, first_, Full{});
    if (n_ > W) formula_.put(Cached{}, n_ - W, last_, Full{});
  }

  Formula formula_;
  const T* out_;
  int64_t n_, begin_;  // where whole vectors begin at the output's own vector borders
  decltype(formula_.values(0, 0, Full{})) first_, last_;
};

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ROW_WRITER_H_
