//! Layer norm of the rows of a matrix, and of a sum.

use std::ffi::c_void;

use crate::call::{extent, Call, Workspace};
use crate::element::Element;
use crate::error::Result;
use crate::ffi;
use crate::threads::{with_executor, Threads};

/// A matrix, row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// How many rows are normalised, each by itself.
    pub rows: usize,
    /// How many elements a row has.
    pub cols: usize,
}

impl Matrix {
    pub(crate) fn extents(self) -> [usize; 2] {
        [self.rows, self.cols]
    }
}

/// What is optional in a layer norm.
pub struct LayerNormOptions<'a, T: Element> {
    /// `[cols]`; 1 if absent.
    pub gamma: Option<&'a [T]>,
    /// `[cols]`; 0 if absent.
    pub beta: Option<&'a [T]>,
    /// Is added to the variance; 1e-5.
    pub epsilon: f64,
    /// `[rows]`: receives the means.
    pub mean: Option<&'a mut [T::Statistic]>,
    /// `[rows]`: receives sqrt(var + epsilon).
    pub sigma: Option<&'a mut [T::Statistic]>,
    /// Who runs the work.
    pub threads: Threads<'a>,
}

impl<T: Element> Default for LayerNormOptions<'_, T> {
    fn default() -> Self {
        let threads = Threads::default();
        LayerNormOptions {
            gamma: None,
            beta: None,
            epsilon: 1e-5,
            mean: None,
            sigma: None,
            threads,
        }
    }
}

/// What is optional in the gradients of a layer norm.
pub struct LayerNormBackwardOptions<'a, T: Element> {
    /// `[cols]`, as in the forward.
    pub gamma: Option<&'a [T]>,
    /// `[cols]`: receives the gradient of gamma.
    pub dgamma: Option<&'a mut [T]>,
    /// `[cols]`: receives the gradient of beta.
    pub dbeta: Option<&'a mut [T]>,
    /// Who runs the work.
    pub threads: Threads<'a>,
}

impl<T: Element> Default for LayerNormBackwardOptions<'_, T> {
    fn default() -> Self {
        let threads = Threads::default();
        LayerNormBackwardOptions { gamma: None, dgamma: None, dbeta: None, threads }
    }
}

/// y = (x - mean) / sigma * gamma + beta, sigma = sqrt(var + epsilon), with the mean and variance of each row.
/// x, y `[rows, cols]`.
pub fn layer_norm<T: Element>(
    shape: Matrix,
    x: &[T],
    y: &mut [T],
    options: LayerNormOptions<'_, T>,
) -> Result<()> {
    let x = LAYER_NORM.input("x", x, &shape.extents())?;
    let y = LAYER_NORM.output("y", y, &shape.extents())?;
    layer_norm_at(shape, x, y, options)
}

/// [`layer_norm`] whose y takes the place of x.
pub fn layer_norm_in_place<T: Element>(
    shape: Matrix,
    x: &mut [T],
    options: LayerNormOptions<'_, T>,
) -> Result<()> {
    let x = LAYER_NORM.output("x", x, &shape.extents())?;
    layer_norm_at(shape, x, x, options)
}

const LAYER_NORM: Call = Call {
    function: "layer_norm",
    parameters: "dtype rows cols x gamma beta epsilon y mean sigma executor",
};

fn layer_norm_at<T: Element>(
    Matrix { rows, cols }: Matrix,
    x: *const c_void,
    y: *mut c_void,
    options: LayerNormOptions<'_, T>,
) -> Result<()> {
    let call = LAYER_NORM;
    let gamma = call.optional_input("gamma", options.gamma, &[cols])?;
    let beta = call.optional_input("beta", options.beta, &[cols])?;
    let mean = call.optional_output("mean", options.mean, &[rows])?;
    let sigma = call.optional_output("sigma", options.sigma, &[rows])?;
    let (rows, cols, epsilon) = (extent(rows), extent(cols), options.epsilon);
    // SAFETY: the arrays have the type and the extents that are said, and y is x or overlaps nothing.
    call.finish(with_executor(options.threads, |executor| unsafe {
        ffi::normkernels_layer_norm_forward(
            T::DTYPE,
            rows,
            cols,
            x,
            gamma,
            beta,
            epsilon,
            y,
            mean,
            sigma,
            executor,
        )
    }))
}

