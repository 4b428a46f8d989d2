//! How batch normalisation's running statistics follow those of the batches: the two conventions there are.
//!
//! ```text
//! Keras      running = momentum * running + (1 - momentum) * batch      biased variance, sum / rows
//! PyTorch    running = (1 - momentum) * running + momentum * batch      unbiased variance, sum / (rows - 1)
//! ```
//!
//! Both normalise the batch itself by its biased variance.

use super::batch_norm::update_running;
use crate::op::fits;
use crate::shape::ShapeError;
use crate::tape::no_grad;
use crate::tensor::Tensor;

/// What running statistics become after a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RunningAverage {
    /// Momentum is what stays of the old value, and the batch's variance is stored as it is, biased: Keras (0.99),
    /// TensorFlow and ONNX (0.9).
    Keras {
        /// The part that stays.
        momentum: f32,
    },
    /// Momentum is the part of the new value, and the variance is stored unbiased: PyTorch (0.1).
    PyTorch {
        /// The part that is new.
        momentum: f32,
    },
}

impl Default for RunningAverage {
    /// Keras's.
    fn default() -> Self {
        RunningAverage::Keras { momentum: 0.99 }
    }
}

impl RunningAverage {
    /// Moves running statistics, `(C)` each, in place towards those of a batch of `rows` rows, as [`Tensor::batch_norm`]
    /// gives them. An empty batch has no statistics and moves nothing.
    ///
    /// ```
    /// use tilegrad_core::{Device, RunningAverage, Tensor};
    /// let d = Device::cpu();
    /// let (mean, variance) = (Tensor::zeros([1], &d), Tensor::ones([1], &d));
    /// let batch = (Tensor::full(4.0, [1], &d), Tensor::full(2.0, [1], &d));
    /// RunningAverage::PyTorch { momentum: 0.5 }.update(&mean, &variance, &batch.0, &batch.1, 2);
    /// assert_eq!((mean.item().unwrap(), variance.item().unwrap()), (2.0, 2.5));
    /// ```
    ///
    /// # Panics
    /// When shapes, types or devices differ, or an unbiased variance is asked of one row.
    #[track_caller]
    pub fn update(
        self,
        running_mean: &Tensor,
        running_variance: &Tensor,
        mean: &Tensor,
        variance: &Tensor,
        rows: usize,
    ) {
        if rows == 0 {
            return;
        }
        let (keep, unbiased) = match self {
            RunningAverage::Keras { momentum } => (momentum, 1.0),
            RunningAverage::PyTorch { momentum } => {
                if rows == 1 {
                    let error = ShapeError::new("one row has no unbiased variance, which PyTorch's convention stores")
                        .help("train on batches of more than one value a channel, or use RunningAverage::Keras");
                    panic!("{}", error.of("batch_norm"));
                }
                (1.0 - momentum, (rows as f64 / (rows - 1) as f64) as f32)
            }
        };
        update_running(running_mean, mean, keep);
        update_running(running_variance, &no_grad(|| variance.detach().affine(unbiased, 0.0)), keep);
    }
}

impl Tensor {
    /// [`Tensor::batch_norm`] of a training step: normalises `(.., C)` by the batch's statistics, and moves the running ones,
    /// `(C)` each, in place.
    ///
    /// # Panics
    /// As [`Tensor::batch_norm`] and [`RunningAverage::update`].
    #[track_caller]
    pub fn batch_norm_training(
        &self,
        gamma: &Tensor,
        beta: &Tensor,
        running_mean: &Tensor,
        running_variance: &Tensor,
        epsilon: f32,
        average: RunningAverage,
    ) -> Tensor {
        for (name, t) in [("running_mean", running_mean), ("running_variance", running_variance)] {
            if t.shape() != gamma.shape() {
                let error = ShapeError::new(format!("{name} must be one number a channel, {}", gamma.shape()));
                fits("batch_norm", Err(error.operand("x", self.shape()).operand(name, t.shape())))
            }
        }
        let (y, mean, variance) = self.batch_norm(gamma, beta, epsilon);
        let rows = self.shape()[..self.rank() - 1].iter().product();
        average.update(running_mean, running_variance, &mean, &variance, rows);
        y
    }
}
