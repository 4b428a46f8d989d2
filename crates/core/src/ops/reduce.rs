//! Reductions: sum, mean, max, min over any axes, and argmax.
//!
//! A reduction is brought to the form `(outer, reduce, inner)`, with the reduced axes as the middle one; axes that don't
//! lie side by side are permuted to the end first.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::REDUCE;

use super::movement::axis_of;
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::DType;
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["sum", "max", "min", "argmax"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &REDUCE,
        entries: &["reduce_forward", "reduce_columns", "reduce_index", "reduce_index_merge"],
        headers: || (0..3).map(|op| vec![("OP", op)]).collect(),
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    outputs: u32,
    reduce: u32,
    inner: u32,
    chunk: u32,
    splits: u32,
    x_offset: u32,
    scale: f32,
    pad: u32,
}

/// What to do with the middle axis. The number is the shader's `OP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sum = 0,
    Max = 1,
    Min = 2,
}

/// Reduces the middle axis of an input of rank 3; the output is `(outer, inner)`.
#[derive(Debug)]
struct Reduce {
    kind: Kind,
    /// Multiplies a sum: 1, or 1/n for a mean.
    scale: f32,
}

/// The three axes of an input, as `(outer, reduce, inner)`.
fn dims(x: &Shape) -> [usize; 3] {
    [x[0], x[1], x[2]]
}

impl Op for Reduce {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sum => "sum",
            Kind::Max => "max",
            Kind::Min => "min",
        }
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        let [outer, reduce, inner] = dims(x[0]);
        if self.kind != Kind::Sum && reduce == 0 {
            return Err(ShapeError::new("there is no extreme of no elements").operand("x", x[0]));
        }
        Ok(Shape::from([outer, inner]))
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let ([outer, reduce, inner], x, y) = (dims(x[0].shape()), x[0].slice::<f32>(), y[0].slice::<f32>());
        let fold = |best: f32, v: f32| match self.kind {
            _ if best.is_nan() => best,
            _ if v.is_nan() => v,
            Kind::Max => best.max(v),
            _ => best.min(v),
        };
        match self.kind {
            // The sum of nothing is 0, and its mean NaN, as 0 times infinity is.
            Kind::Sum if reduce == 0 => y.fill(0.0 * self.scale),
            // Sums run in f64, in blocks of rows when there are few outputs and many rows, as in a bias gradient.
            Kind::Sum if outer == 1 && reduce > 64 => {
                let block = 1024;
                let blocks = reduce.div_ceil(block);
                let mut partial = vec![0.0; blocks * inner];
                par::rows(&mut partial, inner, block * inner, |b, sums: &mut [f64]| {
                    for row in x[b * block * inner..].chunks_exact(inner.max(1)).take(block.min(reduce - b * block)) {
                        sums.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v));
                    }
                });
                for (i, y) in y.iter_mut().enumerate() {
                    *y = (partial.iter().skip(i).step_by(inner).sum::<f64>() * f64::from(self.scale)) as f32;
                }
            }
            Kind::Sum => par::map(y, |o| {
                let x = &x[o / inner * reduce * inner + o % inner..];
                ((0..reduce).map(|r| f64::from(x[r * inner])).sum::<f64>() * f64::from(self.scale)) as f32
            }),
            Kind::Max | Kind::Min => par::map(y, |o| {
                let x = &x[o / inner * reduce * inner + o % inner..];
                (1..reduce).fold(x[0], |best, r| fold(best, x[r * inner]))
            }),
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let [outer, reduce, inner] = dims(x[0].shape()).map(|d| d as u32);
        if reduce == 0 {
            return super::fill::fill_buffer(gpu, y[0].buffer, y[0].len(), 0.0 * self.scale);
        }
        let outputs = outer * inner;
        // Few outputs leave the device idle: split the reduced axis until there are threads enough.
        let threads = if gpu.wants_software_kernels() { 512 } else { 1 << 15 };
        // And llvmpipe silently ends a kernel after 65,535 rounds of its loops.
        let splits = (threads / outputs.max(1)).clamp(1, reduce.div_ceil(32)).max(reduce.div_ceil(32_768));
        let chunk = reduce.div_ceil(splits);
        let splits = reduce.div_ceil(chunk);
        let launch = |gpu: &mut Stream, x: &GpuBuffer, y: &GpuBuffer, params: Params| {
            let fours = [params.inner, params.x_offset].iter().all(|v| v.is_multiple_of(4));
            let (entry, each) =
                if fours && self.kind == Kind::Sum { ("reduce_columns", 4) } else { ("reduce_forward", 1) };
            gpu.dispatch(Dispatch {
                kernel: Kernel { shader: &REDUCE, entry, constants: &[("OP", self.kind as u32)] },
                inputs: &[x],
                outputs: &[y],
                params: bytemuck::bytes_of(&params),
                workgroups: fold_workgroups(u64::from(outputs / each) * u64::from(params.splits), 64),
            });
        };
        let first =
            Params { outputs, reduce, inner, chunk, splits, x_offset: x[0].offset(), scale: self.scale, pad: 0 };
        if splits == 1 {
            return launch(gpu, x[0].buffer, y[0].buffer, first);
        }
        let partial = gpu.alloc(u64::from(outputs) * u64::from(splits) * 4, "partial reductions");
        launch(gpu, x[0].buffer, &partial, Params { scale: 1.0, ..first });
        let second = Params { reduce: splits, inner: outputs, chunk: splits, splits: 1, x_offset: 0, ..first };
        launch(gpu, &partial, y[0].buffer, second);
    }

    fn saves(&self) -> Saves {
        match self.kind {
            Kind::Sum => Saves::NOTHING,
            _ => Saves::INPUTS.and(Saves::OUTPUT),
        }
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let shape = node.input_shape(0);
        let dy = dy.unsqueeze(1);
        let dx = match self.kind {
            Kind::Sum if self.scale == 1.0 => dy,
            Kind::Sum => dy.affine(self.scale, 0.0),
            // Elements that tie for the extreme share its gradient.
            Kind::Max | Kind::Min => {
                let hit = node.input(0).eq(&node.output().unsqueeze(1)).cast(DType::F32);
                let ties = hit.sum_axes(&[1], true);
                hit.mul(&dy.div(&ties))
            }
        };
        vec![Some(dx.broadcast_to(shape))]
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: x[0].len() as u64, bytes: 4 * (x[0].len() + y.len()) as u64 }
    }
}

