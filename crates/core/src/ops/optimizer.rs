//! Optimizer steps, in place over flat arenas: one launch a step, whatever the number of weights.
//!
//! The formulas are Keras 3's, for a gradient `g` and a weight `w`; what other libraries do otherwise is an option of the
//! constants. Before each, decoupled weight decay: `w -= lr * weight_decay * w`. The mean square's root is
//! `root(v) = sqrt(v + epsilon)` or `sqrt(v) + epsilon`, as the optimizer has it.
//!
//! - SGD: `w -= lr * g`; with momentum `a = momentum * a - lr * g` and `w += a`, or by Nesterov
//!   `w += momentum * a - lr * g`.
//! - Adam (Kingma and Ba 2015): `m += (1 - beta1) * (g - m)`, `v += (1 - beta2) * (g^2 - v)`,
//!   `w -= lr * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon)`; AMSGrad takes the largest `v` so far; Nadam
//!   (Dozat 2016) takes a sum of `m` and `g` in place of `m`, see [`Nesterov`].
//! - RMSprop (Hinton 2012): `v = rho * v + (1 - rho) * g^2`, `w -= lr * g / root(v)`; centered, the variance
//!   `max(v - mean^2, 0)` in place of `v`; with momentum, `s = momentum * s + increment` and `w -= s`.
//! - Adagrad (Duchi et al. 2011): `v += g^2`, `w -= lr * g / root(v)`.
//! - Adadelta (Zeiler 2012): `v = rho * v + (1 - rho) * g^2`, `d = root(u) / root(v) * g`,
//!   `u = rho * u + (1 - rho) * d^2`, `w -= lr * d`.
//! - Adamax (Kingma and Ba 2015): `m += (1 - beta1) * (g - m)`, `u = max(beta2 * u, |g|)`,
//!   `w -= lr / (1 - beta1^t) * m / (u + epsilon)`.
//! - Lion (Chen et al. 2023): `w -= lr * sign(beta1 * m + (1 - beta1) * g)`, `m = beta2 * m + (1 - beta2) * g`.

use tilegrad_shaders::OPTIMIZER;

use super::binary::maximum;
use super::clock::Clock;
pub use super::optimizer_constants::{
    AdadeltaStep, AdagradStep, AdamStep, AdamaxStep, Correction, LionStep, Nesterov, RmspropStep, SgdStep, StepNumber,
};
use super::optimizer_rates::{Params, Rates};
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::DType;
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{CpuView, CpuViewMut, GpuView, Op, apply_in_place};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["sgd_step", "adam_step", "rmsprop_step", "adagrad_step", "adadelta_step", "adamax_step", "lion_step"],
    differentiable: false,
    kernels: &[KernelInfo {
        shader: &OPTIMIZER,
        // In the order of `Formula`.
        entries: &[
            "sgd_step",
            "sgd_momentum_step",
            "adam_step",
            "adam_amsgrad_step",
            "rmsprop_step",
            "rmsprop_momentum_step",
            "rmsprop_centered_step",
            "rmsprop_centered_momentum_step",
            "adagrad_step",
            "adadelta_step",
            "adamax_step",
            "lion_step",
        ],
        headers: || [(0, 0), (0, 1), (1, 1)].map(|(clock, vec)| vec![("CLOCK", clock), ("VEC", vec)]).into(),
        params_bytes: size_of::<Params>(),
    }],
};

/// Which formula, with which of its parts. Outputs are the weights and then the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Formula {
    Sgd,
    SgdMomentum,
    Adam,
    AdamAmsgrad,
    Rmsprop,
    RmspropMomentum,
    RmspropCentered,
    RmspropCenteredMomentum,
    Adagrad,
    Adadelta,
    Adamax,
    Lion,
}

#[derive(Debug)]
struct Step {
    formula: Formula,
    rates: Rates,
}

