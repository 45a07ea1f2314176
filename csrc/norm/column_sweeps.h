// What is written in NHWC: y or dx of an image's pixels, as the loops of column_norm.h ask for it.
//
// A sweep has, where pixel or row i is [i] of each of its arrays,
//
//   Element, kVectors               what its outputs have vectors of, and how many at a time
//   Column                          the factors of a vector of columns
//   read(i, j, lanes)               what it reads of row i from column j on: Operands
//   put(column, of, i, j, lanes)    what it writes there
//   ahead(i, j)                     asks for its line there
//   out()                           the output whose lines are written whole
//   waits()                         whether the next vectors read wait for those just written
//   ordinary()                      the same with no output written past the caches
//   contiguous(c)                   whether all pixels lie next to each other
//   in_rows(width)                  the same in rows of `width`, if they do
//   from(pixel)                     the same from a pixel on
//
// Loops hold it by value, so that no store can have changed it.
#ifndef NORMKERNELS_NORM_COLUMN_SWEEPS_H_
#define NORMKERNELS_NORM_COLUMN_SWEEPS_H_

#include "norm/row_gradient.h"
#include "simd/half.h"

namespace normkernels::NORMKERNELS_ISA {

// An output, and whether it is written past the caches. That is looked at for every vector: the
// branch costs nothing beside what it decides.
template <class T>
struct Output {
  Rows<T> rows;
  bool stream;

  NORMKERNELS_INLINE void ahead(int64_t i, int64_t j) const {
    if (!stream) prefetch_to_write(rows[i] + j);
  }
  NORMKERNELS_INLINE void put(int64_t i, int64_t j, Vec<T> v, Full) const {
    if (stream) {
      normkernels::NORMKERNELS_ISA::stream(rows[i] + j, v);
    } else {
      store(rows[i] + j, v);
    }
  }
  NORMKERNELS_INLINE void put(int64_t i, int64_t j, Vec<T> v, int lanes) const {
    store(rows[i] + j, v, lanes);
  }
  NORMKERNELS_INLINE Output in_rows(int64_t width) const { return {{rows.p, width}, stream}; }
  NORMKERNELS_INLINE Output from(int64_t pixel) const { return {rows.from(pixel), stream}; }
};

// A load waits for a store whose address differs in the page only, and y of NumPy often begins 16
// bytes further into its page than x.
NORMKERNELS_INLINE bool begins_just_after(const void* y, const void* x) {
  constexpr uintptr_t kPage = 4096;
  const uintptr_t by = (reinterpret_cast<uintptr_t>(y) - reinterpret_cast<uintptr_t>(x)) % kPage;
  return by > 0 && by < kLineBytes;
}

template <class T>
struct ForwardColumn {
  static constexpr int kVectors = kColumnVectors;
  Standardise<T> xhat;
  Vec<T> gamma, beta;

  ForwardColumn() = default;
  template <class Lanes>
  NORMKERNELS_INLINE ForwardColumn(const Factors<T>& f, int64_t j, Lanes lanes)
      : xhat(f, Factors<T>::kShift, j, lanes),
        gamma(load(f[Factors<T>::kGamma] + j, lanes)),
        beta(load(f[Factors<T>::kBeta] + j, lanes)) {}
  NORMKERNELS_INLINE Vec<T> y(Vec<T> x) const { return fma(xhat(x), gamma, beta); }
};

// y = xhat gamma + beta, which ColumnOf::y computes of a vector of E, the type of x and y; T is
// that of the factors.
template <class T, class E, class ColumnOf>
struct ForwardSweepOf {
  Factors<T> factors;
  Rows<const E> x;
  Output<E> y;

