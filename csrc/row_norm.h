// Normalising one row: from its moments to the numbers that the loops need. Shared by layer norm,
// whose rows are the last dimensions, and instance norm in NCHW, whose rows are the planes of a
// channel.
#ifndef NORMKERNELS_ROW_NORM_H_
#define NORMKERNELS_ROW_NORM_H_

#include "parallel.h"
#include "reduce.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// ---- Spans: how a row that is too long for one core is shared -----------------------

constexpr int kMaxSpans = 64;
// 256 KiB of float32: a thread's start-up is small against it.
constexpr int64_t kMinSpan = 16 * kChunk;

// The chunks of a row are merged in two levels, first within a span, then spans; a span is a number
// of whole chunks that depends on the length alone. It is the same for one thread as for many.
NORMKERNELS_INLINE int64_t span_of(int64_t n) {
  const int64_t share = (n + kMaxSpans - 1) / kMaxSpans;
  const int64_t chunks = (share + kChunk - 1) / kChunk;
  return chunks * kChunk < kMinSpan ? kMinSpan : chunks * kChunk;
}
NORMKERNELS_INLINE int64_t spans_in(int64_t n) {
  return n <= kMinSpan ? n > 0 : (n + span_of(n) - 1) / span_of(n);
}

// Rows on one side, spans of a row on the other: which of them the threads share is a matter of
// speed alone.
NORMKERNELS_INLINE bool split_rows(int64_t rows, int64_t cols, const Executor& executor) {
  return executor.threads > 1 && rows < 2 * executor.threads && spans_in(cols) > 1;
}

// Rows are worked on a few at a time, step by step: a row's sums, mean, square root and division
// wait for one another, and another row's fill that time. They stay in L1 between the steps.
constexpr int64_t kRowsTogether = 8;

NORMKERNELS_INLINE int64_t rows_together(int64_t cols) {
  const int64_t rows = kChunk / (cols > 0 ? cols : 1);
  return rows < 1 ? 1 : rows < kRowsTogether ? rows : kRowsTogether;
}

// f(first row, rows) for all rows, at most `together` at a time.
template <class F>
NORMKERNELS_INLINE void for_each_row_group(int64_t rows, int64_t together, const Executor& executor,
                                           F&& f) {
  const int64_t groups = (rows + together - 1) / together;
  const int64_t tasks_wanted = 8 * int64_t{executor.threads};
  const int64_t groups_each = (groups + tasks_wanted - 1) / tasks_wanted;
  if (groups == 0) return;
  for_each_task(executor, (groups + groups_each - 1) / groups_each, [&](int64_t task) {
    const int64_t end = (task + 1) * groups_each < groups ? (task + 1) * groups_each : groups;
    for (int64_t i = task * groups_each; i < end; ++i) {
      f(i * together, rows - i * together < together ? rows - i * together : together);
    }
  });
}

template <class F>
NORMKERNELS_INLINE void for_each_row(int64_t rows, const Executor& executor, F&& f) {
  for_each_row_group(rows, 1, executor, [&](int64_t i, int64_t) { f(i); });
}

// ---- From moments to factors --------------------------------------------------------

// xhat = fma(fma(x, scale, -centre), rstd, shift), where scale is a power of two (1 but for rows
// near the ends of the exponent range), centre the mean rounded to T, and shift = -(mean - centre)
// * rstd what that rounding lost.
template <class T>
struct Standard {
  T scale, centre, rstd, shift;
};

template <class T>
struct RowStatistics {
  Standard<T> standard;
  double mean, sigma;
};

template <class T>
struct Range;
template <>
struct Range<float> {
  static constexpr int kBias = 127, kDigits = 24;
  static constexpr double kMax = 0x1.fffffep127;
  // Below kLeastVariance squares may lose digits to underflow; kLeastEpsilon hides a variance that
  // small.
  static constexpr double kLeastVariance = 0x1p-96, kLeastEpsilon = 0x1p-70;
};
template <>
struct Range<double> {
  static constexpr int kBias = 1023, kDigits = 53;
  static constexpr double kMax = 0x1.fffffffffffffp1023;
  static constexpr double kLeastVariance = 0x1p-900, kLeastEpsilon = 0x1p-840;
};

// 2^exponent for the exponents of normal numbers, and the nearest of these for others.
template <class T>
NORMKERNELS_INLINE T power_of_two(int exponent) {
  using Int = typename BitsOf<T>::type;
  const int least = 1 - Range<T>::kBias, most = Range<T>::kBias;
  const int e = exponent < least ? least : exponent > most ? most : exponent;
  return bit_cast<T>(
      static_cast<Int>(static_cast<Int>(e + Range<T>::kBias) << (Range<T>::kDigits - 1)));
}

// floor(log2(a)) for normal a > 0, the least exponent for smaller ones.
template <class T>
NORMKERNELS_INLINE int exponent_of(T a) {
  return static_cast<int>(bit_cast<typename BitsOf<T>::type>(a) >> (Range<T>::kDigits - 1)) -
         Range<T>::kBias;
}

