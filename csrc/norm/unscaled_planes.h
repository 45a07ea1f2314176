// Planes as the backward of instance and group norm in NCHW has them, and dx, and y if it is
// wanted, of those that need no scale: nearly all.
#ifndef NORMKERNELS_NORM_UNSCALED_PLANES_H_
#define NORMKERNELS_NORM_UNSCALED_PLANES_H_

#include "norm/channel_groups.h"
#include "norm/plane_sums.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {

// Some planes of one image, as the arrays have them; y may be null.
template <class T>
struct Planes {
  Rows<const T> dy, x;
  Rows<T> y, dx;

  NORMKERNELS_INLINE Planes from(int64_t plane) const {
    return {dy.from(plane), x.from(plane), y.p == nullptr ? y : y.from(plane), dx.from(plane)};
  }
  NORMKERNELS_INLINE Planes in_rows(int64_t n) const {
    return {{dy.p, n}, {x.p, n}, {y.p, n}, {dx.p, n}};
  }
};

// As many planes as fit L1 together, whole vectors of them, since these share what is made of their
// sums: planes of 140 to 400 elements are 1.04 times as fast (AVX2, Zen 3).
NORMKERNELS_INLINE int64_t planes_together(int64_t cols) {
  constexpr int64_t W = Vec<double>::kLanes;
  const int64_t planes = rows_together(cols);
  return planes < W ? planes : planes / W * W;
}

// A backward's arguments by their types, from plane `first` on.
template <class T>
struct PlanesBackward {
  int64_t cols, together;
  Writes writes;
  const T *scale, *bias, *mean, *inv_std;
  double epsilon;
  T *mean_out, *inv_std_out;
  bool stream;

  explicit PlanesBackward(const GroupNormBackward& a)
      : cols(a.shape.spatial),
        together(planes_together(cols)),
        writes(a.groups != a.shape.c ? Writes::kDxOfGroup
               : a.y != nullptr      ? Writes::kDxAndY
                                     : Writes::kDx),
        scale(static_cast<const T*>(a.scale)),
        bias(static_cast<const T*>(a.bias)),
        mean(static_cast<const T*>(a.mean)),
        inv_std(static_cast<const T*>(a.inv_std)),
        epsilon(a.epsilon),
        mean_out(static_cast<T*>(a.mean_out)),
        inv_std_out(static_cast<T*>(a.inv_std_out)),
        stream(a.stream && a.shape.spatial >= kLeastStreamed<T>) {}
};

template <class T>
struct PlaneValues {
  Vec<T> y, dx;
};

// dx of a plane, and y as well in one sweep, since y may be x: what planes.h has, with a scale of
// 1, so that two of its five or six operations are additions. AMD's processors have two ports for
// these and two others for fma.
template <class T, Writes kWrites>
struct UnscaledGradient {
  Vec<T> minus_centre, rstd, shift, gradient_shift, minus_mean_g, mean_gx, factor;

  NORMKERNELS_INLINE UnscaledGradient(const SharedFactors<T>& factors, int64_t i) {
    const RowGradient<T> row = factors.gradient(i);
    minus_centre = -Vec<T>::all(row.standard.centre);
    rstd = Vec<T>::all(row.standard.rstd);
    shift = Vec<T>::all(factors.standard(i).shift);
    gradient_shift = Vec<T>::all(row.standard.shift);
    minus_mean_g = -Vec<T>::all(row.mean_g);
    mean_gx = Vec<T>::all(row.mean_gx);
    factor = Vec<T>::all(row.factor);
  }
  NORMKERNELS_INLINE PlaneValues<T> operator()(Vec<T> x, Vec<T> dy, Vec<T> scale,
                                               Vec<T> bias) const {
    const Vec<T> difference = x + minus_centre;
    const Vec<T> g = kWrites == Writes::kDxOfGroup ? dy * scale : dy;
    const Vec<T> xhat = fma(difference, rstd, gradient_shift);
    return {
        kWrites == Writes::kDxAndY ? fma(fma(difference, rstd, shift), scale, bias) : difference,
        multiply_add(-xhat, mean_gx, g + minus_mean_g) * factor};
  }
};

// `count` planes of n elements. Measured (AVX2, Zen 3), this beside the writer of rows: planes of
// 300 to 1000 elements in L3 1.1 times as fast.
template <class T, Writes kWrites>
NORMKERNELS_INLINE void write_unscaled_planes(const PlanesBackward<T>& a, const Planes<T>& planes,
                                              int64_t count, int64_t n, int64_t channel,
                                              const SharedFactors<T>& factors) {
  constexpr int W = Vec<T>::kLanes;
  constexpr bool kForward = kWrites == Writes::kDxAndY;
  const Parameter<T> scales = gamma_of<T>(optional_at<const T>(a.scale, channel));
  const Parameter<T> biases = beta_of<T>(optional_at<const T>(a.bias, channel));
  UnscaledGradient<T, kWrites> gradient(factors, 0);
  Planes<T> at = planes;
  for (int64_t i = 0; i < count; ++i) {
    const Vec<T> scale = Vec<T>::all(*scales.at(i)), bias = Vec<T>::all(*biases.at(i));
    if (factors.each != 0) gradient = UnscaledGradient<T, kWrites>(factors, i);
    const T *x = at.x.p, *dy = at.dy.p;
    T *dx = at.dx.p, *y = at.y.p;
    at.x.p += at.x.stride, at.dy.p += at.dy.stride, at.dx.p += at.dx.stride;
    if constexpr (kForward) at.y.p += at.y.stride;
    const auto values = [=](int64_t j, auto lanes) __attribute__((always_inline)) {
      return gradient(load(x + j, lanes), load(dy + j, lanes), scale, bias);
    };
    const auto put = [=](int64_t j, const PlaneValues<T>& v, auto lanes)
        __attribute__((always_inline)) {
      if constexpr (kForward) store(y + j, v.y, lanes);
      store(dx + j, v.dx, lanes);
    };
    if (n < W) {
      put(0, values(0, static_cast<int>(n)), static_cast<int>(n));
      continue;
    }
    const PlaneValues<T> last = values(n - W, Full{});  // before it is overwritten
    int64_t j = 0;
    for (; j < n - 2 * W; j += 2 * W) {
      prefetch_lines_to_write<2 * W>(dx + j + kWriteLead<T>);
      put(j, values(j, Full{}), Full{});
      put(j + W, values(j + W, Full{}), Full{});
    }
    if (j < n - W) put(j, values(j, Full{}), Full{});
    put(n - W, last, Full{});
  }
}
template <class T>
__attribute__((noinline)) void write_unscaled_planes(const PlanesBackward<T>& a,
                                                     const Planes<T>& planes, int64_t count,
                                                     int64_t n, int64_t channel,
                                                     const SharedFactors<T>& factors) {
  if (a.writes == Writes::kDx)
    return write_unscaled_planes<T, Writes::kDx>(a, planes, count, n, channel, factors);
  if (a.writes == Writes::kDxAndY)
    return write_unscaled_planes<T, Writes::kDxAndY>(a, planes, count, n, channel, factors);
  write_unscaled_planes<T, Writes::kDxOfGroup>(a, planes, count, n, channel, factors);
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_UNSCALED_PLANES_H_
