//! Optimizer steps, in place over flat arenas: one launch a step, whatever the number of weights.
//!
//! The formulas are Keras 3's, for a gradient `g` and a weight `w`. Before each, decoupled weight decay:
//! `w -= lr * weight_decay * w`.
//!
//! - SGD: `w -= lr * g`; with momentum `a = momentum * a - lr * g` and `w += a`, or by Nesterov
//!   `w += momentum * a - lr * g`.
//! - Adam (Kingma and Ba 2015): `m += (1 - beta1) * (g - m)`, `v += (1 - beta2) * (g^2 - v)`,
//!   `w -= lr * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon)`; AMSGrad takes the largest `v` so far.
//! - RMSprop (Hinton 2012): `v = rho * v + (1 - rho) * g^2`, `w -= lr * g / sqrt(v + epsilon)`; centered, the variance
//!   `v - mean^2` in place of `v`; with momentum, `s = momentum * s + increment` and `w -= s`.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::{OPTIMIZER, PACK};

use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::DType;
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, apply_in_place};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["sgd_step", "adam_step", "rmsprop_step", "pack"],
    differentiable: false,
    kernels: &[
        KernelInfo {
            shader: &OPTIMIZER,
            entries: &[
                "sgd_step",
                "sgd_momentum_step",
                "adam_step",
                "adam_amsgrad_step",
                "rmsprop_step",
                "rmsprop_momentum_step",
                "rmsprop_centered_step",
                "rmsprop_centered_momentum_step",
            ],
            headers: || vec![vec![]],
            params_bytes: size_of::<Params>(),
        },
        KernelInfo {
            shader: &PACK,
            entries: &["pack_forward"],
            headers: || vec![vec![]],
            params_bytes: size_of::<[[u32; 4]; PACKED]>(),
        },
    ],
};

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
struct Params {
    len: u32,
    g_offset: u32,
    w_offset: u32,
    states: [u32; 3],
    nesterov: u32,
    pad: u32,
    lr: f32,
    momentum: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    decay: f32,
    pad2: [f32; 2],
}

/// Constants of [`sgd_step`].
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

/// Constants of [`adam_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean gradient.
    pub beta1: f32,
    /// Decay of the mean square.
    pub beta2: f32,
    /// Added to the root of the mean square.
    pub epsilon: f32,
    /// Number of this step, from 1.
    pub t: u64,
    /// Decay of the weights in a step, as a multiple of the learning rate.
    pub weight_decay: f32,
}

/// Constants of [`rmsprop_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmspropStep {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean square.
    pub rho: f32,
    /// Share of the last step that goes on; only with a momentum buffer.
    pub momentum: f32,
    /// Added under the root.
    pub epsilon: f32,
    /// Decay of the weights in a step, as a multiple of the learning rate.
    pub weight_decay: f32,
}

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
}

#[derive(Debug)]
struct Step {
    formula: Formula,
    params: Params,
}

