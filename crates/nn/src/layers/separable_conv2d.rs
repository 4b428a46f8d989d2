//! Separable convolution: each channel by itself, then a 1x1 convolution that mixes them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tilegrad_core::{Conv2dOptions, Padding, Shape, ShapeError, Tensor, Unary, conv_shape};

use super::{Pair, built, config, expect_positive, expect_rank};
use crate::activation::Activation;
use crate::initializers::Initializer;
use crate::layer::{BuildContext, Context, Layer};
use crate::param::Param;

/// `(N, H, W, C) -> (N, H', W', filters)`; weights `depthwise_kernel (KH, KW, C, multiplier)`, `pointwise_kernel (1, 1,
/// C * multiplier, filters)` and `bias (filters)`. Keras's `SeparableConv2D` with its defaults. Chollet 2017.
///
/// ```
/// use tilegrad_core::{Padding, Shape};
/// use tilegrad_nn::{Layer, layers::SeparableConv2d};
/// let layer = SeparableConv2d::new(32, 3).strides(2).padding(Padding::Same);
/// assert_eq!(layer.output_shape(&Shape::from([1, 28, 28, 16])).unwrap(), Shape::from([1, 14, 14, 32]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeparableConv2d {
    filters: usize,
    kernel_size: [usize; 2],
    strides: [usize; 2],
    #[serde(with = "config::padding")]
    padding: Padding,
    dilation: [usize; 2],
    depth_multiplier: usize,
    activation: Activation,
    use_bias: bool,
    depthwise_initializer: Initializer,
    pointwise_initializer: Initializer,
    bias_initializer: Initializer,
    name: Option<String>,
    #[serde(skip)]
    depthwise_kernel: Option<Param>,
    #[serde(skip)]
    pointwise_kernel: Option<Param>,
    #[serde(skip)]
    bias: Option<Param>,
}

impl SeparableConv2d {
    /// A convolution with this many output channels and this window: one number, or height and width.
    pub fn new(filters: usize, kernel: impl Into<Pair>) -> SeparableConv2d {
        SeparableConv2d {
            filters,
            kernel_size: kernel.into().0,
            strides: [1; 2],
            padding: Padding::Valid,
            dilation: [1; 2],
            depth_multiplier: 1,
            activation: Activation::Linear,
            use_bias: true,
            depthwise_initializer: Initializer::GlorotUniform,
            pointwise_initializer: Initializer::GlorotUniform,
            bias_initializer: Initializer::Zeros,
            name: None,
            depthwise_kernel: None,
            pointwise_kernel: None,
            bias: None,
        }
    }

    /// Pixels from one window to the next.
    pub fn strides(mut self, strides: impl Into<Pair>) -> SeparableConv2d {
        self.strides = strides.into().0;
        self
    }

    /// What lies around the image.
    pub fn padding(mut self, padding: Padding) -> SeparableConv2d {
        self.padding = padding;
        self
    }

    /// Pixels from one tap of the window to the next.
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> SeparableConv2d {
        self.dilation = dilation.into().0;
        self
    }

    /// Channels made of each input channel before they are mixed.
    pub fn depth_multiplier(mut self, multiplier: usize) -> SeparableConv2d {
        self.depth_multiplier = multiplier;
        self
    }

    /// What follows the sum.
    pub fn activation(mut self, activation: Activation) -> SeparableConv2d {
        self.activation = activation;
        self
    }

    /// Whether a number is added to each output channel.
    pub fn use_bias(mut self, use_bias: bool) -> SeparableConv2d {
        self.use_bias = use_bias;
        self
    }

    /// How the kernel of the single channels starts.
    pub fn depthwise_initializer(mut self, initializer: Initializer) -> SeparableConv2d {
        self.depthwise_initializer = initializer;
        self
    }

    /// How the kernel that mixes channels starts.
    pub fn pointwise_initializer(mut self, initializer: Initializer) -> SeparableConv2d {
        self.pointwise_initializer = initializer;
        self
    }

    /// How the bias starts.
    pub fn bias_initializer(mut self, initializer: Initializer) -> SeparableConv2d {
        self.bias_initializer = initializer;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> SeparableConv2d {
        self.name = Some(name.into());
        self
    }

    fn depthwise_options(&self) -> Conv2dOptions {
        let SeparableConv2d { strides, padding, dilation, .. } = *self;
        Conv2dOptions { stride: strides, padding, dilation, ..Conv2dOptions::default() }
    }

    /// The shapes of both kernels.
    fn kernel_shapes(&self, input: &Shape) -> Result<[Shape; 2], ShapeError> {
        let [height, width] = self.kernel_size;
        let depthwise = Shape::try_new(&[height, width, input[3], self.depth_multiplier])?;
        let pointwise = Shape::try_new(&[1, 1, depthwise[2] * depthwise[3], self.filters])?;
        Ok([depthwise, pointwise])
    }

    fn convolve(&self, x: &Tensor, activation: Option<Unary>, ctx: &Context<'_>) -> Tensor {
        let kernel = ctx.operand(&built(&self.depthwise_kernel));
        let channels = ctx.operand(x).depthwise_conv2d(&kernel, None, &self.depthwise_options());
        let bias = self.use_bias.then(|| built(&self.bias));
        let mix = Conv2dOptions { activation, ..Conv2dOptions::default() };
        ctx.operand(&channels).conv2d(&ctx.operand(&built(&self.pointwise_kernel)), bias.as_ref(), &mix)
    }
}

impl Layer for SeparableConv2d {
    fn kind(&self) -> &str {
        "SeparableConv2D"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        expect_rank(input, 4, "(N, H, W, C)", "images have a channel axis, also when it is 1: use [H, W, 1]")?;
        expect_positive("filters", self.filters, input)?;
        expect_positive("depth multiplier", self.depth_multiplier, input)?;
        let [_, pointwise] = self.kernel_shapes(input)?;
        let [height, width] = self.kernel_size;
        let kernel = Shape::try_new(&[height, width, 1, pointwise[2]])?;
        let channels = conv_shape(input, &kernel, &Conv2dOptions { groups: input[3], ..self.depthwise_options() })?;
        conv_shape(&channels, &pointwise, &Conv2dOptions::default())
    }

    fn build(&mut self, input: &Shape, ctx: &mut BuildContext) -> Result<Shape, ShapeError> {
        let output = self.output_shape(input)?;
        let [depthwise, pointwise] = self.kernel_shapes(input)?;
        self.depthwise_kernel = Some(ctx.weight("depthwise_kernel", depthwise, &self.depthwise_initializer)?);
        self.pointwise_kernel = Some(ctx.weight("pointwise_kernel", pointwise, &self.pointwise_initializer)?);
        if self.use_bias {
            self.bias = Some(ctx.weight("bias", [self.filters], &self.bias_initializer)?);
        }
        Ok(output)
    }

    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        self.activation.apply_unfused(self.convolve(x, self.activation.fused(), ctx))
    }

    fn flops(&self, inputs: &[Shape], output: &Shape) -> u64 {
        let channels = (inputs[0][3] * self.depth_multiplier) as u64;
        let taps = self.kernel_size.iter().product::<usize>() as u64;
        let pixels = (output[1] * output[2]) as u64;
        pixels * (2 * channels * taps + self.filters as u64 * (2 * channels + u64::from(self.use_bias)))
    }

    fn head(&self) -> Option<Activation> {
        Some(self.activation)
    }

    fn forward_headless(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        self.convolve(x, None, ctx)
    }
}
