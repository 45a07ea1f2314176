// Columns of local response norm: some pixels, each with all its channels, side by side in the
// lanes of rows. For elements out of the ordinary: their columns are gone through once more,
// channel after channel, and rows that the windows of the next ones need stay in rings.
#ifndef NORMKERNELS_LRN_COLUMNS_H_
#define NORMKERNELS_LRN_COLUMNS_H_

#include "lrn_scale.h"
#include "scaled.h"

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

// What is known of the elements of one channel.
template <class T>
struct Line {
  double x[kColumns];
  // The terms of the gradient: dy P and dy x P / s, with exponents apart, then rounded.
  double direct_m[kColumns], direct_e[kColumns], shared_m[kColumns], shared_e[kColumns];
  T direct[kColumns], shared[kColumns];
  unsigned outside;  // a bit for each element that is out of the ordinary
};

// The last lines, as many as windows reach over.
template <class T>
class Ring {
 public:
  Ring(const Window& w, void* memory)
      : lines_(static_cast<Line<T>*>(memory)), mask_(lines_for(w) - 1) {}

  // A power of two that holds those of a window that exist.
  static NORMKERNELS_INLINE int64_t lines_for(const Window& w) {
    const int64_t needed = w.size() < w.c ? w.size() : w.c;
    int64_t lines = 1;
    while (lines < needed) lines *= 2;
    return lines;
  }

  NORMKERNELS_INLINE Line<T>& operator[](int64_t channel) const { return lines_[channel & mask_]; }

 private:
  Line<T>* lines_;
  int64_t mask_;
};

// x of some columns, and s.
template <class T>
class Brackets {
 public:
  Brackets(const LocalResponseNorm& a, const Window& w, const Columns& columns, const Ring<T>& ring)
      : a_(a), w_(w), columns_(columns), ring_(ring), scale_of_(a) {}

  // From the first row of the window of `channel` on.
  void start(int64_t channel) { read_ = channel > w_.before ? channel - w_.before : 0; }

  // s before it is rounded to T.
  NORMKERNELS_INLINE Row scale(int64_t channel) {
    for (; read_ < w_.c && read_ <= channel + w_.after; ++read_) {
      store_row(ring_[read_].x, columns_.read<T>(a_.x, read_));
    }
    const int64_t first = channel - w_.before, c = w_.c;
    return Row::from([&](int k) __attribute__((always_inline)) {
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
  NORMKERNELS_INLINE void scaled(int64_t channel, const Row& s, Scaled (&r)[kRowVectors]) const {
    for (int k = 0; k < kRowVectors; ++k) {
      r[k] = Scaled::of(s.v[k]);
      if constexpr (sizeof(T) == sizeof(double)) {
        const Vec<double> size = absolute(s.v[k]);
        const Vec<double> least = Vec<double>::all(0x1p-800), most = Vec<double>::all(0x1p800);
        if (lanes_outside(size, least, most) == 0) continue;
        r[k] = select(less(least, size) & less(size, most), r[k], scaled_sum(channel, k));
      }
    }
  }

 private:
  __attribute__((noinline)) Scaled scaled_sum(int64_t channel, int k) const {
    const int64_t before = channel < w_.before ? channel : w_.before;
    const int64_t after = w_.c - 1 - channel < w_.after ? w_.c - 1 - channel : w_.after;
    const Scaled weight = Scaled::of(a_.alpha / static_cast<double>(a_.size));
    Scaled sum = Scaled::of(a_.bias);
    for (int64_t row = channel - before; row <= channel + after; ++row) {
      const Scaled v = Scaled::of(load(ring_[row].x + k * Vec<double>::kLanes));
      sum = sum + v * v * weight;
    }
    return sum;
  }

  const LocalResponseNorm& a_;
  const Window& w_;
  const Columns& columns_;
  const Ring<T> ring_;
  const ScaleOf<T> scale_of_;
  int64_t read_ = 0;
};

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_COLUMNS_H_
