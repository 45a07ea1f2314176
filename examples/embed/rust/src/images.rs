//! Instance and group norm of images.

use std::ffi::c_void;

use crate::call::{extent, Call, Workspace};
use crate::element::Element;
use crate::error::Result;
use crate::ffi;
use crate::threads::{with_executor, Threads};

/// Where the channels are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// `[n, c, spatial]`
    #[default]
    Nchw,
    /// `[n, spatial, c]`
    Nhwc,
}

/// Images: how many, of how many channels, and how many positions, which is the product of the spatial dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Images {
    pub order: Order,
    pub n: usize,
    pub c: usize,
    pub spatial: usize,
}

impl Images {
    pub(crate) fn extents(self) -> [usize; 3] {
        match self.order {
            Order::Nchw => [self.n, self.c, self.spatial],
            Order::Nhwc => [self.n, self.spatial, self.c],
        }
    }

    /// As C has them: order, n, c, spatial.
    pub(crate) fn arguments(self) -> (i32, i64, i64, i64) {
        let order = match self.order {
            Order::Nchw => ffi::NCHW,
            Order::Nhwc => ffi::NHWC,
        };
        (order, extent(self.n), extent(self.c), extent(self.spatial))
    }
}

/// What is optional in an instance or group norm.
pub struct ImageNormOptions<'a, T: Element> {
    /// `[c]`; 1 if absent.
    pub scale: Option<&'a [T]>,
    /// `[c]`; 0 if absent.
    pub bias: Option<&'a [T]>,
    /// Is added to the variance; 1e-5.
    pub epsilon: f64,
    /// `[n, c]`, of a group norm `[n, groups]`: receives the means.
    pub mean: Option<&'a mut [T::Statistic]>,
    /// The same shape: receives 1 / sqrt(var + epsilon).
    pub inv_std: Option<&'a mut [T::Statistic]>,
    /// Who runs the work.
    pub threads: Threads<'a>,
}

impl<T: Element> Default for ImageNormOptions<'_, T> {
    fn default() -> Self {
        let threads = Threads::default();
        ImageNormOptions {
            scale: None,
            bias: None,
            epsilon: 1e-5,
            mean: None,
            inv_std: None,
            threads,
        }
    }
}

/// What is optional in the gradients of an instance or group norm.
pub struct ImageNormBackwardOptions<'a, T: Element> {
    /// `[c]`, as in the forward.
    pub scale: Option<&'a [T]>,
    /// `[n, c]`, of a group norm `[n, groups]`, as the forward returned them; computed again if absent.
    pub mean: Option<&'a [T::Statistic]>,
    /// The same shape, and absent where mean is.
    pub inv_std: Option<&'a [T::Statistic]>,
    /// Is read where they are absent; 1e-5.
    pub epsilon: f64,
    /// `[c]`: receives the gradient of scale.
    pub dscale: Option<&'a mut [T]>,
    /// `[c]`: receives the gradient of bias.
    pub dbias: Option<&'a mut [T]>,
    /// Who runs the work.
    pub threads: Threads<'a>,
}

impl<T: Element> Default for ImageNormBackwardOptions<'_, T> {
    fn default() -> Self {
        ImageNormBackwardOptions {
            scale: None,
            mean: None,
            inv_std: None,
            epsilon: 1e-5,
            dscale: None,
            dbias: None,
            threads: Threads::default(),
        }
    }
}

/// y = (x - mean) * inv_std * scale + bias, inv_std = 1 / sqrt(var + epsilon), with the mean and variance of each
/// channel of each image. x, y as `shape` says.
pub fn instance_norm<T: Element>(
    shape: Images,
    x: &[T],
    y: &mut [T],
    options: ImageNormOptions<'_, T>,
) -> Result<()> {
    let x = INSTANCE_NORM.input("x", x, &shape.extents())?;
    let y = INSTANCE_NORM.output("y", y, &shape.extents())?;
    forward_at(INSTANCE_NORM, shape, None, x, y, options)
}

/// [`instance_norm`] whose y takes the place of x.
pub fn instance_norm_in_place<T: Element>(
    shape: Images,
    x: &mut [T],
    options: ImageNormOptions<'_, T>,
) -> Result<()> {
    let x = INSTANCE_NORM.output("x", x, &shape.extents())?;
    forward_at(INSTANCE_NORM, shape, None, x, x, options)
}

/// Gradients of instance norm. dy, x, dx as `shape` says.
pub fn instance_norm_backward<T: Element>(
    shape: Images,
    dy: &[T],
    x: &[T],
    dx: &mut [T],
    options: ImageNormBackwardOptions<'_, T>,
) -> Result<()> {
    backward(INSTANCE_NORM_BACKWARD, shape, None, dy, x, dx, options)
}

/// [`instance_norm`] whose statistics c / groups neighbouring channels share.
pub fn group_norm<T: Element>(
    shape: Images,
    groups: usize,
    x: &[T],
    y: &mut [T],
    options: ImageNormOptions<'_, T>,
) -> Result<()> {
    let x = GROUP_NORM.input("x", x, &shape.extents())?;
    let y = GROUP_NORM.output("y", y, &shape.extents())?;
    forward_at(GROUP_NORM, shape, Some(groups), x, y, options)
}

