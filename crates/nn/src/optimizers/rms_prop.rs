//! RMSprop: gradients divided by their running size.
//!
//! ```text
//! v <- rho * v + (1 - rho) * g^2
//! d  = v + epsilon                          centered: a <- rho * a + (1 - rho) * g,  d = v - a^2 + epsilon
//! w <- w - lr * g / sqrt(d)                 momentum m: u <- m * u + lr * g / sqrt(d),  w <- w - u
//! ```
//!
//! Tieleman and Hinton 2012, as in Keras: epsilon is under the root.

use tilegrad_core::ops::optimizer::{RmspropStep, rmsprop_step};
use tilegrad_core::{Result, Tensor};

use super::{Clip, Optimizer, check_number, check_rate};

/// Keras's `RMSprop`, with its defaults: learning rate 0.001, rho 0.9, epsilon 1e-7, no momentum, not centered.
///
/// ```
/// use tilegrad_nn::RmsProp;
/// let optimizer = RmsProp::new(0.001).momentum(0.9).centered(true);
/// ```
#[derive(Clone, Debug)]
pub struct RmsProp {
    learning_rate: f32,
    rho: f32,
    momentum: f32,
    epsilon: f32,
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
    pub fn new(learning_rate: f32) -> RmsProp {
        RmsProp {
            learning_rate,
            rho: 0.9,
            momentum: 0.0,
            epsilon: 1e-7,
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

    /// Added under the root, against division by 0.
    pub fn epsilon(mut self, epsilon: f32) -> RmsProp {
        self.epsilon = epsilon;
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

    fn learning_rate(&self) -> f32 {
        self.learning_rate
    }

    fn set_learning_rate(&mut self, learning_rate: f32) {
        self.learning_rate = learning_rate;
    }

    fn moments(&self) -> &'static [&'static str] {
        match (self.momentum > 0.0, self.centered) {
            (false, false) => &["velocity"],
            (true, false) => &["velocity", "momentum"],
            (false, true) => &["velocity", "average_gradient"],
            (true, true) => &["velocity", "momentum", "average_gradient"],
        }
    }

    fn step(&self, _: u64, params: &Tensor, gradients: &Tensor, moments: &[Tensor]) {
        let constants = RmspropStep {
            lr: self.learning_rate,
            rho: self.rho,
            momentum: self.momentum,
            epsilon: self.epsilon,
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
        check_number("learning rate", self.learning_rate, "a finite number from 0 on", |v| v >= 0.0)?;
        check_rate("rho", self.rho)?;
        check_rate("momentum", self.momentum)?;
        check_number("epsilon", self.epsilon, "a finite number above 0", |v| v > 0.0)?;
        check_number("weight decay", self.weight_decay, "a finite number from 0 on", |v| v >= 0.0)?;
        self.clip.check()
    }
}
