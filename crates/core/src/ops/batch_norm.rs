//! Batch normalisation (Ioffe and Szegedy 2015) over all axes but the last, with the input seen as `(rows, C)`.
//!
//! Training: `x^ = (x - mean) / sqrt(variance + epsilon)` with the batch's mean and biased variance, and
//! `y = gamma * x^ + beta`. Backward: `dbeta = sum(dy)`, `dgamma = sum(dy * x^)`, and
//! `dx = gamma / sqrt(variance + epsilon) * (dy - dbeta / rows - x^ * dgamma / rows)`.
//!
//! A gradient that is recorded, to be differentiated again, is tensor algebra; otherwise backward is a kernel.
//!
//! Inference uses running statistics in place of the batch's, and is composed of elementwise ops. How those follow the
//! batch's is in `running_statistics.rs`.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::BATCH_NORM;

use super::norm::{self, Centred, axes_of_batch};
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::DType;
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply_all, apply_in_place, fits};
use crate::shape::{Shape, ShapeError};
use crate::tape::{Node, is_recording};
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["batch_norm", "update_running"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &BATCH_NORM,
        entries: &[
            "batch_norm_statistics",
            "batch_norm_merge",
            "batch_norm_forward",
            "batch_norm_backward_sums",
            "batch_norm_backward_merge",
            "batch_norm_backward_x",
            "update_running",
        ],
        headers: || [(1, 0), (6, 0), (32, 1)].iter().map(|&(c, vec)| vec![("C", c), ("VEC", vec)]).collect(),
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct Params {
    rows: u32,
    chunk: u32,
    splits: u32,
    x_offset: u32,
    dy_offset: u32,
    gamma_offset: u32,
    beta_offset: u32,
    len: u32,
    epsilon: f32,
    pad: [u32; 3],
}

/// Rows that a thread makes in the launches over all elements, as in the shader.
const EACH: u32 = 8;

/// The channels of an input, which are its last axis, and the rows that the others make.
fn rows_and_channels(x: &Shape) -> (usize, usize) {
    let (rows, c) = x.split_at(x.rank() - 1);
    (rows.iter().product(), c[0])
}

/// What the launches over one input share.
struct Launch<'a> {
    gpu: &'a mut Stream,
    constants: [(&'static str, u32); 2],
    params: Params,
    quads: u32,
}

impl<'a> Launch<'a> {
    fn new(gpu: &'a mut Stream, epsilon: f32, x: &GpuView<'_>, dy: Option<&GpuView<'_>>) -> Launch<'a> {
        let (rows, c) = rows_and_channels(x.shape());
        let (rows, quads) = (rows as u32, c.div_ceil(4) as u32);
        // Rows are split until there are threads enough, but a split has some rows, since each costs the merge a step.
        let threads = if gpu.wants_software_kernels() { 512 } else { 1 << 14 };
        // And llvmpipe silently ends a kernel after 65,535 rounds of its loops.
        let splits = (threads / quads.max(1)).clamp(1, rows.div_ceil(32).max(1)).max(rows.div_ceil(16_384));
        let chunk = rows.div_ceil(splits).max(1);
        let (x_offset, dy_offset) = (x.offset(), dy.map_or(0, |dy| dy.offset()));
        let vec = [c as u32, x_offset, dy_offset].iter().all(|v| v.is_multiple_of(4));
        let params =
            Params { rows, chunk, splits: rows.div_ceil(chunk), x_offset, dy_offset, epsilon, ..Params::default() };
        Launch { gpu, constants: [("C", c as u32), ("VEC", vec as u32)], params, quads }
    }

    /// A buffer of so many values for each channel.
    fn scratch(&mut self, values: u32) -> GpuBuffer {
        self.gpu.alloc(u64::from(values) * u64::from(self.quads) * 16, "batch normalisation")
    }

    fn run(&mut self, entry: &'static str, threads: u32, inputs: &[&GpuBuffer], outputs: &[&GpuBuffer]) {
        self.gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &BATCH_NORM, entry, constants: &self.constants },
            inputs,
            outputs,
            params: bytemuck::bytes_of(&self.params),
            workgroups: fold_workgroups(threads.into(), 64),
        });
    }
}

