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

template <class T>
NORMKERNELS_INLINE void store_statistics(const RowStatistics<T>& row, int64_t plane, T* mean,
                                         T* inv_std) {
  if (mean != nullptr) mean[plane] = static_cast<T>(row.mean);
  if (inv_std != nullptr) inv_std[plane] = static_cast<T>(row.inv_sigma);
}

template <class T>
void instance_norm_forward(const InstanceNormForward& a, const Executor& executor) {
  const auto* x = static_cast<const T*>(a.x);
  auto* y = static_cast<T*>(a.y);
  const int64_t planes = a.shape.n * a.shape.c, cols = a.shape.spatial;
  const bool split = split_rows(planes, cols, executor);
  const Executor& within = split ? executor : kSerial;
  const Executor& across = split ? kSerial : executor;
  for_each_row_group(planes, rows_together(cols), across, [&](int64_t first, int64_t rows) {
    RowStatistics<T> row[kRowsTogether];
    row_statistics(x + first * cols, rows, cols, a.epsilon, within, row);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t plane = first + i, at = plane * cols;
      store_statistics(row[i], plane, static_cast<T*>(a.mean), static_cast<T*>(a.inv_std));
      if (y == nullptr) continue;
      const int64_t channel = plane % a.shape.c;
      with_optional_value(static_cast<const T*>(a.scale), channel, [&](auto scale) {
        with_optional_value(static_cast<const T*>(a.bias), channel, [&](auto bias) {
          for_each_span(cols, within, [&](int64_t begin, int64_t end) {
            normalise(x + at, begin, end, row[i].standard, scale, bias, read_ahead(rows, cols),
                      y + at);
          });
        });
      });
    }
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
NORMKERNELS_INLINE void write_y_and_dx(const T* dy, const T* x, int64_t begin, int64_t end,
                                       const Standard<T>& forward, const RowGradient<T>& row,
                                       const Scale& scale, const Bias& bias, T* y, T* dx) {
  const Standardise<T> xhat(forward), gradient_xhat(row.standard);
  const Gradient<T> gradient(row);
  for_each_aligned_vector(
      dx + begin, end - begin, [=](int64_t k, auto lanes) __attribute__((always_inline)) {
        const int64_t i = begin + k;
        const Vec<T> v = load(x + i, lanes), d = load(dy + i, lanes);
        store(y + i, affine(xhat(v), scale, bias, i, lanes), lanes);
        store(dx + i, gradient(d, gradient_xhat(v)), lanes);
      });
}

template <class T>
NORMKERNELS_INLINE void write_dx(const T* dy, const T* x, int64_t begin, int64_t end,
                                 const RowGradient<T>& row, T* dx) {
  const Standardise<T> xhat(row.standard);
  const Gradient<T> gradient(row);
  for_each_aligned_vector(
      dx + begin, end - begin, [=](int64_t k, auto lanes) __attribute__((always_inline)) {
        const int64_t i = begin + k;
        store(dx + i, gradient(load(dy + i, lanes), xhat(load(x + i, lanes))), lanes);
      });
}

// What a plane's statistics are: the caller's, or its own. `factor` = scale / sigma.
template <class T>
void plane_statistics(const InstanceNormBackward& a, int64_t first, int64_t planes,
                      const Executor& executor, Standard<T>* standard, double* factor) {
  RowStatistics<T> row[kRowsTogether];
  if (a.mean == nullptr) {
    const int64_t cols = a.shape.spatial;
    row_statistics(static_cast<const T*>(a.x) + first * cols, planes, cols, a.epsilon, executor,
                   row);
  }
  for (int64_t i = 0; i < planes; ++i) {
    const int64_t plane = first + i;
    double inv_std;
    if (a.mean == nullptr) {
      store_statistics(row[i], plane, static_cast<T*>(a.mean_out), static_cast<T*>(a.inv_std_out));
      inv_std = row[i].inv_sigma;
      standard[i] = row[i].standard;
    } else {
      inv_std = static_cast<double>(static_cast<const T*>(a.inv_std)[plane]);
      standard[i] = standard_of_saved(static_cast<const T*>(a.mean)[plane], inv_std);
    }
    const auto* scale = static_cast<const T*>(a.scale);
    const double gamma = scale == nullptr ? 1 : static_cast<double>(scale[plane % a.shape.c]);
    factor[i] = is_finite(inv_std) ? inv_std * gamma : 0;
  }
}

template <class T>
NORMKERNELS_INLINE void write_plane(const InstanceNormBackward& a, int64_t plane,
                                    const Standard<T>& standard, const RowGradient<T>& row,
                                    const Executor& executor) {
  const int64_t cols = a.shape.spatial, channel = plane % a.shape.c;
  const T* x = static_cast<const T*>(a.x) + plane * cols;
  const T* dy = static_cast<const T*>(a.dy) + plane * cols;
  T* dx = static_cast<T*>(a.dx) + plane * cols;
  if (a.y == nullptr) {
    for_each_span(cols, executor,
                  [&](int64_t begin, int64_t end) { write_dx(dy, x, begin, end, row, dx); });
    return;
  }
  T* y = static_cast<T*>(a.y) + plane * cols;
  with_optional_value(static_cast<const T*>(a.scale), channel, [&](auto scale) {
    with_optional_value(static_cast<const T*>(a.bias), channel, [&](auto bias) {
      for_each_span(cols, executor, [&](int64_t begin, int64_t end) {
        write_y_and_dx(dy, x, begin, end, standard, row, scale, bias, y, dx);
      });
    });
  });
}

// Planes of one image, no more than rows_together(spatial); their sums are added to those of their
// channels.
template <class T>
void planes_backward(const InstanceNormBackward& a, int64_t first, int64_t planes,
                     double* scale_sums, double* bias_sums, const Executor& executor) {
  const int64_t cols = a.shape.spatial;
  Standard<T> standard[kRowsTogether];
  RowGradient<T> row[kRowsTogether];
  double factor[kRowsTogether];
  plane_statistics(a, first, planes, executor, standard, factor);
  for (int64_t i = 0; i < planes; ++i) {
    const int64_t at = (first + i) * cols;
    const Sums<3> sums =
        gradient_sums(static_cast<const T*>(a.dy) + at, static_cast<const T*>(a.x) + at, cols,
                      standard[i], Absent{}, executor);
    row[i] = row_gradient_of(standard[i], sums, cols, factor[i]);
  }
  for (int64_t i = 0; i < planes; ++i) {
    write_plane(a, first + i, standard[i], row[i], executor);
    scale_sums[i] += row[i].sum_gx;
    bias_sums[i] += row[i].sum_g;
  }
}

template <class T>
void instance_norm_backward(const InstanceNormBackward& a, const Executor& executor) {
  const int64_t n = a.shape.n, c = a.shape.c;
  const int64_t blocks = image_blocks(n), images_each = images_per_block(n);
  double* sums = static_cast<double*>(a.workspace);  // [blocks, 2, c]
  const bool split = split_rows(blocks * c, a.shape.spatial, executor);
  const Executor& within = split ? executor : kSerial;
  // A task is one block of images and some channels: image by image, so that memory is read in
  // order. With as many blocks as threads there is no need to share the channels.
  const int64_t shares = split || blocks >= 2 * executor.threads ? 1 : 4 * executor.threads;
  const int64_t channels_each = c == 0 ? 1 : (c + shares - 1) / shares;
  const int64_t groups = (c + channels_each - 1) / channels_each;
  const int64_t together = rows_together(a.shape.spatial);
  for_each_task(split ? kSerial : executor, blocks * groups, [&](int64_t task) {
    const int64_t block = task / groups, from = task % groups * channels_each;
    const int64_t to = from + channels_each < c ? from + channels_each : c;
    const int64_t stop = (block + 1) * images_each < n ? (block + 1) * images_each : n;
    double* scale_sums = sums + 2 * block * c;
    double* bias_sums = scale_sums + c;
    for (int64_t k = from; k < to; ++k) scale_sums[k] = bias_sums[k] = 0;
    for (int64_t image = block * images_each; image < stop; ++image) {
      for (int64_t k = from; k < to; k += together) {
        planes_backward<T>(a, image * c + k, to - k < together ? to - k : together, scale_sums + k,
                           bias_sums + k, within);
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
