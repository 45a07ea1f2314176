// From statistics to the numbers that the loops over elements need: a few for every row of layer
// norm, plane of instance norm or, in NHWC, channel.
//
// A lane of a vector is one row, plane or channel. The square root and the divisions in float64,
// which take 20 cycles each, thereby serve 2 to 8 of them at a time.
#ifndef NORMKERNELS_NORM_FACTORS_H_
#define NORMKERNELS_NORM_FACTORS_H_

#include "simd/range.h"
#include "sums/moments.h"

namespace normkernels::NORMKERNELS_ISA {

// xhat = fma(fma(x, scale, -centre), rstd, shift), where scale is a power of two (1 but for rows
// near the ends of the exponent range), centre the mean rounded to T, and shift = -(mean - centre)
// * rstd what that rounding lost.
template <class T>
struct Standard {
  T scale, centre, rstd, shift;
};

// dx = (g - mean_g - xhat * mean_gx) * factor.
template <class T>
struct RowGradient {
  Standard<T> standard;
  T mean_g, mean_gx, factor;
};

// A table of them: field by field, each [width]. What is set is set for a whole vector of rows, so
// the width has room for one more than there are: masked stores take AMD's processors 12 cycles.
template <class T>
struct Factors {
  enum Field {
    kScale,
    kCentre,
    kRstd,
    kShift,
    kGamma,
    kBeta,
    kMeanG,
    kMeanGx,
    kFactor,
    kGradientShift,
    kFields,
    kMinusCentre = kBeta  // of rows whose beta is one per column
  };
  T* p;
  int64_t width;

  NORMKERNELS_INLINE T* operator[](int field) const { return p + field * width; }
  NORMKERNELS_INLINE Factors from(int64_t i) const { return {p + i, width}; }
  NORMKERNELS_INLINE void set(Field field, int64_t at, Vec<double> values) const {
    store_rounded((*this)[field] + at, values, Full{});
  }

