//! Binary, reductions and movement: gradients, GPU against CPU, strided inputs, error texts.

mod common;

use common::{check, check_forward, check_with, panic_message, random, spread};
use tilegrad::{Device, Tensor, Unary};

type Two = fn(&Tensor, &Tensor) -> Tensor;

#[test]
fn binary_functions_broadcast() {
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[2, 3, 4], &[2, 3, 4]),
        (&[2, 3, 4], &[4]),
        (&[2, 3, 1], &[1, 1, 4]),
        (&[], &[3, 2]),
        (&[5, 1], &[1, 7]),
        (&[1], &[1]),
    ];
    let rows: [(&str, Two); 9] = [
        ("add", Tensor::add),
        ("sub", Tensor::sub),
        ("mul", Tensor::mul),
        ("div", Tensor::div),
        ("pow", Tensor::pow),
        ("maximum", Tensor::maximum),
        ("minimum", Tensor::minimum),
        ("fmod", Tensor::fmod),
        ("remainder", |a, b| a.neg().remainder(b)),
    ];
    for (name, f) in rows {
        for (l, r) in shapes {
            let (l, r) = (random(l, 3, 0.5, 2.0), random(r, 4, 0.5, 2.0));
            check_with(&format!("{name} {} {}", l.shape(), r.shape()), &[l, r], 1e-3, |x| f(&x[0], &x[1]));
        }
    }
}

#[test]
fn reductions_over_any_axes() {
    let x = spread([3, 4, 5], 5);
    for axes in [&[0][..], &[1], &[-1], &[0, 1], &[0, 2], &[1, 2], &[0, 1, 2], &[]] {
        for keepdims in [false, true] {
            let one = std::slice::from_ref(&x);
            check(&format!("sum {axes:?}"), one, |x| x[0].sum_axes(axes, keepdims));
            check(&format!("mean {axes:?}"), one, |x| x[0].mean_axes(axes, keepdims));
            check_with(&format!("max {axes:?}"), one, 1e-3, |x| x[0].max_axes(axes, keepdims));
            check_with(&format!("min {axes:?}"), one, 1e-3, |x| x[0].min_axes(axes, keepdims));
        }
    }
    let long = random([5000, 3], 6, -1.0, 1.0);
    check_forward("sum of many rows", std::slice::from_ref(&long), |x| x[0].sum_axes(&[0], false));
    check_forward("sum of all", &[long], |x| x[0].sum());
    for device in common::devices() {
        let x = x.to(&device).unwrap();
        let tied = Tensor::new(&[1.0, 3.0, 3.0, f32::NAN, 9.0, f32::NAN], [2, 3], &device);
        assert_eq!(tied.argmax(1).to_vec::<u32>().unwrap(), [1, 0]);
        assert_eq!(x.argmax(-1).shape()[..], [3, 4]);
        assert!(tied.max().item().unwrap().is_nan() && tied.min().item().unwrap().is_nan());
        assert_eq!(Tensor::zeros([0, 3], &device).sum_axes(&[0], false).to_vec::<f32>().unwrap(), [0.0; 3]);
    }
}

// Past what llvmpipe runs in one loop (65,535 rounds).
#[test]
fn argmax_of_many_elements() {
    for device in common::devices() {
        for n in [100_000, 1_000_000] {
            let argmax = |v: &[f32], shape: [usize; 2], axis| {
                Tensor::new(v, shape, &device).argmax(axis).to_vec::<u32>().unwrap()
            };
            let mut v = random([n], 5, -1.0, 1.0).to_vec::<f32>().unwrap();
            v[n - 3] = 2.0;
            assert_eq!(argmax(&v, [1, n], 1), [n as u32 - 3], "of {n} on {device}");
            // The first of equal ones; and along the other axis, where rows are far apart.
            v[n - 70_000] = 2.0;
            assert_eq!(argmax(&v, [n, 1], 0), [n as u32 - 70_000], "of {n} on {device}");
            assert_eq!(argmax(&v, [n / 2, 2], 0)[1], n as u32 / 2 - 2, "of {n} on {device}");
            // NaN is larger than everything, and the first one stays.
            (v[n - 2], v[n - 1]) = (f32::NAN, f32::NAN);
            assert_eq!(argmax(&v, [1, n], 1), [n as u32 - 2], "of {n} on {device}");
        }
        let x = random([3, 5000], 6, -1.0, 1.0);
        let want = x.argmax(1).to_vec::<u32>().unwrap();
        assert_eq!(x.to(&device).unwrap().argmax(1).to_vec::<u32>().unwrap(), want, "on {device}");
        let part = x.to(&device).unwrap().slice(&[1..3]).argmax(1);
        assert_eq!(part.to_vec::<u32>().unwrap(), want[1..], "of a view on {device}");
    }
}

