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
