//! Products, norms, variances, log-sum-exp and argmin: gradients, integers, no elements, special values, messages.

mod common;

use common::{check, check_forward, check_with, devices, nmse, panic_message, random, spread};
use tilegrad::{DType, Device, Tensor};

const INF: f32 = f32::INFINITY;

fn cpu<T: tilegrad::Element>(values: &[T], shape: &[usize]) -> Tensor {
    Tensor::new(values, shape, &Device::cpu())
}

fn floats(x: &Tensor) -> Vec<f32> {
    x.to_vec().unwrap()
}

/// Every set of axes of a tensor of rank 3, some of them counted from the end.
const AXES: [&[isize]; 8] = [&[0], &[1], &[-1], &[0, 1], &[0, -1], &[1, 2], &[0, 1, 2], &[]];

/// The gradient of the sum of `f(x) * c`, to be differentiated again.
fn gradient_of(x: &[Tensor], f: impl Fn(&Tensor) -> Tensor) -> Tensor {
    let leaf = if x[0].needs_grad() { x[0].clone() } else { x[0].requires_grad() };
    let y = f(&leaf);
    y.mul(&y).sum().grad(&[&leaf])[0].clone().unwrap()
}

type One = fn(&Tensor) -> Tensor;

#[test]
fn products_and_norms_over_any_axes() {
    let x = spread([3, 4, 2], 5).affine(1.0, 0.1);
    let one = std::slice::from_ref(&x);
    for axes in AXES {
        for keepdims in [false, true] {
            check(&format!("prod {axes:?}"), one, |x| x[0].prod_axes(axes, keepdims));
            check_with(&format!("l1_norm {axes:?}"), one, 1e-3, |x| x[0].l1_norm_axes(axes, keepdims));
            check(&format!("l2_norm {axes:?}"), one, |x| x[0].l2_norm_axes(axes, keepdims));
            check(&format!("sum_square {axes:?}"), one, |x| x[0].sum_square_axes(axes, keepdims));
            check(&format!("logsumexp {axes:?}"), one, |x| x[0].logsumexp_axes(axes, keepdims));
        }
    }
    for axes in [&[0][..], &[1], &[-2, 2], &[0, 1, 2]] {
        for (keepdims, ddof) in [(false, 0), (true, 1)] {
            check(&format!("var {axes:?}"), one, |x| x[0].var_axes(axes, keepdims, ddof));
            check(&format!("std {axes:?}"), one, |x| x[0].std_axes(axes, keepdims, ddof));
        }
    }
    let whole: [fn(&Tensor) -> Tensor; 7] = [
        Tensor::prod,
        Tensor::l2_norm,
        Tensor::l1_norm,
        Tensor::sum_square,
        Tensor::logsumexp,
        |x| x.var(1),
        |x| x.std(1),
    ];
    for f in whole {
        check("of all elements", one, |x| f(&x[0]));
    }
}

#[test]
fn values_are_those_of_numpy() {
    for device in devices() {
        let x = cpu(&[1.0, 2.0, 4.0, -3.0, 0.5, 2.0], &[2, 3]).to(&device).unwrap();
        assert_eq!(floats(&x.prod_axes(&[1], false)), [8.0, -3.0], "on {device}");
        assert_eq!(floats(&x.prod_axes(&[0], true)), [-3.0, 1.0, 8.0], "on {device}");
        assert_eq!(floats(&x.l1_norm_axes(&[1], false)), [7.0, 5.5], "on {device}");
        assert_eq!(floats(&x.sum_square_axes(&[1], false)), [21.0, 13.25], "on {device}");
        let near = |got: Tensor, want: &[f32]| assert!(nmse(&floats(&got), want) < 1e-12, "{:?} on {device}", got);
        near(x.l2_norm_axes(&[1], false), &[4.582_576, 3.640_055]);
        near(x.var_axes(&[1], false, 0), &[1.555_555_6, 4.388_889]);
        near(x.var_axes(&[1], false, 1), &[2.333_333_3, 6.583_333_5]);
        near(x.std_axes(&[1], false, 0), &[1.247_219_1, 2.094_967_6]);
        near(x.std(1), &[2.332_738]);
        near(x.logsumexp_axes(&[1], false), &[4.169_846, 2.206_907]);
        assert_eq!(x.argmin(1).to_vec::<u32>().unwrap(), [0, 0]);
        assert_eq!(x.argmin(0).to_vec::<u32>().unwrap(), [1, 1, 1]);
    }
}

