//! The operators of Caffe2 that this library began with, by their names: LayerNorm, InstanceNorm, LRN, and the gradient
//! of each. Arguments are fields, with the defaults of the originals, `run` takes the inputs and returns the outputs in
//! their order.
//!
//! ```
//! use normkernels::operators::{LayerNorm, LayerNormGradient, Tensor};
//!
//! let x = Tensor::new(&[2, 3], vec![1.0f32, 2.0, 6.0, -1.0, 0.0, 1.0])?;
//! let gamma = Tensor::new(&[3], vec![1.0, 2.0, 3.0])?;
//! let beta = Tensor::new(&[3], vec![0.0; 3])?;
//!
//! let [y, mean, sigma] =
//!     LayerNorm { elementwise_affine: true, ..Default::default() }.run(&[&x, &gamma, &beta])?;
//! assert_eq!((mean.shape(), mean.data()), (&[2, 1][..], &[3.0, 0.0][..]));
//!
//! let gradient = LayerNormGradient { elementwise_affine: true, ..Default::default() };
//! let [dx, dgamma, dbeta] = gradient.run(&[&y, &y, &mean, &sigma, &x, &gamma])?;
//! # let _ = (dx, dgamma, dbeta);
//! # Ok::<(), normkernels::Error>(())
//! ```

use crate::call::elements;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::images::{Images, Order};
use crate::layer_norm::Matrix;
use crate::threads::Threads;
use crate::{
    instance_norm, instance_norm_backward, layer_norm, layer_norm_backward, local_response_norm,
    local_response_norm_backward, ImageNormBackwardOptions, ImageNormOptions,
    LayerNormBackwardOptions, LayerNormOptions, LocalResponseNormOptions, Window,
};

/// What operators compute with: a type that has its own statistics.
pub trait Float: Element<Statistic = Self> {}
impl Float for f32 {}
impl Float for f64 {}

/// An array, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<T> {
    shape: Vec<usize>,
    data: Vec<T>,
}

impl<T: Float> Tensor<T> {
    /// An error unless the data has as many elements as the shape.
    pub fn new(shape: &[usize], data: Vec<T>) -> Result<Self> {
        if elements(shape) != Some(data.len()) {
            let what =
                format!("has {} elements, must have those of the shape {shape:?}", data.len());
            return Err(Error::new("Tensor", "data", what));
        }
        Ok(Tensor { shape: shape.to_vec(), data })
    }

    /// Its extents.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its elements.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    fn zeros(shape: &[usize]) -> Self {
        Tensor { shape: shape.to_vec(), data: vec![T::default(); shape.iter().product()] }
    }
}

fn check_count<T>(operator: &'static str, inputs: &[&Tensor<T>], wanted: &[usize]) -> Result<()> {
    if wanted.contains(&inputs.len()) {
        return Ok(());
    }
    let wanted: Vec<String> = wanted.iter().map(usize::to_string).collect();
    let what = format!("are {}, must be {}", inputs.len(), wanted.join(" or "));
    Err(Error::new(operator, "inputs", what))
}

/// The first normalised axis, counted from the front, and rows and columns.
fn rows_of<T: Float>(operator: &'static str, x: &Tensor<T>, axis: i32) -> Result<(usize, Matrix)> {
    let rank = x.shape.len();
    let first = if axis < 0 { i64::from(axis) + rank as i64 } else { i64::from(axis) };
    if first < 0 || first >= rank as i64 {
        let what = format!("is {axis}, must be from -{rank} to {rank} - 1, the axes of x");
        return Err(Error::new(operator, "axis", what));
    }
    let first = first as usize;
    let (outer, inner) = x.shape.split_at(first);
    Ok((first, Matrix { rows: outer.iter().product(), cols: inner.iter().product() }))
}

fn images_of<T: Float>(operator: &'static str, x: &Tensor<T>, order: Order) -> Result<Images> {
    let rank = x.shape.len();
    if rank < 2 {
        let what = format!("has rank {rank}, must have images and channels, rank 2 or more");
        return Err(Error::new(operator, "x", what));
    }
    let (channels, spatial) = match order {
        Order::Nchw => (x.shape[1], &x.shape[2..]),
        Order::Nhwc => (x.shape[rank - 1], &x.shape[1..rank - 1]),
    };
    Ok(Images { order, n: x.shape[0], c: channels, spatial: spatial.iter().product() })
}

