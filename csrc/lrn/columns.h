// Columns of local response norm: some pixels, each with all its channels, side by side in the
// lanes of rows. For elements out of the ordinary: their columns are gone through once more,
// channel after channel, and rows that the windows of the next ones need stay in rings.
#ifndef NORMKERNELS_LRN_COLUMNS_H_
#define NORMKERNELS_LRN_COLUMNS_H_

#include "lrn/scale.h"
#include "lrn/scaled.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

constexpr int kColumns = 16;
constexpr int kRowVectors = kColumns / Vec<double>::kLanes;
template <class T>
using RowOf = Group<T, kColumns / Vec<T>::kLanes>;
using Row = RowOf<double>;

// f(lane) for every bit that is set.
template <class F>
NORMKERNELS_INLINE void for_each_lane(unsigned bits, F&& f) {
  for (; bits != 0; bits &= bits - 1) f(__builtin_ctz(bits));
}

template <class T>
NORMKERNELS_INLINE RowOf<T> load_row(const T* p) {
  return RowOf<T>::from([=](int k) __attribute__((always_inline)) {
    return load(p + k * Vec<T>::kLanes);
  });
}
template <class T>
NORMKERNELS_INLINE void store_row(T* p, const RowOf<T>& row) {
  for (int k = 0; k < kColumns / Vec<T>::kLanes; ++k) store(p + k * Vec<T>::kLanes, row.v[k]);
}

// The columns from number `first` (of all pixels of all images) to `last`, kColumns at most. Lanes
// without a column have the first one's elements.
class Columns {
 public:
  Columns(const Window& w, int64_t first, int64_t last)
      : count_(static_cast<int>(last - first)), stride_(w.stride), adjacent_(count_ == kColumns) {
    int64_t pixel = first % w.stride, at = first / w.stride * w.c * w.stride + pixel;
    for (int lane = 0; lane < kColumns; ++lane) {
      base_[lane] = lane < count_ ? at : base_[0];
      adjacent_ = adjacent_ && at == base_[0] + lane;
      ++pixel;
      ++at;
      if (pixel == w.stride) {
        pixel = 0;
        at += (w.c - 1) * w.stride;
      }
    }
  }

  // As many vectors of a row as have columns.
  int vectors() const { return (count_ + Vec<double>::kLanes - 1) / Vec<double>::kLanes; }
  // A bit for each lane that is a column.
  unsigned mask() const { return (1u << count_) - 1; }

  template <class T>
  NORMKERNELS_INLINE Row read(const void* tensor, int64_t channel) const {
    const T* p = static_cast<const T*>(tensor) + channel * stride_;
    if (adjacent_) {
      return Row::from([&](int k) __attribute__((always_inline)) {
        return load_widened(p + base_[0] + k * Vec<double>::kLanes, Full{});
      });
    }
    double lanes[kColumns];
    for (int lane = 0; lane < kColumns; ++lane) lanes[lane] = static_cast<double>(p[base_[lane]]);
    return load_row(lanes);
  }

  // Rounded to T, those lanes whose bits are set.
  template <class T>
  NORMKERNELS_INLINE void write(void* tensor, int64_t channel, const Row& row,
                                unsigned lanes) const {
    T* p = static_cast<T*>(tensor) + channel * stride_;
    if (adjacent_ && lanes == mask()) return store_row(p + base_[0], from_double<T>(row));
    double values[kColumns];
    store_row(values, row);
    for_each_lane(lanes, [&](int lane) { p[base_[lane]] = static_cast<T>(values[lane]); });
  }

 private:
  int count_;
  int64_t stride_;
  bool adjacent_;
  int64_t base_[kColumns];
};

// What is known of the elements of one channel, a row of each.
template <class T>
struct Line {
  double* x;
  double *square_m, *square_e;  // alpha / size * x^2, of float64
  // The terms of the gradient: dy P and dy x P / s, with exponents apart, and rounded.
  double *direct_m, *direct_e, *shared_m, *shared_e;
  T *direct, *shared;
  unsigned* outside;  // a bit for each element that is out of the ordinary
};

// The last lines, as many as windows reach over. Rows of one thing lie together: a window's sum
// reads that alone.
template <class T>
class Ring {
 public:
  Ring(const Window& w, void* memory)
      : memory_(static_cast<double*>(memory)), lines_(lines_for(w)) {}

  static uint64_t bytes(const Window& w) {
    constexpr uint64_t kRow = kColumns * (kDoubles * sizeof(double) + 2 * sizeof(T));
    return static_cast<uint64_t>(lines_for(w)) * (kRow + sizeof(unsigned));
  }

  NORMKERNELS_INLINE Line<T> operator[](int64_t channel) const {
    const int64_t line = channel & (lines_ - 1), at = line * kColumns, rows = lines_ * kColumns;
    const auto doubles = [=](int64_t k) { return memory_ + k * rows + at; };
    T* const elements = reinterpret_cast<T*>(memory_ + kDoubles * rows);
    return {doubles(0),           doubles(5),
            doubles(6),           doubles(1),
            doubles(2),           doubles(3),
            doubles(4),           elements + at,
            elements + rows + at, reinterpret_cast<unsigned*>(elements + 2 * rows) + line};
  }