impl Op for Step {
    fn name(&self) -> &'static str {
        match self.formula {
            Formula::Sgd | Formula::SgdMomentum => "sgd_step",
            Formula::Adam | Formula::AdamAmsgrad => "adam_step",
            Formula::Adagrad => "adagrad_step",
            Formula::Adadelta => "adadelta_step",
            Formula::Adamax => "adamax_step",
            Formula::Lion => "lion_step",
            _ => "rmsprop_step",
        }
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn dtype(&self, _: &[DType]) -> Result<DType, ShapeError> {
        Ok(DType::F32)
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let t = match (self.rates.number(), x.get(1)) {
            (Some(StepNumber::Host(t)), _) => *t,
            (_, Some(clock)) => u64::from(clock.slice::<u32>()[0]) + 1,
            (_, None) => 0,
        };
        let (p, g) = (self.rates.params(t), x[0].slice::<f32>());
        let Params { lr, momentum, beta1, beta2, .. } = p;
        // Each formula is given a gradient and its states, and returns what to add to the weight.
        let root = move |v: f32| (v + p.epsilon_in_root).sqrt() + p.epsilon;
        let sgd_momentum = move |g: f32, a: &mut f32| {
            *a = momentum * *a - lr * g;
            if p.nesterov == 1 { momentum * *a - lr * g } else { *a }
        };
        let adam = move |g: f32, m: &mut f32, v: &mut f32, largest: Option<&mut f32>| {
            *m += (g - *m) * (1.0 - beta1);
            *v += (g * g - *v) * (1.0 - beta2);
            let second = match largest {
                Some(largest) => {
                    *largest = maximum(*largest, *v * p.scale_of_largest);
                    *largest
                }
                None => *v,
            };
            -(*m * lr + g * p.lr_of_gradient) / root(second)
        };
        let rmsprop = move |g: f32, v: &mut f32, mean: Option<&mut f32>| {
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            let size = match mean {
                Some(mean) => {
                    *mean = beta2 * *mean + (1.0 - beta2) * g;
                    // Rounding can take it below 0 where gradients hardly change.
                    maximum(*v - *mean * *mean, 0.0)
                }
                None => *v,
            };
            lr * g / root(size)
        };
        let go_on = move |s: &mut f32, increment: f32| {
            *s = momentum * *s + increment;
            if p.nesterov == 1 { -(momentum * *s + increment) } else { -*s }
        };
        let adagrad = move |g: f32, v: &mut f32| {
            *v += g * g;
            -(lr * g) / root(*v)
        };
        let adadelta = move |g: f32, v: &mut f32, u: &mut f32| {
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            let change = -(root(*u) / root(*v) * g);
            *u = beta2 * *u + (1.0 - beta2) * change * change;
            lr * change
        };
        let adamax = move |g: f32, m: &mut f32, u: &mut f32| {
            *m += (g - *m) * (1.0 - beta1);
            *u = maximum(beta2 * *u, g.abs() + p.epsilon_in_root);
            -(*m * lr) / (*u + p.epsilon)
        };
        let lion = move |g: f32, m: &mut f32| {
            let direction = beta1 * *m + (1.0 - beta1) * g;
            *m = beta2 * *m + (1.0 - beta2) * g;
            -lr * if direction == 0.0 || direction.is_nan() { direction } else { direction.signum() }
        };
        let moved = move |w: f32, change: f32| w - w * p.decay + change;
        match (self.formula, y) {
            (Formula::Sgd, [w]) => each([w], g, move |g, [w]| *w = moved(*w, -lr * g)),
            (Formula::SgdMomentum, [w, a]) => each([w, a], g, move |g, [w, a]| *w = moved(*w, sgd_momentum(g, a))),
            (Formula::Adam, [w, m, v]) => each([w, m, v], g, move |g, [w, m, v]| *w = moved(*w, adam(g, m, v, None))),
            (Formula::AdamAmsgrad, [w, m, v, largest]) => {
                each([w, m, v, largest], g, move |g, [w, m, v, largest]| *w = moved(*w, adam(g, m, v, Some(largest))));
            }
            (Formula::Rmsprop, [w, v]) => each([w, v], g, move |g, [w, v]| *w = moved(*w, -rmsprop(g, v, None))),
            (Formula::RmspropMomentum, [w, v, s]) => {
                each([w, v, s], g, move |g, [w, v, s]| *w = moved(*w, go_on(s, rmsprop(g, v, None))));
            }
            (Formula::RmspropCentered, [w, v, mean]) => {
                each([w, v, mean], g, move |g, [w, v, mean]| *w = moved(*w, -rmsprop(g, v, Some(mean))));
            }
            (Formula::RmspropCenteredMomentum, [w, v, mean, s]) => {
                each([w, v, mean, s], g, move |g, [w, v, mean, s]| *w = moved(*w, go_on(s, rmsprop(g, v, Some(mean)))));
            }
            (Formula::Adagrad, [w, v]) => each([w, v], g, move |g, [w, v]| *w = moved(*w, adagrad(g, v))),
            (Formula::Adadelta, [w, v, u]) => each([w, v, u], g, move |g, [w, v, u]| *w = moved(*w, adadelta(g, v, u))),
            (Formula::Adamax, [w, m, u]) => each([w, m, u], g, move |g, [w, m, u]| *w = moved(*w, adamax(g, m, u))),
            (Formula::Lion, [w, m]) => each([w, m], g, move |g, [w, m]| *w = moved(*w, lion(g, m))),
            (formula, y) => unreachable!("{formula:?} with {} outputs", y.len()),
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let entry = INFO.kernels[0].entries[self.formula as usize];
        let (constants, clock) = match self.rates.number() {
            Some(StepNumber::Clock(_)) => (self.rates.params_to_correct(), 1),
            Some(StepNumber::Host(t)) => {
                gpu.prevent_recording("an optimizer's step number comes from the host");
                (self.rates.params(*t), 0)
            }
            None => (self.rates.params(0), 0),
        };
        // Where the arenas begin at a multiple of four, all but the last three elements go four at a time.
        let aligned = y.iter().chain(&x[..1]).all(|t| t.offset().is_multiple_of(4));
        let body = if aligned { y[0].len() & !3 } else { 0 };
        let outputs: Vec<_> = y.iter().map(|y| y.buffer).collect();
        for (vec, first, end) in [(1, 0, body), (0, body, y[0].len())] {
            let offset = |i: usize| y.get(i).map_or(0, |y| y.offset() + first);
            let params = Params {
                len: end - first,
                g_offset: x[0].offset() + first,
                w_offset: offset(0),
                states: [offset(1), offset(2), offset(3)],
                ..constants
            };
            gpu.dispatch(Dispatch {
                kernel: Kernel { shader: &OPTIMIZER, entry, constants: &[("CLOCK", clock), ("VEC", vec)] },
                // Where there is no clock its binding gets any buffer; the kernel doesn't look.
                inputs: &[x[0].buffer, x.get(1).unwrap_or(&x[0]).buffer],
                outputs: &outputs,
                params: bytemuck::bytes_of(&params),
                workgroups: fold_workgroups(params.len.div_ceil(4).into(), 64),
            });
        }
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }
}

/// Runs `f(g[i], [y[0][i], y[1][i], ..])` for every element. What `f` needs should be its own (`move`): a loop that looks up
/// constants elsewhere does not compile to vector code.
fn each<const N: usize>(y: [&mut CpuViewMut<'_>; N], g: &[f32], f: impl Fn(f32, &mut [f32; N]) + Sync) {
    par::together(y.map(|y| y.slice::<f32>()), &|first, y: [&mut [f32]; N]| {
        let len = y[0].len();
        let (g, mut y) = (&g[first..][..len], y.map(|y| &mut y[..len]));
        for i in 0..len {
            let mut at: [f32; N] = std::array::from_fn(|n| y[n][i]);
            f(g[i], &mut at);
            for (n, y) in y.iter_mut().enumerate() {
                y[i] = at[n];
            }
        }
    });
}

#[track_caller]
fn step(formula: Formula, rates: Rates, w: &Tensor, g: &Tensor, states: &[Option<&Tensor>]) {
    let op = Step { formula, rates };
    let y: Vec<&Tensor> = [Some(w)].iter().chain(states).filter_map(|t| *t).collect();
    for (name, t) in [("grads", g)].into_iter().chain(y[1..].iter().map(|t| ("state", *t))) {
        let problem = match (t.len() == w.len(), t.dtype()) {
            (true, DType::F32) => continue,
            (true, other) => format!("{name} are {other}, expected f32"),
            (false, _) => format!("{name} and params differ in length"),
        };
        let error = ShapeError::new(problem).operand("params", w.shape()).operand(name, t.shape());
        panic!("{}", error.of(op.name()));
    }
    let clock = op.rates.clock().map(Clock::tensor).cloned();
    apply_in_place(&op, &[Some(g), clock.as_ref()].into_iter().flatten().collect::<Vec<_>>(), &y);
}

/// One step of gradient descent: updates `params`, and `velocity` for momentum.
///
/// ```
/// use tilegrad_core::ops::optimizer::{SgdStep, sgd_step};
/// use tilegrad_core::{Device, Tensor};
/// let d = Device::cpu();
/// let (w, g) = (Tensor::ones([2], &d), Tensor::new(&[1.0, -1.0], [2], &d));
/// sgd_step(&w, &g, None, &SgdStep { lr: 0.5, momentum: 0.0, nesterov: false, weight_decay: 0.0 });
/// assert_eq!(w.to_vec::<f32>().unwrap(), [0.5, 1.5]);
/// ```
///
/// # Panics
/// When lengths, types or devices differ, or a tensor to update is strided.
#[track_caller]
pub fn sgd_step(params: &Tensor, grads: &Tensor, velocity: Option<&Tensor>, s: &SgdStep) {
    let formula = if velocity.is_some() { Formula::SgdMomentum } else { Formula::Sgd };
    let constants = Params {
        nesterov: s.nesterov as u32,
        lr: s.lr,
        momentum: s.momentum,
        decay: s.lr * s.weight_decay,
        ..Params::default()
    };
    step(formula, Rates::Fixed(constants), params, grads, &[velocity]);
}

/// One step of Adam or Nadam: updates `params`, the moments `m` and `v`, and for AMSGrad the largest `v` so far.
///
/// # Panics
/// As [`sgd_step`].
#[track_caller]
pub fn adam_step(params: &Tensor, grads: &Tensor, m: &Tensor, v: &Tensor, v_hat: Option<&Tensor>, s: &AdamStep) {
    let formula = if v_hat.is_some() { Formula::AdamAmsgrad } else { Formula::Adam };
    step(formula, Rates::Adam(s.clone(), v_hat.is_some()), params, grads, &[Some(m), Some(v), v_hat]);
}

/// One step of RMSprop: updates `params`, the mean square `v`, the mean gradient if centered, and `momentum`'s buffer if
/// there is one.
///
/// # Panics
/// As [`sgd_step`].
#[track_caller]
pub fn rmsprop_step(
    params: &Tensor,
    grads: &Tensor,
    v: &Tensor,
    mean_grad: Option<&Tensor>,
    momentum: Option<&Tensor>,
    s: &RmspropStep,
) {
    let formula = match (mean_grad, momentum) {
        (None, None) => Formula::Rmsprop,
        (None, Some(_)) => Formula::RmspropMomentum,
        (Some(_), None) => Formula::RmspropCentered,
        (Some(_), Some(_)) => Formula::RmspropCenteredMomentum,
    };
    let constants = Params {
        lr: s.lr,
        momentum: s.momentum,
        nesterov: s.nesterov as u32,
        beta2: s.rho,
        decay: s.lr * s.weight_decay,
        ..Params::default()
    };
    let constants = constants.with_epsilon(s.epsilon, s.epsilon_in_root);
    step(formula, Rates::Fixed(constants), params, grads, &[Some(v), mean_grad, momentum]);
}

/// One step of Adagrad: updates `params` and the sum of squares `v`.
///
/// ```
/// use tilegrad_core::ops::optimizer::{AdagradStep, adagrad_step};
/// use tilegrad_core::{Device, Tensor};
/// let d = Device::cpu();
/// let (w, g, sum) = (Tensor::ones([2], &d), Tensor::new(&[2.0, -2.0], [2], &d), Tensor::full(12.0, [2], &d));
/// adagrad_step(&w, &g, &sum, &AdagradStep { lr: 0.5, epsilon: 1e-7, epsilon_in_root: true, weight_decay: 0.0 });
/// assert_eq!(w.to_vec::<f32>().unwrap(), [0.75, 1.25]);
/// ```
///
/// # Panics
/// As [`sgd_step`].
#[track_caller]
pub fn adagrad_step(params: &Tensor, grads: &Tensor, v: &Tensor, s: &AdagradStep) {
    let constants = Params { lr: s.lr, decay: s.lr * s.weight_decay, ..Params::default() };
    let constants = constants.with_epsilon(s.epsilon, s.epsilon_in_root);
    step(Formula::Adagrad, Rates::Fixed(constants), params, grads, &[Some(v)]);
}

/// One step of Adadelta: updates `params`, the mean square `v` of the gradients and `u` of the changes.
///
/// # Panics
/// As [`sgd_step`].
#[track_caller]
pub fn adadelta_step(params: &Tensor, grads: &Tensor, v: &Tensor, u: &Tensor, s: &AdadeltaStep) {
    let constants = Params {
        lr: s.lr,
        beta2: s.rho,
        epsilon_in_root: s.epsilon,
        decay: s.lr * s.weight_decay,
        ..Params::default()
    };
    step(Formula::Adadelta, Rates::Fixed(constants), params, grads, &[Some(v), Some(u)]);
}

/// One step of Adamax: updates `params`, the mean gradient `m`, and `u`, the largest gradient, which fades.
///
/// # Panics
/// As [`sgd_step`].
#[track_caller]
pub fn adamax_step(params: &Tensor, grads: &Tensor, m: &Tensor, u: &Tensor, s: &AdamaxStep) {
    step(Formula::Adamax, Rates::Adamax(s.clone()), params, grads, &[Some(m), Some(u)]);
}

/// One step of Lion: updates `params` and the mean gradient `m`. A weight whose direction is 0 stays.
///
/// # Panics
/// As [`sgd_step`].
#[track_caller]
pub fn lion_step(params: &Tensor, grads: &Tensor, m: &Tensor, s: &LionStep) {
    let constants =
        Params { lr: s.lr, beta1: s.beta1, beta2: s.beta2, decay: s.lr * s.weight_decay, ..Params::default() };
    step(Formula::Lion, Rates::Fixed(constants), params, grads, &[Some(m)]);
}
