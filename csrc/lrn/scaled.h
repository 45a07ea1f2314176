// Vectors of numbers with their exponents apart: what products of very large and very small factors
// are formed in, and powers of any number.
#ifndef NORMKERNELS_LRN_SCALED_H_
#define NORMKERNELS_LRN_SCALED_H_

#include "lrn/power.h"
#include "simd/range.h"

namespace normkernels::NORMKERNELS_ISA {

// 2^e for whole e from -1022 to 1023.
NORMKERNELS_INLINE Vec<double> power_of_two(Vec<double> e) {
  // The low bits of 2^52 + n are those of n.
  const Vec<double> biased = e + Vec<double>::all(0x1p52 + 1023);
  return bit_cast<Vec<double>>(Vec<uint64_t>{bit_cast<Vec<uint64_t>>(biased).v << 52});
}

NORMKERNELS_INLINE Vec<double> clamped(Vec<double> a, double most) {
  a = select<double>(less(Vec<double>::all(most), a), Vec<double>::all(most), a);
  return select<double>(less(a, Vec<double>::all(-most)), Vec<double>::all(-most), a);
}

// Towards 0, for |a| < 2^51.
NORMKERNELS_INLINE Vec<double> truncated(Vec<double> a) {
  const Vec<double> size = absolute(a), rounder = Vec<double>::all(0x1p52),
                    one = Vec<double>::all(1);
  const Vec<double> near = (size + rounder) - rounder;
  const Vec<double> whole = select<double>(less(size, near), near - one, near);
  return select<double>(less(a, Vec<double>::zero()), -whole, whole);
}

// m * 2^e, 1 <= |m| < 2 unless m is 0, infinite or NaN. e is a whole number.
struct Scaled {
  Vec<double> m, e;

  // Of m that is no denormal number.
  static NORMKERNELS_INLINE Scaled normal(Scaled a) {
    constexpr uint64_t kExponent = uint64_t{2047} << 52, kOne = uint64_t{1023} << 52;
    using Word = Vec<uint64_t>;
    const Word bits = bit_cast<Word>(a.m);
    const Word biased = {(bits.v & kExponent) >> 52};
    const Vec<double> exponent = bit_cast<Vec<double>>(biased | Word::all(0x4330000000000000)) -
                                 Vec<double>::all(0x1p52 + 1023);
    const Vec<double> m = bit_cast<Vec<double>>(Word{(bits.v & ~kExponent) | kOne});
    const Vec<double> size = absolute(a.m);
    const Bits<double> usual =
        less(Vec<double>::zero(), size) & less(size, Vec<double>::all(__builtin_inf()));
    return {select<double>(usual, m, a.m), select<double>(usual, a.e + exponent, a.e)};
  }
  static NORMKERNELS_INLINE Scaled of(Vec<double> a) {
    const Bits<double> tiny = less(absolute(a), Vec<double>::all(0x1p-1000));
    const Vec<double> zero = Vec<double>::zero();
    return normal({select<double>(tiny, a * Vec<double>::all(0x1p200), a),
                   select<double>(tiny, Vec<double>::all(-200), zero)});
  }
  static NORMKERNELS_INLINE Scaled of(double a) { return of(Vec<double>::all(a)); }

  friend NORMKERNELS_INLINE Scaled select(Bits<double> mask, Scaled yes, Scaled no) {
    return {select<double>(mask, yes.m, no.m), select<double>(mask, yes.e, no.e)};
  }
  friend NORMKERNELS_INLINE Scaled operator*(Scaled a, Scaled b) {
    return normal({a.m * b.m, a.e + b.e});
  }
  friend NORMKERNELS_INLINE Scaled operator+(Scaled a, Scaled b) {
    const Vec<double> most = select<double>(less(a.e, b.e), b.e, a.e), zero = Vec<double>::zero();
    const auto brought = [=](Scaled t) __attribute__((always_inline)) {
      const Vec<double> least = Vec<double>::all(-1000), e = t.e - most;
      return t.m * power_of_two(select<double>(less(e, least), least, e));
    };
    const Scaled sum = normal({brought(a) + brought(b), most});
    return select(equal(a.m, zero), b, select(equal(b.m, zero), a, sum));
  }
  // Times one over it, an infinite or zero divisor acts as it does in a formula.
  NORMKERNELS_INLINE Scaled inverse() const { return normal({Vec<double>::all(1) / m, -e}); }

