// Local response norm where s or its power leaves the exponent range, or is 0, negative, infinite
// or NaN: with exponents apart, so that what is finite in the end is finite.
//
// The vectors that go along the stream take every s for an ordinary number and note the strips
// where one is not. Those are gone through again, by columns: each s, each power and each term is
// formed once, so any values cost c * size per pixel.
#ifndef NORMKERNELS_LRN_EXTRAORDINARY_H_
#define NORMKERNELS_LRN_EXTRAORDINARY_H_

#include "lrn/columns.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// Where s, s^-beta and s^(-beta-1) are ordinary numbers, which vectors compute.
template <class T>
struct OrdinaryRange {
  Vec<T> least, most;

  explicit OrdinaryRange(double beta) {
    const double power = (sizeof(T) == 4 ? 110 : 900) / (__builtin_fabs(beta) + 1);
    const int exponent =
        static_cast<int>(power < (sizeof(T) == 4 ? 90 : 450) ? power : (sizeof(T) == 4 ? 90 : 450));
    least = Vec<T>::all(power_of_two<T>(-exponent));
    most = Vec<T>::all(power_of_two<T>(exponent));
  }
  // Bit i: lane i is not ordinary.
  NORMKERNELS_INLINE unsigned outside(Vec<T> s, Full) const {
    return lanes_outside(s, least, most);
  }
  NORMKERNELS_INLINE unsigned outside(Vec<T> s, int lanes) const {
    return lanes_outside(s, least, most) & ((1u << lanes) - 1);
  }
  NORMKERNELS_INLINE unsigned outside(const RowOf<T>& s) const {
    unsigned bits = 0;
    for (int k = 0; k < kColumns / Vec<T>::kLanes; ++k) {
      bits |= lanes_outside(s.v[k], least, most) << (k * Vec<T>::kLanes);
    }
    return bits;
  }
};

// ---- Forward ------------------------------------------------------------------------

// y = x P, and s, of those elements that are out of the ordinary.
template <class T>
__attribute__((noinline)) void mend_outputs(const LocalResponseNorm& a, const Window& w,
                                            const OrdinaryRange<T>& range, const Columns& columns,
                                            void* memory) {
  const Ring<T> ring(w, memory);
  Brackets<T> brackets(a, w, columns, ring);
  for (int64_t channel = 0; channel < w.c; ++channel) {
    const Row s = brackets.scale(channel);
    const unsigned outside = range.outside(from_double<T>(s)) & columns.mask();
    if (outside == 0) continue;
    Scaled scaled[kRowVectors], power[kRowVectors];
    brackets.scaled(channel, s, scaled);
    negative_power(scaled, a.beta, power);
    const Row x = load_row(ring[channel].x);
    const Row y = Row::from([&](int k) { return (Scaled::of(x.v[k]) * power[k]).value(); });
    columns.write<T>(a.y, channel, y, outside);
    if (a.scale == nullptr) continue;
    columns.write<T>(a.scale, channel, Row::from([&](int k) { return scaled[k].value(); }),
                     outside);
  }
}

// ---- Backward -----------------------------------------------------------------------

// The factor of the sum of terms, with its sign.
template <class T>
NORMKERNELS_INLINE T minus_factor(const LocalResponseNorm& a) {
  return static_cast<T>(-(2 * (a.alpha / static_cast<double>(a.size)) * a.beta));
}

// dx from the sum of terms. Plus 0: a sum of negative zeros is 0.
template <class T>
NORMKERNELS_INLINE Vec<T> gradient(Vec<T> x, T factor, Vec<T> sum, Vec<T> direct) {
  return multiply_add(x * Vec<T>::all(factor), sum + Vec<T>::zero(), direct);
}

// s^-beta of ordinary s, as the vectors along the stream have it.
template <class T, int N>
NORMKERNELS_INLINE Group<T, N> ordinary_power(Group<T, N> s, double beta) {
  return with_power(
      beta, [&](auto power) __attribute__((always_inline)) {
        constexpr Power P = decltype(power)::value;
        if constexpr (P == Power::kGeneral) {
          return from_double<T>(
              general_power<T>(Reduced<N * kDoublesPer<T>>::of(to_double(s)), -beta));
        } else {
          return Group<T, N>::all(1) / root_power<P>(s);
        }
      });
}

