//! Rescaling: `y = x * scale + offset`, to bring inputs to the range that a network was trained for.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tilegrad_core::{Shape, ShapeError, Tensor};

use super::config;
use crate::layer::{Context, Layer};

/// `(..) -> (..)`. Keras's `Rescaling`.
///
/// ```
/// use tilegrad_nn::{Sequential, layers::{Dense, Rescaling}};
/// // From 0..1 to -1..1.
/// let model = Sequential::new([4]).add(Rescaling::new(2.0).offset(-1.0)).add(Dense::new(1));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rescaling {
    scale: f32,
    offset: f32,
    name: Option<String>,
}

impl Rescaling {
    /// Multiplies by `scale`.
    pub fn new(scale: f32) -> Rescaling {
        Rescaling { scale, offset: 0.0, name: None }
    }

    /// Adds this afterwards.
    pub fn offset(mut self, offset: f32) -> Rescaling {
        self.offset = offset;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> Rescaling {
        self.name = Some(name.into());
        self
    }
}

impl Layer for Rescaling {
    fn kind(&self) -> &str {
        "Rescaling"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Ok(*input)
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.affine(self.scale, self.offset)
    }

    fn flops(&self, _: &[Shape], output: &Shape) -> u64 {
        2 * output.len() as u64
    }
}
