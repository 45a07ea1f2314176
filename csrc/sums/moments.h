// Mean and sum of squared deviations, in twice the precision of the data and in one sweep.
//
// With d = x - pivot, where the pivot is one of the elements x:
//
//   mean = pivot + sum(d) / n        m2 = sum (x - mean)^2 = sum(d^2) - sum(d)^2 / n
//
// The subtraction cancels, but the pivot bounds by how much: (mean - pivot)^2 is one of the n terms
// of m2, so sum(d)^2 / n <= n m2. With n <= kChunk = 2^12 elements about one pivot and 2^8
// additions in a row, m2 keeps 53 - 12 - 8 digits of float64: more than enough for float32. For
// float64 data it is the same with the 106 digits of a pair. The mean is always kept as a pair,
// because a deviation may be far smaller than the last digit of a rounded mean.
//
// What is not centred, in RMS norm, has the mean 0 and m2 = sum x^2. That is the same sums about a
// pivot of 0, of which nothing is taken, and merges as the others do.
//
// The order of the additions is that of lanes.h, with 16 lanes: lane = index mod 16, folded by
// halves; chunks merged in index order. More lanes would not fit the registers of AVX2.
#ifndef NORMKERNELS_SUMS_MOMENTS_H_
#define NORMKERNELS_SUMS_MOMENTS_H_

#include "sums/lanes.h"
#include "sums/wide.h"

namespace normkernels::NORMKERNELS_ISA {

constexpr int kMomentLanes = 16;

// Of `count` elements. V is double for a row, Vec<double> for one column per lane.
template <class T, class V>
struct Moments {
  double count;
  Pair<V> mean;
  Wide<T, V> m2;
};

// Sums of d and d^2.
template <class T, class V>
struct CentredSums {
  Wide<T, V> d, squares;

  // kByFma: x - pivot as x * 1 - pivot.
  template <bool kByFma = false>
  NORMKERNELS_INLINE void add(V x, V pivot) {
    if constexpr (sizeof(T) == sizeof(float)) {
      const V difference = kByFma ? multiply_add(x, splat<V>(1), -pivot) : x - pivot;
      d = d + difference;
      squares = multiply_add(difference, difference, squares);
    } else {
      const Pair<V> difference = two_sum(x, -pivot);
      Pair<V> square = two_product(difference.hi, difference.hi);
      square.lo = square.lo + splat<V>(2) * difference.hi * difference.lo;
      d = accumulated(d, difference);
      squares = accumulated(squares, square);
    }
  }

  // Not centred: about a pivot of 0. d - d: NaN for infinity, as of deviations from a mean.
  NORMKERNELS_INLINE Moments<T, V> about(V pivot, double count, bool centred = true) const {
    const V n = splat<V>(count);
    if (!centred) return {count, {splat<V>(0), splat<V>(0)}, squares + (d - d)};
    const Wide<T, V> shift = d / n;
    return {count, Pair<V>{pivot, splat<V>(0)} + shift, squares + -(d * shift)};
  }
};

// Chan, Golub and LeVeque's merge. NaN stays NaN.
template <class T, class V>
NORMKERNELS_INLINE Moments<T, V> merge(const Moments<T, V>& a, const Moments<T, V>& b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  const double count = a.count + b.count;
  const Wide<T, V> delta = widened<T>(b.mean - a.mean);
  const Wide<T, V> share = widened<T>(splat<V>(b.count)) / splat<V>(count);
  return {count, a.mean + delta * share,
          (a.m2 + b.m2) + delta * delta * (share * splat<V>(a.count))};
}

// Whether sums of squares of T can leave float64's range: then a row is multiplied by a power of
// two, `scale`, which is exact.
template <class T>
constexpr bool kNeedsScale = sizeof(T) == sizeof(double);

template <class T, class Lanes>
NORMKERNELS_INLINE Vec<double> load_scaled(const T* p, Vec<double> scale, Lanes lanes) {
  const Vec<double> x = load_widened(p, lanes);
  if constexpr (kNeedsScale<T>) return x * scale;
  return x;
}

// What a sweep of sums does beside it: operator()(i) once for the kMomentLanes elements from i on,
// up to end(n) of n elements, before it start() and at its end finish(). Sums are bound by
// arithmetic, what comes before and after them by memory, so one goes on in the shadow of the
// other.
//
// A load waits for the last stores if their addresses are alike but for the page, and x and y often
// lie alike in their pages: NumPy's large arrays begin 16 bytes into one, and those of a heap
// follow one another. So sums are some elements ahead of what is written beside them, but for short
// rows, which take up to 1.08 times as long then with AVX2. Measured (Zen 4, AVX-512), y as far
// into its page as x, and 64 bytes further: 1000 x 1024 takes 193 and 184 us instead of 251 and
// 243, planes of 64 x 64 333 and 319 instead of 521 and 450.
NORMKERNELS_INLINE int64_t lead_of_sums(int64_t n) {
  constexpr int64_t kLong = NORMKERNELS_VECTOR_BYTES == 64 ? 0 : 256;
  return n < kLong ? 0 : 2 * kMomentLanes;
}

// All of it but operator(), where no more is done than to ask for memory.
struct AsksForMemory {
  static constexpr bool kMultiplies = false;

