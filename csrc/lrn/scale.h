// s = bias + alpha / size * (sum of x^2 over a window of channels), of vectors.
//
// The sum is formed in twice the precision of x: s is within 1 u of the exact value for float32,
// within 2 u for float64 (whose squares are rounded before), whatever the size of the window.
#ifndef NORMKERNELS_LRN_SCALE_H_
#define NORMKERNELS_LRN_SCALE_H_

#include "lrn/stream.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// The squares of a piece, and zeros where its strip ends.
template <class T>
NORMKERNELS_INLINE void fill_squares(const T* x, const Piece& piece, double* squares) {
  const T* from = x + piece.at;
  double* to = squares + piece.offset;
  for_each_vector<double>(
      piece.n, [=](int64_t i, auto lanes) __attribute__((always_inline)) {
        const Vec<double> v = load_widened(from + i, lanes);
        store(to + i, v * v);
      });
  if (piece.ends_strip()) clear(squares, piece.strip_end(), piece.next_strip());
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

  // Of a vector of elements, the squares of whose windows begin at `window`, `step` apart.
  template <class Size>
  NORMKERNELS_INLINE Vec<T> of_windows(const double* window, int64_t step, Size size) const {
    const auto half = [=](const double* from) __attribute__((always_inline)) {
      return (*this)(window_sum<Wide<T, Vec<double>>>(
          size, [=](int64_t k) __attribute__((always_inline)) { return load(from + k * step); }));
    };
    if constexpr (sizeof(T) == sizeof(double)) {
      return half(window);
    } else {
      return narrow(half(window), half(window + Vec<double>::kLanes));
    }
  }
};

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_SCALE_H_
