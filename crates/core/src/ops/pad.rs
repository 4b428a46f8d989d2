//! Elements added around a tensor: a constant, or the tensor's own elements by numpy's modes. Negative widths crop.
//!
//! The modes are compositions. Along an axis, the added elements are runs of the tensor's own, forwards, backwards or one
//! again and again: slices, flips and stretched slices, which are joined. So every element type and every derivative
//! comes for free.

use super::copy::place;
use super::movement::refuse;
use crate::dtype::DType;
use crate::shape::{MAX_RANK, Shape, ShapeError};
use crate::tensor::Tensor;

/// Where an added element comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    /// `c b | a b c | b a`
    Reflect,
    /// `b a | a b c | c b`
    Symmetric,
    /// `a a | a b c | c c`
    Edge,
    /// `b c | a b c | a b`
    Wrap,
}

impl Extension {
    /// Elements in a run between two turning points of an axis of `n` elements (2 or more), and whether every second run
    /// goes backwards.
    fn runs(self, n: usize) -> (usize, bool) {
        match self {
            Extension::Reflect => (n - 1, true),
            Extension::Symmetric => (n, true),
            Extension::Wrap | Extension::Edge => (n, false),
        }
    }

    /// The runs of elements that stand at `total` positions, the first of which is `before` positions in front of the axis.
    fn walk(self, n: usize, before: usize, total: usize) -> Vec<Run> {
        let (length, turns) = self.runs(n);
        // One period is in front as often as it takes.
        let period = length * (1 + usize::from(turns));
        let mut at = (period - before % period) % period;
        let (mut runs, mut left) = (Vec::new(), total);
        while left > 0 {
            let (run, within) = (at / length, at % length);
            let len = (length - within).min(left);
            let backwards = turns && run % 2 == 1;
            let start = if backwards { n - 1 - within } else { within };
            runs.push(Run { start, len, step: if backwards { -1 } else { 1 } });
            (at, left) = (at + len, left - len);
        }
        runs
    }
}

/// Elements `start, start + step, ..` of an axis, with a step of 1, -1 or 0.
struct Run {
    start: usize,
    len: usize,
    step: isize,
}

impl Run {
    fn take(&self, x: &Tensor, axis: usize) -> Tensor {
        let (at, n) = (axis as isize, self.len);
        match self.step {
            0 => x.slice_axis(at, self.start..self.start + 1).broadcast_to(x.shape().with(axis, n)),
            1 => x.slice_axis(at, self.start..self.start + n),
            _ => x.slice_axis(at, self.start + 1 - n..self.start + 1).flip(&[at]),
        }
    }
}

/// An axis that is extended beyond this many times its length is made of copies of one period.
const MAX_RUNS: usize = 32;

/// The result's shape, and `x` without what negative widths crop, with the widths that are left to add.
#[track_caller]
fn cropped(op: &str, x: &Tensor, widths: &[(isize, isize)]) -> (Shape, Tensor, Vec<(usize, usize)>) {
    let shape = x.shape();
    if widths.len() > x.rank() {
        let problem = format!("{} widths for {} axes", widths.len(), x.rank());
        refuse(op, ShapeError::new(problem).operand("x", shape));
    }
    let (mut dims, mut ranges, mut added) = (shape.to_vec(), Vec::new(), Vec::new());
    for (axis, &(before, after)) in widths.iter().enumerate() {
        let n = shape[axis];
        let crop = |width: isize| if width < 0 { width.unsigned_abs() } else { 0 };
        let (front, back) = (crop(before), crop(after));
        if front.saturating_add(back) > n {
            let problem = format!("widths ({before}, {after}) crop more than axis {axis} has");
            refuse(op, ShapeError::new(problem).operand_axis("x", shape, axis));
        }
        ranges.push(front..n - back);
        let add = |width: isize| width.max(0) as usize;
        added.push((add(before), add(after)));
        // What can't be counted makes no shape.
        dims[axis] = (n - front - back).saturating_add(add(before)).saturating_add(add(after));
    }
    let whole = widths.iter().all(|&(before, after)| before >= 0 && after >= 0);
    (Shape::new(&dims), if whole { x.clone() } else { x.slice(&ranges) }, added)
}

#[track_caller]
fn extended(op: &str, x: &Tensor, widths: &[(isize, isize)], extension: Extension) -> Tensor {
    let (shape, mut y, added) = cropped(op, x, widths);
    for (axis, &(before, after)) in added.iter().enumerate().filter(|(_, w)| **w != (0, 0)) {
        let n = y.shape()[axis];
        if n == 0 {
            let problem = format!("axis {axis} has no elements to pad with");
            refuse(op, ShapeError::new(problem).operand_axis("x", x.shape(), axis));
        }
        if shape.contains(&0) {
            continue;
        }
        let join = |runs: &[Run]| {
            let parts: Vec<Tensor> = runs.iter().map(|run| run.take(&y, axis)).collect();
            Tensor::concat(&parts.iter().collect::<Vec<_>>(), axis as isize)
        };
        let total = shape[axis];
        y = if extension == Extension::Edge || n == 1 {
            let one = |start, len| Run { start, len, step: 0 };
            join(&[one(0, before), Run { start: 0, len: n, step: 1 }, one(n - 1, after)])
        } else if total / n < MAX_RUNS {
            join(&extension.walk(n, before, total))
        } else {
            let (length, turns) = extension.runs(n);
            let period = length * (1 + usize::from(turns));
            let mut repeats = vec![1; y.rank()];
            repeats[axis] = total.div_ceil(period);
            join(&extension.walk(n, before, period)).tile(&repeats).slice_axis(axis as isize, 0..total)
        };
    }
    y.reshape(shape)
}

