// The table of one instruction set.
#include "isa_table.h"

namespace normkernels::NORMKERNELS_ISA {

namespace {

constexpr Kernels kFloat32 = {&layer_norm_f32,          &group_norm_nchw_f32, &group_norm_nhwc_f32,
                              &local_response_norm_f32, &steps_f32,           merge_moments};
constexpr Kernels kFloat64 = {&layer_norm_f64,          &group_norm_nchw_f64, &group_norm_nhwc_f64,
                              &local_response_norm_f64, &steps_f64,           merge_moments};
constexpr Kernels kHalf = {
    &layer_norm_half, &group_norm_nchw_half, &group_norm_nhwc_half, &local_response_norm_half,
    nullptr,          merge_moments};

}  // namespace

const Kernels* const kernels[] = {&kFloat32, &kFloat64, &kHalf, &kHalf};

}  // namespace normkernels::NORMKERNELS_ISA
