// The statistics of rows, and the numbers that the loops over their elements need. Shared by layer
// norm, whose rows are the last dimensions, and instance norm in NCHW, whose rows are the planes of
// a channel.
#ifndef NORMKERNELS_ROW_STATISTICS_H_
#define NORMKERNELS_ROW_STATISTICS_H_

#include "moments.h"
#include "parallel.h"

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

// sigma = sqrt(var + epsilon); all three right to half a unit of float64's last place.
template <class T>
struct RowStatistics {
  Standard<T> standard;
  double mean, sigma, inv_sigma;
};

template <class T>
struct Range;
template <>
struct Range<float> {
  static constexpr int kBias = 127, kDigits = 24;
  static constexpr double kMax = 0x1.fffffep127;
};
template <>
struct Range<double> {
  static constexpr int kBias = 1023, kDigits = 53;
  static constexpr double kMax = 0x1.fffffffffffffp1023;
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
NORMKERNELS_INLINE int exponent_of(double a) {
  return static_cast<int>(bit_cast<int64_t>(a) >> 52) - Range<double>::kBias;
}

NORMKERNELS_INLINE bool is_finite(double a) { return a - a == 0; }
NORMKERNELS_INLINE bool is_infinite(double a) { return a == a && !is_finite(a); }

// a / scale. Nearly every scale is 1, and a division takes longer than to see that.
NORMKERNELS_INLINE double unscaled(double a, double scale) {
  return __builtin_expect(scale == 1, 1) ? a : a / scale;
}

template <class T>
NORMKERNELS_INLINE double clamp_to_finite(double a) {
  return a > Range<T>::kMax ? Range<T>::kMax : a < -Range<T>::kMax ? -Range<T>::kMax : a;
}

// From the mean and 1 / sigma of scale * x. A 1 / sigma that is no ordinary number of type T is
// brought to about 1 by another power of two, as far as the mean allows it: what does not fit then
// belongs to a constant row. So does an infinite one: xhat is 0.
template <class T>
NORMKERNELS_INLINE Standard<T> standard_of(double scale, Pair<double> mean, double inv_sigma) {
  constexpr int kHalfOfRange = Range<T>::kBias / 2;
  const double most = static_cast<double>(power_of_two<T>(kHalfOfRange));
  if (__builtin_expect(!(inv_sigma * most > 1 && inv_sigma < most), 0)) {
    if (is_infinite(inv_sigma)) return {static_cast<T>(scale), static_cast<T>(mean.hi), 0, 0};
    const int wanted = exponent_of(__builtin_fabs(inv_sigma));
    const int room = Range<T>::kBias - 2 - exponent_of(__builtin_fabs(mean.hi));
    const double by = static_cast<double>(power_of_two<T>(wanted < room ? wanted : room));
    scale *= by;
    mean = {mean.hi * by, mean.lo * by};
    inv_sigma = clamp_to_finite<T>(inv_sigma / by);
  }
  const T centre = static_cast<T>(mean.hi);
  const double rest = (mean.hi - static_cast<double>(centre)) + mean.lo;
  return {static_cast<T>(scale), centre, static_cast<T>(inv_sigma),
          static_cast<T>(-rest * inv_sigma)};
}

// From the moments of scale * x.
template <class T>
NORMKERNELS_INLINE RowStatistics<T> row_statistics_of(const Moments<T, double>& m, double epsilon,
                                                      double scale) {
  const Wide<T, double> var = m.count == 0 ? m.m2 : m.m2 / m.count;
  const double scaled_epsilon = epsilon * scale * scale;
  const Wide<T, double> sigma =
      is_finite(scaled_epsilon) ? sqrt(var + scaled_epsilon) : widened<T>(sqrt(epsilon) * scale);
  const double inv_sigma = rounded(sigma) == 0 ? __builtin_inf() : rounded(widened<T>(1.0) / sigma);
  // Scaled down to nothing, epsilon still is the sigma of a constant row.
  const bool constant = rounded(var) == 0;
  return {standard_of<T>(scale, m.mean, inv_sigma), unscaled(m.mean.hi, scale),
          constant ? sqrt(epsilon) : unscaled(rounded(sigma), scale),
          constant ? 1 / sqrt(epsilon) : inv_sigma * scale};
}

// ---- Statistics of rows -------------------------------------------------------------

// Whether the squares of float64 deviations, and what is made of them, stay within the exponent
// range: also without fma, where products are split, and at its lower end with all their digits,
// unless epsilon hides these.
template <class T>
NORMKERNELS_INLINE bool in_range(const Moments<T, double>& m, double epsilon) {
  constexpr double kMost = 0x1p960, kLeastVariance = 0x1p-900, kLeastEpsilon = 0x1p-840;
  if constexpr (!kNeedsScale<T>) return true;
  const double m2 = rounded(m.m2);
  return m2 < kMost && (m2 >= kLeastVariance * m.count || epsilon >= kLeastEpsilon || m.count == 0);
}

// A power of two that brings the largest of n elements, `stride` apart, to about 1.
template <class T>
double scale_for(const T* x, int64_t n, int64_t stride) {
  double most = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double a = __builtin_fabs(static_cast<double>(x[i * stride]));
    most = a > most ? a : most;
  }
  return static_cast<double>(power_of_two<T>(-exponent_of(most)));
}

// Moments of scale * x[0..n) as every path computes them: chunks within spans, spans in order.
template <class T>
Moments<T, double> row_moments(const T* x, int64_t n, double scale, const Executor& executor) {
  const int64_t span = span_of(n), spans = spans_in(n);
  if (spans <= 1) return range_moments(x, 0, n, scale);
  Moments<T, double> of_span[kMaxSpans];
  for_each_task(executor, spans, [&](int64_t i) {
    const int64_t end = (i + 1) * span < n ? (i + 1) * span : n;
    of_span[i] = range_moments(x, i * span, end, scale);
  });
  Moments<T, double> all = of_span[0];
  for (int64_t i = 1; i < spans; ++i) all = merge(all, of_span[i]);
  return all;
}

template <class T>
__attribute__((noinline)) RowStatistics<T> rescaled_row_statistics(const T* x, int64_t n,
                                                                   double epsilon,
                                                                   const Executor& executor) {
  const double scale = scale_for(x, n, 1);
  return row_statistics_of<T>(row_moments(x, n, scale, executor), epsilon, scale);
}

// Statistics of `rows` rows, no more than rows_together(n). Reads x once. `executor` shares a
// single long row.
template <class T>
void row_statistics(const T* x, int64_t rows, int64_t n, double epsilon, const Executor& executor,
                    RowStatistics<T>* row) {
  Moments<T, double> moments[kRowsTogether];
  if (n > kChunk || n == 0) {
    for (int64_t i = 0; i < rows; ++i) moments[i] = row_moments(x + i * n, n, 1, executor);
  } else {
    for (int64_t i = 0; i < rows; ++i) moments[i] = chunk_moments(x + i * n, n, 1);
  }
  for (int64_t i = 0; i < rows; ++i) {
    row[i] = __builtin_expect(in_range<T>(moments[i], epsilon), 1)
                 ? row_statistics_of<T>(moments[i], epsilon, 1)
                 : rescaled_row_statistics(x + i * n, n, epsilon, executor);
  }
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_ROW_STATISTICS_H_
