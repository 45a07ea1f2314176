// Instance norm in NHWC: channels are the lanes of a vector, statistics run down the pixels of an
// image.
//
// Image by image: the sweep that writes finds in the cache what the sweep that summed has read, if
// the image fits. Otherwise the forward reads x twice and the backward dy and x twice. Nothing is
// transposed or copied; per channel a few numbers are kept in the workspace.
#include "isa_table.h"
#include "norm/images.h"
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
__attribute__((noinline)) void repeat(const Factors<T>& factors, int64_t c) {
  for (int field = 0; field < Factors<T>::kFields; ++field) {
    repeat(factors[field], c, factors.width);
  }
}

// ---- Statistics ---------------------------------------------------------------------

// Standardises every channel of an image, into the scratch's factors; mean and inv_std [c] or null.
// The channels whose squares leave the exponent range get a power of two that brings them to about
// 1, the others 1, for which the second reduction gives the same bits as the first.
template <class T, class Image>
__attribute__((noinline)) void image_statistics(const Image& image, double epsilon, T* mean,
                                                T* inv_std, const Factors<T>& factors) {
  const double count = static_cast<double>(image.spatial);
  SumTable moments = image.moments(nullptr);
  const T* scale = nullptr;
  if constexpr (kNeedsScale<T>) {
    T* const wanted = factors[Factors<T>::kScale];
    if (scale_extreme(moments, count, image.c, epsilon, wanted,
                      [&](int64_t k) { return image.scale_of(k); })) {
      repeat(wanted, image.c, image.fold.width);
      moments = image.moments(wanted);
      scale = wanted;
    }
  }
  set_all_statistics(moments, count, image.c, scale, epsilon, factors, mean,
                     static_cast<T*>(nullptr), inv_std);
}

// gamma and beta of an image's channels; neutral where they are not given, which changes no bit of
// y.
template <class T>
__attribute__((noinline)) void set_affine(const Factors<T>& factors, int64_t c, const void* scale,
                                          const void* bias) {
  for (int64_t k = 0; k < c; ++k) {
    factors[Factors<T>::kGamma][k] = scale == nullptr ? T{1} : static_cast<const T*>(scale)[k];
    factors[Factors<T>::kBeta][k] = bias == nullptr ? T{-0.0} : static_cast<const T*>(bias)[k];
  }
}

// ---- Forward ------------------------------------------------------------------------

template <class T, class Image>
__attribute__((noinline)) void image_forward(const InstanceNormForward& a, int64_t i,
                                             const Image& image, const Factors<T>& factors) {
  const int64_t c = a.shape.c;
  image_statistics(image, a.epsilon, optional_at<T>(a.mean, i * c),
                   optional_at<T>(a.inv_std, i * c), factors);
  if (a.y == nullptr) return;
  set_affine(factors, c, a.scale, a.bias);
  repeat(factors, c);
  image.write(factors, a.stream);
}

template <class T>
void instance_norm_forward(const InstanceNormForward& a, const Executor& executor) {
  const ImageLayout<T> layout(a.shape);
  ImageArrays arrays = {};
  arrays.at = placement_of(a.at, a.shape);
  arrays.x = a.x;
  arrays.y = a.y;
  for_each_block(layout, arrays, a.workspace, executor,
                 [&](int64_t block, const auto& image_of, const Factors<T>& factors) {
                   const int64_t begin = block * layout.blocks.each;
                   const int64_t end = part_end(begin, layout.blocks.each, a.shape.n);
                   for (int64_t i = begin; i < end; ++i) image_forward(a, i, image_of(i), factors);
                 });
}

template <class T>
size_t instance_norm_forward_workspace(const Images& shape) {
  return ImageLayout<T>(shape).dense_workspace();
}
template <class T>
size_t instance_norm_forward_grid_workspace(const Images& shape) {
  return ImageLayout<T>(shape).grid_workspace();
}

// ---- Backward -----------------------------------------------------------------------

// What the saved statistics of an image say; they stay, as set_channel_gradients needs them, in the
// place of the gradient's own factor.
template <class T>
__attribute__((noinline)) void set_saved_channels(const InstanceNormBackward& a, int64_t i,
                                                  const Factors<T>& factors) {
  const int64_t c = a.shape.c;
  const T *mean = static_cast<const T*>(a.mean) + i * c,
          *inv_std = static_cast<const T*>(a.inv_std) + i * c;
  T* factor = factors[Factors<T>::kFactor];
  memcpy(factor, inv_std, sizeof(T) * static_cast<size_t>(c));
  for_each_vector<double, 1>(
      c, [&](int64_t k, auto lanes) __attribute__((always_inline)) {
        set_saved(factors, k, mean + k, load_widened(factor + k, lanes), lanes);
      });
}

