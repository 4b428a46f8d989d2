//! The functions of one tensor as methods. Results have the shape of the tensor, which must be `f32` unless a method says
//! otherwise.
//!
//! NaN gives NaN unless a method says otherwise. Where a function is not defined (`log` below 0) the result is NaN too.

use super::integer;
use super::unary::{Unary, unary};
use crate::dtype::DType;
use crate::op::fits;
use crate::shape::ShapeError;
use crate::tensor::Tensor;

impl Tensor {
    /// Applies a function of the table without constants.
    #[track_caller]
    pub fn unary(&self, function: Unary) -> Tensor {
        unary(self, function, 0.0, 0.0)
    }

    /// [`Tensor::unary`], or what integers have in its place.
    #[track_caller]
    fn unary_or(&self, function: Unary, of_integers: fn(&Tensor) -> Tensor) -> Tensor {
        match self.dtype() {
            DType::I32 | DType::U32 | DType::U8 => of_integers(self),
            DType::F32 | DType::F16 | DType::Bool => self.unary(function),
        }
    }

    /// `-x`; of integers too, where it wraps.
    #[track_caller]
    pub fn neg(&self) -> Tensor {
        self.unary_or(Unary::Neg, integer::neg)
    }

    /// `|x|`, with derivative 0 at 0; of integers too.
    #[track_caller]
    pub fn abs(&self) -> Tensor {
        self.unary_or(Unary::Abs, integer::abs)
    }

    /// -1, 0 or 1, with derivative 0; of integers too.
    #[track_caller]
    pub fn sign(&self) -> Tensor {
        self.unary_or(Unary::Sign, integer::sign)
    }

    /// The smallest whole number from `x` on, with derivative 0.
    #[track_caller]
    pub fn ceil(&self) -> Tensor {
        self.unary(Unary::Ceil)
    }

    /// The largest whole number up to `x`, with derivative 0.
    #[track_caller]
    pub fn floor(&self) -> Tensor {
        self.unary(Unary::Floor)
    }

    /// The nearest whole number, of two the even one, with derivative 0.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[-1.5, 0.5, 1.5, 2.6], [4], &Device::cpu());
    /// assert_eq!(x.round().to_vec::<f32>().unwrap(), [-2.0, 0.0, 2.0, 3.0]);
    /// ```
    #[track_caller]
    pub fn round(&self) -> Tensor {
        self.unary(Unary::Round)
    }

    /// `x` without its fraction, with derivative 0.
    #[track_caller]
    pub fn trunc(&self) -> Tensor {
        self.unary(Unary::Trunc)
    }

    /// `scale * x + shift`.
    #[track_caller]
    pub fn affine(&self, scale: f32, shift: f32) -> Tensor {
        unary(self, Unary::Affine, scale, shift)
    }

    /// `x * x`.
    #[track_caller]
    pub fn square(&self) -> Tensor {
        self.unary(Unary::Square)
    }

    /// Square root; NaN below 0.
    #[track_caller]
    pub fn sqrt(&self) -> Tensor {
        self.unary(Unary::Sqrt)
    }

    /// `1 / sqrt(x)`; NaN below 0.
    #[track_caller]
    pub fn rsqrt(&self) -> Tensor {
        self.unary(Unary::Rsqrt)
    }

    /// `1 / x`.
    #[track_caller]
    pub fn reciprocal(&self) -> Tensor {
        self.unary(Unary::Reciprocal)
    }

    /// `x^exponent`; NaN for a negative `x` unless the exponent is a whole number. As in IEEE 754, `x^0` and `1^exponent` are 1
    /// even for NaN.
    #[track_caller]
    pub fn powf(&self, exponent: f32) -> Tensor {
        unary(self, Unary::Pow, exponent, 0.0)
    }

    /// `e^x`.
    #[track_caller]
    pub fn exp(&self) -> Tensor {
        self.unary(Unary::Exp)
    }

    /// `e^x - 1`, with all digits near 0.
    #[track_caller]
    pub fn expm1(&self) -> Tensor {
        self.unary(Unary::Expm1)
    }

    /// Natural logarithm; NaN below 0, minus infinity at 0.
    #[track_caller]
    pub fn log(&self) -> Tensor {
        self.unary(Unary::Log)
    }

    /// `log(1 + x)`, with all digits near 0.
    #[track_caller]
    pub fn log1p(&self) -> Tensor {
        self.unary(Unary::Log1p)
    }

    /// Sine of an angle in radians.
    #[track_caller]
    pub fn sin(&self) -> Tensor {
        self.unary(Unary::Sin)
    }

    /// Cosine of an angle in radians.
    #[track_caller]
    pub fn cos(&self) -> Tensor {
        self.unary(Unary::Cos)
    }