  NORMKERNELS_INLINE Standard<T> standard(int64_t i) const {
    return {(*this)[kScale][i], (*this)[kCentre][i], (*this)[kRstd][i], (*this)[kShift][i]};
  }
  NORMKERNELS_INLINE RowGradient<T> gradient(int64_t i) const {
    Standard<T> standard = this->standard(i);
    standard.shift = (*this)[kGradientShift][i];
    return {standard, (*this)[kMeanG][i], (*this)[kMeanGx][i], (*this)[kFactor][i]};
  }
};

// ---- Standardise --------------------------------------------------------------------

// A 1 / sigma that is no ordinary number of type T is brought to about 1 by another power of two,
// as far as the mean allows it: what does not fit then belongs to a constant row. So does an
// infinite one: xhat is 0.
template <class T>
__attribute__((noinline)) void bring_into_range(double& scale, double& mean_hi, double& mean_lo,
                                                double& rstd) {
  if (is_infinite(rstd)) {
    mean_hi = static_cast<double>(static_cast<T>(mean_hi));
    mean_lo = -1;  // shift = +0
    rstd = 0;
    return;
  }
  const int wanted = exponent_of(__builtin_fabs(rstd));
  const int room = Range<T>::kBias - 2 - exponent_of(__builtin_fabs(mean_hi));
  const double by = static_cast<double>(power_of_two<T>(wanted < room ? wanted : room));
  scale *= by;
  mean_hi *= by;
  mean_lo *= by;
  rstd /= by;
  rstd = rstd > Range<T>::kMax ? Range<T>::kMax : rstd;
}

// What needs no scale: 1 / sigma between two to the power of minus this and of this.
template <class T>
constexpr int kOrdinaryExponents = Range<T>::kBias / 2;

// From the mean and 1 / sigma of scale * x.
template <class T>
NORMKERNELS_INLINE void set_standard(const Factors<T>& f, int64_t at, Vec<double> scale,
                                     Pair<Vec<double>> mean, Vec<double> rstd) {
  const unsigned extraordinary =
      lanes_outside(rstd, Vec<double>::all(power_of_two<double>(-kOrdinaryExponents<T>)),
                    Vec<double>::all(power_of_two<double>(kOrdinaryExponents<T>)));
  if (__builtin_expect(extraordinary != 0, 0)) {
    for (int i = 0; i < Vec<double>::kLanes; ++i) {
      if ((extraordinary >> i & 1) == 0) continue;
      double s = scale.v[i], hi = mean.hi.v[i], lo = mean.lo.v[i], inverse = rstd.v[i];
      bring_into_range<T>(s, hi, lo, inverse);
      scale.v[i] = s, mean.hi.v[i] = hi, mean.lo.v[i] = lo, rstd.v[i] = inverse;
    }
  }
  using F = Factors<T>;
  const Vec<double> centre = rounded_to<T>(mean.hi);
  const Vec<double> rest = (mean.hi - centre) + mean.lo;
  f.set(F::kScale, at, scale);
  f.set(F::kCentre, at, centre);
  f.set(F::kRstd, at, rstd);
  f.set(F::kShift, at, -rest * rstd);
}

// sigma = sqrt(var + epsilon); all three right to half a unit of float64's last place.
struct Statistics {
  Vec<double> mean, sigma, rstd;
};

// a / scale, a power of two. Nearly every scale is 1, and a division takes longer than to see that.
NORMKERNELS_INLINE Vec<double> unscaled(Vec<double> a, Vec<double> scale) {
  const unsigned others = lanes_outside(scale, Vec<double>::all(0.75), Vec<double>::all(1.5));
  return __builtin_expect(others != 0, 0) ? a / scale : a;
}

// From the moments of scale * x.
template <class T>
NORMKERNELS_INLINE Statistics set_statistics(const Factors<T>& f, int64_t at,
                                             const Moments<T, Vec<double>>& m, Vec<double> scale,
                                             double epsilon) {
  using V = Vec<double>;
  const V one = V::all(1), zero = V::zero();
  const Wide<T, V> var = m.count == 0 ? m.m2 : m.m2 / V::all(m.count);
  if constexpr (!kNeedsScale<T>) {
    const V sigma = sqrt(var + V::all(epsilon)), rstd = one / sigma;
    set_standard(f, at, scale, m.mean, rstd);
    return {m.mean.hi, sigma, rstd};
  } else {
    const V root = V::all(sqrt(epsilon)), scaled_epsilon = V::all(epsilon) * scale * scale;
    const Wide<T, V> exact = sqrt(var + scaled_epsilon);
    const Bits<double> fits = is_finite(scaled_epsilon);
    const V nan_if_nan = var.hi - var.hi;
    const Wide<T, V> sigma = {select<double>(fits, exact.hi, root * scale + nan_if_nan),
                              select<double>(fits, exact.lo, zero)};
    const V rstd = select<double>(equal(sigma.hi, zero), V::all(__builtin_inf()),
                                  (widened<T>(one) / sigma).hi);
    set_standard(f, at, scale, m.mean, rstd);
    // Scaled down to nothing, epsilon still is the sigma of a constant row.
    const Bits<double> constant = equal(var.hi, zero);
    return {unscaled(m.mean.hi, scale), select<double>(constant, root, unscaled(sigma.hi, scale)),
            select<double>(constant, one / root, rstd * scale)};
  }
}

// Of lanes `at` on: what their saved means and 1 / sigma say.
template <class T, class Lanes>
NORMKERNELS_INLINE void set_saved(const Factors<T>& f, int64_t at, const T* mean, Vec<double> rstd,
                                  Lanes lanes) {
  set_standard<T>(f, at, Vec<double>::all(1), {load_widened(mean, lanes), Vec<double>::zero()},
                  rstd);
}

// ---- Gradient -----------------------------------------------------------------------

// A saved mean is rounded: by up to half an ulp of the offset, 0.03 at 1e6. What it is off by is
// mean(xhat), which has to be 0. Only what rounding can explain is taken out; a mean that is
// further off is the caller's own.
template <class T>
NORMKERNELS_INLINE Vec<double> mean_correction(Vec<double> centre, Vec<double> rstd,
                                               Vec<double> mean_xhat) {
  const Vec<double> explained =
      Vec<double>::all(32 * Range<T>::kUnit) * (absolute(centre * rstd) + Vec<double>::all(1));
  const Vec<double> size = absolute(mean_xhat);
  return select<double>(less(size, explained) | equal(size, explained), mean_xhat,
                        Vec<double>::zero());
}

// What dx is multiplied by; 0 for a constant row whose sigma is 0.
NORMKERNELS_INLINE Vec<double> gradient_factor(Vec<double> rstd, Vec<double> gamma) {
  return select<double>(is_finite(rstd), rstd * gamma, Vec<double>::zero());
}

// Over a row, of g * xhat and g.
struct RowSums {
  Vec<double> gx, g;
};

// From the sums of g * xhat, g and xhat over n elements. `factor` = gradient_factor, in x's
// own units. Rows that are not centred have no mean to be taken out, and none that was rounded.
template <class T>
NORMKERNELS_INLINE RowSums set_gradient(const Factors<T>& f, int64_t at,
                                        const Vec<double> (&sums)[3], int64_t n, Vec<double> factor,
                                        bool centred) {
  using F = Factors<T>;
  const Vec<double> share = Vec<double>::all(1 / static_cast<double>(n));
  Vec<double> correction = Vec<double>::zero(), mean_g = correction, sum_gx = sums[0];
  if (centred) {
    correction = mean_correction<T>(load_widened(f[F::kCentre] + at, Full{}),
                                    load_widened(f[F::kRstd] + at, Full{}), sums[2] * share);
    mean_g = sums[1] * share;
    sum_gx = sums[0] - correction * sums[1];
  }
  f.set(F::kGradientShift, at, load_widened(f[F::kShift] + at, Full{}) - correction);
  f.set(F::kMeanG, at, mean_g);
  f.set(F::kMeanGx, at, sum_gx * share);
  f.set(F::kFactor, at, clamped<T>(factor));
  return {sum_gx, sums[1]};
}

// ---- In registers -------------------------------------------------------------------

// A row's factors in registers. Loops hold one by value: behind a reference they would be loaded
// again after every store, which might have changed them for all that the compiler knows.
template <class T>
struct Standardise {
  Vec<T> scale, minus_centre, rstd, shift;

