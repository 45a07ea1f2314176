// Instance norm in NCHW: a plane [spatial] of one image and channel is a row, and scale and bias
// are one value per row.
//
// Traffic as in layer norm: the forward reads x once and writes y once, the backward reads dy and x
// once and writes dx once while a plane fits the cache; a longer plane is read once more.
#include "isa_table.h"
#include "norm/blocks.h"
#include "norm/row_forward.h"
#include "norm/row_gradient.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

template <class T>
void instance_norm_forward(const InstanceNormForward& a, const Executor& executor) {
  RowNorm<T> norm = {};
  norm.x = {static_cast<const T*>(a.x), a.shape.spatial};
  norm.y = {static_cast<T*>(a.y), a.shape.spatial};
  norm.rows = a.shape.n * a.shape.c;
  norm.cols = a.shape.spatial;
  norm.channels = a.shape.c;
  norm.gamma = static_cast<const T*>(a.scale);
  norm.beta = static_cast<const T*>(a.bias);
  norm.epsilon = a.epsilon;
  norm.mean = static_cast<T*>(a.mean);
  norm.rstd = static_cast<T*>(a.inv_std);
  norm.stream = a.stream;
  normalise_rows(norm, executor);
}

size_t instance_norm_forward_workspace(const Images&) { return 0; }

// ---- Backward -----------------------------------------------------------------------

// Planes of so many elements stay in L2, with dy and the next ones' x and dy, between the sweep
// that sums and the one that writes, which asks for the next.
template <class T>
constexpr int64_t kKept = 256 * 1024 / sizeof(T);

size_t instance_norm_backward_workspace(const Images& shape) {
  return static_cast<size_t>(blocks_of(shape.n).count * 2 * shape.c) * sizeof(double);
}

// dx of a plane, and y as well when the forward is done at the same time (kForward): in one sweep,
// since y may be x. `next` is what will be read next, so many elements on.
template <class T, bool kForward>
struct Backward {
  const T *dy, *x;
  Standardise<T> xhat, gradient_xhat;
  Gradient<T> gradient;
  Vec<T> scale, bias;
  int64_t next;
  T *y, *dx;

  struct Values {
    Vec<T> y, dx;
  };
  template <class Lanes>
  NORMKERNELS_INLINE Values values(int64_t i, int k, Lanes lanes) const {
    const Vec<T> v = load(x + i + k, lanes), d = load(dy + i + k, lanes);
    return {kForward ? fma(xhat(v), scale, bias) : v, gradient(d, gradient_xhat(v))};
  }
  template <class Store, class Lanes>
  NORMKERNELS_INLINE void put(Store how, int64_t i, const Values& v, Lanes lanes) const {
    if constexpr (kForward) store(y + i, v.y, lanes);
    store(how, dx + i, v.dx, lanes);
  }
  template <class Store>
  NORMKERNELS_INLINE void ahead(Store, int64_t i) const {
    prefetch_to_l2(x + i + next);
    prefetch_to_l2(dy + i + next);
  }
};

// The factors of planes of one image, no more than rows_together(spatial), from the caller's
// statistics or their own; rstd[planes] as exact as it is known.
template <class T>
void plane_statistics(const InstanceNormBackward& a, int64_t first, int64_t planes,
                      const Executor& executor, const Factors<T>& factors, double* rstd) {
  if (a.mean == nullptr) {
    const int64_t cols = a.shape.spatial;
    const Rows<const T> x = {static_cast<const T*>(a.x) + first * cols, cols};
    row_statistics(
        x, planes, cols, a.epsilon, executor, [=](int64_t i) { return Ahead<T>{x[i]}; }, factors,
        optional_at<T>(a.mean_out, first), static_cast<T*>(nullptr),
        optional_at<T>(a.inv_std_out, first), rstd);
    return;
  }
  const T* mean = static_cast<const T*>(a.mean) + first;
  const T* saved = static_cast<const T*>(a.inv_std) + first;
  for_each_vector<double, 1>(
      planes, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        const Vec<double> inverse = load_widened(saved + j, lanes);
        set_saved(factors, j, mean + j, inverse, lanes);
        store(rstd + j, inverse);
      });
}

// dx, and y if it is wanted, of plane `plane`, which is of channel `channel`.
template <class T>
NORMKERNELS_INLINE void write_plane(bool stream, int64_t next, const InstanceNormBackward& a,
                                    int64_t plane, int64_t channel, const Standard<T>& standard,
                                    const RowGradient<T>& row, const Executor& executor) {
  const int64_t cols = a.shape.spatial, at = plane * cols;
  const T *x = static_cast<const T*>(a.x) + at, *dy = static_cast<const T*>(a.dy) + at;
  T *dx = static_cast<T*>(a.dx) + at, *y = optional_at<T>(a.y, at);
  const Vec<T> scale = Vec<T>::all(value_or(a.scale, channel, T{1}));
  const Vec<T> bias = Vec<T>::all(value_or(a.bias, channel, T{-0.0}));
  const Standardise<T> xhat(standard), gradient_xhat(row.standard);
  const Gradient<T> gradient(row);
  for_each_span(
      cols, executor, [&](int64_t i, int64_t end) __attribute__((always_inline)) {
        if (y == nullptr) {
          const Backward<T, false> formula = {dy + i, x + i, xhat, gradient_xhat, gradient,
                                              scale,  bias,  next, nullptr,       dx + i};
          RowWriter<T, Backward<T, false>>(formula, dx + i, end - i).write(stream);
        } else {
          const Backward<T, true> formula = {dy + i, x + i, xhat, gradient_xhat, gradient,
                                             scale,  bias,  next, y + i,         dx + i};
          RowWriter<T, Backward<T, true>>(formula, dx + i, end - i).write(stream);
        }
      });
}