template <class T>
__attribute__((noinline)) void set_channel_gradients(SumTable sums, const Images& shape,
                                                     const Factors<T>& factors, double* scale_sums,
                                                     double* bias_sums) {
  set_all_gradients(
      sums, shape.spatial, shape.c, factors,
      [&](int64_t k, auto lanes) __attribute__((always_inline)) {
        return gradient_factor(load_widened(factors[Factors<T>::kFactor] + k, lanes),
                               load_widened(factors[Factors<T>::kGamma] + k, lanes));
      },
      scale_sums, bias_sums);
}

template <class T, class Image>
__attribute__((noinline)) void image_backward(const InstanceNormBackward& a, int64_t i,
                                              const Image& image, const Factors<T>& factors,
                                              double* scale_sums, double* bias_sums) {
  const int64_t c = a.shape.c;
  if (a.mean != nullptr) {
    set_saved_channels(a, i, factors);
  } else {
    T* inv_std = factors[Factors<T>::kFactor];
    image_statistics(image, a.epsilon, optional_at<T>(a.mean_out, i * c), inv_std, factors);
    if (a.inv_std_out != nullptr)
      memcpy(static_cast<T*>(a.inv_std_out) + i * c, inv_std, sizeof(T) * static_cast<size_t>(c));
  }
  set_affine(factors, c, a.scale, a.bias);
  repeat(factors, c);
  set_channel_gradients(image.gradients(factors), a.shape, factors, scale_sums, bias_sums);
  repeat(factors, c);
  image.write_gradients(factors, a.stream);
}

// The sums of each block of images, [blocks, 2, c], come first in the workspace.
size_t block_sums(const Images& shape) {
  return whole_lines(static_cast<size_t>(blocks_of(shape.n).count * 2 * shape.c) * sizeof(double));
}

template <class T>
void instance_norm_backward(const InstanceNormBackward& a, const Executor& executor) {
  const int64_t c = a.shape.c;
  const ImageLayout<T> layout(a.shape);
  ImageArrays arrays = {};
  arrays.at = placement_of(a.at, a.shape);
  arrays.x = a.x;
  arrays.dy = a.dy;
  arrays.y = a.y;
  arrays.dx = a.dx;
  double* sums = static_cast<double*>(a.workspace);
  for_each_block(layout, arrays, static_cast<char*>(a.workspace) + block_sums(a.shape), executor,
                 [&](int64_t block, const auto& image_of, const Factors<T>& factors) {
                   const int64_t begin = block * layout.blocks.each;
                   const int64_t end = part_end(begin, layout.blocks.each, a.shape.n);
                   double* own = sums + 2 * block * c;
                   memset(own, 0, sizeof(double) * static_cast<size_t>(2 * c));
                   for (int64_t i = begin; i < end; ++i)
                     image_backward(a, i, image_of(i), factors, own, own + c);
                 });
  add_blocks(sums, layout.blocks.count, 2 * c, c, static_cast<T*>(a.dscale));
  add_blocks(sums + c, layout.blocks.count, 2 * c, c, static_cast<T*>(a.dbias));
}

template <class T>
size_t instance_norm_backward_workspace(const Images& shape) {
  return block_sums(shape) + ImageLayout<T>(shape).dense_workspace();
}
template <class T>
size_t instance_norm_backward_grid_workspace(const Images& shape) {
  return block_sums(shape) + ImageLayout<T>(shape).grid_workspace();
}

template <class T>
constexpr InstanceNormKernels kKernels = {instance_norm_forward<T>,
                                          instance_norm_backward<T>,
                                          instance_norm_forward_workspace<T>,
                                          instance_norm_backward_workspace<T>,
                                          instance_norm_forward_grid_workspace<T>,
                                          instance_norm_backward_grid_workspace<T>};

}  // namespace

const InstanceNormKernels instance_norm_nhwc_f32 = kKernels<float>;
const InstanceNormKernels instance_norm_nhwc_f64 = kKernels<double>;

}  // namespace normkernels::NORMKERNELS_ISA
