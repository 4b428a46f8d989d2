//! Batch normalization: each channel shifted and scaled to mean `beta` and standard deviation `gamma`.
//!
//! ```text
//! training    y = gamma * (x - mean(batch)) / sqrt(variance(batch) + epsilon) + beta
//!             moving = momentum * moving + (1 - momentum) * batch's     Keras; biased variance
//!             moving = (1 - momentum) * moving + momentum * batch's     PyTorch; unbiased variance
//! inference   y = gamma * (x - moving_mean) / sqrt(moving_variance + epsilon) + beta
//! ```

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::{RunningAverage, Shape, ShapeError, Tensor};

use super::{built, config};
use crate::initializers::Initializer;
use crate::layer::{BuildContext, Context, Layer};
use crate::param::Param;

/// `(.., C) -> (.., C)`; weights `gamma (C)`, `beta (C)` and the statistics `moving_mean (C)`, `moving_variance (C)`.
///
/// Keras's `BatchNormalization` with its defaults: momentum 0.99, epsilon 1e-3. Ioffe and Szegedy 2015. A frozen layer
/// uses and keeps its moving statistics also in training, as in Keras.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    #[serde(with = "config::RunningAverageConfig")]
    average: RunningAverage,
    epsilon: f32,
    name: Option<String>,
    #[serde(skip)]
    gamma: Option<Param>,
    #[serde(skip)]
    beta: Option<Param>,
    #[serde(skip)]
    moving_mean: Option<Param>,
    #[serde(skip)]
    moving_variance: Option<Param>,
}

impl Default for BatchNorm {
    fn default() -> BatchNorm {
        BatchNorm {
            average: RunningAverage::default(),
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

    /// How much of the moving statistics stays at each step, as in Keras.
    pub fn momentum(self, momentum: f32) -> BatchNorm {
        self.running_average(RunningAverage::Keras { momentum })
    }

    /// How the moving statistics follow the batches': Keras's convention with momentum 0.99 if nothing else is said.
    /// PyTorch's is `RunningAverage::PyTorch { momentum: 0.1 }`, with an epsilon of 1e-5.
    pub fn running_average(mut self, average: RunningAverage) -> BatchNorm {
        self.average = average;
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

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        if self.epsilon < 0.0 || self.epsilon.is_nan() {
            return Err(ShapeError::new(format!("epsilon: expected at least 0, got {}", self.epsilon)));
        }
        let (RunningAverage::Keras { momentum } | RunningAverage::PyTorch { momentum }) = self.average;
        if !(0.0..=1.0).contains(&momentum) {
            return Err(ShapeError::new(format!("momentum: expected a number from 0 to 1, got {momentum}")));
        }
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
        x.batch_norm_training(&gamma, &beta, &moving_mean, &moving_variance, self.epsilon, self.average)
    }
}
