//! Errors name the function and the argument.

use std::ffi::CStr;
use std::fmt;

use crate::ffi;

/// An argument was refused. Nothing has been written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub(crate) function: &'static str,
    pub(crate) argument: Option<&'static str>,
    pub(crate) status: Option<i32>,
    pub(crate) what: String,
}

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The function that was called.
    pub fn function(&self) -> &'static str {
        self.function
    }

    /// The argument at fault, if a single one is.
    pub fn argument(&self) -> Option<&'static str> {
        self.argument
    }

    /// The status of the C function (`normkernels_status`); `None` if a slice or shape was refused before the call.
    pub fn status(&self) -> Option<i32> {
        self.status
    }

    pub(crate) fn new(
        function: &'static str,
        argument: &'static str,
        what: impl Into<String>,
    ) -> Self {
        Error { function, argument: Some(argument), status: None, what: what.into() }
    }

    /// Of a status, which holds the position of the argument among `parameters`, the names that the C function has.
    pub(crate) fn of_status(function: &'static str, parameters: &'static str, status: i32) -> Self {
        let position = if status < 100 { 0 } else { status as usize % 100 };
        // SAFETY: never null, and a constant.
        let what = unsafe { CStr::from_ptr(ffi::normkernels_status_string(status)) };
        Error {
            function,
            argument: position.checked_sub(1).and_then(|i| parameters.split(' ').nth(i)),
            status: Some(status),
            what: what.to_string_lossy().into_owned(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.argument {
            Some(argument) => write!(f, "{}: {}: {}", self.function, argument, self.what),
            None => write!(f, "{}: {}", self.function, self.what),
        }
    }
}

impl std::error::Error for Error {}
