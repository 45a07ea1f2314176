// The backward of instance norm in NCHW, some planes of an image at a time: dx, y if it is wanted,
// and their sums for dscale and dbias. A plane has its own statistics, or those of its group
// (group_planes.h).
#ifndef NORMKERNELS_NORM_PLANES_H_
#define NORMKERNELS_NORM_PLANES_H_

#include "norm/channel_groups.h"
#include "norm/plane_sums.h"
#include "norm/row_writer.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {

template <class T>
struct PlaneValues {
  Vec<T> y, dx;
};

// dx of a plane, and y as well in one sweep, since y may be x.
template <class T, Writes kWrites>
struct PlaneGradient {
  const T *dy, *x;
  Standardise<T> xhat, gradient_xhat;
  Gradient<T> gradient;
  Vec<T> scale, bias;
  T *y, *dx;

  static constexpr bool kForward = kWrites == Writes::kDxAndY;
  template <class Lanes>
  NORMKERNELS_INLINE PlaneValues<T> values(int64_t i, int k, Lanes lanes) const {
    const Vec<T> v = load(x + i + k, lanes), d = load(dy + i + k, lanes);
    const Vec<T> g = kWrites == Writes::kDxOfGroup ? d * scale : d;
    return {kForward ? fma(xhat(v), scale, bias) : v, gradient(g, gradient_xhat(v))};
  }
  template <class Store, class Lanes>
  NORMKERNELS_INLINE void put(Store how, int64_t i, const PlaneValues<T>& v, Lanes lanes) const {
    if constexpr (kForward) store(y + i, v.y, lanes);
    store(how, dx + i, v.dx, lanes);
  }
  template <class Store>
  NORMKERNELS_INLINE void ahead(Store, int64_t i) const {
    if constexpr (Store::kMustBeAligned) {
      prefetch(x + i + kLead<T>);
      prefetch(dy + i + kLead<T>);
    } else {
      prefetch_to_write(dx + i + kLead<T>);
    }
  }
};

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

// A backward's arguments by their types, from plane `first` on.
template <class T>
struct PlanesBackward {
  int64_t cols;
  Writes writes;
  const T *scale, *bias, *mean, *inv_std;
  double epsilon;
  T *mean_out, *inv_std_out;
  bool stream;

  explicit PlanesBackward(const GroupNormBackward& a)
      : cols(a.shape.spatial),
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

// Lanes beyond the last plane as 1, not as 0, whose factors would be extraordinary.
template <class Lanes>
NORMKERNELS_INLINE Vec<double> or_one(Vec<double> a, Lanes lanes) {
  const Vec<double> one = Vec<double>::all(1);
  return select<double>(equal(first(one, lanes), one), a, one);
}

// The factors of planes of one image, no more than rows_together(spatial), from the caller's
// statistics or their own, which own(wanted) finds; rstd[planes] as exact as it is known.
template <class T, class Own>
NORMKERNELS_INLINE void plane_statistics(const PlanesBackward<T>& a, int64_t first, int64_t planes,
                                         const Factors<T>& factors, double* rstd, const Own& own) {
  if (a.mean == nullptr) {
    return own(Wanted<T>{a.epsilon, true, optional_at<T>(a.mean_out, first), nullptr,
                         optional_at<T>(a.inv_std_out, first), rstd});
  }
  const T *mean = a.mean + first, *saved = a.inv_std + first;
  for_each_vector<double, 1>(
      planes, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        const Vec<double> inverse = or_one(load_widened(saved + j, lanes), lanes);
        set_saved(factors, j, mean + j, inverse, lanes);
        store(rstd + j, inverse);
      });
}

template <class T>
NORMKERNELS_INLINE void set_plane_gradients(SumTable sums, int64_t cols, int64_t planes,
                                            const Factors<T>& factors, const double* rstd,
                                            const T* scale, const ChannelSums& channels) {
  set_all_gradients(
      sums, cols, planes, factors,
      [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        const Vec<double> gamma =
            scale == nullptr ? Vec<double>::all(1) : load_widened(scale + j, lanes);
        return gradient_factor(load(rstd + j, lanes), gamma);
      },
      channels.scale, channels.bias);
}

// dx, and y if it is wanted, of a plane of a channel: elements [0, n) from those of the rows.
template <class T>
NORMKERNELS_INLINE void write_plane(const PlanesBackward<T>& a, const Planes<T>& planes, int64_t n,
                                    int64_t channel, const Standard<T>& standard,
                                    const RowGradient<T>& row, const Executor& executor) {
  const T *x = planes.x.p, *dy = planes.dy.p;
  T *dx = planes.dx.p, *y = planes.y.p;
  const Vec<T> scale = Vec<T>::all(value_or(a.scale, channel, T{1}));
  const Vec<T> bias = Vec<T>::all(value_or(a.bias, channel, T{-0.0}));
  const Standardise<T> xhat(standard), gradient_xhat(row.standard);
  const Gradient<T> gradient(row);
  for_each_span(
      n, executor, [&](int64_t i, int64_t end) __attribute__((always_inline)) {
        const auto write = [&](auto formula) __attribute__((always_inline)) {
          formula = {dy + i,   x + i, xhat, gradient_xhat,
                     gradient, scale, bias, optional_at<T>(y, i),
                     dx + i};
          RowWriter<T, decltype(formula)>(formula, dx + i, end - i).write(a.stream);
        };
        if (a.writes == Writes::kDx) return write(PlaneGradient<T, Writes::kDx>());
        if (a.writes == Writes::kDxAndY) return write(PlaneGradient<T, Writes::kDxAndY>());
        write(PlaneGradient<T, Writes::kDxOfGroup>());
      });
}
template <class T>
__attribute__((noinline)) void write_planes(const PlanesBackward<T>& a, const Planes<T>& planes,
                                            int64_t count, int64_t n, int64_t channel,
                                            const Factors<T>& factors, const Executor& executor) {
  for (int64_t i = 0; i < count; ++i) {
    write_plane(a, planes.from(i), n, channel + i, factors.standard(i), factors.gradient(i),
                executor);
  }
}

