//! Lion: every weight moves by the learning rate, in the direction of an average gradient.
//!
//! ```text
//! w <- w - lr * sign(b1 * m + (1 - b1) * g)
//! m <- b2 * m + (1 - b2) * g
//! ```
//!
//! Chen et al. 2023, "Symbolic discovery of optimization algorithms". It wants a learning rate three to ten times smaller
//! than Adam's, and a weight decay as many times larger.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::ops::optimizer::{LionStep, lion_step};
use tilegrad_core::{Result, Tensor};

use super::{Clip, Optimizer, StepNumber, check_number, check_rate};
use crate::config;
use crate::schedules::{LearningRate, Schedule};

/// Keras's `Lion`, with its defaults: learning rate 0.001, betas 0.9 and 0.99.
///
/// ```
/// use tilegrad_nn::Lion;
/// let optimizer = Lion::new(1e-4).weight_decay(0.01);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lion {
    learning_rate: LearningRate,
    betas: [f32; 2],
    weight_decay: f32,
    clip: Clip,
}

impl Default for Lion {
    /// Keras's learning rate, 0.001.
    fn default() -> Lion {
        Lion::new(0.001)
    }
}

impl Lion {
    /// Keras's defaults with another learning rate.
    pub fn new(learning_rate: impl Into<LearningRate>) -> Lion {
        Lion { learning_rate: learning_rate.into(), betas: [0.9, 0.99], weight_decay: 0.0, clip: Clip::None }
    }

    /// The running mean's share in the direction, and how much of it stays at each step.
    pub fn betas(mut self, first: f32, second: f32) -> Lion {
        self.betas = [first, second];
        self
    }

    /// The fraction of each weight that a learning rate of 1 would take away in a step, apart from the gradient.
    pub fn weight_decay(mut self, weight_decay: f32) -> Lion {
        self.weight_decay = weight_decay;
        self
    }

    /// Limits the gradients.
    pub fn clip(mut self, clip: Clip) -> Lion {
        self.clip = clip;
        self
    }
}

impl Optimizer for Lion {
    fn name(&self) -> &'static str {
        "lion"
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn learning_rate(&self) -> f32 {
        self.learning_rate.now()
    }

    fn set_learning_rate(&mut self, learning_rate: f32) {
        self.learning_rate.set(learning_rate);
    }

    fn schedule(&self) -> Option<&Schedule> {
        self.learning_rate.schedule()
    }

    fn moments(&self) -> &'static [&'static str] {
        &["momentum"]
    }

    fn step(&self, _: &StepNumber, params: &Tensor, gradients: &Tensor, moments: &[Tensor]) {
        let constants = LionStep {
            lr: self.learning_rate.now(),
            beta1: self.betas[0],
            beta2: self.betas[1],
            weight_decay: self.weight_decay,
        };
        lion_step(params, gradients, &moments[0], &constants);
    }

    fn clip(&self) -> Clip {
        self.clip
    }

    fn check(&self) -> Result<()> {
        self.learning_rate.check()?;
        check_rate("the first beta", self.betas[0])?;
        check_rate("the second beta", self.betas[1])?;
        check_number("weight decay", self.weight_decay, "a finite number from 0 on", |v| v >= 0.0)?;
        self.clip.check()
    }
}