NORMKERNELS_INLINE bool is_finite(double a) { return a - a == 0; }

// a / scale. Nearly every scale is 1, and a division takes longer than to see that.
template <class T>
NORMKERNELS_INLINE double unscaled(double a, T scale) {
  return __builtin_expect(scale == 1, 1) ? a : a / static_cast<double>(scale);
}

// Whether float squares of the deviations can be trusted.
template <class T>
NORMKERNELS_INLINE bool in_range(const Moments& m, double epsilon) {
  return is_finite(m.m2) && (m.m2 >= Range<T>::kLeastVariance * m.count ||
                             epsilon >= Range<T>::kLeastEpsilon || m.count == 0);
}

template <class T>
NORMKERNELS_INLINE double clamp_to_finite(double a) {
  return a > Range<T>::kMax ? Range<T>::kMax : a < -Range<T>::kMax ? -Range<T>::kMax : a;
}

// The reciprocal of sigma is kept finite: where it would not be, the row is constant, and its
// deviations of 0 have to give an xhat of 0 and not 0 * infinity.
template <class T>
NORMKERNELS_INLINE RowStatistics<T> row_statistics_of(const Moments& m, double epsilon, T scale) {
  const double s = static_cast<double>(scale);
  const double var = m.count == 0 ? 0 : m.m2 / m.count;
  const double scaled_epsilon = epsilon * s * s;
  const double sigma = is_finite(scaled_epsilon) ? sqrt(var + scaled_epsilon) : sqrt(epsilon) * s;
  const double rstd = clamp_to_finite<T>(1 / sigma);
  const T centre = static_cast<T>(m.hi);
  const double rest = (m.hi - static_cast<double>(centre)) + m.lo;
  // Scaled down to nothing, epsilon still is the sigma of a constant row.
  return {{scale, centre, static_cast<T>(rstd), static_cast<T>(-rest * rstd)},
          unscaled(m.hi + m.lo, scale),
          var == 0 ? sqrt(epsilon) : unscaled(sigma, scale)};
}

template <class T>
NORMKERNELS_INLINE T largest_magnitude(const T* x, int64_t n) {
  Vec<T> most = Vec<T>::zero();
  for_each_vector<T>(
      n, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
        const Vec<T> a = abs(load(x + i, lanes));
        most = select<T>(less(most, a), a, most);
      });
  T result = 0;
  for (int i = 0; i < Vec<T>::kLanes; ++i) result = most.v[i] > result ? most.v[i] : result;
  return result;
}

// Moments of scale * x[0..n) as every path computes them: chunks within spans, spans in order.
template <class T>
Moments row_moments(const T* x, int64_t n, T scale, const Executor& executor) {
  const int64_t span = span_of(n), spans = spans_in(n);
  if (spans <= 1) return range_moments(x, 0, n, scale);
  Moments of_span[kMaxSpans];
  for_each_task(executor, spans, [&](int64_t i) {
    const int64_t end = (i + 1) * span < n ? (i + 1) * span : n;
    of_span[i] = range_moments(x, i * span, end, scale);
  });
  Moments all = of_span[0];
  for (int64_t i = 1; i < spans; ++i) all = merge(all, of_span[i]);
  return all;
}

// The row again, brought to a magnitude of about 1 by a power of two, which is exact.
template <class T>
__attribute__((noinline)) RowStatistics<T> rescaled_row_statistics(const T* x, int64_t n,
                                                                   double epsilon,
                                                                   const Executor& executor) {
  const T scale = power_of_two<T>(-exponent_of(largest_magnitude(x, n)));
  return row_statistics_of<T>(row_moments(x, n, scale, executor), epsilon, scale);
}

template <class T>
NORMKERNELS_INLINE RowStatistics<T> checked_statistics(const T* x, int64_t n, const Moments& m,
                                                       double epsilon, const Executor& executor) {
  if (__builtin_expect(!in_range<T>(m, epsilon), 0)) {
    return rescaled_row_statistics(x, n, epsilon, executor);
  }
  return row_statistics_of<T>(m, epsilon, T{1});
}

// Statistics of `rows` rows, no more than rows_together(n). Reads x twice, the second time from
// cache. `executor` shares a single long row.
template <class T>
void row_statistics(const T* x, int64_t rows, int64_t n, double epsilon, const Executor& executor,
                    RowStatistics<T>* row) {
  if (n > kChunk || n == 0) {
    for (int64_t i = 0; i < rows; ++i) {
      const Moments m = row_moments(x + i * n, n, T{1}, executor);
      row[i] = checked_statistics(x + i * n, n, m, epsilon, executor);
    }
    return;
  }
  T mean[kRowsTogether];
  Moments moments[kRowsTogether];
  for (int64_t i = 0; i < rows; ++i) mean[i] = first_mean(x + i * n, n, T{1});
  for (int64_t i = 0; i < rows; ++i) moments[i] = moments_about(x + i * n, n, T{1}, mean[i]);
  for (int64_t i = 0; i < rows; ++i) {
    row[i] = checked_statistics(x + i * n, n, moments[i], epsilon, executor);
  }
}