  // Rounded once: at most one factor leads out of the normal numbers.
  NORMKERNELS_INLINE Vec<double> value() const {
    const Vec<double> first = clamped(e, 1000), rest = clamped(e - first, 1000);
    return m * power_of_two(first) * power_of_two(rest);
  }
};

// s^-beta of each of N vectors, which are finite, not 0, and positive or beta an integer: 2^(-beta
// (log2 m + e)) as a whole number and a fraction, each product exact or with its rounding error.
template <int N>
NORMKERNELS_INLINE void usual_power(const Scaled (&s)[N], double beta, Scaled (&power)[N]) {
  using Numbers = Group<double, N>;
  Numbers base, log_hi, log_lo, fraction, low, whole;
#pragma GCC unroll 8
  for (int k = 0; k < N; ++k) base.v[k] = absolute(s[k].m);
  log2(Reduced<N>::of(base), log_hi, log_lo);
  // Exponents that nothing brings back. Where m is 2 but for a digit or e is -1, the products with
  // a huge beta cancel.
  const double huge = __builtin_fabs(beta) > 5e5 ? 2 * __builtin_fabs(beta) : 1e6;
  const Vec<double> b = Vec<double>::all(-beta), infinity = Vec<double>::all(__builtin_inf());
  const auto beyond = [=](Vec<double> p, Vec<double> sum) __attribute__((always_inline)) {
    return less(Vec<double>::all(huge), p) | less(Vec<double>::all(4e6), sum);
  };
  Bits<double> over[N], under[N];
#pragma GCC unroll 8
  for (int k = 0; k < N; ++k) {
    const Vec<double> hi = log_hi.v[k], lo = log_lo.v[k];
    const Vec<double> p = b * s[k].e, p_low = fma(b, s[k].e, -p);
    const Vec<double> q = b * hi, q_low = fma(b, hi, -q) + b * lo;
    over[k] = beyond(p, p + q);
    under[k] = beyond(-p, -(p + q));
    whole.v[k] = truncated(p + q);
    const Vec<double> rest = p - whole.v[k];
    fraction.v[k] = rest + q;
    const Vec<double> rest_low =
        (rest - (fraction.v[k] - q)) + (q - (fraction.v[k] - (fraction.v[k] - q)));
    low.v[k] = rest_low + (p_low + q_low);
  }
  const Numbers m = exp2(kExp2, fraction, low);
#pragma GCC unroll 8
  for (int k = 0; k < N; ++k) {
    const Vec<double> zero = Vec<double>::zero();
    const Scaled usual = Scaled::normal({m.v[k], whole.v[k]});
    power[k] = select(over[k], {infinity, zero}, select(under[k], {zero, zero}, usual));
  }
}

// s^-beta of each of N vectors, for any s: 0 to a positive power is 0, a negative s has one if beta
// is an integer, else NaN.
template <int N>
__attribute__((noinline)) void negative_power(const Scaled (&s)[N], double beta,
                                              Scaled (&power)[N]) {
  const Vec<double> zero = Vec<double>::zero(), one = Vec<double>::all(1);
  const bool even = __builtin_fabs(beta) >= 0x1p53;  // as every number from there on is
  const bool integer = even || static_cast<double>(static_cast<int64_t>(beta)) == beta;
  const bool odd = integer && !even && (static_cast<int64_t>(beta) & 1) != 0;
  bool any_usual = false;
#pragma GCC unroll 8
  for (int k = 0; k < N; ++k) {
    const Vec<double> base = integer ? absolute(s[k].m) : s[k].m;
    constexpr unsigned kAll = (1u << Vec<double>::kLanes) - 1;
    any_usual |= lanes_outside(base, Vec<double>::all(0.5), Vec<double>::all(2)) != kAll;
    power[k] = {one, zero};
  }
  if (beta == 0) return;
  if (any_usual) usual_power(s, beta, power);
#pragma GCC unroll 8
  for (int k = 0; k < N; ++k) {
    const Vec<double> m = s[k].m, size = absolute(m), infinity = Vec<double>::all(__builtin_inf());
    const Vec<double> of_zero = beta > 0 ? infinity : zero,
                      of_infinity = beta > 0 ? zero : infinity;
    const Bits<double> is_zero = equal(m, zero), negative = less(m, zero);
    const Bits<double> unusual = is_zero | equal(size, infinity);
    Scaled r = power[k];
    r = select(unusual, {select<double>(is_zero, of_zero, of_infinity), zero}, r);
    if (odd) {
      // What is too small to be told from 0 has no sign.
      const Bits<double> with_sign = negative & (unusual | less(zero, absolute(r.m)));
      r.m = select<double>(with_sign, -r.m, r.m);
    }
    const Vec<double> nan = Vec<double>::all(__builtin_nan(""));
    r.m = select<double>(equal(m, m), r.m, nan);
    if (!integer) r.m = select<double>(negative, nan, r.m);
    power[k] = r;
  }
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_SCALED_H_