#[test]
fn the_gradient_of_a_product_is_right_where_elements_are_zero() {
    let x = cpu(&[2.0, 0.0, 3.0, 0.0, 5.0, 0.0, 1.5, -2.0, 4.0], &[3, 3]);
    check("prod with zeros", std::slice::from_ref(&x), |x| x[0].prod_axes(&[1], false));
    check("prod with zeros, down", std::slice::from_ref(&x), |x| x[0].prod_axes(&[0], false));
    for device in devices() {
        let x = x.to(&device).unwrap().requires_grad();
        let dx = x.prod_axes(&[1], false).backward();
        let want = [0.0, 6.0, 0.0, 0.0, 0.0, 0.0, -8.0, 6.0, -3.0];
        assert_eq!(floats(dx.get(&x).unwrap()), want, "on {device}");
    }
    for with_zeros in [x, spread([2, 4], 3)] {
        check("second derivative of prod", &[with_zeros], |x| {
            gradient_of(x, |x| x.prod_axes(&[1], true).add(&x.prod_axes(&[0], true)))
        });
    }
}

#[test]
fn second_derivatives() {
    let x = spread([3, 4], 7);
    check("of var", std::slice::from_ref(&x), |x| gradient_of(x, |x| x.var_axes(&[1], false, 1)));
    check("of sum_square", std::slice::from_ref(&x), |x| gradient_of(x, |x| x.sum_square_axes(&[0], false)));
    check("of mean", std::slice::from_ref(&x), |x| gradient_of(x, |x| x.mean_axes(&[0], false)));
    check_with("of max", &[x], 1e-3, |x| gradient_of(x, |x| x.max_axes(&[1], false)));
}

#[test]
fn norms_neither_overflow_nor_vanish() {
    for device in devices() {
        let rows = [3e30, 4e30, 3e-30, 4e-30, 0.0, 0.0, INF, 1.0, -INF, INF, f32::NAN, 1.0, 3e38, 3e38, -0.0, 2.0];
        let x = cpu(&rows, &[8, 2]).to(&device).unwrap();
        let norms = floats(&x.l2_norm_axes(&[1], false));
        assert!(nmse(&norms[..1], &[5e30]) < 1e-12, "{norms:?}");
        assert!((norms[1] / 5e-30 - 1.0).abs() < 1e-6, "{norms:?} on {device}");
        assert_eq!((norms[2], norms[3], norms[4], norms[6], norms[7]), (0.0, INF, INF, INF, 2.0), "on {device}");
        assert!(norms[5].is_nan(), "on {device}");
        // The gradient is a unit vector, and 0 at 0.
        let x = cpu(&[3e30, 4e30, 3e-30, 4e-30, 0.0, 0.0], &[3, 2]).to(&device).unwrap().requires_grad();
        let gradients = x.l2_norm_axes(&[1], false).backward();
        let dx = floats(gradients.get(&x).unwrap());
        assert!(nmse(&dx, &[0.6, 0.8, 0.6, 0.8, 0.0, 0.0]) < 1e-12, "{dx:?} on {device}");
        assert_eq!(dx[4..], [0.0, 0.0]);
        let same = cpu(&[7.0; 4], &[4]).to(&device).unwrap().requires_grad();
        let gradients = same.std(0).backward();
        assert_eq!(floats(gradients.get(&same).unwrap()), [0.0; 4], "on {device}");
        assert_eq!(same.std(0).item().unwrap(), 0.0);
    }
}

#[test]
fn log_sums_of_any_size() {
    for device in devices() {
        let rows = [1e4, 1e4, -1e4, -1e4, -INF, -INF, -INF, 2.0, INF, 1.0, INF, -INF, f32::NAN, 1.0];
        let y = floats(&cpu(&rows, &[7, 2]).to(&device).unwrap().logsumexp_axes(&[1], false));
        assert!((y[0] - 10_000.693).abs() < 1e-2 && (y[1] + 9_999.307).abs() < 1e-2, "{y:?} on {device}");
        assert_eq!((y[2], y[3], y[4], y[5]), (-INF, 2.0, INF, INF), "on {device}");
        assert!(y[6].is_nan(), "on {device}");
    }
}

