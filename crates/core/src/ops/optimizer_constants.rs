//! What the optimizer steps of `optimizer.rs` are given: rates, and which of the known variants of a formula is meant.

use super::clock::{Clock, product_of_shares, share};

/// Which step it is, counted from 1: Adam's corrections for moments that start at 0 depend on it.
#[derive(Clone, Debug)]
pub enum StepNumber {
    /// The host knows it. With 0, moments are not corrected.
    Host(u64),
    /// One more than the steps that this clock has counted: a number that a recorded step finds on the device.
    Clock(Clock),
}

impl From<u64> for StepNumber {
    fn from(t: u64) -> StepNumber {
        StepNumber::Host(t)
    }
}

/// Constants of [`sgd_step`](super::optimizer::sgd_step).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// Learning rate.
    pub lr: f32,
    /// Share of the last step that goes on; only with a velocity.
    pub momentum: f32,
    /// Whether to look ahead along the velocity.
    pub nesterov: bool,
    /// Decay of the weights in a step, as a multiple of the learning rate.
    pub weight_decay: f32,
}

/// Constants of [`adam_step`](super::optimizer::adam_step).
#[derive(Clone, Debug)]
pub struct AdamStep {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean gradient.
    pub beta1: f32,
    /// Decay of the mean square.
    pub beta2: f32,
    /// Added to the root of the mean square.
    pub epsilon: f32,
    /// Added to the mean square, under the root: 0 but in optax's `eps_root`.
    pub epsilon_in_root: f32,
    /// Number of this step.
    pub t: StepNumber,
    /// What is corrected.
    pub correction: Correction,
    /// Whether to look ahead.
    pub nesterov: Nesterov,
    /// Decay of the weights in a step, as a multiple of the learning rate.
    pub weight_decay: f32,
}

impl Default for AdamStep {
    /// The first step with Keras's defaults.
    fn default() -> AdamStep {
        AdamStep {
            lr: 0.001,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-7,
            epsilon_in_root: 0.0,
            t: StepNumber::Host(1),
            correction: Correction::OfRate,
            nesterov: Nesterov::No,
            weight_decay: 0.0,
        }
    }
}

/// What takes in that Adam's moments start at 0. The two differ in what `epsilon` is added to, and in AMSGrad's maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Correction {
    /// The learning rate, and `epsilon` is added to the root of the raw mean square: Keras's Adam, and the form that Kingma
    /// and Ba give as the more efficient one, before their section 2.1.
    #[default]
    OfRate,
    /// Both moments: Kingma and Ba's algorithm 1, PyTorch, optax, and Keras's Nadam. AMSGrad takes the largest corrected
    /// mean square, as optax does.
    OfMoments,
}

/// Whether Adam looks ahead along its mean gradient, which makes it Nadam. For a first beta of `u_t` in step `t`:
/// `u_(t+1) * m / (1 - u_1 .. u_(t+1)) + (1 - u_t) * g / (1 - u_1 .. u_t)` is in place of `m / (1 - beta1^t)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nesterov {
    /// It does not.
    #[default]
    No,
    /// `u_t = beta1 * (1 - 0.96^t / 2)`, Dozat's schedule, as in Keras.
    Scheduled,
    /// `u_t = beta1`, as in optax.
    Constant,
}

impl Nesterov {
    /// The factors of the mean gradient and of the gradient in step `t`.
    pub(super) fn factors(self, beta1: f64, t: u64) -> (f64, f64) {
        let constant = || (beta1, beta1, beta1.powf(t as f64));
        let (now, next, product) = match self {
            Nesterov::No if t == 0 => return (1.0, 0.0),
            Nesterov::No => return (1.0 / (1.0 - beta1.powf(t as f64)), 0.0),
            Nesterov::Constant => constant(),
            Nesterov::Scheduled => {
                let (now, next, power) = constant();
                let of = |t: u64| share(t as f64);
                (now * of(t), next * of(t.saturating_add(1)), power * product_of_shares(t))
            }
        };
        (next / (1.0 - product * next), (1.0 - now) / (1.0 - product))
    }
}

/// Constants of [`rmsprop_step`](super::optimizer::rmsprop_step).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmspropStep {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean square.
    pub rho: f32,
    /// Share of the last step that goes on; only with a momentum buffer.
    pub momentum: f32,
    /// Whether to look ahead along the momentum.
    pub nesterov: bool,
    /// Against division by 0.
    pub epsilon: f32,
    /// Whether `epsilon` is added under the root, as in Keras and optax, or to it, as in PyTorch.
    pub epsilon_in_root: bool,
    /// Decay of the weights in a step, as a multiple of the learning rate.
    pub weight_decay: f32,
}

/// Constants of [`adagrad_step`](super::optimizer::adagrad_step).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdagradStep {
    /// Learning rate.
    pub lr: f32,
    /// Against division by 0.
    pub epsilon: f32,
    /// Whether `epsilon` is added under the root, as in Keras and optax, or to it, as in PyTorch and ONNX.
    pub epsilon_in_root: bool,
    /// Decay of the weights in a step, as a multiple of the learning rate.
    pub weight_decay: f32,
}

/// Constants of [`adadelta_step`](super::optimizer::adadelta_step).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdadeltaStep {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean squares.
    pub rho: f32,
    /// Added under both roots.
    pub epsilon: f32,
    /// Decay of the weights in a step, as a multiple of the learning rate.
    pub weight_decay: f32,
}

/// Constants of [`adamax_step`](super::optimizer::adamax_step).
#[derive(Clone, Debug)]
pub struct AdamaxStep {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean gradient.
    pub beta1: f32,
    /// Decay of the largest gradient.
    pub beta2: f32,
    /// Against division by 0.
    pub epsilon: f32,
    /// Whether `epsilon` is added to each gradient's size before it is compared with the largest, as in PyTorch and optax,
    /// or to the largest one, as in Keras.
    pub epsilon_in_norm: bool,
    /// Number of this step.
    pub t: StepNumber,
    /// Decay of the weights in a step, as a multiple of the learning rate.
    pub weight_decay: f32,
}

/// Constants of [`lion_step`](super::optimizer::lion_step).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LionStep {
    /// Learning rate: how far each weight moves in a step.
    pub lr: f32,
    /// Share of the mean gradient in what gives the direction; the gradient has the rest.
    pub beta1: f32,
    /// Decay of the mean gradient.
    pub beta2: f32,
    /// Decay of the weights in a step, as a multiple of the learning rate.
    pub weight_decay: f32,
}
