//! Norms, variances and sums of exponentials over any axes, composed of the reductions of `reduce.rs`: both backends and
//! derivatives of any order that their parts have come with it.
//!
//! Results are right where a formula by itself would overflow: what is squared or exponentiated is scaled or shifted first,
//! by a constant that the result does not depend on, so that no gradient flows through it.

use super::reduce::count;
use crate::tensor::Tensor;

/// The bounds of what vectors are divided by before they are squared, 2^-120 and 2^120: within them neither a number nor its
/// reciprocal is subnormal, and no square of a quotient overflows.
const SCALES: (f32, f32) = (7.523_164e-37, 1.329_228e36);

/// The largest elements over some axes, brought within bounds; a constant to the tape.
#[track_caller]
fn bounded_max(x: &Tensor, axes: &[isize], bounds: (f32, f32)) -> Tensor {
    x.detach().max_axes(axes, true).clip(bounds.0, bounds.1)
}

/// Without the axes of length 1 that a reduction over `axes` kept.
fn drop_axes(y: &Tensor, x: &Tensor, axes: &[isize]) -> Tensor {
    let rank = x.rank() as isize;
    let gone = |a: usize| axes.iter().any(|&axis| axis.rem_euclid(rank) as usize == a);
    y.reshape(&(0..x.rank()).filter(|&a| !gone(a)).map(|a| x.shape()[a]).collect::<Vec<_>>())
}

impl Tensor {
    /// Sums of squares over some axes.
    ///
    /// # Panics
    /// When an axis is out of range or named twice, here and in the other methods of this block.
    #[track_caller]
    pub fn sum_square_axes(&self, axes: &[isize], keepdims: bool) -> Tensor {
        count("sum_square", self, axes);
        self.mul(self).sum_axes(axes, keepdims)
    }

    /// The sum of the squares of all elements, of rank 0.
    #[track_caller]
    pub fn sum_square(&self) -> Tensor {
        self.sum_square_axes(&self.all_axes(), false)
    }

    /// Sums of absolute values over some axes. The gradient at 0 is 0.
    #[track_caller]
    pub fn l1_norm_axes(&self, axes: &[isize], keepdims: bool) -> Tensor {
        count("l1_norm", self, axes);
        self.abs().sum_axes(axes, keepdims)
    }

    /// The sum of all absolute values, of rank 0.
    #[track_caller]
    pub fn l1_norm(&self) -> Tensor {
        self.l1_norm_axes(&self.all_axes(), false)
    }

    /// Euclidean lengths `sqrt(sum(x^2))` over some axes. No square overflows or vanishes, and the gradient of a vector of
    /// zeros is 0.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[3e30, 4e30, 0.0, 0.0], [2, 2], &Device::cpu());
    /// assert_eq!(x.l2_norm_axes(&[1], false).to_vec::<f32>().unwrap(), [5e30, 0.0]);
    /// ```
    #[track_caller]
    pub fn l2_norm_axes(&self, axes: &[isize], keepdims: bool) -> Tensor {
        if count("l2_norm", self, axes) == 0 {
            return self.sum_axes(axes, keepdims);
        }
        let scale = bounded_max(&self.abs(), axes, SCALES);
        let scaled = self.div(&scale);
        // Squares sum to 1 at least unless all elements are 0 or nearly so; then the root times the scale rounds to 0, and
        // no gradient passes the clip.
        let squares = scaled.mul(&scaled).sum_axes(axes, true).clip(1e-30, f32::INFINITY);
        let y = squares.sqrt().mul(&scale);
        if keepdims { y } else { drop_axes(&y, self, axes) }
    }

    /// The Euclidean length of all elements, of rank 0.
    #[track_caller]
    pub fn l2_norm(&self) -> Tensor {
        self.l2_norm_axes(&self.all_axes(), false)
    }

    /// `log(sum(e^x))` over some axes, right for elements of any size. Minus infinity where all elements are, or where there
    /// are none.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[1e4, 1e4], [2], &Device::cpu());
    /// assert_eq!(x.logsumexp().item().unwrap(), 1e4 + std::f32::consts::LN_2);
    /// ```
    #[track_caller]
    pub fn logsumexp_axes(&self, axes: &[isize], keepdims: bool) -> Tensor {
        if count("logsumexp", self, axes) == 0 {
            return self.sum_axes(axes, keepdims).log();
        }
        // An infinite element stays infinite after a finite shift.
        let shift = bounded_max(self, axes, (f32::MIN, f32::MAX));
        let y = self.sub(&shift).exp().sum_axes(axes, true).log().add(&shift);
        if keepdims { y } else { drop_axes(&y, self, axes) }
    }

    /// `log(sum(e^x))` over all elements, of rank 0.
    #[track_caller]
    pub fn logsumexp(&self) -> Tensor {
        self.logsumexp_axes(&self.all_axes(), false)
    }

    /// Variances over some axes: the squared distances from the mean, summed and divided by the number of elements less
    /// `ddof`. With `ddof` 1 it is the estimate from a sample. As numpy's: NaN or infinite where nothing is left to divide by.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[1.0, 3.0, 1.0, 3.0], [4], &Device::cpu());
    /// assert_eq!(x.var(0).item().unwrap(), 1.0);
    /// ```
    #[track_caller]
    pub fn var_axes(&self, axes: &[isize], keepdims: bool, ddof: usize) -> Tensor {
        let n = count("var", self, axes);
        let from_mean = self.sub(&self.mean_axes(axes, true));
        let squares = from_mean.mul(&from_mean).sum_axes(axes, keepdims);
        squares.affine(1.0 / n.saturating_sub(ddof) as f32, 0.0)
    }

    /// The variance of all elements, of rank 0.
    #[track_caller]
    pub fn var(&self, ddof: usize) -> Tensor {
        self.var_axes(&self.all_axes(), false, ddof)
    }

    /// Standard deviations over some axes, the roots of [`Tensor::var_axes`]. The gradient where all elements are equal is 0.
    #[track_caller]
    pub fn std_axes(&self, axes: &[isize], keepdims: bool, ddof: usize) -> Tensor {
        let n = count("std", self, axes);
        let from_mean = self.sub(&self.mean_axes(axes, true));
        from_mean.l2_norm_axes(axes, keepdims).affine(1.0 / (n.saturating_sub(ddof) as f32).sqrt(), 0.0)
    }

    /// The standard deviation of all elements, of rank 0.
    #[track_caller]
    pub fn std(&self, ddof: usize) -> Tensor {
        self.std_axes(&self.all_axes(), false, ddof)
    }
}
