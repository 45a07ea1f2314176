// Some rows of a half type written: from float32 or from halves, with gamma and beta per column or
// per piece of a row; and the sum of two.
#ifndef NORMKERNELS_NORM_HALF_LINES_H_
#define NORMKERNELS_NORM_HALF_LINES_H_

#include "norm/half_writer.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// Rows with gamma and beta per column, or null, from the first one on.
template <class P, class X>
struct LinesOf {
  int64_t rows, cols;
  Factors<float> factors;
  const P *gamma, *beta;
  Rows<const X> x;
  Rows<uint16_t> y;
  bool stream;
};
using Lines = LinesOf<float, float>;
using HalfLines = LinesOf<void, uint16_t>;

template <class S>
__attribute__((noinline)) void write_lines(const Lines& all) {
  const Lines a = all;
  const Parameter<float> gamma = gamma_of<float>(a.gamma), beta = beta_of<float>(a.beta);
  for (int64_t i = 0; i < a.rows; ++i) {
    const Standardise<float> xhat(a.factors.standard(i));
    write_row(reinterpret_cast<S*>(a.y[i]), a.cols, a.stream,
              FromTile<S>{a.x[i], xhat, gamma, beta});
  }
}

template <class S>
__attribute__((noinline)) void write_half_lines(const HalfLines& all) {
  const HalfLines a = all;
  const auto gamma =
      Parameter<uint16_t>::per_column(static_cast<const uint16_t*>(a.gamma), kAbsentHalfGamma<S>);
  const auto beta =
      Parameter<uint16_t>::per_column(static_cast<const uint16_t*>(a.beta), kAbsentHalfBeta);
  for (int64_t i = 0; i < a.rows; ++i) {
    const Standardise<float> xhat(a.factors.standard(i));
    write_row(reinterpret_cast<S*>(a.y[i]), a.cols, a.stream,
              AllHalves<S>{reinterpret_cast<const S*>(a.x[i]), xhat, gamma, beta});
  }
}

// Rows of so many pieces, each with one gamma and beta: those of `channel` and of the channels
// after it.
struct Pieces {
  int64_t rows, pieces, length;
  Factors<float> factors;
  const float *gamma, *beta;
  int64_t channels, channel;
  Rows<const uint16_t> x;
  Rows<uint16_t> y;
  bool stream;
};
template <class S>
__attribute__((noinline)) void write_pieces(const Pieces& all) {
  const Pieces a = all;
  int64_t channel = a.channel;
  for (int64_t i = 0; i < a.rows; ++i) {
    const Standardise<float> xhat(a.factors.standard(i));
    for (int64_t begin = 0; begin < a.pieces * a.length; begin += a.length) {
      const Vec<float> gamma = Vec<float>::all(value_or(a.gamma, channel, 1.0f));
      const Vec<float> beta = Vec<float>::all(value_or(a.beta, channel, -0.0f));
      write_row(reinterpret_cast<S*>(a.y[i] + begin), a.length, a.stream,
                FromHalves<S>{reinterpret_cast<const S*>(a.x[i] + begin), xhat, gamma, beta});
      channel = channel + 1 == a.channels ? 0 : channel + 1;
    }
  }
}

template <class S>
__attribute__((noinline)) void write_sum(const void* x, const void* residual, int64_t n,
                                         void* total) {
  write_row(static_cast<S*>(total), n, false,
            Sum<S>{static_cast<const S*>(x), static_cast<const S*>(residual)});
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_HALF_LINES_H_
