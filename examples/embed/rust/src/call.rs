//! What every function does around its C function: slices become pointers once their lengths are right, a status
//! becomes an error.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;

use crate::element::Element;
use crate::error::{Error, Result};

/// A call: the function's name, and the names of the C function's parameters, separated by spaces.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub function: &'static str,
    pub parameters: &'static str,
}

impl Call {
    pub fn input<T: Element>(
        self,
        name: &'static str,
        array: &[T],
        extents: &[usize],
    ) -> Result<*const c_void> {
        self.check_length(name, array.len(), extents)?;
        Ok(array.as_ptr().cast())
    }

    pub fn optional_input<T: Element>(
        self,
        name: &'static str,
        array: Option<&[T]>,
        extents: &[usize],
    ) -> Result<*const c_void> {
        array.map_or(Ok(ptr::null()), |array| self.input(name, array, extents))
    }

    pub fn output<T: Element>(
        self,
        name: &'static str,
        array: &mut [T],
        extents: &[usize],
    ) -> Result<*mut c_void> {
        self.check_length(name, array.len(), extents)?;
        Ok(array.as_mut_ptr().cast())
    }

    pub fn optional_output<T: Element>(
        self,
        name: &'static str,
        array: Option<&mut [T]>,
        extents: &[usize],
    ) -> Result<*mut c_void> {
        array.map_or(Ok(ptr::null_mut()), |array| self.output(name, array, extents))
    }

    pub fn finish(self, status: i32) -> Result<()> {
        match status {
            0 => Ok(()),
            _ => Err(Error::of_status(self.function, self.parameters, status)),
        }
    }

    fn check_length(self, name: &'static str, length: usize, extents: &[usize]) -> Result<()> {
        if elements(extents) == Some(length) {
            return Ok(());
        }
        let product: Vec<String> = extents.iter().map(usize::to_string).collect();
        let what = format!("has {length} elements, must have {}", product.join(" * "));
        Err(Error::new(self.function, name, what))
    }
}

/// The product of extents, if it is a number of elements.
pub(crate) fn elements(extents: &[usize]) -> Option<usize> {
    if extents.contains(&0) {
        return Some(0);
    }
    extents.iter().try_fold(1, |product: usize, &extent| product.checked_mul(extent))
}

/// An extent as C has it. What is too large for it is negative there, and refused.
pub(crate) fn extent(extent: usize) -> i64 {
    i64::try_from(extent).unwrap_or(-1)
}

/// Scratch memory for a C function.
pub(crate) struct Workspace(Vec<Block>);

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Block(MaybeUninit<[u8; 64]>);

impl Workspace {
    pub fn new(bytes: usize) -> Self {
        Workspace(Vec::with_capacity(bytes / 64 + usize::from(bytes % 64 != 0)))
    }

    pub fn pointer(&mut self) -> *mut c_void {
        if self.0.capacity() == 0 {
            ptr::null_mut()
        } else {
            self.0.as_mut_ptr().cast()
        }
    }
}
