//! Dropout: in training, each value is 0 with probability `rate`, and the others are scaled by `1 / (1 - rate)`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::{Shape, ShapeError, Tensor};

use super::config;
use crate::layer::{Context, Layer};

/// `(..) -> (..)`. Does nothing outside training. Srivastava et al. 2014, scaled as Keras does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    rate: f32,
    name: Option<String>,
}

impl Dropout {
    /// Drops this fraction of the values; building the model refuses a rate outside `0..1`.
    pub fn new(rate: f32) -> Dropout {
        Dropout { rate, name: None }
    }

    /// The layer's name in summaries and errors.
    pub fn name(mut self, name: impl Into<String>) -> Dropout {
        self.name = Some(name.into());
        self
    }
}

impl Layer for Dropout {
    fn kind(&self) -> &str {
        "Dropout"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        if (0.0..1.0).contains(&self.rate) {
            return Ok(*input);
        }
        Err(ShapeError::new(format!("rate: expected at least 0 and below 1, got {}", self.rate)))
    }

    fn flops(&self, _: &[Shape], _: &Shape) -> u64 {
        0
    }

    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        if ctx.training && self.rate > 0.0 { x.dropout(self.rate, ctx.rng.next_draw()) } else { x.clone() }
    }
}
