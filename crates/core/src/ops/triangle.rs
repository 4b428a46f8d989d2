//! The part of matrices below or above a diagonal: tril and triu. A choice by a condition between the tensor and zeros, so
//! that what is cut off is 0 even where it was NaN.

use super::movement::refuse;
use crate::shape::ShapeError;
use crate::tensor::Tensor;

/// Keeps the elements whose column lies where `keep` says, compared with their row plus `k`.
#[track_caller]
fn triangle(op: &str, x: &Tensor, k: isize, keep: fn(&Tensor, &Tensor) -> Tensor) -> Tensor {
    let Some([.., rows, columns]) = x.shape().get(x.rank().saturating_sub(2)..).filter(|m| m.len() == 2) else {
        refuse(op, ShapeError::new("the last two axes are the matrix, and there are fewer").operand("x", x.shape()))
    };
    let (rows, columns) = (*rows, *columns);
    let top = i32::MAX as usize;
    if rows > top || columns > top {
        refuse(op, ShapeError::new(format!("a matrix of more than {top} rows or columns")).operand("x", x.shape()));
    }
    // Past the last column and before the first one, all diagonals are alike.
    let diagonal: Vec<i32> =
        (0..rows as isize).map(|row| row.saturating_add(k).clamp(-1, columns as isize) as i32).collect();
    let diagonal = Tensor::new(&diagonal, [rows, 1], x.device());
    let column = Tensor::arange_i32(0, columns as i32, 1, x.device());
    let zero = Tensor::scalar(0.0, x.device()).cast(x.dtype());
    keep(&column, &diagonal).where_cond(x, &zero)
}

impl Tensor {
    /// Matrices `(.., rows, columns)` of any type with zeros above diagonal `k`: 0 is the main one, positive ones lie above
    /// it.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::ones([2, 3], &Device::cpu());
    /// assert_eq!(x.tril(0).to_vec::<f32>().unwrap(), [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// With fewer than two axes.
    #[track_caller]
    pub fn tril(&self, k: isize) -> Tensor {
        triangle("tril", self, k, Tensor::le)
    }

    /// Matrices `(.., rows, columns)` of any type with zeros below diagonal `k`.
    ///
    /// # Panics
    /// With fewer than two axes.
    #[track_caller]
    pub fn triu(&self, k: isize) -> Tensor {
        triangle("triu", self, k, Tensor::ge)
    }
}
