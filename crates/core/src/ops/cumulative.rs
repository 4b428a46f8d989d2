//! Running sums and products along an axis, and the linear recurrence that their gradients are made of.
//!
//! | kind | `y[k]`, with `y[-1]` the start |
//! |---|---|
//! | sum | `y[k-1] + x[k]`, from 0 |
//! | product | `y[k-1] * x[k]`, from 1 |
//! | recurrence | `a[k] * y[k-1] + b[k]`, from 0 |
//!
//! The gradient of a sum is a sum from the other end. That of a product, without a division that zeros would spoil: with
//! `e[i]` the product of all elements before `i`, `dx[i] = e[i] * s[i]`, where `s[i] = dy[i] + x[i+1] * s[i+1]` is a
//! recurrence from the other end. The gradient of a recurrence is one too, so derivatives of any order exist.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::CUMULATIVE;

use super::movement::{around, axis_of};
use super::reduce::{dims, in_words};
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::{DType, Element};
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["cumsum", "cumprod"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &CUMULATIVE,
        entries: &["cumulative_totals", "cumulative_carries", "cumulative_forward"],
        headers: || (0..6).map(|i| vec![("OP", i % 3), ("INTEGER", i / 3)]).collect(),
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
    b_offset: u32,
    first: u32,
    chunk: u32,
    parts: u32,
    exclusive: u32,
    reverse: u32,
    pad: [u32; 2],
}

/// Where a running sum or product starts, and what it includes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// Leaves out the element itself: the first result is 0 (or 1).
    pub exclusive: bool,
    /// Goes from the last element to the first.
    pub reverse: bool,
}

/// The number is the shader's `OP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sum = 0,
    Product = 1,
    Recurrence = 2,
}

/// Along the middle axis of inputs of rank 3.
#[derive(Clone, Copy, Debug)]
struct Cumulative {
    kind: Kind,
    options: ScanOptions,
}

/// Steps that one launch of a kernel takes where the axis is not split into parts: llvmpipe silently ends a kernel after
/// 65,535 rounds of its loops.
const STEPS_A_LAUNCH: u32 = 1 << 15;

impl Cumulative {
    /// Goes along each row from `start` with `step(running, position)`; `keep` rounds what is written.
    fn scan<T: Copy + Send + Sync, Y: Element>(
        &self,
        shape: &Shape,
        y: &mut [Y],
        start: T,
        step: impl Fn(T, usize) -> T + Sync,
        keep: impl Fn(T) -> Y + Sync,
    ) {
        let [_, n, inner] = dims(shape);
        let ScanOptions { exclusive, reverse } = self.options;
        par::rows(y, n * inner, n * inner, |outer, y: &mut [Y]| {
            for column in 0..inner {
                let mut running = start;
                for k in 0..n {
                    let at = if reverse { n - 1 - k } else { k } * inner + column;
                    let next = step(running, outer * n * inner + at);
                    y[at] = keep(if exclusive { running } else { next });
                    running = next;
                }
            }
        });
    }

    /// Into how many parts the axis of a sum is split, and the length of one. Products and recurrences are not split: the
    /// product of a part may overflow where the running one is 0.
    fn parts(&self, gpu: &Stream, rows: u32, n: u32) -> (u32, u32) {
        let threads = if gpu.wants_software_kernels() { 512 } else { 1 << 13 };
        let short = n <= 256 || (rows >= threads && n <= STEPS_A_LAUNCH);
        if self.kind != Kind::Sum || short {
            return (1, n);
        }
        let length = n.isqrt().next_multiple_of(16);
        (n.div_ceil(length), length)
    }

    /// Each element's successor in the order of the scan, 0 after the last.
    fn successor(&self, x: &Tensor) -> Tensor {
        shifted(x, self.options.reverse)
    }

    /// Each element's predecessor in the order of the scan, 0 before the first.
    fn predecessor(&self, x: &Tensor) -> Tensor {
        shifted(x, !self.options.reverse)
    }

