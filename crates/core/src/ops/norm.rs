//! Normalisation by a tensor's own mean and variance: over its last axes, over groups of channels, over each image.
//!
//! ```text
//! layer_norm      (x - mean) / sqrt(variance + epsilon) * gamma + beta   over all axes from one on (Ba et al. 2016)
//! group_norm      the same over the image and a group of channels        (Wu and He 2018)
//! instance_norm   the same over the image, for each channel              (Ulyanov et al. 2016)
//! rms_norm        x / sqrt(mean(x^2) + epsilon) * gamma                  (Zhang and Sennrich 2019)
//! lp_normalize    x / (sum |x|^p)^(1/p)                                  along an axis
//! ```
//!
//! All are tensor algebra, so that derivatives of every order come with it. The variance is that of the centred values, in
//! two passes: the mean of squares minus the square of the mean would lose all digits of a small spread around a large
//! mean. Local response normalisation is in `local_response_norm.rs`, batch normalisation in `batch_norm.rs`.

use super::axes::named_axes;
use super::movement::axis_of;
use crate::dtype::DType;
use crate::op::fits;
use crate::shape::{Shape, ShapeError};
use crate::tape::no_grad;
use crate::tensor::Tensor;

/// A tensor centred over some axes, and how it was.
pub(super) struct Centred {
    /// `x - mean`.
    pub(super) x: Tensor,
    /// The mean, with the axes kept at length 1.
    pub(super) mean: Tensor,
    /// `1 / sqrt(variance + epsilon)` with the biased variance, of the mean's shape.
    pub(super) inverse: Tensor,
}

impl Centred {
    pub(super) fn over(x: &Tensor, axes: &[isize], epsilon: f32) -> Centred {
        // A rounded mean is a constant shift; what it is off by is the mean of what is left. So a large mean costs the
        // centred values no digits.
        let shift = no_grad(|| x.detach().mean_axes(axes, true));
        let shifted = x.sub(&shift);
        let rest = shifted.mean_axes(axes, true);
        let centred = shifted.sub(&rest);
        let inverse = inverse_root(&centred.mul(&centred).mean_axes(axes, true), epsilon);
        Centred { x: centred, mean: shift.add(&rest), inverse }
    }

    /// The normalised tensor.
    pub(super) fn normal(&self) -> Tensor {
        self.x.mul(&self.inverse)
    }
}

fn inverse_root(square: &Tensor, epsilon: f32) -> Tensor {
    square.affine(1.0, epsilon).sqrt().reciprocal()
}

/// Refuses what no normalisation takes: other element types, and an epsilon whose root is not a number.
pub(super) fn check(x: &Tensor, epsilon: f32) -> Result<(), ShapeError> {
    if x.dtype() != DType::F32 {
        return Err(ShapeError::new(format!("x is {}, expected f32", x.dtype())).operand("x", x.shape()));
    }
    if epsilon >= 0.0 {
        return Ok(());
    }
    Err(ShapeError::new(format!("epsilon is {epsilon}, expected a number that is not negative"))
        .operand("x", x.shape()))
}

/// `x * gamma + beta`, where there are any.
fn scaled(x: Tensor, gamma: Option<&Tensor>, beta: Option<&Tensor>) -> Tensor {
    let x = gamma.map_or(x.clone(), |gamma| x.mul(gamma));
    beta.map_or(x.clone(), |beta| x.add(beta))
}

/// The usual shape of layer normalisation's parameters.
const NORMALISED: &str = "of the normalised axes";

/// Refuses a parameter that is not `f32`, does not broadcast to `x`, or is wider. `usual` is the shape that parameters
/// usually have.
pub(super) fn check_broadcast(
    x: &Tensor,
    usual: &str,
    parameters: &[(&str, Option<&Tensor>)],
) -> Result<(), ShapeError> {
    for (name, parameter) in parameters {
        let Some(t) = parameter else { continue };
        let error = |problem: String| ShapeError::new(problem).operand("x", x.shape()).operand(name, t.shape());
        if t.dtype() != DType::F32 {
            return Err(error(format!("{name} is {}, expected f32", t.dtype())));
        }
        if x.shape().broadcast(t.shape()) != Ok(*x.shape()) {
            let error = error(format!("{name} does not broadcast to the input"));
            return Err(error.help(format!("{name} usually has the shape {usual}")));
        }
    }
    Ok(())
}