impl Op for Step {
    fn name(&self) -> &'static str {
        match self.formula {
            Formula::Sgd | Formula::SgdMomentum => "sgd_step",
            Formula::Adam | Formula::AdamAmsgrad => "adam_step",
            _ => "rmsprop_step",
        }
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (Params { nesterov, lr, momentum, beta1, beta2, epsilon, decay, .. }, g) =
            (self.params, x[0].slice::<f32>());
        // Each formula is given a gradient and its states, and returns what to add to the weight.
        let sgd_momentum = |g: f32, a: &mut f32| {
            *a = momentum * *a - lr * g;
            if nesterov == 1 { momentum * *a - lr * g } else { *a }
        };
        let adam = |g: f32, m: &mut f32, v: &mut f32, largest: Option<&mut f32>| {
            *m += (g - *m) * (1.0 - beta1);
            *v += (g * g - *v) * (1.0 - beta2);
            let second = match largest {
                Some(largest) => {
                    *largest = if *v > *largest || v.is_nan() { *v } else { *largest };
                    *largest
                }
                None => *v,
            };
            -(*m * lr) / (second.sqrt() + epsilon)
        };
        let rmsprop = |g: f32, v: &mut f32, mean: Option<&mut f32>| {
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            let square = mean.map_or(0.0, |mean| {
                *mean = beta2 * *mean + (1.0 - beta2) * g;
                *mean * *mean
            });
            lr * g / (*v - square + epsilon).sqrt()
        };
        let go_on = |s: &mut f32, increment: f32| {
            *s = momentum * *s + increment;
            -*s
        };
        let moved = |w: f32, change: f32| w - w * decay + change;
        match (self.formula, y) {
            (Formula::Sgd, [w]) => each([w], g, |g, [w]| *w = moved(*w, -lr * g)),
            (Formula::SgdMomentum, [w, a]) => each([w, a], g, |g, [w, a]| *w = moved(*w, sgd_momentum(g, a))),
            (Formula::Adam, [w, m, v]) => each([w, m, v], g, |g, [w, m, v]| *w = moved(*w, adam(g, m, v, None))),
            (Formula::AdamAmsgrad, [w, m, v, largest]) => {
                each([w, m, v, largest], g, |g, [w, m, v, largest]| *w = moved(*w, adam(g, m, v, Some(largest))));
            }
            (Formula::Rmsprop, [w, v]) => each([w, v], g, |g, [w, v]| *w = moved(*w, -rmsprop(g, v, None))),
            (Formula::RmspropMomentum, [w, v, s]) => {
                each([w, v, s], g, |g, [w, v, s]| *w = moved(*w, go_on(s, rmsprop(g, v, None))));
            }
            (Formula::RmspropCentered, [w, v, mean]) => {
                each([w, v, mean], g, |g, [w, v, mean]| *w = moved(*w, -rmsprop(g, v, Some(mean))));
            }
            (Formula::RmspropCenteredMomentum, [w, v, mean, s]) => {
                each([w, v, mean, s], g, |g, [w, v, mean, s]| *w = moved(*w, go_on(s, rmsprop(g, v, Some(mean)))));
            }
            (formula, y) => unreachable!("{formula:?} with {} outputs", y.len()),
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let entry = INFO.kernels[0].entries[self.formula as usize];
        let offset = |i: usize| y.get(i).map_or(0, |y| y.offset());
        let params = Params {
            len: y[0].len(),
            g_offset: x[0].offset(),
            w_offset: offset(0),
            states: [offset(1), offset(2), offset(3)],
            ..self.params
        };
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &OPTIMIZER, entry, constants: &[] },
            inputs: &[x[0].buffer],
            outputs: &y.iter().map(|y| y.buffer).collect::<Vec<_>>(),
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(params.len.into(), 64 * 4),
        });
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }
}

/// Runs `f(g[i], [y[0][i], y[1][i], ..])` for every element.
fn each<const N: usize>(y: [&mut CpuViewMut<'_>; N], g: &[f32], f: impl Fn(f32, [&mut f32; N]) + Sync) {
    par::together(y.map(|y| y.slice::<f32>()), &|first, mut y: [&mut [f32]; N]| {
        for i in 0..y[0].len() {
            f(g[first + i], y.each_mut().map(|y| &mut y[i]));
        }
    });
}

#[track_caller]
fn step(formula: Formula, params: Params, w: &Tensor, g: &Tensor, states: &[Option<&Tensor>]) {
    let op = Step { formula, params };
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
    apply_in_place(&op, &[g], &y);
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
    step(formula, constants, params, grads, &[velocity]);
}

/// One step of Adam: updates `params`, the moments `m` and `v`, and for AMSGrad the largest `v` so far.
///
/// # Panics
/// As [`sgd_step`].
#[track_caller]
pub fn adam_step(params: &Tensor, grads: &Tensor, m: &Tensor, v: &Tensor, v_hat: Option<&Tensor>, s: &AdamStep) {
    let formula = if v_hat.is_some() { Formula::AdamAmsgrad } else { Formula::Adam };
    let left = |beta: f32| 1.0 - f64::from(beta).powf(s.t as f64);
    let constants = Params {
        lr: (f64::from(s.lr) * left(s.beta2).sqrt() / left(s.beta1)) as f32,
        beta1: s.beta1,
        beta2: s.beta2,
        epsilon: s.epsilon,
        decay: s.lr * s.weight_decay,
        ..Params::default()
    };
    step(formula, constants, params, grads, &[Some(m), Some(v), v_hat]);
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
        beta2: s.rho,
        epsilon: s.epsilon,
        decay: s.lr * s.weight_decay,
        ..Params::default()
    };
    step(formula, constants, params, grads, &[Some(v), mean_grad, momentum]);
}

