// s^-beta for local response norm: by Householder's iteration where beta allows it, else by
// 2^(-beta log2 s).
//
// All of it is made of IEEE operations, so the bits are the same everywhere: no estimate
// instructions, no libm.
#ifndef NORMKERNELS_LRN_POWER_H_
#define NORMKERNELS_LRN_POWER_H_

#include <type_traits>

#include "simd/loops.h"

namespace normkernels::NORMKERNELS_ISA {

// The bits of T, without a sign.
template <class T>
using Words = Vec<std::make_unsigned_t<typename BitsOf<T>::type>>;

enum class Power { kZero, kHalf, kThreeQuarters, kOne, kGeneral };

NORMKERNELS_INLINE Power power_for(double beta) {
  return beta == 0      ? Power::kZero
         : beta == 0.5  ? Power::kHalf
         : beta == 0.75 ? Power::kThreeQuarters
         : beta == 1    ? Power::kOne
                        : Power::kGeneral;
}

// For float64. Taylor series of atanh, times 2 / ln 2: log2((1 + z) / (1 - z)) = c z + sum_k
// kLog2[k] z^(2k+3), |z| <= 0.172.
constexpr double kLog2High = 0x1.71547652b82fep+1, kLog2Low = 0x1.777d0ffda0d24p-55;
constexpr double kLog2[] = {0x1.ec709dc3a03fdp-1, 0x1.2776c50ef9bfep-1, 0x1.a61762a7aded9p-2,
                            0x1.484b13d7c02a9p-2, 0x1.0c9a84994022dp-2, 0x1.c68f568d31760p-3,
                            0x1.89f3b1694cffep-3, 0x1.5b9ac9b743f0dp-3, 0x1.3703c1f4d0ffep-3,
                            0x1.1964ec6fc9491p-3, 0x1.00ecd7e080215p-3};
// ln(2)^k / k!, for 2^f, |f| <= 0.5.
constexpr double kExp2[] = {0x1.0000000000000p+0,  0x1.62e42fefa39efp-1,  0x1.ebfbdff82c58fp-3,
                            0x1.c6b08d704a0c0p-5,  0x1.3b2ab6fba4e77p-7,  0x1.5d87fe78a6731p-10,
                            0x1.430912f86c787p-13, 0x1.ffcbfc588b0c7p-17, 0x1.62c0223a5c824p-20,
                            0x1.b5253d395e7c4p-24, 0x1.e4cf5158b8ecap-28, 0x1.e8cac7351bb25p-32,
                            0x1.c3bd650fc2986p-36, 0x1.816193166d0f9p-40, 0x1.314964d5878a9p-44};

// N vectors that go through the same operations side by side: a power is one long chain of
// dependent operations, and the processor does not look far enough ahead to find the next by
// itself.
template <class T, int N>
struct Group {
  Vec<T> v[N];

  static NORMKERNELS_INLINE Group all(T a) {
    Group r;
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) r.v[i] = Vec<T>::all(a);
    return r;
  }

  friend NORMKERNELS_INLINE Group operator+(Group a, Group b) {
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) a.v[i] = a.v[i] + b.v[i];
    return a;
  }
  friend NORMKERNELS_INLINE Group operator-(Group a, Group b) {
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) a.v[i] = a.v[i] - b.v[i];
    return a;
  }
  friend NORMKERNELS_INLINE Group operator*(Group a, Group b) {
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) a.v[i] = a.v[i] * b.v[i];
    return a;
  }
  friend NORMKERNELS_INLINE Group operator/(Group a, Group b) {
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) a.v[i] = a.v[i] / b.v[i];
    return a;
  }
  friend NORMKERNELS_INLINE Group operator-(Group a) {
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) a.v[i] = -a.v[i];
    return a;
  }
  friend NORMKERNELS_INLINE Group multiply_add(Group a, Group b, Group c) {
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) a.v[i] = multiply_add(a.v[i], b.v[i], c.v[i]);
    return a;
  }
  friend NORMKERNELS_INLINE Group fma(Group a, Group b, Group c) {
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) a.v[i] = fma(a.v[i], b.v[i], c.v[i]);
    return a;
  }
  friend NORMKERNELS_INLINE Group sqrt(Group a) {
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) a.v[i] = sqrt(a.v[i]);
    return a;
  }
};

template <int N, class T, class Lanes = Full>
NORMKERNELS_INLINE Group<T, N> load_group(const T* p, Lanes lanes = {}) {
  Group<T, N> r;
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) r.v[i] = load(p + i * Vec<T>::kLanes, lanes);
  return r;
}
template <int N>
NORMKERNELS_INLINE Group<double, N> load_widened_group(const float* p) {
  Group<double, N> r;
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) r.v[i] = load_widened(p + i * Vec<double>::kLanes, Full{});
  return r;
}
template <class T, int N, class Lanes = Full>
NORMKERNELS_INLINE void store_group(T* p, const Group<T, N>& a, Lanes lanes = {}) {
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) store(p + i * Vec<T>::kLanes, a.v[i], lanes);
}