/// Refuses an input without a batch axis and a channel axis, and a gamma or beta that is not one number a channel.
fn check_channels(
    x: &Tensor,
    least_rank: usize,
    expected: &str,
    parameters: &[(&str, Option<&Tensor>)],
) -> Result<(), ShapeError> {
    let rank = x.rank();
    if rank < least_rank {
        return Err(ShapeError::new(format!("input has {rank} axes, expected {expected}")).operand("x", x.shape()));
    }
    let c = x.shape()[rank - 1];
    for (name, parameter) in parameters {
        let Some(t) = parameter else { continue };
        let error = |problem| ShapeError::new(problem).operand_axis("x", x.shape(), rank - 1).operand(name, t.shape());
        if t.dtype() != DType::F32 {
            return Err(error(format!("{name} is {}, expected f32", t.dtype())));
        }
        if t.shape().dims() != [c] {
            let error = error(format!("{name} must be one number a channel, [{c}]"));
            return Err(error.help("channels are the last axis"));
        }
    }
    Ok(())
}

fn axes_from(axis: usize, x: &Tensor) -> Vec<isize> {
    (axis as isize..x.rank() as isize).collect()
}

impl Tensor {
    /// Layer normalisation over all axes from `axis` on: `(x - mean) / sqrt(variance + epsilon) * gamma + beta`, with the
    /// biased variance. `gamma` and `beta` usually have the shape of those axes; whatever broadcasts to the input will do.
    ///
    /// With an epsilon of 0, values that are all equal give NaN.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let x = Tensor::new(&[1.0, 3.0, 10.0, 20.0], [2, 2], &d);
    /// let y = x.layer_norm(-1, Some(&Tensor::full(2.0, [2], &d)), None, 0.0);
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [-2.0, 2.0, -2.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// When the axis is out of range, `gamma` or `beta` does not broadcast to the input, or epsilon is negative.
    #[track_caller]
    pub fn layer_norm(&self, axis: isize, gamma: Option<&Tensor>, beta: Option<&Tensor>, epsilon: f32) -> Tensor {
        self.layer_norm_with_statistics(axis, gamma, beta, epsilon).0
    }

    /// [`Tensor::layer_norm`], with the mean and with `1 / sqrt(variance + epsilon)`. Both keep the normalised axes, with
    /// length 1, and carry gradients.
    ///
    /// # Panics
    /// As [`Tensor::layer_norm`].
    #[track_caller]
    pub fn layer_norm_with_statistics(
        &self,
        axis: isize,
        gamma: Option<&Tensor>,
        beta: Option<&Tensor>,
        epsilon: f32,
    ) -> (Tensor, Tensor, Tensor) {
        let from = axis_of("layer_norm", self, axis);
        fits("layer_norm", check(self, epsilon));
        fits("layer_norm", check_broadcast(self, NORMALISED, &[("gamma", gamma), ("beta", beta)]));
        let centred = Centred::over(self, &axes_from(from, self), epsilon);
        (scaled(centred.normal(), gamma, beta), centred.mean, centred.inverse)
    }

    /// `x / sqrt(mean(x^2) + epsilon) * gamma` over all axes from `axis` on.
    ///
    /// # Panics
    /// When the axis is out of range, `gamma` does not broadcast to the input, or epsilon is negative.
    #[track_caller]
    pub fn rms_norm(&self, axis: isize, gamma: Option<&Tensor>, epsilon: f32) -> Tensor {
        let from = axis_of("rms_norm", self, axis);
        fits("rms_norm", check(self, epsilon));
        fits("rms_norm", check_broadcast(self, NORMALISED, &[("gamma", gamma)]));
        let square = self.mul(self).mean_axes(&axes_from(from, self), true);
        scaled(self.mul(&inverse_root(&square, epsilon)), gamma, None)
    }

    /// Each example of `(N, .., C)` normalised over the axes between and over each of `groups` groups of neighbouring
    /// channels, times `gamma` plus `beta`, `(C)` each. One group is layer normalisation of the whole example.
    ///
    /// # Panics
    /// With fewer than two axes, when the groups don't divide the channels, `gamma` or `beta` is not one number a channel, or
    /// epsilon is negative.
    #[track_caller]
    pub fn group_norm(&self, groups: usize, gamma: Option<&Tensor>, beta: Option<&Tensor>, epsilon: f32) -> Tensor {
        fits("group_norm", check(self, epsilon));
        fits("group_norm", check_channels(self, 2, "at least 2: (N, .., C)", &[("gamma", gamma), ("beta", beta)]));
        let (rank, shape) = (self.rank(), self.shape());
        let c = shape[rank - 1];
        if groups == 0 || c % groups != 0 {
            let error = ShapeError::new(format!("{groups} groups do not divide {c} channels evenly"));
            panic!("{}", error.operand_axis("x", shape, rank - 1).of("group_norm"));
        }
        let image: usize = shape[1..rank - 1].iter().product();
        let grouped = self.reshape([shape[0], image, groups, c / groups]);
        scaled(Centred::over(&grouped, &[1, 3], epsilon).normal().reshape(shape), gamma, beta)
    }

    /// Each example and channel of `(N, .., C)` normalised over the axes between, times `gamma` plus `beta`, `(C)` each.
    ///
    /// # Panics
    /// With fewer than three axes, when `gamma` or `beta` is not one number a channel, or epsilon is negative.
    #[track_caller]
    pub fn instance_norm(&self, gamma: Option<&Tensor>, beta: Option<&Tensor>, epsilon: f32) -> Tensor {
        fits("instance_norm", check(self, epsilon));
        fits("instance_norm", check_channels(self, 3, "at least 3: (N, .., C)", &[("gamma", gamma), ("beta", beta)]));
        let axes: Vec<isize> = (1..self.rank() as isize - 1).collect();
        scaled(Centred::over(self, &axes, epsilon).normal(), gamma, beta)
    }

    /// `(x - mean) / sqrt(variance + epsilon)` over any axes, with the biased variance.
    ///
    /// # Panics
    /// When an axis is out of range or named twice, or epsilon is negative.
    #[track_caller]
    pub fn mean_variance_norm(&self, axes: &[isize], epsilon: f32) -> Tensor {
        fits("mean_variance_norm", check(self, epsilon));
        named_axes("mean_variance_norm", self, axes, self.rank());
        Centred::over(self, axes, epsilon).normal()
    }

    /// The vectors along an axis divided by their length `(sum |x|^p)^(1/p)`, for any positive `p`; with `p` infinite, by
    /// their largest element's magnitude. A vector of zeros stays zeros and has gradient 0. No intermediate result
    /// overflows.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[3e30, 4e30, 0.0, 0.0], [2, 2], &Device::cpu());
    /// let y = x.lp_normalize(-1, 2.0).to_vec::<f32>().unwrap();
    /// assert!((y[0] - 0.6).abs() < 1e-6 && (y[1] - 0.8).abs() < 1e-6 && y[2..] == [0.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// When the axis is out of range or `p` is not positive.
    #[track_caller]
    pub fn lp_normalize(&self, axis: isize, p: f32) -> Tensor {
        let axis = axis_of("lp_normalize", self, axis);
        fits("lp_normalize", check(self, 0.0));
        if p.is_nan() || p <= 0.0 {
            let error = ShapeError::new(format!("p is {p}, expected a positive number")).operand("x", self.shape());
            panic!("{}", error.of("lp_normalize"));
        }
        if self.len() == 0 {
            return self.clone();
        }
        let axes = [axis as isize];
        // The result does not depend on the scale, so the scale is a constant to the tape. It is kept where division is
        // exact to a rounding on every adapter.
        let (scale, empty) = no_grad(|| {
            let largest = self.detach().abs().max_axes(&axes, true);
            let empty = largest.eq(&Tensor::scalar(0.0, self.device())).cast(DType::F32);
            (largest.clip(1e-37, 1e37).mul(&empty.affine(-1.0, 1.0)).add(&empty), empty)
        });
        let x = self.div(&scale);
        // 1 in place of a length of 0, inside of the root, whose derivative at 0 is infinite.
        let length = match p {
            1.0 => x.abs().sum_axes(&axes, true).add(&empty),
            2.0 => x.mul(&x).sum_axes(&axes, true).add(&empty).sqrt(),
            f32::INFINITY => x.abs().max_axes(&axes, true).add(&empty),
            _ => x.abs().powf(p).sum_axes(&axes, true).add(&empty).powf(1.0 / p),
        };
        x.mul(&empty.affine(-1.0, 1.0).div(&length))
    }
}

/// The axes of a channels-last shape over which batch normalisation takes its statistics: all but the last.
pub(super) fn axes_of_batch(x: &Shape) -> Vec<isize> {
    (0..x.rank() as isize - 1).collect()
}
