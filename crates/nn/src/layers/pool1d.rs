//! Pooling over sequences: the largest or the mean value of each window, channel by channel, or of a whole channel.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tilegrad_core::{Padding, Shape, ShapeError, Tensor, Window};

use super::{config, expect_rank};
use crate::layer::{Context, Layer};

fn output_shape(input: &Shape, window: &Window<1>) -> Result<Shape, ShapeError> {
    expect_rank(input, 3, "(N, L, C)", "pool before Flatten")?;
    let [axis] = window.over(input)?;
    Ok(input.with(1, axis.output))
}

/// `(N, L, C) -> (N, L', C)`: the largest value of each window. Keras's `MaxPooling1D`.
///
/// ```
/// use tilegrad_core::Shape;
/// use tilegrad_nn::{Layer, layers::MaxPool1d};
/// assert_eq!(MaxPool1d::new(2).output_shape(&Shape::from([1, 9, 4])).unwrap(), Shape::from([1, 4, 4]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPool1d {
    pool_size: usize,
    strides: usize,
    #[serde(with = "config::padding")]
    padding: Padding<1>,
    name: Option<String>,
}

impl MaxPool1d {
    /// Windows of this size, side by side.
    pub fn new(size: usize) -> MaxPool1d {
        MaxPool1d { pool_size: size, strides: size, padding: Padding::Valid, name: None }
    }

    /// Positions from one window to the next.
    pub fn strides(mut self, strides: usize) -> MaxPool1d {
        self.strides = strides;
        self
    }

    /// What lies around the sequence; it does not count.
    pub fn padding(mut self, padding: Padding<1>) -> MaxPool1d {
        self.padding = padding;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> MaxPool1d {
        self.name = Some(name.into());
        self
    }

    fn window(&self) -> Window<1> {
        Window { size: [self.pool_size], stride: [self.strides], dilation: [1], padding: self.padding }
    }
}

impl Layer for MaxPool1d {
    fn kind(&self) -> &str {
        "MaxPooling1D"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        output_shape(input, &self.window())
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.max_pool1d(self.window())
    }
}

/// `(N, L, C) -> (N, L', C)`: the mean of each window. Keras's `AveragePooling1D`.
///
/// ```
/// use tilegrad_core::Shape;
/// use tilegrad_nn::{Layer, layers::AvgPool1d};
/// assert_eq!(AvgPool1d::new(2).output_shape(&Shape::from([1, 9, 4])).unwrap(), Shape::from([1, 4, 4]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AvgPool1d {
    pool_size: usize,
    strides: usize,
    #[serde(with = "config::padding")]
    padding: Padding<1>,
    name: Option<String>,
}

impl AvgPool1d {
    /// Windows of this size, side by side.
    pub fn new(size: usize) -> AvgPool1d {
        AvgPool1d { pool_size: size, strides: size, padding: Padding::Valid, name: None }
    }

    /// Positions from one window to the next.
    pub fn strides(mut self, strides: usize) -> AvgPool1d {
        self.strides = strides;
        self
    }

    /// What lies around the sequence; it does not count.
    pub fn padding(mut self, padding: Padding<1>) -> AvgPool1d {
        self.padding = padding;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> AvgPool1d {
        self.name = Some(name.into());
        self
    }

    fn window(&self) -> Window<1> {
        Window { size: [self.pool_size], stride: [self.strides], dilation: [1], padding: self.padding }
    }
}

impl Layer for AvgPool1d {
    fn kind(&self) -> &str {
        "AveragePooling1D"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        output_shape(input, &self.window())
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.avg_pool1d(self.window())
    }
}

/// `(N, L, C) -> (N, C)`: the largest value of each channel. Keras's `GlobalMaxPooling1D`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalMaxPool1d {
    name: Option<String>,
}

impl GlobalMaxPool1d {
    /// The layer; it has nothing to set.
    pub fn new() -> GlobalMaxPool1d {
        GlobalMaxPool1d::default()
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> GlobalMaxPool1d {
        self.name = Some(name.into());
        self
    }
}

impl Layer for GlobalMaxPool1d {
    fn kind(&self) -> &str {
        "GlobalMaxPooling1D"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        expect_rank(input, 3, "(N, L, C)", "pool before Flatten")?;
        Ok(Shape::from([input[0], input[2]]))
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.max_axes(&[1], false)
    }
}

/// `(N, L, C) -> (N, C)`: the mean of each channel. Keras's `GlobalAveragePooling1D`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalAvgPool1d {
    name: Option<String>,
}

impl GlobalAvgPool1d {
    /// The layer; it has nothing to set.
    pub fn new() -> GlobalAvgPool1d {
        GlobalAvgPool1d::default()
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> GlobalAvgPool1d {
        self.name = Some(name.into());
        self
    }
}

impl Layer for GlobalAvgPool1d {
    fn kind(&self) -> &str {
        "GlobalAveragePooling1D"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        expect_rank(input, 3, "(N, L, C)", "pool before Flatten")?;
        Ok(Shape::from([input[0], input[2]]))
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.mean_axes(&[1], false)
    }
}
