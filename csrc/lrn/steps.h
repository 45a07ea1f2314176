// The steps of a piece: y, the terms of the gradient's sum, dx.
#ifndef NORMKERNELS_LRN_STEPS_H_
#define NORMKERNELS_LRN_STEPS_H_

#include "lrn/extraordinary.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// s and its power, of the elements i and on of a piece: the roots from the windows on, so that the
// divider works while the windows of the next vectors are added up.
template <Power P, class T, class Size>
struct Powers {
  static constexpr int kAtOnce = 1;
  struct Buffers {};

  ScaleOf<T> scale_of;
  const double* windows;
  int64_t step;
  Size size;
  const T* scale_in;

  Powers(Buffers&, const ScaleOf<T>& of, const double* squares, int64_t distance, Size window,
         const T* in, int64_t, double)
      : scale_of(of), windows(squares), step(distance), size(window), scale_in(in) {}

  template <int N, class Lanes>
  NORMKERNELS_INLINE Group<T, N> scale(int64_t i, Lanes lanes) const {
    return Group<T, N>::from([=](int k) __attribute__((always_inline)) {
      const int64_t at = i + k * Vec<T>::kLanes;
      return scale_in != nullptr ? load(scale_in + at, lanes)
                                 : scale_of.of_windows(windows + at, step, size);
    });
  }
  template <int N>
  NORMKERNELS_INLINE Group<T, N> negative_power(int64_t, Group<T, N> s) const {
    return Group<T, N>::all(1) / root_power<P>(s);
  }
  template <int N>
  NORMKERNELS_INLINE Group<T, N> times_negative_power(Group<T, N> x, int64_t, Group<T, N> s) const {
    return x / root_power<P>(s);
  }
};

// A general power is a long chain of dependent operations that begins with a division. So the piece
// is gone through twice: up to the division, which overlaps the sums, then the rest, some vectors
// side by side.
template <class T, class Size>
struct Powers<Power::kGeneral, T, Size> {
  static constexpr int kAtOnce = 4;
  struct Buffers {
    alignas(64) T scale[kPieceElements];
    alignas(64) double m[kPieceElements], e[kPieceElements], z[kPieceElements];
  };
  static constexpr int kHalves = kDoublesPer<T>;

  const T* scales;
  const double *ms, *es, *zs;
  double minus_beta;

  Powers(Buffers& buffers, const ScaleOf<T>& of, const double* windows, int64_t step, Size size,
         const T* scale_in, int64_t n, double beta)
      : scales(buffers.scale), ms(buffers.m), es(buffers.e), zs(buffers.z), minus_beta(-beta) {
    T* const scale = buffers.scale;
    double *const m = buffers.m, *const e = buffers.e, *const z = buffers.z;
    const ScaleOf<T> scale_of = of;
    const auto fill = [=](int64_t i, Vec<T> s) __attribute__((always_inline)) {
      store(scale + i, s);
      const auto reduced = Reduced<kHalves>::of(to_double(Group<T, 1>{{s}}));
      unroll<kHalves>([&](auto index) __attribute__((always_inline)) {
        constexpr int k = decltype(index)::value;
        const int64_t at = i + k * Vec<double>::kLanes;
        if constexpr (Digits<T>::kExtended) store(m + at, reduced.m.v[k]);
        store(e + at, reduced.e.v[k]);
        store(z + at, reduced.z.v[k]);
      });
    };
    if (scale_in != nullptr) {
      for_each_vector<T, 1>(
          n, [=](int64_t i, auto lanes)
                 __attribute__((always_inline)) { fill(i, load(scale_in + i, lanes)); });
      return;
    }
    with_size(
        size.value, [=](auto constant) __attribute__((always_inline)) {
          for (int64_t i = 0; i < n; i += Vec<T>::kLanes) {
            fill(i, scale_of.of_windows(windows + i, step, constant));
          }
        });
  }

  template <int N, class Lanes>
  NORMKERNELS_INLINE Group<T, N> scale(int64_t i, Lanes) const {
    return Group<T, N>::from([=](int k) __attribute__((always_inline)) {
      return load(scales + i + k * Vec<T>::kLanes);
    });
  }
  template <int N>
  NORMKERNELS_INLINE Group<T, N> negative_power(int64_t i, Group<T, N>) const {
    const auto loaded = [=](const double* p) __attribute__((always_inline)) {
      return Group<double, kHalves * N>::from([=](int k) __attribute__((always_inline)) {
        return load(p + i + k * Vec<double>::kLanes);
      });
    };
    Reduced<kHalves* N> s = {loaded(es), loaded(es), loaded(zs)};
    if constexpr (Digits<T>::kExtended) s.m = loaded(ms);
    return from_double<T>(general_power<T>(s, minus_beta));
  }
  template <int N>
  NORMKERNELS_INLINE Group<T, N> times_negative_power(Group<T, N> x, int64_t i,
                                                      Group<T, N> s) const {
    return x * negative_power(i, s);
  }
};

