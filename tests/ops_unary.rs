//! Functions of one tensor: accuracy over the whole range of `f32`, NaN and infinity, limits, third derivatives. Gradients and
//! second derivatives of all of them are in the catalogue.

mod common;

use std::collections::BTreeSet;

use common::{check_with, devices, panic_message, random, spread};
use tilegrad::{Conv2dOptions, Device, Tensor, Unary};

type Boxed = Box<dyn Fn(&Tensor) -> Tensor>;
type One = fn(&Tensor) -> Tensor;

/// A function, the same in `f64`, and the interval in which the first is held to the second.
struct Row {
    name: &'static str,
    f: One,
    want: fn(f64) -> f64,
    range: (f32, f32),
    /// The largest relative error.
    error: f64,
}

const ALL: (f32, f32) = (-3e38, 3e38);
const EXACT: f64 = 0.0;
/// Rounded once, to the nearest number.
const ROUNDED: f64 = 6.2e-8;
/// A few units of the last place. Division and square root of some adapters are not rounded to the nearest number.
const CLOSE: f64 = 5e-7;
/// `exp` of a driver: the product of a large argument and log2(e) is rounded.
const EXP: f64 = 1e-5;

fn row(name: &'static str, f: One, want: fn(f64) -> f64, range: (f32, f32), error: f64) -> Row {
    Row { name, f, want, range, error }
}

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    vec![
        row("neg",           Tensor::neg,             |x| -x,                            ALL,                   EXACT),
        row("exp",           Tensor::exp,             f64::exp,                          (-87.0, 88.7),         EXP),
        row("log",           Tensor::log,             f64::ln,                           (1e-37, 3e38),         CLOSE),
        row("sqrt",          Tensor::sqrt,            f64::sqrt,                         (0.0, 3e38),           CLOSE),
        row("abs",           Tensor::abs,             f64::abs,                          ALL,                   EXACT),
        row("relu",          Tensor::relu,            |x| x.max(0.0),                    ALL,                   EXACT),
        row("sigmoid",       Tensor::sigmoid,         logistic,                          (-87.0, 3e38),         EXP),
        row("tanh",          Tensor::tanh,            f64::tanh,                         ALL,                   CLOSE),
        row("swish",         Tensor::swish,           |x| x * logistic(x),               (-80.0, 3e38),         EXP),
        row("square",        Tensor::square,          |x| x * x,                         (-1e19, 1e19),         ROUNDED),
        row("reciprocal",    Tensor::reciprocal,      f64::recip,                        (-1e37, 1e37),         CLOSE),
        row("affine",        |x| x.affine(3.0, 0.0),  |x| 3.0 * x,                       (-1e38, 1e38),         ROUNDED),
        row("softplus",      Tensor::softplus,        softplus,                          (-87.0, 3e38),         EXP),
        row("elu",           |x| x.elu(0.5),          |x| if x < 0.0 { 0.5 * x.exp_m1() } else { x }, ALL,                   CLOSE),
        row("leaky_relu",    |x| x.leaky_relu(0.125), |x| if x < 0.0 { 0.125 * x } else { x }, ALL,                   EXACT),
        row("gelu",          Tensor::gelu,            gelu,                              (-10.0, 3e38),         2e-5),
        row("sin",           Tensor::sin,             f64::sin,                          ALL,                   CLOSE),
        row("cos",           Tensor::cos,             f64::cos,                          ALL,                   CLOSE),
        row("clip",          |x| x.clip(-0.5, 0.75),  |x| x.clamp(-0.5, 0.75),           ALL,                   EXACT),
        row("powf",          |x| x.powf(2.5),         |x| x.powf(2.5),                   (1e-15, 1e15),         CLOSE),
        row("acos",          Tensor::acos,            f64::acos,                         (-1.0, 1.0),           CLOSE),
        row("asin",          Tensor::asin,            f64::asin,                         (-1.0, 1.0),           CLOSE),
        row("atan",          Tensor::atan,            f64::atan,                         ALL,                   CLOSE),
        row("acosh",         Tensor::acosh,           f64::acosh,                        (1.0, 3e38),           CLOSE),
        row("asinh",         Tensor::asinh,           f64::asinh,                        ALL,                   CLOSE),
        row("atanh",         Tensor::atanh,           f64::atanh,                        (-0.999999, 0.999999), CLOSE),
        row("ceil",          Tensor::ceil,            f64::ceil,                         ALL,                   EXACT),
        row("floor",         Tensor::floor,           f64::floor,                        ALL,                   EXACT),
        row("round",         Tensor::round,           f64::round_ties_even,              ALL,                   EXACT),
        row("trunc",         Tensor::trunc,           f64::trunc,                        ALL,                   EXACT),
        row("sign",          Tensor::sign,            |x| if x == 0.0 { 0.0 } else { x.signum() }, ALL,                   EXACT),
        row("cosh",          Tensor::cosh,            f64::cosh,                         (-89.4, 89.4),         CLOSE),
        row("sinh",          Tensor::sinh,            f64::sinh,                         (-89.4, 89.4),         CLOSE),
        row("tan",           Tensor::tan,             f64::tan,                          ALL,                   CLOSE),
        row("log1p",         Tensor::log1p,           f64::ln_1p,                        (-0.9999, 3e38),       CLOSE),
        row("expm1",         Tensor::expm1,           f64::exp_m1,                       (-3e38, 88.7),         CLOSE),
        row("rsqrt",         Tensor::rsqrt,           |x| x.sqrt().recip(),              (1e-37, 3e38),         CLOSE),
        row("erf",           Tensor::erf,             erf,                               ALL,                   CLOSE),
        row("gelu_exact",    Tensor::gelu_exact,      |x| x * normal_cdf(x),             (-12.0, 3e38),         2e-6),
        row("relu6",         |x| x.affine(4.0, 0.0).relu6(), |x| (4.0 * x).clamp(0.0, 6.0),     (-1e37, 1e37),         EXACT),
        row("selu",          Tensor::selu,            selu,                              (-3e38, 1e38),         CLOSE),
        row("celu",          |x| x.celu(0.5),         |x| if x < 0.0 { 0.5 * (x / 0.5).exp_m1() } else { x }, (-1e38, 3e38),         CLOSE),
        row("hard_sigmoid",  |x| x.hard_sigmoid_with(0.25, 0.5), |x| (0.25 * x + 0.5).clamp(0.0, 1.0), ALL,                   ROUNDED),
        row("hard_swish",    Tensor::hard_swish,      |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0, ALL,                   CLOSE),
        row("mish",          Tensor::mish,            |x| x * softplus(x).tanh(),        (-80.0, 3e38),         EXP),
        row("softsign",      Tensor::softsign,        |x| x / (1.0 + x.abs()),           ALL,                   CLOSE),
        row("logsigmoid",    Tensor::logsigmoid,      |x| -softplus(-x),                 (-3e38, 87.0),         EXP),
        row("thresholded_relu", |x| x.thresholded_relu(0.7), |x| if x > f64::from(0.7f32) { x } else { 0.0 }, ALL,                   EXACT),
        row("shrink",        |x| x.shrink(0.25, 0.5), |x| if x.abs() > 0.5 { x - 0.25 * x.signum() } else { 0.0 }, ALL,                   ROUNDED),
    ]
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn gelu(x: f64) -> f64 {
    x * logistic(2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x))
}

