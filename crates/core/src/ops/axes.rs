//! Other axes over the same elements: flatten, squeeze, unsqueeze, swapped and moved axes, expand. Each is a composition of
//! the views of `movement.rs`, so nothing is copied unless a reshape of a strided tensor asks for it.

use super::movement::{axis_of, refuse};
use crate::op::fits;
use crate::shape::{Shape, ShapeError};
use crate::tensor::Tensor;

/// Which of `rank` axes are named; each may be named once.
#[track_caller]
pub(super) fn named_axes(op: &str, x: &Tensor, axes: &[isize], rank: usize) -> Vec<bool> {
    let mut named = vec![false; rank];
    for &axis in axes {
        let signed = rank as isize;
        if !(-signed..signed).contains(&axis) {
            let problem = format!("axis {axis} is out of range for rank {rank}");
            refuse(op, ShapeError::new(problem).operand("x", x.shape()));
        }
        let at = axis.rem_euclid(signed) as usize;
        if std::mem::replace(&mut named[at], true) {
            refuse(op, ShapeError::new(format!("axis {axis} is named twice in {axes:?}")).operand("x", x.shape()));
        }
    }
    named
}

impl Tensor {
    /// [`Tensor::reshape`] where one axis may be -1: its length is what is left over.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::zeros([2, 3, 4], &Device::cpu());
    /// assert_eq!(x.reshape_infer(&[4, -1]).shape()[..], [4, 6]);
    /// ```
    ///
    /// # Panics
    /// When more than one axis is -1, one is below that, the elements do not divide evenly, or the length is undetermined
    /// because another axis is 0.
    #[track_caller]
    pub fn reshape_infer(&self, dims: &[isize]) -> Tensor {
        let fail = |problem: String| ShapeError::new(problem).operand("x", self.shape());
        let inferred = dims.iter().filter(|&&d| d == -1).count();
        if let Some(bad) = dims.iter().find(|&&d| d < -1) {
            refuse("reshape_infer", fail(format!("an axis of {dims:?} is {bad}")));
        }
        if inferred > 1 {
            refuse("reshape_infer", fail(format!("{inferred} axes of {dims:?} are -1, expected at most 1")));
        }
        let known = Shape::new(&dims.iter().map(|&d| if d == -1 { 1 } else { d as usize }).collect::<Vec<_>>());
        if inferred == 0 {
            return self.reshape(known);
        }
        if known.contains(&0) {
            let problem = format!("the length of -1 in {dims:?} is undetermined beside an axis of 0");
            refuse("reshape_infer", fail(problem));
        }
        if !self.len().is_multiple_of(known.len()) {
            let problem = format!("{} elements do not fill {dims:?} evenly", self.len());
            refuse("reshape_infer", fail(problem));
        }
        let at = dims.iter().position(|&d| d == -1).expect("counted above");
        self.reshape(known.with(at, self.len() / known.len()))
    }

    /// The axes from `start` to `end` (both included) as one: `(N, H, W, C).flatten(1, -1)` is `(N, H*W*C)`. A scalar
    /// becomes one axis of length 1.
    ///
    /// # Panics
    /// When an axis is out of range or `start` lies behind `end`.
    #[track_caller]
    pub fn flatten(&self, start: isize, end: isize) -> Tensor {
        if self.rank() == 0 && [start, end].iter().all(|a| [0, -1].contains(a)) {
            return self.reshape([1]);
        }
        let (first, last) = (axis_of("flatten", self, start), axis_of("flatten", self, end));
        if first > last {
            let problem = format!("axis {start} lies behind axis {end}");
            refuse("flatten", ShapeError::new(problem).operand("x", self.shape()));
        }
        let (outer, rest) = self.shape().split_at(first);
        let (flat, inner) = rest.split_at(last - first + 1);
        self.reshape(&[outer, &[flat.iter().product()], inner].concat())
    }

    /// Two axes in each other's place. A view.
    ///
    /// # Panics
    /// When an axis is out of range.
    #[track_caller]
    pub fn swap_axes(&self, a: isize, b: isize) -> Tensor {
        let (a, b) = (axis_of("swap_axes", self, a), axis_of("swap_axes", self, b));
        let mut order: Vec<isize> = (0..self.rank() as isize).collect();
        order.swap(a, b);
        self.permute(&order)
    }

