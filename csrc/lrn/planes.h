// s of windows of five channels in float32, where channels are rows of many pixels: NCHW.
//
// Rows come down one after another. With q the squares of a row and of those around it,
//
//   sum(c) = (q(c-2) + q(c) + q(c+2)) + (q(c-1) + q(c+1)) = (d(c-1) + q(c+2)) + d(c),
//   d(c) = q(c-1) + q(c+1),
//
// which are the additions of a window by itself, in their order, but two of five are made once for
// two windows. What is kept of the rows above is d(c-1), d(c), q(c) and q(c+1), and four rows are
// gone through at a time, so it stays in registers for four: with two, sums took 1.4 times as long.
//
// On Zen 3 that is 6 cycles for 8 elements, most of them of float64's additions and conversions,
// which share two pipes; the power is another 6 to 7, of multiplications, which have the other two.
// One loop for both took as long as two.
#ifndef NORMKERNELS_LRN_PLANES_H_
#define NORMKERNELS_LRN_PLANES_H_

#include "lrn/steps.h"

namespace normkernels::NORMKERNELS_ISA {

constexpr int kPlaneRows = 4;

NORMKERNELS_INLINE Group<double, 2> load_squares(const float* p, Full) {
  constexpr int W = Vec<double>::kLanes;
  const Vec<double> low = load_widened(p, Full{}), high = load_widened(p + W, Full{});
  return {{low * low, high * high}};
}
NORMKERNELS_INLINE Group<double, 2> load_squares(const float* p, int lanes) {
  const Group<double, 2> v = to_double(load_group<1>(p, lanes));
  return v * v;
}

// Those of a strip of pixels.
class PlaneScales {
 public:
  PlaneScales(const LocalResponseNorm& a, const Strips& strips, void* memory)
      : scale_of_(a),
        x_(static_cast<const float*>(a.x)),
        channels_(strips.shape.c),
        stride_(strips.shape.spatial),
        width_(aligned(strips.pixels)),
        state_(static_cast<double*>(memory)),
        scales_(reinterpret_cast<float*>(state_ + 4 * width_)),
        zeros_(scales_ + kPlaneRows * width_),
        saved_(static_cast<const float*>(a.scale_in)) {
    clear(zeros_, 0, width_);
  }

  int64_t width() const { return width_; }
  const float* zeros() const { return zeros_; }
  float* after() const { return zeros_ + width_; }

  // From element `at` on, n pixels.
  void start(int64_t at, int64_t n) {
    at_ = at;
    n_ = n;
    read_ = 0;
    if (saved_ != nullptr) return;
    clear(state_, 0, 4 * width_);
    go_down<2>();
  }
  // s of the next channels, kPlaneRows of them or what is left.
  void next() {
    if (saved_ == nullptr) return go_down<kPlaneRows>();
    for (int row = 0; row < kPlaneRows && read_ < channels_; ++row, ++read_) {
      memcpy(scales_ + row * width_, saved_ + at_ + read_ * stride_,
             sizeof(float) * static_cast<size_t>(n_));
    }
  }
  const float* operator[](int row) const { return scales_ + row * width_; }

 private:
  template <int Rows>
  __attribute__((noinline)) void go_down() {
    const float* x[Rows];
    float* s[Rows];
#pragma GCC unroll 4
    for (int row = 0; row < Rows; ++row, ++read_) {
      x[row] = read_ < channels_ ? x_ + at_ + read_ * stride_ : zeros_;
      s[row] = scales_ + row * width_;
    }
    double* const state[] = {state_, state_ + width_, state_ + 2 * width_, state_ + 3 * width_};
    const ScaleOf<float> scale_of = scale_of_;
    for_each_vector<float, 1>(
        n_, [=](int64_t i, auto lanes) __attribute__((always_inline)) {
          using Numbers = Group<double, 2>;
          Numbers d_above = load_group<2>(state[0] + i), d = load_group<2>(state[1] + i),
                  q_above = load_group<2>(state[2] + i), q = load_group<2>(state[3] + i);
#pragma GCC unroll 4
          for (int row = 0; row < Rows; ++row) {
            const Numbers below = load_squares(x[row] + i, lanes), sum = (d_above + below) + d;
            store_group(s[row] + i,
                        from_double<float>(Numbers{{scale_of(sum.v[0]), scale_of(sum.v[1])}}));
            d_above = d;
            d = q_above + below;
            q_above = q;
            q = below;
          }
          store_group(state[0] + i, d_above);
          store_group(state[1] + i, d);
          store_group(state[2] + i, q_above);
          store_group(state[3] + i, q);
        });
  }

  const ScaleOf<float> scale_of_;
  const float* const x_;
  const int64_t channels_, stride_, width_;
  double* const state_;
  float *const scales_, *const zeros_;
  const float* const saved_;
  int64_t at_, n_, read_;
};

// The terms of the gradient of the last channels, as many as four new ones and their windows reach.
class PlaneTerms {
 public:
  PlaneTerms(const PlaneScales& scales)
      : zeros_(scales.zeros()), rows_(scales.after()), width_(scales.width()) {}

  float* direct(int64_t channel) const { return rows_ + channel % kRows * width_; }
  float* terms(int64_t channel) const { return direct(channel) + kRows * width_; }
  // Of channels, of which some may not exist.
  void window(int64_t first, int64_t channels, const float* (&rows)[5]) const {
#pragma GCC unroll 5
    for (int k = 0; k < 5; ++k) {
      const int64_t channel = first + k;
      rows[k] = channel >= 0 && channel < channels ? terms(channel) : zeros_;
    }
  }

 private:
  static constexpr int64_t kRows = 8;

  const float* const zeros_;
  float* const rows_;
  const int64_t width_;
};

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_PLANES_H_