fn selu(x: f64) -> f64 {
    let (alpha, gamma) = (1.6732632423543772, 1.0507009873554805);
    gamma * if x < 0.0 { alpha * x.exp_m1() } else { x }
}

/// The continued fraction of `erfc(x) e^(x^2) sqrt(pi)`, for `x` above 1.
fn erfc_fraction(x: f64) -> f64 {
    (1..200).rev().fold(x, |below, k| x + 0.5 * f64::from(k) / below).recip()
}

fn erf(x: f64) -> f64 {
    let root = std::f64::consts::PI.sqrt();
    if x.abs() > 1.5 {
        return (1.0 - (-x * x).exp() * erfc_fraction(x.abs()) / root).copysign(x);
    }
    let mut term = x;
    let mut sum = 0.0;
    for n in 0..60 {
        sum += term / f64::from(2 * n + 1);
        term *= -x * x / f64::from(n + 1);
    }
    2.0 / root * sum
}

fn normal_cdf(x: f64) -> f64 {
    let s = x * std::f64::consts::FRAC_1_SQRT_2;
    if s < -1.5 { 0.5 * (-s * s).exp() * erfc_fraction(-s) / std::f64::consts::PI.sqrt() } else { 0.5 + 0.5 * erf(s) }
}

fn values(x: &Tensor) -> Vec<f32> {
    x.to_vec().expect("readback")
}

