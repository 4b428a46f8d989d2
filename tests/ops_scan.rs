//! Running sums and products, sorting, top-k: gradients, both ends, integers, long axes, special values, messages.

mod common;

use common::{Lcg, check, check_forward, check_with, devices, panic_message, random, spread};
use tilegrad::{DType, Device, ScanOptions, Tensor};

const INF: f32 = f32::INFINITY;

const OPTIONS: [ScanOptions; 4] = [
    ScanOptions { exclusive: false, reverse: false },
    ScanOptions { exclusive: true, reverse: false },
    ScanOptions { exclusive: false, reverse: true },
    ScanOptions { exclusive: true, reverse: true },
];

fn cpu<T: tilegrad::Element>(values: &[T], shape: &[usize]) -> Tensor {
    Tensor::new(values, shape, &Device::cpu())
}

fn floats(x: &Tensor) -> Vec<f32> {
    x.to_vec().unwrap()
}

/// The gradient of a loss that is not linear in `f(x)`, to be differentiated again.
fn gradient_of(x: &[Tensor], f: impl Fn(&Tensor) -> Tensor) -> Tensor {
    let leaf = if x[0].needs_grad() { x[0].clone() } else { x[0].requires_grad() };
    let y = f(&leaf);
    y.mul(&y).sum().grad(&[&leaf])[0].clone().unwrap()
}

#[test]
fn running_sums_and_products() {
    let x = random([3, 4, 2], 5, 0.5, 1.5);
    let zeros = cpu(&[2.0, 0.0, 3.0, 0.0, 5.0, 0.5, 0.0, -2.0, 4.0, 0.0, 0.0, 1.0], &[2, 6]);
    for options in OPTIONS {
        for axis in [0, 1, -1] {
            check(&format!("cumsum {axis} {options:?}"), std::slice::from_ref(&x), |x| x[0].cumsum_with(axis, options));
            check(&format!("cumprod {axis} {options:?}"), std::slice::from_ref(&x), |x| {
                x[0].cumprod_with(axis, options)
            });
        }
        check_with(&format!("cumprod of zeros {options:?}"), std::slice::from_ref(&zeros), 1e-3, |x| {
            x[0].cumprod_with(1, options)
        });
        for x in [&x.slice(&[0..1, 0..4, 0..1]).reshape([1, 4]), &zeros] {
            check_with(&format!("second derivative of cumprod {options:?}"), std::slice::from_ref(x), 1e-3, |x| {
                gradient_of(x, |x| x.cumprod_with(1, options))
            });
        }
    }
    check("second derivative of cumsum", std::slice::from_ref(&x), |x| gradient_of(x, |x| x.cumsum(1)));
    for device in devices() {
        let x = cpu(&[1.0, 2.0, 3.0, 4.0], &[4]).to(&device).unwrap();
        let sums = OPTIONS.map(|options| floats(&x.cumsum_with(0, options)));
        let want = [[1.0, 3.0, 6.0, 10.0], [0.0, 1.0, 3.0, 6.0], [10.0, 9.0, 7.0, 4.0], [9.0, 7.0, 4.0, 0.0]];
        assert_eq!(sums, want, "on {device}");
        let products = OPTIONS.map(|options| floats(&x.cumprod_with(-1, options)));
        let want = [[1.0, 2.0, 6.0, 24.0], [1.0, 1.0, 2.0, 6.0], [24.0, 24.0, 12.0, 4.0], [24.0, 12.0, 4.0, 1.0]];
        assert_eq!(products, want, "on {device}");
    }
}

#[test]
fn running_sums_of_integers() {
    for device in devices() {
        let x = cpu(&[i32::MAX, 2, -5, 7], &[4]).to(&device).unwrap();
        let (a, b) = (i32::MAX.wrapping_add(2), i32::MAX.wrapping_mul(2));
        assert_eq!(x.cumsum(0).to_vec::<i32>().unwrap(), [i32::MAX, a, a.wrapping_sub(5), a + 2], "on {device}");
        let products = [i32::MAX, b, b.wrapping_mul(-5), b.wrapping_mul(-35)];
        assert_eq!(x.cumprod(0).to_vec::<i32>().unwrap(), products, "on {device}");
        let exclusive = x.cumprod_with(0, ScanOptions { exclusive: true, reverse: true });
        assert_eq!(exclusive.to_vec::<i32>().unwrap(), [-70, -35, 7, 1], "on {device}");
        let truths = cpu(&[true, false, true], &[3]).to(&device).unwrap();
        assert_eq!(truths.cumsum(0).to_vec::<u32>().unwrap(), [1, 1, 2], "on {device}");
    }
}

