//! Sorting along an axis, and the largest or smallest elements in order.
//!
//! Positions are sorted, by a stable merge sort of as many launches as the axis has binary digits, and elements are moved by
//! them. The gradient of the move is the move back: `y[k] = x[order[k]]`, `dx[order[k]] = dy[k]`.
//!
//! NaN is above all other numbers, as in torch, and -0 equals 0; equal elements keep their order.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::SORT;

use super::argmax::{nan_last, numbers, type_of_order};
use super::movement::{around, axis_of};
use super::reduce::{dims, in_words};
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::DType;
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["argsort", "sort"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &SORT,
        entries: &["sort_merge", "sort_take", "sort_put"],
        headers: || (0..3).map(|order| vec![("TYPE", order)]).collect(),
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    n: u32,
    inner: u32,
    x_offset: u32,
    order_offset: u32,
    width: u32,
    descending: u32,
    pad: u32,
}

impl Params {
    fn of(x: &GpuView<'_>) -> Params {
        let [_, n, inner] = dims(x.shape()).map(|d| d as u32);
        Params { len: x.len(), n, inner, x_offset: x.offset(), order_offset: 0, width: 1, descending: 0, pad: 0 }
    }

    fn launch(&self, gpu: &mut Stream, entry: &'static str, order: u32, inputs: &[&GpuBuffer], y: &GpuBuffer) {
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &SORT, entry, constants: &[("TYPE", order)] },
            inputs,
            outputs: &[y],
            params: bytemuck::bytes_of(self),
            workgroups: fold_workgroups(self.len.into(), 64),
        });
    }
}

/// The positions, in the order of the elements, along the middle axis of an input of rank 3.
#[derive(Debug)]
struct ArgSort {
    descending: bool,
}

impl Op for ArgSort {
    fn name(&self) -> &'static str {
        "argsort"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn dtype(&self, _: &[DType]) -> Result<DType, ShapeError> {
        Ok(DType::U32)
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let ([_, n, inner], x) = (dims(x[0].shape()), numbers(&x[0]));
        par::rows(y[0].slice::<u32>(), n * inner, 16 * n * inner, |outer, y: &mut [u32]| {
            for column in 0..inner {
                let at = |i: u32| x[(outer * n + i as usize) * inner + column];
                let mut order: Vec<u32> = (0..n as u32).collect();
                order.sort_by(|&a, &b| {
                    let up = nan_last(at(a), at(b));
                    if self.descending { up.reverse() } else { up }
                });
                order.iter().enumerate().for_each(|(i, &from)| y[i * inner + column] = from);
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let whole = Params { descending: self.descending.into(), ..Params::of(&x[0]) };
        let order = type_of_order(x[0].dtype);
        let passes = whole.n.max(2).next_power_of_two().ilog2();
        // The passes write to the output and to scratch memory in turn, so that the last one writes to the output.
        let scratch = gpu.alloc(u64::from(whole.len) * 4, "positions between passes of a sort");
        let mut from = x[0].buffer;
        for pass in 0..passes {
            let to = if (passes - pass) % 2 == 1 { y[0].buffer } else { &scratch };
            Params { width: 1 << pass, ..whole }.launch(gpu, "sort_merge", order, &[x[0].buffer, from], to);
            from = to;
        }
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        let passes = u64::from(x[0][1].max(2).next_power_of_two().ilog2());
        Cost { flops: passes * y.len() as u64, bytes: 8 * passes * y.len() as u64 }
    }
}

/// Elements moved along the middle axis by an order that names each position once.
#[derive(Debug)]
struct Reorder {
    /// `y[order[k]] = x[k]` in place of `y[k] = x[order[k]]`.
    back: bool,
}

impl Op for Reorder {
    fn name(&self) -> &'static str {
        "sort"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        Ok(x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        // Elements are moved as words, whatever their type.
        let ([_, n, inner], order) = (dims(x[0].shape()), x[1].slice::<u32>());
        let x = &x[0].bits::<u32>()[x[0].layout.offset..];
        par::rows(y[0].bits::<u32>(), n * inner, n * inner, |outer, y| {
            let first = outer * n * inner;
            for i in 0..n * inner {
                let named = order[first + i] as usize * inner + i % inner;
                let (to, from) = if self.back { (named, i) } else { (i, named) };
                y[to] = x[first + from];
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let params = Params { order_offset: x[1].offset(), ..Params::of(&x[0]) };
        let entry = if self.back { "sort_put" } else { "sort_take" };
        params.launch(gpu, entry, 0, &[x[0].buffer, x[1].buffer], y[0].buffer);
    }

    fn saves(&self) -> Saves {
        Saves::input(1)
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(apply(Reorder { back: !self.back }, &[dy, node.input(1)])), None]
    }

    fn cost(&self, _: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: 0, bytes: 12 * y.len() as u64 }
    }
}

/// As `(outer, n, inner)`, with the axis in the middle.
#[track_caller]
fn three_axes(op: &str, x: &Tensor, axis: isize) -> Tensor {
    let axis = axis_of(op, x, axis);
    in_words(x).reshape(around(x.shape(), axis))
}

impl Tensor {
    /// The elements in order along an axis, and the position (`u32`) that each came from. Equal elements keep their order;
    /// NaN counts as the largest number. A scalar has no axis to sort along.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let (y, order) = Tensor::new(&[3.0, 1.0, 2.0], [3], &Device::cpu()).sort(0, false);
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0]);
    /// assert_eq!(order.to_vec::<u32>().unwrap(), [1, 2, 0]);
    /// ```
    ///
    /// # Panics
    /// When the axis is out of range.
    #[track_caller]
    pub fn sort(&self, axis: isize, descending: bool) -> (Tensor, Tensor) {
        let x = three_axes("sort", self, axis);
        let order = apply(ArgSort { descending }, &[&x]);
        let values = apply(Reorder { back: false }, &[&x, &order]).cast(self.dtype());
        (values.reshape(self.shape()), order.reshape(self.shape()))
    }

    /// The positions (`u32`) that [`Tensor::sort`] gives.
    ///
    /// # Panics
    /// When the axis is out of range.
    #[track_caller]
    pub fn argsort(&self, axis: isize, descending: bool) -> Tensor {
        apply(ArgSort { descending }, &[&three_axes("argsort", self, axis)]).reshape(self.shape())
    }

    /// The `k` largest (or smallest) elements along an axis, in order, and their positions (`u32`). Of equal elements the
    /// first ones; NaN counts as the largest number.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let (y, at) = Tensor::new(&[1.0, 7.0, 5.0, 7.0], [4], &Device::cpu()).topk(2, 0, true);
    /// assert_eq!((y.to_vec::<f32>().unwrap(), at.to_vec::<u32>().unwrap()), (vec![7.0, 7.0], vec![1, 3]));
    /// ```
    ///
    /// # Panics
    /// When the axis is out of range or has fewer than `k` elements.
    #[track_caller]
    pub fn topk(&self, k: usize, axis: isize, largest: bool) -> (Tensor, Tensor) {
        let at = axis_of("topk", self, axis);
        let n = self.shape()[at];
        assert!(k <= n, "topk: axis {at} has fewer than k elements ({n} < {k})\n  x: {}", self.shape());
        let (values, order) = self.sort(axis, largest);
        (values.slice_axis(axis, 0..k), order.slice_axis(axis, 0..k))
    }
}
