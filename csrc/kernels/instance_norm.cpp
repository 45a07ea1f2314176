// Instance norm in NCHW: a plane [spatial] of one image and channel is a row, and scale and bias
// are one value per row.
//
// Traffic as in layer norm: the forward reads x once and writes y once, the backward reads dy and x
// once and writes dx once while a plane fits the cache; a longer plane is read once more.
#include "../kernels.h"
#include "../row_gradient.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// One value of a channel, or nothing.
template <class T, class F>
NORMKERNELS_INLINE void with_optional_value(const T* p, int64_t channel, F&& f) {
  if (p != nullptr) {
    f(PerRow<T>{Vec<T>::all(p[channel])});
  } else {
    f(Absent{});
  }
}

template <class T>
NORMKERNELS_INLINE void store_statistics(const RowStatistics<T>& row, int64_t plane, T* mean,
                                         T* inv_std) {
  if (mean != nullptr) mean[plane] = static_cast<T>(row.mean);
  if (inv_std != nullptr) inv_std[plane] = static_cast<T>(1 / row.sigma);
}

template <class T>
void instance_norm_forward(const InstanceNormForward& a, const Executor& executor) {
  const auto* x = static_cast<const T*>(a.x);
  auto* y = static_cast<T*>(a.y);
  const int64_t planes = a.shape.n * a.shape.c, cols = a.shape.spatial;
  const bool split = split_rows(planes, cols, executor);
  const Executor& within = split ? executor : kSerial;
  for_each_row(planes, split ? kSerial : executor, [&](int64_t i) {
    const RowStatistics<T> row = row_statistics(x + i * cols, cols, a.epsilon, within);
    store_statistics(row, i, static_cast<T*>(a.mean), static_cast<T*>(a.inv_std));
    if (y == nullptr) return;
    with_optional_value(static_cast<const T*>(a.scale), i % a.shape.c, [&](auto scale) {
      with_optional_value(static_cast<const T*>(a.bias), i % a.shape.c, [&](auto bias) {
        for_each_span(cols, within, [&](int64_t begin, int64_t end) {
          normalise(x + i * cols, begin, end, row.standard, scale, bias, y + i * cols);
        });
      });
    });
  });
}

size_t instance_norm_forward_workspace(const Images&) { return 0; }

// ---- Backward -----------------------------------------------------------------------

size_t instance_norm_backward_workspace(const Images& shape) {
  return static_cast<size_t>(image_blocks(shape.n) * 2 * shape.c) * sizeof(double);
}

// dx of a plane, and y as well when the forward is done at the same time: both in one sweep, since
// y may be x.
template <class T, class Scale, class Bias>
NORMKERNELS_INLINE void write_plane(const T* dy, const T* x, int64_t begin, int64_t end,
                                    const Standard<T>& forward, const RowGradient<T>& row,
                                    const Scale& scale, const Bias& bias, T* y, T* dx) {
  for_each_vector<T>(
      end - begin, [&](int64_t k, auto lanes) __attribute__((always_inline)) {
        const int64_t i = begin + k;
        const Vec<T> v = load(x + i, lanes), d = load(dy + i, lanes);
        store(y + i, affine(standardise(v, forward), scale, bias, i, lanes), lanes);
        store(dx + i, gradient(d, standardise(v, row.standard), row), lanes);
      });
}

template <class T>
NORMKERNELS_INLINE void write_plane(const T* dy, const T* x, int64_t begin, int64_t end,
                                    const RowGradient<T>& row, T* dx) {
  for_each_vector<T>(
      end - begin, [&](int64_t k, auto lanes) __attribute__((always_inline)) {
        const int64_t i = begin + k;
        store(dx + i,
              gradient(load(dy + i, lanes), standardise(load(x + i, lanes), row.standard), row),
              lanes);
      });
}

