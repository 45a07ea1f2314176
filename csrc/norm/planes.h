// The backward of instance norm in NCHW, some planes of an image at a time: dx, y if it is wanted,
// and their sums for dscale and dbias. A plane has its own statistics, or those of its group
// (group_planes.h).
#ifndef NORMKERNELS_NORM_PLANES_H_
#define NORMKERNELS_NORM_PLANES_H_

#include "norm/row_writer.h"
#include "norm/single_planes.h"

namespace normkernels::NORMKERNELS_ISA {

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
      prefetch_to_write(dx + i + kWriteLead<T>);
    }
  }
};

// Lanes beyond the last plane as 1, not as 0, whose factors would be extraordinary.
template <class Lanes>
NORMKERNELS_INLINE Vec<double> or_one(Vec<double> a, Lanes lanes) {
  const Vec<double> one = Vec<double>::all(1);
  return select<double>(equal(first(one, lanes), one), a, one);
}

// The factors of planes of one image, no more than kRowsTogether, from the caller's
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
                                            const SharedFactors<T>& factors,
                                            const Executor& executor) {
  for (int64_t i = 0; i < count; ++i) {
    write_plane(a, planes.from(i), n, channel + i, factors.standard(i), factors.gradient(i),
                executor);
  }
}

// Planes of any length, no more than kRowsTogether.
template <class T>
NORMKERNELS_INLINE void plane_sums(const Planes<T>& planes, int64_t count, int64_t cols,
                                   const SharedFactors<T>& factors, const Executor& executor,
                                   SumTable sums) {
  if (cols == 1) return single_plane_sums(planes.dy.p, planes.x.p, count, factors.table, sums);
  sums_of_planes(planes.dy, planes.x, count, cols, factors, executor, sums);
}
template <class T>
NORMKERNELS_INLINE void write_whole_planes(const PlanesBackward<T>& a, const Planes<T>& planes,
                                           int64_t count, int64_t channel,
                                           const SharedFactors<T>& factors,
                                           const Executor& executor) {
  if (a.cols == 1) return write_single_planes(a, planes, count, channel, factors.table);
  if (a.cols <= kChunk && !a.stream && factors.unscaled(count))
    return write_unscaled_planes(a, planes, count, a.cols, channel, factors);
  write_planes(a, planes, count, a.cols, channel, factors, executor);
}

// `count` planes of one image, from plane `first` of all on, some together; their sums are added to
// those of their channels.
template <class T>
__attribute__((noinline)) void planes_backward(const PlanesBackward<T>& a, const Planes<T>& all,
                                               int64_t first, int64_t count, int64_t channel,
                                               const ChannelSums& channels,
                                               const Executor& executor) {
  const int64_t cols = a.cols;
  RowFactors<T> storage;
  const Factors<T> factors = storage.table();
  double rstd[kRowsTogether], sums_storage[3 * kRowsTogether];
  const SumTable sums = {sums_storage, kRowsTogether};
  int64_t k = cols == 1 ? write_constant_planes(a, all, first, count, channel, channels) : 0;
  for (; k < count; k += a.together) {
    const int64_t n = smaller(a.together, count - k);
    const Planes<T> planes = all.from(k);
    plane_statistics(a, first + k, n, factors, rstd, [&](const Wanted<T>& wanted) {
      row_statistics(planes.x, n, cols, executor, factors, wanted);
    });
    plane_sums(planes, n, cols, {factors, 1}, executor, sums);
    set_plane_gradients(sums, cols, n, factors, rstd, optional_at<const T>(a.scale, channel + k),
                        channels.from(k));
    write_whole_planes(a, planes, n, channel + k, {factors, 1}, executor);
  }
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_PLANES_H_