// The same elements as float64, in as many more vectors as that takes, and back: each rounded.
template <class T>
constexpr int kDoublesPer = sizeof(double) / sizeof(T);
template <class T, int N>
NORMKERNELS_INLINE Group<double, N * kDoublesPer<T>> to_double(Group<T, N> a) {
  if constexpr (sizeof(T) == sizeof(double)) {
    return a;
  } else {
    Group<double, 2 * N> r;
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
      Vec<double> low, high;
      widen(a.v[i], low, high);
      r.v[2 * i] = low;
      r.v[2 * i + 1] = high;
    }
    return r;
  }
}
template <class T, int N>
NORMKERNELS_INLINE Group<T, N / kDoublesPer<T>> from_double(Group<double, N> a) {
  if constexpr (sizeof(T) == sizeof(double)) {
    return a;
  } else {
    Group<T, N / 2> r;
#pragma GCC unroll 8
    for (int i = 0; i < N / 2; ++i) r.v[i] = narrow(a.v[2 * i], a.v[2 * i + 1]);
    return r;
  }
}

// c[0] + x c[1] + ... + x^(M-1) c[M-1].
template <int M, class T, int N>
NORMKERNELS_INLINE Group<T, N> polynomial(const T* c, Group<T, N> x) {
  Group<T, N> sum = Group<T, N>::all(c[M - 1]);
  // As a loop that GCC unrolls, general powers took 2 to 3 % longer.
  unroll<M - 1>([&](auto k) __attribute__((always_inline)) {
    sum = multiply_add(sum, x, Group<T, N>::all(c[M - 2 - decltype(k)::value]));
  });
  return sum;
}

// s = 2^e m = 2^e (1 + z) / (1 - z) for normal s > 0.
template <int N>
struct Reduced {
  using Numbers = Group<double, N>;
  Numbers m, e, z;

  static NORMKERNELS_INLINE Reduced of(Numbers s) {
    using Word = Vec<uint64_t>;
    constexpr uint64_t kRootHalf = 0x3fe6a09e667f3bcd, kOffset = uint64_t{1024} << 52;
    Word biased[N];
    Reduced r;
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
      const Word bits = bit_cast<Word>(s.v[i]);
      // e + 1024, which is positive: the shift of a signed number is no AVX2 instruction.
      biased[i] = {(bits.v - kRootHalf + kOffset) >> 52};
      r.m.v[i] = bit_cast<Vec<double>>(Word{bits.v - ((biased[i].v - 1024) << 52)});
    }
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
      r.e.v[i] = bit_cast<Vec<double>>(biased[i] | Word::all(0x4330000000000000));
    }
    r.e = r.e - Numbers::all(0x1p52 + 1024);
    const Numbers one = Numbers::all(1);
    r.z = (r.m - one) / (r.m + one);
    return r;
  }
};

// log2 s as hi + lo, within 2^-60: the exponent multiplies its absolute error by up to 700.
template <int N>
NORMKERNELS_INLINE void log2(const Reduced<N>& s, Group<double, N>& hi, Group<double, N>& lo) {
  using Numbers = Group<double, N>;
  const Numbers z = s.z, zz = z * z;
  const Numbers series = polynomial<sizeof(kLog2) / sizeof(double)>(kLog2, zz) * (zz * z);
  const Numbers c = Numbers::all(kLog2High), one = Numbers::all(1);
  const Numbers f = s.m - one, t = s.m + one, t_low = s.m - (t - one);
  const Numbers z_low = multiply_add(-z, t_low, fma(-z, t, f)) / t;
  const Numbers head = c * z;
  const Numbers head_low = fma(c, z, -head) + Numbers::all(kLog2Low) * z + c * z_low;
  hi = s.e + head;
  lo = (head - (hi - s.e)) + (head_low + series);
}

// 2^(hi + lo) for |hi| <= 1000, from a polynomial for |hi + lo| <= 0.5.
template <int M, int N, class... Low>
NORMKERNELS_INLINE Group<double, N> exp2(const double (&k)[M], Group<double, N> hi, Low... lo) {
  const Group<double, N> rounder = Group<double, N>::all(0x1.8p52);
  const Group<double, N> shifted = hi + rounder;
  Group<double, N> power = polynomial<M>(k, ((hi - (shifted - rounder)) + ... + lo));
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) {
    const Words<double> exponent = bit_cast<Words<double>>(shifted.v[i]) << 52;
    power.v[i] = bit_cast<Vec<double>>(bit_cast<Words<double>>(power.v[i]) + exponent);
  }
  return power;
}

