//! The parameters of the optimizers' kernels, and which of them depend on the number of the step.

use bytemuck::{Pod, Zeroable};

use super::clock::Clock;
use super::optimizer_constants::{AdamStep, AdamaxStep, Correction, Nesterov, StepNumber};

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct Params {
    pub(super) len: u32,
    pub(super) g_offset: u32,
    pub(super) w_offset: u32,
    pub(super) states: [u32; 3],
    pub(super) nesterov: u32,
    pub(super) correction: u32,
    pub(super) lr: f32,
    pub(super) momentum: f32,
    pub(super) beta1: f32,
    pub(super) beta2: f32,
    pub(super) epsilon: f32,
    pub(super) epsilon_in_root: f32,
    pub(super) decay: f32,
    pub(super) lr_of_gradient: f32,
    pub(super) scale_of_largest: f32,
    pub(super) log_beta1: f32,
    pub(super) log_beta2: f32,
    pub(super) pad: f32,
}

impl Params {
    pub(super) fn with_epsilon(mut self, epsilon: f32, in_root: bool) -> Params {
        *(if in_root { &mut self.epsilon_in_root } else { &mut self.epsilon }) = epsilon;
        self
    }
}

/// What the parameters are in a step.
#[derive(Clone, Debug)]
pub(super) enum Rates {
    /// The same in every step.
    Fixed(Params),
    /// Whether it is AMSGrad.
    Adam(AdamStep, bool),
    Adamax(AdamaxStep),
}

impl Rates {
    /// The step's number, if anything depends on it.
    pub(super) fn number(&self) -> Option<&StepNumber> {
        match self {
            Rates::Fixed(_) => None,
            Rates::Adam(s, _) => Some(&s.t),
            Rates::Adamax(s) => Some(&s.t),
        }
    }

    pub(super) fn clock(&self) -> Option<&Clock> {
        self.number().and_then(|t| if let StepNumber::Clock(clock) = t { Some(clock) } else { None })
    }

    /// The parameters in step `t`.
    pub(super) fn params(&self, t: u64) -> Params {
        match self {
            Rates::Fixed(params) => *params,
            Rates::Adam(s, amsgrad) => adam_params(s, t, *amsgrad),
            Rates::Adamax(s) => adamax_params(s, t),
        }
    }

    /// The parameters as they are before corrections, which the kernel then makes for the step that it finds on a clock.
    pub(super) fn params_to_correct(&self) -> Params {
        let (lr, beta1, beta2, corrections) = match self {
            Rates::Fixed(params) => return *params,
            Rates::Adam(s, amsgrad) => {
                let correction = match s.correction {
                    Correction::OfRate => 0,
                    Correction::OfMoments if *amsgrad => 2,
                    Correction::OfMoments => 1,
                };
                (s.lr, s.beta1, s.beta2, [correction, s.nesterov as u32])
            }
            Rates::Adamax(s) => (s.lr, s.beta1, s.beta2, [3, 0]),
        };
        let [correction, nesterov] = corrections;
        // Of 0 not minus infinity, which WGSL knows nothing of.
        let log = |beta: f32| f64::from(beta).ln().max(-100.0) as f32;
        // In step 0 no epsilon is corrected.
        Params { lr, correction, nesterov, log_beta1: log(beta1), log_beta2: log(beta2), ..self.params(0) }
    }
}

fn adam_params(s: &AdamStep, t: u64, amsgrad: bool) -> Params {
    // What a corrected mean square is to be divided by.
    let second = if t == 0 { 1.0 } else { 1.0 - f64::from(s.beta2).powf(t as f64) };
    let (of_mean, of_gradient) = s.nesterov.factors(s.beta1.into(), t);
    // m / (sqrt(v / second + root) + epsilon) is sqrt(second) * m / (sqrt(v + second * root) + sqrt(second) * epsilon): no
    // element has to be corrected, but for a largest one that is the largest of corrected ones.
    let (of_rate, of_epsilon, of_largest) = match s.correction {
        Correction::OfRate => (second.sqrt(), 1.0, 1.0),
        Correction::OfMoments if amsgrad => (1.0, 1.0, 1.0 / second),
        Correction::OfMoments => (second.sqrt(), second.sqrt(), 1.0),
    };
    let lr = f64::from(s.lr) * of_rate;
    Params {
        lr: (lr * of_mean) as f32,
        lr_of_gradient: (lr * of_gradient) as f32,
        beta1: s.beta1,
        beta2: s.beta2,
        epsilon: (f64::from(s.epsilon) * of_epsilon) as f32,
        epsilon_in_root: (f64::from(s.epsilon_in_root) * of_epsilon * of_epsilon) as f32,
        decay: s.lr * s.weight_decay,
        scale_of_largest: of_largest as f32,
        ..Params::default()
    }
}

fn adamax_params(s: &AdamaxStep, t: u64) -> Params {
    let (of_mean, _) = Nesterov::No.factors(s.beta1.into(), t);
    let params = Params {
        lr: (f64::from(s.lr) * of_mean) as f32,
        beta1: s.beta1,
        beta2: s.beta2,
        decay: s.lr * s.weight_decay,
        ..Params::default()
    };
    params.with_epsilon(s.epsilon, s.epsilon_in_norm)
}
