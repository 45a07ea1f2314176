//! Layer, RMS, instance, group and local response norm for the CPU, forward and backward, by the C library `normkernels`:
//! a safe wrapper that takes slices and says which argument is wrong.
//!
//! ```
//! use normkernels::{layer_norm, LayerNormOptions, Matrix};
//!
//! let x = [1.0f32, 2.0, 3.0, 4.0, 40000.0, 40001.0, 40002.0, 40003.0];
//! let (mut y, mut mean) = ([0.0; 8], [0.0; 2]);
//! let options = LayerNormOptions { mean: Some(&mut mean), ..Default::default() };
//! layer_norm(Matrix { rows: 2, cols: 4 }, &x, &mut y, options)?;
//! assert_eq!(mean, [2.5, 40001.5]);
//! assert_eq!(y[..4], y[4..]);
//! # Ok::<(), normkernels::Error>(())
//! ```
//!
//! | function | backward | module |
//! |---|---|---|
//! | [`layer_norm`], [`rms_norm`] and of a sum [`add_layer_norm`], [`add_rms_norm`] | [`layer_norm_backward`], [`rms_norm_backward`] | rows of a matrix |
//! | [`instance_norm`], [`group_norm`] | [`instance_norm_backward`], [`group_norm_backward`] | images |
//! | [`local_response_norm`] | [`local_response_norm_backward`] | across channels |
//!
//! - Every function is the C function of that name: `normkernels.h` says what it computes. [`ffi`] declares it.
//! - What is optional are the fields of an options struct with a `Default`: an input that is `None` acts as its neutral
//!   value, an output that is `None` is not computed.
//! - An [`Error`] names the function and the argument; nothing has been written then.
//! - Elements are `f32`, `f64`, [`F16`] or [`Bf16`], parameters of the same type; of a half type, statistics are `f32`.
//! - Memory: functions allocate a workspace where the C function takes one, and nothing else. [`operators`] have the
//!   names, inputs and outputs of Caffe2's and return arrays of their own.
//! - The bits of results depend neither on the number of threads nor on which instruction set with fma the machine has.
#![warn(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]

mod call;
mod element;
mod error;
pub mod ffi;
mod images;
mod layer_norm;
mod local_response_norm;
pub mod operators;
mod rms_norm;
mod threads;

pub use element::{Bf16, Element, F16};
pub use error::{Error, Result};
pub use images::{
    group_norm, group_norm_backward, group_norm_in_place, instance_norm, instance_norm_backward,
    instance_norm_in_place, ImageNormBackwardOptions, ImageNormOptions, Images, Order,
};
pub use layer_norm::{
    add_layer_norm, layer_norm, layer_norm_backward, layer_norm_in_place, LayerNormBackwardOptions,
    LayerNormOptions, Matrix,
};
pub use local_response_norm::{
    local_response_norm, local_response_norm_backward, LocalResponseNormOptions, Window,
};
pub use rms_norm::{
    add_rms_norm, rms_norm, rms_norm_backward, rms_norm_in_place, RmsNormBackwardOptions,
    RmsNormOptions,
};
pub use threads::{num_threads, set_num_threads, Pool, Threads};

use std::ffi::CStr;

/// "MAJOR.MINOR.PATCH" and the suffix of the library that is running.
pub fn version() -> &'static str {
    // SAFETY: never null, and a constant.
    unsafe { CStr::from_ptr(ffi::normkernels_version()) }.to_str().unwrap_or_default()
}

/// The instruction set in use; `None` where the variable NORMKERNELS_ISA names one that cannot be, or the machine has
/// none of those that the library was built for. Every function then returns an error.
pub fn active_isa() -> Option<&'static str> {
    // SAFETY: takes any index; what is not null is a constant.
    unsafe {
        let name = ffi::normkernels_isa_name(ffi::normkernels_isa_active());
        if name.is_null() {
            None
        } else {
            CStr::from_ptr(name).to_str().ok()
        }
    }
}
