// Instance and group norm in NHWC: channels are the lanes of a vector, statistics run down the
// pixels of an image, and are then merged over the channels of a group. In instance norm a channel
// is a group.
//
// Image by image: the sweep that writes finds in the cache what the sweep that summed has read, if
// the image fits. Otherwise the forward reads x twice and the backward dy and x twice. Nothing is
// transposed or copied; per channel a few numbers are kept in the workspace.
#include "isa_table.h"
#include "norm/channel_groups.h"
#include "norm/half_images.h"
#include "norm/wide_parameters.h"
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

// The moments of groups of an image, [groups]; scale: per channel, or null.
template <class T, class Image>
NORMKERNELS_INLINE SumTable group_moments(const Image& image, int64_t groups, const T* scale) {
  const SumTable moments = image.moments(scale);
  if (groups != image.c)
    merge_channels<T>(moments, groups, image.c / groups, static_cast<double>(image.spatial));
  return moments;
}

// Standardises every channel of an image, into the scratch's factors; mean and inv_std [groups] or
// null. The groups whose squares leave the exponent range get a power of two that brings them to
// about 1, the others 1, for which the second reduction gives the same bits as the first.
template <class T, class Image>
__attribute__((noinline)) void image_statistics(const Image& image, int64_t groups, double epsilon,
                                                T* mean, T* inv_std, const Factors<T>& factors) {
  const int64_t channels = image.c / groups;
  const double count = static_cast<double>(channels * image.spatial);
  SumTable moments = group_moments<T>(image, groups, nullptr);
  const T* scale = nullptr;
  if constexpr (kNeedsScale<T>) {
    T* const wanted = factors[Factors<T>::kScale];
    const auto scale_of = [&](int64_t i) {
      double least = Range<T>::kMax;
      for (int64_t k = i * channels; k < (i + 1) * channels; ++k) {
        const double of_channel = image.scale_of(k);
        least = of_channel < least ? of_channel : least;
      }
      return least;
    };
    if (scale_extreme(moments, count, groups, epsilon, wanted, scale_of)) {
      T* const of_channels = factors[Factors<T>::kShift];  // which is not known yet
      memcpy(of_channels, wanted, sizeof(T) * static_cast<size_t>(groups));
      spread(of_channels, groups, channels);
      repeat(of_channels, image.c, image.fold.width);
      moments = group_moments<T>(image, groups, of_channels);
      scale = wanted;
    }
  }
  set_all_statistics(moments, count, groups, scale, epsilon, factors, mean,
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
__attribute__((noinline)) void image_forward(const GroupNormForward& a, int64_t i,
                                             const Image& image, const Factors<T>& factors) {
  const int64_t c = a.shape.c, groups = a.groups;
  image_statistics(image, groups, a.epsilon, optional_at<T>(a.mean, i * groups),
                   optional_at<T>(a.inv_std, i * groups), factors);
  if (a.y == nullptr) return;
  if (groups != c) spread_statistics(factors, groups, c / groups);
  set_affine(factors, c, a.scale, a.bias);
  repeat(factors, c);
  image.write(factors, a.stream);
}

template <class T>
void group_norm_forward(const GroupNormForward& a, const Executor& executor) {
  const ImageLayout<T> layout(a.shape, storage_of(a.at));
  ImageArrays arrays = {};
  arrays.at = placement_of(a.at, a.shape);
  arrays.x = a.x;
  arrays.y = a.y;
  const auto forward = [&](int64_t block, const auto& image_of, const Factors<T>& factors) {
    const int64_t begin = block * layout.blocks.each;
    const int64_t end = part_end(begin, layout.blocks.each, a.shape.n);
    for (int64_t i = begin; i < end; ++i) image_forward(a, i, image_of(i), factors);
  };
  if constexpr (sizeof(T) == sizeof(float)) {
    if (for_each_half_block(layout, arrays, a.workspace, executor, forward)) return;
  }
  for_each_block(layout, arrays, a.workspace, executor, forward);
}

template <class T>
size_t group_norm_forward_workspace(const Images& shape, int64_t) {
  return ImageLayout<T>(shape, Storage::kComputed).dense_workspace();
}
template <class T, Storage kStorage = Storage::kComputed>
size_t group_norm_forward_grid_workspace(const Images& shape, int64_t) {
  return ImageLayout<T>(shape, kStorage).grid_workspace();
}

// ---- Backward -----------------------------------------------------------------------

// What the saved statistics of an image say, of groups; 1 / sigma stays, as the gradients need it,
// in the place of their own factor.
template <class T>
__attribute__((noinline)) void set_saved_channels(const GroupNormBackward& a, int64_t i,
                                                  const Factors<T>& factors) {
  const int64_t groups = a.groups;
  const T *mean = static_cast<const T*>(a.mean) + i * groups,
          *inv_std = static_cast<const T*>(a.inv_std) + i * groups;
  T* factor = factors[Factors<T>::kFactor];
  memcpy(factor, inv_std, sizeof(T) * static_cast<size_t>(groups));
  for_each_vector<double, 1>(
      groups, [&](int64_t k, auto lanes) __attribute__((always_inline)) {
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

template <class T>
__attribute__((noinline)) void set_group_gradients(SumTable sums, const GroupNormBackward& a,
                                                   const Factors<T>& factors,
                                                   const ChannelSums& parameters) {
  const int64_t channels = a.shape.c / a.groups;
  const Parameter<T> gamma = gamma_of<T>(a.scale);
  for (int64_t k = 0; k < a.shape.c; k += channels) {
    const double rstd = static_cast<double>(factors[Factors<T>::kFactor][k]);
    set_same_gradient(factors.from(k), channels,
                      group_gradient(sums.from(k), gamma.from(k), channels, a.shape.spatial,
                                     factors.standard(k), rstd, parameters.from(k)));
  }
}

template <class T, class Image>
__attribute__((noinline)) void image_backward(const GroupNormBackward& a, int64_t i,
                                              const Image& image, const Factors<T>& factors,
                                              double* scale_sums, double* bias_sums) {
  const int64_t c = a.shape.c, groups = a.groups;
  if (a.mean != nullptr) {
    set_saved_channels(a, i, factors);
  } else {
    T* inv_std = factors[Factors<T>::kFactor];
    image_statistics(image, groups, a.epsilon, optional_at<T>(a.mean_out, i * c), inv_std, factors);
    if (a.inv_std_out != nullptr)
      memcpy(static_cast<T*>(a.inv_std_out) + i * c, inv_std, sizeof(T) * static_cast<size_t>(c));
  }
  if (groups != c) {
    spread_statistics(factors, groups, c / groups);
    spread(factors[Factors<T>::kFactor], groups, c / groups);
  }
  set_affine(factors, c, a.scale, a.bias);
  repeat(factors, c);
  const SumTable sums = image.gradients(factors);
  if (groups != c) {
    set_group_gradients(sums, a, factors, {scale_sums, bias_sums});
  } else {
    set_channel_gradients(sums, a.shape, factors, scale_sums, bias_sums);
  }
  repeat(factors, c);
  image.write_gradients(factors, a.stream, groups != c);
}

// The sums of each block of images, [blocks, 2, c], come first in the workspace.
size_t block_sums(const Images& shape) {
  return whole_lines(static_cast<size_t>(blocks_of(shape.n).count * 2 * shape.c) * sizeof(double));
}

template <class T>
void group_norm_backward(const GroupNormBackward& a, const Executor& executor) {
  const int64_t c = a.shape.c;
  const ImageLayout<T> layout(a.shape, storage_of(a.at));
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
size_t group_norm_backward_workspace(const Images& shape, int64_t) {
  return block_sums(shape) + ImageLayout<T>(shape, Storage::kComputed).dense_workspace();
}
template <class T, Storage kStorage = Storage::kComputed>
size_t group_norm_backward_grid_workspace(const Images& shape, int64_t) {
  return block_sums(shape) + ImageLayout<T>(shape, kStorage).grid_workspace();
}

void half_group_norm_forward(const GroupNormForward& a, const Executor& executor) {
  with_wide_parameters(a, executor, group_norm_forward<float>);
}
void half_group_norm_backward(const GroupNormBackward& a, const Executor& executor) {
  with_wide_parameters(a, executor, group_norm_backward<float>);
}

template <class T>
constexpr GroupNormKernels kKernels = {group_norm_forward<T>,
                                       group_norm_backward<T>,
                                       group_norm_forward_workspace<T>,
                                       group_norm_backward_workspace<T>,
                                       group_norm_forward_grid_workspace<T>,
                                       group_norm_backward_grid_workspace<T>};

}  // namespace

const GroupNormKernels group_norm_nhwc_half = {
    half_group_norm_forward,
    half_group_norm_backward,
    wide_workspace<group_norm_forward_grid_workspace<float, kHalf>>,
    wide_workspace<group_norm_backward_grid_workspace<float, kHalf>>,
    wide_workspace<group_norm_forward_grid_workspace<float, kHalf>>,
    wide_workspace<group_norm_backward_grid_workspace<float, kHalf>>};
const GroupNormKernels group_norm_nhwc_f32 = kKernels<float>;
const GroupNormKernels group_norm_nhwc_f64 = kKernels<double>;

}  // namespace normkernels::NORMKERNELS_ISA
