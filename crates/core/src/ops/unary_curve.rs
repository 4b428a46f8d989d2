//! Second derivatives of the functions of one tensor: the derivative of `f'` with respect to the value that the row saves.
//!
//! They are tensor algebra on the saved tensor, which is attached to the tape, so derivatives of every order follow.

use crate::tensor::Tensor;

/// A rule gets the saved value and the function's constants.
pub(super) type Rule = fn(v: &Tensor, a: f32, b: f32) -> Tensor;

/// The derivative of a row's `f'`.
#[derive(Debug)]
pub(super) enum Curve {
    /// The same everywhere.
    Constant(f32),
    /// A function of the saved value.
    Of(Rule),
}

impl Curve {
    /// `dy` times the derivative of `f'` at `v`, or `None` where that is zero everywhere.
    pub(super) fn times(&self, v: &Tensor, a: f32, b: f32, dy: &Tensor) -> Option<Tensor> {
        match self {
            Curve::Constant(0.0) => None,
            Curve::Constant(c) => Some(dy.affine(*c, 0.0)),
            Curve::Of(rule) => Some(rule(v, a, b).mul(dy)),
        }
    }
}

/// 1 below zero, else 0.
fn negative(x: &Tensor) -> Tensor {
    x.sign().neg().relu()
}

/// `e^x` below zero and 0 above.
fn exp_of_negative(x: &Tensor) -> Tensor {
    x.clip_max(0.0).exp().mul(&negative(x))
}

/// `s (1 - s) (2 + x (1 - 2s))`, `s = sigmoid(x)`.
pub(super) fn swish(x: &Tensor, _: f32, _: f32) -> Tensor {
    let s = x.sigmoid();
    softplus(x, 0.0, 0.0).mul(&x.mul(&s.affine(-2.0, 1.0)).affine(1.0, 2.0))
}

/// `s (1 - s)`, `s = sigmoid(x)`.
pub(super) fn softplus(x: &Tensor, _: f32, _: f32) -> Tensor {
    x.sigmoid().mul(&x.neg().sigmoid())
}

pub(super) fn elu(x: &Tensor, a: f32, _: f32) -> Tensor {
    exp_of_negative(x).affine(a, 0.0)
}

pub(super) fn selu(x: &Tensor, a: f32, b: f32) -> Tensor {
    exp_of_negative(x).affine(a * b, 0.0)
}

pub(super) fn celu(x: &Tensor, a: f32, _: f32) -> Tensor {
    x.clip_max(0.0).affine(1.0 / a, 0.0).exp().mul(&negative(x)).affine(1.0 / a, 0.0)
}

/// With `s = sigmoid(u)` and `u = c (x + 0.044715 x^3)`: `f' = s + x s (1 - s) u'`, and
/// `f'' = s (1 - s) (2 u' + x (u'' + (1 - 2s) u'^2))`.
pub(super) fn gelu(x: &Tensor, _: f32, _: f32) -> Tensor {
    // Past 20 the second derivative is 0 in f32, and squares of large numbers would overflow.
    let x = &x.clip(-20.0, 20.0);
    let (c, k) = (1.595_769, 0.044715);
    let u = x.mul(&x.square().affine(c * k, c));
    let (du, ddu) = (x.square().affine(3.0 * c * k, c), x.affine(6.0 * c * k, 0.0));
    let bend = ddu.add(&u.sigmoid().affine(-2.0, 1.0).mul(&du.square()));
    softplus(&u, 0.0, 0.0).mul(&du.affine(2.0, 0.0).add(&x.mul(&bend)))
}

/// `sqrt(2 / pi) / 2 * e^(-x^2 / 2) * (2 - x^2)`.
pub(super) fn gelu_exact(x: &Tensor, _: f32, _: f32) -> Tensor {
    let square = x.clip(-15.0, 15.0).square();
    square.affine(-0.5, 0.0).exp().mul(&square.affine(-1.0, 2.0)).affine(0.398_942_3, 0.0)
}

/// `-4 / sqrt(pi) * x e^(-x^2)`.
pub(super) fn erf(x: &Tensor, _: f32, _: f32) -> Tensor {
    let x = x.clip(-15.0, 15.0);
    x.mul(&x.square().neg().exp()).affine(-2.256_758_3, 0.0)
}

/// `a (a - 1) x^(a - 2)`.
pub(super) fn pow(x: &Tensor, a: f32, _: f32) -> Tensor {
    match a * (a - 1.0) {
        0.0 => x.zeros_like(),
        c => x.powf(a - 2.0).affine(c, 0.0),
    }
}

/// `x / (1 + sign x^2)^(3/2)`.
pub(super) fn arc(x: &Tensor, sign: f32) -> Tensor {
    x.mul(&x.square().affine(sign, 1.0).powf(-1.5))
}

/// `-2x / (1 + x^2)^2`.
pub(super) fn atan(x: &Tensor, _: f32, _: f32) -> Tensor {
    x.affine(-2.0, 0.0).mul(&x.square().affine(1.0, 1.0).reciprocal().square())
}

/// `-x / (x^2 - 1)^(3/2)`.
pub(super) fn acosh(x: &Tensor, _: f32, _: f32) -> Tensor {
    x.mul(&x.square().affine(1.0, -1.0).powf(-1.5)).neg()
}

/// `2x / (1 - x^2)^2`.
pub(super) fn atanh(x: &Tensor, _: f32, _: f32) -> Tensor {
    x.affine(2.0, 0.0).mul(&x.square().affine(-1.0, 1.0).reciprocal().square())
}

/// 1/3 between -3 and 3, else 0.
pub(super) fn hard_swish(x: &Tensor, _: f32, _: f32) -> Tensor {
    negative(&x.abs().affine(1.0, -3.0)).affine(1.0 / 3.0, 0.0)
}

/// `s w (2 + x (1 - s - 2 s t))` with `s = sigmoid(x)`, `t = tanh(softplus(x))`, `w = 1 - t^2`.
pub(super) fn mish(x: &Tensor, _: f32, _: f32) -> Tensor {
    let (s, t) = (x.sigmoid(), x.softplus().tanh());
    let w = t.square().affine(-1.0, 1.0);
    let bend = x.neg().sigmoid().sub(&s.mul(&t).affine(2.0, 0.0));
    s.mul(&w).mul(&x.mul(&bend).affine(1.0, 2.0))
}

/// `-2 sign(x) / (1 + |x|)^3`.
pub(super) fn softsign(x: &Tensor, _: f32, _: f32) -> Tensor {
    x.sign().mul(&x.abs().affine(1.0, 1.0).powf(-3.0)).affine(-2.0, 0.0)
}
