//! Elements in reverse order along axes, `y[i] = x[n - 1 - i]`, and what is built on it: slices with negative steps, and
//! rolled axes.
//!
//! Strides of tensors are not negative, so this is a copy. The copy kernel steps backwards through `x`: a negative stride
//! as its two's complement, since additions of positions wrap around.

use std::ops::{Range, RangeFrom, RangeFull, RangeTo};

use super::OpInfo;
use super::axes::named_axes;
use super::copy::{copy_cpu, copy_gpu};
use super::movement::{axis_of, refuse, same_dtype};
use crate::dtype::DType;
use crate::gpu::Stream;
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, apply};
use crate::shape::{Layout, MAX_RANK, Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo { names: &["flip"], differentiable: true, kernels: &[] };

#[derive(Clone, Copy, Debug)]
struct Flip {
    axes: [bool; MAX_RANK],
}

impl Flip {
    /// The layout of `x` stepped through backwards.
    fn backwards(&self, x: &Layout) -> Layout {
        let mut y = *x;
        for axis in (0..x.shape.rank()).filter(|&a| self.axes[a]) {
            y.offset += x.shape[axis].saturating_sub(1) * x.strides[axis];
            y.strides[axis] = x.strides[axis].wrapping_neg();
        }
        y
    }
}

impl Op for Flip {
    fn name(&self) -> &'static str {
        "flip"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        same_dtype(x)
    }

    fn takes(&self, _: usize, _: &Layout) -> bool {
        true
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let to = Layout::contiguous(y[0].shape());
        let mut from = x[0];
        from.layout = self.backwards(&from.layout);
        copy_cpu(&from, &mut y[0], to);
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        copy_gpu(gpu, &GpuView { layout: self.backwards(&x[0].layout), ..x[0] }, &y[0], y[0].layout);
    }

    fn backward(&self, _: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(apply(*self, &[dy]))]
    }

    fn cost(&self, _: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: 0, bytes: 8 * y.len() as u64 }
    }
}

/// Elements of one axis by numpy's rule for `start:end:step`: negative positions count from the end, positions outside are
/// clamped to the axis, and a negative step goes backwards.
///
/// ```
/// use tilegrad_core::SliceRange;
/// assert_eq!(SliceRange::from(1..-1), SliceRange { start: Some(1), end: Some(-1), step: 1 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceRange {
    /// The first position; from the axis's end that the step leads away from, if not given.
    pub start: Option<isize>,
    /// The position before which it ends; past the other end of the axis, if not given.
    pub end: Option<isize>,
    /// How far to the next one; not 0.
    pub step: isize,
}

impl SliceRange {
    /// The whole axis.
    pub const ALL: SliceRange = SliceRange { start: None, end: None, step: 1 };

    /// `start:end:step`.
    pub const fn new(start: isize, end: isize, step: isize) -> SliceRange {
        SliceRange { start: Some(start), end: Some(end), step }
    }

    /// Lowest position, number of elements. The step is not 0.
    fn resolve(&self, len: usize) -> (usize, usize) {
        let n = len as isize;
        let (low, high) = if self.step > 0 { (0, n) } else { (-1, n - 1) };
        let clamp = |at: isize| (if at < 0 { at.saturating_add(n) } else { at }).clamp(low, high);
        let ends = if self.step > 0 { (low, high) } else { (high, low) };
        let (start, end) = (self.start.map_or(ends.0, clamp), self.end.map_or(ends.1, clamp));
        let distance = if self.step > 0 { end - start } else { start - end };
        if distance <= 0 {
            return (0, 0);
        }
        let step = self.step.unsigned_abs();
        let count = (distance as usize).div_ceil(step);
        let lowest = if self.step > 0 { start as usize } else { start as usize - (count - 1) * step };
        (lowest, count)
    }
}

impl From<Range<isize>> for SliceRange {
    fn from(r: Range<isize>) -> SliceRange {
        SliceRange::new(r.start, r.end, 1)
    }
}

