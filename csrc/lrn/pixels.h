// Some pixels, each with all its channels, side by side in rows: for elements out of the ordinary.
// Their pixels are gone through once more, channel after channel, and what the windows of the next
// channels need of the last ones is kept.
//
// Few inputs come here, so there is one instance per type, and loops are not unrolled.
#ifndef NORMKERNELS_LRN_PIXELS_H_
#define NORMKERNELS_LRN_PIXELS_H_

#include "lrn/scale.h"
#include "lrn/scaled.h"

namespace normkernels::NORMKERNELS_ISA {

// A row has one number of each pixel. It is an array of so many, most often the T of a channel.
constexpr int kPixels = 16;

// f(lane) for every bit that is set.
template <class F>
NORMKERNELS_INLINE void for_each_lane(unsigned bits, F&& f) {
  for (; bits != 0; bits &= bits - 1) f(__builtin_ctz(bits));
}

// The pixels from number `first` (of all pixels of all images) to `last`, kPixels at most. Lanes
// without a pixel have the first one's elements.
class Pixels {
 public:
  Pixels(const Window& w, int64_t first, int64_t last)
      : count_(static_cast<int>(last - first)), stride_(w.stride), adjacent_(count_ == kPixels) {
    int64_t pixel = first % w.stride, at = first / w.stride * w.c * w.stride + pixel;
    for (int lane = 0; lane < kPixels; ++lane) {
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

  int count() const { return count_; }
  // A bit for each lane that is a pixel.
  unsigned mask() const { return (1u << count_) - 1; }

  template <class T>
  void read(const T* tensor, int64_t channel, T* row) const {
    const T* p = tensor + channel * stride_;
    if (adjacent_) {
      memcpy(row, p + base_[0], sizeof(T) * kPixels);
      return;
    }
    for (int lane = 0; lane < kPixels; ++lane) row[lane] = p[base_[lane]];
  }

  // Those lanes whose bits are set.
  template <class T>
  void write(T* tensor, int64_t channel, const T* row, unsigned lanes) const {
    T* p = tensor + channel * stride_;
    if (adjacent_ && lanes == mask()) {
      memcpy(p + base_[0], row, sizeof(T) * kPixels);
      return;
    }
    for_each_lane(lanes, [&](int lane) { p[base_[lane]] = row[lane]; });
  }

 private:
  int count_;
  int64_t stride_;
  bool adjacent_;
  int64_t base_[kPixels];
};

// A row of numbers with their exponents apart.
struct ScaledRow {
  double m[kPixels], e[kPixels];

  NORMKERNELS_INLINE Scaled at(int i) const { return {load(m + i), load(e + i)}; }
  NORMKERNELS_INLINE void put(int i, Scaled a) {
    store(m + i, a.m);
    store(e + i, a.e);
  }
};

// f(i) for the vectors of T of a row that have pixels, which begin at i.
template <class T, class F>
NORMKERNELS_INLINE void for_each_row_vector(const Pixels& pixels, F&& f) {
  for (int i = 0; i < pixels.count(); i += Vec<T>::kLanes) f(i);
}

// sum + term(j, i) of the channels j from `from` to `to`, one after another.
template <class Term>
NORMKERNELS_INLINE void add_channels(const Pixels& pixels, int64_t from, int64_t to, ScaledRow& sum,
                                     const Term& term) {
  for (int64_t j = from; j < to; ++j) {
    for_each_row_vector<double>(pixels, [&](int i) { sum.put(i, sum.at(i) + term(j, i)); });
  }
}

NORMKERNELS_INLINE void negative_power(const Pixels& pixels, const ScaledRow& s, double beta,
                                       ScaledRow& power) {
  constexpr int W = Vec<double>::kLanes;
  for (int i = 0; i < pixels.count(); i += 2 * W) {
    // Where the second has no pixels, nothing has been written that could decide anything.
    const Scaled base[2] = {s.at(i), s.at(i + W < pixels.count() ? i + W : i)};
    Scaled result[2];
    negative_power(base, beta, result);
    power.put(i, result[0]);
    power.put(i + W, result[1]);
  }
}

// What is known of the elements of one channel.
template <class T>
struct Line {
  // The terms of the gradient, dy P and dy x P / s.
  ScaledRow scaled_direct, scaled_shared;
  T x[kPixels], direct[kPixels], shared[kPixels];
  unsigned outside;    // a bit for each element that is out of the ordinary
  unsigned too_large;  // and whose `shared` is infinite or NaN
};

// Those of the last channels, as many as windows reach over.
template <class T>
class LastLines {
 public:
  LastLines(const Window& w, void* memory)
      : line_(static_cast<Line<T>*>(memory)), lines_(lines_for(w)) {}

  static uint64_t bytes(const Window& w) {
    return static_cast<uint64_t>(lines_for(w)) * sizeof(Line<T>);
  }

  NORMKERNELS_INLINE Line<T>& operator[](int64_t channel) const {
    return line_[channel & (lines_ - 1)];
  }

 private:
  // A power of two that holds those of a window that exist.
  static int64_t lines_for(const Window& w) {
    const int64_t needed = smaller(w.size(), w.c);
    int64_t lines = 1;
    while (lines < needed) lines *= 2;
    return lines;
  }

  Line<T>* line_;
  int64_t lines_;
};

// x of some pixels, and s.
template <class T>
class PixelScales {
 public:
  PixelScales(const LocalResponseNorm& a, const Window& w, const Pixels& pixels,
              const LastLines<T>& lines)
      : a_(a),
        w_(w),
        pixels_(pixels),
        lines_(lines),
        scale_of_(a),
        weight_(Scaled::of(a.alpha / static_cast<double>(a.size))) {}

  // From the first channel of the window of `channel` on.
  void start(int64_t channel) { read_ = channel > w_.before ? channel - w_.before : 0; }

  // s, rounded to T and before that.
  __attribute__((noinline)) void scale(int64_t channel, T* rounded, double* s) {
    for (; read_ < w_.c && read_ <= channel + w_.after; ++read_) {
      pixels_.read(static_cast<const T*>(a_.x), read_, lines_[read_].x);
    }
    const int64_t first = channel - w_.before, c = w_.c;
    for_each_row_vector<double>(
        pixels_, [&](int i) __attribute__((always_inline)) {
          Wide<T, Vec<double>> sum[1];
          window_sums(
              w_.size(), sum, [&](int64_t k, int) __attribute__((always_inline)) {
                if (first + k < 0 || first + k >= c) return Vec<double>::zero();
                const Vec<double> v = load_widened(lines_[first + k].x + i, Full{});
                return v * v;
              });
          const Vec<double> unrounded = scale_of_(sum[0]);
          store(s + i, unrounded);
          store_rounded(rounded + i, unrounded, Full{});
        });
  }

  // The same with exponents apart. float32's squares cannot leave float64's range; where float64's
  // have left it they are added up so.
  void scaled(int64_t channel, const double* s, ScaledRow& r) const {
    const Vec<double> least = Vec<double>::all(0x1p-800), most = Vec<double>::all(0x1p800);
    unsigned beyond = 0;
    for_each_row_vector<double>(pixels_, [&](int i) {
      r.put(i, Scaled::of(load(s + i)));
      beyond |= lanes_outside(absolute(load(s + i)), least, most);
    });
    if (sizeof(T) < sizeof(double) || beyond == 0) return;
    ScaledRow sum;
    scaled_sums(channel, sum);
    for_each_row_vector<double>(pixels_, [&](int i) {
      const Vec<double> size = absolute(load(s + i));
      r.put(i, select(less(least, size) & less(size, most), r.at(i), sum.at(i)));
    });
  }

 private:
  __attribute__((noinline)) void scaled_sums(int64_t channel, ScaledRow& sum) const {
    const int64_t from = channel > w_.before ? channel - w_.before : 0;
    const int64_t to = w_.c - channel > w_.after ? channel + w_.after + 1 : w_.c;
    for_each_row_vector<double>(pixels_, [&](int i) { sum.put(i, Scaled::of(a_.bias)); });
    add_channels(pixels_, from, to, sum, [&](int64_t j, int i) {
      const Scaled v = Scaled::of(load_widened(lines_[j].x + i, Full{}));
      return v * v * weight_;
    });
  }

  const LocalResponseNorm& a_;
  const Window& w_;
  const Pixels& pixels_;
  const LastLines<T> lines_;
  const ScaleOf<T> scale_of_;
  const Scaled weight_;
  int64_t read_ = 0;
};

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_PIXELS_H_
