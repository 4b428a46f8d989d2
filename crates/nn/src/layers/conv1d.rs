//! 1-D convolution: `y[n, i, o] = activation(bias[o] + sum over taps and channels of x * kernel)`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tilegrad_core::{Conv1dOptions, Padding, Shape, ShapeError, Tensor, Unary, conv_shape};

use super::{built, config, expect_positive, expect_rank};
use crate::activation::Activation;
use crate::initializers::Initializer;
use crate::layer::{BuildContext, Context, Layer};
use crate::param::Param;

/// `(N, L, C) -> (N, L', filters)`; weights `kernel (K, C/groups, filters)` and `bias (filters)`. Keras's `Conv1D` with its
/// defaults.
///
/// ```
/// use tilegrad_core::Shape;
/// use tilegrad_nn::{Layer, layers::Conv1d};
/// assert_eq!(Conv1d::new(8, 3).output_shape(&Shape::from([1, 10, 2])).unwrap(), Shape::from([1, 8, 8]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv1d {
    filters: usize,
    kernel_size: usize,
    strides: usize,
    #[serde(with = "config::padding")]
    padding: Padding<1>,
    dilation: usize,
    groups: usize,
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

impl Conv1d {
    /// A convolution with this many output channels and this window.
    pub fn new(filters: usize, kernel_size: usize) -> Conv1d {
        Conv1d {
            filters,
            kernel_size,
            strides: 1,
            padding: Padding::Valid,
            dilation: 1,
            groups: 1,
            activation: Activation::Linear,
            use_bias: true,
            kernel_initializer: Initializer::GlorotUniform,
            bias_initializer: Initializer::Zeros,
            name: None,
            kernel: None,
            bias: None,
        }
    }

    /// Positions from one window to the next.
    pub fn strides(mut self, strides: usize) -> Conv1d {
        self.strides = strides;
        self
    }

    /// What lies around the sequence.
    pub fn padding(mut self, padding: Padding<1>) -> Conv1d {
        self.padding = padding;
        self
    }

    /// Positions from one tap of the window to the next.
    pub fn dilation(mut self, dilation: usize) -> Conv1d {
        self.dilation = dilation;
        self
    }

    /// Splits channels and filters into groups that see only each other.
    pub fn groups(mut self, groups: usize) -> Conv1d {
        self.groups = groups;
        self
    }

    /// What follows the sum.
    pub fn activation(mut self, activation: Activation) -> Conv1d {
        self.activation = activation;
        self
    }

    /// Whether a number is added to each output channel.
    pub fn use_bias(mut self, use_bias: bool) -> Conv1d {
        self.use_bias = use_bias;
        self
    }

    /// How the kernel starts.
    pub fn kernel_initializer(mut self, initializer: Initializer) -> Conv1d {
        self.kernel_initializer = initializer;
        self
    }

    /// How the bias starts.
    pub fn bias_initializer(mut self, initializer: Initializer) -> Conv1d {
        self.bias_initializer = initializer;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> Conv1d {
        self.name = Some(name.into());
        self
    }

    fn kernel_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        expect_rank(input, 3, "(N, L, C)", "a sequence has a channel axis, also when it is 1: use [L, 1]")?;
        expect_positive("filters", self.filters, input)?;
        expect_positive("groups", self.groups, input)?;
        Shape::try_new(&[self.kernel_size, input[2] / self.groups, self.filters])
    }

    fn options(&self, activation: Option<Unary>) -> Conv1dOptions {
        let Conv1d { strides, padding, dilation, groups, .. } = *self;
        let (stride, dilation) = ([strides], [dilation]);
        Conv1dOptions { stride, padding, dilation, groups, activation, ..Conv1dOptions::default() }
    }

    fn convolve(&self, x: &Tensor, activation: Option<Unary>, ctx: &Context<'_>) -> Tensor {
        let bias = self.use_bias.then(|| built(&self.bias));
        ctx.operand(x).conv1d(&ctx.operand(&built(&self.kernel)), bias.as_ref(), &self.options(activation))
    }
}

impl Layer for Conv1d {
    fn kind(&self) -> &str {
        "Conv1D"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        conv_shape(input, &self.kernel_shape(input)?, &self.options(None))
    }

    fn build(&mut self, input: &Shape, ctx: &mut BuildContext) -> Result<Shape, ShapeError> {
        let output = self.output_shape(input)?;
        self.kernel = Some(ctx.weight("kernel", self.kernel_shape(input)?, &self.kernel_initializer)?);
        if self.use_bias {
            self.bias = Some(ctx.weight("bias", [self.filters], &self.bias_initializer)?);
        }
        Ok(output)
    }

    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        self.activation.apply_unfused(self.convolve(x, self.activation.fused(), ctx))
    }

    fn flops(&self, inputs: &[Shape], output: &Shape) -> u64 {
        let taps = (self.kernel_size * inputs[0][2] / self.groups) as u64;
        output.len() as u64 * (2 * taps + u64::from(self.use_bias))
    }

    fn head(&self) -> Option<Activation> {
        Some(self.activation)
    }

    fn forward_headless(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        self.convolve(x, None, ctx)
    }
}