/// Gradients of layer norm. dy, x, dx `[rows, cols]`; mean, sigma `[rows]`, as the forward returned them.
pub fn layer_norm_backward<T: Element>(
    shape: Matrix,
    dy: &[T],
    x: &[T],
    mean: &[T::Statistic],
    sigma: &[T::Statistic],
    dx: &mut [T],
    options: LayerNormBackwardOptions<'_, T>,
) -> Result<()> {
    let call = Call {
        function: "layer_norm_backward",
        parameters: "dtype rows cols dy x mean sigma gamma dx dgamma dbeta workspace executor",
    };
    let Matrix { rows, cols } = shape;
    let dy = call.input("dy", dy, &shape.extents())?;
    let x = call.input("x", x, &shape.extents())?;
    let mean = call.input("mean", mean, &[rows])?;
    let sigma = call.input("sigma", sigma, &[rows])?;
    let gamma = call.optional_input("gamma", options.gamma, &[cols])?;
    let dx = call.output("dx", dx, &shape.extents())?;
    let dgamma = call.optional_output("dgamma", options.dgamma, &[cols])?;
    let dbeta = call.optional_output("dbeta", options.dbeta, &[cols])?;
    let (rows, cols) = (extent(rows), extent(cols));
    // SAFETY: takes any numbers.
    let bytes =
        unsafe { ffi::normkernels_layer_norm_backward_workspace_bytes(T::DTYPE, rows, cols) };
    let mut workspace = Workspace::new(bytes);
    let workspace = workspace.pointer();
    // SAFETY: the arrays have the type and the extents that are said, and no output overlaps another.
    call.finish(with_executor(options.threads, |executor| unsafe {
        ffi::normkernels_layer_norm_backward(
            T::DTYPE,
            rows,
            cols,
            dy,
            x,
            mean,
            sigma,
            gamma,
            dx,
            dgamma,
            dbeta,
            workspace,
            executor,
        )
    }))
}

/// total = x + residual + bias, rounded once, and y = [`layer_norm`] of total. x, residual, total, y `[rows, cols]`;
/// bias `[cols]`.
pub fn add_layer_norm<T: Element>(
    shape: Matrix,
    x: &[T],
    residual: &[T],
    bias: Option<&[T]>,
    total: &mut [T],
    y: &mut [T],
    options: LayerNormOptions<'_, T>,
) -> Result<()> {
    let call = Call {
        function: "add_layer_norm",
        parameters:
            "dtype rows cols x residual bias gamma beta epsilon total y mean sigma executor",
    };
    let Matrix { rows, cols } = shape;
    let x = call.input("x", x, &shape.extents())?;
    let residual = call.input("residual", residual, &shape.extents())?;
    let bias = call.optional_input("bias", bias, &[cols])?;
    let gamma = call.optional_input("gamma", options.gamma, &[cols])?;
    let beta = call.optional_input("beta", options.beta, &[cols])?;
    let total = call.output("total", total, &shape.extents())?;
    let y = call.output("y", y, &shape.extents())?;
    let mean = call.optional_output("mean", options.mean, &[rows])?;
    let sigma = call.optional_output("sigma", options.sigma, &[rows])?;
    let (rows, cols, epsilon) = (extent(rows), extent(cols), options.epsilon);
    // SAFETY: as in layer_norm_backward.
    call.finish(with_executor(options.threads, |executor| unsafe {
        ffi::normkernels_add_layer_norm_forward(
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
            mean,
            sigma,
            executor,
        )
    }))
}
