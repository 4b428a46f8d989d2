//! Adadelta: steps as large as earlier ones, in proportion to the gradient's running size.
//!
//! ```text
//! v <- rho * v + (1 - rho) * g^2
//! d  = sqrt(u + epsilon) / sqrt(v + epsilon) * g
//! u <- rho * u + (1 - rho) * d^2
//! w <- w - lr * d
//! ```
//!
//! Zeiler 2012, where the learning rate is 1.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::ops::optimizer::{AdadeltaStep, adadelta_step};
use tilegrad_core::{Result, Tensor};

use super::{Clip, Optimizer, StepNumber, check_number, check_rate};
use crate::config;
use crate::schedules::{LearningRate, Schedule};

/// Keras's `Adadelta`, with its defaults: learning rate 0.001, rho 0.95, epsilon 1e-7. The paper's learning rate is 1.
///
/// ```
/// use tilegrad_nn::Adadelta;
/// let optimizer = Adadelta::new(1.0).rho(0.9);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adadelta {
    learning_rate: LearningRate,
    rho: f32,
    epsilon: f32,
    weight_decay: f32,
    clip: Clip,
}

impl Default for Adadelta {
    /// Keras's learning rate, 0.001.
    fn default() -> Adadelta {
        Adadelta::new(0.001)
    }
}

impl Adadelta {
    /// Keras's defaults with another learning rate.
    pub fn new(learning_rate: impl Into<LearningRate>) -> Adadelta {
        Adadelta { learning_rate: learning_rate.into(), rho: 0.95, epsilon: 1e-7, weight_decay: 0.0, clip: Clip::None }
    }

    /// How much of the running means of squares stays at each step.
    pub fn rho(mut self, rho: f32) -> Adadelta {
        self.rho = rho;
        self
    }

    /// Added under both roots: the first steps' size, and against division by 0.
    pub fn epsilon(mut self, epsilon: f32) -> Adadelta {
        self.epsilon = epsilon;
        self
    }

    /// The fraction of each weight that a learning rate of 1 would take away in a step, apart from the gradient.
    pub fn weight_decay(mut self, weight_decay: f32) -> Adadelta {
        self.weight_decay = weight_decay;
        self
    }

    /// Limits the gradients.
    pub fn clip(mut self, clip: Clip) -> Adadelta {
        self.clip = clip;
        self
    }
}

impl Optimizer for Adadelta {
    fn name(&self) -> &'static str {
        "adadelta"
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
        &["accumulated_grad", "accumulated_delta_var"]
    }

    fn step(&self, _: &StepNumber, params: &Tensor, gradients: &Tensor, moments: &[Tensor]) {
        let constants = AdadeltaStep {
            lr: self.learning_rate.now(),
            rho: self.rho,
            epsilon: self.epsilon,
            weight_decay: self.weight_decay,
        };
        adadelta_step(params, gradients, &moments[0], &moments[1], &constants);
    }

    fn clip(&self) -> Clip {
        self.clip
    }

    fn check(&self) -> Result<()> {
        self.learning_rate.check()?;
        check_rate("rho", self.rho)?;
        check_number("epsilon", self.epsilon, "a finite number above 0", |v| v > 0.0)?;
        check_number("weight decay", self.weight_decay, "a finite number from 0 on", |v| v >= 0.0)?;
        self.clip.check()
    }
}
