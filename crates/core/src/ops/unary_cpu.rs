//! The CPU's loops over functions of one tensor. Those that networks spend time in compile to vector code: no call and no
//! branch between elements. Each element has the bits that the table's function gives it alone, at any vector width.

use super::unary_table::Unary;
use crate::cpu::lanes::{Loop, wide};
use crate::cpu::par;

/// `y = f(x)`.
pub(super) fn values(function: Unary, [a, b]: [f32; 2], x: &[f32], y: &mut [f32]) {
    match function {
        Unary::Relu => vectors(x, y, |x| if x <= 0.0 { 0.0 } else { x }),
        Unary::Sigmoid => vectors(x, y, logistic),
        Unary::Swish => vectors(x, y, swish),
        _ => {
            let f = function.row().f;
            par::map(y, |i| f(x[i], a, b));
        }
    }
}

/// `dx = dy * f'(v)`.
pub(super) fn derivatives(function: Unary, [a, b]: [f32; 2], v: &[f32], dy: &[f32], dx: &mut [f32]) {
    match function {
        Unary::Relu => vectors_of_two(v, dy, dx, |v, dy| dy * if v <= 0.0 { 0.0 } else { 1.0 }),
        Unary::Swish => vectors_of_two(v, dy, dx, |v, dy| dy * swish_derivative(v)),
        _ => {
            let df = function.row().df;
            par::map(dx, |i| dy[i] * df(v[i], a, b));
        }
    }
}

fn vectors(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32 + Copy + Sync) {
    par::chunks(y, 1, |first, y| wide(Of { x: &x[first..], y, f }));
}

fn vectors_of_two(v: &[f32], dy: &[f32], dx: &mut [f32], f: impl Fn(f32, f32) -> f32 + Copy + Sync) {
    par::chunks(dx, 1, |first, dx| wide(OfTwo { v: &v[first..], dy: &dy[first..], dx, f }));
}

struct Of<'a, F> {
    x: &'a [f32],
    y: &'a mut [f32],
    f: F,
}

impl<F: Fn(f32) -> f32> Loop for Of<'_, F> {
    #[inline(always)]
    fn run(self) {
        self.y.iter_mut().zip(self.x).for_each(|(y, &x)| *y = (self.f)(x));
    }
}

struct OfTwo<'a, F> {
    v: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    f: F,
}

impl<F: Fn(f32, f32) -> f32> Loop for OfTwo<'_, F> {
    #[inline(always)]
    fn run(self) {
        let dx = self.dx.iter_mut().zip(self.v);
        dx.zip(self.dy).for_each(|((dx, &v), &dy)| *dx = (self.f)(v, dy));
    }
}

#[inline(always)]
pub(super) fn logistic(x: f32) -> f32 {
    // exp of a non-positive number can't overflow.
    let e = exp_of_negative(-x.abs());
    let above = if x < 0.0 { e } else { 1.0 };
    above / (1.0 + e)
}

#[inline(always)]
pub(super) fn swish(x: f32) -> f32 {
    x * logistic(x)
}

#[inline(always)]
pub(super) fn swish_derivative(x: f32) -> f32 {
    let s = logistic(x);
    s * (1.0 + x * (1.0 - s))
}

/// `e^x` for `x` of at most 0, to a unit of the last place: `2^n e^r` with `|r|` of at most `ln(2) / 2`, and `e^r` by the
/// polynomial of Cephes's `expf`. Faster than the system's, which is a call for each element.
#[inline(always)]
fn exp_of_negative(x: f32) -> f32 {
    // Below this, 0 in f32. NaN stays.
    let x = if x < -104.0 { -104.0 } else { x };
    // The sum has no digits behind the point, and the whole number in its last bits.
    const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    // ln(2) in two parts, so that the first product is exact.
    let r = x - n * (355.0 / 512.0) + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let e = p * (r * r) + r + 1.0;
    // 2^n in two factors: for the smallest results it is no normal number itself.
    let n = (shifted.to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32);
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
    let half = n >> 1;
    e * power(half) * power(n.wrapping_sub(half))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> Vec<f32> {
        let edges = [0.0, -0.0, 1e-40, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY, f32::NAN];
        let steps = (0..40_000).map(|i| i as f32 * 0.0029);
        steps.chain(edges).flat_map(|x| [x, -x]).collect()
    }

    #[test]
    fn loops_give_the_bits_of_the_table() {
        let x = numbers();
        let dy: Vec<f32> = (0..x.len()).map(|i| (i % 97) as f32 / 97.0 - 0.5).collect();
        // NaN's sign and payload are nobody's business.
        let bits = |x: f32| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() };
        for function in [Unary::Relu, Unary::Sigmoid, Unary::Swish] {
            let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            values(function, [0.0; 2], &x, &mut y);
            derivatives(function, [0.0; 2], &x, &dy, &mut dx);
            for i in 0..x.len() {
                let (f, df) = ((function.row().f)(x[i], 0.0, 0.0), dy[i] * (function.row().df)(x[i], 0.0, 0.0));
                assert_eq!(bits(y[i]), bits(f), "{function:?} of {}", x[i]);
                assert_eq!(bits(dx[i]), bits(df), "{function:?}' of {}", x[i]);
            }
        }
    }

    #[test]
    fn exp_of_negative_is_exp() {
        for x in numbers().into_iter().map(|x| -x.abs()) {
            let (got, want) = (exp_of_negative(x), f64::from(x).exp());
            // A unit of the last place, also of numbers too small to be normal.
            let unit = f64::from(f32::EPSILON) * want.max(f64::from(f32::MIN_POSITIVE));
            let near = (f64::from(got) - want).abs() <= unit || x.is_nan() && got.is_nan();
            assert!(near, "e^{x} is {want}, got {got}");
        }
    }
}
