//! Stochastic gradient descent.
//!
//! ```text
//! without momentum   w <- w - lr * g
//! momentum m         v <- m * v - lr * g,   w <- w + v
//! nesterov           v <- m * v - lr * g,   w <- w + m * v - lr * g
//! ```

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::ops::optimizer::{SgdStep, sgd_step};
use tilegrad_core::{Result, Tensor};

use super::{Clip, Optimizer, StepNumber, check_number, check_rate};
use crate::config;
use crate::schedules::{LearningRate, Schedule};

/// Keras's `SGD`. Without momentum it keeps nothing beside the weights.
///
/// ```
/// use tilegrad_nn::Sgd;
/// let optimizer = Sgd::new(0.05).momentum(0.9).nesterov(true);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sgd {
    learning_rate: LearningRate,
    momentum: f32,
    nesterov: bool,
    weight_decay: f32,
    clip: Clip,
}

impl Default for Sgd {
    /// Keras's learning rate, 0.01.
    fn default() -> Sgd {
        Sgd::new(0.01)
    }
}

impl Sgd {
    /// Without momentum.
    pub fn new(learning_rate: impl Into<LearningRate>) -> Sgd {
        Sgd { learning_rate: learning_rate.into(), momentum: 0.0, nesterov: false, weight_decay: 0.0, clip: Clip::None }
    }

    /// How much of the last step goes into this one.
    pub fn momentum(mut self, momentum: f32) -> Sgd {
        self.momentum = momentum;
        self
    }

    /// Whether the step looks ahead along the momentum.
    pub fn nesterov(mut self, nesterov: bool) -> Sgd {
        self.nesterov = nesterov;
        self
    }

    /// The fraction of each weight that a learning rate of 1 would take away in a step, apart from the gradient.
    pub fn weight_decay(mut self, weight_decay: f32) -> Sgd {
        self.weight_decay = weight_decay;
        self
    }

    /// Limits the gradients.
    pub fn clip(mut self, clip: Clip) -> Sgd {
        self.clip = clip;
        self
    }
}

impl Optimizer for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
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
        if self.momentum > 0.0 { &["momentum"] } else { &[] }
    }

    fn step(&self, _: &StepNumber, params: &Tensor, gradients: &Tensor, moments: &[Tensor]) {
        let constants = SgdStep {
            lr: self.learning_rate.now(),
            momentum: self.momentum,
            nesterov: self.nesterov,
            weight_decay: self.weight_decay,
        };
        sgd_step(params, gradients, moments.first(), &constants);
    }

    fn clip(&self) -> Clip {
        self.clip
    }

    fn check(&self) -> Result<()> {
        self.learning_rate.check()?;
        check_rate("momentum", self.momentum)?;
        check_number("weight decay", self.weight_decay, "a finite number from 0 on", |v| v >= 0.0)?;
        self.clip.check()
    }
}