/// `width` sums over rows in `f64`, by blocks of rows so that the order of additions does not depend on threads.
fn row_sums(rows: usize, width: usize, add: impl Fn(usize, &mut [f64]) + Sync) -> Vec<f64> {
    const BLOCK: usize = 1024;
    let mut partial = vec![0.0; rows.div_ceil(BLOCK) * width];
    par::rows(&mut partial, width, BLOCK * width, |block, sums: &mut [f64]| {
        (block * BLOCK..rows.min((block + 1) * BLOCK)).for_each(|row| add(row, sums));
    });
    let mut total = vec![0.0; width];
    partial.chunks(width.max(1)).for_each(|sums| total.iter_mut().zip(sums).for_each(|(t, s)| *t += s));
    total
}

#[derive(Debug)]
struct BatchNorm {
    epsilon: f32,
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        let Some(&c) = x[0].last() else {
            return Err(ShapeError::new("a scalar has no channels").operand("x", x[0]));
        };
        for (name, shape) in [("gamma", x[1]), ("beta", x[2])] {
            if shape.dims() != [c] {
                let problem = format!("{name} must be one number a channel, [{c}]");
                return Err(ShapeError::new(problem).operand_axis("x", x[0], x[0].rank() - 1).operand(name, shape));
            }
        }
        Ok(*x[0])
    }

    /// Mean and variance.
    fn aux(&self, x: &[&Shape]) -> Vec<(Shape, DType)> {
        vec![(*x[1], DType::F32); 2]
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (rows, c) = rows_and_channels(x[0].shape());
        let (x, gamma, beta) = (x[0].slice::<f32>(), x[1].slice::<f32>(), x[2].slice::<f32>());
        let [y, mean, variance] = y else { unreachable!("three outputs") };
        let (mean, variance) = (mean.slice::<f32>(), variance.slice::<f32>());
        let row = |r: usize| x[r * c..][..c].iter().map(|v| f64::from(*v));
        let means: Vec<f64> = row_sums(rows, c, |r, sums| sums.iter_mut().zip(row(r)).for_each(|(s, v)| *s += v))
            .iter()
            .map(|s| s / rows as f64)
            .collect();
        let squares = row_sums(rows, c, |r, sums| {
            sums.iter_mut().zip(row(r)).zip(&means).for_each(|((s, v), mean)| *s += (v - mean) * (v - mean));
        });
        mean.iter_mut().zip(&means).for_each(|(mean, v)| *mean = *v as f32);
        variance.iter_mut().zip(&squares).for_each(|(variance, s)| *variance = (s / rows as f64) as f32);
        let scale: Vec<f32> = gamma.iter().zip(&*variance).map(|(g, v)| g / (v + self.epsilon).sqrt()).collect();
        par::rows(y.slice(), c, c, |r, y: &mut [f32]| {
            for (i, y) in y.iter_mut().enumerate() {
                *y = (x[r * c + i] - mean[i]) * scale[i] + beta[i];
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        if x[0].is_empty() {
            return y[1..].iter().for_each(|y| super::fill::fill_buffer(gpu, y.buffer, y.len(), f32::NAN));
        }
        let mut launch = Launch::new(gpu, self.epsilon, &x[0], None);
        launch.params.gamma_offset = x[1].offset();
        launch.params.beta_offset = x[2].offset();
        let (quads, rows, splits) = (launch.quads, launch.params.rows, launch.params.splits);
        let (partials, factors) = (launch.scratch(2 * splits), launch.scratch(3));
        launch.run("batch_norm_statistics", splits * quads, &[x[0].buffer], &[&partials]);
        let inputs = [&partials, x[1].buffer, x[2].buffer];
        launch.run("batch_norm_merge", quads, &inputs, &[y[1].buffer, y[2].buffer, &factors]);
        launch.run("batch_norm_forward", rows.div_ceil(EACH) * quads, &[x[0].buffer, &factors], &[y[0].buffer]);
    }

    fn saves(&self) -> Saves {
        Saves::input(0).and(Saves::input(1)).and(Saves::AUX)
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        if is_recording() {
            return recorded_gradients(node.input(0), node.input(1), dy, self.epsilon).map(Some).to_vec();
        }
        let inputs = [node.input(0), dy, node.input(1), node.aux(0), node.aux(1)];
        let (dx, parameters) = apply_all(Backward { epsilon: self.epsilon }, &inputs);
        [dx].into_iter().chain(parameters).map(Some).collect()
    }

    fn cost(&self, x: &[&Shape], _: &Shape) -> Cost {
        Cost { flops: 6 * x[0].len() as u64, bytes: 12 * x[0].len() as u64 }
    }
}

/// `dx`, `dgamma` and `dbeta` as tensor algebra, from which they can be differentiated. The statistics are made again from
/// `x`, since those that forward gave carry no gradient.
fn recorded_gradients(x: &Tensor, gamma: &Tensor, dy: &Tensor, epsilon: f32) -> [Tensor; 3] {
    let (axes, rows) = (axes_of_batch(x.shape()), rows_and_channels(x.shape()).0 as f32);
    let centred = Centred::over(x, &axes, epsilon);
    let normal = centred.normal();
    let (dgamma, dbeta) = (dy.mul(&normal).sum_axes(&axes, false), dy.sum_axes(&axes, false));
    let along = normal.mul(&dgamma).add(&dbeta).affine(1.0 / rows, 0.0);
    [dy.sub(&along).mul(&centred.inverse.mul(gamma)), dgamma, dbeta]
}

/// `dx`, and besides `dgamma` and `dbeta`, from x, `dy`, gamma, mean and variance.
#[derive(Debug)]
struct Backward {
    epsilon: f32,
}

impl Op for Backward {
    fn name(&self) -> &'static str {
        "batch_norm_backward"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn aux(&self, x: &[&Shape]) -> Vec<(Shape, DType)> {
        vec![(*x[2], DType::F32); 2]
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (rows, c) = rows_and_channels(x[0].shape());
        let [dx, dgamma, dbeta] = y else { unreachable!("three outputs") };
        let [x, dy, gamma, mean, variance] = x else { unreachable!("five inputs") };
        let (x, dy, gamma, mean) = (x.slice::<f32>(), dy.slice::<f32>(), gamma.slice::<f32>(), mean.slice::<f32>());
        let inverse: Vec<f32> = variance.slice::<f32>().iter().map(|v| 1.0 / (v + self.epsilon).sqrt()).collect();
        let normal = |r: usize, i: usize| (x[r * c + i] - mean[i]) * inverse[i];
        let sums = row_sums(rows, 2 * c, |r, sums| {
            for i in 0..c {
                sums[i] += f64::from(dy[r * c + i]);
                sums[c + i] += f64::from(dy[r * c + i]) * f64::from(normal(r, i));
            }
        });
        let (dbeta, dgamma) = (dbeta.slice::<f32>(), dgamma.slice::<f32>());
        dbeta.iter_mut().zip(&sums).for_each(|(d, s)| *d = *s as f32);
        dgamma.iter_mut().zip(&sums[c..]).for_each(|(d, s)| *d = *s as f32);
        let n = rows as f32;
        par::rows(dx.slice(), c, c, |r, dx: &mut [f32]| {
            for (i, dx) in dx.iter_mut().enumerate() {
                *dx = gamma[i] * inverse[i] * (dy[r * c + i] - dbeta[i] / n - normal(r, i) * dgamma[i] / n);
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        if x[0].is_empty() {
            return y[1..].iter().for_each(|y| super::fill::fill_buffer(gpu, y.buffer, y.len(), 0.0));
        }
        let [x, dy, gamma, mean, variance] = x else { unreachable!("five inputs") };
        let mut launch = Launch::new(gpu, self.epsilon, x, Some(dy));
        launch.params.gamma_offset = gamma.offset();
        let (quads, rows, splits) = (launch.quads, launch.params.rows, launch.params.splits);
        let (sums, slopes) = (launch.scratch(2 * splits), launch.scratch(4));
        launch.run("batch_norm_backward_sums", splits * quads, &[x.buffer, dy.buffer, mean.buffer], &[&sums]);
        let inputs = [&sums, gamma.buffer, mean.buffer, variance.buffer];
        launch.run("batch_norm_backward_merge", quads, &inputs, &[y[1].buffer, y[2].buffer, &slopes]);
        launch.run(
            "batch_norm_backward_x",
            rows.div_ceil(EACH) * quads,
            &[x.buffer, dy.buffer, &slopes],
            &[y[0].buffer],
        );
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        unreachable!("a gradient that is recorded is tensor algebra")
    }

    fn cost(&self, x: &[&Shape], _: &Shape) -> Cost {
        Cost { flops: 10 * x[0].len() as u64, bytes: 20 * x[0].len() as u64 }
    }
}

#[derive(Debug)]
struct UpdateRunning {
    momentum: f32,
}

impl Op for UpdateRunning {
    fn name(&self) -> &'static str {
        "update_running"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let batch = x[0].slice::<f32>();
        y[0].slice::<f32>().iter_mut().zip(batch).for_each(|(running, batch)| {
            *running = self.momentum * *running + (1.0 - self.momentum) * batch;
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let (len, x_offset, dy_offset) = (y[0].len(), x[0].offset(), y[0].offset());
        let params = Params { len, x_offset, dy_offset, epsilon: self.momentum, ..Params::default() };
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &BATCH_NORM, entry: "update_running", constants: &[("C", 1), ("VEC", 0)] },
            inputs: &[x[0].buffer],
            outputs: &[y[0].buffer],
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(len.into(), 64),
        });
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }
}

/// `running = momentum * running + (1 - momentum) * batch`, in place: the statistics that inference uses.
///
/// ```
/// use tilegrad_core::ops::batch_norm::update_running;
/// use tilegrad_core::{Device, Tensor};
/// let running = Tensor::zeros([2], &Device::cpu());
/// update_running(&running, &Tensor::new(&[4.0, 8.0], [2], &Device::cpu()), 0.75);
/// assert_eq!(running.to_vec::<f32>().unwrap(), [1.0, 2.0]);
/// ```
///
/// # Panics
/// When shapes, types or devices differ.
#[track_caller]
pub fn update_running(running: &Tensor, batch: &Tensor, momentum: f32) {
    if running.shape() != batch.shape() || [running, batch].iter().any(|t| t.dtype() != DType::F32) {
        let error = ShapeError::new("running and batch statistics differ in shape or are not f32")
            .operand("running", running.shape())
            .operand("batch", batch.shape());
        panic!("{}", error.of("update_running"));
    }
    apply_in_place(&UpdateRunning { momentum }, &[batch], &[running]);
}

impl Tensor {
    /// The input normalised over all axes but the last, times `gamma` plus `beta` (both `(C)`), and the batch's mean and
    /// biased variance, `(C)` each, through which no gradient goes.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let x = Tensor::new(&[1.0, 3.0], [2, 1], &d);
    /// let (y, mean, variance) = x.batch_norm(&Tensor::ones([1], &d), &Tensor::zeros([1], &d), 0.0);
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [-1.0, 1.0]);
    /// assert_eq!((mean.item().unwrap(), variance.item().unwrap()), (2.0, 1.0));
    /// ```
    ///
    /// # Panics
    /// When `gamma` or `beta` is not one number a channel, or epsilon is negative.
    #[track_caller]
    pub fn batch_norm(&self, gamma: &Tensor, beta: &Tensor, epsilon: f32) -> (Tensor, Tensor, Tensor) {
        fits("batch_norm", norm::check(self, epsilon));
        let (y, mut statistics) = apply_all(BatchNorm { epsilon }, &[self, gamma, beta]);
        let variance = statistics.pop().expect("two statistics");
        (y, statistics.pop().expect("two statistics"), variance)
    }

    /// The input normalised by given statistics: `gamma * (x - mean) / sqrt(variance + epsilon) + beta`. All may be `(C)`,
    /// or anything that broadcasts to the input.
    ///
    /// # Panics
    /// When one of them does not broadcast to the input, or epsilon is negative.
    #[track_caller]
    pub fn batch_norm_inference(
        &self,
        gamma: &Tensor,
        beta: &Tensor,
        mean: &Tensor,
        variance: &Tensor,
        epsilon: f32,
    ) -> Tensor {
        fits("batch_norm_inference", norm::check(self, epsilon));
        let parameters = [("gamma", gamma), ("beta", beta), ("mean", mean), ("variance", variance)];
        let parameters = parameters.map(|(name, t)| (name, Some(t)));
        fits("batch_norm_inference", norm::check_broadcast(self, "(C)", &parameters));
        // Statistics are folded into one factor and one term first: two operations an element are left.
        let scale = gamma.div(&variance.affine(1.0, epsilon).sqrt());
        self.mul(&scale).add(&beta.sub(&mean.mul(&scale)))
    }
}
