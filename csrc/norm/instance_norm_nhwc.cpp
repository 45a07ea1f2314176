// Instance norm in NHWC: channels are the lanes of a vector, statistics run down the pixels of an
// image.
//
// Image by image: the sweep that writes finds in the cache what the sweep that summed has read, if
// the image fits. Otherwise the forward reads x twice and the backward dy and x twice. Nothing is
// transposed or copied; per channel a few numbers are kept in the workspace.
#include "isa_table.h"
#include "norm/blocks.h"
#include "norm/column_norm.h"
#include "norm/row_gradient.h"
#include "sums/columns.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// The first c columns once more for each pixel of a folded row.
template <class T>
NORMKERNELS_INLINE void repeat(T* column, int64_t c, int64_t width) {
  for (int64_t j = c; j < width; ++j) column[j] = column[j - c];
}
template <class T>
NORMKERNELS_INLINE void repeat(const Factors<T>& factors, int64_t c) {
  for (int field = 0; field < Factors<T>::kFields; ++field) {
    repeat(factors[field], c, factors.width);
  }
}

// The part of the workspace that one image at a time works in. The table of factors goes on for as
// many columns as a vector may reach into the next row.
template <class T>
struct Scratch {
  static constexpr int64_t kMostLanes = 16;

  double* reduction;
  Factors<T> factors;

  static int64_t doubles(const Fold& fold) {
    return reduction_doubles(fold) + Factors<T>::kFields * (fold.width + kMostLanes);
  }
  Scratch(void* workspace, int64_t index, const Fold& fold)
      : reduction(static_cast<double*>(workspace) + index * doubles(fold)),
        factors{reinterpret_cast<T*>(reduction + reduction_doubles(fold)),
                fold.width + kMostLanes} {}
};

template <class T>
size_t instance_norm_forward_workspace(const Images& shape) {
  const Fold fold = fold_of(shape.c, shape.spatial);
  return static_cast<size_t>(blocks_of(shape.n).count * Scratch<T>::doubles(fold)) * sizeof(double);
}

// Runs f(block, first image, end, executor of the image) over the blocks of images: threads share
// the blocks, or the pixels of one image where there are too few.
template <class F>
NORMKERNELS_INLINE void for_each_image_block(const Images& shape, const Executor& executor, F&& f) {
  const int64_t blocks = blocks_of(shape.n).count, each = blocks_of(shape.n).each;
  const bool share_blocks = blocks >= executor.threads;
  for_each_task(share_blocks ? executor : kSerial, blocks, [&](int64_t block) {
    const int64_t end = (block + 1) * each < shape.n ? (block + 1) * each : shape.n;
    f(block, block * each, end, share_blocks ? kSerial : executor);
  });
}

// ---- Statistics ---------------------------------------------------------------------

// Standardises every channel of an image, into the scratch's factors; mean and inv_std [c] or null.
// The channels whose squares leave the exponent range get a power of two that brings them to about
// 1, the others 1, for which the second reduction gives the same bits as the first.
template <class T>
void image_statistics(const T* x, const Images& shape, const Fold& fold, double epsilon, T* mean,
                      T* inv_std, const Scratch<T>& scratch, const Executor& executor) {
  const double count = static_cast<double>(shape.spatial);
  Columns moments =
      reduce_image(MomentsReduction<T>{x, nullptr}, fold, shape.c, scratch.reduction, executor);
  const T* scale = nullptr;
  if constexpr (kNeedsScale<T>) {
    T* const wanted = scratch.factors[Factors<T>::kScale];
    if (scale_extreme(moments, count, shape.c, epsilon, wanted,
                      [&](int64_t k) { return scale_for(x + k, shape.spatial, shape.c); })) {
      repeat(wanted, shape.c, fold.width);
      moments =
          reduce_image(MomentsReduction<T>{x, wanted}, fold, shape.c, scratch.reduction, executor);
      scale = wanted;
    }
  }
  set_all_statistics(moments, count, shape.c, scale, epsilon, scratch.factors, mean,
                     static_cast<T*>(nullptr), inv_std);
}

