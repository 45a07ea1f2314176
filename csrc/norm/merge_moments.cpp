// The moments of two parts of a row, merged: Chan, Golub and LeVeque's merge (sums/moments.h), in
// pairs of float64 whatever the parts' type, and of one scale.
//
// A scale is 1 or what brought a row of float64 into range, and the smaller of two belongs to the
// larger numbers: beside them, what underflows of the others is below the last digit of the pair.
#include "isa_table.h"
#include "simd/range.h"
#include "sums/moments.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

using Row = normkernels_row_moments;
using Merged = Moments<double, double>;

// As moments of scale * x: `scale` is no larger than the row's own.
Merged at_scale(const Row& a, double scale) {
  const double by = scale / a.scale;
  return {static_cast<double>(a.count),
          {a.mean * by, a.mean_low * by},
          {a.m2 * by * by, a.m2_low * by * by}};
}

__attribute__((noinline)) Merged merged_at(const Row& a, const Row& b, double scale) {
  return merge(at_scale(a, scale), at_scale(b, scale));
}

// The scale of rows of zeros is as good as any.
double scale_of(const Row& a, const Row& other) {
  return a.mean == 0 && a.m2 == 0 ? other.scale : a.scale;
}

bool is_finite(const Row& a) { return a.mean - a.mean == 0 && a.m2 - a.m2 == 0; }

// What brings the larger of two parts to about 1, from `scale` on.
double smaller_scale(const Row& a, const Row& b, double scale) {
  const Merged of_a = at_scale(a, scale), of_b = at_scale(b, scale);
  const double sizes[] = {__builtin_fabs(of_a.mean.hi), __builtin_fabs(of_b.mean.hi),
                          sqrt(of_a.m2.hi), sqrt(of_b.m2.hi)};
  double most = 0;
  for (const double size : sizes) most = size > most ? size : most;
  return power_of_two<double>(exponent_of(scale) - exponent_of(most));
}

Row merged(const Row& a, const Row& b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  constexpr double kMost = 0x1p960;  // as of rows, lanes_out_of_range
  const double of_a = scale_of(a, b), of_b = scale_of(b, a);
  double scale = of_a < of_b ? of_a : of_b;
  Merged all = merged_at(a, b, scale);
  if (!(all.m2.hi <= kMost) && is_finite(a) && is_finite(b)) {
    scale = smaller_scale(a, b, scale);
    all = merged_at(a, b, scale);
  }
  return {a.count + b.count, scale, all.mean.hi, all.mean.lo, all.m2.hi, all.m2.lo};
}

}  // namespace

void merge_moments(const MergeMoments& a, const Executor&) {
  for (int64_t i = 0; i < a.n; ++i) a.out[i] = merged(a.a[i], a.b[i]);
}

}  // namespace normkernels::NORMKERNELS_ISA
