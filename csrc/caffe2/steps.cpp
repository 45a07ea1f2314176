// The steps that Caffe2's layer norm and instance norm are made of, as they define them: y = x
// scale + bias, raw sums of dy x. What is computed per row or per channel is computed in float64
// and rounded once.
#include "isa_table.h"
#include "norm/parameter.h"
#include "norm/rows.h"
#include "sums/columns.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// Element i of a typed array, as float64.
template <class T>
struct Values {
  const T* p;

  explicit Values(const void* array) : p(static_cast<const T*>(array)) {}
  NORMKERNELS_INLINE double operator[](int64_t i) const { return static_cast<double>(p[i]); }
};

template <class T>
NORMKERNELS_INLINE void set(void* array, int64_t i, double value) {
  if (array != nullptr) static_cast<T*>(array)[i] = static_cast<T>(value);
}

// ---- Per row ------------------------------------------------------------------------

template <class T>
void sigma_and_fused_params(const SigmaAndFusedParams& a, const Executor&) {
  const Values<T> mean(a.mean), var(a.var);
  for (int64_t i = 0; i < a.rows; ++i) {
    const double sigma = sqrt(var[i] + a.epsilon);
    set<T>(a.scale, i, 1 / sigma);
    set<T>(a.bias, i, -mean[i] / sigma);
    set<T>(a.sigma, i, sigma);  // last: it may be var
  }
}

template <class T>
void layer_norm_fused_params(const LayerNormFusedParams& a, const Executor&) {
  const Values<T> mean(a.mean), sigma(a.sigma), ds(a.ds), db(a.db);
  const double cols = static_cast<double>(a.shape.cols);
  for (int64_t i = 0; i < a.shape.rows; ++i) {
    const double rstd = 1 / sigma[i];
    const double x_scale = (db[i] * mean[i] - ds[i]) * rstd * rstd * rstd / cols;
    set<T>(a.rstd, i, rstd);
    set<T>(a.x_scale, i, x_scale);
    set<T>(a.bias, i, -x_scale * mean[i] - db[i] * rstd / cols);
    set<T>(a.g_scale, i, -rstd * mean[i]);
  }
}

template <class T>
void instance_norm_fused_params(const InstanceNormFusedParams& a, const Executor&) {
  const Values<T> mean(a.mean), rstd(a.rstd), gamma(a.gamma), beta(a.beta);
  for (int64_t i = 0; i < a.n * a.c; ++i) {
    const double scale = rstd[i] * gamma[i % a.c];
    set<T>(a.scale, i, scale);
    set<T>(a.bias, i, beta[i % a.c] - scale * mean[i]);
  }
}

template <class T>
void instance_norm_gamma_beta(const InstanceNormGammaBeta& a, const Executor&) {
  const Values<T> ds(a.ds), db(a.db), mean(a.mean), rstd(a.rstd);
  for (int64_t k = 0; k < a.c; ++k) {
    double dgamma = 0, dbeta = 0;
    for (int64_t i = k; i < a.n * a.c; i += a.c) {
      dgamma += (ds[i] - db[i] * mean[i]) * rstd[i];
      dbeta += db[i];
    }
    set<T>(a.dgamma, k, dgamma);
    set<T>(a.dbeta, k, dbeta);
  }
}

// ---- Per element --------------------------------------------------------------------

template <class T>
void apply_forward(const ApplyForward& a, const Executor& executor) {
  const int64_t cols = a.shape.cols;
  const Parameter<T> gamma = gamma_of<T>(a.gamma), beta = beta_of<T>(a.beta);
  for_each_row(a.shape.rows, executor, [&](int64_t row) {
    const T* x = static_cast<const T*>(a.x) + row * cols;
    T* y = static_cast<T*>(a.y) + row * cols;
    const Vec<T> scale = Vec<T>::all(value_or(a.scale, row, T{1}));
    const Vec<T> bias = Vec<T>::all(value_or(a.bias, row, T{-0.0}));
    for_each_vector<T>(
        cols, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
          const Vec<T> v = fma(load(x + i, lanes), scale, bias);
          store(y + i, fma(v, load(gamma.at(i), lanes), load(beta.at(i), lanes)), lanes);
        });
  });
}

// dx of one vector from the coefficients c1 dy + c2 x + c3.
template <class T>
NORMKERNELS_INLINE Vec<T> combine(Vec<T> dy, Vec<T> x, Vec<T> c1, Vec<T> c2, Vec<T> c3) {
  return multiply_add(dy, c1, multiply_add(x, c2, c3));
}

