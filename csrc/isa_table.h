// What the kernels' files offer to the table of their instruction set.
#ifndef NORMKERNELS_ISA_TABLE_H_
#define NORMKERNELS_ISA_TABLE_H_

#include "table.h"

namespace normkernels::NORMKERNELS_ISA {

extern const LayerNormKernels layer_norm_f32, layer_norm_f64, layer_norm_half;
extern const GroupNormKernels group_norm_nchw_f32, group_norm_nchw_f64, group_norm_nchw_half;
extern const GroupNormKernels group_norm_nhwc_f32, group_norm_nhwc_f64, group_norm_nhwc_half;
extern const LocalResponseNormKernels local_response_norm_f32, local_response_norm_f64,
    local_response_norm_half;
extern const StepKernels steps_f32, steps_f64;
void merge_moments(const MergeMoments& a, const Executor& executor);

// In the order of normkernels_dtype.
extern const Kernels* const kernels[];

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_ISA_TABLE_H_
