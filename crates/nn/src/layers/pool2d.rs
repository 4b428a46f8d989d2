//! Pooling: the largest or the mean value of each window, channel by channel.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::ops::pool2d::pool2d_shape;
use tilegrad_core::{Padding, Shape, ShapeError, Tensor, Window};

use super::{Pair, config, expect_rank};
use crate::activation::Activation;
use crate::layer::{Context, Layer};

fn output_shape(input: &Shape, window: Window) -> Result<Shape, ShapeError> {
    expect_rank(input, 4, "(N, H, W, C)", "pool before Flatten")?;
    pool2d_shape(input, &window)
}

/// `(N, H, W, C) -> (N, H', W', C)`: the largest value of each window. Keras's `MaxPooling2D`.
///
/// ```
/// use tilegrad_core::Shape;
/// use tilegrad_nn::layers::MaxPool2d;
/// use tilegrad_nn::Layer;
/// let pool = MaxPool2d::new(2); // strides are the window's size unless set
/// assert_eq!(pool.output_shape(&Shape::from([1, 13, 13, 64])).unwrap(), Shape::from([1, 6, 6, 64]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPool2d {
    pool_size: [usize; 2],
    strides: [usize; 2],
    #[serde(with = "config::padding")]
    padding: Padding,
    name: Option<String>,
}

impl MaxPool2d {
    /// Windows of this size, side by side.
    pub fn new(size: impl Into<Pair>) -> MaxPool2d {
        let size = size.into().0;
        MaxPool2d { pool_size: size, strides: size, padding: Padding::Valid, name: None }
    }

    /// Pixels from one window to the next.
    pub fn strides(mut self, strides: impl Into<Pair>) -> MaxPool2d {
        self.strides = strides.into().0;
        self
    }

    /// What lies around the image; it is never the largest.
    pub fn padding(mut self, padding: Padding) -> MaxPool2d {
        self.padding = padding;
        self
    }

    /// The layer's name in summaries and errors.
    pub fn name(mut self, name: impl Into<String>) -> MaxPool2d {
        self.name = Some(name.into());
        self
    }

    fn window(&self) -> Window {
        Window { size: self.pool_size, stride: self.strides, dilation: [1; 2], padding: self.padding }
    }
}

impl Layer for MaxPool2d {
    fn kind(&self) -> &str {
        "MaxPooling2D"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        output_shape(input, self.window())
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.max_pool2d(self.window())
    }

    fn absorbs(&self) -> Option<Activation> {
        Some(Activation::Relu)
    }

    fn forward_after(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.relu_max_pool2d(self.window())
    }
}

/// `(N, H, W, C) -> (N, H', W', C)`: the mean of each window, padding not counted. Keras's `AveragePooling2D`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AvgPool2d {
    pool_size: [usize; 2],
    strides: [usize; 2],
    #[serde(with = "config::padding")]
    padding: Padding,
    name: Option<String>,
}

impl AvgPool2d {
    /// Windows of this size, side by side.
    pub fn new(size: impl Into<Pair>) -> AvgPool2d {
        let size = size.into().0;
        AvgPool2d { pool_size: size, strides: size, padding: Padding::Valid, name: None }
    }

    /// Pixels from one window to the next.
    pub fn strides(mut self, strides: impl Into<Pair>) -> AvgPool2d {
        self.strides = strides.into().0;
        self
    }

    /// What lies around the image; the mean is over the pixels that are there.
    pub fn padding(mut self, padding: Padding) -> AvgPool2d {
        self.padding = padding;
        self
    }

    /// The layer's name in summaries and errors.
    pub fn name(mut self, name: impl Into<String>) -> AvgPool2d {
        self.name = Some(name.into());
        self
    }

    fn window(&self) -> Window {
        Window { size: self.pool_size, stride: self.strides, dilation: [1; 2], padding: self.padding }
    }
}

impl Layer for AvgPool2d {
    fn kind(&self) -> &str {
        "AveragePooling2D"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        output_shape(input, self.window())
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.avg_pool2d(self.window())
    }
}
