//! Softmax and its logarithm along an axis: `y = e^x / sum(e^x)`.
//!
//! The largest element is subtracted first, so that no `e^x` overflows. Backward of softmax is
//! `dx = y * (dy - sum(y * dy))`, of log-softmax `dx = dy - e^y * sum(dy)`.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::SOFTMAX;

use super::movement::{around, axis_of};
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["softmax", "log_softmax"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &SOFTMAX,
        entries: &["softmax_forward", "softmax_parts", "softmax_merge", "softmax_apply", "softmax_backward"],
        headers: || vec![vec![("LOG", 0)], vec![("LOG", 1)]],
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    n: u32,
    inner: u32,
    x_offset: u32,
    g_offset: u32,
    chunk: u32,
    parts: u32,
    pad: u32,
}

/// Along the middle axis of an input of rank 3.
#[derive(Clone, Copy, Debug)]
struct Softmax {
    log: bool,
}

impl Softmax {
    /// The parameters for inputs like `x`, and `dy` in backward.
    fn params(&self, gpu: &Stream, x: &[GpuView<'_>]) -> Params {
        let [outer, n, inner] = [0, 1, 2].map(|a| x[0].shape()[a] as u32);
        let (parts, chunk) = super::parts_of_row(gpu, self.name(), n);
        let g_offset = x.get(1).map_or(0, |dy| dy.offset());
        Params { rows: outer * inner, n, inner, x_offset: x[0].offset(), g_offset, chunk, parts, pad: 0 }
    }

    fn launch(
        &self,
        gpu: &mut Stream,
        entry: &'static str,
        threads: u32,
        params: &Params,
        inputs: &[&GpuBuffer],
        y: &GpuBuffer,
    ) {
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &SOFTMAX, entry, constants: &[("LOG", self.log as u32)] },
            inputs,
            outputs: &[y],
            params: bytemuck::bytes_of(params),
            workgroups: fold_workgroups(threads.into(), 64),
        });
    }

    /// `dx` from `y` and `dy`. Of long rows by tensor algebra, whose sums are split over threads.
    fn gradient(self, y: &Tensor, dy: &Tensor) -> Tensor {
        if y.shape()[1] <= super::LONG_ROW as usize {
            return apply(Backward(self), &[y, dy]);
        }
        let sum = |x: &Tensor| x.sum_axes(&[1], true);
        if self.log { dy.sub(&y.exp().mul(&sum(dy))) } else { y.mul(&dy.sub(&sum(&y.mul(dy)))) }
    }

    /// Calls `f(positions, y)` for each `(n, inner)` block of the output: `positions(i)` are those of row `i` in the input.
    fn blocks(shape: &Shape, y: &mut [f32], f: impl Fn(&dyn Fn(usize, usize) -> usize, &mut [f32]) + Sync) {
        let (n, inner) = (shape[1], shape[2]);
        par::rows(y, n * inner, 8 * n * inner, |outer, y: &mut [f32]| {
            f(&|row, i| (outer * n + i) * inner + row, y);
        });
    }
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax" } else { "softmax" }
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (shape, x) = (*x[0].shape(), x[0].slice::<f32>());
        let (n, inner) = (shape[1], shape[2]);
        Softmax::blocks(&shape, y[0].slice(), |at, y| {
            for row in 0..inner {
                let top = (0..n).map(|i| x[at(row, i)]).fold(f32::NEG_INFINITY, f32::max);
                let sum: f64 = (0..n).map(|i| f64::from((x[at(row, i)] - top).exp())).sum();
                for i in 0..n {
                    let v = x[at(row, i)] - top;
                    y[i * inner + row] = if self.log { v - sum.ln() as f32 } else { v.exp() / sum as f32 };
                }
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let (params, x, y) = (self.params(gpu, x), x[0].buffer, y[0].buffer);
        if params.n <= super::LONG_ROW {
            return self.launch(gpu, "softmax_forward", params.rows, &params, &[x], y);
        }
        let parts = gpu.alloc(u64::from(params.rows * params.parts) * 8, "parts of rows");
        let whole = gpu.alloc(u64::from(params.rows) * 8, "largest elements and sums of rows");
        self.launch(gpu, "softmax_parts", params.rows * params.parts, &params, &[x], &parts);
        self.launch(gpu, "softmax_merge", params.rows, &params, &[&parts], &whole);
        self.launch(gpu, "softmax_apply", params.rows * params.n, &params, &[x, &whole], y);
    }

    fn saves(&self) -> Saves {
        Saves::OUTPUT
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(self.gradient(&node.output(), dy))]
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: 5 * y.len() as u64, bytes: 4 * (x[0].len() + y.len()) as u64 }
    }
}

