//! Views: reshape, permute, broadcast and slice give the same buffer another shape, and move nothing. Ops that copy are in
//! `copy.rs`.

use std::ops::Range;

use super::OpInfo;
use super::copy::place;
use crate::dtype::DType;
use crate::gpu::{Gpu, Stream};
use crate::op::{CpuView, CpuViewMut, GpuView, Halves, Op, apply, fits};
use crate::shape::{Layout, MAX_RANK, Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo =
    OpInfo { names: &["reshape", "permute", "broadcast_to", "slice"], differentiable: true, kernels: &[] };

/// Any type is fine for an op that only moves.
pub(super) fn same_dtype(x: &[DType]) -> Result<DType, ShapeError> {
    match x.iter().find(|&&d| d != x[0]) {
        None => Ok(x[0]),
        Some(other) => Err(ShapeError::new(format!("element types differ ({} and {other})", x[0]))),
    }
}

/// Why a view's code never runs.
const IS_A_VIEW: &str = "a view launches nothing";

#[derive(Debug)]
enum View {
    Reshape(Shape),
    Permute([usize; MAX_RANK]),
    BroadcastTo(Shape),
    Slice { start: [usize; MAX_RANK], len: Shape, step: [usize; MAX_RANK] },
}

impl Op for View {
    fn name(&self) -> &'static str {
        match self {
            View::Reshape(_) => "reshape",
            View::Permute(_) => "permute",
            View::BroadcastTo(_) => "broadcast_to",
            View::Slice { .. } => "slice",
        }
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        let x = x[0];
        match self {
            View::Reshape(shape) if shape.len() == x.len() => Ok(*shape),
            View::Reshape(shape) => {
                let problem = format!("{} elements do not fill {shape}, which has {}", x.len(), shape.len());
                Err(ShapeError::new(problem).operand("x", x))
            }
            View::Permute(axes) => Ok(Shape::new(&axes[..x.rank()].iter().map(|&a| x[a]).collect::<Vec<_>>())),
            View::BroadcastTo(shape) if x.rank() <= shape.rank() && x.broadcast(shape) == Ok(*shape) => Ok(*shape),
            View::BroadcastTo(shape) => {
                Err(ShapeError::new(format!("does not broadcast to {shape}")).operand("x", x).operand("shape", shape))
            }
            View::Slice { len, .. } => Ok(*len),
        }
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        same_dtype(x)
    }

    fn halves(&self, _: &[&Shape], _: Option<&Gpu>) -> Halves {
        Halves::Read
    }

    fn view(&self, x: &Layout) -> Option<Layout> {
        Some(match self {
            // A strided tensor that has to be copied is made contiguous before.
            View::Reshape(shape) => x.reshape(shape).expect("checked by the method"),
            View::Permute(axes) => {
                let mut strides = [0; MAX_RANK];
                let rank = x.shape.rank();
                (0..rank).for_each(|i| strides[i] = x.strides[axes[i]]);
                let dims: Vec<usize> = axes[..rank].iter().map(|&a| x.shape[a]).collect();
                Layout { shape: Shape::new(&dims), strides, offset: x.offset }
            }
            View::BroadcastTo(shape) => x.broadcast_to(shape),
            View::Slice { start, len, step } => {
                let mut y = Layout { shape: *len, ..*x };
                for axis in 0..len.rank() {
                    y.offset += start[axis] * x.strides[axis];
                    y.strides[axis] = x.strides[axis] * step[axis];
                }
                y
            }
        })
    }

    fn takes(&self, _: usize, _: &Layout) -> bool {
        true
    }

    fn cpu(&self, _: &[CpuView<'_>], _: &mut [CpuViewMut<'_>]) {
        unreachable!("{IS_A_VIEW}")
    }

    fn gpu(&self, _: &mut Stream, _: &[GpuView<'_>], _: &[GpuView<'_>]) {
        unreachable!("{IS_A_VIEW}")
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let x = node.input_shape(0);
        vec![Some(match self {
            View::Reshape(_) => dy.reshape(x),
            View::Permute(axes) => {
                let mut inverse = vec![0; x.rank()];
                (0..x.rank()).for_each(|i| inverse[axes[i]] = i as isize);
                dy.permute(&inverse)
            }
            View::BroadcastTo(_) => dy.clone(), // the tape sums it
            View::Slice { start, step, .. } => place(dy, *x, *start, *step, 0.0),
        })]
    }
}

/// A slice of `len` elements of each axis, from `start` on in steps of `step`.
pub(super) fn slice_view(start: [usize; MAX_RANK], len: Shape, step: [usize; MAX_RANK]) -> impl Op {
    View::Slice { start, len, step }
}