    /// The recurrence of `a` and `b` that goes against the order of this scan.
    fn recurrence_back(&self, a: &Tensor, b: &Tensor) -> Tensor {
        let options = ScanOptions { exclusive: false, reverse: !self.options.reverse };
        apply(Cumulative { kind: Kind::Recurrence, options }, &[a, b])
    }
}

/// `x[i + 1]` at `i` of the middle axis and 0 at its end, or `x[i - 1]` and 0 at its start.
fn shifted(x: &Tensor, backward: bool) -> Tensor {
    match x.shape()[1] {
        0 => x.clone(),
        n if backward => x.slice_axis(1, 0..n - 1).pad(&[(0, 0), (1, 0)], 0.0),
        n => x.slice_axis(1, 1..n).pad(&[(0, 0), (0, 1)], 0.0),
    }
}

impl Op for Cumulative {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sum => "cumsum",
            Kind::Product => "cumprod",
            Kind::Recurrence => "linear_recurrence",
        }
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        Ok(x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (shape, x, b, y) = (*x[0].shape(), &x[0], x.last().expect("an input"), &mut y[0]);
        match (x.dtype, self.kind) {
            (DType::I32, Kind::Sum) => {
                let x = x.slice::<i32>();
                self.scan(&shape, y.slice(), 0, |sum: i32, i| sum.wrapping_add(x[i]), |v| v);
            }
            (DType::I32, _) => {
                let x = x.slice::<i32>();
                self.scan(&shape, y.slice(), 1, |product: i32, i| product.wrapping_mul(x[i]), |v| v);
            }
            (DType::U32, Kind::Sum) => {
                let x = x.slice::<u32>();
                self.scan(&shape, y.slice(), 0, |sum: u32, i| sum.wrapping_add(x[i]), |v| v);
            }
            (DType::U32, _) => {
                let x = x.slice::<u32>();
                self.scan(&shape, y.slice(), 1, |product: u32, i| product.wrapping_mul(x[i]), |v| v);
            }
            (_, Kind::Sum) => {
                let x = x.slice::<f32>();
                self.scan(&shape, y.slice(), 0.0, |sum, i| sum + f64::from(x[i]), |v| v as f32);
            }
            // In f32, so that what overflows or vanishes stays so, as on a GPU.
            (_, Kind::Product) => {
                let x = x.slice::<f32>();
                self.scan(&shape, y.slice(), 1.0, |product: f32, i| product * x[i], |v| v);
            }
            (_, Kind::Recurrence) => {
                let (a, b) = (x.slice::<f32>(), b.slice::<f32>());
                self.scan(&shape, y.slice(), 0.0, |y: f32, i| a[i] * y + b[i], |v| v);
            }
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let [outer, n, inner] = dims(x[0].shape()).map(|d| d as u32);
        let rows = outer * inner;
        let (parts, chunk) = self.parts(gpu, rows, n);
        let b = x.last().expect("an input");
        let whole = Params {
            rows,
            n,
            inner,
            x_offset: x[0].offset(),
            b_offset: b.offset(),
            first: 0,
            chunk,
            parts,
            exclusive: self.options.exclusive.into(),
            reverse: self.options.reverse.into(),
            pad: [0; 2],
        };
        let integer = u32::from(x[0].dtype != DType::F32);
        let launch = |gpu: &mut Stream, entry, threads: u32, inputs: &[&GpuBuffer], y: &GpuBuffer, params: Params| {
            gpu.dispatch(Dispatch {
                kernel: Kernel {
                    shader: &CUMULATIVE,
                    entry,
                    constants: &[("OP", self.kind as u32), ("INTEGER", integer)],
                },
                inputs,
                outputs: &[y],
                params: bytemuck::bytes_of(&params),
                workgroups: fold_workgroups(threads.into(), 64),
            });
        };
        let (x, b, y) = (x[0].buffer, b.buffer, y[0].buffer);
        if parts > 1 {
            let carries = gpu.alloc(u64::from(rows) * u64::from(parts) * 4, "running sums at parts of rows");
            launch(gpu, "cumulative_totals", rows * parts, &[x], &carries, whole);
            launch(gpu, "cumulative_carries", rows, &[], &carries, whole);
            return launch(gpu, "cumulative_forward", rows * parts, &[x, &carries], y, whole);
        }
        for first in (0..n).step_by(STEPS_A_LAUNCH as usize) {
            let chunk = (n - first).min(STEPS_A_LAUNCH);
            launch(gpu, "cumulative_forward", rows, &[x, b], y, Params { first, chunk, ..whole });
        }
    }

    fn saves(&self) -> Saves {
        match self.kind {
            Kind::Sum => Saves::NOTHING,
            Kind::Product => Saves::INPUTS,
            Kind::Recurrence => Saves::input(0).and(Saves::OUTPUT),
        }
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let ScanOptions { exclusive, reverse } = self.options;
        match self.kind {
            Kind::Sum => {
                let options = ScanOptions { exclusive, reverse: !reverse };
                vec![Some(apply(Cumulative { kind: Kind::Sum, options }, &[dy]))]
            }
            Kind::Product => {
                let x = node.input(0);
                let before = x.cumprod_with(1, ScanOptions { exclusive: true, reverse });
                let dy = if exclusive { self.successor(dy) } else { dy.clone() };
                vec![Some(before.mul(&self.recurrence_back(&self.successor(x), &dy)))]
            }
            Kind::Recurrence => {
                let db = self.recurrence_back(&self.successor(node.input(0)), dy);
                let da = node.needs(0).then(|| db.mul(&self.predecessor(&node.output())));
                vec![da, Some(db)]
            }
        }
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: y.len() as u64, bytes: 4 * (x.len() * y.len() + y.len()) as u64 }
    }
}