/// Position of the first largest element along the middle axis of an input of rank 3.
#[derive(Debug)]
struct ArgMax;

impl Op for ArgMax {
    fn name(&self) -> &'static str {
        "argmax"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        let [outer, reduce, inner] = dims(x[0]);
        match reduce {
            0 => Err(ShapeError::new("there is no largest of no elements").operand("x", x[0])),
            _ => Ok(Shape::from([outer, inner])),
        }
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        Reduce { kind: Kind::Max, scale: 1.0 }.dtype(x).map(|_| DType::U32)
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let ([_, reduce, inner], x) = (dims(x[0].shape()), x[0].slice::<f32>());
        par::map(y[0].slice::<u32>(), |o| {
            let x = &x[o / inner * reduce * inner + o % inner..];
            let mut best = 0;
            for r in 1..reduce {
                let (v, top) = (x[r * inner], x[best * inner]);
                if !top.is_nan() && (v > top || v.is_nan()) {
                    best = r;
                }
            }
            best as u32
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        argmax_gpu(gpu, &x[0], dims(x[0].shape()), y[0].buffer);
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }
}

/// Positions of the first largest elements along the middle axis of `x` seen as `(outer, reduce, inner)`. Of a long axis each
/// part gives a candidate first.
pub(super) fn argmax_gpu(gpu: &mut Stream, x: &GpuView<'_>, dims: [usize; 3], y: &GpuBuffer) {
    let [outer, reduce, inner] = dims.map(|d| d as u32);
    let (outputs, x_offset) = (outer * inner, x.offset());
    let (splits, chunk) = super::parts_of_row(gpu, "argmax", reduce);
    let launch = |gpu: &mut Stream, entry, threads: u32, inputs: &[&GpuBuffer], y: &GpuBuffer| {
        let params = Params { outputs, reduce, inner, chunk, splits, x_offset, scale: 1.0, pad: 0 };
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &REDUCE, entry, constants: &[("OP", Kind::Max as u32)] },
            inputs,
            outputs: &[y],
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(threads.into(), 64),
        });
    };
    if splits == 1 {
        return launch(gpu, "reduce_index", outputs, &[x.buffer], y);
    }
    let candidates = gpu.alloc(u64::from(outputs) * u64::from(splits) * 4, "candidates for argmax");
    launch(gpu, "reduce_index", outputs * splits, &[x.buffer], &candidates);
    launch(gpu, "reduce_index_merge", outputs, &[x.buffer, &candidates], y);
}