#[test]
fn long_scans_both_ways() {
    // Past what llvmpipe runs in one loop (65,535 rounds).
    let x = random([70_001, 2], 8, -1.0, 1.0);
    let near_one = random([70_001, 2], 9, 0.9999, 1.0001);
    let whole: Vec<i32> = (0..70_001).map(|i| i * 7919 % 1_000_003).collect();
    for options in OPTIONS {
        for axis in [0, 1] {
            let turn = |x: &Tensor| if axis == 0 { x.clone() } else { x.transpose().contiguous() };
            let name = format!("{axis} {options:?}");
            check_forward(&format!("cumsum {name}"), &[turn(&x)], |x| x[0].cumsum_with(axis, options));
            check_forward(&format!("cumprod {name}"), &[turn(&near_one)], |x| x[0].cumprod_with(axis, options));
        }
        let want = cpu(&whole, &[70_001]).cumsum_with(0, options).to_vec::<i32>().unwrap();
        for device in devices() {
            let x = cpu(&whole, &[70_001]).to(&device).unwrap();
            assert_eq!(x.cumsum_with(0, options).to_vec::<i32>().unwrap(), want, "{options:?} on {device}");
        }
    }
    for device in devices() {
        for n in [1, 255, 256, 257, 1000, 4096, 4097, 32_768, 32_769] {
            let sums = floats(&Tensor::ones([n], &device).cumsum(0));
            assert!((1..=n).zip(&sums).all(|(i, s)| i as f32 == *s), "of {n} on {device}");
        }
    }
}

#[test]
fn scans_of_special_values() {
    for device in devices() {
        let same = |got: &Tensor, want: &[f32]| {
            let got = floats(got);
            let agree = got.iter().zip(want).all(|(g, w)| g == w || (g.is_nan() && w.is_nan()));
            assert!(agree, "{got:?} is not {want:?} on {device}");
        };
        let x = cpu(&[1.0, INF, 2.0, -INF, 3.0], &[5]).to(&device).unwrap();
        same(&x.cumsum(0), &[1.0, INF, INF, f32::NAN, f32::NAN]);
        same(&x.cumprod(0), &[1.0, INF, INF, -INF, -INF]);
        // What overflowed stays so, and what is 0.
        let x = cpu(&[1e30, 1e30, 1e-30, 0.0, 1e30, 1e30], &[6]).to(&device).unwrap();
        same(&x.cumprod(0), &[1e30, INF, INF, f32::NAN, f32::NAN, f32::NAN]);
        let mut long = vec![10.0; 5000];
        long[3] = 0.0;
        let y = floats(&cpu(&long, &[5000]).to(&device).unwrap().cumprod(0));
        assert!(y[3..].iter().all(|v| *v == 0.0), "on {device}");
        let empty = Tensor::zeros([0, 3], &device);
        assert_eq!(empty.cumsum(0).shape()[..], [0, 3]);
        assert_eq!(empty.cumprod(1).shape()[..], [0, 3]);
        let leaf = empty.requires_grad();
        assert_eq!(leaf.cumprod(0).backward().get(&leaf).unwrap().shape()[..], [0, 3]);
    }
}

#[test]
fn sorting() {
    let x = spread([3, 4, 5], 11);
    for axis in [0, 1, -1] {
        for descending in [false, true] {
            let name = format!("sort {axis} {descending}");
            check_with(&name, std::slice::from_ref(&x), 1e-3, |x| x[0].sort(axis, descending).0);
            check_with(&format!("topk {name}"), std::slice::from_ref(&x), 1e-3, |x| x[0].topk(2, axis, descending).0);
            let positions = |x: &[Tensor]| x[0].argsort(axis, descending).cast(DType::F32);
            check_forward(&format!("arg{name}"), std::slice::from_ref(&x), positions);
        }
    }
    check_with("second derivative", &[x], 1e-3, |x| gradient_of(x, |x| x.topk(3, 1, true).0));
}

