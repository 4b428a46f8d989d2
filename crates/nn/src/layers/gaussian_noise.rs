//! Noise added to inputs in training.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tilegrad_core::{Shape, ShapeError, Tensor};

use super::config;
use crate::layer::{Context, Layer};

/// `(..) -> (..)`: in training, normal random numbers with mean 0 are added. Does nothing otherwise. Keras's `GaussianNoise`.
///
/// ```
/// use tilegrad_nn::{Sequential, layers::{Dense, GaussianNoise}};
/// let model = Sequential::new([8]).add(GaussianNoise::new(0.1)).add(Dense::new(1));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianNoise {
    stddev: f32,
    name: Option<String>,
}

impl GaussianNoise {
    /// Noise with this standard deviation; building the model refuses one below 0.
    pub fn new(stddev: f32) -> GaussianNoise {
        GaussianNoise { stddev, name: None }
    }

    /// The layer's name in summaries and errors.
    pub fn name(mut self, name: impl Into<String>) -> GaussianNoise {
        self.name = Some(name.into());
        self
    }
}

impl Layer for GaussianNoise {
    fn kind(&self) -> &str {
        "GaussianNoise"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        if self.stddev >= 0.0 && self.stddev.is_finite() {
            return Ok(*input);
        }
        Err(ShapeError::new(format!("stddev: expected a number of at least 0, got {}", self.stddev)))
    }

    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        if !ctx.training || self.stddev == 0.0 {
            return x.clone();
        }
        x.add(&Tensor::rand_normal(0.0, self.stddev, *x.shape(), ctx.rng.next_draw(), x.device()))
    }

    fn flops(&self, _: &[Shape], _: &Shape) -> u64 {
        0
    }
}