/// Brings `x` to `(outer, reduce, inner)`, applies `op` (given the reduced length too), and gives the result its proper shape.
#[track_caller]
fn over_axes(
    x: &Tensor,
    name: &str,
    axes: &[isize],
    keepdims: bool,
    op: impl FnOnce(usize, &Tensor) -> Tensor,
) -> Tensor {
    let mut reduced = vec![false; x.rank()];
    for &axis in axes {
        reduced[axis_of(name, x, axis)] = true;
    }
    let kept: Vec<usize> = (0..x.rank()).filter(|&a| !reduced[a]).collect();
    let gone: Vec<usize> = (0..x.rank()).filter(|&a| reduced[a]).collect();
    let product = |axes: &[usize]| axes.iter().map(|&a| x.shape()[a]).product::<usize>();
    let n = product(&gone);
    // The reduced axes lie side by side when none that is kept is between them.
    let (outer, inner): (Vec<usize>, Vec<usize>) = match gone.first() {
        Some(&first) => kept.iter().partition(|&&a| a < first),
        None => (kept.clone(), Vec::new()),
    };
    let side_by_side = gone.last().is_none_or(|&last| inner.iter().all(|&a| a > last));
    let three = if side_by_side {
        x.reshape([product(&outer), n, product(&inner)])
    } else {
        let order: Vec<isize> = kept.iter().chain(&gone).map(|&a| a as isize).collect();
        x.permute(&order).reshape([product(&kept), n, 1])
    };
    let y = op(n, &three);
    let dims = |a: usize| match reduced[a] {
        true if keepdims => Some(1),
        true => None,
        false => Some(x.shape()[a]),
    };
    y.reshape(&(0..x.rank()).filter_map(dims).collect::<Vec<_>>())
}

fn reduce(kind: Kind) -> impl FnOnce(usize, &Tensor) -> Tensor {
    move |_, x| apply(Reduce { kind, scale: 1.0 }, &[x])
}

impl Tensor {
    fn all_axes(&self) -> Vec<isize> {
        (0..self.rank() as isize).collect()
    }

    /// The sum of all elements, of rank 0.
    #[track_caller]
    pub fn sum(&self) -> Tensor {
        self.sum_axes(&self.all_axes(), false)
    }

    /// Sums over some axes. With `keepdims` they stay, with length 1.
    ///
    /// # Panics
    /// When an axis is out of range.
    #[track_caller]
    pub fn sum_axes(&self, axes: &[isize], keepdims: bool) -> Tensor {
        over_axes(self, "sum", axes, keepdims, reduce(Kind::Sum))
    }

    /// The mean of all elements, of rank 0; NaN when there are none.
    #[track_caller]
    pub fn mean(&self) -> Tensor {
        self.mean_axes(&self.all_axes(), false)
    }

    /// Means over some axes.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[1.0, 2.0, 3.0, 6.0], [2, 2], &Device::cpu());
    /// assert_eq!(x.mean_axes(&[0], false).to_vec::<f32>().unwrap(), [2.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// When an axis is out of range.
    #[track_caller]
    pub fn mean_axes(&self, axes: &[isize], keepdims: bool) -> Tensor {
        over_axes(self, "mean", axes, keepdims, |n, x| apply(Reduce { kind: Kind::Sum, scale: 1.0 / n as f32 }, &[x]))
    }

    /// The largest element, of rank 0. NaN if any is; elements that tie share the gradient.
    #[track_caller]
    pub fn max(&self) -> Tensor {
        self.max_axes(&self.all_axes(), false)
    }

    /// Largest elements over some axes.
    ///
    /// # Panics
    /// When an axis is out of range or there is no element.
    #[track_caller]
    pub fn max_axes(&self, axes: &[isize], keepdims: bool) -> Tensor {
        over_axes(self, "max", axes, keepdims, reduce(Kind::Max))
    }

    /// The smallest element, of rank 0.
    #[track_caller]
    pub fn min(&self) -> Tensor {
        self.min_axes(&self.all_axes(), false)
    }

    /// Smallest elements over some axes.
    ///
    /// # Panics
    /// When an axis is out of range or there is no element.
    #[track_caller]
    pub fn min_axes(&self, axes: &[isize], keepdims: bool) -> Tensor {
        over_axes(self, "min", axes, keepdims, reduce(Kind::Min))
    }

    /// The position (`u32`) of the first largest element along an axis, which goes.
    ///
    /// # Panics
    /// When the axis is out of range or empty.
    #[track_caller]
    pub fn argmax(&self, axis: isize) -> Tensor {
        over_axes(self, "argmax", &[axis], false, |_, x| apply(ArgMax, &[x]))
    }

    /// Summed over the axes that broadcasting `shape` to this tensor's shape would stretch: what the gradient of a
    /// broadcast operand is.
    ///
    /// # Panics
    /// When `shape` does not broadcast to this shape.
    #[track_caller]
    pub fn sum_to(&self, shape: &Shape) -> Tensor {
        if self.shape() == shape {
            return self.clone();
        }
        assert!(shape.rank() <= self.rank(), "sum_to: {shape} has more axes than {}", self.shape());
        let pad = self.rank() - shape.rank();
        let stretched = (0..self.rank()).filter(|&a| a < pad || (shape[a - pad] == 1 && self.shape()[a] != 1));
        let axes: Vec<isize> = stretched.map(|a| a as isize).collect();
        self.sum_axes(&axes, true).reshape(shape)
    }
}
