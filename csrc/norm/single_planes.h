// The backward of planes of one element, a plane per lane.
//
// Their mean is the element, so xhat is 0, and with it dx and what they add to dscale; the sum of
// dy is dy. That goes for saved statistics that are those of x, and for numbers that are neither
// NaN nor infinite; others are planes like any.
#ifndef NORMKERNELS_NORM_SINGLE_PLANES_H_
#define NORMKERNELS_NORM_SINGLE_PLANES_H_

#include "norm/unscaled_planes.h"

namespace normkernels::NORMKERNELS_ISA {

// Their dx and sums, of whole vectors of planes, if nothing about them is unusual and the
// statistics are theirs; returns how many. Measured (AVX2, Zen 3): 64 x 256 planes take 18 us
// instead of 69.
template <class T>
__attribute__((noinline)) int64_t write_constant_planes(const PlanesBackward<T>& a,
                                                        const Planes<T>& planes, int64_t first,
                                                        int64_t count, int64_t channel,
                                                        const ChannelSums& channels) {
  constexpr int W = Vec<T>::kLanes, kWide = W / Vec<double>::kLanes;
  if (a.mean == nullptr || a.writes != Writes::kDx) return 0;
  const int64_t n = count / W * W;
  const T *x = planes.x.p, *dy = planes.dy.p;
  const Parameter<T> scale = gamma_of<T>(optional_at<const T>(a.scale, channel));
  const Vec<T> zero = Vec<T>::zero();
  unsigned unusual = 0;
  for (int64_t j = 0; j < n; j += W) {
    const Vec<T> difference = load(x + j) - load(a.mean + first + j);
    const Vec<T> d = load(dy + j), gamma = load(scale.at(j));
    const Vec<T> is_zero = absolute(difference) + ((d - d) + (gamma - gamma));
    // With the sign of a zero: -0 about a mean of +0 is -0, and dx a zero of the other sign.
    const Vec<T> inverse = bit_cast<Vec<T>>(bit_cast<Bits<T>>(load(a.inv_std + first + j)) |
                                            bit_cast<Bits<T>>(difference));
    const Vec<T> rstd = select<T>(equal(is_zero, zero), inverse, zero);
    unusual |= lanes_outside(rstd, Vec<T>::all(power_of_two<T>(-kOrdinaryExponents<T>)),
                             Vec<T>::all(power_of_two<T>(kOrdinaryExponents<T>)));
  }
  if (unusual != 0) return 0;
  for (int64_t j = 0; j < n; j += W) {
    const Vec<T> d = load(dy + j);
    Vec<double> wide[kWide];
    set_widened(wide, d);
    const Vec<T> difference = d - (zero + d);  // a zero that has the sign of one
    store(planes.dx.p + j, difference * load(scale.at(j)));
    for (int k = 0; k < kWide; ++k) {
      double* const sum = channels.bias + j + k * Vec<double>::kLanes;
      store(sum, load(sum) + wide[k]);
    }
  }
  return n;
}

// The sums of others, and their dx (and y).
template <class T>
void single_plane_sums(const T* dy, const T* x, int64_t planes, const Factors<T>& factors,
                       SumTable sums) {
  alignas(64) T terms[3][kRowsTogether];
  for_each_vector<T, 1>(
      planes, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        const Standardise<T> standardise(factors, Factors<T>::kShift, j, lanes);
        const Vec<T> zero = Vec<T>::zero(), g = load(dy + j, lanes);
        const Vec<T> xhat = standardise(load(x + j, lanes));
        store(terms[0] + j, multiply_add(g, xhat, zero), lanes);
        store(terms[1] + j, zero + g, lanes);
        store(terms[2] + j, zero + xhat, lanes);
      });
  for_each_vector<double, 1>(
      planes, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        for (int k = 0; k < 3; ++k) store(sums[k] + j, load_widened(terms[k] + j, lanes), lanes);
      });
}

template <class T>
void write_single_planes(const PlanesBackward<T>& a, const Planes<T>& planes, int64_t count,
                         int64_t channel, const Factors<T>& factors) {
  const T *x = planes.x.p, *dy = planes.dy.p;
  T *dx = planes.dx.p, *y = planes.y.p;
  const Parameter<T> scale = gamma_of<T>(optional_at<const T>(a.scale, channel));
  const Parameter<T> bias = beta_of<T>(optional_at<const T>(a.bias, channel));
  const bool of_group = a.writes == Writes::kDxOfGroup;
  for_each_vector<T, 1>(
      count, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        using F = Factors<T>;
        const Standardise<T> xhat(factors, F::kShift, j, lanes);
        const Standardise<T> gradient_xhat(factors, F::kGradientShift, j, lanes);
        const Gradient<T> gradient(factors, j, lanes);
        const Vec<T> v = load(x + j, lanes), d = load(dy + j, lanes);
        const Vec<T> gamma = load(scale.at(j), lanes);
        if (y != nullptr) store(y + j, fma(xhat(v), gamma, load(bias.at(j), lanes)), lanes);
        const Vec<T> g = of_group ? d * gamma : d;
        store(dx + j, gradient(g, gradient_xhat(v)), lanes);
      });
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_SINGLE_PLANES_H_
