// The forward of rows of a half type that are each in one piece: of layer norm and RMS norm, and of
// group norm in NCHW.
//
// A few short rows, or a chunk of a long one, at a time are float32 in a tile on the stack, where
// they are summed; no workspace is needed, and every thread has a tile of its own. They are written
// by one sweep that rounds in registers (half_writer.h): from the tile, where gamma and beta are
// lines of float32, else from x itself, which is widened once more.
//
// Sums take 4 operations in float64 per element, the sweep 22 instructions for 16 (AVX2): in L2 or
// beyond, it is they that bound it, not memory (Zen 3: 0.28 to 0.33 ns per element, of which 0.04
// to widen, 0.09 to sum, 0.14 to 0.16 to write).
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