  using Element = E;
  using Column = ColumnOf;
  static constexpr int kVectors = Column::kVectors;
  NORMKERNELS_INLINE const Output<E>& out() const { return y; }
  NORMKERNELS_INLINE bool waits() const { return begins_just_after(y.rows.p, x.p); }
  NORMKERNELS_INLINE ForwardSweepOf ordinary() const { return {factors, x, {y.rows, false}}; }
  NORMKERNELS_INLINE bool contiguous(int64_t c) const {
    return x.stride == c && y.rows.stride == c;
  }
  NORMKERNELS_INLINE ForwardSweepOf in_rows(int64_t width) const {
    return {factors, {x.p, width}, y.in_rows(width)};
  }
  NORMKERNELS_INLINE ForwardSweepOf from(int64_t pixel) const {
    return {factors, x.from(pixel), y.from(pixel)};
  }
  NORMKERNELS_INLINE void ahead(int64_t i, int64_t j) const {
    prefetch(x[i] + j);
    y.ahead(i, j);
  }
  struct Operands {
    Vec<E> x;
  };
  template <class Lanes>
  NORMKERNELS_INLINE Operands read(int64_t i, int64_t j, Lanes lanes) const {
    return {load(x[i] + j, lanes)};
  }
  template <class Lanes>
  NORMKERNELS_INLINE void put(const Column& column, const Operands& of, int64_t i, int64_t j,
                              Lanes lanes) const {
    y.put(i, j, column.y(of.x), lanes);
  }
};
template <class T>
using ForwardSweep = ForwardSweepOf<T, T, ForwardColumn<T>>;

// dx, and y as well in one sweep, since y may be x.
template <class T, Writes kWrites>
struct BackwardSweep {
  static constexpr bool kForward = kWrites == Writes::kDxAndY;
  static constexpr bool kOfGroup = kWrites == Writes::kDxOfGroup;
  Factors<T> factors;
  Rows<const T> dy, x;
  Output<T> y, dx;

  struct Column {
    Standardise<T> xhat;
    Gradient<T> gradient;
    Vec<T> gamma;
    ForwardColumn<T> forward;

    Column() = default;
    template <class Lanes>
    NORMKERNELS_INLINE Column(const Factors<T>& f, int64_t j, Lanes lanes)
        : xhat(f, Factors<T>::kGradientShift, j, lanes), gradient(f, j, lanes), gamma(), forward() {
      if constexpr (kOfGroup) gamma = load(f[Factors<T>::kGamma] + j, lanes);
      if constexpr (kForward) forward = ForwardColumn<T>(f, j, lanes);
    }
  };

  using Element = T;
  static constexpr int kVectors = kColumnVectors;
  NORMKERNELS_INLINE const Output<T>& out() const { return dx; }
  NORMKERNELS_INLINE bool waits() const {
    return begins_just_after(dx.rows.p, x.p) || begins_just_after(dx.rows.p, dy.p);
  }
  NORMKERNELS_INLINE BackwardSweep ordinary() const {
    return {factors, dy, x, {y.rows, false}, {dx.rows, false}};
  }
  NORMKERNELS_INLINE bool contiguous(int64_t c) const {
    return dy.stride == c && x.stride == c && dx.rows.stride == c &&
           (!kForward || y.rows.stride == c);
  }
  NORMKERNELS_INLINE BackwardSweep in_rows(int64_t width) const {
    return {factors, {dy.p, width}, {x.p, width}, y.in_rows(width), dx.in_rows(width)};
  }
  NORMKERNELS_INLINE BackwardSweep from(int64_t pixel) const {
    return {factors, dy.from(pixel), x.from(pixel), kForward ? y.from(pixel) : y, dx.from(pixel)};
  }
  NORMKERNELS_INLINE void ahead(int64_t i, int64_t j) const {
    prefetch(x[i] + j);
    prefetch(dy[i] + j);
    dx.ahead(i, j);
  }
  struct Operands {
    Vec<T> x, dy;
  };
  template <class Lanes>
  NORMKERNELS_INLINE Operands read(int64_t i, int64_t j, Lanes lanes) const {
    return {load(x[i] + j, lanes), load(dy[i] + j, lanes)};
  }
  template <class Lanes>
  NORMKERNELS_INLINE void put(const Column& column, const Operands& of, int64_t i, int64_t j,
                              Lanes lanes) const {
    const Vec<T> g = kOfGroup ? of.dy * column.gamma : of.dy;
    if constexpr (kForward) y.put(i, j, column.forward.y(of.x), lanes);
    dx.put(i, j, column.gradient(g, column.xhat(of.x)), lanes);
  }
};

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_COLUMN_SWEEPS_H_
