//! Global pooling: one number a channel, whatever the size of the image.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::{Shape, ShapeError, Tensor};

use super::{config, expect_rank};
use crate::layer::{Context, Layer};

fn output_shape(input: &Shape) -> Result<Shape, ShapeError> {
    expect_rank(input, 4, "(N, H, W, C)", "pool before Flatten")?;
    Ok(Shape::from([input[0], input[3]]))
}

/// `(N, H, W, C) -> (N, C)`: the mean of each channel. Keras's `GlobalAveragePooling2D`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalAvgPool2d {
    name: Option<String>,
}

impl GlobalAvgPool2d {
    /// The layer; it has nothing to set.
    pub fn new() -> GlobalAvgPool2d {
        GlobalAvgPool2d::default()
    }

    /// The layer's name in summaries and errors.
    pub fn name(mut self, name: impl Into<String>) -> GlobalAvgPool2d {
        self.name = Some(name.into());
        self
    }
}

impl Layer for GlobalAvgPool2d {
    fn kind(&self) -> &str {
        "GlobalAveragePooling2D"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        output_shape(input)
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.mean_axes(&[1, 2], false)
    }
}

/// `(N, H, W, C) -> (N, C)`: the largest value of each channel. Keras's `GlobalMaxPooling2D`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalMaxPool2d {
    name: Option<String>,
}

impl GlobalMaxPool2d {
    /// The layer; it has nothing to set.
    pub fn new() -> GlobalMaxPool2d {
        GlobalMaxPool2d::default()
    }

    /// The layer's name in summaries and errors.
    pub fn name(mut self, name: impl Into<String>) -> GlobalMaxPool2d {
        self.name = Some(name.into());
        self
    }
}

impl Layer for GlobalMaxPool2d {
    fn kind(&self) -> &str {
        "GlobalMaxPooling2D"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        output_shape(input)
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.max_axes(&[1, 2], false)
    }
}
