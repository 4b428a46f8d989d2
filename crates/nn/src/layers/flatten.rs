//! Flatten: each example as one row.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::{Shape, ShapeError, Tensor};

use super::config;
use crate::layer::{Context, Layer};

/// `(N, ..) -> (N, product of the rest)`, row-major. Moves no data.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flatten {
    name: Option<String>,
}

impl Flatten {
    /// The layer; it has nothing to set.
    pub fn new() -> Flatten {
        Flatten::default()
    }

    /// The layer's name in summaries and errors.
    pub fn name(mut self, name: impl Into<String>) -> Flatten {
        self.name = Some(name.into());
        self
    }
}

impl Layer for Flatten {
    fn kind(&self) -> &str {
        "Flatten"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        match input.dims() {
            [] => Err(ShapeError::new("a single number has no batch axis to keep")),
            [batch, rest @ ..] => Ok(Shape::from([*batch, rest.iter().product()])),
        }
    }

    fn flops(&self, _: &[Shape], _: &Shape) -> u64 {
        0
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        // `flatten_from` would refuse a batch of single numbers, (N), which has no axis 1.
        x.reshape([x.shape()[0], x.shape()[1..].iter().product()])
    }
}
