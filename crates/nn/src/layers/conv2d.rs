//! 2-D convolution: `y[n, i, j, o] = activation(bias[o] + sum over taps and channels of x * kernel)`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::{Conv2dOptions, Padding, Shape, ShapeError, Tensor, Unary, conv_shape};

use super::{Pair, built, config, expect_positive, expect_rank};
use crate::activation::Activation;
use crate::initializers::Initializer;
use crate::layer::{BuildContext, Context, Layer};
use crate::param::Param;

/// `(N, H, W, C) -> (N, H', W', filters)`; weights `kernel (KH, KW, C/groups, filters)` and `bias (filters)`.
///
/// Keras's `Conv2D` with its defaults: stride 1, `Valid` padding, no activation, a bias, Glorot-uniform kernels.
///
/// ```
/// use tilegrad_core::{Padding, Shape};
/// use tilegrad_nn::layers::{Activation, Conv2d};
/// use tilegrad_nn::Layer;
/// let stem = Conv2d::new(16, 7).strides(2).padding(Padding::Same).activation(Activation::Relu);
/// assert_eq!(stem.output_shape(&Shape::from([1, 28, 28, 3])).unwrap(), Shape::from([1, 14, 14, 16]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2d {
    filters: usize,
    kernel_size: [usize; 2],
    strides: [usize; 2],
    #[serde(with = "config::padding")]
    padding: Padding,
    dilation: [usize; 2],
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

impl Conv2d {
    /// A convolution with this many output channels and this window: one number, or height and width.
    pub fn new(filters: usize, kernel: impl Into<Pair>) -> Conv2d {
        Conv2d {
            filters,
            kernel_size: kernel.into().0,
            strides: [1; 2],
            padding: Padding::Valid,
            dilation: [1; 2],
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

    /// Pixels from one window to the next.
    pub fn strides(mut self, strides: impl Into<Pair>) -> Conv2d {
        self.strides = strides.into().0;
        self
    }

    /// What lies around the image.
    pub fn padding(mut self, padding: Padding) -> Conv2d {
        self.padding = padding;
        self
    }

    /// Pixels from one tap of the window to the next.
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> Conv2d {
        self.dilation = dilation.into().0;
        self
    }

    /// Splits channels and filters into groups that see only each other.
    pub fn groups(mut self, groups: usize) -> Conv2d {
        self.groups = groups;
        self
    }

    /// What follows the sum. Relu, sigmoid and tanh cost nothing: they are part of the kernel.
    pub fn activation(mut self, activation: Activation) -> Conv2d {
        self.activation = activation;
        self
    }

    /// Whether a number is added to each output channel.
    pub fn use_bias(mut self, use_bias: bool) -> Conv2d {
        self.use_bias = use_bias;
        self
    }

    /// How the kernel starts.
    pub fn kernel_initializer(mut self, initializer: Initializer) -> Conv2d {
        self.kernel_initializer = initializer;
        self
    }

    /// How the bias starts.
    pub fn bias_initializer(mut self, initializer: Initializer) -> Conv2d {
        self.bias_initializer = initializer;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> Conv2d {
        self.name = Some(name.into());
        self
    }

    fn kernel_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        expect_rank(input, 4, "(N, H, W, C)", "images have a channel axis, also when it is 1: use [H, W, 1]")?;
        expect_positive("filters", self.filters, input)?;
        expect_positive("groups", self.groups, input)?;
        let (channels, groups) = (input[3], self.groups);
        if !channels.is_multiple_of(groups) || !self.filters.is_multiple_of(groups) {
            let problem = format!("{groups} groups do not divide {channels} channels and {} filters", self.filters);
            return Err(ShapeError::new(problem).operand("input", input));
        }
        let [height, width] = self.kernel_size;
        Shape::try_new(&[height, width, channels / groups, self.filters])
    }

    fn options(&self, activation: Option<Unary>) -> Conv2dOptions {
        let Conv2d { strides, padding, dilation, groups, .. } = *self;
        Conv2dOptions { stride: strides, padding, dilation, groups, activation, ..Conv2dOptions::default() }
    }

    fn convolve(&self, x: &Tensor, activation: Option<Unary>, ctx: &Context<'_>) -> Tensor {
        let bias = self.use_bias.then(|| built(&self.bias));
        ctx.operand(x).conv2d(&ctx.operand(&built(&self.kernel)), bias.as_ref(), &self.options(activation))
    }
}

impl Layer for Conv2d {
    fn kind(&self) -> &str {
        "Conv2D"
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
        let [height, width] = self.kernel_size;
        let taps = (height * width * inputs[0][3] / self.groups) as u64;
        output.len() as u64 * (2 * taps + u64::from(self.use_bias))
    }

    fn head(&self) -> Option<Activation> {
        Some(self.activation)
    }

    fn forward_headless(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        self.convolve(x, None, ctx)
    }
}