#[track_caller]
fn along(x: &Tensor, axis: isize, kind: Kind, options: ScanOptions) -> Tensor {
    let op = Cumulative { kind, options };
    let axis = axis_of(op.name(), x, axis);
    apply(op, &[&in_words(x).reshape(around(x.shape(), axis))]).reshape(x.shape())
}

impl Tensor {
    /// Running sums along an axis. Those of integers wrap, and those of bytes and conditions are `u32`.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[1.0, 2.0, 3.0], [3], &Device::cpu());
    /// assert_eq!(x.cumsum(0).to_vec::<f32>().unwrap(), [1.0, 3.0, 6.0]);
    /// ```
    ///
    /// # Panics
    /// When the axis is out of range, here and in the three others.
    #[track_caller]
    pub fn cumsum(&self, axis: isize) -> Tensor {
        self.cumsum_with(axis, ScanOptions::default())
    }

    /// Running sums along an axis, from either end, with or without the element itself.
    ///
    /// ```
    /// use tilegrad_core::{Device, ScanOptions, Tensor};
    /// let x = Tensor::new(&[1.0, 2.0, 3.0], [3], &Device::cpu());
    /// let y = x.cumsum_with(0, ScanOptions { exclusive: true, reverse: true });
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [5.0, 3.0, 0.0]);
    /// ```
    #[track_caller]
    pub fn cumsum_with(&self, axis: isize, options: ScanOptions) -> Tensor {
        along(self, axis, Kind::Sum, options)
    }

    /// Running products along an axis. Their gradient is right where elements are 0.
    #[track_caller]
    pub fn cumprod(&self, axis: isize) -> Tensor {
        self.cumprod_with(axis, ScanOptions::default())
    }

    /// Running products along an axis, from either end, with or without the element itself.
    #[track_caller]
    pub fn cumprod_with(&self, axis: isize, options: ScanOptions) -> Tensor {
        along(self, axis, Kind::Product, options)
    }
}
