// Parts of arrays of a half type, as float32 in a buffer, and back.
#ifndef NORMKERNELS_SIMD_HALF_PARTS_H_
#define NORMKERNELS_SIMD_HALF_PARTS_H_

#include "simd/half.h"
#include "views/grid.h"

namespace normkernels::NORMKERNELS_ISA {

void widen_line(Storage storage, const void* from, int64_t n, float* to);
void narrow_line(Storage storage, const float* from, int64_t n, void* to);

// As gather and scatter (grid.h) for the grid's storage; buffers have rows `stride` apart. Of a
// part that does not lie in whole rows, the halves come to and go from the buffer as they are: the
// floats are made of them, and they of the floats, where they stand. What was in the buffer is lost
// either way.
void widen_part(const Grid& grid, const Strides& strides, const Part& part, const void* from,
                float* to, int64_t stride);
void narrow_part(const Grid& grid, const Strides& strides, const Part& part, float* from,
                 int64_t stride, void* to);

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SIMD_HALF_PARTS_H_
