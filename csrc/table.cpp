// The table of one instruction set.
#include "isa_table.h"

namespace normkernels::NORMKERNELS_ISA {

const Kernels kernels_f32 = {&layer_norm_f32, &instance_norm_nchw_f32, &instance_norm_nhwc_f32,
                             &local_response_norm_f32, &steps_f32};
const Kernels kernels_f64 = {&layer_norm_f64, &instance_norm_nchw_f64, &instance_norm_nhwc_f64,
                             &local_response_norm_f64, &steps_f64};

}  // namespace normkernels::NORMKERNELS_ISA
