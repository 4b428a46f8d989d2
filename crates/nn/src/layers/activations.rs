//! Activations as layers that have a name or settings of their own.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tilegrad_core::{Shape, ShapeError, Tensor};

use super::{built, config};
use crate::activation::Activation;
use crate::initializers::Initializer;
use crate::layer::{BuildContext, Context, Layer};
use crate::param::Param;

/// An [`Activation`] as a layer with a name of its own. Keras's `Activation`.
///
/// ```
/// use tilegrad_nn::layers::Activation;
/// use tilegrad_nn::{Layer, Sequential};
/// let model = Sequential::new([4]).add(Activation::Relu.named("out"));
/// assert_eq!(model.layers()[0].name(), "out");
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedActivation {
    activation: Activation,
    name: Option<String>,
}

impl Activation {
    /// The function as a layer of this name.
    pub fn named(self, name: impl Into<String>) -> NamedActivation {
        NamedActivation { activation: self, name: Some(name.into()) }
    }

    /// As the layer of its own that a file describes.
    pub(crate) fn layer_config(self) -> Value {
        config::of(&NamedActivation { activation: self, name: None })
    }
}

impl Layer for NamedActivation {
    fn kind(&self) -> &str {
        "Activation"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Ok(*input)
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        self.activation.apply(x)
    }

    fn head(&self) -> Option<Activation> {
        Some(self.activation)
    }

    fn forward_headless(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.clone()
    }
}

/// `(..) -> (..)`: `min(max(x, 0), max_value)`, with a slope below zero. Keras's `ReLU`.
///
/// ```
/// use tilegrad_nn::{Layer, layers::Relu};
/// let relu6 = Relu::new().max_value(6.0);
/// assert_eq!(relu6.kind(), "ReLU");
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relu {
    max_value: Option<f32>,
    negative_slope: f32,
    name: Option<String>,
}

impl Relu {
    /// `max(x, 0)`.
    pub fn new() -> Relu {
        Relu::default()
    }

    /// No output is larger than this.
    pub fn max_value(mut self, max_value: f32) -> Relu {
        self.max_value = Some(max_value);
        self
    }

    /// What negative numbers are multiplied by.
    pub fn negative_slope(mut self, slope: f32) -> Relu {
        self.negative_slope = slope;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> Relu {
        self.name = Some(name.into());
        self
    }
}

impl Layer for Relu {
    fn kind(&self) -> &str {
        "ReLU"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        match self.max_value {
            Some(max) if max < 0.0 || max.is_nan() => {
                Err(ShapeError::new(format!("max_value: expected at least 0, got {max}")))
            }
            _ => Ok(*input),
        }
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        let y = if self.negative_slope == 0.0 { x.relu() } else { x.leaky_relu(self.negative_slope) };
        self.max_value.map_or(y.clone(), |max| y.clip_max(max))
    }

    fn head(&self) -> Option<Activation> {
        (self.max_value.is_none() && self.negative_slope == 0.0).then_some(Activation::Relu)
    }

    fn forward_headless(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        if self.head().is_some() { x.clone() } else { self.forward(x, ctx) }
    }
}

/// `(N, ..) -> (N, ..)`: `x`, or `alpha * x` below zero, with an alpha that is learned for each number of an example. Keras's
/// `PReLU`. He et al. 2015.
///
/// ```
/// use tilegrad_nn::{Sequential, layers::{Conv2d, PRelu}};
/// let model = Sequential::new([8, 8, 1]).add(Conv2d::new(4, 3)).add(PRelu::new().shared_axes([1, 2]));
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PRelu {
    shared_axes: Vec<usize>,
    name: Option<String>,
    #[serde(skip)]
    alpha: Option<Param>,
}

impl PRelu {
    /// An alpha for each number, 0 at first.
    pub fn new() -> PRelu {
        PRelu::default()
    }

    /// One alpha along these axes, counted with the batch axis: `[1, 2]` for one a channel of an image.
    pub fn shared_axes(mut self, axes: impl Into<Vec<usize>>) -> PRelu {
        self.shared_axes = axes.into();
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> PRelu {
        self.name = Some(name.into());
        self
    }
}

impl Layer for PRelu {
    fn kind(&self) -> &str {
        "PReLU"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        if let Some(axis) = self.shared_axes.iter().find(|&&axis| axis == 0 || axis >= input.rank()) {
            let problem = format!("shared axis {axis} is none of 1..{}", input.rank());
            return Err(ShapeError::new(problem).operand("input", input));
        }
        Ok(*input)
    }