// gamma and beta of an image's channels; neutral where they are not given, which changes no bit of
// y.
template <class T>
NORMKERNELS_INLINE void set_affine(const Factors<T>& factors, int64_t c, const void* scale,
                                   const void* bias) {
  for (int64_t k = 0; k < c; ++k) {
    factors[Factors<T>::kGamma][k] = scale == nullptr ? T{1} : static_cast<const T*>(scale)[k];
    factors[Factors<T>::kBeta][k] = bias == nullptr ? T{-0.0} : static_cast<const T*>(bias)[k];
  }
}

// ---- Forward ------------------------------------------------------------------------

template <class T>
void instance_norm_forward(const InstanceNormForward& a, const Executor& executor) {
  const int64_t c = a.shape.c, image = a.shape.spatial * c;
  const Fold fold = fold_of(c, a.shape.spatial);
  for_each_image_block(
      a.shape, executor, [&](int64_t block, int64_t begin, int64_t end, const Executor& within) {
        const Scratch<T> scratch(a.workspace, block, fold);
        for (int64_t i = begin; i < end; ++i) {
          const T* x = static_cast<const T*>(a.x) + i * image;
          T* mean = a.mean == nullptr ? nullptr : static_cast<T*>(a.mean) + i * c;
          T* inv_std = a.inv_std == nullptr ? nullptr : static_cast<T*>(a.inv_std) + i * c;
          image_statistics(x, a.shape, fold, a.epsilon, mean, inv_std, scratch, within);
          if (a.y == nullptr) continue;
          set_affine(scratch.factors, c, a.scale, a.bias);
          repeat(scratch.factors, c);
          write_forward(a.stream, x, scratch.factors, fold, c, static_cast<T*>(a.y) + i * image,
                        within);
        }
      });
}

// ---- Backward -----------------------------------------------------------------------

// Sums of dy xhat, dy and xhat per channel.
template <class T>
struct GradientReduction {
  const T *dy, *x;
  Factors<T> factors;
  static constexpr int kSums = 3;

  void merge(Columns a, double, Columns b, double, int64_t width) const {
    for (int k = 0; k < kSums; ++k) {
      for_each_vector<double, 1>(
          width, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
            store(a[k] + j, load(a[k] + j, lanes) + load(b[k] + j, lanes), lanes);
          });
    }
  }

  void rows(int64_t begin, int64_t rows, int64_t width, int64_t stride, Columns out) const {
    using F = Factors<T>;
    for_each_column_block<T, kColumnVectors>(
        width, [&](int64_t j, auto vectors, auto lanes) __attribute__((always_inline)) {
          constexpr int U = decltype(vectors)::value, W = Vec<T>::kLanes;
          const RegisterBlock<T, U, decltype(lanes)> block(factors, j, lanes, F::kScale, F::kCentre,
                                                           F::kRstd, F::kShift);
          ColumnSums<T, kSums, U> sums = {};
          sums.add(
              rows, [&](Vec<T>(&acc)[kSums], int64_t i, auto u) __attribute__((always_inline)) {
                constexpr int k = decltype(u)::value;
                const int64_t at = begin + i * stride + j + k * W;
                prefetch(x + at + kRowsAhead * stride);
                prefetch(dy + at + kRowsAhead * stride);
                const Vec<T> g = load(dy + at, lanes);
                const Vec<T> xhat = block.xhat(load(x + at, lanes), k, F::kShift);
                acc[0] = multiply_add(g, xhat, acc[0]);
                acc[1] = acc[1] + g;
                acc[2] = acc[2] + xhat;
              });
          double whole[kSums][U * W];
          unroll<kSums * kDoublesFor<T, U>>([&](auto d) __attribute__((always_inline)) {
            constexpr int k = decltype(d)::value / kDoublesFor<T, U>,
                          v = decltype(d)::value % kDoublesFor<T, U>;
            store(whole[k] + v * Vec<double>::kLanes, sums.v[k][v]);
          });
          const int64_t columns = j + U * W < width ? U * W : width - j;
          for (int k = 0; k < kSums; ++k)
            memcpy(out[k] + j, whole[k], sizeof(double) * static_cast<size_t>(columns));
        });
  }
};