  NORMKERNELS_INLINE int64_t end(int64_t n) const {
    return n / kMomentLanes * kMomentLanes - lead_of_sums(n);
  }
  NORMKERNELS_INLINE void start() const {}
  NORMKERNELS_INLINE void finish() const {}
};

// Asks for what it will read itself, so many elements on: the processor's own prefetcher stops at
// the end of a page. Of rows with gaps between them, that may be in one of the next. And for what
// will be written of the same row after its sums, if anything: both come from memory together.
template <class T>
struct Ahead : AsksForMemory {
  const T* p;      // from here on
  int64_t left;    // elements of that row,
  int64_t beyond;  // and after them so much further on
  const T* written = nullptr;

  explicit NORMKERNELS_INLINE Ahead(const T* x) : p(x + kLead<T>), left(INT64_MAX), beyond(0) {}
  // Row i of n elements.
  NORMKERNELS_INLINE Ahead(const Rows<const T>& x, int64_t i, int64_t n) : Ahead(x[i]) {
    if (x.stride == n) return;
    const int64_t rows = kLead<T> / n, first = kLead<T> % n;
    p = x[i + rows] + first;
    left = n - first;
    beyond = x.stride - n;
  }

  NORMKERNELS_INLINE void operator()(int64_t i) const {
    prefetch_lines<kMomentLanes>(p + i + (i < left ? 0 : beyond));
    if (written != nullptr) prefetch_lines_to_write<kMomentLanes>(written + i);
  }
};

// Sums about a pivot over scale * x[0..n), n <= kChunk, but for the fold of the last lanes, which
// serves several rows at a time.
template <class T, class Beside>
NORMKERNELS_INLINE CentredSums<T, Vec<double>> inline_chunk_sums(const T* x, int64_t n,
                                                                 double scale_value,
                                                                 double pivot_value,
                                                                 const Beside& beside_in) {
  using V = Vec<double>;
  constexpr int W = V::kLanes, kVectors = kMomentLanes / W;
  const V pivot = V::all(pivot_value), scale = V::all(scale_value);
  Beside beside = beside_in;  // in registers, which a store cannot have changed
  CentredSums<T, V> sums[kVectors] = {};
  // AMD's processors add and convert on two ports and multiply on two others, which are idle where
  // nothing is written beside: 1.3 times as fast in L1 (Zen 3).
  constexpr bool kByFma = NORMKERNELS_HAS_FMA && !Beside::kMultiplies;
  const auto add = [&](int64_t from) __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j)
      sums[j].template add<kByFma>(load_scaled(x + from + j * W, scale, Full{}), pivot);
  };
  int64_t i = 0;
  if (const int64_t both = beside.end(n); both > 0) {
    const int64_t lead = lead_of_sums(n);
    beside.start();
    for (; i < lead; i += kMomentLanes) add(i);
    for (; i < both + lead; i += kMomentLanes) {
      add(i);
      beside(i - lead);
    }
  }
  for (; i + kMomentLanes <= n; i += kMomentLanes) add(i);
  if (i < n) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j, i += W) {
      if (n - i >= W) {
        sums[j].add(load_scaled(x + i, scale, Full{}), pivot);
      } else if (n - i > 0) {
        const int left = static_cast<int>(n - i);
        sums[j].add(load_scaled(x + i, scale, left), first(pivot, left));
      }
    }
  }
  beside.finish();
  if (n <= W)
    return sums[0];  // the others are zeros, which change no bit of what they are added to
  Wide<T, V> d[kVectors], squares[kVectors];
