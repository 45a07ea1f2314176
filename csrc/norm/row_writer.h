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
// take AMD's processors 12 cycles each.
//
// Past the caches nothing is written twice: a line that was streamed would come back from memory.
// The lines that a row shares with its neighbours are asked for a row ahead, since all that is
// streamed waits behind them. Measured (Zen 3, arrays that begin 16 bytes into a line, as NumPy's
// do): 2048 x 1024 is 2.6 times as fast as with a vector that reaches over, 3000 x 1000 1.6 times,
// and what is asked for is 1.1 to 1.6 of these.
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
    if constexpr (Store::kMustBeAligned) {
      if (elements_to_border<kLineBytes>(out + n) != 0) prefetch_to_write(out + n);
      begin_ = smaller(elements_to_border<sizeof(Vec<T>)>(out), n);
      if (begin_ != 0) put(0, static_cast<int>(begin_));
      for (; begin_ + W <= n && elements_to_border<kLineBytes>(out + begin_) != 0; begin_ += W)
        put(begin_, Full{});
    } else if (n < W) {
      last_ = formula.values(0, 0, static_cast<int>(n));
    } else {
      if constexpr (Store::kAligns) {
        begin_ = elements_to_border<sizeof(Vec<T>)>(out);
        if (begin_ != 0) first_ = formula.values(0, 0, Full{});
      }
      if (has_last()) last_ = formula.values(n - W, 0, Full{});
    }
  }

  NORMKERNELS_INLINE void start() {
    if constexpr (kWaits) read(begin_);
  }

  NORMKERNELS_INLINE void operator()(int64_t i) {
#pragma GCC unroll 2
    for (int k = 0; k < kMomentLanes; k += kLine) {
      const int64_t at = begin_ + i + k;
      if constexpr (!kWaits) {
        formula_.ahead(Store{}, at);
        read(at);
      }
      line(at, Index<kWaits>{});
    }
  }
  NORMKERNELS_INLINE int64_t end(int64_t) const {
    return (n_ - begin_) / kMomentLanes * kMomentLanes - lead_of_sums(n_);
  }
  NORMKERNELS_INLINE void finish() {
    const int64_t done = larger(end(n_), 0);
    int64_t i = begin_ + done;
    if (kWaits && done > 0) {
      line(i, Index<0>{});
      i += kLine;
    }
    finish_from(i);
  }
  NORMKERNELS_INLINE void write(bool stream) const {
    if constexpr (!Store::kMustBeAligned) {
      if (stream) return RowWriter<T, Formula, Streamed>(formula_, out_, n_).write(true);
    }
    RowWriter w = *this;  // in registers, which a store cannot have changed
    w.finish_from(w.begin_);
  }

 private:
  static constexpr int W = Vec<T>::kLanes, kLine = kLineBytes / sizeof(T);
  // A line is read before the last one is stored, for which its loads would wait (moments.h):
  // planes of 64 x 64 whose y begins 48 bytes further into its page take 314 us instead of 1212
  // (AVX2, Zen 4). Beside sums, AVX2 has no registers for it.
  static constexpr bool kWaits = NORMKERNELS_VECTOR_BYTES == 64;

  NORMKERNELS_INLINE bool has_last() const { return (Store::kAligns ? n_ - begin_ : n_) % W != 0; }
  template <class Lanes>
  NORMKERNELS_INLINE void put(int64_t i, Lanes lanes) const {
    formula_.put(Cached{}, i, formula_.values(i, 0, lanes), lanes);
  }

  // The values of the line from i on, which are then to be stored.
  NORMKERNELS_INLINE void read(int64_t i) {
#pragma GCC unroll 8
    for (int k = 0; k < kLine; k += W) waiting_[k / W] = formula_.values(i, k, Full{});
  }
  // Stores the line at i, which has been read, and reads the next, if there is one.
  template <int kNext>
  NORMKERNELS_INLINE void line(int64_t i, Index<kNext>) {
    if constexpr (kNext != 0) formula_.ahead(Store{}, i);
#pragma GCC unroll 8
    for (int k = 0; k < kLine; k += W) {
      const Values v = waiting_[k / W];
      if constexpr (kNext != 0) waiting_[k / W] = formula_.values(i + kLine, k, Full{});
      formula_.put(Store{}, i + k, v, Full{});
    }
  }

  NORMKERNELS_INLINE void finish_from(int64_t i) {
    if (i + kLine <= n_) {
      read(i);
      for (; i + 2 * kLine <= n_; i += kLine) line(i, Index<1>{});
      line(i, Index<0>{});
      i += kLine;
    }
    for (; i + W <= n_; i += W) put(i, Full{});
    if constexpr (Store::kMustBeAligned) {
      if (i < n_) put(i, static_cast<int>(n_ - i));
    } else if (n_ < W) {
      formula_.put(Cached{}, 0, last_, static_cast<int>(n_));
    } else {
      if (has_last()) formula_.put(Cached{}, n_ - W, last_, Full{});
      if constexpr (Store::kAligns) {
        if (begin_ != 0) formula_.put(Cached{}, 0, first_, Full{});
      }
    }
  }

  Formula formula_;
  const T* out_;
  int64_t n_, begin_ = 0;  // where whole lines begin: streamed ones at the output's own borders
  using Values = decltype(formula_.values(0, 0, Full{}));
  Values first_, last_, waiting_[kLine / W];
};

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ROW_WRITER_H_