#[test]
fn sorting_is_stable_for_any_length() {
    let mut lcg = Lcg::new(3);
    for n in [1, 2, 3, 7, 64, 100, 1000, 1025, 70_001] {
        // Few different values, so that many are equal.
        let values: Vec<f32> = (0..n).map(|_| (lcg.next_u32() % 50) as f32 - 25.0).collect();
        for descending in [false, true] {
            let mut order: Vec<u32> = (0..n as u32).collect();
            let key = |i: &u32| if descending { -values[*i as usize] } else { values[*i as usize] };
            order.sort_by(|a, b| key(a).total_cmp(&key(b)));
            for device in devices() {
                for shape in [vec![n], vec![n, 1], vec![1, n, 1]] {
                    let axis = shape.iter().position(|&d| d == n).unwrap() as isize;
                    let x = cpu(&values, &shape).to(&device).unwrap();
                    let (sorted, positions) = x.sort(axis, descending);
                    assert_eq!(positions.to_vec::<u32>().unwrap(), order, "{n} {descending} on {device}");
                    let want: Vec<f32> = order.iter().map(|&i| values[i as usize]).collect();
                    assert_eq!(floats(&sorted), want, "{n} {descending} on {device}");
                }
            }
        }
    }
    // Columns that lie side by side.
    check_forward("sort of long columns", &[random([70_001, 2], 4, -1.0, 1.0)], |x| x[0].sort(0, true).0);
}

#[test]
fn sorting_of_special_values_and_integers() {
    let values = [1.0, f32::NAN, -INF, 0.0, -0.0, INF, -f32::NAN, -2.0];
    for device in devices() {
        let x = cpu(&values, &[8]).to(&device).unwrap();
        let up = x.sort(0, false);
        assert_eq!(up.1.to_vec::<u32>().unwrap(), [2, 7, 3, 4, 0, 5, 1, 6], "on {device}");
        let bits: Vec<u32> = floats(&up.0).iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits[2..4], [0, 1 << 31], "on {device}");
        assert_eq!(x.argsort(0, true).to_vec::<u32>().unwrap(), [1, 6, 5, 0, 3, 4, 7, 2], "on {device}");
        let x = cpu(&[5, i32::MIN, -1, i32::MAX, 0, -1], &[6]).to(&device).unwrap();
        let (y, at) = x.topk(4, 0, false);
        assert_eq!(y.to_vec::<i32>().unwrap(), [i32::MIN, -1, -1, 0], "on {device}");
        assert_eq!(at.to_vec::<u32>().unwrap(), [1, 2, 5, 4], "on {device}");
        let x = cpu(&[5, u32::MAX, 1 << 31, 3], &[2, 2]).to(&device).unwrap();
        assert_eq!(x.sort(0, true).0.to_vec::<u32>().unwrap(), [1 << 31, u32::MAX, 5, 3], "on {device}");
        let x = cpu(&[9u8, 200, 4, 200], &[4]).to(&device).unwrap();
        assert_eq!(x.topk(2, 0, true).0.to_vec::<u8>().unwrap(), [200, 200], "on {device}");
        // Nothing to sort, or to pick.
        let empty = Tensor::zeros([2, 0], &device);
        assert_eq!(empty.sort(1, false).0.shape()[..], [2, 0]);
        assert_eq!(empty.topk(0, 1, true).1.shape()[..], [2, 0]);
        assert_eq!(Tensor::zeros([0, 3], &device).topk(2, 1, true).0.shape()[..], [0, 2]);
    }
}

#[test]
fn hardmax_is_one_at_the_first_largest() {
    for device in devices() {
        let x = cpu(&[1.0, 5.0, 5.0, f32::NAN, 9.0, 0.0], &[2, 3]).to(&device).unwrap();
        assert_eq!(floats(&x.hardmax(-1)), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0], "on {device}");
        assert_eq!(floats(&x.hardmax(0)), [0.0, 0.0, 1.0, 1.0, 1.0, 0.0], "on {device}");
        assert_eq!(Tensor::zeros([2, 0], &device).hardmax(1).shape()[..], [2, 0]);
    }
}

#[test]
fn mistakes() {
    let x = Tensor::zeros([2, 3], &Device::cpu());
    type Mistake = fn(&Tensor);
    let names: [(&str, Mistake); 6] = [
        ("cumsum", |x| drop(x.cumsum(2))),
        ("cumprod", |x| drop(x.cumprod(2))),
        ("sort", |x| drop(x.sort(2, false))),
        ("argsort", |x| drop(x.argsort(2, false))),
        ("topk", |x| drop(x.topk(1, 2, false))),
        ("hardmax", |x| drop(x.hardmax(2))),
    ];
    for (name, f) in names {
        assert_eq!(panic_message(|| f(&x)), format!("{name}: axis 2 is out of range for rank 2\n  x: [2, 3]"));
    }
    let few = "topk: axis 1 has fewer than k elements (3 < 4)\n  x: [2, 3]";
    assert_eq!(panic_message(|| x.topk(4, -1, true)), few);
    let scalar = panic_message(|| Tensor::scalar(1.0, &Device::cpu()).sort(0, false));
    assert_eq!(scalar, "sort: axis 0 is out of range for rank 0\n  x: []");
}
