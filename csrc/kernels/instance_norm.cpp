// Instance norm in NCHW: a plane [spatial] of one image and channel is a row, and scale and bias
// are one value per row.
//
// Traffic as in layer norm: the forward reads x once and writes y once, the backward reads dy and x
// once and writes dx once while a plane fits the cache; a longer plane is read once more.
#include "../kernels.h"
#include "../row_forward.h"
#include "../row_gradient.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

template <class T, class Void>
NORMKERNELS_INLINE T* optional_at(Void* p, int64_t i) {
  return p == nullptr ? nullptr : static_cast<T*>(p) + i;
}

// f(scale or bias of planes), which may be null.
template <class T, class F>
NORMKERNELS_INLINE void with_optional_channels(const void* p, int64_t c, F&& f) {
  if (p != nullptr) {
    f(PerPlane<T>{static_cast<const T*>(p), c});
  } else {
    f(Absent{});
  }
}

template <class T>
void instance_norm_forward(const InstanceNormForward& a, const Executor& executor) {
  const int64_t c = a.shape.c;
  const RowNorm<T> norm = {static_cast<const T*>(a.x),
                           a.shape.n,
                           a.shape.n * c,
                           a.shape.spatial,
                           a.epsilon,
                           static_cast<T*>(a.y),
                           static_cast<T*>(a.mean),
                           nullptr,
                           static_cast<T*>(a.inv_std),
                           a.stream};
  with_optional_channels<T>(a.scale, c, [&](auto scale) {
    with_optional_channels<T>(a.bias, c,
                              [&](auto bias) { normalise_rows(norm, scale, bias, executor); });
  });
}

size_t instance_norm_forward_workspace(const Images&) { return 0; }

// ---- Backward -----------------------------------------------------------------------

// Planes of so many elements stay in L2, with dy and the next ones' x and dy, between the sweep
// that sums and the one that writes, which asks for the next.
template <class T>
constexpr int64_t kKept = 256 * 1024 / sizeof(T);

size_t instance_norm_backward_workspace(const Images& shape) {
  return static_cast<size_t>(image_blocks(shape.n) * 2 * shape.c) * sizeof(double);
}

// dx of a plane, and y as well when the forward is done at the same time: both in one sweep, since
// y may be x.
template <class Store, class T, class Scale, class Bias>
NORMKERNELS_INLINE void write_y_and_dx(Store how, int64_t next, const T* dy, const T* x,
                                       int64_t begin, int64_t end, const Standard<T>& forward,
                                       const RowGradient<T>& row, const Scale& scale,
                                       const Bias& bias, T* y, T* dx) {
  const Standardise<T> xhat(forward), gradient_xhat(row.standard);
  const Gradient<T> gradient(row);
  for_each_aligned_vector(
      how, dx + begin, end - begin, [=](int64_t k, auto lanes) __attribute__((always_inline)) {
        const int64_t i = begin + k;
        prefetch_to_l2(x + i + next);
        prefetch_to_l2(dy + i + next);
        const Vec<T> v = load(x + i, lanes), d = load(dy + i, lanes);
        store(y + i, affine(xhat(v), scale, bias, i, lanes), lanes);
        store(how, dx + i, gradient(d, gradient_xhat(v)), lanes);
      });
}

template <class Store, class T>
NORMKERNELS_INLINE void write_dx(Store how, int64_t next, const T* dy, const T* x, int64_t begin,
                                 int64_t end, const RowGradient<T>& row, T* dx) {
  const Standardise<T> xhat(row.standard);
  const Gradient<T> gradient(row);
  for_each_aligned_vector(
      how, dx + begin, end - begin, [=](int64_t k, auto lanes) __attribute__((always_inline)) {
        const int64_t i = begin + k;
        prefetch_to_l2(x + i + next);
        prefetch_to_l2(dy + i + next);
        store(how, dx + i, gradient(load(dy + i, lanes), xhat(load(x + i, lanes))), lanes);
      });
}

// The factors of planes of one image, no more than rows_together(spatial), from the caller's
// statistics or their own; inv_std[planes] as exact as it is known.
template <class T>
void plane_statistics(const InstanceNormBackward& a, int64_t first, int64_t planes,
                      const Executor& executor, const Factors<T>& factors, double* inv_std) {
  if (a.mean == nullptr) {
    const int64_t cols = a.shape.spatial;
    row_statistics(
        static_cast<const T*>(a.x) + first * cols, planes, cols, a.epsilon, executor,
        [](int64_t) { return Alone{}; }, factors, optional_at<T>(a.mean_out, first),
        static_cast<T*>(nullptr), optional_at<T>(a.inv_std_out, first), inv_std);
    return;
  }
  const T* mean = static_cast<const T*>(a.mean) + first;
  const T* saved = static_cast<const T*>(a.inv_std) + first;
  for_each_vector<double, 1>(
      planes, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        const Vec<double> inverse = load_widened(saved + j, lanes);
        set_saved(factors, j, mean + j, inverse, lanes);
        store(inv_std + j, inverse, lanes);
      });
}

