//! Adagrad: rates that fall for each weight with the gradients it has seen.
//!
//! ```text
//! v <- v + g^2
//! w <- w - lr * g / sqrt(v + epsilon)       epsilon after the root: sqrt(v) + epsilon
//! ```
//!
//! Duchi, Hazan and Singer 2011. `v` starts at 0.1, so that first steps are no larger than `lr * g / 0.3`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::ops::optimizer::{AdagradStep, adagrad_step};
use tilegrad_core::{Result, Tensor};

use super::{Clip, Optimizer, StepNumber, check_number};
use crate::config;
use crate::schedules::{LearningRate, Schedule};

/// Keras's `Adagrad`, with its defaults: learning rate 0.001, initial accumulator 0.1, epsilon 1e-7 under the root. It
/// works best with higher rates than other optimizers; the paper has 1.
///
/// ```
/// use tilegrad_nn::Adagrad;
/// let optimizer = Adagrad::new(0.1).initial_accumulator(0.0);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adagrad {
    learning_rate: LearningRate,
    initial_accumulator: f32,
    epsilon: f32,
    epsilon_in_root: bool,
    weight_decay: f32,
    clip: Clip,
}

impl Default for Adagrad {
    /// Keras's learning rate, 0.001.
    fn default() -> Adagrad {
        Adagrad::new(0.001)
    }
}

impl Adagrad {
    /// Keras's defaults with another learning rate.
    pub fn new(learning_rate: impl Into<LearningRate>) -> Adagrad {
        Adagrad {
            learning_rate: learning_rate.into(),
            initial_accumulator: 0.1,
            epsilon: 1e-7,
            epsilon_in_root: true,
            weight_decay: 0.0,
            clip: Clip::None,
        }
    }

    /// What the sums of squares start at.
    pub fn initial_accumulator(mut self, value: f32) -> Adagrad {
        self.initial_accumulator = value;
        self
    }

    /// Against division by 0.
    pub fn epsilon(mut self, epsilon: f32) -> Adagrad {
        self.epsilon = epsilon;
        self
    }

    /// Whether `epsilon` is added under the root, as in Keras and optax, or to it, as in PyTorch and ONNX.
    pub fn epsilon_in_root(mut self, in_root: bool) -> Adagrad {
        self.epsilon_in_root = in_root;
        self
    }

    /// The fraction of each weight that a learning rate of 1 would take away in a step, apart from the gradient.
    pub fn weight_decay(mut self, weight_decay: f32) -> Adagrad {
        self.weight_decay = weight_decay;
        self
    }

    /// Limits the gradients.
    pub fn clip(mut self, clip: Clip) -> Adagrad {
        self.clip = clip;
        self
    }
}

impl Optimizer for Adagrad {
    fn name(&self) -> &'static str {
        "adagrad"
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
        &["accumulator"]
    }

    fn initial(&self, _: usize) -> f32 {
        self.initial_accumulator
    }

    fn step(&self, _: &StepNumber, params: &Tensor, gradients: &Tensor, moments: &[Tensor]) {
        let constants = AdagradStep {
            lr: self.learning_rate.now(),
            epsilon: self.epsilon,
            epsilon_in_root: self.epsilon_in_root,
            weight_decay: self.weight_decay,
        };
        adagrad_step(params, gradients, &moments[0], &constants);
    }

    fn clip(&self) -> Clip {
        self.clip
    }

    fn check(&self) -> Result<()> {
        self.learning_rate.check()?;
        check_number("initial accumulator", self.initial_accumulator, "a finite number from 0 on", |v| v >= 0.0)?;
        check_number("epsilon", self.epsilon, "a finite number above 0", |v| v > 0.0)?;
        check_number("weight decay", self.weight_decay, "a finite number from 0 on", |v| v >= 0.0)?;
        self.clip.check()
    }
}