/// `dx` from `y` and `dy`.
#[derive(Debug)]
struct Backward(Softmax);

impl Op for Backward {
    fn name(&self) -> &'static str {
        if self.0.log { "log_softmax_backward" } else { "softmax_backward" }
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], dx: &mut [CpuViewMut<'_>]) {
        let (shape, y, dy) = (*x[0].shape(), x[0].slice::<f32>(), x[1].slice::<f32>());
        let (n, inner) = (shape[1], shape[2]);
        Softmax::blocks(&shape, dx[0].slice(), |at, dx| {
            for row in 0..inner {
                let term = |at: usize| f64::from(dy[at]) * if self.0.log { 1.0 } else { f64::from(y[at]) };
                let sum = (0..n).map(|i| term(at(row, i))).sum::<f64>() as f32;
                for i in 0..n {
                    let (y, dy) = (y[at(row, i)], dy[at(row, i)]);
                    dx[i * inner + row] = if self.0.log { dy - y.exp() * sum } else { y * (dy - sum) };
                }
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], dx: &[GpuView<'_>]) {
        let params = self.0.params(gpu, x);
        self.0.launch(gpu, "softmax_backward", params.rows, &params, &[x[0].buffer, x[1].buffer], dx[0].buffer);
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn backward(&self, node: &Node, ddx: &Tensor) -> Vec<Option<Tensor>> {
        let (y, dy) = (node.input(0), node.input(1));
        let sum = |x: &Tensor| x.sum_axes(&[1], true);
        if self.0.log {
            let e = y.exp();
            vec![Some(ddx.mul(&e).mul(&sum(dy)).neg()), Some(ddx.sub(&sum(&ddx.mul(&e))))]
        } else {
            let of_y = ddx.mul(&dy.sub(&sum(&y.mul(dy)))).sub(&dy.mul(&sum(&y.mul(ddx))));
            vec![Some(of_y), Some(self.0.gradient(y, ddx))]
        }
    }

    fn cost(&self, _: &[&Shape], dx: &Shape) -> Cost {
        Cost { flops: 5 * dx.len() as u64, bytes: 12 * dx.len() as u64 }
    }
}

#[track_caller]
fn along(x: &Tensor, axis: isize, op: Softmax) -> Tensor {
    let axis = axis_of(op.name(), x, axis);
    apply(op, &[&x.reshape(around(x.shape(), axis))]).reshape(x.shape())
}

impl Tensor {
    /// `e^x / sum(e^x)` along an axis: positive numbers that sum to 1. Finite for any finite input.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[0.0, 0.0, 1e4, 0.0], [2, 2], &Device::cpu());
    /// assert_eq!(x.softmax(-1).to_vec::<f32>().unwrap(), [0.5, 0.5, 1.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// When the axis is out of range.
    #[track_caller]
    pub fn softmax(&self, axis: isize) -> Tensor {
        along(self, axis, Softmax { log: false })
    }

    /// The logarithm of [`Tensor::softmax`], computed without the rounding of a logarithm of nearly 0.
    ///
    /// # Panics
    /// When the axis is out of range.
    #[track_caller]
    pub fn log_softmax(&self, axis: isize) -> Tensor {
        along(self, axis, Softmax { log: true })
    }

    /// 1 at the first largest element along an axis, 0 elsewhere; a constant to the tape.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[1.0, 5.0, 2.0, 7.0, 7.0, 0.0], [2, 3], &Device::cpu());
    /// assert_eq!(x.hardmax(1).to_vec::<f32>().unwrap(), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// When the axis is out of range.
    #[track_caller]
    pub fn hardmax(&self, axis: isize) -> Tensor {
        let at = axis_of("hardmax", self, axis);
        if self.len() == 0 {
            return self.detach();
        }
        let mut back: Vec<isize> = (0..self.rank() as isize - 1).collect();
        back.insert(at, self.rank() as isize - 1);
        self.argmax(axis).one_hot(self.shape()[at]).permute(&back)
    }
}
