// What a normalised row is made of, element by element: xhat, gamma and beta.
#ifndef NORMKERNELS_NORM_ROW_NORM_H_
#define NORMKERNELS_NORM_ROW_NORM_H_

#include "norm/row_statistics.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// ---- gamma and beta -----------------------------------------------------------------

// A cache line of one value.
template <class T>
struct Copies {
  static constexpr int kElements = 64 / sizeof(T);
  alignas(64) T v[kElements] = {};

  constexpr explicit Copies(T value) {
    for (T& copy : v) copy = value;
  }
};

// gamma or beta along a row: a value per column, or one for all columns, which is read again and
// again. An absent one is a 1 or a -0, which change no bit; so there is one path for all.
template <class T>
struct Parameter {
  const T* p;
  int64_t mask;  // of the column: all bits, or none

  static NORMKERNELS_INLINE Parameter per_column(const T* values, const Copies<T>& absent) {
    return values == nullptr ? Parameter{absent.v, 0} : Parameter{values, -1};
  }
  static NORMKERNELS_INLINE Parameter for_all(const Copies<T>& value) { return {value.v, 0}; }

  // The values of the columns from i on, as many as a cache line holds.
  NORMKERNELS_INLINE const T* at(int64_t i) const { return p + (i & mask); }
  NORMKERNELS_INLINE Parameter from(int64_t i) const { return {at(i), mask}; }
};

template <class T>
constexpr Copies<T> kAbsentGamma(1);
template <class T>
constexpr Copies<T> kAbsentBeta(T{-0.0});

template <class T>
NORMKERNELS_INLINE Parameter<T> gamma_of(const void* gamma) {
  return Parameter<T>::per_column(static_cast<const T*>(gamma), kAbsentGamma<T>);
}
template <class T>
NORMKERNELS_INLINE Parameter<T> beta_of(const void* beta) {
  return Parameter<T>::per_column(static_cast<const T*>(beta), kAbsentBeta<T>);
}

// Value i, or what stands for an absent one.
template <class T>
NORMKERNELS_INLINE T value_or(const void* values, int64_t i, T absent) {
  return values == nullptr ? absent : static_cast<const T*>(values)[i];
}

// ---- xhat ---------------------------------------------------------------------------

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

// Rows so long that few of their lines are shared with neighbours are worth streaming.
template <class T>
constexpr int64_t kLeastStreamed = 1024 / sizeof(T);

// f(begin, end) over the spans of a row.
template <class F>
NORMKERNELS_INLINE void for_each_span(int64_t n, const Executor& executor, F&& f) {
  if (n <= kMinSpan) return f(int64_t{0}, n);
  const int64_t span = span_of(n);
  for_each_task(executor, spans_in(n), [&](int64_t i) {
    f(i * span, (i + 1) * span < n ? (i + 1) * span : n);
    stream_fence();  // this may be another thread
  });
}

constexpr Executor kSerial = {1, nullptr, nullptr};

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ROW_NORM_H_
