//! Adamax: Adam with the largest gradient of late in place of the root mean square.
//!
//! ```text
//! m <- b1 * m + (1 - b1) * g
//! u <- max(b2 * u, |g|)
//! w <- w - lr / (1 - b1^t) * m / (u + epsilon)
//! ```
//!
//! Kingma and Ba 2014, section 7.1, as in Keras. PyTorch and optax add epsilon to `|g|` instead.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::ops::optimizer::{AdamaxStep, adamax_step};
use tilegrad_core::{Result, Tensor};

use super::{Clip, Optimizer, StepNumber, check_number, check_rate};
use crate::config;
use crate::schedules::{LearningRate, Schedule};

/// Keras's `Adamax`, with its defaults: learning rate 0.001, betas 0.9 and 0.999, epsilon 1e-7.
///
/// ```
/// use tilegrad_nn::Adamax;
/// let as_in_optax = Adamax::new(0.002).epsilon(1e-8).epsilon_in_norm(true);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adamax {
    learning_rate: LearningRate,
    betas: [f32; 2],
    epsilon: f32,
    epsilon_in_norm: bool,
    weight_decay: f32,
    clip: Clip,
}

impl Default for Adamax {
    /// Keras's learning rate, 0.001.
    fn default() -> Adamax {
        Adamax::new(0.001)
    }
}

impl Adamax {
    /// Keras's defaults with another learning rate.
    pub fn new(learning_rate: impl Into<LearningRate>) -> Adamax {
        Adamax {
            learning_rate: learning_rate.into(),
            betas: [0.9, 0.999],
            epsilon: 1e-7,
            epsilon_in_norm: false,
            weight_decay: 0.0,
            clip: Clip::None,
        }
    }

    /// How much of the running mean and of the largest gradient stays at each step.
    pub fn betas(mut self, first: f32, second: f32) -> Adamax {
        self.betas = [first, second];
        self
    }

    /// Against division by 0.
    pub fn epsilon(mut self, epsilon: f32) -> Adamax {
        self.epsilon = epsilon;
        self
    }

    /// Whether `epsilon` is added to each gradient's size before it is compared with the largest, as in PyTorch and optax,
    /// or to the largest one, as in Keras.
    pub fn epsilon_in_norm(mut self, in_norm: bool) -> Adamax {
        self.epsilon_in_norm = in_norm;
        self
    }

    /// The fraction of each weight that a learning rate of 1 would take away in a step, apart from the gradient.
    pub fn weight_decay(mut self, weight_decay: f32) -> Adamax {
        self.weight_decay = weight_decay;
        self
    }

    /// Limits the gradients.
    pub fn clip(mut self, clip: Clip) -> Adamax {
        self.clip = clip;
        self
    }
}

impl Optimizer for Adamax {
    fn name(&self) -> &'static str {
        "adamax"
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
        &["momentum", "norm"]
    }

    fn step(&self, step: &StepNumber, params: &Tensor, gradients: &Tensor, moments: &[Tensor]) {
        let constants = AdamaxStep {
            lr: self.learning_rate.now(),
            beta1: self.betas[0],
            beta2: self.betas[1],
            epsilon: self.epsilon,
            epsilon_in_norm: self.epsilon_in_norm,
            t: step.clone(),
            weight_decay: self.weight_decay,
        };
        adamax_step(params, gradients, &moments[0], &moments[1], &constants);
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