    /// Tangent of an angle in radians.
    #[track_caller]
    pub fn tan(&self) -> Tensor {
        self.unary(Unary::Tan)
    }

    /// The angle in `-pi/2..=pi/2` with the sine `x`; NaN outside `-1..=1`.
    #[track_caller]
    pub fn asin(&self) -> Tensor {
        self.unary(Unary::Asin)
    }

    /// The angle in `0..=pi` with the cosine `x`; NaN outside `-1..=1`.
    #[track_caller]
    pub fn acos(&self) -> Tensor {
        self.unary(Unary::Acos)
    }

    /// The angle in `-pi/2..=pi/2` with the tangent `x`.
    #[track_caller]
    pub fn atan(&self) -> Tensor {
        self.unary(Unary::Atan)
    }

    /// Hyperbolic sine.
    #[track_caller]
    pub fn sinh(&self) -> Tensor {
        self.unary(Unary::Sinh)
    }

    /// Hyperbolic cosine.
    #[track_caller]
    pub fn cosh(&self) -> Tensor {
        self.unary(Unary::Cosh)
    }

    /// Hyperbolic tangent.
    #[track_caller]
    pub fn tanh(&self) -> Tensor {
        self.unary(Unary::Tanh)
    }

    /// Inverse of [`Tensor::sinh`].
    #[track_caller]
    pub fn asinh(&self) -> Tensor {
        self.unary(Unary::Asinh)
    }

    /// The non-negative number with the hyperbolic cosine `x`; NaN below 1.
    #[track_caller]
    pub fn acosh(&self) -> Tensor {
        self.unary(Unary::Acosh)
    }

    /// Inverse of [`Tensor::tanh`]; NaN outside `-1..=1`.
    #[track_caller]
    pub fn atanh(&self) -> Tensor {
        self.unary(Unary::Atanh)
    }

    /// The error function, `2 / sqrt(pi)` times the integral of `e^(-t^2)` from 0 to `x`.
    #[track_caller]
    pub fn erf(&self) -> Tensor {
        self.unary(Unary::Erf)
    }
}

/// Limits and activations.
impl Tensor {
    /// `min(max(x, min), max)`, with derivative 0 outside. If `min` is larger than `max`, everything is `max`, as in numpy.
    /// `clip(-1.0, 1.0)` is also called hardtanh.
    ///
    /// # Panics
    /// When a limit is NaN.
    #[track_caller]
    pub fn clip(&self, min: f32, max: f32) -> Tensor {
        assert!(!min.is_nan() && !max.is_nan(), "clip: the limits are {min} and {max}, expected numbers");
        unary(self, Unary::Clip, min, max)
    }

    /// `max(x, min)`, with derivative 0 below `min`.
    ///
    /// # Panics
    /// When `min` is NaN.
    #[track_caller]
    pub fn clip_min(&self, min: f32) -> Tensor {
        self.clip(min, f32::INFINITY)
    }

    /// `min(x, max)`, with derivative 0 above `max`.
    ///
    /// # Panics
    /// When `max` is NaN.
    #[track_caller]
    pub fn clip_max(&self, max: f32) -> Tensor {
        self.clip(f32::NEG_INFINITY, max)
    }

    /// `max(x, 0)`, with derivative 0 at 0. NaN stays NaN.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[-1.0, 0.0, 2.0], [3], &Device::cpu());
    /// assert_eq!(x.relu().to_vec::<f32>().unwrap(), [0.0, 0.0, 2.0]);
    /// ```
    #[track_caller]
    pub fn relu(&self) -> Tensor {
        self.unary(Unary::Relu)
    }

    /// `min(max(x, 0), 6)`, with derivative 0 at 0 and 6.
    #[track_caller]
    pub fn relu6(&self) -> Tensor {
        self.unary(Unary::Relu6)
    }

    /// `x`, or `slope * x` below 0.
    #[track_caller]
    pub fn leaky_relu(&self, slope: f32) -> Tensor {
        unary(self, Unary::LeakyRelu, slope, 0.0)
    }

    /// `x`, or `slope * x` below 0, with a slope that is learned (He et al. 2015). `slope` broadcasts to the shape of `x`.
    ///
    /// # Panics
    /// When the shapes don't broadcast to that of `x`.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let (x, slope) = (Tensor::new(&[-1.0, -2.0, 3.0], [3], &d), Tensor::new(&[0.5], [1], &d));
    /// assert_eq!(x.prelu(&slope).to_vec::<f32>().unwrap(), [-0.5, -1.0, 3.0]);
    /// ```
    #[track_caller]
    pub fn prelu(&self, slope: &Tensor) -> Tensor {
        let shape = fits("prelu", self.shape().broadcast(slope.shape()));
        if shape != *self.shape() {
            let problem = format!("slope does not broadcast to the shape of x ({} != {shape})", self.shape());
            panic!(
                "{}",
                ShapeError::new(problem).operand("x", self.shape()).operand("slope", slope.shape()).of("prelu")
            );
        }
        // The first part has derivative 1 at 0, the second 0, as leaky_relu has.
        self.clip_min(0.0).sub(&self.neg().relu().mul(slope))
    }

