//! The table of elementwise functions of one tensor, and the CPU code of those that need more than a line.
//!
//! Functions that `f32` would round on the way are computed in `f64`. Constants of functions and their derivatives are in
//! the shaders too.

use tilegrad_shaders::{Shader, UNARY, UNARY_SERIES};

use super::unary_cpu::{logistic, swish, swish_derivative};
use super::unary_curve::{self as curve, Curve};
use crate::op::Saves;

/// A function of one number, with up to two constants `a` and `b`.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) f: fn(x: f32, a: f32, b: f32) -> f32,
    pub(super) saves: Saves,
    /// The derivative at the saved value: `x` or `y`.
    pub(super) df: fn(v: f32, a: f32, b: f32) -> f32,
    /// The derivative of `df`, for second derivatives.
    pub(super) curve: Curve,
    /// The file with the function's lines.
    pub(super) shader: &'static Shader,
}

pub(super) const X: Saves = Saves::INPUTS;
pub(super) const Y: Saves = Saves::OUTPUT;

/// A row of `TABLE`. The number is the shader's `OP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "named after the functions")]
pub enum Unary {
    Neg,
    Exp,
    Log,
    Sqrt,
    Abs,
    Relu,
    Sigmoid,
    Tanh,
    Swish,
    Square,
    Reciprocal,
    Affine,
    Softplus,
    Elu,
    LeakyRelu,
    Gelu,
    Sin,
    Cos,
    Clip,
    Pow,
    Acos,
    Asin,
    Atan,
    Acosh,
    Asinh,
    Atanh,
    Ceil,
    Floor,
    Round,
    Trunc,
    Sign,
    Cosh,
    Sinh,
    Tan,
    Log1p,
    Expm1,
    Rsqrt,
    Erf,
    GeluExact,
    Relu6,
    Selu,
    Celu,
    HardSigmoid,
    HardSwish,
    Mish,
    Softsign,
    LogSigmoid,
    ThresholdedRelu,
    Shrink,
}

impl Unary {
    pub(super) fn row(self) -> &'static Function {
        &TABLE[self as usize]
    }
}

const fn row(
    name: &'static str,
    f: fn(f32, f32, f32) -> f32,
    saves: Saves,
    df: fn(f32, f32, f32) -> f32,
    curve: Curve,
) -> Function {
    Function { name, f, saves, df, curve, shader: &UNARY }
}

/// A row whose lines are in `shaders/unary_series.wgsl`.
const fn series(
    name: &'static str,
    f: fn(f32, f32, f32) -> f32,
    saves: Saves,
    df: fn(f32, f32, f32) -> f32,
    curve: Curve,
) -> Function {
    Function { name, f, saves, df, curve, shader: &UNARY_SERIES }
}

/// The second derivative is zero, or is not and is a function of the saved value.
const FLAT: Curve = Curve::Constant(0.0);
const fn of(f: curve::Rule) -> Curve {
    Curve::Of(f)
}

