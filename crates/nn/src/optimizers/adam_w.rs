//! AdamW: Adam with weight decay beside the gradient, where it does not go through the moments.
//!
//! ```text
//! w <- w - lr * weight_decay * w
//! w <- w - Adam's step
//! ```
//!
//! Loshchilov and Hutter 2019. All optimizers here decay weights in this way; this one has Keras's default for it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::{Result, Tensor};

use super::{Adam, Clip, Correction, Optimizer, StepNumber};
use crate::config;
use crate::schedules::{LearningRate, Schedule};

/// Keras's `AdamW`, with its defaults: those of [`Adam`], and weight decay 0.004.
///
/// ```
/// use tilegrad_nn::AdamW;
/// let optimizer = AdamW::new(1e-3).weight_decay(0.05);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdamW(Adam);

impl Default for AdamW {
    /// Keras's learning rate, 0.001.
    fn default() -> AdamW {
        AdamW::new(0.001)
    }
}

impl AdamW {
    /// Keras's defaults with another learning rate.
    pub fn new(learning_rate: impl Into<LearningRate>) -> AdamW {
        AdamW(Adam::new(learning_rate).weight_decay(0.004))
    }

    /// How much of the running means of the gradients and of their squares stays at each step.
    pub fn betas(self, first: f32, second: f32) -> AdamW {
        AdamW(self.0.betas(first, second))
    }

    /// Added to the root, against division by 0.
    pub fn epsilon(self, epsilon: f32) -> AdamW {
        AdamW(self.0.epsilon(epsilon))
    }

    /// As [`Adam::amsgrad`].
    pub fn amsgrad(self, amsgrad: bool) -> AdamW {
        AdamW(self.0.amsgrad(amsgrad))
    }

    /// As [`Adam::correction`].
    pub fn correction(self, correction: Correction) -> AdamW {
        AdamW(self.0.correction(correction))
    }

    /// The fraction of each weight that a learning rate of 1 would take away in a step.
    pub fn weight_decay(self, weight_decay: f32) -> AdamW {
        AdamW(self.0.weight_decay(weight_decay))
    }

    /// Limits the gradients.
    pub fn clip(self, clip: Clip) -> AdamW {
        AdamW(self.0.clip(clip))
    }
}

impl Optimizer for AdamW {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn learning_rate(&self) -> f32 {
        self.0.learning_rate()
    }

    fn set_learning_rate(&mut self, learning_rate: f32) {
        self.0.set_learning_rate(learning_rate);
    }

    fn schedule(&self) -> Option<&Schedule> {
        self.0.schedule()
    }

    fn moments(&self) -> &'static [&'static str] {
        self.0.moments()
    }

    fn step(&self, step: &StepNumber, params: &Tensor, gradients: &Tensor, moments: &[Tensor]) {
        self.0.step(step, params, gradients, moments);
    }

    fn clip(&self) -> Clip {
        Optimizer::clip(&self.0)
    }

    fn check(&self) -> Result<()> {
        self.0.check()
    }
}