#pragma GCC unroll 16
  for (int j = 0; j < kVectors; ++j) d[j] = sums[j].d, squares[j] = sums[j].squares;
  return {sum_by_halves(d), sum_by_halves(squares)};
}

// The same as a function of its own.
template <class T, class Beside>
__attribute__((noinline)) CentredSums<T, Vec<double>> chunk_sums(const T* x, int64_t n,
                                                                 double scale, double pivot,
                                                                 const Beside& beside) {
  return inline_chunk_sums(x, n, scale, pivot, beside);
}

template <class T>
NORMKERNELS_INLINE double scaled(T x, double scale) {
  return kNeedsScale<T> ? static_cast<double>(x) * scale : static_cast<double>(x);
}

// The moments of scale * x[0..n), n <= kChunk.
template <class T, class Beside>
NORMKERNELS_INLINE Moments<T, double> chunk_moments(const T* x, int64_t n, double scale,
                                                    bool centred, const Beside& beside) {
  const double pivot = centred ? scaled(x[0], scale) : 0;
  const CentredSums<T, Vec<double>> sums = chunk_sums(x, n, scale, pivot, beside);
  const CentredSums<T, double> all = {fold(sums.d), fold(sums.squares)};
  return all.about(pivot, static_cast<double>(n), centred);
}

// Moments of the chunks that begin in [begin, end), merged in index order. beside_chunk(begin, end)
// goes on beside one.
template <class T, class BesideChunk>
NORMKERNELS_INLINE Moments<T, double> range_moments(const T* x, int64_t begin, int64_t end,
                                                    double scale, bool centred,
                                                    const BesideChunk& beside_chunk) {
  Moments<T, double> all = {};
  for (int64_t i = begin, stop; i < end; i = stop) {
    stop = part_end(i, kChunk, end);
    all = merge(all, chunk_moments(x + i, stop - i, scale, centred, beside_chunk(i, stop)));
  }
  return all;
}

// ---- Tables of moments --------------------------------------------------------------

// Some float64 values per row or column: sums, or the numbers that moments are made of.
struct SumTable {
  double* p;
  int64_t stride;

  NORMKERNELS_INLINE double* operator[](int k) const { return p + k * stride; }
  NORMKERNELS_INLINE SumTable from(int64_t column) const { return {p + column, stride}; }
};

constexpr int kSumFields = 4;

// A vector of moments, kept as mean.hi, mean.lo and m2 (hi and lo).
template <class T, class Lanes>
NORMKERNELS_INLINE Moments<T, Vec<double>> load_moments(SumTable from, int64_t j, double count,
                                                        Lanes lanes) {
  const Pair<Vec<double>> mean = {load(from[0] + j, lanes), load(from[1] + j, lanes)};
  if constexpr (sizeof(T) == sizeof(float)) {
    return {count, mean, load(from[2] + j, lanes)};
  } else {
    return {count, mean, {load(from[2] + j, lanes), load(from[3] + j, lanes)}};
  }
}

template <class T, class Lanes>
NORMKERNELS_INLINE void store_moments(const Moments<T, Vec<double>>& m, SumTable to, int64_t j,
                                      Lanes lanes) {
  store(to[0] + j, m.mean.hi, lanes);
  store(to[1] + j, m.mean.lo, lanes);
  if constexpr (sizeof(T) == sizeof(float)) {
    store(to[2] + j, m.m2, lanes);
  } else {
    store(to[2] + j, m.m2.hi, lanes);
    store(to[3] + j, m.m2.lo, lanes);
  }
}

// One row's.
template <class T>
NORMKERNELS_INLINE void store_moments(const Moments<T, double>& m, SumTable to, int64_t j) {
  to[0][j] = m.mean.hi;
  to[1][j] = m.mean.lo;
  if constexpr (sizeof(T) == sizeof(float)) {
    to[2][j] = m.m2;
  } else {
    to[2][j] = m.m2.hi;
    to[3][j] = m.m2.lo;
  }
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SUMS_MOMENTS_H_
