//! Layer normalization: each example's last axis shifted and scaled to mean `beta` and standard deviation `gamma`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tilegrad_core::{Shape, ShapeError, Tensor};

use super::{built, config};
use crate::initializers::Initializer;
use crate::layer::{BuildContext, Context, Layer};
use crate::param::Param;

/// `(.., C) -> (.., C)`; weights `gamma (C)` and `beta (C)`. Keras's `LayerNormalization` with its defaults: over the last
/// axis, epsilon 1e-3. Ba, Kiros and Hinton 2016.
///
/// ```
/// use tilegrad_nn::{Sequential, layers::{Dense, LayerNorm}};
/// let model = Sequential::new([16]).add(Dense::new(8)).add(LayerNorm::new());
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNorm {
    epsilon: f32,
    name: Option<String>,
    #[serde(skip)]
    gamma: Option<Param>,
    #[serde(skip)]
    beta: Option<Param>,
}

impl Default for LayerNorm {
    fn default() -> LayerNorm {
        LayerNorm { epsilon: 1e-3, name: None, gamma: None, beta: None }
    }
}

impl LayerNorm {
    /// The layer with Keras's defaults.
    pub fn new() -> LayerNorm {
        LayerNorm::default()
    }

    /// Added to the variance before the root.
    pub fn epsilon(mut self, epsilon: f32) -> LayerNorm {
        self.epsilon = epsilon;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> LayerNorm {
        self.name = Some(name.into());
        self
    }
}

impl Layer for LayerNorm {
    fn kind(&self) -> &str {
        "LayerNormalization"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        if self.epsilon < 0.0 || self.epsilon.is_nan() {
            return Err(ShapeError::new(format!("epsilon: expected at least 0, got {}", self.epsilon)));
        }
        if input.rank() >= 2 {
            return Ok(*input);
        }
        Err(ShapeError::new("input has no axis beside the batch axis").operand("input", input))
    }

    fn build(&mut self, input: &Shape, ctx: &mut BuildContext) -> Result<Shape, ShapeError> {
        let output = self.output_shape(input)?;
        let channels = [input[input.rank() - 1]];
        self.gamma = Some(ctx.weight("gamma", channels, &Initializer::Ones)?);
        self.beta = Some(ctx.weight("beta", channels, &Initializer::Zeros)?);
        Ok(output)
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.layer_norm(-1, Some(&built(&self.gamma)), Some(&built(&self.beta)), self.epsilon)
    }

    fn flops(&self, _: &[Shape], output: &Shape) -> u64 {
        8 * output.len() as u64
    }
}