/// In the order of [`Unary`]. After the name: `f(x, a, b)`, what is saved, `f'` at `x` or `y`, the derivative of that.
#[rustfmt::skip]
pub(super) static TABLE: [Function; 49] = [
    row("neg",        |x, _, _| -x,                         X, |_, _, _| -1.0, FLAT),
    row("exp",        |x, _, _| x.exp(),                    Y, |y, _, _| y, Curve::Constant(1.0)),
    series("log",        |x, _, _| x.ln(),                     X, |x, _, _| 1.0 / x, of(|x, _, _| x.reciprocal().square().neg())),
    row("sqrt",       |x, _, _| x.sqrt(),                   Y, |y, _, _| 0.5 / y, of(|y, _, _| y.square().reciprocal().affine(-0.5, 0.0))),
    row("abs",        |x, _, _| x.abs(),                    X, |x, _, _| sign(x), FLAT),
    row("relu",       |x, _, _| if x <= 0.0 { 0.0 } else { x }, Y, |y, _, _| if y <= 0.0 { 0.0 } else { 1.0 }, FLAT),
    row("sigmoid",    |x, _, _| logistic(x),                Y, |y, _, _| y * (1.0 - y), of(|y, _, _| y.affine(-2.0, 1.0))),
    row("tanh",       |x, _, _| x.tanh(),                   Y, |y, _, _| 1.0 - y * y, of(|y, _, _| y.affine(-2.0, 0.0))),
    row("swish",      |x, _, _| swish(x),                   X, |x, _, _| swish_derivative(x), of(curve::swish)),
    row("square",     |x, _, _| x * x,                      X, |x, _, _| 2.0 * x, Curve::Constant(2.0)),
    row("reciprocal", |x, _, _| 1.0 / x,                    Y, |y, _, _| -y * y, of(|y, _, _| y.affine(-2.0, 0.0))),
    row("affine",     |x, a, b| a * x + b,                  Saves::NOTHING, |_, a, _| a, FLAT),
    series("softplus",   |x, _, _| x.max(0.0) + (-x.abs()).exp().ln_1p(), X, |x, _, _| logistic(x), of(curve::softplus)),
    series("elu",        |x, a, _| if x < 0.0 { a * x.exp_m1() } else { x }, X, |x, a, _| if x < 0.0 { a * x.exp() } else { 1.0 }, of(curve::elu)),
    row("leaky_relu", |x, a, _| if x < 0.0 { a * x } else { x }, X, |x, a, _| if x < 0.0 { a } else { 1.0 }, FLAT),
    row("gelu",       |x, _, _| gelu(x),                    X, |x, _, _| gelu_derivative(x), of(curve::gelu)),
    series("sin",        |x, _, _| x.sin(),                    X, |x, _, _| x.cos(), of(|x, _, _| x.sin().neg())),
    series("cos",        |x, _, _| x.cos(),                    X, |x, _, _| -x.sin(), of(|x, _, _| x.cos().neg())),
    row("clip",       clip,                                 X, |x, a, b| if x >= a && x <= b { 1.0 } else { 0.0 }, FLAT),
    series("powf",       |x, a, _| x.powf(a),                  X, |x, a, _| if a == 0.0 { 0.0 } else { a * x.powf(a - 1.0) }, of(curve::pow)),
    series("acos",       |x, _, _| wide(f64::acos, x),         X, |x, _, _| -1.0 / ((1.0 - x) * (1.0 + x)).sqrt(), of(|x, _, _| curve::arc(x, -1.0).neg())),
    series("asin",       |x, _, _| wide(f64::asin, x),         X, |x, _, _| 1.0 / ((1.0 - x) * (1.0 + x)).sqrt(), of(|x, _, _| curve::arc(x, -1.0))),
    series("atan",       |x, _, _| wide(f64::atan, x),         X, |x, _, _| 1.0 / (1.0 + x * x), of(curve::atan)),
    series("acosh",      |x, _, _| wide(f64::acosh, x),        X, |x, _, _| 1.0 / ((x - 1.0).sqrt() * (x + 1.0).sqrt()), of(curve::acosh)),
    series("asinh",      |x, _, _| wide(f64::asinh, x),        X, |x, _, _| wide(|x| 1.0 / (x * x + 1.0).sqrt(), x), of(|x, _, _| curve::arc(x, 1.0).neg())),
    series("atanh",      |x, _, _| wide(f64::atanh, x),        X, |x, _, _| 1.0 / ((1.0 - x) * (1.0 + x)), of(curve::atanh)),
    row("ceil",       |x, _, _| x.ceil(),                   Saves::NOTHING, |_, _, _| 0.0, FLAT),
    row("floor",      |x, _, _| x.floor(),                  Saves::NOTHING, |_, _, _| 0.0, FLAT),
    row("round",      |x, _, _| x.round_ties_even(),        Saves::NOTHING, |_, _, _| 0.0, FLAT),
    row("trunc",      |x, _, _| x.trunc(),                  Saves::NOTHING, |_, _, _| 0.0, FLAT),
    row("sign",       |x, _, _| sign(x),                    Saves::NOTHING, |_, _, _| 0.0, FLAT),
    series("cosh",       |x, _, _| x.cosh(),                   X, |x, _, _| x.sinh(), of(|x, _, _| x.cosh())),
    series("sinh",       |x, _, _| x.sinh(),                   X, |x, _, _| x.cosh(), of(|x, _, _| x.sinh())),
    series("tan",        |x, _, _| x.tan(),                    Y, |y, _, _| 1.0 + y * y, of(|y, _, _| y.affine(2.0, 0.0))),
    series("log1p",      |x, _, _| x.ln_1p(),                  X, |x, _, _| 1.0 / (1.0 + x), of(|x, _, _| x.affine(1.0, 1.0).reciprocal().square().neg())),
    series("expm1",      |x, _, _| x.exp_m1(),                 X, |x, _, _| x.exp(), of(|x, _, _| x.exp())),
    row("rsqrt",      |x, _, _| 1.0 / x.sqrt(),             Y, |y, _, _| -0.5 * y * (y * y), of(|y, _, _| y.square().affine(-1.5, 0.0))),
    series("erf",        |x, _, _| wide(erf, x),               X, |x, _, _| wide(erf_derivative, x), of(curve::erf)),
    series("gelu_exact", |x, _, _| wide(gelu_exact, x),        X, |x, _, _| wide(gelu_exact_derivative, x), of(curve::gelu_exact)),
    row("relu6",      |x, _, _| clip(x, 0.0, 6.0),          Y, |y, _, _| if y <= 0.0 || y >= 6.0 { 0.0 } else { 1.0 }, FLAT),
    series("selu",       |x, a, b| b * if x < 0.0 { a * x.exp_m1() } else { x }, X, |x, a, b| b * if x < 0.0 { a * x.exp() } else { 1.0 }, of(curve::selu)),
    series("celu",       |x, a, _| if x < 0.0 { a * (x / a).exp_m1() } else { x }, X, |x, a, _| if x < 0.0 { (x / a).exp() } else { 1.0 }, of(curve::celu)),
    row("hard_sigmoid", |x, a, b| clip(a * x + b, 0.0, 1.0), X, hard_sigmoid_derivative, FLAT),
    row("hard_swish", |x, _, _| hard_swish(x),              X, |x, _, _| hard_swish_derivative(x), of(curve::hard_swish)),
    row("mish",       |x, _, _| mish(x),                    X, |x, _, _| mish_derivative(x), of(curve::mish)),
    row("softsign",   |x, _, _| if x.is_infinite() { x.signum() } else { x / (1.0 + x.abs()) }, X, |x, _, _| (1.0 + x.abs()).recip().powi(2), of(curve::softsign)),
    series("logsigmoid", |x, _, _| x.min(0.0) - (-x.abs()).exp().ln_1p(), X, |x, _, _| logistic(-x), of(|x, a, b| curve::softplus(x, a, b).neg())),
    row("thresholded_relu", |x, a, _| if x <= a { 0.0 } else { x }, X, |x, a, _| if x <= a { 0.0 } else { 1.0 }, FLAT),
    row("shrink",     shrink,                               X, |x, _, b| if x < -b || x > b { 1.0 } else { 0.0 }, FLAT),
];