 private:
  static constexpr int64_t kDoubles = sizeof(T) == sizeof(double) ? 7 : 5;

  // A power of two that holds those of a window that exist.
  static int64_t lines_for(const Window& w) {
    const int64_t needed = w.size() < w.c ? w.size() : w.c;
    int64_t lines = 1;
    while (lines < needed) lines *= 2;
    return lines;
  }

  double* memory_;
  int64_t lines_;
};

// sum[k] + term(j, k) of the lines j from `from` to `to`, one after another, for the vectors of a
// row that have columns. Side by side, since each addition waits for the one before.
template <int N, class Term>
NORMKERNELS_INLINE void add_lines(Scaled* sum, int64_t from, int64_t to, const Term& term) {
  Scaled s[N];
  for (int k = 0; k < N; ++k) s[k] = sum[k];
  for (int64_t j = from; j < to; ++j) {
    unroll<N>([&](auto k) __attribute__((always_inline)) {
      s[decltype(k)::value] =
          s[decltype(k)::value] + term(j, decltype(k)::value * Vec<double>::kLanes);
    });
  }
  for (int k = 0; k < N; ++k) sum[k] = s[k];
}
template <class Term>
NORMKERNELS_INLINE void add_lines(const Columns& columns, Scaled* sum, int64_t from, int64_t to,
                                  const Term& term) {
  if (columns.vectors() == 1) {
    add_lines<1>(sum, from, to, term);
  } else {
    add_lines<kRowVectors>(sum, from, to, term);
  }
}

// x of some columns, and s.
template <class T>
class Brackets {
 public:
  Brackets(const LocalResponseNorm& a, const Window& w, const Columns& columns, const Ring<T>& ring)
      : a_(a),
        w_(w),
        columns_(columns),
        ring_(ring),
        scale_of_(a),
        weight_(Scaled::of(a.alpha / static_cast<double>(a.size))) {}

  // From the first row of the window of `channel` on.
  void start(int64_t channel) { read_ = channel > w_.before ? channel - w_.before : 0; }

  // s before it is rounded to T.
  __attribute__((noinline)) Row scale(int64_t channel) {
    for (; read_ < w_.c && read_ <= channel + w_.after; ++read_) {
      fill(ring_[read_], columns_.read<T>(a_.x, read_));
    }
    const int64_t first = channel - w_.before, c = w_.c;
    return Row::from([&](int k) __attribute__((always_inline)) {
      if (k >= columns_.vectors()) return Vec<double>::zero();
      return scale_of_(window_sum<Wide<T, Vec<double>>>(
          RuntimeSize{w_.size()}, [&](int64_t i) __attribute__((always_inline)) {
            if (first + i < 0 || first + i >= c) return Vec<double>::zero();
            const Vec<double> v = load(ring_[first + i].x + k * Vec<double>::kLanes);
            return v * v;
          }));
    });
  }

  // The same. float32's squares cannot leave float64's range; where float64's have left it they are
  // added up with their exponents apart.
  void scaled(int64_t channel, const Row& s, Scaled (&r)[kRowVectors]) const {
    for (int k = 0; k < kRowVectors; ++k) r[k] = Scaled::of(s.v[k]);
    if constexpr (sizeof(T) == sizeof(double)) {
      const Vec<double> least = Vec<double>::all(0x1p-800), most = Vec<double>::all(0x1p800);
      unsigned beyond = 0;
      for (int k = 0; k < columns_.vectors(); ++k) {
        beyond |= lanes_outside(absolute(s.v[k]), least, most);
      }
      if (beyond == 0) return;
      Scaled sum[kRowVectors];
      scaled_sums(channel, sum);
      for (int k = 0; k < kRowVectors; ++k) {
        const Vec<double> size = absolute(s.v[k]);
        r[k] = select(less(least, size) & less(size, most), r[k], sum[k]);
      }
    }
  }

 private:
  NORMKERNELS_INLINE void fill(const Line<T>& line, const Row& x) const {
    store_row(line.x, x);
    if constexpr (sizeof(T) == sizeof(double)) {
      for (int k = 0; k < kRowVectors; ++k) {
        const Scaled v = Scaled::of(x.v[k]), square = v * v * weight_;
        store(line.square_m + k * Vec<double>::kLanes, square.m);
        store(line.square_e + k * Vec<double>::kLanes, square.e);
      }
    }
  }

  __attribute__((noinline)) void scaled_sums(int64_t channel, Scaled (&sum)[kRowVectors]) const {
    const int64_t from = channel > w_.before ? channel - w_.before : 0;
    const int64_t to = w_.c - channel > w_.after ? channel + w_.after + 1 : w_.c;
    for (Scaled& s : sum) s = Scaled::of(a_.bias);
    add_lines(
        columns_, sum, from, to, [&](int64_t j, int i) __attribute__((always_inline)) {
          return Scaled{load(ring_[j].square_m + i), load(ring_[j].square_e + i)};
        });
  }

  const LocalResponseNorm& a_;
  const Window& w_;
  const Columns& columns_;
  const Ring<T> ring_;
  const ScaleOf<T> scale_of_;
  const Scaled weight_;
  int64_t read_ = 0;
};

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_COLUMNS_H_
