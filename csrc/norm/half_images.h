// Images of a half type, in NHWC, whose pixels are equally far apart: summed and normalised where
// they are. They are widened as they are read, twice, and rounded in registers.
//
// Measured, bfloat16, against tiles of float32 (Zen 4): 256 x 256 x 64 twice as fast with AVX2 and
// 1.6 times with AVX-512, 56 x 56 x 100 1.5 and 1.3 times, images in L2 1.05 and 1.25 times.
#ifndef NORMKERNELS_NORM_HALF_IMAGES_H_
#define NORMKERNELS_NORM_HALF_IMAGES_H_

#include "norm/images.h"
#include "simd/half_pairs.h"

namespace normkernels::NORMKERNELS_ISA {

// A vector of halves is two of float32, in the order of `packed`.
template <class S>
struct HalfColumn {
  static constexpr int kVectors = 2;  // a line, so that lines are streamed whole
  Standardise<float> first, second;
  TwoVectors gamma, beta;

  HalfColumn() = default;
  template <class Lanes>
  NORMKERNELS_INLINE HalfColumn(const Factors<float>& f, int64_t j, Lanes) {
    using F = Factors<float>;
    const TwoVectors scale = load_two_of<S>(f[F::kScale] + j);
    const TwoVectors centre = load_two_of<S>(f[F::kCentre] + j);
    const TwoVectors rstd = load_two_of<S>(f[F::kRstd] + j);
    const TwoVectors shift = load_two_of<S>(f[F::kShift] + j);
    first = {scale.first, -centre.first, rstd.first, shift.first};
    second = {scale.second, -centre.second, rstd.second, shift.second};
    gamma = load_two_of<S>(f[F::kGamma] + j);
    beta = load_two_of<S>(f[F::kBeta] + j);
  }
  NORMKERNELS_INLINE Vec<uint16_t> y(Vec<uint16_t> halves) const {
    const TwoVectors x = widen_two<S>(halves);
    return packed<S>({fma(first(x.first), gamma.first, beta.first),
                      fma(second(x.second), gamma.second, beta.second)});
  }
};
template <class S>
using HalfForwardSweep = ForwardSweepOf<float, uint16_t, HalfColumn<S>>;

// What a DenseImage of float32 is to a forward.
template <class S>
struct HalfImage {
  const Fold& fold;
  int64_t c, spatial;
  Rows<const uint16_t> x;
  Rows<uint16_t> y;
  double* reduction;
  const Executor& executor;

  SumTable moments(const float*) const {
    const Rows<const S> halves = {reinterpret_cast<const S*>(x.p), x.stride};
    return reduce_image(MomentsReduction<float, S>{halves, nullptr}, fold, c, x.stride == c,
                        reduction, executor, kMaxSpans);
  }
  void write(const Factors<float>& factors, bool stream) const {
    sweep_image(HalfForwardSweep<S>{factors, x, {y, stream}}, fold, c, spatial, executor);
  }
};

// for_each_block (images.h) of a call whose arrays are such images; whether they are.
template <class F>
NORMKERNELS_INLINE bool for_each_half_block(const ImageLayout<float>& layout, const ImageArrays& a,
                                            void* workspace, const Executor& executor, const F& f) {
  if (a.at.grid == nullptr || a.at.grid->storage == Storage::kComputed) return false;
  const Images& shape = layout.shape;
  const Grid pixels = pixels_of(*a.at.grid, &shape.c);
  const Part all = {0, shape.spatial, 0, shape.c};
  int64_t x_stride = 0, y_stride = 0;
  if (!is_plain(pixels, turned(a.at.x), all, &x_stride)) return false;
  if (a.y != nullptr && !is_plain(pixels, turned(a.at.y), all, &y_stride)) return false;
  const auto of_type = [&](auto type) {
    const auto image_from = [&](int64_t i, double* reduction, const TileShares<float>& shares) {
      return HalfImage<decltype(type)>{
          layout.fold,
          shape.c,
          shape.spatial,
          {static_cast<const uint16_t*>(a.x) + i * a.at.x.rows[0], x_stride},
          {optional_at<uint16_t>(a.y, i * a.at.y.rows[0]), y_stride},
          reduction,
          shares.executor};
    };
    for_each_grid_block(layout, workspace, executor, image_from, f);
  };
  if (pixels.storage == Storage::kBfloat16) {
    of_type(Bfloat16{});
    return true;
  }
  // Without instructions for it two binary16 take as long to widen as four.
  if constexpr (NORMKERNELS_SIMD_X86 != 0) of_type(Float16{});
  return NORMKERNELS_SIMD_X86 != 0;
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_HALF_IMAGES_H_