// s^minus_beta, where that and s are ordinary numbers.
template <int N>
NORMKERNELS_INLINE Group<double, N> general_power(Group<double, N> s, double minus_beta) {
  Group<double, N> hi, lo;
  log2(Reduced<N>::of(s), hi, lo);
  const Group<double, N> b = Group<double, N>::all(minus_beta), p = b * hi;
  return exp2(kExp2, p, multiply_add(b, lo, fma(b, hi, -p)));
}

// log2(1 + f) = f (c[0] + f (c[1] + f (c[2] + f (tail[0] + f tail[1] + ...)))) within 2^-30 for
// 1 + f from sqrt(1/2) to sqrt(2), what is rounded in float32's tail included; 2^f within 2^-34.
// Minimax polynomials, without the quotient (m - 1) / (m + 1).
constexpr double kShortLog2[] = {0x1.71547668e49afp+0, -0x1.715475e203aa0p-1, 0x1.ec7058p-2};
constexpr float kShortLog2Tail[] = {-0x1.71549ep-2f, 0x1.278652p-2f,  -0x1.ec8002p-3f,
                                    0x1.a34652p-3f,  -0x1.6daa74p-3f, 0x1.639900p-3f,
                                    -0x1.5f5c10p-3f, 0x1.8cf9eep-4f};
constexpr double kShortExp2[] = {0x1.ffffffffabbe0p-1,  0x1.62e42ff116287p-1, 0x1.ebfbe0a4be940p-3,
                                 0x1.c6b08aaf2ef21p-5,  0x1.3b29dc40c7f88p-7, 0x1.5d8a7087de4a0p-10,
                                 0x1.446a1fe640f40p-13, 0x1.fe1784d3f7200p-17};

// What of it is float32: s = 2^e (1 + f).
template <int N>
struct ShortParts {
  Group<float, N> e, f, tail;

  static NORMKERNELS_INLINE ShortParts of(Group<float, N> s) {
    constexpr uint32_t kRootHalf = 0x3f3504f3, kOffset = uint32_t{128} << 23;
    ShortParts r;
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
      const Words<float> bits = bit_cast<Words<float>>(s.v[i]);
      const Words<float> biased = {(bits.v - kRootHalf + kOffset) >> 23};  // e + 128
      r.f.v[i] = bit_cast<Vec<float>>(Words<float>{bits.v - ((biased.v - 128) << 23)});
      r.e.v[i] = bit_cast<Vec<float>>(biased | Words<float>::all(0x4b000000));
    }
    r.f = r.f - Group<float, N>::all(1);
    r.e = r.e - Group<float, N>::all(0x1p23f + 128);
    r.tail = polynomial<sizeof(kShortLog2Tail) / sizeof(float)>(kShortLog2Tail, r.f);
    return r;
  }
};

template <int N>
NORMKERNELS_INLINE Group<float, N / 2> short_general_power(Group<double, N> e, Group<double, N> f,
                                                           Group<double, N> tail,
                                                           double minus_beta) {
  using Numbers = Group<double, N>;
  Numbers log = tail;
#pragma GCC unroll 8
  for (int k = 2; k >= 0; --k) log = multiply_add(log, f, Numbers::all(kShortLog2[k]));
  log = multiply_add(log, f, e) * Numbers::all(minus_beta);
  return from_double<float>(exp2(kShortExp2, log));
}
template <int N>
NORMKERNELS_INLINE Group<float, N> general_power(Group<float, N> s, double minus_beta) {
  const ShortParts<N> parts = ShortParts<N>::of(s);
  return short_general_power(to_double(parts.e), to_double(parts.f), to_double(parts.tail),
                             minus_beta);
}

// ---- Roots --------------------------------------------------------------------------

// s^-1/2 and s^-3/4 without the divider: a guess y at the power, by arithmetic on the bits of
// s, and from the h by which it misses, 1 - s y^2 or 1 - s^3 y^4, the power: y (1 - h)^-1/2 or y (1
// - h)^-1/4, as y + y h (k[0] + k[1] h + ...). For float32 one such step, for float64 a rough and a
// fine one; k is least in the worst relative error over the h that are possible.
template <Power P, class T>
struct Roots;

