// The images of a call, in NHWC, and one whose pixels are equally far apart: what is summed over it
// and written to it.
#ifndef NORMKERNELS_NORM_DENSE_IMAGES_H_
#define NORMKERNELS_NORM_DENSE_IMAGES_H_

#include "norm/column_gradient.h"
#include "norm/column_norm.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {

// The arrays of a call; dy, y and dx may be null.
struct ImageArrays {
  const void *x, *dy;
  void *y, *dx;
  Placement at;
};

inline Placement placement_of(const Placement* at, const Images& shape) {
  if (at != nullptr) return *at;
  const Strides dense = {shape.spatial * shape.c, shape.c, nullptr, nullptr};
  Placement all = {};
  all.x = all.dy = all.y = all.dx = dense;
  return all;
}

// An image whose pixels are equally far apart. dy, y and dx are there if they are needed.
template <class T>
struct DenseImage {
  const Fold& fold;
  int64_t c, spatial;
  Rows<const T> x, dy;
  Rows<T> y, dx;
  double* reduction;
  const Executor& executor;

  SumTable moments(const T* scale) const {
    return reduce_image(MomentsReduction<T>{x, scale}, fold, c, x.stride == c, reduction, executor,
                        kMaxSpans);
  }
  double scale_of(int64_t k) const { return scale_for(x[0] + k, spatial, x.stride); }
  SumTable gradients(const Factors<T>& factors) const {
    return reduce_image(GradientReduction<T>{dy, x, factors}, fold, c,
                        dy.stride == c && x.stride == c, reduction, executor, kMaxSpans);
  }
  void write(const Factors<T>& factors, bool stream) const {
    sweep_image(ForwardSweep<T>{factors, x, {y, stream}}, fold, c, spatial, executor);
  }
  void write_gradients(const Factors<T>& factors, bool stream, bool of_groups) const {
    if (of_groups) {
      return sweep_image(BackwardSweep<T, Writes::kDxOfGroup>{factors, dy, x, {}, {dx, stream}},
                         fold, c, spatial, executor);
    }
    if (y.p == nullptr) {
      return sweep_image(BackwardSweep<T, Writes::kDx>{factors, dy, x, {}, {dx, stream}}, fold, c,
                         spatial, executor);
    }
    const bool alike = elements_to_border<64>(y.p) == elements_to_border<64>(dx.p);
    const bool stream_y = stream && y.p != x.p && alike;
    sweep_image(BackwardSweep<T, Writes::kDxAndY>{factors, dy, x, {y, stream_y}, {dx, stream}},
                fold, c, spatial, executor);
  }
};

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_DENSE_IMAGES_H_