// Planes of one element, a plane per lane: their sums, and their dx (and y).
template <class T>
void single_plane_sums(const T* dy, const T* x, int64_t planes, const Factors<T>& factors,
                       SumTable sums) {
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
  const Parameter<T> scale = gamma_of<T>(optional_at<const T>(a.scale, channel));
  const Parameter<T> bias = beta_of<T>(optional_at<const T>(a.bias, channel));
  for_each_vector<T, 1>(
      planes, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        using F = Factors<T>;
        const Standardise<T> xhat(factors, F::kShift, j, lanes);
        const Standardise<T> gradient_xhat(factors, F::kGradientShift, j, lanes);
        const Gradient<T> gradient(factors, j, lanes);
        const Vec<T> v = load(x + j, lanes), d = load(dy + j, lanes);
        if (y != nullptr)
          store(y + j, fma(xhat(v), load(scale.at(j), lanes), load(bias.at(j), lanes)), lanes);
        store(dx + j, gradient(d, gradient_xhat(v)), lanes);
      });
}

// Planes of one image, no more than rows_together(spatial); their sums are added to those of their
// channels.
template <class T>
void planes_backward(bool stream, const InstanceNormBackward& a, int64_t first, int64_t planes,
                     double* scale_sums, double* bias_sums, const Executor& executor) {
  const int64_t cols = a.shape.spatial, channel = first % a.shape.c;
  const T* x = static_cast<const T*>(a.x) + first * cols;
  const T* dy = static_cast<const T*>(a.dy) + first * cols;
  const auto* scale = static_cast<const T*>(a.scale);
  RowFactors<T> storage;
  const Factors<T> factors = storage.table();
  double rstd[kRowsTogether], sums_storage[3 * kRowsTogether];
  const SumTable sums = {sums_storage, kRowsTogether};
  plane_statistics(a, first, planes, executor, factors, rstd);
  if (cols == 1) {
    single_plane_sums(dy, x, planes, factors, sums);
  } else {
    const Parameter<T> gamma = gamma_of<T>(nullptr);  // in the factors
    gradient_sums<T>({{dy, cols}, {x, cols}, gamma}, planes, cols, factors, executor, sums);
  }
  set_all_gradients(
      sums, cols, planes, factors,
      [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        const Vec<double> gamma =
            scale == nullptr ? Vec<double>::all(1) : load_widened(scale + channel + j, lanes);
        return gradient_factor(load(rstd + j, lanes), gamma);
      },
      scale_sums, bias_sums);
  if (cols == 1) return write_single_planes(a, first, planes, factors);
  for (int64_t i = 0; i < planes; ++i) {
    write_plane(stream, cols <= kKept<T> ? planes * cols : kLead<T>, a, first + i, channel + i,
                factors.standard(i), factors.gradient(i), executor);
  }
}

template <class T>
void instance_norm_backward(const InstanceNormBackward& a, const Executor& executor) {
  const int64_t n = a.shape.n, c = a.shape.c;
  const Blocks images = blocks_of(n);
  const int64_t blocks = images.count;
  double* sums = static_cast<double*>(a.workspace);  // [blocks, 2, c]
  const bool split = split_rows(blocks * c, a.shape.spatial, executor);
  const Executor& within = split ? executor : kSerial;
  // A task is one block of images and some channels: image by image, so that memory is read in
  // order. With as many blocks as threads there is no need to share the channels.
  const int64_t shares = split || blocks >= 2 * executor.threads ? 1 : 4 * executor.threads;
  const int64_t channels_each = parts_of(c, shares), groups = parts_of(c, channels_each);
  const int64_t together = rows_together(a.shape.spatial);
  const bool stream = a.stream && a.shape.spatial >= kLeastStreamed<T>;
  for_each_task(split ? kSerial : executor, blocks * groups, [&](int64_t task) {
    const int64_t block = task / groups, from = task % groups * channels_each;
    const int64_t to = part_end(from, channels_each, c);
    const int64_t stop = part_end(block * images.each, images.each, n);
    double* scale_sums = sums + 2 * block * c;
    double* bias_sums = scale_sums + c;
    for (int64_t k = from; k < to; ++k) scale_sums[k] = bias_sums[k] = 0;
    for (int64_t image = block * images.each; image < stop; ++image) {
      for (int64_t k = from; k < to; k += together) {
        planes_backward<T>(stream, a, image * c + k, smaller(together, to - k), scale_sums + k,
                           bias_sums + k, within);
      }
    }
    if (stream) stream_fence();
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