  Standardise() = default;
  explicit NORMKERNELS_INLINE Standardise(const Standard<T>& s)
      : scale(Vec<T>::all(s.scale)),
        minus_centre(-Vec<T>::all(s.centre)),
        rstd(Vec<T>::all(s.rstd)),
        shift(Vec<T>::all(s.shift)) {}

  NORMKERNELS_INLINE Standardise(Vec<T> scale, Vec<T> minus_centre, Vec<T> rstd, Vec<T> shift)
      : scale(scale), minus_centre(minus_centre), rstd(rstd), shift(shift) {}

  // Of a row of one element per lane; the shift is one of the two that the table has.
  template <class Lanes>
  NORMKERNELS_INLINE Standardise(const Factors<T>& f, typename Factors<T>::Field shift_field,
                                 int64_t i, Lanes lanes)
      : scale(load(f[Factors<T>::kScale] + i, lanes)),
        minus_centre(-load(f[Factors<T>::kCentre] + i, lanes)),
        rstd(load(f[Factors<T>::kRstd] + i, lanes)),
        shift(load(f[shift_field] + i, lanes)) {}

  NORMKERNELS_INLINE Vec<T> operator()(Vec<T> x) const {
    return fma(multiply_add(x, scale, minus_centre), rstd, shift);  // x * scale is exact
  }
};

// What a backward writes: dx; y as well, where the forward is done at the same time; or dx of
// channels that share statistics, where g is dy gamma and gamma no part of the factor.
enum class Writes { kDx, kDxAndY, kDxOfGroup };

// dx of a vector, from g and xhat, which are also what dgamma is made of.
template <class T>
struct Gradient {
  Vec<T> mean_g, mean_gx, factor;

  Gradient() = default;
  explicit NORMKERNELS_INLINE Gradient(const RowGradient<T>& row)
      : mean_g(Vec<T>::all(row.mean_g)),
        mean_gx(Vec<T>::all(row.mean_gx)),
        factor(Vec<T>::all(row.factor)) {}

  NORMKERNELS_INLINE Gradient(Vec<T> mean_g, Vec<T> mean_gx, Vec<T> factor)
      : mean_g(mean_g), mean_gx(mean_gx), factor(factor) {}

  // Of a row of one element per lane.
  template <class Lanes>
  NORMKERNELS_INLINE Gradient(const Factors<T>& f, int64_t i, Lanes lanes)
      : mean_g(load(f[Factors<T>::kMeanG] + i, lanes)),
        mean_gx(load(f[Factors<T>::kMeanGx] + i, lanes)),
        factor(load(f[Factors<T>::kFactor] + i, lanes)) {}

  NORMKERNELS_INLINE Vec<T> operator()(Vec<T> g, Vec<T> xhat) const {
    return multiply_add(-xhat, mean_gx, g - mean_g) * factor;
  }
};

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_FACTORS_H_
