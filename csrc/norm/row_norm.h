// What is asked of rows that are normalised, and how one of them is written: those of layer norm,
// and of instance and group norm in NCHW, which differ in gamma and beta alone; of RMS norm, which
// are not centred; and of a sum, which is made before (addition.h).
#ifndef NORMKERNELS_NORM_ROW_NORM_H_
#define NORMKERNELS_NORM_ROW_NORM_H_

#include "norm/addition.h"
#include "norm/parameter.h"
#include "norm/row_statistics.h"
#include "norm/row_writer.h"

namespace normkernels::NORMKERNELS_ISA {

// y = xhat gamma + beta of a row. Reads x once, writes y once; y may be x.
template <class T>
struct Forward {
  const T* x;
  Standardise<T> xhat;
  Parameter<T> gamma, beta;
  T* y;
  const T* coming;  // x of what is read beside

  template <class Lanes>
  NORMKERNELS_INLINE Vec<T> values(int64_t i, int k, Lanes lanes) const {
    const Vec<T> v = xhat(load(x + i + k, lanes));
    return fma(v, load(gamma.at(i) + k, lanes), load(beta.at(i) + k, lanes));
  }
  template <class Store, class Lanes>
  NORMKERNELS_INLINE void put(Store how, int64_t i, Vec<T> v, Lanes lanes) const {
    store(how, y + i, v, lanes);
  }
  template <class Store>
  NORMKERNELS_INLINE void ahead(Store, int64_t i) const {
    prefetch(coming + i + kLead<T>);
    if constexpr (!Store::kMustBeAligned) prefetch_to_write(y + i + kWriteLead<T>);
  }
};

// y [rows, cols] and the statistics, each [rows]; all but x may be null. gamma and beta have a
// value per column, or, where there are channels, one for each of the `pieces` of a row, which are
// as long each: row i begins with channel (first + i) * pieces % channels.
template <class T>
struct RowNorm {
  Rows<const T> x;
  Rows<T> y;
  int64_t rows, cols, channels, pieces, first;
  const T *gamma, *beta;
  double epsilon;
  T *mean, *sigma, *rstd;
  bool stream;
  bool centred = true;
  Addition<T> addition;  // whose total x is, once it is made
  normkernels_row_moments* moments;

  NORMKERNELS_INLINE bool adds() const { return addition.total.p != nullptr; }
  NORMKERNELS_INLINE void add(int64_t row, int64_t count, int64_t begin, int64_t end) const {
    if (adds()) add_rows(addition, row, count, begin, end);
  }
  // Of `count` rows, which are at `some` and will be written at `to`, if that is not null.
  NORMKERNELS_INLINE void sum(const Rows<const T>& some, const Rows<T>& to, int64_t count,
                              const Executor& executor, SumTable sums) const {
    sum_rows(some, count, cols, executor, ahead_of(some, to, cols), sums, centred);
  }
  // The first of which is row `row`.
  NORMKERNELS_INLINE void set_statistics(const Rows<const T>& some, int64_t row, int64_t count,
                                         SumTable sums, const Executor& executor,
                                         const Factors<T>& factors) const {
    const T* const scale =
        rescale_rows(sums, some, count, cols, epsilon, executor, factors, centred);
    if (moments != nullptr) hand_out(sums, cols, count, scale, moments + row);
    set_statistics_of_all(sums, static_cast<double>(cols), count, scale, epsilon, factors,
                          optional_at<T>(mean, row), optional_at<T>(sigma, row),
                          optional_at<T>(rstd, row), nullptr);
  }
  // Whether a row is written in several pieces. Pieces of one element are columns.
  NORMKERNELS_INLINE bool in_pieces() const { return pieces > 1 && pieces < cols; }
  // The first channel of a row, and that of i rows further on.
  NORMKERNELS_INLINE int64_t channel_of(int64_t row) const {
    return channels == 0 ? 0 : (first + row) * pieces % channels;
  }
  NORMKERNELS_INLINE int64_t channel_after(int64_t channel, int64_t i) const {
    const int64_t next = channel + i * pieces;
    return next < channels || channels == 0 ? next : next % channels;
  }

  // Of columns [begin, end), which are at `from` and `to`, beside the sums of those at `coming`.
  // Where gamma and beta are one value per row, `copies` holds them.
  template <class Beside>
  NORMKERNELS_INLINE auto writer(int64_t channel, const Standard<T>& s, int64_t begin, int64_t end,
                                 const T* from, T* to, const T* coming, Parameter<T> g,
                                 Parameter<T> b, Copies<T> (&copies)[2]) const {
    if (channels != 0) {
      if (pieces > 1) {
        g = g.from(channel), b = b.from(channel);
      } else {
        copies[0].fill(value_or(gamma, channel, T{1}));
        copies[1].fill(value_or(beta, channel, T{-0.0}));
        g = Parameter<T>::for_all(copies[0]), b = Parameter<T>::for_all(copies[1]);
      }
    }
    const Forward<T> forward = {from, Standardise<T>(s), g.from(begin), b.from(begin), to, coming};
    return RowWriter<T, Forward<T>, Beside>(forward, to, end - begin);
  }
  __attribute__((noinline)) void write_pieces(int64_t row, const Standard<T>& s, int64_t begin,
                                              int64_t end, const T* from, T* to,
                                              bool past_caches) const {
    const int64_t channel = channel_of(row), length = cols / pieces;
    Copies<T> g(0), b(0);
    for (int64_t i = begin, piece = begin / length, stop; i < end; i = stop, ++piece) {
      stop = smaller((piece + 1) * length, end);
      g.fill(value_or(gamma, channel + piece, T{1}));
      b.fill(value_or(beta, channel + piece, T{-0.0}));
      const T* const x_piece = from + (i - begin);
      const Forward<T> forward = {x_piece,
                                  Standardise<T>(s),
                                  Parameter<T>::for_all(g),
                                  Parameter<T>::for_all(b),
                                  to + (i - begin),
                                  x_piece};
      RowWriter<T, Forward<T>>(forward, forward.y, stop - i).write(past_caches);
    }
  }
  NORMKERNELS_INLINE void write(int64_t row, const Standard<T>& s, int64_t begin, int64_t end,
                                const T* from, T* to, bool past_caches,
                                Copies<T> (&copies)[2]) const {
    if (in_pieces()) return write_pieces(row, s, begin, end, from, to, past_caches);
    writer<Cached>(channel_of(row), s, begin, end, from, to, from, gamma_of<T>(gamma),
                   beta_of<T>(beta), copies)
        .write(past_caches);
  }
  // Rows [row, row + count), which are at `from` and `to`; a total is made already.
  NORMKERNELS_INLINE RowNorm part(int64_t row, int64_t count, const Rows<const T>& from,
                                  const Rows<T>& to) const {
    RowNorm some = *this;
    some.x = from;
    some.y = to;
    some.rows = count;
    some.first = first + row;
    some.mean = optional_at<T>(mean, row);
    some.sigma = optional_at<T>(sigma, row);
    some.rstd = optional_at<T>(rstd, row);
    some.addition = {};
    some.moments = optional_at<normkernels_row_moments>(moments, row);
    return some;
  }
};

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ROW_NORM_H_