impl From<RangeFrom<isize>> for SliceRange {
    fn from(r: RangeFrom<isize>) -> SliceRange {
        SliceRange { start: Some(r.start), ..SliceRange::ALL }
    }
}

impl From<RangeTo<isize>> for SliceRange {
    fn from(r: RangeTo<isize>) -> SliceRange {
        SliceRange { end: Some(r.end), ..SliceRange::ALL }
    }
}

impl From<RangeFull> for SliceRange {
    fn from(_: RangeFull) -> SliceRange {
        SliceRange::ALL
    }
}

impl Tensor {
    /// The elements in reverse order along some axes.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[1.0, 2.0, 3.0, 4.0], [2, 2], &Device::cpu());
    /// assert_eq!(x.flip(&[1]).to_vec::<f32>().unwrap(), [2.0, 1.0, 4.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// When an axis is out of range or named twice.
    #[track_caller]
    pub fn flip(&self, axes: &[isize]) -> Tensor {
        let named = named_axes("flip", self, axes, self.rank());
        // Reversing an axis of one element changes nothing.
        let axes = std::array::from_fn(|a| named.get(a) == Some(&true) && self.shape()[a] > 1);
        if axes.contains(&true) { apply(Flip { axes }, &[self]) } else { self.clone() }
    }

    /// Elements of each axis by numpy's rule for slices; axes past the end of `ranges` are kept whole. A view if no step is
    /// negative, else a copy of what is taken.
    ///
    /// ```
    /// use tilegrad_core::{Device, SliceRange, Tensor};
    /// let x = Tensor::new(&[0.0, 1.0, 2.0, 3.0, 4.0], [5], &Device::cpu());
    /// let take = |range| x.slice_ranges(&[range]).to_vec::<f32>().unwrap();
    /// assert_eq!(take(SliceRange::from(-2..9)), [3.0, 4.0]);
    /// assert_eq!(take(SliceRange { start: None, end: None, step: -2 }), [4.0, 2.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// When there are more ranges than axes or a step is 0. Nothing else is out of bounds.
    #[track_caller]
    pub fn slice_ranges(&self, ranges: &[SliceRange]) -> Tensor {
        let x = self.shape();
        if ranges.len() > x.rank() {
            let problem = format!("{} ranges for {} axes", ranges.len(), x.rank());
            refuse("slice_ranges", ShapeError::new(problem).operand("x", x));
        }
        if let Some(axis) = ranges.iter().position(|r| r.step == 0) {
            refuse("slice_ranges", ShapeError::new(format!("the step of axis {axis} is 0")).operand("x", x));
        }
        let mut steps = Vec::with_capacity(ranges.len());
        for (range, &len) in ranges.iter().zip(x.iter()) {
            let (lowest, count) = range.resolve(len);
            let step = range.step.unsigned_abs();
            let end = if count == 0 { lowest } else { lowest + (count - 1) * step + 1 };
            steps.push((lowest..end, step));
        }
        let backwards = (0..ranges.len()).filter(|&a| ranges[a].step < 0).map(|a| a as isize);
        self.slice_steps(&steps).flip(&backwards.collect::<Vec<_>>())
    }

    /// The elements of an axis moved on by `shift` positions; those that leave at the end come in at the start. A negative
    /// shift moves back.
    ///
    /// # Panics
    /// When the axis is out of range.
    #[track_caller]
    pub fn roll(&self, shift: isize, axis: isize) -> Tensor {
        let at = axis_of("roll", self, axis);
        let len = self.shape()[at];
        let shift = if len == 0 { 0 } else { shift.rem_euclid(len as isize) as usize };
        if shift == 0 {
            return self.clone();
        }
        Tensor::concat(&[&self.slice_axis(axis, len - shift..len), &self.slice_axis(axis, 0..len - shift)], axis)
    }
}
