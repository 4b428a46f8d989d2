//! Losses of values and of probabilities, and what is made of the losses of all elements.
//!
//! ```text
//! mse                (x - t)^2
//! l1                 |x - t|
//! huber              (x - t)^2 / 2 up to a distance of delta, and delta * (|x - t| - delta / 2) from there on
//! smooth_l1          huber / delta
//! bce                -(t * log x + (1 - t) * log(1 - x))
//! bce_with_logits    the same of sigmoid(x), without its rounding
//! kl_div             t * (log t - x), where x is a log-probability
//! ```
//!
//! All are tensor algebra. Losses of classes are in `cross_entropy.rs` and `nll_loss.rs`.

use super::norm::check_broadcast;
use crate::dtype::DType;
use crate::op::fits;
use crate::shape::{Shape, ShapeError};
use crate::tensor::Tensor;

/// What is made of the losses of all elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Each loss by itself.
    None,
    /// The mean, of rank 0; NaN where there are none.
    #[default]
    Mean,
    /// The sum, of rank 0.
    Sum,
}

pub(super) fn reduced(loss: Tensor, reduction: Reduction) -> Tensor {
    match reduction {
        Reduction::None => loss,
        Reduction::Mean => loss.mean(),
        Reduction::Sum => loss.sum(),
    }
}

/// Refuses targets of another shape, and anything that is not `f32`.
fn check(x: &Tensor, target: &Tensor) -> Result<(), ShapeError> {
    let error =
        |problem: String| Err(ShapeError::new(problem).operand("x", x.shape()).operand("target", target.shape()));
    match (x.dtype(), target.dtype()) {
        (DType::F32, DType::F32) if x.shape() == target.shape() => Ok(()),
        (DType::F32, DType::F32) => error("input and target differ in shape".into()),
        (DType::F32, other) => error(format!("target is {other}, expected f32")),
        (other, _) => error(format!("input is {other}, expected f32")),
    }
}

fn check_positive(name: &str, v: f32, x: &Shape) -> Result<(), ShapeError> {
    if v > 0.0 {
        Ok(())
    } else {
        Err(ShapeError::new(format!("{name} is {v}, expected a positive number")).operand("x", x))
    }
}

/// Probabilities are kept this far from 0 and 1 before their logarithm is taken: Keras's epsilon.
const EPSILON: f32 = 1e-7;

/// Huber's loss of differences. With `q` the part of the distance up to delta, it is `q^2 / 2 + delta * (|d| - q)`.
fn huber(d: &Tensor, delta: f32) -> Tensor {
    let distance = d.abs();
    let near = distance.clip(0.0, delta);
    let far = distance.sub(&near);
    near.mul(&near).affine(0.5, 0.0).add(&far.affine(delta, 0.0))
}

impl Tensor {
    /// Squared differences from a target of the same shape.
    ///
    /// ```
    /// use tilegrad_core::{Device, Reduction, Tensor};
    /// let d = Device::cpu();
    /// let (x, t) = (Tensor::new(&[1.0, 2.0], [2], &d), Tensor::new(&[1.0, 5.0], [2], &d));
    /// assert_eq!(x.mse_loss(&t, Reduction::Mean).item().unwrap(), 4.5);
    /// ```
    ///
    /// # Panics
    /// When the shapes differ.
    #[track_caller]
    pub fn mse_loss(&self, target: &Tensor, reduction: Reduction) -> Tensor {
        fits("mse_loss", check(self, target));
        let d = self.sub(target);
        reduced(d.mul(&d), reduction)
    }

    /// Distances from a target of the same shape. The derivative at 0 is 0.
    ///
    /// # Panics
    /// When the shapes differ.
    #[track_caller]
    pub fn l1_loss(&self, target: &Tensor, reduction: Reduction) -> Tensor {
        fits("l1_loss", check(self, target));
        reduced(self.sub(target).abs(), reduction)
    }

    /// Half the squared difference up to a distance of `delta`, and a line from there on (Huber 1964): the form of Keras,
    /// JAX and PyTorch's `huber_loss`.
    ///
    /// ```
    /// use tilegrad_core::{Device, Reduction, Tensor};
    /// let d = Device::cpu();
    /// let (x, t) = (Tensor::new(&[1.0, 2.0], [2], &d), Tensor::new(&[2.0, 5.0], [2], &d));
    /// assert_eq!(x.huber_loss(&t, 1.0, Reduction::None).to_vec::<f32>().unwrap(), [0.5, 2.5]);
    /// ```
    ///
    /// # Panics
    /// When the shapes differ or delta is not positive.
    #[track_caller]
    pub fn huber_loss(&self, target: &Tensor, delta: f32, reduction: Reduction) -> Tensor {
        fits("huber_loss", check(self, target));
        fits("huber_loss", check_positive("delta", delta, self.shape()));
        reduced(huber(&self.sub(target), delta), reduction)
    }

