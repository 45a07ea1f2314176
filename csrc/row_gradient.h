// The backward of one normalised row: its two means, and the constants of the sweep that writes dx.
// Shared by layer norm and instance norm in NCHW.
//
// With xhat_i = (x_i - mean) rstd, g = dy gamma and y_i = xhat_i gamma_i + beta_i, the chain rule
// through mean and rstd, whose derivatives by x_j are 1/n and -rstd^2 xhat_j / n, gives
//
//   dx_j = sum_i g_i dxhat_i/dx_j,   dxhat_i/dx_j = rstd ([i = j] - 1/n - xhat_i xhat_j / n)
//        = rstd (g_j - mean(g) - xhat_j mean(g xhat)).
//
// x enters only as x - mean, so an offset costs no digit.
#ifndef NORMKERNELS_ROW_GRADIENT_H_
#define NORMKERNELS_ROW_GRADIENT_H_

#include "row_norm.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// dx = (g - mean_g - xhat * mean_gx) * factor.
template <class T>
struct RowGradient {
  Standard<T> standard;
  T mean_g, mean_gx, factor;
  double sum_gx, sum_g;  // over the row, of g * xhat and g
};

// What a saved mean and 1 / sigma say.
template <class T>
NORMKERNELS_INLINE Standard<T> standard_of_saved(T mean, double inv_sigma) {
  return standard_of<T>(1, {static_cast<double>(mean), 0}, inv_sigma);
}

// A saved mean is rounded: by up to half an ulp of the offset, 0.03 at 1e6. What it is off by is
// mean(xhat), which has to be 0. Only what rounding can explain is taken out; a mean that is
// further off is the caller's own.
template <class T>
NORMKERNELS_INLINE double mean_correction(const Standard<T>& s, double mean_xhat) {
  constexpr double kUnit = Range<T>::kDigits == 24 ? 0x1p-24 : 0x1p-53;
  const double explained =
      32 * kUnit * (__builtin_fabs(static_cast<double>(s.centre) * s.rstd) + 1);
  return __builtin_fabs(mean_xhat) <= explained ? mean_xhat : 0;
}

template <class T, class Gamma>
NORMKERNELS_INLINE Sums<3> gradient_sums_of_chunk(const T* dy, const T* x, int64_t begin,
                                                  int64_t end, const Standard<T>& s,
                                                  const Gamma& gamma) {
  const Standardise<T> standardise(s);
  return sum_chunk<T, 3>(
      end - begin, [=](Vec<T>(&acc)[3], int64_t i, auto lanes) __attribute__((always_inline)) {
        const Vec<T> g = times(load(dy + begin + i, lanes), gamma, begin + i, lanes);
        const Vec<T> xhat = first(standardise(load(x + begin + i, lanes)), lanes);
        acc[0] = multiply_add(g, xhat, acc[0]);
        acc[1] = acc[1] + g;
        acc[2] = acc[2] + xhat;
      });
}

// The sums of g xhat, g and xhat over a row: chunks within spans, spans in index order. Reads dy
// and x once.
template <class T, class Gamma>
NORMKERNELS_INLINE Sums<3> gradient_sums(const T* dy, const T* x, int64_t n, const Standard<T>& s,
                                         const Gamma& gamma, const Executor& executor) {
  if (n <= kChunk) return gradient_sums_of_chunk(dy, x, 0, n, s, gamma);
  Sums<3> of_span[kMaxSpans];
  const int64_t span = span_of(n);
  for_each_span(n, executor, [&](int64_t first, int64_t stop) {
    Sums<3> all = {{0, 0, 0}};
    for (int64_t begin = first; begin < stop; begin += kChunk) {
      const int64_t end = stop - begin < kChunk ? stop : begin + kChunk;
      const Sums<3> chunk = gradient_sums_of_chunk(dy, x, begin, end, s, gamma);
      for (int k = 0; k < 3; ++k) all.v[k] += chunk.v[k];
    }
    of_span[first / span] = all;
  });
  Sums<3> all = {{0, 0, 0}};
  for (int64_t i = 0; i < spans_in(n); ++i) {
    for (int k = 0; k < 3; ++k) all.v[k] += of_span[i].v[k];
  }
  return all;
}

// From the sums of g * xhat, g and xhat over n elements. `factor` = rstd (times gamma where it is
// one per row), in x's own units.
template <class T>
NORMKERNELS_INLINE RowGradient<T> row_gradient_of(Standard<T> s, const Sums<3>& sums, int64_t n,
                                                  double factor) {
  const double share = 1 / static_cast<double>(n);
  const double shift = mean_correction(s, sums.v[2] * share);
  const double sum_gx = sums.v[0] - shift * sums.v[1];
  s.shift = static_cast<T>(static_cast<double>(s.shift) - shift);
  return {s,
          static_cast<T>(sums.v[1] * share),
          static_cast<T>(sum_gx * share),
          static_cast<T>(clamp_to_finite<T>(factor)),
          sum_gx,
          sums.v[1]};
}

// dx of a vector, from g and xhat, which are also what dgamma is made of.
template <class T>
struct Gradient {
  Vec<T> mean_g, mean_gx, factor;

  explicit NORMKERNELS_INLINE Gradient(const RowGradient<T>& row)
      : mean_g(Vec<T>::all(row.mean_g)),
        mean_gx(Vec<T>::all(row.mean_gx)),
        factor(Vec<T>::all(row.factor)) {}

  NORMKERNELS_INLINE Vec<T> operator()(Vec<T> g, Vec<T> xhat) const {
    return multiply_add(-xhat, mean_gx, g - mean_g) * factor;
  }
};

// Sums over the images of a batch: images are gathered into at most kMaxImageBlocks blocks, each
// with its float64 sums per channel, and the blocks added in index order. How many images a block
// has depends on n alone.
constexpr int64_t kMaxImageBlocks = 32;

NORMKERNELS_INLINE int64_t images_per_block(int64_t n) {
  return n <= kMaxImageBlocks ? 1 : (n + kMaxImageBlocks - 1) / kMaxImageBlocks;
}
NORMKERNELS_INLINE int64_t image_blocks(int64_t n) {
  return (n + images_per_block(n) - 1) / images_per_block(n);
}

// out[j] = sum over the blocks b of sums[b * stride + j], in index order; out may be null.
template <class T>
void add_blocks(const double* sums, int64_t blocks, int64_t stride, int64_t n, T* out) {
  if (out == nullptr) return;
  for_each_vector<double>(
      n, [=](int64_t j, auto lanes) __attribute__((always_inline)) {
        Vec<double> total = Vec<double>::zero();
        for (int64_t b = 0; b < blocks; ++b) total = total + load(sums + b * stride + j, lanes);
        store_rounded(out + j, total, lanes);
      });
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_ROW_GRADIENT_H_