/// A function of `f64`, rounded once.
fn wide(f: fn(f64) -> f64, x: f32) -> f32 {
    f(f64::from(x)) as f32
}

/// -1, 0 or 1; NaN for NaN.
fn sign(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// `min(max(x, low), high)`: with bounds in the wrong order, everything is `high`. NaN stays.
fn clip(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// `x * (1 + tanh(u)) / 2 = x * logistic(2u)` with `u = sqrt(2 / pi) * (x + 0.044715 x^3)`. The second form keeps its
/// digits for large negative `x`, where the result is 0 in `f32` from -20 on.
fn gelu(x: f32) -> f32 {
    let x = if x < -20.0 { -20.0 } else { x };
    x * logistic(x * (GELU_1 + GELU_3 * x * x))
}

fn gelu_derivative(x: f32) -> f32 {
    // Past 20 it is 0 or 1 in f32; squares of large numbers would overflow.
    let x = clip(x, -20.0, 20.0);
    let u = x * (GELU_1 + GELU_3 * x * x);
    let s = logistic(u);
    s + x * s * logistic(-u) * (GELU_1 + 3.0 * GELU_3 * x * x)
}

const GELU_1: f32 = 1.595_769; // 2 sqrt(2 / pi)
const GELU_3: f32 = 0.071_354_82; // 2 sqrt(2 / pi) * 0.044715

/// Polynomials for `erf(x) / x` in `x^2` up to 1, and for `erfc(x) e^(x^2) / t` in `t = 1 / (1 + 0.4 x)` from 1 on, lowest
/// power first. Both are interpolations at Chebyshev nodes, right to 2e-8.
const ERF: [f64; 7] = [
    1.12837916585,
    -0.376126266667,
    0.112835947152,
    -0.0268542120106,
    0.00518908742343,
    -8.01686428717e-4,
    7.87587506269e-5,
];
const ERFC: [f64; 9] = [
    0.225675848556,
    0.225672402057,
    0.207749551143,
    0.169687450501,
    0.134671412004,
    0.0156597679705,
    0.132566220497,
    -0.150635242613,
    0.0387906637056,
];

fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

/// `erfc(x) e^(x^2)` for `x` of at least 1.
fn erfc_scaled(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.4 * x);
    t * polynomial(&ERFC, t)
}

fn erf(x: f64) -> f64 {
    match x.abs() {
        a if a < 1.0 => x * polynomial(&ERF, x * x),
        a => (1.0 - (-a * a).exp() * erfc_scaled(a)).copysign(x),
    }
}

fn erf_derivative(x: f64) -> f64 {
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp()
}

/// The probability that a normal number is below `x`.
fn normal_cdf(x: f64) -> f64 {
    let s = x * std::f64::consts::FRAC_1_SQRT_2;
    match s.abs() {
        a if a < 1.0 => 0.5 + 0.5 * erf(s),
        a => {
            let tail = 0.5 * (-a * a).exp() * erfc_scaled(a);
            if s < 0.0 { tail } else { 1.0 - tail }
        }
    }
}

/// 0 in `f32` from -15 on.
fn gelu_exact(x: f64) -> f64 {
    let x = if x < -15.0 { -15.0 } else { x };
    x * normal_cdf(x)
}

fn gelu_exact_derivative(x: f64) -> f64 {
    if x.abs() > 15.0 {
        return if x < 0.0 { 0.0 } else { 1.0 };
    }
    normal_cdf(x)
        + x * (-0.5 * x * x).exp() * (0.5 * std::f64::consts::FRAC_1_SQRT_2 * std::f64::consts::FRAC_2_SQRT_PI)
}

fn hard_sigmoid_derivative(x: f32, a: f32, b: f32) -> f32 {
    let y = a * x + b;
    if y <= 0.0 || y >= 1.0 { 0.0 } else { a }
}

fn hard_swish(x: f32) -> f32 {
    match x {
        _ if x <= -3.0 => 0.0,
        _ if x >= 3.0 => x,
        _ => x * (x + 3.0) / 6.0,
    }
}

fn hard_swish_derivative(x: f32) -> f32 {
    match x {
        _ if x <= -3.0 => 0.0,
        _ if x >= 3.0 => 1.0,
        _ => x / 3.0 + 0.5,
    }
}

/// `e^x`, with `n = (1 + e^x)^2 - 1` and `x`, all where nothing overflows: `tanh(softplus(x)) = n / (n + 2)`, which is 0
/// in `f32` from -110 on and 1 from 20 on.
fn mish_terms(x: f32) -> (f32, f32, f32) {
    let x = if x < -110.0 { -110.0 } else { x };
    let e = if x > 20.0 { 20f32 } else { x }.exp();
    (e, e * (e + 2.0), x)
}

fn mish(x: f32) -> f32 {
    let (_, n, x) = mish_terms(x);
    x * (n / (n + 2.0))
}

fn mish_derivative(x: f32) -> f32 {
    let (e, n, x) = mish_terms(x);
    // tanh' * sigmoid is below 1e-16 past 20.
    let slope = 4.0 * e * (1.0 + e) / ((n + 2.0) * (n + 2.0));
    n / (n + 2.0) + if x > 20.0 { 20.0 } else { x } * slope
}

/// `a` is the bias, `b` the width of the gap. NaN stays.
fn shrink(x: f32, a: f32, b: f32) -> f32 {
    match x {
        _ if x < -b => x + a,
        _ if x > b => x - a,
        _ if x.is_nan() => x,
        _ => 0.0,
    }
}
