//! Local response normalisation over neighbouring channels (Krizhevsky et al. 2012), as ONNX defines it:
//! `y = x / (bias + alpha / size * sum)^beta`, where the sum is of the squares of `size` channels around each.

use super::norm::check;
use crate::op::fits;
use crate::shape::ShapeError;
use crate::tensor::Tensor;

/// The constants of [`Tensor::local_response_norm`]. The default is ONNX's, with a window of 5 channels.
///
/// TensorFlow's `depth_radius` is `(size - 1) / 2`, and its `alpha` is this one divided by `size`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalResponseNormOptions {
    /// Channels in the window: `(size - 1) / 2` before the channel, rounded down, and as many after it, rounded up.
    pub size: usize,
    /// Weight of the mean of squares.
    pub alpha: f32,
    /// The exponent.
    pub beta: f32,
    /// Keeps the divisor from 0.
    pub bias: f32,
}

impl Default for LocalResponseNormOptions {
    fn default() -> Self {
        LocalResponseNormOptions { size: 5, alpha: 1e-4, beta: 0.75, bias: 1.0 }
    }
}

impl Tensor {
    /// Each number of `(.., C)` divided by a power of the mean square of its neighbours along the last axis. Channels past
    /// either end count as 0.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// use tilegrad_core::ops::local_response_norm::LocalResponseNormOptions;
    /// let x = Tensor::new(&[1.0, 1.0, 2.0], [1, 3], &Device::cpu());
    /// let options = LocalResponseNormOptions { size: 3, alpha: 3.0, beta: 1.0, bias: 0.0 };
    /// assert_eq!(x.local_response_norm(&options).to_vec::<f32>().unwrap(), [1.0 / 2.0, 1.0 / 6.0, 2.0 / 5.0]);
    /// ```
    ///
    /// # Panics
    /// When the input has no axis, or `size` is 0.
    #[track_caller]
    pub fn local_response_norm(&self, options: &LocalResponseNormOptions) -> Tensor {
        let &LocalResponseNormOptions { size, alpha, beta, bias } = options;
        fits("local_response_norm", check(self, 0.0));
        let Some(&c) = self.shape().last() else {
            let error = ShapeError::new("a scalar has no channels").operand("x", self.shape());
            panic!("{}", error.of("local_response_norm"));
        };
        if size == 0 {
            let error = ShapeError::new("a window of 0 channels has no sum").operand("x", self.shape());
            panic!("{}", error.of("local_response_norm"));
        }
        if self.len() == 0 {
            return self.clone();
        }
        // Further than all channels there are only zeros.
        let (before, after) = (((size - 1) / 2).min(c - 1), (size / 2).min(c - 1));
        let mut widths = vec![(0, 0); self.rank() - 1];
        widths.push((before, after));
        let padded = self.mul(self).pad(&widths, 0.0);
        let shifted = |by: usize| padded.slice_axis(-1, by..by + c);
        let sum = (1..=before + after).fold(shifted(0), |sum, by| sum.add(&shifted(by)));
        self.div(&sum.affine(alpha / size as f32, bias).powf(beta))
    }
}