fn slope(f: One, x: &Tensor) -> Tensor {
    let x = if x.needs_grad() { x.clone() } else { x.requires_grad() };
    f(&x).grad(&[&x])[0].clone().expect("depends on x")
}

#[test]
fn every_function_of_the_table_has_a_row() {
    let listed: BTreeSet<&str> = rows().iter().map(|r| r.name).collect();
    let family = tilegrad::ops::ALL.iter().find(|i| i.names.contains(&"neg")).expect("the unary family");
    assert_eq!(listed, family.names.iter().copied().collect());
}

#[test]
fn third_derivatives() {
    let fifth_power: One = |x| x.powf(5.0);
    let rows: [(&str, One); 8] = [
        ("sigmoid", Tensor::sigmoid),
        ("tanh", Tensor::tanh),
        ("gelu", Tensor::gelu),
        ("gelu_exact", Tensor::gelu_exact),
        ("mish", Tensor::mish),
        ("softplus", Tensor::softplus),
        ("tan", Tensor::tan),
        ("powf", fifth_power),
    ];
    for (name, f) in rows {
        check_with(&format!("{name}, third derivative"), &[spread([3, 7], 1)], 1e-3, |x| {
            let x = if x[0].needs_grad() { x[0].clone() } else { x[0].requires_grad() };
            slope(f, &x).grad(&[&x])[0].clone().expect("curved")
        });
    }
}

/// Numbers of every size in the interval.
fn sweep((low, high): (f32, f32)) -> Vec<f32> {
    let sizes = (0..1400).map(|i| (-126.0 + 0.18147 * i as f32).exp2());
    let near_zero = (0..4000).map(|i| i as f32 * 0.00312 + 1e-4);
    let positive = sizes.chain(near_zero).chain((1..400).map(|i| i as f32 * 2531.7));
    positive.flat_map(|v| [v, -v]).filter(|&v| v >= low && v <= high).collect()
}