template <class Store, class T>
NORMKERNELS_INLINE void write_plane(Store how, int64_t next, const InstanceNormBackward& a,
                                    int64_t plane, const Standard<T>& standard,
                                    const RowGradient<T>& row, const Executor& executor) {
  const int64_t cols = a.shape.spatial, channel = plane % a.shape.c;
  const T* x = static_cast<const T*>(a.x) + plane * cols;
  const T* dy = static_cast<const T*>(a.dy) + plane * cols;
  T* dx = static_cast<T*>(a.dx) + plane * cols;
  if (a.y == nullptr) {
    for_each_span(cols, executor, [&](int64_t begin, int64_t end) {
      write_dx(how, next, dy, x, begin, end, row, dx);
    });
    return;
  }
  T* y = static_cast<T*>(a.y) + plane * cols;
  with_optional_value(static_cast<const T*>(a.scale), channel, [&](auto scale) {
    with_optional_value(static_cast<const T*>(a.bias), channel, [&](auto bias) {
      for_each_span(cols, executor, [&](int64_t begin, int64_t end) {
        write_y_and_dx(how, next, dy, x, begin, end, standard, row, scale, bias, y, dx);
      });
    });
  });
}

// Planes of one element, a plane per lane: their sums, and their dx (and y).
template <class T>
void single_plane_sums(const T* dy, const T* x, int64_t planes, const Factors<T>& factors,
                       Columns sums) {
  alignas(64) T terms[3][kRowsTogether];
  for_each_vector<T, 1>(
      planes, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        const Standardise<T> standardise(factors, Factors<T>::kShift, j, lanes);
        const Vec<T> zero = Vec<T>::zero(), g = load(dy + j, lanes);
        const Vec<T> xhat = standardise(load(x + j, lanes));
        store(terms[0] + j, multiply_add(g, xhat, zero), lanes);
        store(terms[1] + j, zero + g, lanes);
        store(terms[2] + j, zero + xhat, lanes);
      });
  for_each_vector<double, 1>(
      planes, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        for (int k = 0; k < 3; ++k) store(sums[k] + j, load_widened(terms[k] + j, lanes), lanes);
      });
}

template <class T>
void write_single_planes(const InstanceNormBackward& a, int64_t first, int64_t planes,
                         const Factors<T>& factors) {
  const T* x = static_cast<const T*>(a.x) + first;
  const T* dy = static_cast<const T*>(a.dy) + first;
  T* dx = static_cast<T*>(a.dx) + first;
  T* y = optional_at<T>(a.y, first);
  const int64_t channel = first % a.shape.c;
  with_optional(optional_at<const T>(a.scale, channel), [&](auto scale) {
    with_optional(optional_at<const T>(a.bias, channel), [&](auto bias) {
      for_each_vector<T, 1>(
          planes, [=](int64_t j, auto lanes) __attribute__((always_inline)) {
            using F = Factors<T>;
            const Standardise<T> xhat(factors, F::kShift, j, lanes);
            const Standardise<T> gradient_xhat(factors, F::kGradientShift, j, lanes);
            const Gradient<T> gradient(factors, j, lanes);
            const Vec<T> v = load(x + j, lanes), d = load(dy + j, lanes);
            if (y != nullptr) store(y + j, affine(xhat(v), scale, bias, j, lanes), lanes);
            store(dx + j, gradient(d, gradient_xhat(v)), lanes);
          });
    });
  });
}

// Planes of one image, no more than rows_together(spatial); their sums are added to those of their
// channels.
template <class T, class Store>
void planes_backward(Store how, const InstanceNormBackward& a, int64_t first, int64_t planes,
                     double* scale_sums, double* bias_sums, const Executor& executor) {
  const int64_t cols = a.shape.spatial, channel = first % a.shape.c;
  const T* x = static_cast<const T*>(a.x) + first * cols;
  const T* dy = static_cast<const T*>(a.dy) + first * cols;
  const auto* scale = static_cast<const T*>(a.scale);
  RowFactors<T> storage;
  const Factors<T> factors = storage.table();
  double inv_std[kRowsTogether], sums_storage[3 * kRowsTogether];
  const Columns sums = {sums_storage, kRowsTogether};
  plane_statistics(a, first, planes, executor, factors, inv_std);
  if (cols == 1) {
    single_plane_sums(dy, x, planes, factors, sums);
  } else {
    const bool reads = a.stream || cols > kKept<T>;
    gradient_sums(dy, x, planes, cols, factors, Absent{},
                  Ahead<T>{reads ? x : static_cast<const T*>(a.dx) + first * cols}, executor, sums);
  }
  set_all_gradients(
      sums, cols, planes, factors,
      [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        const Vec<double> gamma =
            scale == nullptr ? Vec<double>::all(1) : load_widened(scale + channel + j, lanes);
        return gradient_factor(load(inv_std + j, lanes), gamma);
      },
      scale_sums, bias_sums);
  if (cols == 1) return write_single_planes(a, first, planes, factors);
  for (int64_t i = 0; i < planes; ++i) {
    write_plane(how, cols <= kKept<T> ? planes * cols : kLead<T>, a, first + i, factors.standard(i),
                factors.gradient(i), executor);
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
    with_store(a.stream && worth_streaming<T>(a.shape.spatial), [&](auto how) {
      for (int64_t image = block * images_each; image < stop; ++image) {
        for (int64_t k = from; k < to; k += together) {
          planes_backward<T>(how, a, image * c + k, to - k < together ? to - k : together,
                             scale_sums + k, bias_sums + k, within);
        }
      }
    });
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