/// Inputs x or x, gamma, beta; outputs y, mean and sigma = sqrt(var + epsilon), one per row: `x.shape[..axis]` and a 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm {
    /// The first normalised axis: all from there on are, jointly; may be negative; 1.
    pub axis: i32,
    /// Is added to the variance; 1e-5.
    pub epsilon: f32,
    /// Whether gamma and beta are applied; false.
    pub elementwise_affine: bool,
}

impl Default for LayerNorm {
    fn default() -> Self {
        LayerNorm { axis: 1, epsilon: 1e-5, elementwise_affine: false }
    }
}

impl LayerNorm {
    /// Outputs y, mean, sigma.
    pub fn run<T: Float>(&self, inputs: &[&Tensor<T>]) -> Result<[Tensor<T>; 3]> {
        const NAME: &str = "LayerNorm";
        check_count(NAME, inputs, if self.elementwise_affine { &[3] } else { &[1, 3] })?;
        let x = inputs[0];
        let (axis, shape) = rows_of(NAME, x, self.axis)?;
        let statistics = [&x.shape[..axis], &[1]].concat();
        let (mut mean, mut sigma) = (Tensor::zeros(&statistics), Tensor::zeros(&statistics));
        let mut y = Tensor::zeros(&x.shape);
        let parameter = |i: usize| self.elementwise_affine.then(|| inputs[i].data());
        let options = LayerNormOptions {
            gamma: parameter(1),
            beta: parameter(2),
            epsilon: self.epsilon.into(),
            mean: Some(&mut mean.data),
            sigma: Some(&mut sigma.data),
            threads: Threads::Automatic,
        };
        layer_norm(shape, &x.data, &mut y.data, options)?;
        Ok([y, mean, sigma])
    }
}

/// Inputs dy, y (which is not read), mean, sigma, x and, with elementwise_affine, gamma; outputs dx, dgamma, dbeta.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNormGradient {
    /// As in the forward; 1.
    pub axis: i32,
    /// Whether gamma was applied; false.
    pub elementwise_affine: bool,
}

impl Default for LayerNormGradient {
    fn default() -> Self {
        LayerNormGradient { axis: 1, elementwise_affine: false }
    }
}

impl LayerNormGradient {
    /// Outputs dx, dgamma, dbeta.
    pub fn run<T: Float>(&self, inputs: &[&Tensor<T>]) -> Result<[Tensor<T>; 3]> {
        const NAME: &str = "LayerNormGradient";
        check_count(NAME, inputs, if self.elementwise_affine { &[6] } else { &[5, 6] })?;
        let (dy, mean, sigma, x) = (inputs[0], inputs[2], inputs[3], inputs[4]);
        let (axis, shape) = rows_of(NAME, x, self.axis)?;
        let gamma = self.elementwise_affine.then(|| inputs[5]);
        let parameter = gamma.map_or(&x.shape[axis..], |gamma| &gamma.shape);
        let mut dx = Tensor::zeros(&x.shape);
        let (mut dgamma, mut dbeta) = (Tensor::zeros(parameter), Tensor::zeros(parameter));
        let options = LayerNormBackwardOptions {
            gamma: gamma.map(Tensor::data),
            dgamma: Some(&mut dgamma.data),
            dbeta: Some(&mut dbeta.data),
            threads: Threads::Automatic,
        };
        layer_norm_backward(
            shape,
            &dy.data,
            &x.data,
            &mean.data,
            &sigma.data,
            &mut dx.data,
            options,
        )?;
        Ok([dx, dgamma, dbeta])
    }
}

/// Inputs x, scale, bias; outputs y, mean and inv_std = 1 / sqrt(var + epsilon), (N, C).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InstanceNorm {
    /// Is added to the variance; 1e-5.
    pub epsilon: f32,
    /// Where the channels are; NCHW.
    pub order: Order,
}

impl Default for InstanceNorm {
    fn default() -> Self {
        InstanceNorm { epsilon: 1e-5, order: Order::Nchw }
    }
}

impl InstanceNorm {
    /// Outputs y, mean, inv_std.
    pub fn run<T: Float>(&self, inputs: &[&Tensor<T>]) -> Result<[Tensor<T>; 3]> {
        const NAME: &str = "InstanceNorm";
        check_count(NAME, inputs, &[3])?;
        let x = inputs[0];
        let shape = images_of(NAME, x, self.order)?;
        let statistics = [shape.n, shape.c];
        let (mut mean, mut inv_std) = (Tensor::zeros(&statistics), Tensor::zeros(&statistics));
        let mut y = Tensor::zeros(&x.shape);
        let options = ImageNormOptions {
            scale: Some(inputs[1].data()),
            bias: Some(inputs[2].data()),
            epsilon: self.epsilon.into(),
            mean: Some(&mut mean.data),
            inv_std: Some(&mut inv_std.data),
            threads: Threads::Automatic,
        };
        instance_norm(shape, &x.data, &mut y.data, options)?;
        Ok([y, mean, inv_std])
    }
}

