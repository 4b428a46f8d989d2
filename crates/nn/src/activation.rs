//! Activations, as an argument of [`Conv2d`](crate::layers::Conv2d) and [`Dense`](crate::layers::Dense) and as a layer.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::{Shape, ShapeError, Tensor, Unary};

use crate::layer::{Context, Layer};

/// A function that follows a layer's sum. Also a layer of its own: `.add(Activation::Relu)`.
///
/// ```
/// use tilegrad_core::{Device, Tensor};
/// use tilegrad_nn::Activation;
/// let x = Tensor::new(&[-2.0, 3.0], [1, 2], &Device::cpu());
/// assert_eq!(Activation::Relu.apply(&x).to_vec::<f32>().unwrap(), [0.0, 3.0]);
/// assert_eq!(Activation::LeakyRelu(0.5).apply(&x).to_vec::<f32>().unwrap(), [-1.0, 3.0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// `x`.
    #[default]
    Linear,
    /// `max(x, 0)`.
    Relu,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `x * sigmoid(x)`, also called SiLU.
    Swish,
    /// `e^x` over its sum along the last axis: probabilities of classes.
    Softmax,
    /// `x`, or `alpha * (e^x - 1)` below zero. Keras's alpha is 1.
    Elu(f32),
    /// `x`, or `slope * x` below zero. Keras's slope is 0.2 as an activation and 0.3 as a layer.
    LeakyRelu(f32),
    /// `x` times the normal distribution function, by its tanh approximation: Keras's with `approximate=True`.
    Gelu,
    /// `x` times the normal distribution function: Keras's default.
    GeluExact,
    /// `ln(1 + e^x)`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// The self-normalising `scale * elu(x, alpha)` (Klambauer et al. 2017).
    Selu,
    /// `x * tanh(softplus(x))`.
    Mish,
    /// `relu6(x + 3) / 6`.
    HardSigmoid,
    /// `x * hard_sigmoid(x)`.
    HardSwish,
    /// The logarithm of the sigmoid, without overflow.
    LogSigmoid,
    /// The logarithm of the softmax along the last axis.
    LogSoftmax,
    /// `e^x`.
    Exponential,
    /// `x`, or `alpha * (e^(x / alpha) - 1)` below zero. Keras's alpha is 1.
    Celu(f32),
    /// `min(max(x, -1), 1)`.
    HardTanh,
    /// `x`, or 0 from `-threshold` to `threshold`. Keras's threshold is 0.5.
    HardShrink(f32),
    /// `x` brought nearer to 0 by `threshold`, and 0 where that is farther. Keras's threshold is 0.5.
    SoftShrink(f32),
    /// `x - tanh(x)`.
    TanhShrink,
}

impl Activation {
    /// The function's values.
    pub fn apply(&self, x: &Tensor) -> Tensor {
        match *self {
            Activation::Linear => x.clone(),
            Activation::Relu => x.relu(),
            Activation::Sigmoid => x.sigmoid(),
            Activation::Tanh => x.tanh(),
            Activation::Swish => x.swish(),
            Activation::Softmax => x.softmax(-1),
            Activation::Elu(alpha) => x.elu(alpha),
            Activation::LeakyRelu(slope) => x.leaky_relu(slope),
            Activation::Gelu => x.gelu(),
            Activation::GeluExact => x.gelu_exact(),
            Activation::Softplus => x.softplus(),
            Activation::Softsign => x.softsign(),
            Activation::Relu6 => x.relu6(),
            Activation::Selu => x.selu(),
            Activation::Mish => x.mish(),
            Activation::HardSigmoid => x.hard_sigmoid(),
            Activation::HardSwish => x.hard_swish(),
            Activation::LogSigmoid => x.logsigmoid(),
            Activation::LogSoftmax => x.log_softmax(-1),
            Activation::Exponential => x.exp(),
            Activation::Celu(alpha) => x.celu(alpha),
            Activation::HardTanh => x.clip(-1.0, 1.0),
            Activation::HardShrink(threshold) => x.shrink(0.0, threshold),
            Activation::SoftShrink(threshold) => x.shrink(threshold, threshold),
            Activation::TanhShrink => x.sub(&x.tanh()),
        }
    }

    /// The function as the end of a matmul's or convolution's kernel, which saves a pass over the output. Only those can
    /// be fused whose derivative follows from their output: backward keeps nothing else.
    pub(crate) fn fused(&self) -> Option<Unary> {
        match self {
            Activation::Relu => Some(Unary::Relu),
            Activation::Sigmoid => Some(Unary::Sigmoid),
            Activation::Tanh => Some(Unary::Tanh),
            _ => None,
        }
    }

    /// What is left to apply after a kernel that fuses what it can.
    pub(crate) fn apply_unfused(&self, x: Tensor) -> Tensor {
        if self.fused().is_some() { x } else { self.apply(&x) }
    }
}

impl Layer for Activation {
    fn kind(&self) -> &str {
        "Activation"
    }

    fn config(&self) -> Value {
        self.layer_config()
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Ok(*input)
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        self.apply(x)
    }

    fn head(&self) -> Option<Activation> {
        Some(*self)
    }

    fn forward_headless(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.clone()
    }
}
