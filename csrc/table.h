// The list of kernels is the type of the table: function pointers, per instruction set and dtype.
//
// Pointers are void here: the kernels know their element type, the caller has checked everything.
// nullptr means what it means in normkernels.h, where every argument is described, and extents have
// its names: n images, c channels, `spatial` positions; `rows` of `cols`.
#ifndef NORMKERNELS_TABLE_H_
#define NORMKERNELS_TABLE_H_

#include <stddef.h>
#include <stdint.h>

#include "host/parallel.h"
#include "normkernels/normkernels.h"
#include "views/grid.h"

namespace normkernels {

struct Matrix {
  int64_t rows, cols;
};

struct Images {
  int64_t n, c, spatial;
};

// Where the arrays of a call lie. Without a grid, all rows (of NHWC: pixels) are each in one piece
// and equally far apart, as their strides say.
struct Placement {
  const Grid* grid;
  Strides dy, x, y, dx, y_in, scale_in, scale, residual, total;
};

namespace {

// In an anonymous namespace because they are compiled for every instruction set.
inline __attribute__((always_inline)) const Grid* grid_of(const Placement* at) {
  return at == nullptr ? nullptr : at->grid;
}
inline __attribute__((always_inline)) Storage storage_of(const Placement* at) {
  return grid_of(at) == nullptr ? Storage::kComputed : at->grid->storage;
}
inline __attribute__((always_inline)) int64_t row_stride(const Placement* at,
                                                         Strides Placement::*array, int64_t dense) {
  return at == nullptr ? dense : (at->*array).row;
}

}  // namespace

// Which parameters, and their gradients, are of the type that is computed with, not of x's.
struct WideFlags {
  bool gamma, beta, bias;
};

// stream: whether y or dx is so large, and no input, that it is written past the caches.
// at: null if all arrays are dense.
//
// Layer norm, or, not centred, RMS norm. With a total, of x + residual + bias, which it receives.
struct LayerNormForward {
  Matrix shape;
  const void *x, *residual, *bias, *gamma, *beta;
  double epsilon;
  void *total, *y, *mean, *sigma, *rstd;
  bool stream;
  bool centred = true;
  const Placement* at;
  WideFlags wide;
  void* workspace;                   // where a grid needs one
  normkernels_row_moments* moments;  // of rows that are centred; y may then be null
};

// Saved are mean and sigma, or, of rows that are not centred, rstd or nothing.
struct LayerNormBackward {
  Matrix shape;
  const void *dy, *x, *mean, *sigma, *rstd, *gamma;
  double epsilon;
  void *dx, *dgamma, *dbeta, *workspace;
  bool stream;
  bool centred = true;
  const Placement* at;
  WideFlags wide;
};

// Channels are in groups of c / groups neighbours that share statistics: c groups for instance
// norm. The rows of a grid are the groups of all images; of NHWC, its planes, image and channel.
struct GroupNormForward {
  Images shape;
  int64_t groups;
  const void *x, *scale, *bias;
  double epsilon;
  void *y, *mean, *inv_std, *workspace;
  bool stream;
  const Placement* at;
  WideFlags wide;
};

// Also, of c groups, the forward at the same time: y, and the statistics into mean_out and
// inv_std_out.
struct GroupNormBackward {
  Images shape;
  int64_t groups;
  const void *dy, *x, *scale, *bias, *mean, *inv_std;
  double epsilon;
  void *y, *mean_out, *inv_std_out, *dx, *dscale, *dbias, *workspace;
  bool stream;
  const Placement* at;
  WideFlags wide;
};

// Of n rows; out may be a or b.
struct MergeMoments {
  int64_t n;
  const normkernels_row_moments *a, *b;
  normkernels_row_moments* out;
};

struct LocalResponseNorm {
  Images shape;
  bool channels_last;
  int64_t size;
  double alpha, beta, bias;
  const void *dy, *x, *y_in, *scale_in;  // x alone in the forward
  void *y, *scale;                       // forward
  void* dx;                              // backward
  void* workspace;
  const Placement* at;  // whose rows are the channels, and whose columns all pixels
};

struct SigmaAndFusedParams {
  int64_t rows;
  double epsilon;
  const void *mean, *var;
  void *sigma, *scale, *bias;
};

struct LayerNormFusedParams {
  Matrix shape;
  const void *mean, *sigma, *ds, *db;
  void *rstd, *x_scale, *bias, *g_scale;
};

struct InstanceNormFusedParams {
  int64_t n, c;
  const void *mean, *rstd, *gamma, *beta;
  void *scale, *bias;
};

struct InstanceNormGammaBeta {
  int64_t n, c;
  const void *ds, *db, *mean, *rstd;
  void *dgamma, *dbeta;
};

// y = (x * scale[i] + bias[i]) * gamma[j] + beta[j] over row i and column j; each pair may be null.
struct ApplyForward {
  Matrix shape;
  const void *x, *scale, *bias, *gamma, *beta;
  void* y;
};

// dx = dy * gamma[j] * dy_scale[i] + x * x_scale[i] + bias[i].
struct ApplyBackward {
  Matrix shape;
  const void *dy, *x, *gamma, *dy_scale, *x_scale, *bias;
  void* dx;
};

// The same with the coefficients of instance norm, which follow from these [n, c].
struct InstanceNormApplyBackward {
  Images shape;
  bool channels_last;
  const void *dy, *x, *mean, *rstd, *gamma, *ds, *db;
  void* dx;
};

// ds = sum dy * x * gamma, db = sum dy * gamma, along rows.
struct InternalGradients {
  Matrix shape;
  const void *dy, *x, *gamma;
  void *dyx, *ds, *db;
};

// The same down the columns (without gamma), for each of n images of [spatial, c].
struct InternalGradientsChannelsLast {
  Images shape;
  const void *dy, *x;
  void *ds, *db;
};

// dgamma[j] = sum_i dyx * rstd[i] + dy * g_scale[i], dbeta[j] = sum_i dy.
struct GammaBeta {
  Matrix shape;
  const void *dyx, *dy, *rstd, *g_scale;
  void *dgamma, *dbeta;
};

template <class Arguments>
using Kernel = void (*)(const Arguments&, const Executor&);

struct LayerNormKernels {
  Kernel<LayerNormForward> forward;
  Kernel<LayerNormBackward> backward;
  size_t (*backward_workspace)(const Matrix&);
  size_t (*forward_grid_workspace)(const Matrix&, bool adds);
  size_t (*backward_grid_workspace)(const Matrix&);
};

struct GroupNormKernels {
  Kernel<GroupNormForward> forward;
  Kernel<GroupNormBackward> backward;
  size_t (*forward_workspace)(const Images&, int64_t groups);
  size_t (*backward_workspace)(const Images&, int64_t groups);
  size_t (*forward_grid_workspace)(const Images&, int64_t groups);
  size_t (*backward_grid_workspace)(const Images&, int64_t groups);
};

struct LocalResponseNormKernels {
  Kernel<LocalResponseNorm> forward;
  Kernel<LocalResponseNorm> backward;
  size_t (*workspace)(const Images&, bool channels_last, int64_t size);
  size_t (*grid_workspace)(const Images&, int64_t size);
};

struct StepKernels {
  Kernel<SigmaAndFusedParams> sigma_and_fused_params;
  Kernel<LayerNormFusedParams> layer_norm_fused_params;
  Kernel<InstanceNormFusedParams> instance_norm_fused_params;
  Kernel<InstanceNormGammaBeta> instance_norm_gamma_beta;
  Kernel<ApplyForward> apply_forward;
  Kernel<ApplyBackward> apply_backward;
  Kernel<InstanceNormApplyBackward> instance_norm_apply_backward;
  Kernel<InternalGradients> internal_gradients;
  Kernel<InternalGradientsChannelsLast> internal_gradients_channels_last;
  Kernel<GammaBeta> gamma_beta;
};

struct Kernels {
  const LayerNormKernels* layer_norm;
  const GroupNormKernels* group_norm_nchw;
  const GroupNormKernels* group_norm_nhwc;
  const LocalResponseNormKernels* local_response_norm;
  const StepKernels* steps;
  Kernel<MergeMoments> merge_moments;  // one for all types
};

}  // namespace normkernels

#endif  // NORMKERNELS_TABLE_H_