/// [`group_norm`] whose y takes the place of x.
pub fn group_norm_in_place<T: Element>(
    shape: Images,
    groups: usize,
    x: &mut [T],
    options: ImageNormOptions<'_, T>,
) -> Result<()> {
    let x = GROUP_NORM.output("x", x, &shape.extents())?;
    forward_at(GROUP_NORM, shape, Some(groups), x, x, options)
}

/// Gradients of group norm. dy, x, dx as `shape` says.
pub fn group_norm_backward<T: Element>(
    shape: Images,
    groups: usize,
    dy: &[T],
    x: &[T],
    dx: &mut [T],
    options: ImageNormBackwardOptions<'_, T>,
) -> Result<()> {
    backward(GROUP_NORM_BACKWARD, shape, Some(groups), dy, x, dx, options)
}

const INSTANCE_NORM: Call = Call {
    function: "instance_norm",
    parameters: "dtype order n c spatial x scale bias epsilon y mean inv_std workspace executor",
};
const GROUP_NORM: Call = Call {
    function: "group_norm",
    parameters:
        "dtype order n c spatial groups x scale bias epsilon y mean inv_std workspace executor",
};
const INSTANCE_NORM_BACKWARD: Call = Call {
    function: "instance_norm_backward",
    parameters:
        "dtype order n c spatial dy x scale mean inv_std epsilon dx dscale dbias workspace \
                 executor",
};
const GROUP_NORM_BACKWARD: Call = Call {
    function: "group_norm_backward",
    parameters: "dtype order n c spatial groups dy x scale mean inv_std epsilon dx dscale dbias \
                 workspace executor",
};

/// Without groups: instance norm.
fn forward_at<T: Element>(
    call: Call,
    shape: Images,
    groups: Option<usize>,
    x: *const c_void,
    y: *mut c_void,
    options: ImageNormOptions<'_, T>,
) -> Result<()> {
    let statistics = [shape.n, groups.unwrap_or(shape.c)];
    let scale = call.optional_input("scale", options.scale, &[shape.c])?;
    let bias = call.optional_input("bias", options.bias, &[shape.c])?;
    let mean = call.optional_output("mean", options.mean, &statistics)?;
    let inv_std = call.optional_output("inv_std", options.inv_std, &statistics)?;
    let (dtype, (order, n, c, spatial), epsilon) = (T::DTYPE, shape.arguments(), options.epsilon);
    let groups = groups.map(extent);
    // SAFETY: takes any numbers.
    let mut workspace = Workspace::new(unsafe {
        match groups {
            None => {
                ffi::normkernels_instance_norm_forward_workspace_bytes(dtype, order, n, c, spatial)
            }
            Some(groups) => ffi::normkernels_group_norm_forward_workspace_bytes(
                dtype, order, n, c, spatial, groups,
            ),
        }
    });
    let workspace = workspace.pointer();
    // SAFETY: the arrays have the type and the extents that are said, and y is x or overlaps nothing.
    call.finish(with_executor(options.threads, |executor| unsafe {
        match groups {
            None => ffi::normkernels_instance_norm_forward(
                dtype, order, n, c, spatial, x, scale, bias, epsilon, y, mean, inv_std, workspace,
                executor,
            ),
            Some(groups) => ffi::normkernels_group_norm_forward(
                dtype, order, n, c, spatial, groups, x, scale, bias, epsilon, y, mean, inv_std,
                workspace, executor,
            ),
        }
    }))
}

/// Without groups: of instance norm.
fn backward<T: Element>(
    call: Call,
    shape: Images,
    groups: Option<usize>,
    dy: &[T],
    x: &[T],
    dx: &mut [T],
    options: ImageNormBackwardOptions<'_, T>,
) -> Result<()> {
    let statistics = [shape.n, groups.unwrap_or(shape.c)];
    let dy = call.input("dy", dy, &shape.extents())?;
    let x = call.input("x", x, &shape.extents())?;
    let scale = call.optional_input("scale", options.scale, &[shape.c])?;
    let mean = call.optional_input("mean", options.mean, &statistics)?;
    let inv_std = call.optional_input("inv_std", options.inv_std, &statistics)?;
    let dx = call.output("dx", dx, &shape.extents())?;
    let dscale = call.optional_output("dscale", options.dscale, &[shape.c])?;
    let dbias = call.optional_output("dbias", options.dbias, &[shape.c])?;
    let (dtype, (order, n, c, spatial), epsilon) = (T::DTYPE, shape.arguments(), options.epsilon);
    let groups = groups.map(extent);
    // SAFETY: takes any numbers.
    let mut workspace = Workspace::new(unsafe {
        match groups {
            None => {
                ffi::normkernels_instance_norm_backward_workspace_bytes(dtype, order, n, c, spatial)
            }
            Some(groups) => ffi::normkernels_group_norm_backward_workspace_bytes(
                dtype, order, n, c, spatial, groups,
            ),
        }
    });
    let workspace = workspace.pointer();
    // SAFETY: the arrays have the type and the extents that are said, and no output overlaps another.
    call.finish(with_executor(options.threads, |executor| unsafe {
        match groups {
            None => ffi::normkernels_instance_norm_backward(
                dtype, order, n, c, spatial, dy, x, scale, mean, inv_std, epsilon, dx, dscale,
                dbias, workspace, executor,
            ),
            Some(groups) => ffi::normkernels_group_norm_backward(
                dtype, order, n, c, spatial, groups, dy, x, scale, mean, inv_std, epsilon, dx,
                dscale, dbias, workspace, executor,
            ),
        }
    }))
}