// ---- Affine: gamma and beta per column, per row, or not there -----------------------

// Reads the vector at column i; `Absent` and `PerRow` cost a register, not a load.
template <class T>
struct PerColumn {
  const T* p;
  template <class Lanes>
  NORMKERNELS_INLINE Vec<T> at(int64_t i, Lanes lanes) const {
    return load(p + i, lanes);
  }
};
template <class T>
struct PerRow {
  Vec<T> value;
  template <class Lanes>
  NORMKERNELS_INLINE Vec<T> at(int64_t, Lanes) const {
    return value;
  }
};
struct Absent {};

template <class T, class Lanes>
NORMKERNELS_INLINE Vec<T> times(Vec<T> a, Absent, int64_t, Lanes) {
  return a;
}
template <class T, class Gamma, class Lanes>
NORMKERNELS_INLINE Vec<T> times(Vec<T> a, const Gamma& gamma, int64_t i, Lanes lanes) {
  return a * gamma.at(i, lanes);
}

template <class T, class Lanes>
NORMKERNELS_INLINE Vec<T> affine(Vec<T> a, Absent, Absent, int64_t, Lanes) {
  return a;
}
template <class T, class Gamma, class Lanes>
NORMKERNELS_INLINE Vec<T> affine(Vec<T> a, const Gamma& gamma, Absent, int64_t i, Lanes lanes) {
  return a * gamma.at(i, lanes);
}
template <class T, class Beta, class Lanes>
NORMKERNELS_INLINE Vec<T> affine(Vec<T> a, Absent, const Beta& beta, int64_t i, Lanes lanes) {
  return a + beta.at(i, lanes);
}
template <class T, class Gamma, class Beta, class Lanes>
NORMKERNELS_INLINE Vec<T> affine(Vec<T> a, const Gamma& gamma, const Beta& beta, int64_t i,
                                 Lanes lanes) {
  return fma(a, gamma.at(i, lanes), beta.at(i, lanes));
}

// f(gamma) or f(Absent) for a column vector that may be null.
template <class T, class F>
NORMKERNELS_INLINE void with_optional(const T* p, F&& f) {
  if (p != nullptr) {
    f(PerColumn<T>{p});
  } else {
    f(Absent{});
  }
}

// The same for one value of it, which is that of a whole row.
template <class T, class F>
NORMKERNELS_INLINE void with_optional_value(const T* p, int64_t i, F&& f) {
  if (p != nullptr) {
    f(PerRow<T>{Vec<T>::all(p[i])});
  } else {
    f(Absent{});
  }
}

// A row's factors in registers. Loops hold one by value: behind a reference they would be loaded
// again after every store, which might have changed them for all that the compiler knows.
template <class T>
struct Standardise {
  Vec<T> scale, minus_centre, rstd, shift;

  explicit NORMKERNELS_INLINE Standardise(const Standard<T>& s)
      : scale(Vec<T>::all(s.scale)),
        minus_centre(-Vec<T>::all(s.centre)),
        rstd(Vec<T>::all(s.rstd)),
        shift(Vec<T>::all(s.shift)) {}

  NORMKERNELS_INLINE Vec<T> operator()(Vec<T> x) const {
    return fma(fma(x, scale, minus_centre), rstd, shift);
  }
};

// From an element of a group of rows to that of the next group: read from memory while this group
// is written, which saves a sixth of the time out of cache. A row longer than L1 is its own next:
// it is read again anyway, and fetching the one after it would cost an eighth.
NORMKERNELS_INLINE int64_t read_ahead(int64_t rows, int64_t cols) {
  return cols <= kChunk ? rows * cols : 0;
}

// y = affine(xhat) for the elements [begin, end) of a row. Reads x once, writes y once; y may be x.
// `ahead` elements further on is what will be read next: it is fetched meanwhile.
template <class T, class Gamma, class Beta>
NORMKERNELS_INLINE void normalise(const T* x, int64_t begin, int64_t end, const Standard<T>& s,
                                  const Gamma& gamma, const Beta& beta, int64_t ahead, T* y) {
  const Standardise<T> xhat(s);
  for_each_aligned_vector(
      y + begin, end - begin, [=](int64_t k, auto lanes) __attribute__((always_inline)) {
        const int64_t i = begin + k;
        prefetch(x + i + ahead);
        store(y + i, affine(xhat(load(x + i, lanes)), gamma, beta, i, lanes), lanes);
      });
}

// f(begin, end) over the spans of a row.
template <class F>
NORMKERNELS_INLINE void for_each_span(int64_t n, const Executor& executor, F&& f) {
  if (n <= kMinSpan) return f(int64_t{0}, n);
  const int64_t span = span_of(n);
  for_each_task(executor, spans_in(n),
                [&](int64_t i) { f(i * span, (i + 1) * span < n ? (i + 1) * span : n); });
}

constexpr Executor kSerial = {1, nullptr, nullptr};

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_ROW_NORM_H_
