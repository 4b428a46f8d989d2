//! Depthwise convolution: each channel by itself, `y[.., c * M + m] = sum over taps of x[.., c] * kernel[.., c, m]`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tilegrad_core::{Conv2dOptions, Padding, Shape, ShapeError, Tensor, Unary, conv_shape};

use super::{Pair, built, config, expect_positive, expect_rank};
use crate::activation::Activation;
use crate::initializers::Initializer;
use crate::layer::{BuildContext, Context, Layer};
use crate::param::Param;

/// `(N, H, W, C) -> (N, H', W', C * multiplier)`; weights `kernel (KH, KW, C, multiplier)` and `bias (C * multiplier)`. Keras's
/// `DepthwiseConv2D` with its defaults.
///
/// ```
/// use tilegrad_core::{Padding, Shape};
/// use tilegrad_nn::{Layer, layers::DepthwiseConv2d};
/// let layer = DepthwiseConv2d::new(3).strides(2).padding(Padding::Same);
/// assert_eq!(layer.output_shape(&Shape::from([1, 28, 28, 16])).unwrap(), Shape::from([1, 14, 14, 16]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepthwiseConv2d {
    kernel_size: [usize; 2],
    strides: [usize; 2],
    #[serde(with = "config::padding")]
    padding: Padding,
    dilation: [usize; 2],
    depth_multiplier: usize,
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

impl DepthwiseConv2d {
    /// A convolution with this window: one number, or height and width.
    pub fn new(kernel: impl Into<Pair>) -> DepthwiseConv2d {
        DepthwiseConv2d {
            kernel_size: kernel.into().0,
            strides: [1; 2],
            padding: Padding::Valid,
            dilation: [1; 2],
            depth_multiplier: 1,
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
    pub fn strides(mut self, strides: impl Into<Pair>) -> DepthwiseConv2d {
        self.strides = strides.into().0;
        self
    }

    /// What lies around the image.
    pub fn padding(mut self, padding: Padding) -> DepthwiseConv2d {
        self.padding = padding;
        self
    }

    /// Pixels from one tap of the window to the next.
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> DepthwiseConv2d {
        self.dilation = dilation.into().0;
        self
    }

    /// Output channels made of each input channel.
    pub fn depth_multiplier(mut self, multiplier: usize) -> DepthwiseConv2d {
        self.depth_multiplier = multiplier;
        self
    }

    /// What follows the sum.
    pub fn activation(mut self, activation: Activation) -> DepthwiseConv2d {
        self.activation = activation;
        self
    }

    /// Whether a number is added to each output channel.
    pub fn use_bias(mut self, use_bias: bool) -> DepthwiseConv2d {
        self.use_bias = use_bias;
        self
    }

    /// How the kernel starts.
    pub fn kernel_initializer(mut self, initializer: Initializer) -> DepthwiseConv2d {
        self.kernel_initializer = initializer;
        self
    }

    /// How the bias starts.
    pub fn bias_initializer(mut self, initializer: Initializer) -> DepthwiseConv2d {
        self.bias_initializer = initializer;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> DepthwiseConv2d {
        self.name = Some(name.into());
        self
    }

    fn options(&self, activation: Option<Unary>) -> Conv2dOptions {
        let DepthwiseConv2d { strides, padding, dilation, .. } = *self;
        Conv2dOptions { stride: strides, padding, dilation, activation, ..Conv2dOptions::default() }
    }

    fn convolve(&self, x: &Tensor, activation: Option<Unary>, ctx: &Context<'_>) -> Tensor {
        let bias = self.use_bias.then(|| built(&self.bias));
        ctx.operand(x).depthwise_conv2d(&ctx.operand(&built(&self.kernel)), bias.as_ref(), &self.options(activation))
    }
}

impl Layer for DepthwiseConv2d {
    fn kind(&self) -> &str {
        "DepthwiseConv2D"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        expect_rank(input, 4, "(N, H, W, C)", "images have a channel axis, also when it is 1: use [H, W, 1]")?;
        expect_positive("depth multiplier", self.depth_multiplier, input)?;
        let ([height, width], channels) = (self.kernel_size, input[3]);
        let kernel = Shape::try_new(&[height, width, channels, self.depth_multiplier])?;
        let kernel = Shape::try_new(&[height, width, 1, kernel[2] * kernel[3]])?;
        conv_shape(input, &kernel, &Conv2dOptions { groups: channels, ..self.options(None) })
    }

    fn build(&mut self, input: &Shape, ctx: &mut BuildContext) -> Result<Shape, ShapeError> {
        let output = self.output_shape(input)?;
        let [height, width] = self.kernel_size;
        let kernel = [height, width, input[3], self.depth_multiplier];
        self.kernel = Some(ctx.weight("kernel", kernel, &self.kernel_initializer)?);
        if self.use_bias {
            self.bias = Some(ctx.weight("bias", [output[3]], &self.bias_initializer)?);
        }
        Ok(output)
    }

    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        self.activation.apply_unfused(self.convolve(x, self.activation.fused(), ctx))
    }

    fn flops(&self, _: &[Shape], output: &Shape) -> u64 {
        let taps = self.kernel_size.iter().product::<usize>() as u64;
        output.len() as u64 * (2 * taps + u64::from(self.use_bias))
    }

    fn head(&self) -> Option<Activation> {
        Some(self.activation)
    }

    fn forward_headless(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        self.convolve(x, None, ctx)
    }
}