#[test]
fn variances_of_numbers_far_from_zero() {
    for device in devices() {
        let x = cpu(&[10_000.0, 10_001.0, 10_002.0, 10_003.0], &[4]).to(&device).unwrap();
        assert_eq!((x.var(0).item().unwrap(), x.var(1).item().unwrap()), (1.25, 1.666_666_7), "on {device}");
    }
}

#[test]
fn reductions_of_no_elements() {
    for device in devices() {
        let x = Tensor::zeros([2, 0, 3], &device);
        for keepdims in [false, true] {
            let full = |y: Tensor, want: f32| {
                assert_eq!(y.shape()[..], if keepdims { vec![2, 1, 3] } else { vec![2, 3] });
                floats(&y)
                    .iter()
                    .for_each(|v| assert!(*v == want || (v.is_nan() && want.is_nan()), "{v} is not {want}"));
            };
            full(x.sum_axes(&[1], keepdims), 0.0);
            full(x.mean_axes(&[1], keepdims), f32::NAN);
            full(x.prod_axes(&[1], keepdims), 1.0);
            full(x.l1_norm_axes(&[1], keepdims), 0.0);
            full(x.l2_norm_axes(&[1], keepdims), 0.0);
            full(x.sum_square_axes(&[1], keepdims), 0.0);
            full(x.logsumexp_axes(&[1], keepdims), -INF);
            full(x.var_axes(&[1], keepdims, 0), f32::NAN);
            full(x.std_axes(&[1], keepdims, 0), f32::NAN);
            full(x.max_axes_from(&[1], keepdims, -INF), -INF);
            full(x.min_axes_from(&[1], keepdims, INF), INF);
        }
        // Nothing is reduced to nothing: no element is missing.
        assert_eq!(x.max_axes(&[0], false).shape()[..], [0, 3]);
        assert_eq!(x.argmin(0).shape()[..], [0, 3]);
        assert_eq!(x.logsumexp_axes(&[0], false).shape()[..], [0, 3]);
        let none = Tensor::new::<i32>(&[], [0, 2], &device);
        assert_eq!(none.sum_axes(&[0], false).to_vec::<i32>().unwrap(), [0, 0]);
        assert_eq!(none.prod_axes(&[0], false).to_vec::<i32>().unwrap(), [1, 1]);
        assert_eq!(none.max_axes_from(&[0], false, i32::MIN).to_vec::<i32>().unwrap(), [i32::MIN; 2]);
        let scalar = Tensor::scalar(3.0, &device);
        assert_eq!((scalar.prod().item().unwrap(), scalar.std(0).item().unwrap()), (3.0, 0.0));
        assert_eq!(scalar.l2_norm_axes(&[], true).shape().rank(), 0);
        // As numpy: what nothing is left to divide by.
        let pair = cpu(&[1.0, 3.0], &[2]).to(&device).unwrap();
        assert_eq!(pair.var(2).item().unwrap(), INF);
        assert!(scalar.var(1).item().unwrap().is_nan());
    }
}

#[test]
fn extremes_with_an_initial_value() {
    for device in devices() {
        let x = cpu(&[1.0, 5.0, -2.0, f32::NAN], &[2, 2]).to(&device).unwrap();
        let y = floats(&x.max_axes_from(&[1], false, 7.0));
        assert!(y[0] == 7.0 && y[1].is_nan(), "on {device}");
        let x = cpu(&[true, false, false, false], &[2, 2]).to(&device).unwrap();
        assert_eq!(x.max_axes_from(&[1], false, false).to_vec::<bool>().unwrap(), [true, false], "on {device}");
        assert_eq!(x.min_axes_from(&[1], true, true).to_vec::<bool>().unwrap(), [false, false], "on {device}");
    }
}