/// Tensors that one launch packs.
const PACKED: usize = 6;

/// Copies up to [`PACKED`] tensors to places in an arena.
#[derive(Debug)]
struct Pack {
    offsets: Vec<usize>,
}

impl Op for Pack {
    fn name(&self) -> &'static str {
        "pack"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let arena = y[0].slice::<f32>();
        for (x, &offset) in x.iter().zip(&self.offsets) {
            let x = x.slice::<f32>();
            arena[offset..][..x.len()].copy_from_slice(x);
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        // Bindings without a tensor get the first one again, and no workgroup.
        let mut inputs: [&GpuBuffer; PACKED] = [x[0].buffer; PACKED];
        let mut parts = [[0; 4]; PACKED];
        let mut groups = 0;
        for (i, part) in parts.iter_mut().enumerate() {
            if let (Some(x), Some(&offset)) = (x.get(i), self.offsets.get(i)) {
                inputs[i] = x.buffer;
                groups += x.len().div_ceil(64 * 4);
                *part = [groups, x.len(), x.offset(), y[0].offset() + offset as u32];
            } else {
                part[0] = groups;
            }
        }
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &PACK, entry: "pack_forward", constants: &[] },
            inputs: &inputs,
            outputs: &[y[0].buffer],
            params: bytemuck::bytes_of(&parts),
            workgroups: fold_workgroups(groups.into(), 1),
        });
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }

    fn cost(&self, x: &[&Shape], _: &Shape) -> Cost {
        Cost { flops: 0, bytes: 8 * x.iter().map(|x| x.len() as u64).sum::<u64>() }
    }
}

/// Copies each tensor's elements to the arena, from element `offsets[i]` on: gradients, for a step over all of them. Six
/// tensors to a launch.
///
/// ```
/// use tilegrad_core::ops::optimizer::pack;
/// use tilegrad_core::{Device, Tensor};
/// let d = Device::cpu();
/// let (a, b, arena) = (Tensor::ones([2], &d), Tensor::full(3.0, [1, 2], &d), Tensor::zeros([5], &d));
/// pack(&[&a, &b], &arena, &[3, 0]);
/// assert_eq!(arena.to_vec::<f32>().unwrap(), [3.0, 3.0, 0.0, 1.0, 1.0]);
/// ```
///
/// # Panics
/// When a tensor does not fit at its offset, is not `f32`, or is on another device; or the arena is strided.
#[track_caller]
pub fn pack(tensors: &[&Tensor], arena: &Tensor, offsets: &[usize]) {
    assert_eq!(tensors.len(), offsets.len(), "pack: each tensor has one offset");
    for (i, (t, &offset)) in tensors.iter().zip(offsets).enumerate() {
        let problem = match t.dtype() {
            DType::F32 if offset + t.len() <= arena.len() => continue,
            DType::F32 => format!("tensor {i} ends at element {}, past the arena", offset + t.len()),
            other => format!("tensor {i} is {other}, expected f32"),
        };
        let error = ShapeError::new(problem).operand("tensor", t.shape()).operand("arena", arena.shape());
        panic!("{}", error.of("pack"));
    }
    for (tensors, offsets) in tensors.chunks(PACKED).zip(offsets.chunks(PACKED)) {
        apply_in_place(&Pack { offsets: offsets.to_vec() }, tensors, &[arena]);
    }
}