// dx of columns with elements out of the ordinary. Theirs is dy P + factor x (sum of dy x P / s),
// where x times the sum is an ordinary number but the terms by themselves need not be. Their
// neighbours take their terms, rounded to T, among ordinary ones.
template <class T>
class Gradients {
 public:
  Gradients(const LocalResponseNorm& a, const Window& w, const OrdinaryRange<T>& range,
            const Columns& columns, void* memory)
      : a_(a),
        w_(w),
        range_(range),
        columns_(columns),
        ring_(w, memory),
        brackets_(a, w, columns, ring_),
        factor_(Scaled::of(-2) * Scaled::of(a.beta) *
                Scaled::of(a.alpha / static_cast<double>(a.size))) {}

  __attribute__((noinline)) void mend() {
    int64_t first = w_.c, last = -1;
    brackets_.start(0);
    for (int64_t channel = 0; channel < w_.c; ++channel) {
      const unsigned outside =
          range_.outside(scale(channel, from_double<T>(brackets_.scale(channel))));
      if ((outside & columns_.mask()) == 0) continue;
      first = channel < first ? channel : first;
      last = channel;
    }
    if (last < 0) return;
    // The channels whose mirrored windows contain one of these, and what is in those windows.
    const int64_t from = first > w_.before ? first - w_.before : 0;
    const int64_t to = last + w_.after < w_.c ? last + w_.after + 1 : w_.c;
    int64_t weighed = from > w_.after ? from - w_.after : 0;
    brackets_.start(weighed);
    for (int64_t channel = from; channel < to; ++channel) {
      for (; weighed < w_.c && weighed <= channel + w_.before; ++weighed) weigh(weighed);
      write(channel);
    }
  }

 private:
  // s as the vectors along the stream have it: what the caller saved, if so.
  NORMKERNELS_INLINE RowOf<T> scale(int64_t channel, const RowOf<T>& s) const {
    return a_.scale_in == nullptr ? s : from_double<T>(columns_.read<T>(a_.scale_in, channel));
  }

  __attribute__((noinline)) void weigh(int64_t channel) {
    const Row bracket = brackets_.scale(channel);
    const RowOf<T> s = scale(channel, from_double<T>(bracket));
    const Line<T> line = ring_[channel];
    *line.outside = range_.outside(s) & columns_.mask();
    const Row x = load_row(line.x), dy = columns_.read<T>(a_.dy, channel);
    weigh_ordinary(channel, s, from_double<T>(x), from_double<T>(dy));
    weigh_scaled(channel, bracket, x, dy);
  }

  NORMKERNELS_INLINE void weigh_ordinary(int64_t channel, const RowOf<T>& s, const RowOf<T>& x,
                                         const RowOf<T>& dy) const {
    const RowOf<T> power = ordinary_power(s, a_.beta);
    const RowOf<T> y =
        a_.y_in == nullptr ? x * power : from_double<T>(columns_.read<T>(a_.y_in, channel));
    store_row(ring_[channel].direct, dy * power);
    store_row(ring_[channel].shared, dy * y / s);
  }

  NORMKERNELS_INLINE void weigh_scaled(int64_t channel, const Row& bracket, const Row& x,
                                       const Row& dy) const {
    Scaled s[kRowVectors], power[kRowVectors];
    brackets_.scaled(channel, bracket, s);
    negative_power(s, a_.beta, power);
    const Line<T> line = ring_[channel];
    double values[kColumns];
    for (int k = 0; k < kRowVectors; ++k) {
      const int i = k * Vec<double>::kLanes;
      const Scaled direct = Scaled::of(dy.v[k]) * power[k];
      const Scaled shared = Scaled::of(x.v[k]) * direct * s[k].inverse();
      store(line.direct_m + i, direct.m);
      store(line.direct_e + i, direct.e);
      store(line.shared_m + i, shared.m);
      store(line.shared_e + i, shared.e);
      store(values + i, shared.value());
    }
    for_each_lane(*line.outside,
                  [&](int lane) { line.shared[lane] = static_cast<T>(values[lane]); });
  }