#[test]
fn accurate_over_the_whole_range() {
    let mut problems = Vec::new();
    for r in rows() {
        let x = sweep(r.range);
        for device in devices() {
            let got = values(&(r.f)(&Tensor::new(&x, [x.len()], &device)));
            let (mut worst, mut at) = (0.0, 0.0);
            for (&x, &got) in x.iter().zip(&got) {
                let want = (r.want)(f64::from(x));
                // Numbers below the smallest normal one may be zero.
                let error = (f64::from(got) - want).abs() - 1.2e-38;
                let relative = if error <= 0.0 { 0.0 } else { error / want.abs() };
                if relative > worst || relative.is_nan() {
                    (worst, at) = (relative, x);
                }
            }
            if worst.is_nan() || worst > r.error {
                problems
                    .push(format!("{}({at:e}) on {device} is off by {worst:.1e}, allowed are {:.1e}", r.name, r.error));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

// The terms of a derivative may cancel, so some of its error is that of numbers about 1.
#[test]
fn derivatives_are_the_cpus_over_the_whole_range() {
    let Some(gpu) = common::gpu() else { return };
    let mut problems = Vec::new();
    for r in rows() {
        let x = sweep(r.range);
        let on = |device: &Device| {
            let x = Tensor::new(&x, [x.len()], device).requires_grad();
            (r.f)(&x).backward().get(&x).map(values).expect("depends on x")
        };
        let (got, want) = (on(&gpu), on(&Device::cpu()));
        let far = |(got, want): (&f32, &f32)| (got - want).abs() > 1e-6 + 2e-5 * want.abs();
        if let Some(i) = got.iter().zip(&want).position(far) {
            problems.push(format!("{}'({:e}) is {:e}, {:e} on the CPU", r.name, x[i], got[i], want[i]));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn special_values_are_as_on_the_cpu() {
    let max = f32::MAX;
    let positive = [
        0.0,
        1e-45,
        1e-40,
        f32::MIN_POSITIVE,
        1e-20,
        1e-6,
        0.25,
        0.5,
        0.75,
        1.0,
        1.5,
        2.5,
        3.0,
        6.0,
        20.0,
        88.0,
        89.0,
        104.0,
        110.0,
        1e4,
        1e9,
        1e20,
        max,
        f32::INFINITY,
    ];
    let special: Vec<f32> = positive.iter().flat_map(|&v| [v, -v]).chain([f32::NAN, -f32::NAN]).collect();
    let mut functions: Vec<(String, Boxed)> = Vec::new();
    for r in rows() {
        functions.push((r.name.to_string(), Box::new(r.f)));
    }
    for a in
        [0.0, 1.0, -1.0, 2.0, 3.0, -3.0, 0.5, -0.5, 40.0, 41.0, -41.0, 1e30, f32::INFINITY, -f32::INFINITY, f32::NAN]
    {
        functions.push((format!("powf {a}"), Box::new(move |x| x.powf(a))));
    }
    let mut problems = Vec::new();
    for (name, f) in &functions {
        let on = |device: &Device| {
            let x = Tensor::new(&special, [special.len()], device).requires_grad();
            let y = f(&x);
            let dx = y.backward().get(&x).map_or_else(Vec::new, values);
            [values(&y), dx]
        };
        let want = on(&Device::cpu());
        for device in devices() {
            // The terms of a derivative may cancel.
            let kinds = [("", 0.0), ("'", 1e-7)];
            for ((got, want), (mark, slack)) in on(&device).into_iter().zip(&want).zip(kinds) {
                for ((x, got), want) in special.iter().zip(got).zip(want) {
                    if !alike(got, *want, slack) {
                        problems.push(format!("{name}{mark}({x:e}) is {got:e} on {device}, {want:e} on the CPU"));
                    }
                }
            }
        }
    }
    assert!(problems.is_empty(), "{} differ:\n{}", problems.len(), problems.join("\n"));
}

/// The same NaN-ness, infinity, and sign of zero, and nearly the same number. A GPU may take subnormal numbers for zero, also
/// on the way to a result that is a hundred times as large.
fn alike(got: f32, want: f32, slack: f32) -> bool {
    if got.is_nan() || want.is_nan() {
        return got.is_nan() && want.is_nan();
    }
    let near = got == want || (got - want).abs() <= slack.max(1.2e-36) + 2e-5 * want.abs();
    near && (got.is_sign_negative() == want.is_sign_negative() || (want != 0.0 && want.abs() <= slack.max(1.2e-36)))
}

#[test]
fn prelu_is_leaky_relu_with_a_learned_slope() {
    let x = spread([2, 3, 4], 7);
    for shape in [&[4][..], &[3, 1], &[1], &[], &[2, 3, 4]] {
        let slope = random(shape, 8, 0.1, 0.9);
        check_with("prelu", &[x.clone(), slope], 1e-3, |x| x[0].prelu(&x[1]));
    }
    for device in devices() {
        let x = Tensor::new(&[f32::NAN, -2.0, 0.0, f32::INFINITY, f32::NEG_INFINITY], [5], &device).requires_grad();
        let slope = Tensor::new(&[0.25], [1], &device).requires_grad();
        let y = x.prelu(&slope);
        let got = values(&y);
        assert!(got[0].is_nan() && got[1..] == [-0.5, 0.0, f32::INFINITY, f32::NEG_INFINITY], "{got:?} on {device}");
        assert_eq!(values(y.backward().get(&x).unwrap())[1..4], [0.25, 1.0, 1.0]);
    }
    let (x, wide) = (random([2, 3], 1, -1.0, 1.0), random([4, 2, 3], 2, 0.0, 1.0));
    assert_eq!(
        panic_message(|| x.prelu(&wide)),
        "prelu: slope does not broadcast to the shape of x ([2, 3] != [4, 2, 3])\n  x: [2, 3]\n  slope: [4, 2, 3]"
    );
    assert!(
        panic_message(|| x.prelu(&random([2], 1, 0.0, 1.0))).starts_with("prelu: shapes do not broadcast (3 != 2)")
    );
}

#[test]
fn limits_and_constants() {
    for device in devices() {
        let x = Tensor::new(&[-2.0, -0.5, 0.5, 2.0, f32::NAN], [5], &device);
        let is = |y: Tensor, want: [f32; 4]| {
            let got = values(&y);
            assert!(got[..4] == want && got[4].is_nan(), "{got:?} on {device}, expected {want:?}");
        };
        is(x.clip(1.0, -1.0), [-1.0; 4]);
        is(x.clip_min(-0.5), [-0.5, -0.5, 0.5, 2.0]);
        is(x.clip_max(0.25), [-2.0, -0.5, 0.25, 0.25]);
        is(x.shrink(0.0, 0.5), [-2.0, 0.0, 0.0, 2.0]);
        is(x.silu(), values(&x.swish())[..4].try_into().unwrap());
        is(x.selu_with(1.0, 2.0).affine(0.5, 0.0), values(&x.elu(1.0))[..4].try_into().unwrap());
        let three = Tensor::new(&[-3.0, 0.0, 3.0], [3], &device);
        assert_eq!(values(&three.hard_sigmoid()), [0.0, 0.5, 1.0]);
        assert_eq!(values(&three.hard_swish()), [0.0, 0.0, 3.0]);
        for shape in [&[0][..], &[2, 0, 3]] {
            let empty = Tensor::zeros(shape, &device).requires_grad();
            let y = empty.mish().prelu(&Tensor::zeros([1], &device));
            assert_eq!(y.backward().get(&empty).unwrap().shape()[..], *shape);
        }
        assert_eq!(Tensor::scalar(4.0, &device).rsqrt().item().unwrap(), 0.5);
    }
    let x = random([2], 1, -1.0, 1.0);
    assert_eq!(panic_message(|| x.clip(f32::NAN, 1.0)), "clip: the limits are NaN and 1, expected numbers");
    assert_eq!(panic_message(|| x.clip_max(f32::NAN)), "clip: the limits are -inf and NaN, expected numbers");
    assert_eq!(panic_message(|| x.celu(0.0)), "celu: alpha is 0, which x is divided by");
    let words = Tensor::new(&[1u32], [1], &Device::cpu());
    assert_eq!(panic_message(|| words.acosh()), "acosh: input 0 is u32, expected f32");
}

#[test]
fn fused_activations_have_second_derivatives() {
    let leaf = |w: &Tensor| if w.needs_grad() { w.clone() } else { w.requires_grad() };
    for activation in [Unary::Relu, Unary::Sigmoid, Unary::Tanh] {
        let inputs = [random([3, 4], 1, -1.0, 1.0), random([4, 5], 2, -1.0, 1.0), random([5], 3, -1.0, 1.0)];
        check_with(&format!("linear with {activation:?}, second derivative"), &inputs, 1e-3, |x| {
            let w = leaf(&x[1]);
            let y = x[0].linear(&w, Some(&x[2]), Some(activation));
            y.grad(&[&w])[0].clone().expect("depends on w")
        });
        let inputs = [random([2, 4, 4, 3], 4, -1.0, 1.0), random([2, 2, 3, 4], 5, -1.0, 1.0)];
        let options = Conv2dOptions { activation: Some(activation), ..Default::default() };
        check_with(&format!("conv2d with {activation:?}, second derivative"), &inputs, 1e-3, |x| {
            let w = leaf(&x[1]);
            x[0].conv2d(&w, None, &options).grad(&[&w])[0].clone().expect("depends on w")
        });
    }
}
