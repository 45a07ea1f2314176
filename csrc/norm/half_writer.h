// Writes rows of a half type, element by element, by a formula: what norm/row_writer.h does with
// those of float32, but rounded in registers.
#ifndef NORMKERNELS_NORM_HALF_WRITER_H_
#define NORMKERNELS_NORM_HALF_WRITER_H_

#include "norm/factors.h"
#include "norm/parameter.h"
#include "simd/half_pairs.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// Elements [i, end) by whole vectors and a part of one. A function of its own: few rows need it.
template <class S, class Formula>
__attribute__((noinline)) void write_part(S* y, int64_t i, int64_t end, const Formula& formula) {
  constexpr int64_t W = Vec<float>::kLanes;
  for (; i + W <= end; i += W) store_half(y + i, formula.one(i, Full{}), Full{});
  const int left = static_cast<int>(end - i);
  if (left > 0) store_half(y + i, formula.one(i, left), left);
}

// The n elements of a row, by a Formula, which has
//
//   both(i)        two vectors of them, as one of halves
//   one(i, lanes)  one, in float32
//
// y may be where they are read. The last ones are therefore computed first: a vector of them
// reaches over those before, which is 1.4 times as fast for 196 elements as to store a part of one
// (AVX2, Zen 3). Streamed lines are not touched again.
template <class S, class Formula>
NORMKERNELS_INLINE void write_row(S* y, int64_t n, bool stream, const Formula& formula) {
  constexpr int64_t W = Vec<float>::kLanes, kLine = kLineBytes / sizeof(S);
  const auto both = [&](auto how, int64_t i) __attribute__((always_inline)) {
    store(how, &y[i].bits, formula.both(i), Full{});
  };
  const auto part = [&](int64_t i, int64_t end) __attribute__((always_inline)) {
    const Formula copy = formula;  // the one that loops use stays in registers
    write_part(y, i, end, copy);
  };
  int64_t i = 0;
  if (stream) {
    const int64_t head = smaller(elements_to_border<kLineBytes>(y), n);
    if (head > 0) part(0, head);
    for (i = head; i + kLine <= n; i += kLine) {
#pragma GCC unroll 4
      for (int64_t k = 0; k < kLine; k += 2 * W) both(Streamed{}, i + k);
    }
  }
  if (stream || n < W) return part(i, n);
  const Vec<float> last = formula.one(n - W, Full{});
  for (; i + 2 * W <= n; i += 2 * W) both(Cached{}, i);
  if (i + W <= n) store_half(y + i, formula.one(i, Full{}), Full{});
  if (n % W != 0) store_half(y + n - W, last, Full{});
}

// y from float32 in a tile, with gamma and beta per column.
template <class S>
struct FromTile {
  const float* x;
  Standardise<float> xhat;
  Parameter<float> gamma, beta;

  // k elements behind i, where the same address serves.
  template <class Lanes>
  NORMKERNELS_INLINE Vec<float> at(int64_t i, int64_t k, Lanes lanes) const {
    return fma(xhat(load(x + i + k, lanes)), load(gamma.at(i) + k, lanes),
               load(beta.at(i) + k, lanes));
  }
  template <class Lanes>
  NORMKERNELS_INLINE Vec<float> one(int64_t i, Lanes lanes) const {
    return at(i, 0, lanes);
  }
  NORMKERNELS_INLINE Vec<uint16_t> both(int64_t i) const {
    return halves_of<S>(at(i, 0, Full{}), at(i, Vec<float>::kLanes, Full{}));
  }
};

// y from x itself, with one gamma and beta: their order is then any, and x is widened as it is
// packed again.
template <class S>
struct FromHalves {
  const S* x;
  Standardise<float> xhat;
  Vec<float> gamma, beta;

  NORMKERNELS_INLINE Vec<float> of(Vec<float> v) const { return fma(xhat(v), gamma, beta); }
  template <class Lanes>
  NORMKERNELS_INLINE Vec<float> one(int64_t i, Lanes lanes) const {
    return of(load_half(x + i, lanes));
  }
  NORMKERNELS_INLINE Vec<uint16_t> both(int64_t i) const {
    const TwoVectors v = load_two(x + i);
    return packed<S>({of(v.first), of(v.second)});
  }
};

// The same with gamma and beta per column, which are halves as well.
template <class S>
constexpr Copies<uint16_t> kAbsentHalfGamma(S::kDigits == 8 ? 0x3f80 : 0x3c00);
constexpr Copies<uint16_t> kAbsentHalfBeta(0x8000);
template <class S>
struct AllHalves {
  const S* x;
  Standardise<float> xhat;
  Parameter<uint16_t> gamma, beta;

  static NORMKERNELS_INLINE const S* at(const Parameter<uint16_t>& p, int64_t i) {
    return reinterpret_cast<const S*>(p.at(i));
  }
  template <class Lanes>
  NORMKERNELS_INLINE Vec<float> one(int64_t i, Lanes lanes) const {
    return fma(xhat(load_half(x + i, lanes)), load_half(at(gamma, i), lanes),
               load_half(at(beta, i), lanes));
  }
  NORMKERNELS_INLINE Vec<uint16_t> both(int64_t i) const {
    const TwoVectors v = load_two(x + i), g = load_two(at(gamma, i)), b = load_two(at(beta, i));
    return packed<S>(
        {fma(xhat(v.first), g.first, b.first), fma(xhat(v.second), g.second, b.second)});
  }
};

// x + residual.
template <class S>
struct Sum {
  const S *x, *residual;

  template <class Lanes>
  NORMKERNELS_INLINE Vec<float> one(int64_t i, Lanes lanes) const {
    return load_half(x + i, lanes) + load_half(residual + i, lanes);
  }
  NORMKERNELS_INLINE Vec<uint16_t> both(int64_t i) const {
    const TwoVectors a = load_two(x + i), b = load_two(residual + i);
    return packed<S>({a.first + b.first, a.second + b.second});
  }
};

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_HALF_WRITER_H_