template <class T>
RowGradient<T> plane_backward(const InstanceNormBackward& a, int64_t plane,
                              const Executor& executor) {
  const int64_t cols = a.shape.spatial, channel = plane % a.shape.c;
  const T* x = static_cast<const T*>(a.x) + plane * cols;
  const T* dy = static_cast<const T*>(a.dy) + plane * cols;
  T* dx = static_cast<T*>(a.dx) + plane * cols;
  const auto* scale = static_cast<const T*>(a.scale);
  const auto* bias = static_cast<const T*>(a.bias);

  Standard<T> standard;
  double inv_std;
  if (a.mean != nullptr) {
    inv_std = static_cast<double>(static_cast<const T*>(a.inv_std)[plane]);
    standard = standard_of_saved(static_cast<const T*>(a.mean)[plane], 1 / inv_std);
  } else {
    const RowStatistics<T> statistics = row_statistics(x, cols, a.epsilon, executor);
    store_statistics(statistics, plane, static_cast<T*>(a.mean_out),
                     static_cast<T*>(a.inv_std_out));
    inv_std = 1 / statistics.sigma;
    standard = statistics.standard;
  }
  const double factor = is_finite(inv_std)
                            ? inv_std * (scale == nullptr ? 1 : static_cast<double>(scale[channel]))
                            : 0;
  const Sums<3> sums = gradient_sums(dy, x, cols, standard, Absent{}, executor);
  const RowGradient<T> row = row_gradient_of(standard, sums, cols, factor);

  if (a.y == nullptr) {
    for_each_span(cols, executor,
                  [&](int64_t begin, int64_t end) { write_plane(dy, x, begin, end, row, dx); });
    return row;
  }
  T* y = static_cast<T*>(a.y) + plane * cols;
  with_optional_value(scale, channel, [&](auto plane_scale) {
    with_optional_value(bias, channel, [&](auto plane_bias) {
      for_each_span(cols, executor, [&](int64_t begin, int64_t end) {
        write_plane(dy, x, begin, end, standard, row, plane_scale, plane_bias, y, dx);
      });
    });
  });
  return row;
}

template <class T>
void instance_norm_backward(const InstanceNormBackward& a, const Executor& executor) {
  const int64_t n = a.shape.n, c = a.shape.c;
  const int64_t blocks = image_blocks(n), images_each = images_per_block(n);
  double* sums = static_cast<double*>(a.workspace);  // [blocks, 2, c]
  const bool split = split_rows(blocks * c, a.shape.spatial, executor);
  const Executor& within = split ? executor : kSerial;
  // A task is one block of images and some channels: image by image, so that memory is read in
  // order.
  const int64_t groups =
      split || executor.threads <= 1 || c == 0 ? 1 : (8 * executor.threads + blocks) / (blocks + 1);
  const int64_t channels_each = c == 0 ? 1 : (c + groups - 1) / groups;
  const int64_t groups_used = (c + channels_each - 1) / channels_each;
  for_each_task(split ? kSerial : executor, blocks * groups_used, [&](int64_t task) {
    const int64_t block = task / groups_used, first = task % groups_used * channels_each;
    const int64_t last = first + channels_each < c ? first + channels_each : c;
    const int64_t stop = (block + 1) * images_each < n ? (block + 1) * images_each : n;
    double* scale_sums = sums + 2 * block * c;
    double* bias_sums = scale_sums + c;
    for (int64_t k = first; k < last; ++k) scale_sums[k] = bias_sums[k] = 0;
    for (int64_t image = block * images_each; image < stop; ++image) {
      for (int64_t k = first; k < last; ++k) {
        const RowGradient<T> row = plane_backward<T>(a, image * c + k, within);
        scale_sums[k] += row.sum_gx;
        bias_sums[k] += row.sum_g;
      }
    }
  });
  add_blocks(sums, blocks, 2 * c, c, static_cast<T*>(a.dscale));
  add_blocks(sums + c, blocks, 2 * c, c, static_cast<T*>(a.dbias));
}

}  // namespace

const InstanceNormKernels instance_norm_nchw_f32 = {
    instance_norm_forward<float>, instance_norm_backward<float>, instance_norm_forward_workspace,
    instance_norm_backward_workspace};
const InstanceNormKernels instance_norm_nchw_f64 = {
    instance_norm_forward<double>, instance_norm_backward<double>, instance_norm_forward_workspace,
    instance_norm_backward_workspace};

}  // namespace normkernels::NORMKERNELS_ISA
