//! Weighted elements along an axis, for `resize.rs`: a product with a matrix of few elements a row,
//! `y[o, i, k] = sum over taps of weight * x[o, tap, k]`. Elements that no tap names are not looked at, so NaN stays where
//! it is used. A row of one tap with weight 1 is a copy.
//!
//! Backward is the product with the transposed matrix, and so an op of this file again.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::RESAMPLE;

use super::movement::around;
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::{DType, Element};
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, apply};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["resample"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &RESAMPLE,
        entries: &["resample_sum", "resample_sum_quads", "resample_copy", "resample_copy_quads"],
        headers: || vec![vec![]],
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    input: u32,
    output: u32,
    inner: u32,
    x_offset: u32,
    starts: u32,
    taps: u32,
    weights: u32,
}

/// A matrix by its rows: row `i` has the taps and weights from `starts[i]` to `starts[i + 1]`.
#[derive(Debug)]
pub(super) struct Taps {
    input: usize,
    starts: Vec<u32>,
    taps: Vec<u32>,
    weights: Vec<f32>,
}

impl Taps {
    /// Rows of `(tap, weight)` over an axis of length `input`. Weights of 0 are left out.
    pub(super) fn new(input: usize, rows: impl Iterator<Item = Vec<(usize, f64)>>) -> Taps {
        let mut all = Taps { input, starts: vec![0], taps: Vec::new(), weights: Vec::new() };
        for row in rows {
            for (tap, weight) in row.into_iter().filter(|(_, weight)| *weight != 0.0) {
                debug_assert!(tap < input, "tap {tap} of an axis of length {input}");
                all.taps.push(tap as u32);
                all.weights.push(weight as f32);
            }
            all.starts.push(all.taps.len() as u32);
        }
        all
    }

    pub(super) fn output(&self) -> usize {
        self.starts.len() - 1
    }

    fn row(&self, i: usize) -> impl Iterator<Item = (usize, f32)> {
        let range = self.starts[i] as usize..self.starts[i + 1] as usize;
        range.map(|t| (self.taps[t] as usize, self.weights[t]))
    }

    /// Whether each row is one element.
    fn copies(&self) -> bool {
        self.taps.len() == self.output()
            && self.starts.windows(2).all(|s| s[1] - s[0] == 1)
            && self.weights.iter().all(|w| *w == 1.0)
    }

    /// Whether the result is the input.
    pub(super) fn is_identity(&self) -> bool {
        self.output() == self.input && self.copies() && (0..).zip(&self.taps).all(|(i, tap)| i == *tap)
    }

    /// The most taps that a row has.
    fn longest(&self) -> usize {
        self.starts.windows(2).map(|s| s[1] - s[0]).max().unwrap_or(0) as usize
    }

    fn transposed(&self) -> Taps {
        let mut rows = vec![Vec::new(); self.input];
        for i in 0..self.output() {
            self.row(i).for_each(|(tap, weight)| rows[tap].push((i, f64::from(weight))));
        }
        Taps::new(self.output(), rows.into_iter())
    }
}

/// Inputs `x (outer, input, inner)` and the taps, or, if these are more than copies, starts, taps and weights.
#[derive(Debug)]
struct Resample {
    taps: Arc<Taps>,
    copies: bool,
}

/// The weighted elements of an axis of `x`, whose length is the taps'.
#[track_caller]
pub(super) fn resample(x: &Tensor, axis: usize, taps: Taps) -> Tensor {
    let shape = x.shape().with(axis, taps.output());
    along_middle(&x.reshape(around(x.shape(), axis)), Arc::new(taps)).reshape(shape)
}

#[track_caller]
fn along_middle(x: &Tensor, taps: Arc<Taps>) -> Tensor {
    let device = x.device();
    super::check_rounds("resize", device.is_software(), taps.longest());
    let copies = taps.copies();
    let table = Tensor::new(&taps.taps, [taps.taps.len()], device);
    if copies {
        return apply(Resample { taps, copies }, &[x, &table]);
    }
    let starts = Tensor::new(&taps.starts, [taps.starts.len()], device);
    let weights = Tensor::new(&taps.weights, [taps.weights.len()], device);
    apply(Resample { taps, copies }, &[x, &starts, &table, &weights])
}

impl Resample {
    fn copy<T: Element + Pod>(&self, x: &CpuView<'_>, y: &mut CpuViewMut<'_>) {
        let (x, inner, output) = (x.slice::<T>(), x.shape()[2], self.taps.output());
        par::rows(y.slice::<T>(), inner, inner, |line, y: &mut [T]| {
            let tap = self.taps.taps[line % output] as usize;
            y.copy_from_slice(&x[(line / output * self.taps.input + tap) * inner..][..inner]);
        });
    }
}

impl Op for Resample {
    fn name(&self) -> &'static str {
        "resample"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(x[0].with(1, self.taps.output()))
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        match (x[0], self.copies) {
            (DType::F32, _) | (DType::I32 | DType::U32, true) => Ok(x[0]),
            (other, true) => Err(ShapeError::new(format!("input 0 is {other}, expected f32, i32 or u32"))),
            (other, false) => Err(ShapeError::new(format!("input 0 is {other}, expected f32"))),
        }
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        if self.copies {
            return match x[0].dtype {
                DType::F32 => self.copy::<f32>(&x[0], &mut y[0]),
                DType::I32 => self.copy::<i32>(&x[0], &mut y[0]),
                _ => self.copy::<u32>(&x[0], &mut y[0]),
            };
        }
        let (inner, output) = (x[0].shape()[2], self.taps.output());
        let x = x[0].slice::<f32>();
        par::rows(y[0].slice::<f32>(), inner, inner * self.taps.longest(), |line, y: &mut [f32]| {
            let first = line / output * self.taps.input * inner;
            for (k, y) in y.iter_mut().enumerate() {
                let products = self
                    .taps
                    .row(line % output)
                    .map(|(tap, weight)| f64::from(weight) * f64::from(x[first + tap * inner + k]));
                // Not from zero on: added to it, -0.0 would lose its sign.
                *y = products.reduce(|sum, product| sum + product).unwrap_or(0.0) as f32;
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let (inner, offset) = (x[0].shape()[2] as u32, x[0].offset());
        let quads = inner.is_multiple_of(4) && offset.is_multiple_of(4);
        let by = if quads { 4 } else { 1 };
        let table = |i: usize| x.get(i).map_or(0, |t| t.offset());
        let params = Params {
            len: y[0].len() / by,
            input: self.taps.input as u32,
            output: self.taps.output() as u32,
            inner: inner / by,
            x_offset: offset / by,
            starts: table(1),
            taps: table(if self.copies { 1 } else { 2 }),
            weights: table(3),
        };
        let entry = match (self.copies, quads) {
            (true, true) => "resample_copy_quads",
            (true, false) => "resample_copy",
            (false, true) => "resample_sum_quads",
            (false, false) => "resample_sum",
        };
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &RESAMPLE, entry, constants: &[] },
            inputs: &x.iter().map(|x| x.buffer).collect::<Vec<_>>(),
            outputs: &[y[0].buffer],
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(params.len.into(), 64),
        });
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let mut gradients = vec![None; node.inputs()];
        gradients[0] = Some(along_middle(dy, Arc::new(self.taps.transposed())));
        gradients
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        let lines = x[0][0] * x[0][2];
        Cost { flops: 2 * (lines * self.taps.taps.len()) as u64, bytes: 4 * (x[0].len() + y.len()) as u64 }
    }
}
