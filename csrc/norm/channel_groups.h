// Channels that share statistics: what a group is made of, and what it gives back to its channels.
//
// A group is a number of neighbours among the channels of an image. With xhat = (x - mean) rstd and
// g = dy scale, of which scale belongs to the channel and the means to the group, the gradient is
// that of a row (row_gradient.h):
//
//   dx = rstd (g - mean(g) - xhat mean(g xhat)),   dscale = sum dy xhat,   dbias = sum dy.
//
// The sums of dy xhat, dy and xhat are those of single channels, whose scale weights them here. It
// cannot be part of the factor of dx, as it is where a channel is a group of its own: the means
// would have to be divided by it, and it may be 0.
#ifndef NORMKERNELS_NORM_CHANNEL_GROUPS_H_
#define NORMKERNELS_NORM_CHANNEL_GROUPS_H_

#include "norm/parameter.h"
#include "norm/row_gradient.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {

// Groups as rows, which they are in NCHW.
NORMKERNELS_INLINE Matrix group_rows(const Images& shape, int64_t groups) {
  return {shape.n * groups, shape.c / groups * shape.spatial};
}

// Where the sums of a channel over the images are added up.
struct ChannelSums {
  double *scale, *bias;

  NORMKERNELS_INLINE ChannelSums from(int64_t channel) const {
    return {scale + channel, bias + channel};
  }
};

// Lanes that lie `step` elements apart; from the last of `count` on it is the same one.
struct Apart {
  int64_t step, count;
};
NORMKERNELS_INLINE Vec<double> load(const double* p, const Apart& lanes) {
  Vec<double> v;
#pragma GCC unroll 8
  for (int i = 0; i < Vec<double>::kLanes; ++i)
    v.v[i] = p[smaller(i, lanes.count - 1) * lanes.step];
  return v;
}

// The moments of `count` elements of each channel become those of groups, [groups], merged in index
// order. A lane is a group: a merge waits 30 cycles or more for the one before it, and 1280
// channels of 64 pixels took as long to merge as to sum and to write.
template <class T>
__attribute__((noinline)) void merge_channels(SumTable moments, int64_t groups, int64_t channels,
                                              double count) {
  for (int64_t i = 0; i < groups; i += Vec<double>::kLanes) {
    const Apart lanes = {channels, groups - i};
    Moments<T, Vec<double>> all = load_moments<T>(moments, i * channels, count, lanes);
    for (int64_t k = 1; k < channels; ++k)
      all = merge(all, load_moments<T>(moments, i * channels + k, count, lanes));
    store_moments(all, moments, i, Full{});  // over channels that have been read
  }
}

// A value per group, [groups], becomes one per channel. In place: the last group first.
template <class T>
__attribute__((noinline)) void spread(T* values, int64_t groups, int64_t channels) {
  for (int64_t i = groups; i-- > 0;) {
    const T value = values[i];
    for (int64_t k = 0; k < channels; ++k) values[i * channels + k] = value;
  }
}

template <class T>
NORMKERNELS_INLINE void spread_statistics(const Factors<T>& f, int64_t groups, int64_t channels) {
  for (int field = Factors<T>::kScale; field <= Factors<T>::kShift; ++field)
    spread(f[field], groups, channels);
}

// The gradient of a group from its channels' sums of dy xhat, dy and xhat over `spatial` elements
// each, in sums[0..3]; `rstd` as exact as it is known. The sums of each channel as its parameters'
// gradients need them are added to `parameters`.
template <class T>
__attribute__((noinline)) RowGradient<T> group_gradient(SumTable sums, const Parameter<T>& gamma,
                                                        int64_t channels, int64_t spatial,
                                                        const Standard<T>& standard, double rstd,
                                                        const ChannelSums& parameters) {
  using V = Vec<double>;
  using F = Factors<T>;
  double total[3] = {0, 0, 0};
  for (int64_t k = 0; k < channels; ++k) {
    const double scale = static_cast<double>(*gamma.at(k));
    total[0] += scale * sums[0][k];
    total[1] += scale * sums[1][k];
    total[2] += sums[2][k];
  }
  const int64_t n = channels * spatial;
  const V centre = V::all(standard.centre), inverse = V::all(standard.rstd);
  const V correction =
      mean_correction<T>(centre, inverse, V::all(total[2] * (1 / static_cast<double>(n))));
  for_each_vector<double, 1>(
      channels, [&](int64_t k, auto lanes) __attribute__((always_inline)) {
        const V gx = load(sums[0] + k, lanes), g = load(sums[1] + k, lanes);
        double *of_scale = parameters.scale + k, *of_bias = parameters.bias + k;
        store(of_scale, load(of_scale, lanes) + (gx - correction * g), lanes);
        store(of_bias, load(of_bias, lanes) + g, lanes);
      });
  T storage[F::kFields * V::kLanes];
  const F factors = {storage, V::kLanes};
  factors.set(F::kScale, 0, V::all(standard.scale));
  factors.set(F::kCentre, 0, centre);
  factors.set(F::kRstd, 0, inverse);
  factors.set(F::kShift, 0, V::all(standard.shift));
  const V of_group[3] = {V::all(total[0]), V::all(total[1]), V::all(total[2])};
  set_gradient(factors, 0, of_group, n, gradient_factor(V::all(rstd), V::all(1)), true);
  return factors.gradient(0);
}

// The gradient's factors of `channels` lanes of a table.
template <class T>
__attribute__((noinline)) void set_same_gradient(const Factors<T>& factors, int64_t channels,
                                                 const RowGradient<T>& row) {
  using F = Factors<T>;
  for (int64_t k = 0; k < channels; ++k) {
    factors[F::kGradientShift][k] = row.standard.shift;
    factors[F::kMeanG][k] = row.mean_g;
    factors[F::kMeanGx][k] = row.mean_gx;
    factors[F::kFactor][k] = row.factor;
  }
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_CHANNEL_GROUPS_H_