    /// [`Tensor::huber_loss`] divided by its delta, here `beta`, so that the line has slope 1 (Girshick 2015).
    ///
    /// # Panics
    /// When the shapes differ or beta is not positive.
    #[track_caller]
    pub fn smooth_l1_loss(&self, target: &Tensor, beta: f32, reduction: Reduction) -> Tensor {
        fits("smooth_l1_loss", check(self, target));
        fits("smooth_l1_loss", check_positive("beta", beta, self.shape()));
        reduced(huber(&self.sub(target), beta).affine(1.0 / beta, 0.0), reduction)
    }

    /// Cross-entropy of probabilities of yes-or-no answers. As in Keras, a probability is limited to 1e-7 from 0 and 1
    /// first, so that the loss is at most 16.2, and has no gradient beyond. [`Tensor::bce_with_logits_loss`] has neither
    /// limit.
    ///
    /// # Panics
    /// When the shapes differ.
    #[track_caller]
    pub fn bce_loss(&self, target: &Tensor, reduction: Reduction) -> Tensor {
        fits("bce_loss", check(self, target));
        let p = self.clip(EPSILON, 1.0 - EPSILON);
        let no = target.affine(-1.0, 1.0).mul(&p.affine(-1.0, 1.0).log());
        reduced(target.mul(&p.log()).add(&no).neg(), reduction)
    }

    /// Cross-entropy of yes-or-no answers from logits, the sigmoid's input: `t * log(1 + e^-x) + (1 - t) * log(1 + e^x)`,
    /// which neither overflows nor cancels. `pos_weight`, which broadcasts to the input, multiplies the first term.
    ///
    /// ```
    /// use tilegrad_core::{Device, Reduction, Tensor};
    /// let d = Device::cpu();
    /// let (x, t) = (Tensor::new(&[0.0, 1e4], [2], &d), Tensor::new(&[1.0, 0.0], [2], &d));
    /// let loss = x.bce_with_logits_loss(&t, None, Reduction::None);
    /// assert_eq!(loss.to_vec::<f32>().unwrap(), [2f32.ln(), 1e4]);
    /// ```
    ///
    /// # Panics
    /// When the shapes differ, or `pos_weight` does not broadcast to the input.
    #[track_caller]
    pub fn bce_with_logits_loss(&self, target: &Tensor, pos_weight: Option<&Tensor>, reduction: Reduction) -> Tensor {
        fits("bce_with_logits_loss", check(self, target));
        fits("bce_with_logits_loss", check_broadcast(self, "(C)", &[("pos_weight", pos_weight)]));
        let yes = target.mul(&self.neg().softplus());
        let yes = pos_weight.map_or(yes.clone(), |w| yes.mul(w));
        let no = target.affine(-1.0, 1.0).mul(&self.softplus());
        reduced(yes.add(&no), reduction)
    }

    /// The divergence of a target distribution from this one, which is given as log-probabilities: `t * (log t - x)`, which
    /// is 0 where `t` is (Kullback and Leibler 1951). The mean is over all elements, as PyTorch's; for that of the
    /// distributions, sum over the last axis and take the mean of the rest.
    ///
    /// ```
    /// use tilegrad_core::{Device, Reduction, Tensor};
    /// let d = Device::cpu();
    /// let (p, t) = (Tensor::new(&[0.5, 0.5], [2], &d), Tensor::new(&[0.0, 1.0], [2], &d));
    /// assert_eq!(p.log().kl_div_loss(&t, Reduction::Sum).item().unwrap(), 2f32.ln());
    /// ```
    ///
    /// # Panics
    /// When the shapes differ.
    #[track_caller]
    pub fn kl_div_loss(&self, target: &Tensor, reduction: Reduction) -> Tensor {
        fits("kl_div_loss", check(self, target));
        let [zero, one] = [0.0, 1.0].map(|v| Tensor::scalar(v, self.device()));
        let empty = target.eq(&zero);
        // Where t is 0, neither logarithm is looked at: both may be minus infinity.
        let difference = empty.where_cond(&one, target).log().sub(&empty.where_cond(&zero, self));
        reduced(target.mul(&difference), reduction)
    }
}
