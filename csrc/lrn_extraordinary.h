// Local response norm where s or its power leaves the exponent range, or is 0, negative, infinite
// or NaN: one element by itself, with its exponent apart, so that what is finite in the end is
// finite.
#ifndef NORMKERNELS_LRN_EXTRAORDINARY_H_
#define NORMKERNELS_LRN_EXTRAORDINARY_H_

#include "lrn_scale.h"
#include "power.h"
#include "range.h"

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
  NORMKERNELS_INLINE bool holds(T s) const { return least.v[0] < s && s < most.v[0]; }
};

// s of one element. float32's squares cannot leave float64's range; where float64's have left it
// they are added up with their exponents apart.
template <class T>
Scaled scaled_scale_at(const LocalResponseNorm& a, const Window& w, int64_t at) {
  const double s = scale_at<T>(a, w, at), size = __builtin_fabs(s);
  if (sizeof(T) == sizeof(float) || (0x1p-800 < size && size < 0x1p800)) return Scaled::of(s);
  const T* x = static_cast<const T*>(a.x);
  const int64_t channel = w.channel_at(at);
  const int64_t before = channel < w.before ? channel : w.before;
  const int64_t after = w.c - 1 - channel < w.after ? w.c - 1 - channel : w.after;
  const Scaled weight = Scaled::of(a.alpha / static_cast<double>(a.size));
  Scaled sum = Scaled::of(a.bias);
  for (int64_t k = -before; k <= after; ++k) {
    const Scaled v = Scaled::of(static_cast<double>(x[at + k * w.stride]));
    sum = sum + v * v * weight;
  }
  return sum;
}

// y = x P; s for the second output.
template <class T>
__attribute__((noinline)) void one_forward(const LocalResponseNorm& a, const Window& w,
                                           int64_t at) {
  const Scaled s = scaled_scale_at<T>(a, w, at);
  const Scaled x = Scaled::of(static_cast<double>(static_cast<const T*>(a.x)[at]));
  static_cast<T*>(a.y)[at] = static_cast<T>((x * negative_power(s, a.beta)).value());
  if (a.scale != nullptr) static_cast<T*>(a.scale)[at] = static_cast<T>(s.value());
}

// dy P and dy x P / s of one element: what it gives to its own dx, and to those of its window.
struct Terms {
  Scaled direct, shared;
};

template <class T>
Terms terms_of(const LocalResponseNorm& a, const Window& w, int64_t at) {
  const Scaled s = scaled_scale_at<T>(a, w, at);
  const Scaled x = Scaled::of(static_cast<double>(static_cast<const T*>(a.x)[at]));
  const Scaled dy = Scaled::of(static_cast<double>(static_cast<const T*>(a.dy)[at]));
  const Scaled direct = dy * negative_power(s, a.beta);
  // Times one over s: an infinite or zero s then acts as it does in the formula.
  return {direct, x * direct * Scaled::normal({1 / s.m, -s.e})};
}

template <class T>
__attribute__((noinline)) void one_backward(const LocalResponseNorm& a, const Window& w, int64_t at,
                                            T* direct, T* shared) {
  const Terms terms = terms_of<T>(a, w, at);
  *direct = static_cast<T>(terms.direct.value());
  *shared = static_cast<T>(terms.shared.value());
}

// dx of those of n elements in memory whose own s is out of the ordinary: there x times the shared
// terms is an ordinary number, but the terms by themselves need not be.
template <class T>
__attribute__((noinline)) void mend_gradient(const LocalResponseNorm& a, const Window& w,
                                             const OrdinaryRange<T>& range, int64_t from,
                                             int64_t n) {
  const T* scale_in = static_cast<const T*>(a.scale_in);
  const Scaled factor = Scaled::of(-2 * a.beta) * Scaled::of(a.alpha / static_cast<double>(a.size));
  for (int64_t at = from; at < from + n; ++at) {
    const T s = scale_in != nullptr ? scale_in[at] : static_cast<T>(scale_at<T>(a, w, at));
    if (range.holds(s)) continue;
    const int64_t channel = w.channel_at(at);
    const int64_t before = channel < w.after ? channel : w.after;
    const int64_t after = w.c - 1 - channel < w.before ? w.c - 1 - channel : w.before;
    Scaled sum = {0, 0};
    for (int64_t k = -before; k <= after; ++k) {
      sum = sum + terms_of<T>(a, w, at + k * w.stride).shared;
    }
    const Scaled x = Scaled::of(static_cast<double>(static_cast<const T*>(a.x)[at]));
    const Scaled direct = terms_of<T>(a, w, at).direct;
    static_cast<T*>(a.dx)[at] = static_cast<T>((direct + factor * x * sum).value());
  }
}

// f(lane) for every bit that is set.
template <class F>
NORMKERNELS_INLINE void for_each_lane(unsigned bits, F&& f) {
  for (; bits != 0; bits &= bits - 1) f(__builtin_ctz(bits));
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_EXTRAORDINARY_H_