// |h| <= 0.172, error 2^-27.5: with a term less, 2^-23.9, the power of 1 would not be 1.
template <>
struct Roots<Power::kThreeQuarters, float> {
  static constexpr uint32_t kGuess = 0x6f145d7c;
  static constexpr float k[] = {0x1.00000cp-2f, 0x1.400032p-3f, 0x1.dfccfep-4f,
                                0x1.85b9dap-4f, 0x1.591d56p-4f, 0x1.30a038p-4f};
};
// |h| <= 0.069, error 2^-29.8.
template <>
struct Roots<Power::kHalf, float> {
  static constexpr uint32_t kGuess = 0x5f3743ac, kDigits = 0xfffff000;
  static constexpr float k[] = {0x1p-1f, 0x1.7fff72p-2f, 0x1.3ffee8p-2f, 0x1.197f9cp-2f,
                                0x1.fbb1dap-3f};
};
// Rough: |h| <= 0.172, error 2^-20.2, which leaves |h| <= 3.3e-6, whose cube is fine's error.
template <>
struct Roots<Power::kThreeQuarters, double> {
  static constexpr uint64_t kGuess = 0x6fe28baf80000000;
  static constexpr double k[] = {0x1.fff4a576f21a2p-3, 0x1.3fee2fc8a3467p-3, 0x1.ec4eb2ef88d40p-4,
                                 0x1.933b3574ada88p-4};
  static constexpr double kFine[] = {0.25, 0x1.4p-3};
};
// Rough: error 2^-19.9.
template <>
struct Roots<Power::kHalf, double> {
  static constexpr uint64_t kGuess = 0x5fe6e87580000000, kDigits = 0xfffffffff8000000;
  static constexpr double k[] = {0x1.ffffa92a42355p-2, 0x1.811456dee3066p-2, 0x1.4171eaabb3f5fp-2};
  static constexpr double kFine[] = {0.5, 0.375};
};

template <Power P, class T, int N>
NORMKERNELS_INLINE Group<T, N> guessed_power(Group<T, N> s) {
  Group<T, N> y;
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) {
    const Words<T> bits = bit_cast<Words<T>>(s.v[i]), guess = Words<T>::all(Roots<P, T>::kGuess);
    y.v[i] =
        bit_cast<Vec<T>>(P == Power::kHalf ? guess - (bits >> 1) : (guess - bits) + (bits >> 2));
  }
  return y;
}

// y without the digits that y^2 has no room for.
template <class T, int N>
NORMKERNELS_INLINE Group<T, N> short_power(Group<T, N> y) {
  const Words<T> digits = Words<T>::all(Roots<Power::kHalf, T>::kDigits);
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) y.v[i] = bit_cast<Vec<T>>(bit_cast<Words<T>>(y.v[i]) & digits);
  return y;
}

// y + y h (k[0] + k[1] h + ...).
template <Power P, int M, class T, int N>
NORMKERNELS_INLINE Group<T, N> refined_power(Group<T, N> y, Group<T, N> s, const T (&k)[M]) {
  const Group<T, N> one = Group<T, N>::all(1);
  Group<T, N> h;
  if constexpr (P == Power::kHalf) {
    y = short_power(y);
    h = multiply_add(-(y * y), s, one);
  } else {
    const Group<T, N> t = y * s;
    h = multiply_add(-(t * y), t * t, one);
  }
  return multiply_add(y * h, polynomial<M>(k, h), y);
}

// s^-beta of ordinary s where beta is one of the named ones. Not times x right away: so the power
// of a power of two that is one is exact.
template <Power P, class T, int N>
NORMKERNELS_INLINE Group<T, N> named_power(Group<T, N> s) {
  if constexpr (P == Power::kZero) {
    return Group<T, N>::all(1);
  } else if constexpr (P == Power::kOne) {
    return Group<T, N>::all(1) / s;
  } else {
    const Group<T, N> y = refined_power<P>(guessed_power<P>(s), s, Roots<P, T>::k);
    if constexpr (sizeof(T) == sizeof(float)) {
      return y;
    } else {
      return refined_power<P>(y, s, Roots<P, T>::kFine);
    }
  }
}
template <Power P, class T, int N>
NORMKERNELS_INLINE Group<T, N> times_named_power(Group<T, N> x, Group<T, N> s) {
  if constexpr (P == Power::kOne) {
    return x / s;
  } else {
    return x * named_power<P>(s);
  }
}

// f(Index<p>).
template <class F>
NORMKERNELS_INLINE auto with_power(Power p, F&& f) {
  if (p == Power::kThreeQuarters) return f(Index<static_cast<int>(Power::kThreeQuarters)>{});
  if (p == Power::kHalf) return f(Index<static_cast<int>(Power::kHalf)>{});
  if (p == Power::kOne) return f(Index<static_cast<int>(Power::kOne)>{});
  if (p == Power::kZero) return f(Index<static_cast<int>(Power::kZero)>{});
  return f(Index<static_cast<int>(Power::kGeneral)>{});
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_POWER_H_
