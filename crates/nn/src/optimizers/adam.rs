//! Adam: steps of a size that does not depend on the gradients' scale.
//!
//! ```text
//! m <- b1 * m + (1 - b1) * g
//! v <- b2 * v + (1 - b2) * g^2              amsgrad: the largest v so far
//! w <- w - lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon)
//! ```
//!
//! Kingma and Ba 2014, in the form before their section 2.1 as Keras has it: epsilon is added before the bias correction.
//! With [`Correction::OfMoments`] it is `w - lr * m' / (sqrt(v') + epsilon)` for the corrected `m' = m / (1 - b1^t)` and
//! `v' = v / (1 - b2^t)`, as in PyTorch and optax.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::ops::optimizer::{AdamStep, adam_step};
use tilegrad_core::{Result, Tensor};

use super::{Clip, Correction, CorrectionConfig, Optimizer, StepNumber, check_number, check_rate};
use crate::config;
use crate::schedules::{LearningRate, Schedule};

/// Keras's `Adam`, with its defaults: learning rate 0.001, betas 0.9 and 0.999, epsilon 1e-7.
///
/// ```
/// use tilegrad_nn::Adam;
/// let optimizer = Adam::new(3e-4).betas(0.9, 0.99);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adam {
    learning_rate: LearningRate,
    betas: [f32; 2],
    epsilon: f32,
    epsilon_in_root: f32,
    #[serde(with = "CorrectionConfig")]
    correction: Correction,
    amsgrad: bool,
    weight_decay: f32,
    clip: Clip,
}

impl Default for Adam {
    /// Keras's learning rate, 0.001.
    fn default() -> Adam {
        Adam::new(0.001)
    }
}

impl Adam {
    /// Keras's defaults with another learning rate.
    pub fn new(learning_rate: impl Into<LearningRate>) -> Adam {
        Adam {
            learning_rate: learning_rate.into(),
            betas: [0.9, 0.999],
            epsilon: 1e-7,
            epsilon_in_root: 0.0,
            correction: Correction::OfRate,
            amsgrad: false,
            weight_decay: 0.0,
            clip: Clip::None,
        }
    }

    /// How much of the running means of the gradients and of their squares stays at each step.
    pub fn betas(mut self, first: f32, second: f32) -> Adam {
        self.betas = [first, second];
        self
    }

    /// Added to the root, against division by 0.
    pub fn epsilon(mut self, epsilon: f32) -> Adam {
        self.epsilon = epsilon;
        self
    }

    /// A second one, added under the root: 0 but in optax, whose `eps_root` it is.
    pub fn epsilon_in_root(mut self, epsilon: f32) -> Adam {
        self.epsilon_in_root = epsilon;
        self
    }

    /// What is corrected for moments that start at 0, and thus what `epsilon` is added to.
    pub fn correction(mut self, correction: Correction) -> Adam {
        self.correction = correction;
        self
    }

    /// Whether the largest mean of squares so far is used, so that steps never grow back. Reddi et al. 2018.
    pub fn amsgrad(mut self, amsgrad: bool) -> Adam {
        self.amsgrad = amsgrad;
        self
    }

    /// The fraction of each weight that a learning rate of 1 would take away in a step, apart from the gradient: AdamW.
    pub fn weight_decay(mut self, weight_decay: f32) -> Adam {
        self.weight_decay = weight_decay;
        self
    }

    /// Limits the gradients.
    pub fn clip(mut self, clip: Clip) -> Adam {
        self.clip = clip;
        self
    }
}

impl Optimizer for Adam {
    fn name(&self) -> &'static str {
        "adam"
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
        if self.amsgrad { &["momentum", "velocity", "velocity_hat"] } else { &["momentum", "velocity"] }
    }

    fn step(&self, step: &StepNumber, params: &Tensor, gradients: &Tensor, moments: &[Tensor]) {
        let constants = AdamStep {
            lr: self.learning_rate.now(),
            beta1: self.betas[0],
            beta2: self.betas[1],
            epsilon: self.epsilon,
            epsilon_in_root: self.epsilon_in_root,
            t: step.clone(),
            correction: self.correction,
            weight_decay: self.weight_decay,
            ..AdamStep::default()
        };
        adam_step(params, gradients, &moments[0], &moments[1], moments.get(2), &constants);
    }

    fn clip(&self) -> Clip {
        self.clip
    }

    fn check(&self) -> Result<()> {
        self.learning_rate.check()?;
        check_rate("the first beta", self.betas[0])?;
        check_rate("the second beta", self.betas[1])?;
        check_number("epsilon", self.epsilon, "a finite number above 0", |v| v > 0.0)?;
        check_number("epsilon in the root", self.epsilon_in_root, "a finite number from 0 on", |v| v >= 0.0)?;
        check_number("weight decay", self.weight_decay, "a finite number from 0 on", |v| v >= 0.0)?;
        self.clip.check()
    }
}
