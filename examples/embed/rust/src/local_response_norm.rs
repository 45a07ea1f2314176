//! Local response norm (LRN), across the channels of images.

use std::ptr;

use crate::call::{extent, Call, Workspace};
use crate::element::Element;
use crate::error::Result;
use crate::ffi;
use crate::images::Images;
use crate::threads::{with_executor, Threads};

/// The window of an LRN, and what is made of it. The defaults are ONNX's, a window of 5 channels beside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// How many channels: those from c - (size - 1) / 2 to c + size / 2, as far as there are; 5.
    pub size: usize,
    /// Factor of the mean square of the window; 1e-4.
    pub alpha: f64,
    /// Exponent; 0.75.
    pub beta: f64,
    /// Is added to the mean square; 1.
    pub bias: f64,
}

impl Default for Window {
    fn default() -> Self {
        Window { size: 5, alpha: 1e-4, beta: 0.75, bias: 1.0 }
    }
}

/// What is optional in an LRN.
#[derive(Default)]
pub struct LocalResponseNormOptions<'a, T: Element> {
    /// As x: receives the sums, what y is divided by the power of.
    pub scale: Option<&'a mut [T]>,
    /// Who runs the work.
    pub threads: Threads<'a>,
}

/// y = x * scale^-beta, scale = bias + alpha / size * sum of squares over the window. x, y as `shape` says.
pub fn local_response_norm<T: Element>(
    shape: Images,
    window: Window,
    x: &[T],
    y: &mut [T],
    options: LocalResponseNormOptions<'_, T>,
) -> Result<()> {
    let call = Call {
        function: "local_response_norm",
        parameters: "dtype order n c spatial x size alpha beta bias y scale workspace executor",
    };
    let x = call.input("x", x, &shape.extents())?;
    let y = call.output("y", y, &shape.extents())?;
    let scale = call.optional_output("scale", options.scale, &shape.extents())?;
    let (order, n, c, spatial) = shape.arguments();
    let mut workspace = workspace::<T>(shape, window);
    let workspace = workspace.pointer();
    let Window { size, alpha, beta, bias } = window;
    let size = extent(size);
    // SAFETY: the arrays have the type and the extents that are said, and no output overlaps another.
    call.finish(with_executor(options.threads, |executor| unsafe {
        ffi::normkernels_local_response_norm_forward(
            T::DTYPE,
            order,
            n,
            c,
            spatial,
            x,
            size,
            alpha,
            beta,
            bias,
            y,
            scale,
            workspace,
            executor,
        )
    }))
}

/// Gradient of [`local_response_norm`]. dy, x, dx as `shape` says, and y where the forward's is there still: it spares
/// a product.
pub fn local_response_norm_backward<T: Element>(
    shape: Images,
    window: Window,
    dy: &[T],
    x: &[T],
    y: Option<&[T]>,
    dx: &mut [T],
    threads: Threads<'_>,
) -> Result<()> {
    let call = Call {
        function: "local_response_norm_backward",
        parameters:
            "dtype order n c spatial dy x y scale size alpha beta bias dx workspace executor",
    };
    let dy = call.input("dy", dy, &shape.extents())?;
    let x = call.input("x", x, &shape.extents())?;
    let y = call.optional_input("y", y, &shape.extents())?;
    let dx = call.output("dx", dx, &shape.extents())?;
    let (order, n, c, spatial) = shape.arguments();
    let mut workspace = workspace::<T>(shape, window);
    let workspace = workspace.pointer();
    let Window { size, alpha, beta, bias } = window;
    let (size, scale) = (extent(size), ptr::null());
    // SAFETY: the arrays have the type and the extents that are said, and no output overlaps another.
    call.finish(with_executor(threads, |executor| unsafe {
        ffi::normkernels_local_response_norm_backward(
            T::DTYPE,
            order,
            n,
            c,
            spatial,
            dy,
            x,
            y,
            scale,
            size,
            alpha,
            beta,
            bias,
            dx,
            workspace,
            executor,
        )
    }))
}

fn workspace<T: Element>(shape: Images, window: Window) -> Workspace {
    let (order, n, c, spatial) = shape.arguments();
    // SAFETY: takes any numbers.
    Workspace::new(unsafe {
        ffi::normkernels_local_response_norm_workspace_bytes(
            T::DTYPE,
            order,
            n,
            c,
            spatial,
            extent(window.size),
        )
    })
}
