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
__attribute__((noinline)) void repeat(T* column, int64_t c, int64_t width) {
  for (int64_t known = c; known < width; known *= 2) {
    const int64_t more = smaller(known, width - known);
    memcpy(column + known, column, sizeof(T) * static_cast<size_t>(more));
  }
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
    const int64_t end = part_end(block * each, each, shape.n);
    f(block, block * each, end, share_blocks ? kSerial : executor);
  });
}

// ---- Statistics ---------------------------------------------------------------------

// Standardises every channel of an image, into the scratch's factors; mean and inv_std [c] or null.
// The channels whose squares leave the exponent range get a power of two that brings them to about
// 1, the others 1, for which the second reduction gives the same bits as the first.
template <class T>
__attribute__((noinline)) void image_statistics(const Rows<const T>& x, const Images& shape,
                                                const Fold& fold, double epsilon, T* mean,
                                                T* inv_std, const Scratch<T>& scratch,
                                                const Executor& executor) {
  const double count = static_cast<double>(shape.spatial);
  const bool contiguous = x.stride == shape.c;
  SumTable moments = reduce_image(MomentsReduction<T>{x, nullptr}, fold, shape.c, contiguous,
                                  scratch.reduction, executor);
  const T* scale = nullptr;
  if constexpr (kNeedsScale<T>) {
    T* const wanted = scratch.factors[Factors<T>::kScale];
    if (scale_extreme(moments, count, shape.c, epsilon, wanted,
                      [&](int64_t k) { return scale_for(x[0] + k, shape.spatial, x.stride); })) {
      repeat(wanted, shape.c, fold.width);
      moments = reduce_image(MomentsReduction<T>{x, wanted}, fold, shape.c, contiguous,
                             scratch.reduction, executor);
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
__attribute__((noinline)) void image_forward(const InstanceNormForward& a, int64_t i,
                                             const Fold& fold, const Scratch<T>& scratch,
                                             const Executor& executor) {
  const int64_t c = a.shape.c, image = a.shape.spatial * c;
  const Rows<const T> x = {static_cast<const T*>(a.x) + i * image, c};
  T* mean = a.mean == nullptr ? nullptr : static_cast<T*>(a.mean) + i * c;
  T* inv_std = a.inv_std == nullptr ? nullptr : static_cast<T*>(a.inv_std) + i * c;
  image_statistics(x, a.shape, fold, a.epsilon, mean, inv_std, scratch, executor);
  if (a.y == nullptr) return;
  set_affine(scratch.factors, c, a.scale, a.bias);
  repeat(scratch.factors, c);
  const Rows<T> y = {static_cast<T*>(a.y) + i * image, c};
  sweep_image(ForwardSweep<T>{scratch.factors, x, {y, a.stream}}, fold, c, a.shape.spatial,
              executor);
}

template <class T>
void instance_norm_forward(const InstanceNormForward& a, const Executor& executor) {
  const Fold fold = fold_of(a.shape.c, a.shape.spatial);
  for_each_image_block(a.shape, executor,
                       [&](int64_t block, int64_t begin, int64_t end, const Executor& within) {
                         const Scratch<T> scratch(a.workspace, block, fold);
                         for (int64_t i = begin; i < end; ++i)
                           image_forward(a, i, fold, scratch, within);
                       });
}

// ---- Backward -----------------------------------------------------------------------

// Sums of dy xhat, dy and xhat per channel.
template <class T>
struct GradientReduction {
  Rows<const T> dy, x;
  Factors<T> factors;
  static constexpr int kSums = 3;

  __attribute__((noinline)) void merge(SumTable a, double, SumTable b, double,
                                       int64_t width) const {
    for (int k = 0; k < kSums; ++k) {
      for_each_vector<double, 1>(
          width, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
            store(a[k] + j, load(a[k] + j, lanes) + load(b[k] + j, lanes), lanes);
          });
    }
  }

  __attribute__((noinline)) void rows(const PixelRows& r, SumTable out) const {
    const Rows<const T> all_dy = r.of(dy), all_x = r.of(x);
    for (int64_t i = 0; i < r.rows; i += kTileRows) {
      const int64_t count = smaller(kTileRows, r.rows - i);
      for_each_column_block<T, kColumnVectors>(
          r.width, [&](int64_t j, auto vectors, auto lanes) __attribute__((always_inline)) {
            add_tile<decltype(vectors)::value>(all_dy.from(i), all_x.from(i), count, j, lanes,
                                               i == 0, out);
          });
    }
  }

 private:
  // Adds the sums of U vectors of columns of a tile, the first one or not, to those in `out`.
  template <int U, class Lanes>
  NORMKERNELS_INLINE void add_tile(const Rows<const T>& dy_rows, const Rows<const T>& x_rows,
                                   int64_t rows, int64_t column, Lanes lanes, bool is_first,
                                   SumTable out) const {
    constexpr int W = Vec<T>::kLanes, kDoubles = kDoublesFor<T, U>;
    const AheadOfBlock<T> dy_ahead(dy_rows, rows, column, U * W);
    const AheadOfBlock<T> x_ahead(x_rows, rows, column, U * W);
    Standardise<T> xhat_of[U];
#pragma GCC unroll 4
    for (int u = 0; u < U; ++u) xhat_of[u] = {factors, Factors<T>::kShift, column + u * W, lanes};
    ColumnSums<T, kSums, U> sums = {};
    if (!is_first) {
#pragma GCC unroll 32
      for (int k = 0; k < kSums * kDoubles; ++k)
        sums.v[k / kDoubles][k % kDoubles] =
            load(out[k / kDoubles] + column + k % kDoubles * Vec<double>::kLanes);
    }
    sums.add(
        rows, [&](Vec<T>(&acc)[kSums], int64_t i, int u) __attribute__((always_inline)) {
          if (u == 0) {
            dy_ahead.template operator()<U * W>(i);
            x_ahead.template operator()<U * W>(i);
          }
          const Vec<T> g = load(dy_rows[i] + column + u * W, lanes);
          const Vec<T> xhat = xhat_of[u](load(x_rows[i] + column + u * W, lanes));
          acc[0] = multiply_add(g, xhat, acc[0]);
          acc[1] = acc[1] + g;
          acc[2] = acc[2] + xhat;
        });
#pragma GCC unroll 32
    for (int k = 0; k < kSums * kDoubles; ++k)
      store(out[k / kDoubles] + column + k % kDoubles * Vec<double>::kLanes,
            sums.v[k / kDoubles][k % kDoubles]);
  }
};

template <class T>
size_t instance_norm_backward_workspace(const Images& shape) {
  return instance_norm_forward_workspace<T>(shape) +
         static_cast<size_t>(blocks_of(shape.n).count * 2 * shape.c) * sizeof(double);
}

template <class T>
__attribute__((noinline)) void image_backward(const InstanceNormBackward& a, int64_t i,
                                              const Fold& fold, const Scratch<T>& scratch,
                                              double* scale_sums, double* bias_sums,
                                              const Executor& executor) {
  const int64_t c = a.shape.c, image = a.shape.spatial * c;
  const Rows<const T> x = {static_cast<const T*>(a.x) + i * image, c};
  const Rows<const T> dy = {static_cast<const T*>(a.dy) + i * image, c};
  const Rows<T> dx = {static_cast<T*>(a.dx) + i * image, c};
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
  const SumTable sums = reduce_image(GradientReduction<T>{dy, x, factors}, fold, c,
                                     dy.stride == c && x.stride == c, scratch.reduction, executor);
  set_all_gradients(
      sums, a.shape.spatial, c, factors,
      [&](int64_t k, auto lanes) __attribute__((always_inline)) {
        return gradient_factor(load_widened(factor + k, lanes),
                               load_widened(factors[Factors<T>::kGamma] + k, lanes));
      },
      scale_sums, bias_sums);
  repeat(factors, c);
  if (a.y != nullptr) {
    const Rows<T> y = {static_cast<T*>(a.y) + i * image, c};
    const bool alike = elements_to_border<64>(y.p) == elements_to_border<64>(dx.p);
    const bool stream = a.stream && y.p != x.p && alike;
    sweep_image(BackwardSweep<T, true>{factors, dy, x, {y, stream}, {dx, a.stream}}, fold, c,
                a.shape.spatial, executor);
  } else {
    sweep_image(BackwardSweep<T, false>{factors, dy, x, {}, {dx, a.stream}}, fold, c,
                a.shape.spatial, executor);
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
