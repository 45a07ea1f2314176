// Writes a row, element by element, by a formula: whole lines, past the caches or into them.
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
// take AMD's processors 12 cycles each. Beside streamed lines they are masked all the same, since a
// line that was streamed and is written again is read from memory: with AVX-512, where a vector is
// a line, streamed rows of 1000 elements took 1.4 times as long.
//
// It can run beside the sums of another row as long (moments.h), and finish() does what is left; or
// write() all of it.
template <class T, class Formula, class Store = Cached>
class RowWriter {
 public:
  static constexpr bool kMultiplies = true;

  // `out` is what is written, n elements.
  NORMKERNELS_INLINE RowWriter(const Formula& formula, const T* out, int64_t n)
      : formula_(formula), out_(out), n_(n) {
    if (n < W) {
      last_ = formula.values(0, 0, static_cast<int>(n));
    } else {
      if constexpr (Store::kMustBeAligned) {
        begin_ = elements_to_border<sizeof(Vec<T>)>(out);
        // The line that it shares with the next row: streamed stores wait until it is there.
        if (elements_to_border<kLineBytes>(out + n) != 0) prefetch_to_write(out + n);
      }
      if (first() != 0) first_ = formula.values(0, 0, first());
      if (last() != 0) last_ = last_values();
      if constexpr (Store::kMustBeAligned) {
        for (; begin_ + W <= n && elements_to_border<kLineBytes>(out + begin_) != 0; begin_ += W)
          put(begin_);
      }
    }
  }

  NORMKERNELS_INLINE void operator()(int64_t i) const {
#pragma GCC unroll 2
    for (int k = 0; k < kMomentLanes; k += kLine) line(begin_ + i + k);
  }
  NORMKERNELS_INLINE int64_t end(int64_t) const {
    return (n_ - begin_) / kMomentLanes * kMomentLanes;
  }
  NORMKERNELS_INLINE void finish() const { finish_from(begin_ + end(n_)); }

  NORMKERNELS_INLINE void write(bool stream) const {
    if constexpr (!Store::kMustBeAligned) {
      if (stream) return RowWriter<T, Formula, Streamed>(formula_, out_, n_).write(true);
    }
    const RowWriter w = *this;  // in registers, which a store cannot have changed
    w.finish_from(w.lines(w.begin_, w.n_));
  }

 private:
  static constexpr int W = Vec<T>::kLanes, kLine = kLineBytes / sizeof(T);

  // How many elements at an end are no whole vector.
  NORMKERNELS_INLINE int first() const { return static_cast<int>(begin_ % W); }
  NORMKERNELS_INLINE int last() const { return static_cast<int>((n_ - begin_) % W); }
  NORMKERNELS_INLINE auto last_values() const {
    if constexpr (Store::kMustBeAligned) return formula_.values(n_ - last(), 0, last());
    return formula_.values(n_ - W, 0, Full{});
  }
  NORMKERNELS_INLINE void put(int64_t i) const {
    formula_.put(Cached{}, i, formula_.values(i, 0, Full{}), Full{});
  }

  NORMKERNELS_INLINE void line(int64_t i) const {
    formula_.ahead(Store{}, i);
#pragma GCC unroll 8
    for (int k = 0; k < kLine; k += W)
      formula_.put(Store{}, i + k, formula_.values(i, k, Full{}), Full{});
  }
  // Whole lines of [begin, end); returns where the rest begins.
  NORMKERNELS_INLINE int64_t lines(int64_t begin, int64_t end) const {
    int64_t i = begin;
    for (; i + kLine <= end; i += kLine) line(i);
    return i;
  }

  NORMKERNELS_INLINE void finish_from(int64_t i) const {
    for (; i + W <= n_; i += W) put(i);
    if (n_ < W) return formula_.put(Cached{}, 0, last_, static_cast<int>(n_));
    if constexpr (Store::kMustBeAligned) {
      if (last() != 0) formula_.put(Cached{}, n_ - last(), last_, last());
      if (first() != 0) formula_.put(Cached{}, 0, first_, first());
    } else if (last() != 0) {
      formula_.put(Cached{}, n_ - W, last_, Full{});
    }
  }

  Formula formula_;
  const T* out_;
  int64_t n_, begin_ = 0;  // where whole lines begin: streamed ones at the output's own borders
  decltype(formula_.values(0, 0, Full{})) first_, last_;
};

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ROW_WRITER_H_
