// Local response norm where s or its power leaves the exponent range, or is 0, negative, infinite
// or NaN: with exponents apart, so that what is finite in the end is finite.
//
// The vectors that go along the stream take every s for an ordinary number and note the strips
// where one is not. Those are gone through again, by pixels: each s, each power and each term is
// formed once, so any values cost c * size per pixel.
#ifndef NORMKERNELS_LRN_EXTRAORDINARY_H_
#define NORMKERNELS_LRN_EXTRAORDINARY_H_

#include "lrn/pixels.h"

namespace normkernels::NORMKERNELS_ISA {

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
  // Of a row.
  unsigned outside(const T* s) const {
    unsigned bits = 0;
    for (int i = 0; i < kPixels; i += Vec<T>::kLanes) {
      bits |= lanes_outside(load(s + i), least, most) << i;
    }
    return bits;
  }
};

// Whether all that was seen is ordinary. As whole numbers, which is what it costs a vector, those
// that are negative or NaN are above all others.
template <class T>
class OrdinaryCheck {
 public:
  NORMKERNELS_INLINE void see(const OrdinaryRange<T>&, Vec<T> s, Full) {
    const Words<T> bits = bit_cast<Words<T>>(s);
    most_ = {bits.v > most_.v ? bits.v : most_.v};
    least_ = {bits.v < least_.v ? bits.v : least_.v};
  }
  NORMKERNELS_INLINE void see(const OrdinaryRange<T>& range, Vec<T> s, int lanes) {
    outside_ |= range.outside(s, lanes);
  }
  NORMKERNELS_INLINE bool holds(const OrdinaryRange<T>& range) const {
    return (outside_ | range.outside(bit_cast<Vec<T>>(most_), Full{}) |
            range.outside(bit_cast<Vec<T>>(least_), Full{})) == 0;
  }

 private:
  Words<T> most_ = bit_cast<Words<T>>(Vec<T>::all(1)), least_ = most_;
  unsigned outside_ = 0;
};

// ---- Forward ------------------------------------------------------------------------

