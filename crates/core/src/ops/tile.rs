//! Repeated elements: tile and repeat_interleave. A view that repeats an axis of length 1, and a reshape that copies it.

use super::movement::axis_of;
use crate::shape::Shape;
use crate::tensor::Tensor;

impl Tensor {
    /// The whole tensor repeated along each axis, as numpy's `tile`: with fewer `repeats` than axes they belong to the last
    /// axes, with more the tensor gets axes of length 1 in front. No repeats give an empty tensor.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[1.0, 2.0], [2], &Device::cpu());
    /// let y = x.tile(&[2, 2]);
    /// assert_eq!(y.shape()[..], [2, 4]);
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// When the result has too many axes or elements.
    #[track_caller]
    pub fn tile(&self, repeats: &[usize]) -> Tensor {
        let rank = self.rank().max(repeats.len());
        let dims: Vec<usize> = [&vec![1; rank - self.rank()][..], self.shape()].concat();
        let repeats: Vec<usize> = [&vec![1; rank - repeats.len()][..], repeats].concat();
        let whole = repeated(&dims, &repeats);
        let mut y = self.reshape(&dims);
        // From the last axis on, so that what is copied twice is the smaller one.
        for axis in (0..rank).rev().filter(|&a| repeats[a] != 1) {
            let (outer, inner) = (y.shape()[..axis].iter().product(), y.shape()[axis..].iter().product());
            let next = y.shape().with(axis, whole[axis]);
            y = y.reshape([outer, 1, inner]).broadcast_to([outer, repeats[axis], inner]).reshape(next);
        }
        y
    }

    /// Each element of an axis repeated in place: `[a, b]` twice is `[a, a, b, b]`.
    ///
    /// # Panics
    /// When the axis is out of range or the result has too many elements.
    #[track_caller]
    pub fn repeat_interleave(&self, repeats: usize, axis: isize) -> Tensor {
        let axis = axis_of("repeat_interleave", self, axis);
        let (outer, inner) = (self.shape()[..=axis].iter().product(), self.shape()[axis + 1..].iter().product());
        let mut times = vec![1; self.rank()];
        times[axis] = repeats;
        let whole = repeated(self.shape(), &times);
        self.reshape([outer, 1, inner]).broadcast_to([outer, repeats, inner]).reshape(whole)
    }
}

/// The shape `dims * repeats`; what can't be counted makes none.
#[track_caller]
fn repeated(dims: &[usize], repeats: &[usize]) -> Shape {
    Shape::new(&dims.iter().zip(repeats).map(|(d, r)| d.saturating_mul(*r)).collect::<Vec<_>>())
}