// The same of planes so short that the borders of vectors are not worth finding, and that need no
// scale.
template <class T, Writes kWrites>
NORMKERNELS_INLINE void write_short_planes(const PlanesBackward<T>& a, const Planes<T>& planes,
                                           int64_t count, int64_t n, int64_t channel,
                                           const Factors<T>& factors) {
  constexpr int W = Vec<T>::kLanes;
  constexpr bool kForward = kWrites == Writes::kDxAndY;
  const Parameter<T> scales = gamma_of<T>(optional_at<const T>(a.scale, channel));
  const Parameter<T> biases = beta_of<T>(optional_at<const T>(a.bias, channel));
  for (int64_t i = 0; i < count; ++i) {
    const Standard<T> standard = factors.standard(i);
    const RowGradient<T> row = factors.gradient(i);
    const Vec<T> centre = Vec<T>::all(standard.centre), rstd = Vec<T>::all(standard.rstd);
    const Vec<T> shift = Vec<T>::all(standard.shift);
    const Vec<T> gradient_shift = Vec<T>::all(row.standard.shift);
    const Vec<T> scale = Vec<T>::all(*scales.at(i)), bias = Vec<T>::all(*biases.at(i));
    const Gradient<T> gradient(row);
    const T *x = planes.x[i], *dy = planes.dy[i];
    T *dx = planes.dx[i], *y = kForward ? planes.y[i] : nullptr;
    const auto values = [=](int64_t j, auto lanes) __attribute__((always_inline)) {
      const Vec<T> difference = load(x + j, lanes) - centre, d = load(dy + j, lanes);
      const Vec<T> g = kWrites == Writes::kDxOfGroup ? d * scale : d;
      return PlaneValues<T>{kForward ? fma(fma(difference, rstd, shift), scale, bias) : difference,
                            gradient(g, fma(difference, rstd, gradient_shift))};
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
    for (int64_t j = 0; j < n - W; j += W) put(j, values(j, Full{}), Full{});
    put(n - W, last, Full{});
  }
}
template <class T>
__attribute__((noinline)) void write_short_planes(const PlanesBackward<T>& a,
                                                  const Planes<T>& planes, int64_t count, int64_t n,
                                                  int64_t channel, const Factors<T>& factors) {
  if (a.writes == Writes::kDx)
    return write_short_planes<T, Writes::kDx>(a, planes, count, n, channel, factors);
  if (a.writes == Writes::kDxAndY)
    return write_short_planes<T, Writes::kDxAndY>(a, planes, count, n, channel, factors);
  write_short_planes<T, Writes::kDxOfGroup>(a, planes, count, n, channel, factors);
}

// Planes of one element, a plane per lane: their sums, and their dx (and y).
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

// Planes of any length, no more than rows_together(a.cols).
template <class T>
NORMKERNELS_INLINE void plane_sums(const Planes<T>& planes, int64_t count, int64_t cols,
                                   const Factors<T>& factors, const Executor& executor,
                                   SumTable sums) {
  if (cols == 1) return single_plane_sums(planes.dy.p, planes.x.p, count, factors, sums);
  sums_of_planes(planes.dy, planes.x, count, cols, factors, executor, sums);
}
template <class T>
NORMKERNELS_INLINE void write_whole_planes(const PlanesBackward<T>& a, const Planes<T>& planes,
                                           int64_t count, int64_t channel,
                                           const Factors<T>& factors, const Executor& executor) {
  if (a.cols == 1) return write_single_planes(a, planes, count, channel, factors);
  if (a.cols < kLeastStreamed<T> && unscaled(factors, count))
    return write_short_planes(a, planes, count, a.cols, channel, factors);
  write_planes(a, planes, count, a.cols, channel, factors, executor);
}

// `count` planes of one image, from plane `first` of all on, some together; their sums are added to
// those of their channels.
template <class T>
__attribute__((noinline)) void planes_backward(const PlanesBackward<T>& a, const Planes<T>& all,
                                               int64_t first, int64_t count, int64_t channel,
                                               const ChannelSums& channels,
                                               const Executor& executor) {
  const int64_t cols = a.cols, together = rows_together(cols);
  RowFactors<T> storage;
  const Factors<T> factors = storage.table();
  double rstd[kRowsTogether], sums_storage[3 * kRowsTogether];
  const SumTable sums = {sums_storage, kRowsTogether};
  for (int64_t k = 0; k < count; k += together) {
    const int64_t n = smaller(together, count - k);
    const Planes<T> planes = all.from(k);
    plane_statistics(a, first + k, n, factors, rstd, [&](const Wanted<T>& wanted) {
      row_statistics(planes.x, n, cols, executor, factors, wanted);
    });
    plane_sums(planes, n, cols, factors, executor, sums);
    set_plane_gradients(sums, cols, n, factors, rstd, optional_at<const T>(a.scale, channel + k),
                        channels.from(k));
    write_whole_planes(a, planes, n, channel + k, factors, executor);
  }
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_PLANES_H_
