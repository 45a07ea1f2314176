// The C functions of moments: check every argument, then call the kernel, which is layer norm's
// without a y.
#include <algorithm>

#include "api/views.h"

using normkernels::Call;
using normkernels::DenseGrid;
using normkernels::Executor;
using normkernels::Kernels;
using normkernels::LayerNormForward;
using normkernels::MergeMoments;
using normkernels::Placement;
using normkernels::Views;

namespace {

// Of rows without elements.
normkernels_status fill(normkernels_row_moments* moments, int64_t rows) {
  std::fill_n(moments, rows, normkernels_row_moments{0, 1, 0, 0, 0, 0});
  return NORMKERNELS_OK;
}

}  // namespace

extern "C" {

normkernels_status normkernels_moments(normkernels_dtype dtype, int64_t rows, int64_t cols,
                                       const void* x, normkernels_row_moments* moments,
                                       const normkernels_executor* executor) {
  Call call(dtype);
  const int64_t n = call.elements(2, rows, cols);
  LayerNormForward a = {};
  a.shape = {rows, cols};
  a.x = call.input(4, x, n);
  a.moments = call.moments(5, moments, rows);
  const Executor threads = call.executor(6, executor, n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return fill(moments, rows);
  DenseGrid grid;
  a.at = grid.of_matrix(call, a.shape);
  kernels->layer_norm->forward(a, threads);
  return NORMKERNELS_OK;
}

normkernels_status normkernels_merge_moments(int64_t n, const normkernels_row_moments* a,
                                             const normkernels_row_moments* b,
                                             normkernels_row_moments* out) {
  Call call(NORMKERNELS_F64);
  MergeMoments merge = {};
  merge.n = call.elements(1, n);
  merge.a = call.moments(2, a, n);
  merge.b = call.moments(3, b, n);
  merge.out = call.moments(4, out, n, 2, 3);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  kernels->merge_moments(merge, {1, nullptr, nullptr});
  return NORMKERNELS_OK;
}

/* ---- Views -------------------------------------------------------------------------- */

normkernels_status normkernels_moments_view(normkernels_dtype dtype, int32_t rank,
                                            const int64_t* shape, uint64_t axes, const void* x,
                                            const int64_t* x_strides,
                                            normkernels_row_moments* moments, void* workspace,
                                            const normkernels_executor* executor) {
  Call call(dtype);
  Views views(call, 2, rank, shape);
  views.axes(4, axes);
  const int64_t n = views.elements(), rows = views.elements_of(~axes);
  Placement at = {};
  LayerNormForward a = {};
  a.shape = {rows, views.elements_of(axes)};
  a.x = views.input(5, x, x_strides, &at.x);
  a.moments = call.moments(7, moments, rows);
  a.workspace = call.workspace(8, workspace,
                               normkernels_moments_view_workspace_bytes(dtype, rank, shape, axes));
  const Executor threads = call.executor(9, executor, n);
  const Kernels* kernels = call.kernels();
  if (kernels == nullptr) return call.status();
  if (n == 0) return fill(moments, rows);
  at.grid = views.matrix(axes);
  a.at = &at;
  kernels->layer_norm->forward(a, threads);
  return NORMKERNELS_OK;
}

size_t normkernels_moments_view_workspace_bytes(normkernels_dtype dtype, int32_t rank,
                                                const int64_t* shape, uint64_t axes) {
  return normkernels_layer_norm_forward_view_workspace_bytes(dtype, rank, shape, axes);
}

}  // extern "C"
