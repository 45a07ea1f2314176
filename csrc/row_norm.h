// What a normalised row is made of, element by element: xhat, gamma and beta, and the sweep that
// writes y.
#ifndef NORMKERNELS_ROW_NORM_H_
#define NORMKERNELS_ROW_NORM_H_

#include "row_statistics.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

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
    return fma(multiply_add(x, scale, minus_centre), rstd, shift);  // x * scale is exact
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
