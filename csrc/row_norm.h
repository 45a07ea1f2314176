// What a normalised row is made of, element by element: xhat, gamma and beta.
#ifndef NORMKERNELS_ROW_NORM_H_
#define NORMKERNELS_ROW_NORM_H_

#include "row_statistics.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// ---- Affine: gamma and beta per column, per row, or not there -----------------------

// Reads the vector at column i; `Absent` and `PerRow` cost a register, not a load. of_row() is that
// of a row; of_single() that of rows of one element from `row` on, up to the next image.
template <class T>
struct PerRow {
  Vec<T> value;
  NORMKERNELS_INLINE PerRow from(int64_t) const { return *this; }
  template <class Lanes>
  NORMKERNELS_INLINE Vec<T> at(int64_t, Lanes) const {
    return value;
  }
};
template <class T>
struct PerColumn {
  const T* p;
  NORMKERNELS_INLINE PerColumn of_row(int64_t) const { return *this; }
  NORMKERNELS_INLINE PerRow<T> of_single(int64_t) const { return {Vec<T>::all(p[0])}; }
  NORMKERNELS_INLINE PerColumn from(int64_t i) const { return {p + i}; }
  template <class Lanes>
  NORMKERNELS_INLINE Vec<T> at(int64_t i, Lanes lanes) const {
    return load(p + i, lanes);
  }
};
struct Absent {
  NORMKERNELS_INLINE Absent of_row(int64_t) const { return {}; }
  NORMKERNELS_INLINE Absent of_single(int64_t) const { return {}; }
  NORMKERNELS_INLINE Absent from(int64_t) const { return {}; }
};

// One value per channel of planes [n, c]: PerRow for a plane.
template <class T>
struct PerPlane {
  const T* p;
  int64_t c;
  NORMKERNELS_INLINE PerRow<T> of_row(int64_t plane) const { return {Vec<T>::all(p[plane % c])}; }
  NORMKERNELS_INLINE PerColumn<T> of_single(int64_t plane) const { return {p - plane}; }
};

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

// Whether rows are so long that few of their lines are shared with neighbours.
template <class T>
NORMKERNELS_INLINE bool worth_streaming(int64_t cols) {
  return cols >= static_cast<int64_t>(1024 / sizeof(T));
}

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

#endif  // NORMKERNELS_ROW_NORM_H_