template <class T>
void apply_backward(const ApplyBackward& a, const Executor& executor) {
  const int64_t cols = a.shape.cols;
  const Parameter<T> gamma = gamma_of<T>(a.gamma);
  for_each_row(a.shape.rows, executor, [&](int64_t row) {
    const T* dy = static_cast<const T*>(a.dy) + row * cols;
    const T* x = static_cast<const T*>(a.x) + row * cols;
    T* dx = static_cast<T*>(a.dx) + row * cols;
    const Vec<T> c1 = Vec<T>::all(static_cast<const T*>(a.dy_scale)[row]);
    const Vec<T> c2 = Vec<T>::all(static_cast<const T*>(a.x_scale)[row]);
    const Vec<T> c3 = Vec<T>::all(static_cast<const T*>(a.bias)[row]);
    for_each_vector<T>(
        cols, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
          const Vec<T> g = load(dy + i, lanes) * load(gamma.at(i), lanes);
          store(dx + i, combine(g, load(x + i, lanes), c1, c2, c3), lanes);
        });
  });
}

struct Coefficients {
  double c1, c2, c3;
};

template <class T>
NORMKERNELS_INLINE Coefficients coefficients(const InstanceNormApplyBackward& a, int64_t plane) {
  const Values<T> mean(a.mean), rstd(a.rstd), gamma(a.gamma), ds(a.ds), db(a.db);
  const double r = rstd[plane], g = gamma[plane % a.shape.c],
               m = static_cast<double>(a.shape.spatial);
  const double c2 = (db[plane] * mean[plane] - ds[plane]) * g * r * r * r / m;
  return {r * g, c2, -c2 * mean[plane] - db[plane] * g * r / m};
}

template <class T>
void instance_norm_apply_backward_nchw(const InstanceNormApplyBackward& a,
                                       const Executor& executor) {
  const int64_t cols = a.shape.spatial;
  for_each_row(a.shape.n * a.shape.c, executor, [&](int64_t plane) {
    const T* dy = static_cast<const T*>(a.dy) + plane * cols;
    const T* x = static_cast<const T*>(a.x) + plane * cols;
    T* dx = static_cast<T*>(a.dx) + plane * cols;
    const Coefficients c = coefficients<T>(a, plane);
    const Vec<T> c1 = Vec<T>::all(static_cast<T>(c.c1)), c2 = Vec<T>::all(static_cast<T>(c.c2)),
                 c3 = Vec<T>::all(static_cast<T>(c.c3));
    for_each_vector<T>(
        cols, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
          store(dx + i, combine(load(dy + i, lanes), load(x + i, lanes), c1, c2, c3), lanes);
        });
  });
}

// A vector of channels at a time, down all the pixels of an image.
template <class T>
void instance_norm_apply_backward_nhwc(const InstanceNormApplyBackward& a,
                                       const Executor& executor) {
  const int64_t c = a.shape.c, image = a.shape.spatial * c;
  for_each_task(executor, a.shape.n, [&](int64_t n) {
    for_each_vector<T, 1>(
        c, [&](int64_t k, auto lanes) __attribute__((always_inline)) {
          Vec<T> c1 = Vec<T>::zero(), c2 = c1, c3 = c1;
          for (int j = 0; j < Vec<T>::kLanes && k + j < c; ++j) {
            const Coefficients of = coefficients<T>(a, n * c + k + j);
            c1.v[j] = static_cast<T>(of.c1);
            c2.v[j] = static_cast<T>(of.c2);
            c3.v[j] = static_cast<T>(of.c3);
          }
          for (int64_t p = 0; p < a.shape.spatial; ++p) {
            const int64_t at = n * image + p * c + k;
            const Vec<T> dy = load(static_cast<const T*>(a.dy) + at, lanes);
            const Vec<T> x = load(static_cast<const T*>(a.x) + at, lanes);
            store(static_cast<T*>(a.dx) + at, combine(dy, x, c1, c2, c3), lanes);
          }
        });
  });
}

template <class T>
void instance_norm_apply_backward(const InstanceNormApplyBackward& a, const Executor& executor) {
  if (a.channels_last) {
    instance_norm_apply_backward_nhwc<T>(a, executor);
  } else {
    instance_norm_apply_backward_nchw<T>(a, executor);
  }
}

// ---- Sums ---------------------------------------------------------------------------