    /// `x` above `alpha`, else 0, with derivative 0 there.
    #[track_caller]
    pub fn thresholded_relu(&self, alpha: f32) -> Tensor {
        unary(self, Unary::ThresholdedRelu, alpha, 0.0)
    }

    /// 0 from `-lambda` to `lambda`, `x + bias` below and `x - bias` above. With `bias = lambda` this is called softshrink, with
    /// `bias = 0` hardshrink.
    #[track_caller]
    pub fn shrink(&self, bias: f32, lambda: f32) -> Tensor {
        unary(self, Unary::Shrink, bias, lambda)
    }

    /// `x`, or `alpha * (e^x - 1)` below 0 (Clevert et al. 2015).
    #[track_caller]
    pub fn elu(&self, alpha: f32) -> Tensor {
        unary(self, Unary::Elu, alpha, 0.0)
    }

    /// `x`, or `alpha * (e^(x / alpha) - 1)` below 0 (Barron 2017).
    ///
    /// # Panics
    /// When `alpha` is 0.
    #[track_caller]
    pub fn celu(&self, alpha: f32) -> Tensor {
        assert!(alpha != 0.0, "celu: alpha is 0, which x is divided by");
        unary(self, Unary::Celu, alpha, 0.0)
    }

    /// [`Tensor::selu_with`] the constants that keep mean 0 and variance 1 (Klambauer et al. 2017).
    #[track_caller]
    pub fn selu(&self) -> Tensor {
        self.selu_with(1.673_263_2, 1.050_701)
    }

    /// `gamma * x`, or `gamma * alpha * (e^x - 1)` below 0.
    #[track_caller]
    pub fn selu_with(&self, alpha: f32, gamma: f32) -> Tensor {
        unary(self, Unary::Selu, alpha, gamma)
    }

    /// Gaussian error linear unit in its tanh approximation (Hendrycks and Gimpel 2016).
    #[track_caller]
    pub fn gelu(&self) -> Tensor {
        self.unary(Unary::Gelu)
    }

    /// Gaussian error linear unit, `x * (1 + erf(x / sqrt(2))) / 2` (Hendrycks and Gimpel 2016).
    #[track_caller]
    pub fn gelu_exact(&self) -> Tensor {
        self.unary(Unary::GeluExact)
    }

    /// `1 / (1 + e^-x)`, without overflow for large `|x|`.
    #[track_caller]
    pub fn sigmoid(&self) -> Tensor {
        self.unary(Unary::Sigmoid)
    }

    /// `log(sigmoid(x))`, without overflow and with all digits.
    #[track_caller]
    pub fn logsigmoid(&self) -> Tensor {
        self.unary(Unary::LogSigmoid)
    }

    /// `min(max(x / 6 + 1/2, 0), 1)`, with derivative 0 from -3 down and from 3 up.
    #[track_caller]
    pub fn hard_sigmoid(&self) -> Tensor {
        self.hard_sigmoid_with(1.0 / 6.0, 0.5)
    }

    /// `min(max(alpha * x + beta, 0), 1)`, with derivative 0 where that is 0 or 1.
    #[track_caller]
    pub fn hard_sigmoid_with(&self, alpha: f32, beta: f32) -> Tensor {
        unary(self, Unary::HardSigmoid, alpha, beta)
    }

    /// `x * sigmoid(x)`, also called SiLU (Ramachandran et al. 2017).
    #[track_caller]
    pub fn swish(&self) -> Tensor {
        self.unary(Unary::Swish)
    }

    /// Another name of [`Tensor::swish`].
    #[track_caller]
    pub fn silu(&self) -> Tensor {
        self.swish()
    }

    /// `x * min(max(x + 3, 0), 6) / 6` (Howard et al. 2019).
    #[track_caller]
    pub fn hard_swish(&self) -> Tensor {
        self.unary(Unary::HardSwish)
    }

    /// `x * tanh(softplus(x))` (Misra 2019).
    #[track_caller]
    pub fn mish(&self) -> Tensor {
        self.unary(Unary::Mish)
    }

    /// `log(1 + e^x)`, without overflow and with all digits.
    #[track_caller]
    pub fn softplus(&self) -> Tensor {
        self.unary(Unary::Softplus)
    }

    /// `x / (1 + |x|)`.
    #[track_caller]
    pub fn softsign(&self) -> Tensor {
        self.unary(Unary::Softsign)
    }
}
