// The sums of planes for their backward: those of rows that need no scale, without a gamma.
#ifndef NORMKERNELS_NORM_PLANE_SUMS_H_
#define NORMKERNELS_NORM_PLANE_SUMS_H_

#include "norm/row_gradient.h"

namespace normkernels::NORMKERNELS_ISA {

// Of planes longer than a chunk, with factors of their own.
template <class T>
__attribute__((noinline)) void long_plane_sums(const GradientRows<T>& r, int64_t planes, int64_t n,
                                               const SharedFactors<T>& factors,
                                               const Executor& executor, SumTable sums) {
  for (int64_t i = 0; i < planes; ++i) {
    const SharedFactors<T> own = factors.from(i);
    double all[3];
    long_sums(n, executor, all, [&](int64_t begin, int64_t count, SumTable of_chunk) {
      const GradientRows<T> chunk = {r.dy.at(i, begin), r.x.at(i, begin), {}};
      unscaled_sums<T, false>(chunk, 1, count, own, of_chunk);
    });
    for (int k = 0; k < 3; ++k) sums[k][i] = all[k];
  }
}

// Of planes of any length but 1, no more than kRowsTogether. Reads dy and x once.
template <class T>
NORMKERNELS_INLINE void sums_of_planes(const Rows<const T>& dy, const Rows<const T>& x,
                                       int64_t planes, int64_t n, const SharedFactors<T>& factors,
                                       const Executor& executor, SumTable sums) {
  if constexpr (kSumsInRegisters<T>) {
    if (__builtin_expect(factors.unscaled(planes), 1)) {
      const GradientRows<T> rows = {dy, x, {}};
      if (n <= kChunk) return unscaled_sums<T, false>(rows, planes, n, factors, sums);
      return long_plane_sums(rows, planes, n, factors, executor, sums);
    }
  }
  gradient_sums<T>({dy, x, gamma_of<T>(nullptr)}, planes, n, factors.table, executor, sums);
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_PLANE_SUMS_H_
