// The steps of a piece: y, the terms of the gradient's sum, dx.
//
// What differs between calls is chosen once per piece. Instances are made of what the inner loops
// gain from, and of nothing else: the usual sizes of windows, which power. What is stored besides
// is a branch that always goes the same way.
//
// s of a piece is formed before its powers, in a buffer: a power is a long chain of operations, and
// beside the sums of windows the processor does not find enough of the next ones to do. Together
// they took 10 % longer.
#ifndef NORMKERNELS_LRN_STEPS_H_
#define NORMKERNELS_LRN_STEPS_H_

#include "lrn/extraordinary.h"

namespace normkernels::NORMKERNELS_ISA {

// Vectors side by side, which share the loop over their windows: with one, float64 took 10 to 20 %
// longer and float32 4 %; the sums of more do not fit into 16 registers.
constexpr int kAtOnce = 2;

// Vectors side by side through a power; of float64 through one by logarithms.
constexpr int kPowersAtOnce = 2;
constexpr int kLogarithmsAtOnce = 4;

// Of a tensor that does not stay in L2.
constexpr int64_t kLargeBytes = int64_t{2} << 20;

// ---- The steps ----------------------------------------------------------------------

// For the strips of a task. A piece is n elements from `at` on; its windows begin at `windows` in a
// buffer and are `step` apart.
template <class T>
class Steps {
 public:
  Steps(const LocalResponseNorm& a, const Window& w, int64_t step)
      : x_(static_cast<const T*>(a.x)),
        dy_(static_cast<const T*>(a.dy)),
        y_in_(static_cast<const T*>(a.y_in)),
        scale_in_(static_cast<const T*>(a.scale_in)),
        y_(static_cast<T*>(a.y)),
        scale_(static_cast<T*>(a.scale)),
        dx_(static_cast<T*>(a.dx)),
        step_(step),
        size_(w.size()),
        scale_of_(a),
        beta_(a.beta),
        power_(power_for(a.beta)),
        range_(a.beta),
        minus_factor_(minus_factor<T>(a)),
        is_large_(a.shape.n * a.shape.c * a.shape.spatial >= kLargeBytes / int64_t{sizeof(T)}) {}

  // Asks for the lines of y of a piece some pieces before they are written, all at once: out of the
  // caches, where channels are whole pages apart, that saves 10 to 15 %; in them it costs 3 to 5.
  NORMKERNELS_INLINE void prefetch_outputs(int64_t at, int64_t n) const {
    constexpr int64_t kLine = kLineBytes / sizeof(T);
    for (int64_t i = 0; i < n && is_large_; i += kLine) prefetch_to_write(y_ + at + i);
  }

  // y, and s. Whether every s was an ordinary number.
  NORMKERNELS_INLINE bool write_outputs(int64_t at, int64_t n, const double* windows) const {
    alignas(64) T scales[kPieceElements];
    fill_scales(at, n, windows, scales);
    return write_outputs_of(at, n, scales);
  }
  NORMKERNELS_INLINE bool write_outputs_of(int64_t at, int64_t n, const T* scales) const {
    alignas(64) T powers[kPieceElements];
    if (power_ == Power::kGeneral) fill_powers(n, scales, powers);
    return with_power(
        power_, [&](auto p) __attribute__((always_inline)) {
          return outputs<static_cast<Power>(decltype(p)::value)>(at, n, scales, powers);
        });
  }

  // direct = dy P, terms = dy x P / s = dy y / s. Whether every s was an ordinary number.
  NORMKERNELS_INLINE bool write_terms(int64_t at, int64_t n, const double* windows, T* direct,
                                      T* terms) const {
    alignas(64) T scales[kPieceElements];
    fill_scales(at, n, windows, scales);
    return write_terms_of(at, n, scales, direct, terms);
  }
  NORMKERNELS_INLINE bool write_terms_of(int64_t at, int64_t n, const T* scales, T* direct,
                                         T* terms) const {
    alignas(64) T powers[kPieceElements];
    if (power_ == Power::kGeneral) fill_powers(n, scales, powers);
    return with_power(
        power_, [&](auto p) __attribute__((always_inline)) {
          return all_terms<static_cast<Power>(decltype(p)::value)>(at, n, scales, powers, direct,
                                                                   terms);
        });
  }

  // dx = direct + factor x (window sum of terms).
  NORMKERNELS_INLINE void write_gradient(int64_t at, int64_t n, const T* direct,
                                         const T* windows) const {
    with_usual_size<T>(
        size_, [&](auto size) __attribute__((always_inline)) {
          constexpr int kSize = decltype(size)::value;
          gradient_of_terms(at, n, direct, WindowRows<T, kSize>(windows, step_, size_));
        });
  }
  NORMKERNELS_INLINE void write_gradient(int64_t at, int64_t n, const T* direct,
                                         const T* const (&terms)[5]) const {
    gradient_of_terms(at, n, direct, WindowRows<T, 5>(terms));
  }

 private:
  // None of these is inlined, or the walk through the strips would be as large as all of them.

  // s. What is beyond the piece is nobody's.
  NORMKERNELS_INLINE void fill_scales(int64_t at, int64_t n, const double* windows,
                                      T* scales) const {
    if (scale_in_ != nullptr) {
      memcpy(scales, scale_in_ + at, sizeof(T) * static_cast<size_t>(n));
    } else {
      with_usual_size<T>(
          size_, [&](auto size) __attribute__((always_inline)) {
            scales_of_windows<decltype(size)::value>(n, windows, scales);
          });
    }
  }