#[test]
fn integers() {
    let signed = [3, -7, i32::MAX, 2, i32::MIN, 5];
    let unsigned = [3, u32::MAX, 7, 2, 1 << 31, 5];
    for device in devices() {
        let x = cpu(&signed, &[2, 3]).to(&device).unwrap();
        let i32s = |y: Tensor| y.to_vec::<i32>().unwrap();
        let total = |v: &[i32]| v.iter().fold(0i32, |a, b| a.wrapping_add(*b));
        assert_eq!(i32s(x.sum_axes(&[1], false)), [total(&signed[..3]), total(&signed[3..])], "on {device}");
        assert_eq!(i32s(x.max_axes(&[1], false)), [i32::MAX, 5], "on {device}");
        assert_eq!(i32s(x.min_axes(&[0], true)), [2, i32::MIN, 5], "on {device}");
        assert_eq!(i32s(x.prod_axes(&[0], false)), [6, (-7i32).wrapping_mul(i32::MIN), i32::MAX.wrapping_mul(5)]);
        assert_eq!(i32s(cpu(&[-3, -4, 3, 4], &[2, 2]).to(&device).unwrap().mean_axes(&[1], false)), [-3, 3]);
        assert_eq!(x.argmax(1).to_vec::<u32>().unwrap(), [2, 2], "on {device}");
        assert_eq!(x.argmin(1).to_vec::<u32>().unwrap(), [1, 1], "on {device}");
        let u = cpu(&unsigned, &[2, 3]).to(&device).unwrap();
        let u32s = |y: Tensor| y.to_vec::<u32>().unwrap();
        assert_eq!(u32s(u.max_axes(&[1], false)), [u32::MAX, 1 << 31], "on {device}");
        assert_eq!(u32s(u.min_axes(&[1], false)), [3, 2], "on {device}");
        assert_eq!(u32s(u.mean_axes(&[1], false)), [9 / 3, ((1u32 << 31) + 7) / 3], "on {device}");
        assert_eq!(u.argmax(1).to_vec::<u32>().unwrap(), [1, 1], "on {device}");
        // Bytes and conditions: sums are larger, extremes are elements.
        let bytes = cpu(&[200u8, 100, 7, 3, 0, 250], &[2, 3]).to(&device).unwrap();
        assert_eq!(u32s(bytes.sum_axes(&[1], false)), [307, 253], "on {device}");
        assert_eq!(bytes.max_axes(&[0], false).to_vec::<u8>().unwrap(), [200, 100, 250], "on {device}");
        assert_eq!(bytes.argmin(1).to_vec::<u32>().unwrap(), [2, 1], "on {device}");
        let truths = bytes.gt(&bytes.min_axes(&[1], true));
        assert_eq!(u32s(truths.sum_axes(&[1], false)), [2, 2], "on {device}");
        assert_eq!(truths.min_axes(&[0], false).dtype(), DType::Bool);
        // Many elements, and more than a thread of a software adapter can go through.
        let many: Vec<i32> = (0..200_000).map(|i| i * 7919 % 1_000_003 - 500_000).collect();
        for (shape, axis) in [([1, 200_000], 1), ([200_000, 1], 0)] {
            let x = cpu(&many, &shape).to(&device).unwrap();
            assert_eq!(i32s(x.sum_axes(&[axis], false)), [total(&many)], "on {device}");
            assert_eq!(i32s(x.max_axes(&[axis], false)), [*many.iter().max().unwrap()], "on {device}");
            let least = many.iter().enumerate().min_by_key(|(_, v)| **v).unwrap().0 as u32;
            assert_eq!(x.argmin(axis).to_vec::<u32>().unwrap(), [least], "on {device}");
        }
    }
}

#[test]
fn special_values() {
    for device in devices() {
        let rows = [0.0, -0.0, 1.0, INF, f32::NAN, -INF, -0.0, 0.0, 5.0, f32::NAN, f32::NAN, 1.0];
        let x = cpu(&rows, &[4, 3]).to(&device).unwrap();
        let index = |y: Tensor| y.to_vec::<u32>().unwrap();
        assert_eq!(index(x.argmin(1)), [0, 1, 0, 0], "on {device}");
        assert_eq!(index(x.argmax(1)), [2, 1, 2, 0], "on {device}");
        assert_eq!(index(x.argmin_last(1)), [1, 1, 1, 1], "on {device}");
        assert_eq!(index(x.argmax_last(1)), [2, 1, 2, 1], "on {device}");
        let bits = |y: Tensor| floats(&y).iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        // Of -0 and 0 the first one stays, and a sum of negative zeros is 0.
        assert_eq!(bits(x.slice(&[0..1, 0..2]).min_axes(&[1], false)), [0], "on {device}");
        assert_eq!(bits(x.slice(&[2..3, 0..2]).max_axes(&[1], false)), [1 << 31], "on {device}");
        assert_eq!(bits(cpu(&[-0.0f32, -0.0], &[2]).to(&device).unwrap().sum()), [0], "on {device}");
        let y = floats(&x.prod_axes(&[1], false));
        assert!(y[0] == 0.0 && y[1].is_nan() && y[2] == 0.0 && y[3].is_nan(), "{y:?} on {device}");
        let of = |v: &[f32]| cpu(v, &[v.len()]).to(&device).unwrap();
        assert_eq!(of(&[INF, -2.0]).prod().item().unwrap(), -INF, "on {device}");
        assert!(of(&[INF, 0.0]).prod().item().unwrap().is_nan(), "on {device}");
    }
}