  __attribute__((noinline)) void write(int64_t channel) const {
    const Line<T> line = ring_[channel];
    const int64_t first = channel - w_.after, c = w_.c;
    const RowOf<T> x = from_double<T>(load_row(line.x)), own = load_row(line.direct);
    const RowOf<T> dx = RowOf<T>::from([&](int k) {
      if (k * Vec<T>::kLanes >= columns_.vectors() * Vec<double>::kLanes) return Vec<T>::zero();
      const Vec<T> sum = window_sum<Vec<T>>(RuntimeSize{w_.size()}, [&](int64_t i) {
        if (first + i < 0 || first + i >= c) return Vec<T>::zero();
        return load(ring_[first + i].shared + k * Vec<T>::kLanes);
      });
      return gradient(x.v[k], minus_factor<T>(a_), sum, own.v[k]);
    });
    columns_.write<T>(a_.dx, channel, to_double(dx), columns_.mask() & ~*line.outside);
    if (*line.outside != 0) write_scaled(channel);
  }

  void write_scaled(int64_t channel) const {
    const Line<T> line = ring_[channel];
    const int64_t from = channel > w_.after ? channel - w_.after : 0;
    const int64_t to = channel + w_.before < w_.c ? channel + w_.before + 1 : w_.c;
    Scaled sum[kRowVectors];
    for (Scaled& s : sum) s = {Vec<double>::zero(), Vec<double>::zero()};
    add_lines(
        columns_, sum, from, to, [&](int64_t j, int i) __attribute__((always_inline)) {
          return Scaled{load(ring_[j].shared_m + i), load(ring_[j].shared_e + i)};
        });
    const Row dx = Row::from([&](int k) {
      const int i = k * Vec<double>::kLanes;
      const Scaled direct = {load(line.direct_m + i), load(line.direct_e + i)};
      return (direct + factor_ * Scaled::of(load(line.x + i)) * sum[k]).value();
    });
    columns_.write<T>(a_.dx, channel, dx, *line.outside);
  }

  const LocalResponseNorm& a_;
  const Window& w_;
  const OrdinaryRange<T> range_;
  const Columns& columns_;
  const Ring<T> ring_;
  Brackets<T> brackets_;
  const Scaled factor_;
};

// ---- Which strips -------------------------------------------------------------------

// Strips with elements out of the ordinary, of all that a task has: a bit stands for one, or for as
// many as 64 bits take.
class Extraordinary {
 public:
  Extraordinary(int64_t first, int64_t last)
      : first_(first), last_(last), strips_per_bit_((last - first + 63) / 64) {}

  __attribute__((noinline)) void note(int64_t strip) {
    bits_ |= uint64_t{1} << ((strip - first_) / strips_per_bit_);
  }

  NORMKERNELS_INLINE bool none() const { return bits_ == 0; }

  // f(columns) for all columns of these strips.
  template <class F>
  void for_each_columns(const Cut& cut, const Window& w, F&& f) const {
    for (int bit = 0; bit < 64; ++bit) {
      if ((bits_ >> bit & 1) == 0) continue;
      const int begin = bit;
      while (bit < 63 && (bits_ >> (bit + 1) & 1) != 0) ++bit;
      const int64_t last = cut.pixel_of(strip_at(bit + 1));
      for (int64_t pixel = cut.pixel_of(strip_at(begin)); pixel < last; pixel += kColumns) {
        f(Columns(w, pixel, pixel + kColumns < last ? pixel + kColumns : last));
      }
    }
  }

 private:
  // The first strip of a bit.
  int64_t strip_at(int bit) const {
    const int64_t strip = first_ + bit * strips_per_bit_;
    return strip < last_ ? strip : last_;
  }

  int64_t first_, last_, strips_per_bit_;
  uint64_t bits_ = 0;
};

// What was noted in a task, by functions that the many instances of the strips' loops share.
template <class T>
__attribute__((noinline)) void mend_forward(const Extraordinary& noted, const LocalResponseNorm& a,
                                            const Cut& cut, const Window& w,
                                            const OrdinaryRange<T>& range, void* memory) {
  noted.for_each_columns(
      cut, w, [&](const Columns& columns) { mend_outputs(a, w, range, columns, memory); });
}
template <class T>
__attribute__((noinline)) void mend_backward(const Extraordinary& noted, const LocalResponseNorm& a,
                                             const Cut& cut, const Window& w,
                                             const OrdinaryRange<T>& range, void* memory) {
  noted.for_each_columns(
      cut, w, [&](const Columns& columns) { Gradients<T>(a, w, range, columns, memory).mend(); });
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_EXTRAORDINARY_H_