  template <int Size>
  __attribute__((noinline)) void scales_of_windows(int64_t n, const double* windows,
                                                   T* scales) const {
    const ScaleOf<T> scale_of = scale_of_;
    const WindowRows<double, Size> squares(windows, step_, size_);
    for_each_whole_group<T, kAtOnce>(
        n, [=](int64_t i, auto count) __attribute__((always_inline)) {
          store_group(scales + i, scale_of.template of_windows<decltype(count)::value>(squares, i));
        });
  }

  __attribute__((noinline)) void fill_powers(int64_t n, const T* scales, T* powers) const {
    const double beta = beta_;
    if constexpr (sizeof(T) == sizeof(float)) {
      // Float32's part first: widened from memory, where that is one operation.
      alignas(64) float e[kPieceElements], f[kPieceElements], tail[kPieceElements];
      for_each_whole_group<float, kLogarithmsAtOnce / 2>(
          n, [&](int64_t i, auto count) __attribute__((always_inline)) {
            constexpr int N = decltype(count)::value;
            const auto parts = ShortParts<N>::of(load_group<N>(scales + i));
            store_group(e + i, parts.e);
            store_group(f + i, parts.f);
            store_group(tail + i, parts.tail);
          });
      for_each_whole_group<float, kLogarithmsAtOnce / 2>(
          n, [&](int64_t i, auto count) __attribute__((always_inline)) {
            constexpr int N = 2 * decltype(count)::value;
            store_group(powers + i, short_general_power(load_widened_group<N>(e + i),
                                                        load_widened_group<N>(f + i),
                                                        load_widened_group<N>(tail + i), -beta));
          });
    } else {
      for_each_whole_group<T, kLogarithmsAtOnce>(
          n, [=](int64_t i, auto count) __attribute__((always_inline)) {
            store_group(powers + i,
                        general_power(load_group<decltype(count)::value>(scales + i), -beta));
          });
    }
  }

  template <Power P, int N>
  static NORMKERNELS_INLINE Group<T, N> power_of(Group<T, N> s, const T* powers) {
    if constexpr (P == Power::kGeneral) {
      return load_group<N>(powers);
    } else {
      return named_power<P>(s);
    }
  }

  template <Power P>
  __attribute__((noinline)) bool outputs(int64_t at, int64_t n, const T* scales,
                                         const T* powers) const {
    // In registers, which a store cannot have changed.
    const OrdinaryRange<T> range = range_;
    const T* const x = x_ + at;
    T *const y = y_ + at, *const scale = scale_ != nullptr ? scale_ + at : nullptr;
    OrdinaryCheck<T> check;
    for_each_group<T, kPowersAtOnce>(
        n, [&](int64_t i, auto count, auto lanes) __attribute__((always_inline)) {
          constexpr int N = decltype(count)::value;
          const Group<T, N> s = load_group<N>(scales + i), v = load_group<N>(x + i, lanes);
          if constexpr (P == Power::kGeneral) {
            store_group(y + i, v * load_group<N>(powers + i), lanes);
          } else {
            store_group(y + i, times_named_power<P>(v, s), lanes);
          }
          if (scale != nullptr) store_group(scale + i, s, lanes);
#pragma GCC unroll 8
          for (int k = 0; k < N; ++k) check.see(range, s.v[k], lanes);
        });
    return check.holds(range);
  }

  template <Power P>
  __attribute__((noinline)) bool all_terms(int64_t at, int64_t n, const T* scales, const T* powers,
                                           T* direct, T* terms) const {
    const OrdinaryRange<T> range = range_;
    const T *const x = x_ + at, *const dy = dy_ + at;
    const T* const y = y_in_ != nullptr ? y_in_ + at : nullptr;
    OrdinaryCheck<T> check;
    for_each_group<T, kPowersAtOnce>(
        n, [&](int64_t i, auto count, auto lanes) __attribute__((always_inline)) {
          constexpr int N = decltype(count)::value;
          const Group<T, N> s = load_group<N>(scales + i), g = load_group<N>(dy + i, lanes);
          const Group<T, N> power = power_of<P>(s, powers + i);
          const Group<T, N> output =
              y == nullptr ? load_group<N>(x + i, lanes) * power : load_group<N>(y + i, lanes);
          store_group(direct + i, g * power);
          store_group(terms + i, g * output / s);
#pragma GCC unroll 8
          for (int k = 0; k < N; ++k) check.see(range, s.v[k], lanes);
        });
    return check.holds(range);
  }

  template <int Size>
  __attribute__((noinline)) void gradient_of_terms(int64_t at, int64_t n, const T* direct,
                                                   const WindowRows<T, Size>& rows) const {
    const WindowRows<T, Size> terms = rows;  // pointers in registers
    const T factor = minus_factor_;
    const T* const x = x_ + at;
    T* const dx = dx_ + at;
    for_each_group<T, 2 * kAtOnce>(
        n, [&](int64_t i, auto count, auto lanes) __attribute__((always_inline)) {
          constexpr int N = decltype(count)::value;
          Vec<T> sum[N];
          window_sums(terms, i, sum);
          const Group<T, N> v = load_group<N>(x + i, lanes), own = load_group<N>(direct + i);
          Group<T, N> output;
#pragma GCC unroll 8
          for (int k = 0; k < N; ++k) output.v[k] = gradient(v.v[k], factor, sum[k], own.v[k]);
          store_group(dx + i, output, lanes);
        });
  }

  const T *x_, *dy_, *y_in_, *scale_in_;
  T *y_, *scale_, *dx_;
  int64_t step_, size_;
  ScaleOf<T> scale_of_;
  double beta_;
  Power power_;
  OrdinaryRange<T> range_;
  T minus_factor_;
  bool is_large_;
};

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_STEPS_H_
