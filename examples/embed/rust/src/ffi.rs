//! The C functions that this crate calls, as `normkernels.h` declares them, which is their manual. Those on arrays with
//! strides and the steps of the originals are there, too, and are declared the same way.
#![allow(missing_docs)]

use std::ffi::c_void;
use std::os::raw::c_char;

pub const F32: i32 = 1;
pub const F64: i32 = 2;
pub const F16: i32 = 3;
pub const BF16: i32 = 4;

pub const NCHW: i32 = 1;
pub const NHWC: i32 = 2;

pub type Task = unsafe extern "C" fn(argument: *mut c_void, index: i64);

/// `normkernels_executor`.
#[repr(C)]
pub struct Executor {
    pub struct_size: u32,
    pub num_threads: i32,
    pub run: Option<
        unsafe extern "C" fn(context: *mut c_void, tasks: i64, task: Task, argument: *mut c_void),
    >,
    pub context: *mut c_void,
}

extern "C" {
    pub fn normkernels_version() -> *const c_char;
    pub fn normkernels_status_string(status: i32) -> *const c_char;
    pub fn normkernels_num_threads() -> i32;
    pub fn normkernels_set_num_threads(num_threads: i32) -> i32;
    pub fn normkernels_isa_count() -> i32;
    pub fn normkernels_isa_name(index: i32) -> *const c_char;
    pub fn normkernels_isa_supported(index: i32) -> i32;
    pub fn normkernels_isa_active() -> i32;
    pub fn normkernels_isa_force(name: *const c_char) -> i32;
    pub fn normkernels_layer_norm_forward(
        dtype: i32,
        rows: i64,
        cols: i64,
        x: *const c_void,
        gamma: *const c_void,
        beta: *const c_void,
        epsilon: f64,
        y: *mut c_void,
        mean: *mut c_void,
        sigma: *mut c_void,
        executor: *const Executor,
    ) -> i32;
    pub fn normkernels_layer_norm_backward_workspace_bytes(
        dtype: i32,
        rows: i64,
        cols: i64,
    ) -> usize;
    pub fn normkernels_layer_norm_backward(
        dtype: i32,
        rows: i64,
        cols: i64,
        dy: *const c_void,
        x: *const c_void,
        mean: *const c_void,
        sigma: *const c_void,
        gamma: *const c_void,
        dx: *mut c_void,
        dgamma: *mut c_void,
        dbeta: *mut c_void,
        workspace: *mut c_void,
        executor: *const Executor,
    ) -> i32;
    pub fn normkernels_rms_norm_forward(
        dtype: i32,
        rows: i64,
        cols: i64,
        x: *const c_void,
        gamma: *const c_void,
        beta: *const c_void,
        epsilon: f64,
        y: *mut c_void,
        rstd: *mut c_void,
        executor: *const Executor,
    ) -> i32;
    pub fn normkernels_rms_norm_backward_workspace_bytes(dtype: i32, rows: i64, cols: i64)
        -> usize;
    pub fn normkernels_rms_norm_backward(
        dtype: i32,
        rows: i64,
        cols: i64,
        dy: *const c_void,
        x: *const c_void,
        rstd: *const c_void,
        gamma: *const c_void,
        epsilon: f64,
        dx: *mut c_void,
        dgamma: *mut c_void,
        dbeta: *mut c_void,
        workspace: *mut c_void,
        executor: *const Executor,
    ) -> i32;
    pub fn normkernels_add_layer_norm_forward(
        dtype: i32,
        rows: i64,
        cols: i64,
        x: *const c_void,
        residual: *const c_void,
        bias: *const c_void,
        gamma: *const c_void,
        beta: *const c_void,
        epsilon: f64,
        total: *mut c_void,
        y: *mut c_void,
        mean: *mut c_void,
        sigma: *mut c_void,
        executor: *const Executor,
    ) -> i32;
    pub fn normkernels_add_rms_norm_forward(
        dtype: i32,
        rows: i64,
        cols: i64,
        x: *const c_void,
        residual: *const c_void,
        bias: *const c_void,
        gamma: *const c_void,
        beta: *const c_void,
        epsilon: f64,
        total: *mut c_void,
        y: *mut c_void,
        rstd: *mut c_void,
        executor: *const Executor,
    ) -> i32;
    pub fn normkernels_instance_norm_forward_workspace_bytes(
        dtype: i32,
        order: i32,
        n: i64,
        c: i64,
        spatial: i64,
    ) -> usize;
    pub fn normkernels_instance_norm_forward(
        dtype: i32,
        order: i32,
        n: i64,
        c: i64,
        spatial: i64,
        x: *const c_void,
        scale: *const c_void,
        bias: *const c_void,
        epsilon: f64,
        y: *mut c_void,
        mean: *mut c_void,
        inv_std: *mut c_void,
        workspace: *mut c_void,
        executor: *const Executor,
    ) -> i32;
    pub fn normkernels_instance_norm_backward_workspace_bytes(
        dtype: i32,
        order: i32,
        n: i64,
        c: i64,
        spatial: i64,
    ) -> usize;
    pub fn normkernels_instance_norm_backward(
        dtype: i32,
        order: i32,
        n: i64,
        c: i64,
        spatial: i64,
        dy: *const c_void,
        x: *const c_void,
        scale: *const c_void,
        mean: *const c_void,
        inv_std: *const c_void,
        epsilon: f64,
        dx: *mut c_void,
        dscale: *mut c_void,
        dbias: *mut c_void,
        workspace: *mut c_void,
        executor: *const Executor,
    ) -> i32;
    pub fn normkernels_group_norm_forward_workspace_bytes(
        dtype: i32,
        order: i32,
        n: i64,
        c: i64,
        spatial: i64,
        groups: i64,
    ) -> usize;
    pub fn normkernels_group_norm_forward(
        dtype: i32,
        order: i32,
        n: i64,
        c: i64,
        spatial: i64,
        groups: i64,
        x: *const c_void,
        scale: *const c_void,
        bias: *const c_void,
        epsilon: f64,
        y: *mut c_void,
        mean: *mut c_void,
        inv_std: *mut c_void,
        workspace: *mut c_void,
        executor: *const Executor,
    ) -> i32;
    pub fn normkernels_group_norm_backward_workspace_bytes(
        dtype: i32,
        order: i32,
        n: i64,
        c: i64,
        spatial: i64,
        groups: i64,
    ) -> usize;
    pub fn normkernels_group_norm_backward(
        dtype: i32,
        order: i32,
        n: i64,
        c: i64,
        spatial: i64,
        groups: i64,
        dy: *const c_void,
        x: *const c_void,
        scale: *const c_void,
        mean: *const c_void,
        inv_std: *const c_void,
        epsilon: f64,
        dx: *mut c_void,
        dscale: *mut c_void,
        dbias: *mut c_void,
        workspace: *mut c_void,
        executor: *const Executor,
    ) -> i32;
    pub fn normkernels_local_response_norm_workspace_bytes(
        dtype: i32,
        order: i32,
        n: i64,
        c: i64,
        spatial: i64,
        size: i64,
    ) -> usize;
    pub fn normkernels_local_response_norm_forward(
        dtype: i32,
        order: i32,
        n: i64,
        c: i64,
        spatial: i64,
        x: *const c_void,
        size: i64,
        alpha: f64,
        beta: f64,
        bias: f64,
        y: *mut c_void,
        scale: *mut c_void,
        workspace: *mut c_void,
        executor: *const Executor,
    ) -> i32;
    pub fn normkernels_local_response_norm_backward(
        dtype: i32,
        order: i32,
        n: i64,
        c: i64,
        spatial: i64,
        dy: *const c_void,
        x: *const c_void,
        y: *const c_void,
        scale: *const c_void,
        size: i64,
        alpha: f64,
        beta: f64,
        bias: f64,
        dx: *mut c_void,
        workspace: *mut c_void,
        executor: *const Executor,
    ) -> i32;
}