impl Tensor {
    /// `value` added around each axis: `(before, after)` elements. Axes past the end of `widths` get none. For other types
    /// than `f32`, the value is rounded towards 0 and clamped to the type's range.
    ///
    /// # Panics
    /// With more widths than axes, or when the result has too many elements.
    #[track_caller]
    pub fn pad(&self, widths: &[(usize, usize)], value: f32) -> Tensor {
        let signed: Vec<(isize, isize)> = widths.iter().map(|&(a, b)| (signed(a), signed(b))).collect();
        let (shape, _, _) = cropped("pad", self, &signed);
        if self.dtype() == DType::F32 {
            let mut start = [0; MAX_RANK];
            widths.iter().enumerate().for_each(|(axis, &(before, _))| start[axis] = before);
            return place(self, shape, start, [1; MAX_RANK], value);
        }
        self.pad_constant(&signed, &scalar_like(self, value))
    }

    /// The one element of `value` added around each axis: `(before, after)` elements, where a negative number takes away.
    /// Axes past the end of `widths` stay. Differentiable in both.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let x = Tensor::new(&[1i32, 2, 3], [3], &d);
    /// let y = x.pad_constant(&[(2, -1)], &Tensor::new(&[9i32], [1], &d));
    /// assert_eq!(y.to_vec::<i32>().unwrap(), [9, 9, 1, 2]);
    /// ```
    ///
    /// # Panics
    /// With more widths than axes, when an axis has less than is taken away, the result has too many elements, or `value`
    /// is not one element of the tensor's type.
    #[track_caller]
    pub fn pad_constant(&self, widths: &[(isize, isize)], value: &Tensor) -> Tensor {
        if value.len() != 1 {
            let problem = format!("the value has {} elements, expected 1", value.len());
            refuse("pad_constant", ShapeError::new(problem).operand("value", value.shape()));
        }
        if value.dtype() != self.dtype() {
            let problem = format!("the value is {}, the tensor {}", value.dtype(), self.dtype());
            refuse("pad_constant", ShapeError::new(problem));
        }
        let (_, mut y, added) = cropped("pad_constant", self, widths);
        let value = value.reshape(vec![1; y.rank()].as_slice());
        for (axis, &(before, after)) in added.iter().enumerate().filter(|(_, w)| **w != (0, 0)) {
            let part = |len: usize| value.broadcast_to(y.shape().with(axis, len));
            y = Tensor::concat(&[&part(before), &y, &part(after)], axis as isize);
        }
        y
    }

    /// Padded with the tensor mirrored at its first and last elements, which are not repeated: `c b | a b c | b a`.
    /// Negative widths take away first. A width past the axis goes on mirroring.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[1.0, 2.0, 3.0], [3], &Device::cpu());
    /// assert_eq!(x.pad_reflect(&[(2, 1)]).to_vec::<f32>().unwrap(), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// With more widths than axes, when an axis to be extended is empty or has less than is taken away, or the result has
    /// too many elements.
    #[track_caller]
    pub fn pad_reflect(&self, widths: &[(isize, isize)]) -> Tensor {
        extended("pad_reflect", self, widths, Extension::Reflect)
    }

    /// Padded with the tensor mirrored at its edges: `b a | a b c | c b`.
    ///
    /// # Panics
    /// As [`Tensor::pad_reflect`].
    #[track_caller]
    pub fn pad_symmetric(&self, widths: &[(isize, isize)]) -> Tensor {
        extended("pad_symmetric", self, widths, Extension::Symmetric)
    }

    /// Padded with the first and last elements: `a a | a b c | c c`.
    ///
    /// # Panics
    /// As [`Tensor::pad_reflect`].
    #[track_caller]
    pub fn pad_edge(&self, widths: &[(isize, isize)]) -> Tensor {
        extended("pad_edge", self, widths, Extension::Edge)
    }

    /// Padded with the tensor's other end, as if it went round: `b c | a b c | a b`.
    ///
    /// # Panics
    /// As [`Tensor::pad_reflect`].
    #[track_caller]
    pub fn pad_wrap(&self, widths: &[(isize, isize)]) -> Tensor {
        extended("pad_wrap", self, widths, Extension::Wrap)
    }
}

fn signed(width: usize) -> isize {
    isize::try_from(width).unwrap_or(isize::MAX)
}

/// A scalar of the tensor's type.
fn scalar_like(x: &Tensor, value: f32) -> Tensor {
    Tensor::scalar(value, x.device()).cast(x.dtype())
}
