//! Softmax cross-entropy of logits `(B, C)`, and whether a prediction is correct.
//!
//! `loss = sum over c of t[c] * (log sum e^x - x[c])`, where `t` is 1 at the label's class and 0 elsewhere, or a row of
//! targets such as a one-hot row. `dx = dy * (sum(t) * softmax(x) - t)`.
//!
//! Forward notes `(max, log sum e^(x - max), sum(t))` for each row, from which backward is one kernel without sums.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::CROSS_ENTROPY;

use super::argmax::argmax_gpu;
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::DType;
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["cross_entropy", "correct"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &CROSS_ENTROPY,
        entries: &[
            "cross_entropy_forward_classes",
            "cross_entropy_forward_targets",
            "cross_entropy_parts_classes",
            "cross_entropy_parts_targets",
            "cross_entropy_merge_classes",
            "cross_entropy_merge_targets",
            "cross_entropy_backward_classes",
            "cross_entropy_backward_targets",
            "correct_classes",
            "correct_targets",
            "correct_found",
        ],
        headers: || vec![vec![]],
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    n: u32,
    x_offset: u32,
    label_offset: u32,
    stats_offset: u32,
    g_offset: u32,
    chunk: u32,
    pad: u32,
}

/// What the labels are: classes `(B)` of type `u32` or `i32`, or targets `(B, C)` of type `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Labels {
    Classes,
    Targets,
}

impl Labels {
    fn of(labels: &Tensor) -> Labels {
        if labels.dtype() == DType::F32 { Labels::Targets } else { Labels::Classes }
    }

    /// The shape rule of both ops: `(B)`.
    fn infer(self, x: &Shape, labels: &Shape) -> Result<Shape, ShapeError> {
        let problem = match (x.rank(), self) {
            (2, _) if x[1] == 0 => "there are no classes".to_string(),
            (2, Labels::Classes) if labels.dims() == &x[..1] => return Ok(Shape::from([x[0]])),
            (2, Labels::Targets) if labels == x => return Ok(Shape::from([x[0]])),
            (2, Labels::Classes) => format!("class labels are one number a row, expected [{}]", x[0]),
            (2, Labels::Targets) => format!("f32 labels are targets like the logits, expected {x}"),
            (rank, _) => format!("logits have {rank} axes, expected 2: (batch, classes)"),
        };
        Err(ShapeError::new(problem).operand("logits", x).operand("labels", labels))
    }

    fn dtype(self, x: &[DType]) -> Result<DType, ShapeError> {
        match (x[0], x[1], self) {
            (DType::F32, DType::U32 | DType::I32, Labels::Classes) | (DType::F32, DType::F32, Labels::Targets) => {
                Ok(DType::F32)
            }
            (DType::F32, other, _) => Err(ShapeError::new(format!("labels are {other}, expected u32, i32 or f32"))),
            (other, ..) => Err(ShapeError::new(format!("logits are {other}, expected f32"))),
        }
    }

    /// The parameters for logits, labels and what else a kernel reads.
    fn params(x: &[GpuView<'_>]) -> Params {
        let offset = |i: usize| x.get(i).map_or(0, |x| x.offset());
        let [rows, n] = [0, 1].map(|a| x[0].shape()[a] as u32);
        Params {
            rows,
            n,
            x_offset: offset(0),
            label_offset: offset(1),
            stats_offset: offset(2),
            g_offset: offset(3),
            chunk: n,
            pad: 0,
        }
    }

    /// Launches one of two kernels, with `each` threads a row.
    fn launch(
        self,
        gpu: &mut Stream,
        entries: [&'static str; 2],
        each: u32,
        params: &Params,
        inputs: &[&GpuBuffer],
        outputs: &[&GpuBuffer],
    ) {
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &CROSS_ENTROPY, entry: entries[self as usize], constants: &[] },
            inputs,
            outputs,
            params: bytemuck::bytes_of(params),
            workgroups: fold_workgroups(u64::from(params.rows) * u64::from(each), 64),
        });
    }
}

/// The class of a row. Kernels read the bits of a label too, and so a negative one is past all classes.
pub(super) fn class_of(labels: &CpuView<'_>, row: usize) -> usize {
    match labels.dtype {
        DType::I32 => labels.slice::<i32>()[row] as u32 as usize,
        _ => labels.slice::<u32>()[row] as usize,
    }
}

/// The first largest of a row; NaN counts as larger than everything.
pub(super) fn argmax_of_row(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, c| {
        let (v, top) = (row[c], row[best]);
        if !top.is_nan() && (v > top || v.is_nan()) { c } else { best }
    })
}

fn buffers<'a>(x: &[GpuView<'a>]) -> Vec<&'a GpuBuffer> {
    x.iter().map(|x| x.buffer).collect()
}