#[test]
fn long_axes_both_ways() {
    let x = random([70_001, 3], 8, 0.99, 1.01);
    for (name, axis) in [("down", 0), ("across", 1)] {
        let x = if axis == 0 { x.clone() } else { x.transpose().contiguous() };
        let one = std::slice::from_ref(&x);
        check_forward(&format!("prod {name}"), one, |x| x[0].prod_axes(&[axis], false));
        check_forward(&format!("l2_norm {name}"), one, |x| x[0].l2_norm_axes(&[axis], false));
        check_forward(&format!("var {name}"), one, |x| x[0].var_axes(&[axis], false, 0));
        check_forward(&format!("logsumexp {name}"), one, |x| x[0].logsumexp_axes(&[axis], false));
        check_forward(&format!("argmin {name}"), one, |x| x[0].argmin(axis).cast(DType::F32));
    }
    // Sums of equal numbers, whose rounding errors all have one sign: of few long columns and of many.
    for device in devices() {
        for shape in [[1_000_000, 1], [1, 1_000_000], [40_000, 600]] {
            let axis = if shape[0] > 1 { 0 } else { 1 };
            let sums = floats(&Tensor::full(0.1, shape, &device).sum_axes(&[axis], false));
            let want = 0.1 * shape[axis as usize] as f32;
            assert!(sums.iter().all(|s| (s / want - 1.0).abs() < 1e-5), "{} of {shape:?} on {device}", sums[0]);
        }
    }
}

#[test]
fn mistakes() {
    let x = Tensor::zeros([2, 3], &Device::cpu());
    let twice = "prod: axis -1 is named twice in [1, -1]\n  x: [2, 3]";
    assert_eq!(panic_message(|| x.prod_axes(&[1, -1], false)), twice);
    let names: [(&str, One); 8] = [
        ("prod", |x| x.prod_axes(&[2], false)),
        ("l1_norm", |x| x.l1_norm_axes(&[2], false)),
        ("l2_norm", |x| x.l2_norm_axes(&[2], false)),
        ("sum_square", |x| x.sum_square_axes(&[2], false)),
        ("logsumexp", |x| x.logsumexp_axes(&[2], false)),
        ("var", |x| x.var_axes(&[2], false, 0)),
        ("std", |x| x.std_axes(&[2], false, 0)),
        ("argmin", |x| x.argmin(2)),
    ];
    for (name, f) in names {
        assert_eq!(panic_message(|| f(&x)), format!("{name}: axis 2 is out of range for rank 2\n  x: [2, 3]"));
    }
    let none = Tensor::zeros([2, 0], &Device::cpu());
    let none_of = "there is no smallest of no elements\n  x: [2, 0]";
    let help = "help: `min_axes_from` takes a value for this case";
    assert_eq!(panic_message(|| none.min_axes(&[1], false)), format!("min: {none_of}\n  {help}"));
    assert_eq!(panic_message(|| none.argmin(1)), format!("argmin: {none_of}"));
    let none = Tensor::new::<i32>(&[], [2, 0], &Device::cpu());
    assert_eq!(panic_message(|| none.mean_axes(&[1], false)), "mean: there is no mean of no i32 elements\n  x: [2, 0]");
    let whole = Tensor::new(&[1i32, 2], [2], &Device::cpu());
    assert_eq!(panic_message(|| whole.l2_norm()), "clip: input 0 is i32, expected f32");
    let from = panic_message(|| x.max_axes_from(&[1], false, 0i32));
    assert_eq!(from, "max: the initial value is i32, the tensor f32");
}