#[test]
fn movement() {
    let x = random([2, 3, 4], 7, -1.0, 1.0);
    let one = std::slice::from_ref(&x);
    check("reshape", one, |x| x[0].reshape([4, 6]).square());
    check("permute", one, |x| x[0].permute(&[2, 0, 1]).square());
    check("transpose", one, |x| x[0].transpose().square());
    check("slice", one, |x| x[0].slice(&[1..2, 0..2]).square());
    check("slice with steps", one, |x| x[0].slice_steps(&[(0..2, 1), (0..3, 2), (1..4, 2)]).square());
    check("broadcast", &[random([3, 1], 8, -1.0, 1.0)], |x| x[0].broadcast_to([2, 3, 5]).square());
    check("concat", &[x.clone(), random([2, 1, 4], 9, -1.0, 1.0)], |x| {
        Tensor::concat(&[&x[0], &x[1], &x[0]], 1).square()
    });
    check("pad", one, |x| x[0].pad(&[(1, 0), (0, 2)], 3.0).square());
    check("flatten", one, |x| x[0].flatten_from(1).unsqueeze(0).squeeze(0));
    for device in common::devices() {
        let bytes = Tensor::new(&(0..24).collect::<Vec<u8>>(), [2, 3, 4], &device);
        let got = bytes.permute(&[2, 1, 0]).slice(&[1..3]).to_vec::<u8>().unwrap();
        assert_eq!(got, [1, 13, 5, 17, 9, 21, 2, 14, 6, 18, 10, 22]);
    }
}

#[test]
fn nan_and_infinity_pass() {
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0, 1e38, -1e38, 1e-38];
    let functions = [Unary::Relu, Unary::Abs, Unary::Neg, Unary::Sigmoid, Unary::Tanh, Unary::Square, Unary::Exp];
    let x = Tensor::new(&odd, [8], &Device::cpu());
    for device in common::devices() {
        let there = x.to(&device).unwrap();
        for f in functions {
            let (got, want): (Vec<f32>, Vec<f32>) = (there.unary(f).to_vec().unwrap(), x.unary(f).to_vec().unwrap());
            for ((got, want), x) in got.iter().zip(&want).zip(odd) {
                let same = (got.is_nan() && want.is_nan()) || (got - want).abs() <= 1e-6 || got == want;
                assert!(same, "{f:?}({x}) is {got} on {device}, {want} on the CPU");
            }
        }
        let (a, b) = (there.reshape([8, 1]), there.reshape([1, 8]));
        for f in [Tensor::maximum, Tensor::minimum] {
            let nan = |v: Vec<f32>| v.iter().map(|v| v.is_nan()).collect::<Vec<_>>();
            let cpu = f(&x.reshape([8, 1]), &x.reshape([1, 8]));
            assert_eq!(nan(f(&a, &b).to_vec().unwrap()), nan(cpu.to_vec().unwrap()));
        }
    }
}

#[test]
fn shape_mistakes_say_what_clashes() {
    let d = Device::cpu();
    let (a, b) = (Tensor::zeros([2, 3], &d), Tensor::zeros([4, 3, 2], &d));
    let add = panic_message(|| a.add(&b));
    assert_eq!(
        add,
        "add: shapes do not broadcast (3 != 2)\n  lhs: [2, 3]   axis 1 = 3\n  rhs: [4, 3, 2]   axis 2 = 2\n  \
         help: axes are aligned at the last one; lengths must be equal, or one of them 1"
    );
    assert_eq!(panic_message(|| a.reshape([5])), "reshape: 6 elements do not fill [5], which has 5\n  x: [2, 3]");
    assert_eq!(panic_message(|| a.sum_axes(&[2], false)), "sum: axis 2 is out of range for rank 2\n  x: [2, 3]");
    assert!(
        panic_message(|| a.slice(&[0..3])).starts_with("slice: 0..3 in steps of 1 is outside axis 0 of shape [2, 3]")
    );
    assert!(
        panic_message(|| Tensor::new(&[1.0], [2], &d)).contains("shape [2] has 2 elements, but there are 1 values")
    );
    assert_eq!(
        panic_message(|| Tensor::zeros([1 << 40, 1 << 40], &d)),
        "shape: [1099511627776, 1099511627776] has more elements than memory could hold (2305843009213693951)"
    );
    // Of one element any step will do.
    assert_eq!(a.slice_steps(&[(1..2, usize::MAX), (0..3, 2)]).shape()[..], [1, 2]);
    let wide = |shape: [usize; 2]| Tensor::scalar(1.0, &d).broadcast_to(shape);
    assert_eq!(
        panic_message(|| wide([1 << 40, 1]).add(&wide([1, 1 << 40]))),
        "add: [1099511627776, 1099511627776] has more elements than memory could hold (2305843009213693951)\n  \
         lhs: [1099511627776, 1]\n  rhs: [1, 1099511627776]"
    );
}
