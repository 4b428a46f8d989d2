//! The fully connected layer: `y = activation(x · kernel + bias)`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::{Shape, ShapeError, Tensor, Unary};

use super::{built, config, expect_positive, expect_rank};
use crate::activation::Activation;
use crate::initializers::Initializer;
use crate::layer::{BuildContext, Context, Layer};
use crate::param::Param;

/// `(N, in) -> (N, units)`; weights `kernel (in, units)` and `bias (units)`.
///
/// Keras's `Dense` with its defaults: no activation, a bias, a Glorot-uniform kernel.
///
/// ```
/// use tilegrad_core::Shape;
/// use tilegrad_nn::layers::{Activation, Dense};
/// use tilegrad_nn::Layer;
/// let head = Dense::new(10).activation(Activation::Softmax);
/// assert_eq!(head.output_shape(&Shape::from([1, 64])).unwrap(), Shape::from([1, 10]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dense {
    units: usize,
    activation: Activation,
    use_bias: bool,
    kernel_initializer: Initializer,
    bias_initializer: Initializer,
    name: Option<String>,
    #[serde(skip)]
    kernel: Option<Param>,
    #[serde(skip)]
    bias: Option<Param>,
}

impl Dense {
    /// A layer with this many outputs.
    pub fn new(units: usize) -> Dense {
        Dense {
            units,
            activation: Activation::Linear,
            use_bias: true,
            kernel_initializer: Initializer::GlorotUniform,
            bias_initializer: Initializer::Zeros,
            name: None,
            kernel: None,
            bias: None,
        }
    }

    /// What follows the sum. Relu, sigmoid and tanh cost nothing: they are part of the kernel.
    pub fn activation(mut self, activation: Activation) -> Dense {
        self.activation = activation;
        self
    }

    /// Whether a number is added to each output.
    pub fn use_bias(mut self, use_bias: bool) -> Dense {
        self.use_bias = use_bias;
        self
    }

    /// How the kernel starts.
    pub fn kernel_initializer(mut self, initializer: Initializer) -> Dense {
        self.kernel_initializer = initializer;
        self
    }

    /// How the bias starts.
    pub fn bias_initializer(mut self, initializer: Initializer) -> Dense {
        self.bias_initializer = initializer;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> Dense {
        self.name = Some(name.into());
        self
    }

    fn linear(&self, x: &Tensor, activation: Option<Unary>, ctx: &Context<'_>) -> Tensor {
        let bias = self.use_bias.then(|| built(&self.bias));
        ctx.operand(x).linear(&ctx.operand(&built(&self.kernel)), bias.as_ref(), activation)
    }
}

impl Layer for Dense {
    fn kind(&self) -> &str {
        "Dense"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        expect_rank(input, 2, "(N, features)", "put a Flatten or a GlobalAvgPool2d layer before it")?;
        expect_positive("units", self.units, input)?;
        Shape::try_new(&[input[1], self.units])?;
        Shape::try_new(&[input[0], self.units])
    }

    fn build(&mut self, input: &Shape, ctx: &mut BuildContext) -> Result<Shape, ShapeError> {
        let output = self.output_shape(input)?;
        self.kernel = Some(ctx.weight("kernel", [input[1], self.units], &self.kernel_initializer)?);
        if self.use_bias {
            self.bias = Some(ctx.weight("bias", [self.units], &self.bias_initializer)?);
        }
        Ok(output)
    }

    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        self.activation.apply_unfused(self.linear(x, self.activation.fused(), ctx))
    }

    fn flops(&self, inputs: &[Shape], output: &Shape) -> u64 {
        (output.len() * (2 * inputs[0][1] + usize::from(self.use_bias))) as u64
    }

    fn head(&self) -> Option<Activation> {
        Some(self.activation)
    }

    fn forward_headless(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        self.linear(x, None, ctx)
    }
}
