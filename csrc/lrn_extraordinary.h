// Local response norm where s or its power leaves the exponent range, or is 0, negative, infinite
// or NaN: one element by itself, with its exponent apart, so that what is finite in the end is
// finite.
#ifndef NORMKERNELS_LRN_EXTRAORDINARY_H_
#define NORMKERNELS_LRN_EXTRAORDINARY_H_

#include "lrn_scale.h"
#include "power.h"
#include "row_statistics.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// Where s, s^-beta and s^(-beta-1) are ordinary numbers, which the tile computes.
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
  NORMKERNELS_INLINE bool holds(Vec<T> s, int lanes) const {
    const Bits<T> inside = less(least, s) & less(s, most);
    for (int i = 0; i < lanes; ++i) {
      if (inside.v[i] == 0) return false;
    }
    return true;
  }
  NORMKERNELS_INLINE bool holds(Vec<T> s, Full) const {
    return !any(Bits<T>{~(less(least, s) & less(s, most)).v});
  }
  NORMKERNELS_INLINE bool holds_at(Vec<T> s, int lane) const {
    return least.v[0] < s.v[lane] && s.v[lane] < most.v[0];
  }
};

// s of one element. float32's squares cannot leave float64's range; where float64's have left it
// they are added up with their exponents apart.
template <class T>
Scaled scaled_scale_at(const LocalResponseNorm& a, const Tile& tile, const Window& w,
                       int64_t channel, int64_t pixel) {
  const double s = scale_at<T>(a, tile, w, channel, pixel), size = __builtin_fabs(s);
  if (sizeof(T) == sizeof(float) || (0x1p-800 < size && size < 0x1p800)) return Scaled::of(s);
  const T* x = static_cast<const T*>(a.x);
  const int64_t from = channel > w.before ? channel - w.before : 0;
  const int64_t to = channel + w.after < tile.c ? channel + w.after + 1 : tile.c;
  const Scaled weight = Scaled::of(a.alpha / static_cast<double>(a.size));
  Scaled sum = Scaled::of(a.bias);
  for (int64_t k = from; k < to; ++k) {
    const Scaled v = Scaled::of(static_cast<double>(x[tile.at(k, pixel)]));
    sum = sum + v * v * weight;
  }
  return sum;
}

// y = x P; s for the second output.
template <class T>
__attribute__((noinline)) void one_forward(const LocalResponseNorm& a, const Tile& tile,
                                           const Window& w, int64_t channel, int64_t pixel) {
  const int64_t at = tile.at(channel, pixel);
  const Scaled s = scaled_scale_at<T>(a, tile, w, channel, pixel);
  const Scaled x = Scaled::of(static_cast<double>(static_cast<const T*>(a.x)[at]));
  static_cast<T*>(a.y)[at] = static_cast<T>((x * negative_power(s, a.beta)).value());
  if (a.scale != nullptr) static_cast<T*>(a.scale)[at] = static_cast<T>(s.value());
}

// dy P and dy x P / s of one element: what it gives to its own dx, and to those of its window.
struct Terms {
  Scaled direct, shared;
};

template <class T>
Terms terms_of(const LocalResponseNorm& a, const Tile& tile, const Window& w, int64_t channel,
               int64_t pixel) {
  const int64_t at = tile.at(channel, pixel);
  const Scaled s = scaled_scale_at<T>(a, tile, w, channel, pixel);
  const Scaled x = Scaled::of(static_cast<double>(static_cast<const T*>(a.x)[at]));
  const Scaled dy = Scaled::of(static_cast<double>(static_cast<const T*>(a.dy)[at]));
  const Scaled direct = dy * negative_power(s, a.beta);
  // Times one over s: an infinite or zero s then acts as it does in the formula.
  return {direct, x * direct * Scaled::normal({1 / s.m, -s.e})};
}

template <class T>
__attribute__((noinline)) void one_backward(const LocalResponseNorm& a, const Tile& tile,
                                            const Window& w, int64_t channel, int64_t pixel,
                                            T* direct, T* shared) {
  const Terms terms = terms_of<T>(a, tile, w, channel, pixel);
  *direct = static_cast<T>(terms.direct.value());
  *shared = static_cast<T>(terms.shared.value());
}

// dx of the tile's elements whose own s is out of the ordinary: there x times the shared terms is
// an ordinary number, but the terms by themselves need not be.
template <class T>
__attribute__((noinline)) void mend_gradient(const LocalResponseNorm& a, const Tile& tile,
                                             const Window& w, const OrdinaryRange<T>& range) {
  const T* scale_in = static_cast<const T*>(a.scale_in);
  const Scaled factor = Scaled::of(-2 * a.beta) * Scaled::of(a.alpha / static_cast<double>(a.size));
  for (int64_t channel = tile.first; channel < tile.last; ++channel) {
    for (int64_t pixel = 0; pixel < tile.pixels; ++pixel) {
      const int64_t at = tile.at(channel, pixel);
      const T s = scale_in != nullptr ? scale_in[at]
                                      : static_cast<T>(scale_at<T>(a, tile, w, channel, pixel));
      if (range.holds_at(Vec<T>::all(s), 0)) continue;
      Scaled sum = {0, 0};
      const int64_t to = channel + w.before < tile.c ? channel + w.before + 1 : tile.c;
      for (int64_t k = channel > w.after ? channel - w.after : 0; k < to; ++k) {
        sum = sum + terms_of<T>(a, tile, w, k, pixel).shared;
      }
      const Scaled x = Scaled::of(static_cast<double>(static_cast<const T*>(a.x)[at]));
      const Scaled direct = terms_of<T>(a, tile, w, channel, pixel).direct;
      static_cast<T*>(a.dx)[at] = static_cast<T>((direct + factor * x * sum).value());
    }
  }
}

// f(channel, pixel, lane) for the lanes of a vector at a matrix offset whose s is out of the
// ordinary.
template <class T, class F>
NORMKERNELS_INLINE void for_each_extraordinary(const OrdinaryRange<T>& range, Vec<T> s,
                                               int64_t lanes, int64_t offset, const Tile& tile,
                                               int64_t top, F&& f) {
  for (int64_t i = 0; i < lanes; ++i) {
    if (range.holds_at(s, static_cast<int>(i))) continue;
    f(top + (offset + i) / tile.pixels, (offset + i) % tile.pixels, i);
  }
}

template <class T>
NORMKERNELS_INLINE int64_t count_of(Full) {
  return Vec<T>::kLanes;
}
template <class T>
NORMKERNELS_INLINE int64_t count_of(int lanes) {
  return lanes;
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_EXTRAORDINARY_H_
