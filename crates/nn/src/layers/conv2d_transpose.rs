//! Transposed convolution: each input pixel spreads its kernel over the output, the other way round than `Conv2d` gathers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tilegrad_core::{ConvTranspose2dOptions, Padding, Shape, ShapeError, Tensor, Unary, conv_transpose_shape};

use super::{Pair, built, config, expect_positive, expect_rank};
use crate::activation::Activation;
use crate::initializers::Initializer;
use crate::layer::{BuildContext, Context, Layer};
use crate::param::Param;

/// `(N, H, W, C) -> (N, H', W', filters)`; weights `kernel (KH, KW, filters, C)` and `bias (filters)`. Keras's
/// `Conv2DTranspose` with its defaults.
///
/// ```
/// use tilegrad_core::{Padding, Shape};
/// use tilegrad_nn::{Layer, layers::Conv2dTranspose};
/// let twice = Conv2dTranspose::new(8, 3).strides(2).padding(Padding::Same);
/// assert_eq!(twice.output_shape(&Shape::from([1, 7, 7, 16])).unwrap(), Shape::from([1, 14, 14, 8]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2dTranspose {
    filters: usize,
    kernel_size: [usize; 2],
    strides: [usize; 2],
    #[serde(with = "config::padding")]
    padding: Padding,
    dilation: [usize; 2],
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

impl Conv2dTranspose {
    /// A transposed convolution with this many output channels and this window.
    pub fn new(filters: usize, kernel: impl Into<Pair>) -> Conv2dTranspose {
        Conv2dTranspose {
            filters,
            kernel_size: kernel.into().0,
            strides: [1; 2],
            padding: Padding::Valid,
            dilation: [1; 2],
            activation: Activation::Linear,
            use_bias: true,
            kernel_initializer: Initializer::GlorotUniform,
            bias_initializer: Initializer::Zeros,
            name: None,
            kernel: None,
            bias: None,
        }
    }

    /// Pixels of the output from one input pixel to the next.
    pub fn strides(mut self, strides: impl Into<Pair>) -> Conv2dTranspose {
        self.strides = strides.into().0;
        self
    }

    /// What is cut from the output: nothing with `Valid`, all but `input * stride` pixels with `Same`.
    pub fn padding(mut self, padding: Padding) -> Conv2dTranspose {
        self.padding = padding;
        self
    }

    /// Pixels from one tap of the window to the next.
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> Conv2dTranspose {
        self.dilation = dilation.into().0;
        self
    }

    /// What follows the sum.
    pub fn activation(mut self, activation: Activation) -> Conv2dTranspose {
        self.activation = activation;
        self
    }

    /// Whether a number is added to each output channel.
    pub fn use_bias(mut self, use_bias: bool) -> Conv2dTranspose {
        self.use_bias = use_bias;
        self
    }

    /// How the kernel starts.
    pub fn kernel_initializer(mut self, initializer: Initializer) -> Conv2dTranspose {
        self.kernel_initializer = initializer;
        self
    }

    /// How the bias starts.
    pub fn bias_initializer(mut self, initializer: Initializer) -> Conv2dTranspose {
        self.bias_initializer = initializer;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> Conv2dTranspose {
        self.name = Some(name.into());
        self
    }

    fn kernel_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        expect_rank(input, 4, "(N, H, W, C)", "images have a channel axis, also when it is 1: use [H, W, 1]")?;
        expect_positive("filters", self.filters, input)?;
        let [height, width] = self.kernel_size;
        Shape::try_new(&[height, width, self.filters, input[3]])
    }

    fn options(&self, activation: Option<Unary>) -> ConvTranspose2dOptions {
        let Conv2dTranspose { strides, padding, dilation, .. } = *self;
        ConvTranspose2dOptions { stride: strides, padding, dilation, activation, ..ConvTranspose2dOptions::default() }
    }

    fn convolve(&self, x: &Tensor, activation: Option<Unary>) -> Tensor {
        let bias = self.use_bias.then(|| built(&self.bias));
        x.conv_transpose2d(&built(&self.kernel), bias.as_ref(), &self.options(activation))
    }
}

impl Layer for Conv2dTranspose {
    fn kind(&self) -> &str {
        "Conv2DTranspose"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        conv_transpose_shape(input, &self.kernel_shape(input)?, &self.options(None))
    }

    fn build(&mut self, input: &Shape, ctx: &mut BuildContext) -> Result<Shape, ShapeError> {
        let output = self.output_shape(input)?;
        self.kernel = Some(ctx.weight("kernel", self.kernel_shape(input)?, &self.kernel_initializer)?);
        if self.use_bias {
            self.bias = Some(ctx.weight("bias", [self.filters], &self.bias_initializer)?);
        }
        Ok(output)
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        self.activation.apply_unfused(self.convolve(x, self.activation.fused()))
    }

    fn flops(&self, inputs: &[Shape], output: &Shape) -> u64 {
        let taps = (self.kernel_size[0] * self.kernel_size[1] * self.filters) as u64;
        2 * taps * inputs[0].len() as u64 + if self.use_bias { output.len() as u64 } else { 0 }
    }

    fn head(&self) -> Option<Activation> {
        Some(self.activation)
    }

    fn forward_headless(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        self.convolve(x, None)
    }
}
