// gamma and beta: per column, per row, or not there. One mechanism for all.
#ifndef NORMKERNELS_NORM_PARAMETER_H_
#define NORMKERNELS_NORM_PARAMETER_H_

#include "simd/simd.h"

namespace normkernels::NORMKERNELS_ISA {

// A cache line of one value, or two vectors, if they are longer.
template <class T>
struct Copies {
  static constexpr int kLine = kLineBytes / sizeof(T);
  static constexpr int kElements = kLine < 2 * Vec<T>::kLanes ? 2 * Vec<T>::kLanes : kLine;
  alignas(kLineBytes) T v[kElements] = {};

  constexpr explicit Copies(T value) {
    for (T& copy : v) copy = value;
  }
  // By vectors, as they are read: of single elements that were just stored none can be made.
  NORMKERNELS_INLINE void fill(T value) {
#pragma GCC unroll 4
    for (int k = 0; k < kElements; k += Vec<T>::kLanes) store(v + k, Vec<T>::all(value));
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

  // The values of the columns from i on, as many as `Copies` holds.
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

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_PARAMETER_H_