/// Inputs x, scale, bias (which is not read), dy and maybe mean and inv_std, without which both are computed again;
/// outputs dx, dscale, dbias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InstanceNormGradient {
    /// As in the forward; 1e-5.
    pub epsilon: f32,
    /// As in the forward; NCHW.
    pub order: Order,
}

impl Default for InstanceNormGradient {
    fn default() -> Self {
        InstanceNormGradient { epsilon: 1e-5, order: Order::Nchw }
    }
}

impl InstanceNormGradient {
    /// Outputs dx, dscale, dbias.
    pub fn run<T: Float>(&self, inputs: &[&Tensor<T>]) -> Result<[Tensor<T>; 3]> {
        const NAME: &str = "InstanceNormGradient";
        check_count(NAME, inputs, &[4, 5, 6])?;
        let (x, scale, dy) = (inputs[0], inputs[1], inputs[3]);
        let shape = images_of(NAME, x, self.order)?;
        let mut dx = Tensor::zeros(&x.shape);
        let (mut dscale, mut dbias) = (Tensor::zeros(&scale.shape), Tensor::zeros(&scale.shape));
        let saved = |i: usize| (inputs.len() == 6).then(|| inputs[i].data());
        let options = ImageNormBackwardOptions {
            scale: Some(scale.data()),
            mean: saved(4),
            inv_std: saved(5),
            epsilon: self.epsilon.into(),
            dscale: Some(&mut dscale.data),
            dbias: Some(&mut dbias.data),
            threads: Threads::Automatic,
        };
        instance_norm_backward(shape, &dy.data, &x.data, &mut dx.data, options)?;
        Ok([dx, dscale, dbias])
    }
}

/// Input x; outputs y and scale = bias + alpha / size * sum of squares over the window, which y is x * scale^-beta of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LRN {
    /// Channels in the window; 0, so it has to be given.
    pub size: usize,
    /// Factor of the mean square of the window; 0.
    pub alpha: f32,
    /// Exponent; 0.
    pub beta: f32,
    /// Is added to the mean square; 1.
    pub bias: f32,
    /// Where the channels are; NCHW.
    pub order: Order,
}

impl Default for LRN {
    fn default() -> Self {
        LRN { size: 0, alpha: 0.0, beta: 0.0, bias: 1.0, order: Order::Nchw }
    }
}

impl LRN {
    /// Outputs y, scale.
    pub fn run<T: Float>(&self, inputs: &[&Tensor<T>]) -> Result<[Tensor<T>; 2]> {
        const NAME: &str = "LRN";
        check_count(NAME, inputs, &[1])?;
        let x = inputs[0];
        let shape = images_of(NAME, x, self.order)?;
        let (mut y, mut scale) = (Tensor::zeros(&x.shape), Tensor::zeros(&x.shape));
        let options =
            LocalResponseNormOptions { scale: Some(&mut scale.data), threads: Threads::Automatic };
        local_response_norm(shape, self.window(), &x.data, &mut y.data, options)?;
        Ok([y, scale])
    }

    fn window(&self) -> Window {
        Window {
            size: self.size,
            alpha: self.alpha.into(),
            beta: self.beta.into(),
            bias: self.bias.into(),
        }
    }
}

/// The arguments of [`LRN`]; inputs x, y, dy, output dx.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LRNGradient(pub LRN);

impl LRNGradient {
    /// Output dx.
    pub fn run<T: Float>(&self, inputs: &[&Tensor<T>]) -> Result<[Tensor<T>; 1]> {
        const NAME: &str = "LRNGradient";
        check_count(NAME, inputs, &[3])?;
        let (x, y, dy) = (inputs[0], inputs[1], inputs[2]);
        let shape = images_of(NAME, x, self.0.order)?;
        let mut dx = Tensor::zeros(&x.shape);
        local_response_norm_backward(
            shape,
            self.0.window(),
            &dy.data,
            &x.data,
            Some(&y.data),
            &mut dx.data,
            Threads::Automatic,
        )?;
        Ok([dx])
    }
}