    fn build(&mut self, input: &Shape, ctx: &mut BuildContext) -> Result<Shape, ShapeError> {
        let output = self.output_shape(input)?;
        let one = |(axis, &len): (usize, &usize)| if self.shared_axes.contains(&axis) { 1 } else { len };
        let shape: Vec<usize> = input.iter().enumerate().skip(1).map(one).collect();
        self.alpha = Some(ctx.weight("alpha", Shape::new(&shape), &Initializer::Zeros)?);
        Ok(output)
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.prelu(&built(&self.alpha))
    }
}

/// `(..) -> (..)`: `x`, or `negative_slope * x` below zero. Keras's `LeakyReLU`, with its slope of 0.3. Maas et al. 2013.
///
/// ```
/// use tilegrad_nn::{Layer, layers::LeakyRelu};
/// assert_eq!(LeakyRelu::new().negative_slope(0.1).kind(), "LeakyReLU");
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeakyRelu {
    negative_slope: f32,
    name: Option<String>,
}

impl Default for LeakyRelu {
    fn default() -> LeakyRelu {
        LeakyRelu { negative_slope: 0.3, name: None }
    }
}

impl LeakyRelu {
    /// With a slope of 0.3 below zero.
    pub fn new() -> LeakyRelu {
        LeakyRelu::default()
    }

    /// What negative numbers are multiplied by.
    pub fn negative_slope(mut self, slope: f32) -> LeakyRelu {
        self.negative_slope = slope;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> LeakyRelu {
        self.name = Some(name.into());
        self
    }
}

impl Layer for LeakyRelu {
    fn kind(&self) -> &str {
        "LeakyReLU"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        if self.negative_slope.is_finite() {
            return Ok(*input);
        }
        Err(ShapeError::new(format!("negative_slope: expected a finite number, got {}", self.negative_slope)))
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.leaky_relu(self.negative_slope)
    }
}

/// `(..) -> (..)`: `x`, or `alpha * (e^x - 1)` below zero. Keras's `ELU`, with its alpha of 1. Clevert et al. 2015.
///
/// ```
/// use tilegrad_nn::{Layer, layers::Elu};
/// assert_eq!(Elu::new().alpha(0.5).kind(), "ELU");
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elu {
    alpha: f32,
    name: Option<String>,
}

impl Default for Elu {
    fn default() -> Elu {
        Elu { alpha: 1.0, name: None }
    }
}

impl Elu {
    /// With an alpha of 1.
    pub fn new() -> Elu {
        Elu::default()
    }

    /// What outputs stay above, without its sign.
    pub fn alpha(mut self, alpha: f32) -> Elu {
        self.alpha = alpha;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> Elu {
        self.name = Some(name.into());
        self
    }
}

impl Layer for Elu {
    fn kind(&self) -> &str {
        "ELU"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        if self.alpha.is_finite() {
            return Ok(*input);
        }
        Err(ShapeError::new(format!("alpha: expected a finite number, got {}", self.alpha)))
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.elu(self.alpha)
    }
}

/// `(..) -> (..)`: `e^x` over its sum along an axis. Keras's `Softmax`: along the last axis, if nothing else is said.
///
/// ```
/// use tilegrad_nn::{Sequential, layers::{Dense, Softmax}};
/// let model = Sequential::new([4]).add(Dense::new(10)).add(Softmax::new());
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Softmax {
    axis: isize,
    name: Option<String>,
}

impl Default for Softmax {
    fn default() -> Softmax {
        Softmax { axis: -1, name: None }
    }
}

impl Softmax {
    /// Along the last axis.
    pub fn new() -> Softmax {
        Softmax::default()
    }

    /// The axis whose numbers add up to 1: counted with the batch axis, which is 0, or from the end if negative.
    pub fn axis(mut self, axis: isize) -> Softmax {
        self.axis = axis;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> Softmax {
        self.name = Some(name.into());
        self
    }
}

impl Layer for Softmax {
    fn kind(&self) -> &str {
        "Softmax"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        match input.axis(self.axis)? {
            0 => Err(ShapeError::new("no softmax along the batch axis: examples don't see each other")),
            _ => Ok(*input),
        }
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.softmax(self.axis)
    }

    fn head(&self) -> Option<Activation> {
        (self.axis == -1).then_some(Activation::Softmax)
    }

    fn forward_headless(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        if self.head().is_some() { x.clone() } else { self.forward(x, ctx) }
    }
}