// y, and s. Whether every s was an ordinary number.
template <Power P, class T, class Size>
NORMKERNELS_INLINE bool write_forward(const LocalResponseNorm& a, const Piece& piece, Size size,
                                      int64_t step, const ScaleOf<T>& scale,
                                      const OrdinaryRange<T>& ordinary, const double* windows) {
  // In registers, which a store cannot have changed.
  const OrdinaryRange<T> range = ordinary;
  const int64_t at = piece.at;
  const T* x = static_cast<const T*>(a.x) + at;
  T* y = static_cast<T*>(a.y) + at;
  T* scale_out = a.scale != nullptr ? static_cast<T*>(a.scale) + at : nullptr;
  using Source = Powers<P, T, Size>;
  typename Source::Buffers buffers;
  const Source powers(buffers, scale, windows, step, size, nullptr, piece.n, a.beta);
  unsigned outside = 0;
  unsigned* const seen = &outside;
  for_each_group<T, Source::kAtOnce>(
      piece.n, [=](int64_t i, auto count, auto lanes) __attribute__((always_inline)) {
        constexpr int N = decltype(count)::value, W = Vec<T>::kLanes;
        using Vectors = Group<T, N>;
        const Vectors s = powers.template scale<N>(i, lanes);
        const Vectors v = Vectors::from([=](int k) __attribute__((always_inline)) {
          return load(x + i + k * W, lanes);
        });
        const Vectors output = powers.times_negative_power(v, i, s);
        unroll<N>([&](auto index) __attribute__((always_inline)) {
          constexpr int k = decltype(index)::value;
          store(y + i + k * W, output.v[k], lanes);
          if (scale_out != nullptr) store(scale_out + i + k * W, s.v[k], lanes);
          *seen |= range.outside(s.v[k], lanes);
        });
      });
  return outside == 0;
}

// direct = dy P, terms = dy x P / s = dy y / s. Whether every s was an ordinary number.
template <Power P, class T, class Size>
NORMKERNELS_INLINE bool fill_terms(const LocalResponseNorm& a, const Piece& piece, Size size,
                                   int64_t step, const ScaleOf<T>& scale,
                                   const OrdinaryRange<T>& ordinary, const double* windows,
                                   T* direct, T* terms) {
  const OrdinaryRange<T> range = ordinary;
  const int64_t at = piece.at;
  const T* x = static_cast<const T*>(a.x) + at;
  const T* dy = static_cast<const T*>(a.dy) + at;
  const T* y = a.y_in != nullptr ? static_cast<const T*>(a.y_in) + at : nullptr;
  const T* scale_in = a.scale_in != nullptr ? static_cast<const T*>(a.scale_in) + at : nullptr;
  using Source = Powers<P, T, Size>;
  typename Source::Buffers buffers;
  const Source powers(buffers, scale, windows, step, size, scale_in, piece.n, a.beta);
  unsigned outside = 0;
  unsigned* const seen = &outside;
  for_each_group<T, Source::kAtOnce>(
      piece.n, [=](int64_t i, auto count, auto lanes) __attribute__((always_inline)) {
        constexpr int N = decltype(count)::value, W = Vec<T>::kLanes;
        using Vectors = Group<T, N>;
        const auto loaded = [=](const T* p) __attribute__((always_inline)) {
          return Vectors::from([=](int k) __attribute__((always_inline)) {
            return load(p + i + k * W, lanes);
          });
        };
        const Vectors s = powers.template scale<N>(i, lanes);
        const Vectors power = powers.negative_power(i, s), g = loaded(dy);
        const Vectors output = y == nullptr ? loaded(x) * power : loaded(y);
        const Vectors own = g * power, shared = g * output / s;
        unroll<N>([&](auto index) __attribute__((always_inline)) {
          constexpr int k = decltype(index)::value;
          store(direct + i + k * W, own.v[k]);
          store(terms + i + k * W, shared.v[k]);
          *seen |= range.outside(s.v[k], lanes);
        });
      });
  return outside == 0;
}

// dx = direct + factor x (window sum of terms), the first window beginning at `windows`.
template <class T, class Size>
NORMKERNELS_INLINE void write_gradient(const LocalResponseNorm& a, const Piece& piece, Size size,
                                       int64_t step, T factor, const T* direct, const T* windows) {
  const T* x = static_cast<const T*>(a.x) + piece.at;
  T* dx = static_cast<T*>(a.dx) + piece.at;
  for_each_vector<T>(
      piece.n, [=](int64_t i, auto lanes) __attribute__((always_inline)) {
        const Vec<T> sum = window_sum<Vec<T>>(
            size, [=](int64_t k)
                      __attribute__((always_inline)) { return load(windows + i + k * step); });
        store(dx + i, gradient(load(x + i, lanes), factor, sum, load(direct + i)), lanes);
      });
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_STEPS_H_