template <class T>
size_t instance_norm_backward_workspace(const Images& shape) {
  return instance_norm_forward_workspace<T>(shape) +
         static_cast<size_t>(blocks_of(shape.n).count * 2 * shape.c) * sizeof(double);
}

template <class T>
void image_backward(const InstanceNormBackward& a, int64_t i, const Fold& fold,
                    const Scratch<T>& scratch, double* scale_sums, double* bias_sums,
                    const Executor& executor) {
  const int64_t c = a.shape.c, image = a.shape.spatial * c;
  const T* x = static_cast<const T*>(a.x) + i * image;
  const T* dy = static_cast<const T*>(a.dy) + i * image;
  T* dx = static_cast<T*>(a.dx) + i * image;
  const Factors<T>& factors = scratch.factors;
  T* factor = factors[Factors<T>::kFactor];  // holds inv_std until the gradient's own is known
  if (a.mean != nullptr) {
    const T* mean = static_cast<const T*>(a.mean) + i * c;
    memcpy(factor, static_cast<const T*>(a.inv_std) + i * c, sizeof(T) * static_cast<size_t>(c));
    for_each_vector<double, 1>(
        c, [&](int64_t k, auto lanes) __attribute__((always_inline)) {
          set_saved(factors, k, mean + k, load_widened(factor + k, lanes), lanes);
        });
  } else {
    T* mean = a.mean_out == nullptr ? nullptr : static_cast<T*>(a.mean_out) + i * c;
    image_statistics(x, a.shape, fold, a.epsilon, mean, factor, scratch, executor);
    if (a.inv_std_out != nullptr) {
      memcpy(static_cast<T*>(a.inv_std_out) + i * c, factor, sizeof(T) * static_cast<size_t>(c));
    }
  }
  set_affine(factors, c, a.scale, a.bias);
  repeat(factors, c);
  const Columns sums =
      reduce_image(GradientReduction<T>{dy, x, factors}, fold, c, scratch.reduction, executor);
  set_all_gradients(
      sums, a.shape.spatial, c, factors,
      [&](int64_t k, auto lanes) __attribute__((always_inline)) {
        return gradient_factor(load_widened(factor + k, lanes),
                               load_widened(factors[Factors<T>::kGamma] + k, lanes));
      },
      scale_sums, bias_sums);
  repeat(factors, c);
  if (a.y != nullptr) {
    write_backward<T, true>(a.stream, dy, x, factors, fold, c, static_cast<T*>(a.y) + i * image, dx,
                            executor);
  } else {
    write_backward<T, false>(a.stream, dy, x, factors, fold, c, nullptr, dx, executor);
  }
}

template <class T>
void instance_norm_backward(const InstanceNormBackward& a, const Executor& executor) {
  const int64_t c = a.shape.c, blocks = blocks_of(a.shape.n).count;
  const Fold fold = fold_of(c, a.shape.spatial);
  double* sums =
      static_cast<double*>(a.workspace);  // [blocks, 2, c], then the scratch of each block
  for_each_image_block(a.shape, executor,
                       [&](int64_t block, int64_t begin, int64_t end, const Executor& within) {
                         const Scratch<T> scratch(sums + blocks * 2 * c, block, fold);
                         double* scale_sums = sums + 2 * block * c;
                         memset(scale_sums, 0, sizeof(double) * static_cast<size_t>(2 * c));
                         for (int64_t i = begin; i < end; ++i) {
                           image_backward(a, i, fold, scratch, scale_sums, scale_sums + c, within);
                         }
                       });
  add_blocks(sums, blocks, 2 * c, c, static_cast<T*>(a.dscale));
  add_blocks(sums + c, blocks, 2 * c, c, static_cast<T*>(a.dbias));
}

}  // namespace

const InstanceNormKernels instance_norm_nhwc_f32 = {
    instance_norm_forward<float>, instance_norm_backward<float>,
    instance_norm_forward_workspace<float>, instance_norm_backward_workspace<float>};
const InstanceNormKernels instance_norm_nhwc_f64 = {
    instance_norm_forward<double>, instance_norm_backward<double>,
    instance_norm_forward_workspace<double>, instance_norm_backward_workspace<double>};

}  // namespace normkernels::NORMKERNELS_ISA
