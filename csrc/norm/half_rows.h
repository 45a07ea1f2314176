// The forward of rows of a half type that are each in one piece: of layer norm and RMS norm, and of
// group norm in NCHW.
//
// A few short rows, or a chunk of a long one, at a time are float32 in a tile on the stack, where
// they are summed and where they are written from: rounded in registers, straight to where they
// belong. A long row is read once more for that. No workspace is needed, and every thread has a
// tile of its own.
#ifndef NORMKERNELS_NORM_HALF_ROWS_H_
#define NORMKERNELS_NORM_HALF_ROWS_H_

#include "norm/row_forward.h"

namespace normkernels::NORMKERNELS_ISA {

// Whether the rows of all arrays are each in one piece.
NORMKERNELS_INLINE bool has_half_rows(const RowNorm<float>& a, const Placement& at) {
  int64_t stride;
  const auto plain = [&](const void* p, const Strides& strides) {
    return p == nullptr || is_plain(*at.grid, strides, {0, 1, 0, a.cols}, &stride);
  };
  return at.grid->storage != Storage::kComputed && plain(a.x.p, a.adds() ? at.total : at.x) &&
         plain(a.y.p, at.y) && plain(a.addition.x.p, at.x) &&
         plain(a.addition.residual.p, at.residual);
}

// `a` as normalise_rows has it, but for the arrays, which are of the half type and where `at` says,
// and for those of gamma, beta and bias that are not wide.
void normalise_half_rows(const RowNorm<float>& a, const WideFlags& wide, const Placement& at,
                         const Executor& executor);

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_HALF_ROWS_H_