template <class T>
void internal_gradients(const InternalGradients& a, const Executor& executor) {
  const int64_t cols = a.shape.cols;
  const Parameter<T> gamma = gamma_of<T>(a.gamma);
  for_each_row(a.shape.rows, executor, [&](int64_t row) {
    const T* dy = static_cast<const T*>(a.dy) + row * cols;
    const T* x = static_cast<const T*>(a.x) + row * cols;
    double ds = 0, db = 0;
    for (int64_t begin = 0; begin < cols; begin += kChunk) {
      const int64_t n = smaller(kChunk, cols - begin);
      const LaneSums<2> sums = sum_chunk<T, 2>(
          n,
          [&](Vec<T>(&acc)[2], int64_t i, auto lanes) __attribute__((always_inline)) {
            const int64_t at = begin + i;
            const Vec<T> g = load(dy + at, lanes) * load(gamma.at(at), lanes);
            acc[0] = multiply_add(g, load(x + at, lanes), acc[0]);
            acc[1] = acc[1] + g;
          },
          AheadOfTwo<T>{dy + begin, x + begin});
      ds += fold(sums.v[0]);
      db += fold(sums.v[1]);
    }
    set<T>(a.ds, row, ds);
    set<T>(a.db, row, db);
    if (a.dyx == nullptr) return;
    T* dyx = static_cast<T*>(a.dyx) + row * cols;
    for_each_vector<T>(
        cols, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
          store(dyx + i, load(dy + i, lanes) * load(x + i, lanes), lanes);
        });
  });
}

// K sums down `rows` rows of a matrix, f(column, k, sum) for each column.
template <class T, int K, class Term, class F>
NORMKERNELS_INLINE void sum_each_column(int64_t rows, int64_t cols, Term&& term, F&& f) {
  for_each_column_block<T, kColumnVectors>(
      cols, [&](int64_t j, auto vectors, auto lanes) __attribute__((always_inline)) {
        constexpr int U = decltype(vectors)::value, W = Vec<T>::kLanes;
        ColumnSums<T, K, U> sums = {};
        sums.add(
            rows, [&](Vec<T>(&acc)[K], int64_t i, int u)
                      __attribute__((always_inline)) { term(acc, i, j + u * W, lanes); });
        double whole[U * W];
        for (int k = 0; k < K; ++k) {
          memcpy(whole, sums.v[k], sizeof(whole));
          for (int64_t column = 0; column < U * W && j + column < cols; ++column)
            f(j + column, k, whole[column]);
        }
      });
}

template <class T>
void internal_gradients_channels_last(const InternalGradientsChannelsLast& a,
                                      const Executor& executor) {
  const int64_t c = a.shape.c, image = a.shape.spatial * c;
  for_each_task(executor, a.shape.n, [&](int64_t n) {
    const T* dy = static_cast<const T*>(a.dy) + n * image;
    const T* x = static_cast<const T*>(a.x) + n * image;
    sum_each_column<T, 2>(
        a.shape.spatial, c,
        [&](Vec<T>(&acc)[2], int64_t i, int64_t j, auto lanes) __attribute__((always_inline)) {
          const Vec<T> g = load(dy + i * c + j, lanes);
          acc[0] = multiply_add(g, load(x + i * c + j, lanes), acc[0]);
          acc[1] = acc[1] + g;
        },
        [&](int64_t j, int k, double sum) { set<T>(k == 0 ? a.ds : a.db, n * c + j, sum); });
  });
}

template <class T>
void gamma_beta(const GammaBeta& a, const Executor&) {
  const int64_t cols = a.shape.cols;
  const T* dyx = static_cast<const T*>(a.dyx);
  const T* dy = static_cast<const T*>(a.dy);
  const T* rstd = static_cast<const T*>(a.rstd);
  const T* g_scale = static_cast<const T*>(a.g_scale);
  sum_each_column<T, 2>(
      a.shape.rows, cols,
      [&](Vec<T>(&acc)[2], int64_t i, int64_t j, auto lanes) __attribute__((always_inline)) {
        const Vec<T> g = load(dy + i * cols + j, lanes);
        const Vec<T> product = load(dyx + i * cols + j, lanes) * Vec<T>::all(rstd[i]);
        acc[0] = acc[0] + multiply_add(g, Vec<T>::all(g_scale[i]), product);
        acc[1] = acc[1] + g;
      },
      [&](int64_t j, int k, double sum) { set<T>(k == 0 ? a.dgamma : a.dbeta, j, sum); });
}

template <class T>
constexpr StepKernels kSteps = {sigma_and_fused_params<T>,
                                layer_norm_fused_params<T>,
                                instance_norm_fused_params<T>,
                                instance_norm_gamma_beta<T>,
                                apply_forward<T>,
                                apply_backward<T>,
                                instance_norm_apply_backward<T>,
                                internal_gradients<T>,
                                internal_gradients_channels_last<T>,
                                gamma_beta<T>};

}  // namespace

const StepKernels steps_f32 = kSteps<float>;
const StepKernels steps_f64 = kSteps<double>;

}  // namespace normkernels::NORMKERNELS_ISA
