// s = bias + alpha / size * (sum of x^2 over a window of channels), of a tile or of one element.
//
// The sum is formed in twice the precision of x: s is within 1 u of the exact value for float32,
// within 2 u for float64 (whose squares are rounded before), whatever the size of the window.
#ifndef NORMKERNELS_LRN_SCALE_H_
#define NORMKERNELS_LRN_SCALE_H_

#include "lrn_tile.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// squares[row 0 = channel `top`] of the channels [top, bottom), zero where there is no such
// channel.
template <class T>
NORMKERNELS_INLINE void fill_squares(const T* x, const Tile& tile, int64_t top, int64_t bottom,
                                     double* squares) {
  const int64_t from = top > 0 ? top : 0, to = bottom < tile.c ? bottom : tile.c;
  memset(squares, 0, sizeof(double) * static_cast<size_t>((from - top) * tile.pixels));
  tile.for_each_run(
      top, from, to, [=](int64_t offset, int64_t at, int64_t n) __attribute__((always_inline)) {
        for_each_vector<double>(
            n, [=](int64_t i, auto lanes) __attribute__((always_inline)) {
              const Vec<double> v = load_widened(x + at + i, lanes);
              store(squares + offset + i, v * v, lanes);
            });
      });
  memset(squares + (to - top) * tile.pixels, 0,
         sizeof(double) * static_cast<size_t>((bottom - to) * tile.pixels));
}

// s from a window sum. The sum has twice the precision of T, so s is rounded once (float64: with
// the squares, twice).
template <class T>
struct ScaleOf {
  Wide<T, double> weight;
  double bias;

  explicit ScaleOf(const LocalResponseNorm& a)
      : weight(widened<T>(a.alpha) / static_cast<double>(a.size)), bias(a.bias) {}

  NORMKERNELS_INLINE Vec<double> operator()(Vec<double> sum) const {
    return multiply_add(sum, Vec<double>::all(weight), Vec<double>::all(bias));
  }
  NORMKERNELS_INLINE Vec<double> operator()(Pair<Vec<double>> sum) const {
    const Pair<Vec<double>> w = {Vec<double>::all(weight.hi), Vec<double>::all(weight.lo)};
    return (sum * w + Vec<double>::all(bias)).hi;
  }
};

// s for n matrix elements.
template <class T>
void fill_scale(const double* squares, int64_t step, int64_t size, int64_t n, const ScaleOf<T>& of,
                T* scale) {
  const ScaleOf<T> scale_of = of;  // in registers, which a store cannot have changed
  with_size(
      size, [=](auto window) __attribute__((always_inline)) {
        for_each_vector<double>(
            n, [=](int64_t i, auto lanes) __attribute__((always_inline)) {
              const auto sum = window_sum<Wide<T, Vec<double>>>(
                  window, [=](int64_t k) __attribute__((always_inline)) {
                    return load(squares + i + k * step, lanes);
                  });
              store_rounded(scale + i, scale_of(sum), lanes);
            });
      });
}

// The same for one element, before it is rounded to T.
template <class T>
double scale_at(const LocalResponseNorm& a, const Tile& tile, const Window& w, int64_t channel,
                int64_t pixel) {
  const T* x = static_cast<const T*>(a.x);
  const auto sum =
      window_sum<Wide<T, Vec<double>>>(RuntimeSize{w.before + w.after + 1}, [&](int64_t k) {
        const int64_t at = channel - w.before + k;
        const bool exists = at >= 0 && at < tile.c;
        const double v = exists ? static_cast<double>(x[tile.at(at, pixel)]) : 0;
        return Vec<double>::all(v * v);
      });
  return ScaleOf<T>(a)(sum).v[0];
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_SCALE_H_
