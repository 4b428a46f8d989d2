//! Nadam: Adam that looks ahead along its mean gradient, as Nesterov's momentum does.
//!
//! ```text
//! u_t = b1 * (1 - 0.96^t / 2),  p_t = u_1 * .. * u_t         without the schedule: u_t = b1
//! m <- b1 * m + (1 - b1) * g
//! v <- b2 * v + (1 - b2) * g^2
//! d  = u_(t+1) * m / (1 - p_(t+1)) + (1 - u_t) * g / (1 - p_t)
//! w <- w - lr * d / (sqrt(v / (1 - b2^t)) + epsilon)
//! ```
//!
//! Dozat 2016, as in Keras 3. PyTorch has the same schedule with 0.96^(t / 250); optax has none.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::ops::optimizer::{AdamStep, Correction, Nesterov, adam_step};
use tilegrad_core::{Result, Tensor};

use super::{Clip, Optimizer, StepNumber, check_number, check_rate};
use crate::config;
use crate::schedules::{LearningRate, Schedule};

/// Keras's `Nadam`, with its defaults: learning rate 0.001, betas 0.9 and 0.999, epsilon 1e-7.
///
/// ```
/// use tilegrad_nn::Nadam;
/// let as_in_optax = Nadam::new(1e-3).epsilon(1e-8).momentum_schedule(false);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nadam {
    learning_rate: LearningRate,
    betas: [f32; 2],
    epsilon: f32,
    schedule: bool,
    weight_decay: f32,
    clip: Clip,
}

impl Default for Nadam {
    /// Keras's learning rate, 0.001.
    fn default() -> Nadam {
        Nadam::new(0.001)
    }
}

impl Nadam {
    /// Keras's defaults with another learning rate.
    pub fn new(learning_rate: impl Into<LearningRate>) -> Nadam {
        Nadam {
            learning_rate: learning_rate.into(),
            betas: [0.9, 0.999],
            epsilon: 1e-7,
            schedule: true,
            weight_decay: 0.0,
            clip: Clip::None,
        }
    }

    /// How much of the running means of the gradients and of their squares stays at each step.
    pub fn betas(mut self, first: f32, second: f32) -> Nadam {
        self.betas = [first, second];
        self
    }

    /// Added to the root of the corrected mean of squares, against division by 0.
    pub fn epsilon(mut self, epsilon: f32) -> Nadam {
        self.epsilon = epsilon;
        self
    }

    /// Whether looking ahead begins at half of the first beta and grows to it, as in Keras, or is the first beta from the
    /// first step on, as in optax.
    pub fn momentum_schedule(mut self, schedule: bool) -> Nadam {
        self.schedule = schedule;
        self
    }

    /// The fraction of each weight that a learning rate of 1 would take away in a step, apart from the gradient.
    pub fn weight_decay(mut self, weight_decay: f32) -> Nadam {
        self.weight_decay = weight_decay;
        self
    }

    /// Limits the gradients.
    pub fn clip(mut self, clip: Clip) -> Nadam {
        self.clip = clip;
        self
    }
}

impl Optimizer for Nadam {
    fn name(&self) -> &'static str {
        "nadam"
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
        &["momentum", "velocity"]
    }

    fn step(&self, step: &StepNumber, params: &Tensor, gradients: &Tensor, moments: &[Tensor]) {
        let constants = AdamStep {
            lr: self.learning_rate.now(),
            beta1: self.betas[0],
            beta2: self.betas[1],
            epsilon: self.epsilon,
            t: step.clone(),
            correction: Correction::OfMoments,
            nesterov: if self.schedule { Nesterov::Scheduled } else { Nesterov::Constant },
            weight_decay: self.weight_decay,
            ..AdamStep::default()
        };
        adam_step(params, gradients, &moments[0], &moments[1], None, &constants);
    }

    fn clip(&self) -> Clip {
        self.clip
    }

    fn check(&self) -> Result<()> {
        self.learning_rate.check()?;
        check_rate("the first beta", self.betas[0])?;
        check_rate("the second beta", self.betas[1])?;
        check_number("epsilon", self.epsilon, "a finite number above 0", |v| v > 0.0)?;
        check_number("weight decay", self.weight_decay, "a finite number from 0 on", |v| v >= 0.0)?;
        self.clip.check()
    }
}
