//! Group normalization: layer normalization of groups of channels.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tilegrad_core::{Shape, ShapeError, Tensor};

use super::{built, config};
use crate::initializers::Initializer;
use crate::layer::{BuildContext, Context, Layer};
use crate::param::Param;

/// `(N, .., C) -> (N, .., C)`; weights `gamma (C)` and `beta (C)`. Keras's `GroupNormalization` with its defaults: 32 groups,
/// epsilon 1e-3. Wu and He 2018.
///
/// ```
/// use tilegrad_nn::{Sequential, layers::{Conv2d, GroupNorm}};
/// let model = Sequential::new([16, 16, 3]).add(Conv2d::new(8, 3)).add(GroupNorm::new(4));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupNorm {
    groups: usize,
    epsilon: f32,
    name: Option<String>,
    #[serde(skip)]
    gamma: Option<Param>,
    #[serde(skip)]
    beta: Option<Param>,
}

impl GroupNorm {
    /// Normalizes so many groups of neighbouring channels.
    pub fn new(groups: usize) -> GroupNorm {
        GroupNorm { groups, epsilon: 1e-3, name: None, gamma: None, beta: None }
    }

    /// Added to the variance before the root.
    pub fn epsilon(mut self, epsilon: f32) -> GroupNorm {
        self.epsilon = epsilon;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> GroupNorm {
        self.name = Some(name.into());
        self
    }
}

impl Layer for GroupNorm {
    fn kind(&self) -> &str {
        "GroupNormalization"
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
        if input.rank() < 2 {
            return Err(ShapeError::new("input has no channel axis beside the batch axis").operand("input", input));
        }
        let channels = input[input.rank() - 1];
        if self.groups == 0 || !channels.is_multiple_of(self.groups) {
            let problem = format!("{} groups do not divide {channels} channels", self.groups);
            return Err(ShapeError::new(problem).operand("input", input));
        }
        Ok(*input)
    }

    fn build(&mut self, input: &Shape, ctx: &mut BuildContext) -> Result<Shape, ShapeError> {
        let output = self.output_shape(input)?;
        let channels = [input[input.rank() - 1]];
        self.gamma = Some(ctx.weight("gamma", channels, &Initializer::Ones)?);
        self.beta = Some(ctx.weight("beta", channels, &Initializer::Zeros)?);
        Ok(output)
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.group_norm(self.groups, Some(&built(&self.gamma)), Some(&built(&self.beta)), self.epsilon)
    }

    fn flops(&self, _: &[Shape], output: &Shape) -> u64 {
        8 * output.len() as u64
    }
}
