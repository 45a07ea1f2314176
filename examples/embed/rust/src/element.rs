//! The types of elements.

use crate::ffi;

/// A type that arrays are of.
pub trait Element: sealed::Element {
    /// What means and deviations of such arrays are of: `f32` of a half type, else the type itself.
    type Statistic: Element<Statistic = Self::Statistic>;
}

/// The bits of an IEEE binary16 number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct F16(pub u16);

/// The bits of a bfloat16 number, the upper half of an `f32`'s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bf16(pub u16);

mod sealed {
    // An array is handed to C as one of the type that DTYPE names.
    pub trait Element: Copy + Default + 'static {
        const DTYPE: i32;
    }
}

impl sealed::Element for f32 {
    const DTYPE: i32 = ffi::F32;
}
impl sealed::Element for f64 {
    const DTYPE: i32 = ffi::F64;
}
impl sealed::Element for F16 {
    const DTYPE: i32 = ffi::F16;
}
impl sealed::Element for Bf16 {
    const DTYPE: i32 = ffi::BF16;
}

impl Element for f32 {
    type Statistic = f32;
}
impl Element for f64 {
    type Statistic = f64;
}
impl Element for F16 {
    type Statistic = f32;
}
impl Element for Bf16 {
    type Statistic = f32;
}
