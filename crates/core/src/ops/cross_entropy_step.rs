//! Softmax cross-entropy as a training step needs it, in one pass over the logits `(B, C)`: the gradient
//! `dx = scale * (sum(t) * softmax(x) - t)` of the weighted losses, and each row's loss and whether it is predicted rightly,
//! added to sums on the device.
//!
//! It is [`Tensor::cross_entropy`], its backward and [`Tensor::correct`] in one kernel in place of five, for training loops
//! that know the weight of each loss beforehand. Those are what it is tested against.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::CROSS_ENTROPY_STEP;

use super::cross_entropy::{argmax_of_row, class_of};
use super::{KernelInfo, LONG_ROW, OpInfo};
use crate::dtype::DType;
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, allocate, apply_in_place, unless_left_out};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["cross_entropy_step"],
    differentiable: false,
    kernels: &[KernelInfo {
        shader: &CROSS_ENTROPY_STEP,
        entries: &["cross_entropy_step_classes", "cross_entropy_step_targets"],
        headers: || vec![vec![]],
        params_bytes: size_of::<Params>(),
    }],
};

/// The most classes that one thread goes through.
pub const MAX_CLASSES: usize = LONG_ROW as usize;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    n: u32,
    x_offset: u32,
    label_offset: u32,
    capacity: u32,
    scale: f32,
    pad: [u32; 2],
}

#[derive(Debug)]
struct CrossEntropyStep {
    scale: f32,
}

impl Op for CrossEntropyStep {
    fn name(&self) -> &'static str {
        "cross_entropy_step"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn dtype(&self, _: &[DType]) -> Result<DType, ShapeError> {
        Ok(DType::F32)
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let [dx, sums] = y else { unreachable!("two outputs") };
        let (n, labels, x) = (x[0].shape()[1], &x[1], x[0].slice::<f32>());
        let capacity = sums.layout.shape.len() / 2;
        let (losses, right) = sums.slice::<f32>().split_at_mut(capacity);
        for (row, dx) in dx.slice::<f32>().chunks_mut(n).enumerate() {
            let x = &x[row * n..][..n];
            let found = argmax_of_row(x);
            let top = x[found];
            // Past the largest finite number there is nothing to tell one logit from another.
            let log_sum = match top.is_finite() {
                true => x.iter().map(|v| f64::from((v - top).exp())).sum::<f64>().ln() as f32,
                false => f32::NAN,
            };
            let nll = |v: f32| log_sum - (v - top);
            let softmax = |v: f32| (v - top - log_sum).exp();
            if labels.dtype == DType::F32 {
                let t = &labels.slice::<f32>()[row * n..][..n];
                let weight = t.iter().map(|t| f64::from(*t)).sum::<f64>() as f32;
                // A class of target 0 adds nothing, though its logit be minus infinity.
                let terms = x.iter().zip(t).filter(|(_, t)| **t != 0.0);
                let loss = terms.map(|(v, t)| f64::from(*t) * f64::from(nll(*v))).sum::<f64>() as f32;
                losses[row] += if log_sum.is_nan() { f32::NAN } else { loss };
                right[row] += f32::from(u8::from(found == argmax_of_row(t)));
                for ((dx, v), t) in dx.iter_mut().zip(x).zip(t) {
                    *dx = self.scale * (softmax(*v) * weight - t);
                }
            } else {
                let label = class_of(labels, row);
                // A label that is no class makes NaN.
                let weight = if label < n { 1.0 } else { f32::NAN };
                losses[row] += x.get(label).map_or(f32::NAN, |v| nll(*v));
                right[row] += f32::from(u8::from(found == label));
                for (c, (dx, v)) in dx.iter_mut().zip(x).enumerate() {
                    *dx = self.scale * (softmax(*v) * weight - f32::from(u8::from(c == label)));
                }
            }
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let [rows, n] = [0, 1].map(|axis| x[0].shape()[axis] as u32);
        let of_targets = usize::from(x[1].dtype == DType::F32);
        let params = Params {
            rows,
            n,
            x_offset: x[0].offset(),
            label_offset: x[1].offset(),
            capacity: y[1].len() / 2,
            scale: self.scale,
            pad: [0; 2],
        };
        let entry = INFO.kernels[0].entries[of_targets];
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &CROSS_ENTROPY_STEP, entry, constants: &[] },
            inputs: &[x[0].buffer, x[1].buffer],
            outputs: &[y[0].buffer, y[1].buffer],
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(rows.into(), 64),
        });
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }

    fn cost(&self, x: &[&Shape], _: &Shape) -> Cost {
        Cost { flops: 10 * x[0].len() as u64, bytes: 4 * (2 * x[0].len() + x[1].len()) as u64 }
    }
}

/// The gradient `(B, C)` of `scale * sum of losses` with respect to logits `(B, C)`, for labels as in
/// [`Tensor::cross_entropy`]. Adds each row's loss to the first half of `sums (2 * capacity)`, and 1 to the second half where
/// the first largest logit is the label's. Nothing is recorded on the tape: go on with [`Tensor::backward_with`].
///
/// ```
/// use tilegrad_core::ops::cross_entropy_step::cross_entropy_step;
/// use tilegrad_core::{Device, Tensor};
/// let d = Device::cpu();
/// let (logits, sums) = (Tensor::zeros([1, 2], &d), Tensor::zeros([2], &d));
/// let dx = cross_entropy_step(&logits, &Tensor::new(&[0u32], [1], &d), 1.0, &sums);
/// assert_eq!(dx.to_vec::<f32>().unwrap(), [-0.5, 0.5]);
/// assert_eq!(sums.to_vec::<f32>().unwrap(), [2f32.ln(), 1.0]);
/// ```
///
/// # Panics
/// When the labels fit neither form, there are more than [`MAX_CLASSES`] classes, or `sums` has fewer than two elements a row.
#[track_caller]
pub fn cross_entropy_step(logits: &Tensor, labels: &Tensor, scale: f32, sums: &Tensor) -> Tensor {
    let shape = *logits.shape();
    let form = match (shape.rank(), labels.dtype()) {
        (2, DType::F32) => *labels.shape() == shape,
        (2, DType::U32 | DType::I32) => labels.shape()[..] == shape[..1],
        _ => false,
    };
    let problem = if !form {
        "labels are classes (B) or targets (B, C) of logits (B, C)"
    } else if !(1..=MAX_CLASSES).contains(&shape[1]) {
        "there are no classes, or more than a thread goes through"
    } else if logits.dtype() != DType::F32 || sums.dtype() != DType::F32 {
        "logits and sums are f32"
    } else if sums.len() < 2 * shape[0] || !sums.len().is_multiple_of(2) {
        "sums has two halves, each with an element a row"
    } else {
        let dx = allocate(logits.device(), "cross_entropy_step", shape, DType::F32);
        apply_in_place(&CrossEntropyStep { scale }, &[logits, labels], &[&dx, sums]);
        return unless_left_out(dx);
    };
    let error = ShapeError::new(problem).operand("logits", &shape).operand("labels", labels.shape());
    panic!("{}", error.operand("sums", sums.shape()).of("cross_entropy_step"));
}
