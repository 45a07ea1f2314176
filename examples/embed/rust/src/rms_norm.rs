//! RMS norm of the rows of a matrix, and of a sum.

use std::ffi::c_void;

use crate::call::{extent, Call, Workspace};
use crate::element::Element;
use crate::error::Result;
use crate::ffi;
use crate::layer_norm::Matrix;
use crate::threads::{with_executor, Threads};

/// What is optional in an RMS norm.
pub struct RmsNormOptions<'a, T: Element> {
    /// `[cols]`; 1 if absent.
    pub gamma: Option<&'a [T]>,
    /// `[cols]`; 0 if absent.
    pub beta: Option<&'a [T]>,
    /// Is added to the mean square; 1e-5.
    pub epsilon: f64,
    /// `[rows]`: receives 1 / sqrt(mean square + epsilon).
    pub rstd: Option<&'a mut [T::Statistic]>,
    /// Who runs the work.
    pub threads: Threads<'a>,
}

impl<T: Element> Default for RmsNormOptions<'_, T> {
    fn default() -> Self {
        let threads = Threads::default();
        RmsNormOptions { gamma: None, beta: None, epsilon: 1e-5, rstd: None, threads }
    }
}

/// What is optional in the gradients of an RMS norm.
pub struct RmsNormBackwardOptions<'a, T: Element> {
    /// `[rows]`, as the forward returned it; computed again if absent.
    pub rstd: Option<&'a [T::Statistic]>,
    /// Is read where rstd is absent; 1e-5.
    pub epsilon: f64,
    /// `[cols]`, as in the forward.
    pub gamma: Option<&'a [T]>,
    /// `[cols]`: receives the gradient of gamma.
    pub dgamma: Option<&'a mut [T]>,
    /// `[cols]`: receives the gradient of beta.
    pub dbeta: Option<&'a mut [T]>,
    /// Who runs the work.
    pub threads: Threads<'a>,
}

impl<T: Element> Default for RmsNormBackwardOptions<'_, T> {
    fn default() -> Self {
        RmsNormBackwardOptions {
            rstd: None,
            epsilon: 1e-5,
            gamma: None,
            dgamma: None,
            dbeta: None,
            threads: Threads::default(),
        }
    }
}

/// y = x * rstd * gamma + beta, rstd = 1 / sqrt(mean square + epsilon), with the mean square of each row.
/// x, y `[rows, cols]`.
pub fn rms_norm<T: Element>(
    shape: Matrix,
    x: &[T],
    y: &mut [T],
    options: RmsNormOptions<'_, T>,
) -> Result<()> {
    let x = RMS_NORM.input("x", x, &shape.extents())?;
    let y = RMS_NORM.output("y", y, &shape.extents())?;
    rms_norm_at(shape, x, y, options)
}

/// [`rms_norm`] whose y takes the place of x.
pub fn rms_norm_in_place<T: Element>(
    shape: Matrix,
    x: &mut [T],
    options: RmsNormOptions<'_, T>,
) -> Result<()> {
    let x = RMS_NORM.output("x", x, &shape.extents())?;
    rms_norm_at(shape, x, x, options)
}

const RMS_NORM: Call = Call {
    function: "rms_norm",
    parameters: "dtype rows cols x gamma beta epsilon y rstd executor",
};

fn rms_norm_at<T: Element>(
    Matrix { rows, cols }: Matrix,
    x: *const c_void,
    y: *mut c_void,
    options: RmsNormOptions<'_, T>,
) -> Result<()> {
    let call = RMS_NORM;
    let gamma = call.optional_input("gamma", options.gamma, &[cols])?;
    let beta = call.optional_input("beta", options.beta, &[cols])?;
    let rstd = call.optional_output("rstd", options.rstd, &[rows])?;
    let (rows, cols, epsilon) = (extent(rows), extent(cols), options.epsilon);
    // SAFETY: as in layer_norm.
    call.finish(with_executor(options.threads, |executor| unsafe {
        ffi::normkernels_rms_norm_forward(
            T::DTYPE,
            rows,
            cols,
            x,
            gamma,
            beta,
            epsilon,
            y,
            rstd,
            executor,
        )
    }))
}

/// Gradients of RMS norm. dy, x, dx `[rows, cols]`.
pub fn rms_norm_backward<T: Element>(
    shape: Matrix,
    dy: &[T],
    x: &[T],
    dx: &mut [T],
    options: RmsNormBackwardOptions<'_, T>,
) -> Result<()> {
    let call = Call {
        function: "rms_norm_backward",
        parameters: "dtype rows cols dy x rstd gamma epsilon dx dgamma dbeta workspace executor",
    };
    let Matrix { rows, cols } = shape;
    let dy = call.input("dy", dy, &shape.extents())?;
    let x = call.input("x", x, &shape.extents())?;
    let rstd = call.optional_input("rstd", options.rstd, &[rows])?;
    let gamma = call.optional_input("gamma", options.gamma, &[cols])?;
    let dx = call.output("dx", dx, &shape.extents())?;
    let dgamma = call.optional_output("dgamma", options.dgamma, &[cols])?;
    let dbeta = call.optional_output("dbeta", options.dbeta, &[cols])?;
    let (rows, cols, epsilon) = (extent(rows), extent(cols), options.epsilon);
    // SAFETY: takes any numbers.
    let bytes = unsafe { ffi::normkernels_rms_norm_backward_workspace_bytes(T::DTYPE, rows, cols) };
    let mut workspace = Workspace::new(bytes);
    let workspace = workspace.pointer();
    // SAFETY: as in layer_norm_backward.
    call.finish(with_executor(options.threads, |executor| unsafe {
        ffi::normkernels_rms_norm_backward(
            T::DTYPE,
            rows,
            cols,
            dy,
            x,
            rstd,
            gamma,
            epsilon,
            dx,
            dgamma,
            dbeta,
            workspace,
            executor,
        )
    }))
}

/// total = x + residual + bias, rounded once, and y = [`rms_norm`] of total. Shapes as in
/// [`add_layer_norm`](crate::add_layer_norm).
pub fn add_rms_norm<T: Element>(
    shape: Matrix,
    x: &[T],
    residual: &[T],
    bias: Option<&[T]>,
    total: &mut [T],
    y: &mut [T],
    options: RmsNormOptions<'_, T>,
) -> Result<()> {
    let call = Call {
        function: "add_rms_norm",
        parameters: "dtype rows cols x residual bias gamma beta epsilon total y rstd executor",
    };
    let Matrix { rows, cols } = shape;
    let x = call.input("x", x, &shape.extents())?;
    let residual = call.input("residual", residual, &shape.extents())?;
    let bias = call.optional_input("bias", bias, &[cols])?;
    let gamma = call.optional_input("gamma", options.gamma, &[cols])?;
    let beta = call.optional_input("beta", options.beta, &[cols])?;
    let total = call.output("total", total, &shape.extents())?;
    let y = call.output("y", y, &shape.extents())?;
    let rstd = call.optional_output("rstd", options.rstd, &[rows])?;
    let (rows, cols, epsilon) = (extent(rows), extent(cols), options.epsilon);
    // SAFETY: as in layer_norm_backward.
    call.finish(with_executor(options.threads, |executor| unsafe {
        ffi::normkernels_add_rms_norm_forward(
            T::DTYPE,
            rows,
            cols,
            x,
            residual,
            bias,
            gamma,
            beta,
            epsilon,
            total,
            y,
            rstd,
            executor,
        )
    }))
}