/// What backward needs of a row: the largest logit, `log sum e^(x - max)`, and the sum of the targets.
const STATS: usize = 3;

#[derive(Debug)]
struct CrossEntropy(Labels);

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        self.0.infer(x[0], x[1])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        self.0.dtype(x)
    }

    fn aux(&self, x: &[&Shape]) -> Vec<(Shape, DType)> {
        vec![(Shape::from([x[0][0], STATS]), DType::F32)]
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let [loss, stats] = y else { unreachable!("two outputs") };
        let (n, labels, logits) = (x[0].shape()[1], &x[1], x[0].slice::<f32>());
        let stats = stats.slice::<f32>();
        par::rows(stats, STATS, 8 * n, |row, stats: &mut [f32]| {
            let x = &logits[row * n..][..n];
            let top = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = x.iter().map(|v| f64::from((v - top).exp())).sum();
            let weight = match self.0 {
                Labels::Classes if class_of(labels, row) < n => 1.0,
                Labels::Classes => f32::NAN,
                Labels::Targets => {
                    let targets = &labels.slice::<f32>()[row * n..][..n];
                    targets.iter().map(|t| f64::from(*t)).sum::<f64>() as f32
                }
            };
            stats.copy_from_slice(&[top, sum.ln() as f32, weight]);
        });
        let stats = &*stats;
        par::map(loss.slice(), |row| {
            let (x, top, log_sum) = (&logits[row * n..][..n], stats[row * STATS], stats[row * STATS + 1]);
            let nll = |v: &f32| log_sum - (v - top);
            match self.0 {
                Labels::Classes => x.get(class_of(labels, row)).map_or(f32::NAN, nll),
                Labels::Targets if log_sum.is_nan() => f32::NAN,
                Labels::Targets => {
                    let targets = &labels.slice::<f32>()[row * n..][..n];
                    // A class of target 0 adds nothing, though its logit be minus infinity.
                    let terms = x.iter().zip(targets).filter(|(_, t)| **t != 0.0);
                    terms.map(|(v, t)| f64::from(*t) * f64::from(nll(v))).sum::<f64>() as f32
                }
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let (params, inputs, outputs) = (Labels::params(x), buffers(x), buffers(y));
        let (parts, chunk) = super::parts_of_row(gpu, self.name(), params.n);
        if parts == 1 {
            let entries = ["cross_entropy_forward_classes", "cross_entropy_forward_targets"];
            return self.0.launch(gpu, entries, 1, &params, &inputs, &outputs);
        }
        let params = Params { chunk, ..params };
        let made = gpu.alloc(u64::from(params.rows) * u64::from(parts) * 16, "parts of rows");
        let entries = ["cross_entropy_parts_classes", "cross_entropy_parts_targets"];
        self.0.launch(gpu, entries, parts, &params, &inputs, &[&made]);
        let entries = ["cross_entropy_merge_classes", "cross_entropy_merge_targets"];
        self.0.launch(gpu, entries, 1, &params, &[inputs[0], inputs[1], &made], &outputs);
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS.and(Saves::AUX)
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let (x, labels) = (node.input(0), node.input(1));
        let of_x = node.needs(0).then(|| apply(Backward(self.0), &[x, labels, node.aux(0), dy]));
        let of_targets = node.needs(1).then(|| x.log_softmax(-1).neg().mul(&dy.unsqueeze(1)));
        vec![of_x, of_targets]
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: 5 * x[0].len() as u64, bytes: 4 * (x[0].len() + x[1].len() + y.len()) as u64 }
    }
}

/// `dx = dy * (sum(t) * softmax(x) - t)` from logits, labels, forward's notes and `dy`.
#[derive(Debug)]
struct Backward(Labels);

impl Op for Backward {
    fn name(&self) -> &'static str {
        "cross_entropy_backward"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn dtype(&self, _: &[DType]) -> Result<DType, ShapeError> {
        Ok(DType::F32)
    }

    fn cpu(&self, x: &[CpuView<'_>], dx: &mut [CpuViewMut<'_>]) {
        let [x, labels, stats, dy] = x else { unreachable!("four inputs") };
        let (n, x, stats, dy) = (x.shape()[1], x.slice::<f32>(), stats.slice::<f32>(), dy.slice::<f32>());
        par::rows(dx[0].slice(), n, 8 * n, |row, dx: &mut [f32]| {
            let &[top, log_sum, weight] = &stats[row * STATS..][..STATS] else { unreachable!("three numbers a row") };
            for (c, dx) in dx.iter_mut().enumerate() {
                let t = match self.0 {
                    Labels::Classes if class_of(labels, row) == c => 1.0,
                    Labels::Classes => 0.0,
                    Labels::Targets => labels.slice::<f32>()[row * n + c],
                };
                *dx = dy[row] * ((x[row * n + c] - top - log_sum).exp() * weight - t);
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], dx: &[GpuView<'_>]) {
        let entries = ["cross_entropy_backward_classes", "cross_entropy_backward_targets"];
        let params = Labels::params(x);
        self.0.launch(gpu, entries, params.n, &params, &buffers(x), &buffers(dx));
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    /// With `s = softmax(x)` and `u = ddx`: of `x` it is `dy * sum(t) * s * (u - sum(u * s))`, of `dy` the sum of
    /// `u * (sum(t) * s - t)`.
    fn backward(&self, node: &Node, ddx: &Tensor) -> Vec<Option<Tensor>> {
        let (x, labels, stats, dy) = (node.input(0), node.input(1), node.input(2), node.input(3));
        let s = x.softmax(-1);
        let us = ddx.mul(&s);
        let weight = stats.slice_axis(1, 2..3);
        let of_x = us.sub(&s.mul(&us.sum_axes(&[1], true))).mul(&weight).mul(&dy.unsqueeze(1));
        let unit = apply(Backward(self.0), &[x, labels, stats, &dy.ones_like()]);
        let of_targets = node.needs(1).then(|| dy.unsqueeze(1).mul(&us.sum_axes(&[1], true).sub(ddx)));
        vec![Some(of_x), of_targets, None, Some(ddx.mul(&unit).sum_axes(&[1], false))]
    }

    fn cost(&self, x: &[&Shape], dx: &Shape) -> Cost {
        Cost { flops: 5 * dx.len() as u64, bytes: 4 * (x[0].len() + x[1].len() + dx.len()) as u64 }
    }
}

/// 1 where the largest logit is the labelled one.
#[derive(Debug)]
struct Correct(Labels);

impl Op for Correct {
    fn name(&self) -> &'static str {
        "correct"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        self.0.infer(x[0], x[1])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        self.0.dtype(x)
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (n, labels, x) = (x[0].shape()[1], &x[1], x[0].slice::<f32>());
        par::map(y[0].slice(), |row| {
            let want = match self.0 {
                Labels::Classes => class_of(labels, row),
                Labels::Targets => argmax_of_row(&labels.slice::<f32>()[row * n..][..n]),
            };
            if argmax_of_row(&x[row * n..][..n]) == want { 1.0 } else { 0.0 }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let params = Labels::params(x);
        if params.n <= super::LONG_ROW {
            return self.0.launch(gpu, ["correct_classes", "correct_targets"], 1, &params, &buffers(x), &buffers(y));
        }
        // Long rows: the largest elements are found first.
        let dims = [params.rows as usize, params.n as usize, 1];
        let [found, wanted] = [0, 1].map(|_| gpu.alloc(u64::from(params.rows) * 4, "places of the largest"));
        argmax_gpu(gpu, &x[0], dims, &found);
        let (wanted, label_offset) = match self.0 {
            Labels::Classes => (x[1].buffer, params.label_offset),
            Labels::Targets => {
                argmax_gpu(gpu, &x[1], dims, &wanted);
                (&wanted, 0)
            }
        };
        let params = Params { label_offset, ..params };
        self.0.launch(gpu, ["correct_found"; 2], 1, &params, &[&found, wanted], &buffers(y));
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }
}

impl Tensor {
    /// The loss of each row of logits `(B, C)`: minus the logarithm of the softmax at the label. Labels are classes `(B)` of
    /// type `u32` or `i32`, or targets `(B, C)` of type `f32`, as one-hot rows are. A class that isn't one gives NaN.
    /// [`Tensor::cross_entropy_with`] takes any number of axes, weights, and more.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let logits = Tensor::new(&[0.0, 0.0, 1e4, 0.0], [2, 2], &d);
    /// let loss = logits.cross_entropy(&Tensor::new(&[0u32, 1], [2], &d));
    /// assert_eq!(loss.to_vec::<f32>().unwrap(), [2f32.ln(), 1e4]);
    /// ```
    ///
    /// # Panics
    /// When the labels fit neither form.
    #[track_caller]
    pub fn cross_entropy(&self, labels: &Tensor) -> Tensor {
        apply(CrossEntropy(Labels::of(labels)), &[self, labels])
    }

    /// 1 for each row of `(B, C)` whose first largest element is the label's, else 0: the mean is the accuracy. Labels as
    /// in [`Tensor::cross_entropy`].
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let scores = Tensor::new(&[0.1, 0.9, 0.8, 0.2], [2, 2], &d);
    /// assert_eq!(scores.correct(&Tensor::new(&[1u32, 1], [2], &d)).to_vec::<f32>().unwrap(), [1.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// When the labels fit neither form.
    #[track_caller]
    pub fn correct(&self, labels: &Tensor) -> Tensor {
        apply(Correct(Labels::of(labels)), &[self, labels])
    }
}