// y = x P, and s, of those elements that are out of the ordinary.
template <class T>
void mend_outputs(const LocalResponseNorm& a, const Window& w, const OrdinaryRange<T>& range,
                  const Pixels& pixels, void* memory) {
  const LastLines<T> lines(w, memory);
  PixelScales<T> scales(a, w, pixels, lines);
  for (int64_t channel = 0; channel < w.c; ++channel) {
    T rounded[kPixels], y[kPixels];
    double s[kPixels];
    scales.scale(channel, rounded, s);
    const unsigned outside = range.outside(rounded) & pixels.mask();
    if (outside == 0) continue;
    ScaledRow scaled, power;
    scales.scaled(channel, s, scaled);
    negative_power(pixels, scaled, a.beta, power);
    for_each_row_vector<double>(pixels, [&](int i) {
      const Vec<double> x = load_widened(lines[channel].x + i, Full{});
      store_rounded(y + i, (Scaled::of(x) * power.at(i)).value(), Full{});
      store_rounded(rounded + i, scaled.at(i).value(), Full{});
    });
    pixels.write(static_cast<T*>(a.y), channel, y, outside);
    if (a.scale != nullptr) pixels.write(static_cast<T*>(a.scale), channel, rounded, outside);
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
template <class T>
NORMKERNELS_INLINE Vec<T> ordinary_power(Vec<T> s, double beta) {
  return with_power(power_for(beta), [&](auto p) {
    constexpr Power kPower = static_cast<Power>(decltype(p)::value);
    const Group<T, 1> base = {{s}};
    if constexpr (kPower == Power::kGeneral) {
      return general_power(base, -beta).v[0];
    } else {
      return named_power<kPower>(base).v[0];
    }
  });
}

// dx of pixels with elements out of the ordinary. Theirs is dy P + factor x (sum of dy x P / s),
// where x times the sum is an ordinary number but the terms by themselves need not be. Their
// neighbours take their terms, rounded to T, among ordinary ones; a term that T does not hold makes
// the neighbour such an element, too.
template <class T>
class PixelGradients {
 public:
  PixelGradients(const LocalResponseNorm& a, const Window& w, const OrdinaryRange<T>& range,
                 const Pixels& pixels, void* memory)
      : a_(a),
        w_(w),
        range_(range),
        pixels_(pixels),
        lines_(w, memory),
        scales_(a, w, pixels, lines_),
        factor_(Scaled::of(-2) * Scaled::of(a.beta) *
                Scaled::of(a.alpha / static_cast<double>(a.size))) {}

  void mend() {
    int64_t first = w_.c, last = -1;
    scales_.start(0);
    for (int64_t channel = 0; channel < w_.c; ++channel) {
      T s[kPixels];
      double unrounded[kPixels];
      if (scale(channel, s, unrounded) == 0) continue;
      first = smaller(channel, first);
      last = channel;
    }
    if (last < 0) return;
    // The channels whose mirrored windows contain one of these, and what is in those windows.
    const int64_t from = first > w_.before ? first - w_.before : 0;
    const int64_t to = last + w_.after < w_.c ? last + w_.after + 1 : w_.c;
    int64_t weighed = from > w_.after ? from - w_.after : 0;
    scales_.start(weighed);
    for (int64_t channel = from; channel < to; ++channel) {
      for (; weighed < w_.c && weighed <= channel + w_.before; ++weighed) weigh(weighed);
      write(channel);
    }
  }

 private:
  // s as the vectors along the stream have it: what the caller saved, if so. And s itself, before
  // it is rounded. A bit for each element that is out of the ordinary.
  __attribute__((noinline)) unsigned scale(int64_t channel, T* s, double* unrounded) {
    scales_.scale(channel, s, unrounded);
    if (a_.scale_in != nullptr) pixels_.read(static_cast<const T*>(a_.scale_in), channel, s);
    return range_.outside(s) & pixels_.mask();
  }

  __attribute__((noinline)) void weigh(int64_t channel) {
    Line<T>& line = lines_[channel];
    T s[kPixels], dy[kPixels], y[kPixels];
    double unrounded[kPixels];
    line.outside = scale(channel, s, unrounded);
    pixels_.read(static_cast<const T*>(a_.dy), channel, dy);
    if (a_.y_in != nullptr) pixels_.read(static_cast<const T*>(a_.y_in), channel, y);
    for_each_row_vector<T>(pixels_, [&](int i) {
      const Vec<T> bracket = load(s + i), g = load(dy + i);
      const Vec<T> power = ordinary_power(bracket, a_.beta);
      const Vec<T> output = a_.y_in == nullptr ? load(line.x + i) * power : load(y + i);
      store(line.direct + i, g * power);
      store(line.shared + i, g * output / bracket);
    });
    weigh_scaled(channel, unrounded, dy);
  }

  void weigh_scaled(int64_t channel, const double* unrounded, const T* dy) const {
    Line<T>& line = lines_[channel];
    ScaledRow s, power;
    T rounded[kPixels];
    scales_.scaled(channel, unrounded, s);
    negative_power(pixels_, s, a_.beta, power);
    for_each_row_vector<double>(pixels_, [&](int i) {
      const Scaled direct = Scaled::of(load_widened(dy + i, Full{})) * power.at(i);
      const Scaled x = Scaled::of(load_widened(line.x + i, Full{}));
      const Scaled shared = x * direct * s.at(i).inverse();
      line.scaled_direct.put(i, direct);
      line.scaled_shared.put(i, shared);
      store_rounded(rounded + i, shared.value(), Full{});
    });
    line.too_large = 0;
    for_each_lane(line.outside, [&](int lane) {
      line.shared[lane] = rounded[lane];
      if (!(rounded[lane] - rounded[lane] == 0)) line.too_large |= 1u << lane;
    });
  }

  __attribute__((noinline)) void write(int64_t channel) const {
    const Line<T>& line = lines_[channel];
    const int64_t first = channel - w_.after, c = w_.c;
    const T factor = minus_factor<T>(a_);
    unsigned scaled = line.outside;
    for (int64_t k = 0; k < w_.size(); ++k) {
      if (first + k >= 0 && first + k < c) scaled |= lines_[first + k].too_large;
    }
    T dx[kPixels];
    for_each_row_vector<T>(pixels_, [&](int i) {
      Vec<T> sum[1];
      window_sums(
          w_.size(), sum, [&](int64_t k, int) __attribute__((always_inline)) {
            if (first + k < 0 || first + k >= c) return Vec<T>::zero();
            return load(lines_[first + k].shared + i);
          });
      store(dx + i, gradient(load(line.x + i), factor, sum[0], load(line.direct + i)));
    });
    if (scaled != 0) replace_scaled(channel, scaled, dx);
    pixels_.write(static_cast<T*>(a_.dx), channel, dx, pixels_.mask());
  }

  void replace_scaled(int64_t channel, unsigned lanes, T* dx) const {
    const Line<T>& line = lines_[channel];
    const int64_t from = channel > w_.after ? channel - w_.after : 0;
    const int64_t to = channel + w_.before < w_.c ? channel + w_.before + 1 : w_.c;
    ScaledRow sum = {};
    T rounded[kPixels];
    add_channels(pixels_, from, to, sum,
                 [&](int64_t j, int i) { return lines_[j].scaled_shared.at(i); });
    for_each_row_vector<double>(pixels_, [&](int i) {
      const Scaled x = Scaled::of(load_widened(line.x + i, Full{}));
      const Scaled output = line.scaled_direct.at(i) + factor_ * x * sum.at(i);
      store_rounded(rounded + i, output.value(), Full{});
    });
    for_each_lane(lanes, [&](int lane) { dx[lane] = rounded[lane]; });
  }

  const LocalResponseNorm& a_;
  const Window& w_;
  const OrdinaryRange<T>& range_;
  const Pixels& pixels_;
  const LastLines<T> lines_;
  PixelScales<T> scales_;
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

  // f(pixels) for all pixels of these strips.
  template <class F>
  void for_each_pixels(const Strips& strips, const Window& w, F&& f) const {
    for (int bit = 0; bit < 64; ++bit) {
      if ((bits_ >> bit & 1) == 0) continue;
      const int begin = bit;
      while (bit < 63 && (bits_ >> (bit + 1) & 1) != 0) ++bit;
      const int64_t last = strips.pixel_of(strip_at(bit + 1));
      for (int64_t pixel = strips.pixel_of(strip_at(begin)); pixel < last; pixel += kPixels) {
        f(Pixels(w, pixel, part_end(pixel, kPixels, last)));
      }
    }
  }

 private:
  // The first strip of a bit.
  int64_t strip_at(int bit) const {
    const int64_t strip = first_ + bit * strips_per_bit_;
    return smaller(strip, last_);
  }

  int64_t first_, last_, strips_per_bit_;
  uint64_t bits_ = 0;
};

// What was noted in a task.
template <class T>
__attribute__((noinline)) void mend_forward(const Extraordinary& noted, const LocalResponseNorm& a,
                                            const Strips& strips, const Window& w,
                                            const OrdinaryRange<T>& range, void* memory) {
  noted.for_each_pixels(strips, w,
                        [&](const Pixels& pixels) { mend_outputs(a, w, range, pixels, memory); });
}
template <class T>
__attribute__((noinline)) void mend_backward(const Extraordinary& noted, const LocalResponseNorm& a,
                                             const Strips& strips, const Window& w,
                                             const OrdinaryRange<T>& range, void* memory) {
  noted.for_each_pixels(strips, w, [&](const Pixels& pixels) {
    PixelGradients<T>(a, w, range, pixels, memory).mend();
  });
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_EXTRAORDINARY_H_