impl Tensor {
    /// The same elements in another shape with as many. No copy, unless the tensor is strided.
    ///
    /// # Panics
    /// When the number of elements differs.
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        if shape == *self.shape() {
            return self.clone();
        }
        let in_place = shape.len() != self.len() || self.layout().reshape(&shape).is_some();
        let x = if in_place { self.clone() } else { self.contiguous() };
        apply(View::Reshape(shape), &[&x])
    }

    /// All axes from `axis` on as one: `(N, H, W, C).flatten_from(1)` is `(N, H*W*C)`.
    ///
    /// # Panics
    /// When the axis is out of range.
    #[track_caller]
    pub fn flatten_from(&self, axis: isize) -> Tensor {
        let axis = axis_of("flatten_from", self, axis);
        let (outer, inner) = self.shape().split_at(axis);
        self.reshape(&[outer, &[inner.iter().product()]].concat())
    }

    /// The axes in another order: axis `i` of the result is axis `axes[i]`. A view.
    ///
    /// # Panics
    /// When `axes` is no permutation of the axes.
    #[track_caller]
    pub fn permute(&self, axes: &[isize]) -> Tensor {
        let mut order = [0; MAX_RANK];
        let mut seen = [false; MAX_RANK];
        assert_eq!(axes.len(), self.rank(), "permute: {axes:?} does not name each axis of shape {} once", self.shape());
        for (i, &axis) in axes.iter().enumerate() {
            order[i] = axis_of("permute", self, axis);
            assert!(!seen[order[i]], "permute: {axes:?} names an axis of shape {} twice", self.shape());
            seen[order[i]] = true;
        }
        apply(View::Permute(order), &[self])
    }

    /// The last two axes swapped. A view; [`Tensor::matmul`] reads it without a copy.
    ///
    /// # Panics
    /// With fewer than two axes.
    #[track_caller]
    pub fn transpose(&self) -> Tensor {
        let rank = self.rank() as isize;
        assert!(rank >= 2, "transpose: shape {} has fewer than two axes", self.shape());
        let mut axes: Vec<isize> = (0..rank).collect();
        axes.swap(rank as usize - 1, rank as usize - 2);
        self.permute(&axes)
    }

    /// Stretched to `shape` by numpy's rule. A view.
    ///
    /// # Panics
    /// When it does not broadcast.
    #[track_caller]
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        if shape == *self.shape() { self.clone() } else { apply(View::BroadcastTo(shape), &[self]) }
    }

    /// A range of each axis; axes past the end of `ranges` are kept whole. A view.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [2, 3], &Device::cpu());
    /// assert_eq!(x.slice(&[0..2, 1..3]).to_vec::<f32>().unwrap(), [1.0, 2.0, 4.0, 5.0]);
    /// ```
    ///
    /// # Panics
    /// When a range is outside its axis.
    #[track_caller]
    pub fn slice(&self, ranges: &[Range<usize>]) -> Tensor {
        let stepped: Vec<_> = ranges.iter().map(|r| (r.clone(), 1)).collect();
        self.slice_steps(&stepped)
    }

    /// A range of each axis with a step: every `step`-th element of it.
    ///
    /// # Panics
    /// When a range is outside its axis or a step is 0.
    #[track_caller]
    pub fn slice_steps(&self, ranges: &[(Range<usize>, usize)]) -> Tensor {
        let shape = self.shape();
        assert!(ranges.len() <= shape.rank(), "slice: {} ranges for shape {shape}", ranges.len());
        let (mut start, mut step, mut dims) = ([0; MAX_RANK], [1; MAX_RANK], shape.to_vec());
        for (axis, (range, by)) in ranges.iter().enumerate() {
            assert!(
                range.start <= range.end && range.end <= shape[axis] && *by > 0,
                "slice: {range:?} in steps of {by} is outside axis {axis} of shape {shape}"
            );
            (start[axis], dims[axis]) = (range.start, range.len().div_ceil(*by));
            // Of one element any step will do, and a large one would overflow a stride.
            step[axis] = if dims[axis] > 1 { *by } else { 1 };
        }
        apply(View::Slice { start, len: Shape::new(&dims), step }, &[self])
    }

    /// A range of one axis. A view.
    ///
    /// # Panics
    /// When the axis or the range is out of bounds.
    #[track_caller]
    pub fn slice_axis(&self, axis: isize, range: Range<usize>) -> Tensor {
        let axis = axis_of("slice", self, axis);
        let mut ranges: Vec<Range<usize>> = self.shape()[..axis].iter().map(|&len| 0..len).collect();
        ranges.push(range);
        self.slice(&ranges)
    }
}

/// Panics with the message at the caller's line.
#[track_caller]
pub(super) fn refuse(op: &str, error: ShapeError) -> ! {
    panic!("{}", error.of(op))
}

#[track_caller]
pub(super) fn axis_of(op: &str, x: &Tensor, axis: isize) -> usize {
    fits(op, x.shape().axis(axis))
}

/// Axes before `axis` as one, that axis, and those behind it as one.
pub(super) fn around(shape: &[usize], axis: usize) -> [usize; 3] {
    [shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product()]
}
