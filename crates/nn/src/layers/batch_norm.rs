//! Batch normalization: each channel shifted and scaled to mean `beta` and standard deviation `gamma`.
//!
//! ```text
//! training    y = gamma * (x - mean(batch)) / sqrt(variance(batch) + epsilon) + beta
//!             moving = momentum * moving + (1 - momentum) * batch's
//! inference   y = gamma * (x - moving_mean) / sqrt(moving_variance + epsilon) + beta
//! ```

use tilegrad_core::ops::batch_norm::update_running;
use tilegrad_core::{Shape, ShapeError, Tensor, no_grad};

use super::built;
use crate::initializers::Initializer;
use crate::layer::{BuildContext, Context, Layer};
use crate::param::Param;

/// `(.., C) -> (.., C)`; weights `gamma (C)`, `beta (C)` and the statistics `moving_mean (C)`, `moving_variance (C)`.
///
/// Keras's `BatchNormalization` with its defaults: momentum 0.99, epsilon 1e-3. Ioffe and Szegedy 2015. A frozen layer
/// uses and keeps its moving statistics also in training, as in Keras.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    momentum: f32,
    epsilon: f32,
    name: Option<String>,
    gamma: Option<Param>,
    beta: Option<Param>,
    moving_mean: Option<Param>,
    moving_variance: Option<Param>,
}

impl Default for BatchNorm {
    fn default() -> BatchNorm {
        BatchNorm {
            momentum: 0.99,
            epsilon: 1e-3,
            name: None,
            gamma: None,
            beta: None,
            moving_mean: None,
            moving_variance: None,
        }
    }
}

impl BatchNorm {
    /// The layer with Keras's defaults.
    pub fn new() -> BatchNorm {
        BatchNorm::default()
    }

    /// How much of the moving statistics stays at each step.
    pub fn momentum(mut self, momentum: f32) -> BatchNorm {
        self.momentum = momentum;
        self
    }

    /// Added to the variance before the root.
    pub fn epsilon(mut self, epsilon: f32) -> BatchNorm {
        self.epsilon = epsilon;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> BatchNorm {
        self.name = Some(name.into());
        self
    }
}

impl Layer for BatchNorm {
    fn kind(&self) -> &str {
        "BatchNormalization"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        if input.rank() >= 2 {
            return Ok(*input);
        }
        Err(ShapeError::new("input has no channel axis beside the batch axis").operand("input", input))
    }

    fn build(&mut self, input: &Shape, ctx: &mut BuildContext) -> Result<Shape, ShapeError> {
        let output = self.output_shape(input)?;
        let channels = [input[input.rank() - 1]];
        self.gamma = Some(ctx.weight("gamma", channels, &Initializer::Ones)?);
        self.beta = Some(ctx.weight("beta", channels, &Initializer::Zeros)?);
        self.moving_mean = Some(ctx.statistic("moving_mean", channels, &Initializer::Zeros)?);
        self.moving_variance = Some(ctx.statistic("moving_variance", channels, &Initializer::Ones)?);
        Ok(output)
    }

    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        let (gamma, beta) = (built(&self.gamma), built(&self.beta));
        let (moving_mean, moving_variance) = (built(&self.moving_mean), built(&self.moving_variance));
        let frozen = self.gamma.as_ref().is_some_and(Param::is_frozen);
        if !ctx.training || frozen {
            return x.batch_norm_inference(&gamma, &beta, &moving_mean, &moving_variance, self.epsilon);
        }
        let (y, mean, variance) = x.batch_norm(&gamma, &beta, self.epsilon);
        no_grad(|| {
            update_running(&moving_mean, &mean, self.momentum);
            update_running(&moving_variance, &variance, self.momentum);
        });
        y
    }
}
