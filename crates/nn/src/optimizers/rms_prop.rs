//! RMSprop: gradients divided by their running size.
//!
//! ```text
//! v <- rho * v + (1 - rho) * g^2
//! d  = v + epsilon                          centered: a <- rho * a + (1 - rho) * g,  d = v - a^2 + epsilon
//! w <- w - lr * g / sqrt(d)                 momentum m: u <- m * u + lr * g / sqrt(d),  w <- w - u
//!                                           nesterov: w <- w - m * u - lr * g / sqrt(d)
//! ```
//!
//! Tieleman and Hinton 2012, as in Keras: epsilon is under the root. It may be added after the root instead, as in PyTorch.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::ops::optimizer::{RmspropStep, rmsprop_step};
use tilegrad_core::{Result, Tensor};

use super::{Clip, Optimizer, StepNumber, check_number, check_rate};
use crate::config;
use crate::schedules::{LearningRate, Schedule};

/// Keras's `RMSprop`, with its defaults: learning rate 0.001, rho 0.9, epsilon 1e-7, no momentum, not centered.
///
/// ```
/// use tilegrad_nn::RmsProp;
/// let optimizer = RmsProp::new(0.001).momentum(0.9).centered(true);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RmsProp {
    learning_rate: LearningRate,
    rho: f32,
    momentum: f32,
    nesterov: bool,
    epsilon: f32,
    epsilon_in_root: bool,
    initial_velocity: f32,
    centered: bool,
    weight_decay: f32,
    clip: Clip,
}

impl Default for RmsProp {
    /// Keras's learning rate, 0.001.
    fn default() -> RmsProp {
        RmsProp::new(0.001)
    }
}

impl RmsProp {
    /// Keras's defaults with another learning rate.
    pub fn new(learning_rate: impl Into<LearningRate>) -> RmsProp {
        RmsProp {
            learning_rate: learning_rate.into(),
            rho: 0.9,
            momentum: 0.0,
            nesterov: false,
            epsilon: 1e-7,
            epsilon_in_root: true,
            initial_velocity: 0.0,
            centered: false,
            weight_decay: 0.0,
            clip: Clip::None,
        }
    }

    /// How much of the running mean of squares stays at each step.
    pub fn rho(mut self, rho: f32) -> RmsProp {
        self.rho = rho;
        self
    }

    /// How much of the last step goes into this one.
    pub fn momentum(mut self, momentum: f32) -> RmsProp {
        self.momentum = momentum;
        self
    }

    /// Whether the step looks ahead along the momentum, as an option of optax has it.
    pub fn nesterov(mut self, nesterov: bool) -> RmsProp {
        self.nesterov = nesterov;
        self
    }

    /// Against division by 0.
    pub fn epsilon(mut self, epsilon: f32) -> RmsProp {
        self.epsilon = epsilon;
        self
    }

    /// Whether `epsilon` is added under the root, as in Keras, or to it, as in PyTorch.
    pub fn epsilon_in_root(mut self, in_root: bool) -> RmsProp {
        self.epsilon_in_root = in_root;
        self
    }

    /// What the running mean of squares starts at: 0 but in optax's `initial_scale`.
    pub fn initial_velocity(mut self, value: f32) -> RmsProp {
        self.initial_velocity = value;
        self
    }

    /// Whether gradients are divided by their running standard deviation, not by their root mean square.
    pub fn centered(mut self, centered: bool) -> RmsProp {
        self.centered = centered;
        self
    }

    /// The fraction of each weight that a learning rate of 1 would take away in a step, apart from the gradient.
    pub fn weight_decay(mut self, weight_decay: f32) -> RmsProp {
        self.weight_decay = weight_decay;
        self
    }

    /// Limits the gradients.
    pub fn clip(mut self, clip: Clip) -> RmsProp {
        self.clip = clip;
        self
    }
}

impl Optimizer for RmsProp {
    fn name(&self) -> &'static str {
        "rmsprop"
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
        match (self.momentum > 0.0, self.centered) {
            (false, false) => &["velocity"],
            (true, false) => &["velocity", "momentum"],
            (false, true) => &["velocity", "average_gradient"],
            (true, true) => &["velocity", "momentum", "average_gradient"],
        }
    }

    fn initial(&self, moment: usize) -> f32 {
        if moment == 0 { self.initial_velocity } else { 0.0 }
    }

    fn step(&self, _: &StepNumber, params: &Tensor, gradients: &Tensor, moments: &[Tensor]) {
        let constants = RmspropStep {
            lr: self.learning_rate.now(),
            rho: self.rho,
            momentum: self.momentum,
            nesterov: self.nesterov,
            epsilon: self.epsilon,
            epsilon_in_root: self.epsilon_in_root,
            weight_decay: self.weight_decay,
        };
        let (momentum, average) = match (self.momentum > 0.0, self.centered) {
            (true, true) => (moments.get(1), moments.get(2)),
            (true, false) => (moments.get(1), None),
            (false, true) => (None, moments.get(1)),
            (false, false) => (None, None),
        };
        rmsprop_step(params, gradients, &moments[0], average, momentum, &constants);
    }

    fn clip(&self) -> Clip {
        self.clip
    }

    fn check(&self) -> Result<()> {
        self.learning_rate.check()?;
        check_rate("rho", self.rho)?;
        check_rate("momentum", self.momentum)?;
        check_number("initial velocity", self.initial_velocity, "a finite number from 0 on", |v| v >= 0.0)?;
        check_number("epsilon", self.epsilon, "a finite number above 0", |v| v > 0.0)?;
        check_number("weight decay", self.weight_decay, "a finite number from 0 on", |v| v >= 0.0)?;
        self.clip.check()
    }
}