    /// Axis `from` at position `to`, the others in their order: `(N, C, H, W).move_axis(1, -1)` is `(N, H, W, C)`. A view.
    ///
    /// # Panics
    /// When an axis is out of range.
    #[track_caller]
    pub fn move_axis(&self, from: isize, to: isize) -> Tensor {
        let (from, to) = (axis_of("move_axis", self, from), axis_of("move_axis", self, to));
        let mut order: Vec<isize> = (0..self.rank() as isize).collect();
        let axis = order.remove(from);
        order.insert(to, axis);
        self.permute(&order)
    }

    /// Adds an axis of length 1 at position `axis` of the result; negative positions count from the result's end.
    ///
    /// # Panics
    /// When the position is past the end.
    #[track_caller]
    pub fn unsqueeze(&self, axis: isize) -> Tensor {
        self.with_new_axes("unsqueeze", &[axis])
    }

    /// Adds axes of length 1 at positions of the result, in any order; negative ones count from the result's end.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::zeros([2, 3], &Device::cpu());
    /// assert_eq!(x.unsqueeze_axes(&[0, -1]).shape()[..], [1, 2, 3, 1]);
    /// ```
    ///
    /// # Panics
    /// When a position is past the end or named twice, or there would be more than [`crate::MAX_RANK`] axes.
    #[track_caller]
    pub fn unsqueeze_axes(&self, axes: &[isize]) -> Tensor {
        self.with_new_axes("unsqueeze_axes", axes)
    }

    #[track_caller]
    fn with_new_axes(&self, op: &str, axes: &[isize]) -> Tensor {
        let new = named_axes(op, self, axes, self.rank() + axes.len());
        let mut old = self.shape().iter();
        let dims: Vec<usize> =
            new.iter().map(|&new| if new { 1 } else { *old.next().expect("as many as the shape has") }).collect();
        self.reshape(&dims)
    }

    /// Removes an axis of length 1.
    ///
    /// # Panics
    /// When its length is not 1.
    #[track_caller]
    pub fn squeeze(&self, axis: isize) -> Tensor {
        self.without_axes("squeeze", &[axis])
    }

    /// Removes axes of length 1.
    ///
    /// # Panics
    /// When one is out of range, named twice, or not of length 1.
    #[track_caller]
    pub fn squeeze_axes(&self, axes: &[isize]) -> Tensor {
        self.without_axes("squeeze_axes", axes)
    }

    /// Removes every axis of length 1.
    #[track_caller]
    pub fn squeeze_all(&self) -> Tensor {
        self.reshape(&self.shape().iter().copied().filter(|&d| d != 1).collect::<Vec<_>>())
    }

    #[track_caller]
    fn without_axes(&self, op: &str, axes: &[isize]) -> Tensor {
        let gone = named_axes(op, self, axes, self.rank());
        if let Some(axis) = (0..self.rank()).find(|&a| gone[a] && self.shape()[a] != 1) {
            let problem = format!("axis {axis} has length {}, expected 1", self.shape()[axis]);
            refuse(op, ShapeError::new(problem).operand("x", self.shape()));
        }
        let kept = (0..self.rank()).filter(|&a| !gone[a]).map(|a| self.shape()[a]);
        self.reshape(&kept.collect::<Vec<_>>())
    }

    /// Stretched to what this shape and `shape` broadcast to together: unlike in [`Tensor::broadcast_to`], an axis of
    /// `shape` may be 1, or missing, where this one is longer. A view.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::zeros([3, 1], &Device::cpu());
    /// assert_eq!(x.expand([2, 1, 4]).shape()[..], [2, 3, 4]);
    /// ```
    ///
    /// # Panics
    /// When the shapes do not broadcast.
    #[track_caller]
    pub fn expand(&self, shape: impl Into<Shape>) -> Tensor {
        self.broadcast_to(fits("expand", self.shape().broadcast(&shape.into())))
    }
}
