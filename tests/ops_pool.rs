//! Max and average pooling: gradients, GPU against CPU, geometry, NaN, error texts.

mod common;

use common::{Lcg, check_forward, check_with, devices, panic_message, random};
use tilegrad::ops::pool2d::pool2d_shape;
use tilegrad::{Device, Padding, Shape, Tensor, Window, no_grad};

fn window(size: usize, stride: usize, padding: Padding) -> Window {
    Window { size: [size; 2], stride: [stride; 2], dilation: [1; 2], padding }
}

fn geometries() -> Vec<(&'static str, Window)> {
    let uneven = Padding::Explicit([[1, 0], [0, 2]]);
    vec![
        ("2x2", window(2, 2, Padding::Valid)),
        ("2x2 same", window(2, 2, Padding::Same)),
        ("overlapping", window(3, 1, Padding::Valid)),
        ("overlapping same", window(3, 2, Padding::Same)),
        ("gaps between windows", window(2, 3, Padding::Valid)),
        ("gaps and padding", window(2, 3, uneven)),
        ("uneven padding", window(3, 2, uneven)),
        ("windows of padding only", window(2, 2, Padding::Explicit([[3, 2], [2, 4]]))),
        ("dilated", Window { size: [2, 3], stride: [1, 2], dilation: [3, 2], padding: Padding::Same }),
        (
            "dilated, not overlapping",
            Window { size: [2, 1], stride: [3, 2], dilation: [2, 5], padding: Padding::Valid },
        ),
        (
            "dilated by the stride, so that windows share a pixel",
            Window { size: [2; 2], stride: [2; 2], dilation: [2; 2], padding: Padding::Valid },
        ),
        ("rectangular", Window { size: [1, 4], stride: [2, 1], dilation: [1; 2], padding: Padding::Valid }),
        ("all of it", window(7, 1, Padding::Valid)),
    ]
}

/// A shuffle of numbers that are 0.004 apart: no finite difference changes which one is the largest.
fn distinct(shape: [usize; 4], seed: u64) -> Tensor {
    let mut values: Vec<f32> = (0..shape.iter().product()).map(|i| i as f32 * 0.004 - 1.0).collect();
    let mut lcg = Lcg::new(seed);
    for i in (1..values.len()).rev() {
        values.swap(i, lcg.next_u32() as usize % (i + 1));
    }
    Tensor::new(&values, shape, &Device::cpu())
}

/// The largest of a window of padding only is minus infinity, which the comparisons can't take.
fn finite(x: &Tensor) -> Tensor {
    x.clip(-10.0, 10.0)
}

#[test]
fn max_pool() {
    for (name, window) in geometries() {
        for c in [1, 3, 4, 8] {
            let x = distinct([2, 8, 7, c], 1);
            check_with(&format!("max {name} {c}"), &[x], 1e-3, |x| finite(&x[0].max_pool2d(window)));
        }
    }
}

#[test]
fn relu_behind_the_windows_is_relu_before_them() {
    let inf = f32::INFINITY;
    let special = [-0.0, 0.0, f32::NAN, inf, -inf, -1e-40, 1e-40];
    for device in devices() {
        for (name, window) in geometries() {
            for c in [1, 3, 4] {
                let mut values = random([2, 8, 7, c], 3, -1.0, 0.5).to_vec::<f32>().unwrap();
                (0..values.len()).step_by(13).for_each(|i| values[i] = special[i / 13 % special.len()]);
                let x = Tensor::new(&values, [2, 8, 7, c], &device).requires_grad();
                // Zeros of either sign are one, and so is every NaN.
                let bits = |v: f32| if v.is_nan() { u32::MAX } else { (v + 0.0).to_bits() };
                let all = |x: &Tensor| x.to_vec::<f32>().unwrap().into_iter().map(bits).collect::<Vec<_>>();
                let run = |y: Tensor| {
                    let dy = random(y.shape(), 4, -1.0, 1.0).to(&device).unwrap();
                    (all(&y), all(y.backward_with(&dy).get(&x).unwrap()))
                };
                let (fused, apart) = (run(x.relu_max_pool2d(window)), run(x.relu().max_pool2d(window)));
                assert!(fused == apart, "{name} of {c} channels on {device}");
                assert!(all(&no_grad(|| x.relu_max_pool2d(window))) == fused.0, "{name} without a tape on {device}");
            }
        }
    }
}

#[test]
fn avg_pool() {
    for (name, window) in geometries() {
        for c in [1, 3, 4, 8] {
            let x = random([2, 8, 7, c], 2, -1.0, 1.0);
            check_with(&format!("avg {name} {c}"), std::slice::from_ref(&x), 1e-2, |x| x[0].avg_pool2d(window));
            check_with(&format!("avg with padding {name} {c}"), &[x], 1e-2, |x| x[0].avg_pool2d_with_padding(window));
        }
    }
}

#[test]
fn views_with_an_offset() {
    let x = distinct([3, 6, 6, 4], 3);
    for (name, window) in geometries().into_iter().filter(|(_, w)| pool2d_shape(&Shape::from([1, 6, 6, 4]), w).is_ok())
    {
        for device in devices() {
            let there = x.to(&device).unwrap().slice(&[1..2]);
            let odd = Tensor::new(&[0.0], [1], &device);
            let flat = Tensor::concat(&[&odd, &there.flatten_from(0)], 0);
            // Elements 1 on: a view whose offset is no multiple of four.
            let shifted = flat.slice(&[1..145]).reshape([1, 6, 6, 4]);
            assert_eq!(shifted.layout().offset, 1);
            let want = finite(&x.slice(&[1..2]).max_pool2d(window)).to_vec::<f32>().unwrap();
            assert_eq!(finite(&there.max_pool2d(window)).to_vec::<f32>().unwrap(), want, "{name}");
            assert_eq!(finite(&shifted.max_pool2d(window)).to_vec::<f32>().unwrap(), want, "{name} at an odd offset");
        }
    }
}

#[test]
fn known_numbers() {
    for device in devices() {
        let x = Tensor::new(&(1..=9).map(|v| v as f32).collect::<Vec<_>>(), [1, 3, 3, 1], &device).requires_grad();
        let same = window(2, 2, Padding::Same);
        let y = x.max_pool2d(same);
        assert_eq!(y.to_vec::<f32>().unwrap(), [5.0, 6.0, 8.0, 9.0]);
        let dx = y.backward().get(&x).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(dx, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]);
        let y = x.avg_pool2d(same);
        assert_eq!(y.to_vec::<f32>().unwrap(), [3.0, 4.5, 7.5, 9.0]);
        let dx = y.backward().get(&x).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(dx, [0.25, 0.25, 0.5, 0.25, 0.25, 0.5, 0.5, 0.5, 1.0]);
        // The first of equal elements has the gradient.
        let ties = Tensor::full(-2.0, [1, 2, 2, 1], &device).requires_grad();
        let dx = ties.max_pool2d(same).backward().get(&ties).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(dx, [1.0, 0.0, 0.0, 0.0]);
    }
}

#[test]
fn nan_and_infinity_pass() {
    let inf = f32::INFINITY;
    let rows = [[-inf, -inf, -inf, -inf], [1.0, f32::NAN, 2.0, f32::NAN], [inf, 1.0, 2.0, 3.0], [-0.0, 0.0, -0.0, 0.0]];
    for device in devices() {
        for channels in [1, 4] {
            let values: Vec<f32> = rows.iter().flatten().flat_map(|&v| vec![v; channels]).collect();
            let x = Tensor::new(&values, [4, 2, 2, channels], &device).requires_grad();
            let y = x.max_pool2d(window(2, 2, Padding::Valid));
            let got: Vec<f32> = y.to_vec::<f32>().unwrap().into_iter().step_by(channels).collect();
            assert!(got[0] == -inf && got[1].is_nan() && got[2] == inf && got[3] == 0.0, "{got:?} on {device}");
            let dx = y.backward().get(&x).unwrap().to_vec::<f32>().unwrap();
            let winners: Vec<usize> = (0..16).filter(|i| dx[i * channels] == 1.0).collect();
            assert_eq!(winners, [0, 5, 8, 12], "on {device}");
        }
    }
}

#[test]
fn empty_batches() {
    for device in devices() {
        let x = Tensor::zeros([0, 4, 4, 3], &device).requires_grad();
        for y in [x.max_pool2d(window(2, 2, Padding::Valid)), x.avg_pool2d(window(3, 1, Padding::Same))] {
            assert_eq!(y.len(), 0);
            assert_eq!(y.backward().get(&x).unwrap().shape()[..], [0, 4, 4, 3]);
        }
    }
}

#[test]
fn the_mean_has_a_second_derivative() {
    for device in devices() {
        let x = distinct([1, 5, 5, 2], 4).to(&device).unwrap().requires_grad();
        let pool = window(3, 2, Padding::Same);
        // y = sum(pool(x)^2), so dx = 2 P'P x, and the gradient of sum(dx^2) is 2 (2 P'P)^2 x.
        let square = |v: &Tensor| v.mul(v).sum();
        let dx = square(&x.avg_pool2d(pool)).grad(&[&x])[0].clone().unwrap();
        let got = square(&dx).backward().get(&x).unwrap().to_vec::<f32>().unwrap();
        let twice = |v: &Tensor| {
            let v = v.detach().requires_grad();
            square(&v.avg_pool2d(pool)).backward().get(&v).unwrap().clone()
        };
        let want = twice(&twice(&x)).affine(2.0, 0.0).to_vec::<f32>().unwrap();
        assert!(common::nmse(&got, &want) < 1e-10);
    }
}

// llvmpipe ends a kernel after 65,535 rounds of its loops, so software adapters refuse windows of more taps.
#[test]
fn huge_windows() {
    let x = random([1, 256, 255, 3], 8, 0.0, 1.0);
    let nearly = window(254, 1, Padding::Valid);
    check_forward("mean of a huge window", std::slice::from_ref(&x), |x| x[0].avg_pool2d(nearly));
    check_forward("largest of a huge window", std::slice::from_ref(&x), |x| x[0].max_pool2d(nearly));
    // Cells of the stride's size would be as long a loop.
    let far = random([1, 310, 302, 3], 9, 0.0, 1.0);
    check_with("huge strides", &[far], 1e-3, |x| x[0].avg_pool2d(window(2, 300, Padding::Valid)));
    for device in devices().iter().filter(|d| d.is_software()) {
        let x = Tensor::zeros([1, 256, 256, 1], device);
        assert_eq!(
            panic_message(|| x.avg_pool2d(window(256, 1, Padding::Valid))),
            "avg_pool2d: takes 65792 loop rounds in a thread, a software adapter runs at most 65000\n  \
             help: use the CPU device or a graphics card"
        );
    }
}

#[test]
fn argmax_is_kept_only_for_a_gradient() {
    let x = distinct([1, 4, 4, 1], 5).requires_grad();
    let pool = window(2, 2, Padding::Valid);
    assert_eq!(x.max_pool2d(pool).tape().entries()[0].saved_bytes, 4 * 4);
    assert!(no_grad(|| x.max_pool2d(pool)).tape().entries().is_empty());
}

#[test]
fn shape_mistakes_say_what_clashes() {
    let x = Tensor::zeros([1, 4, 9, 1], &Device::cpu());
    assert_eq!(
        panic_message(|| x.max_pool2d(window(5, 1, Padding::Valid))),
        "max_pool2d: a window of 5 does not fit in a height of 4\n  x: [1, 4, 9, 1]   axis 1 = 4\n  \
         help: use Padding::Same, a smaller window, or less pooling before"
    );
    let flat = panic_message(|| x.reshape([4, 9]).avg_pool2d(window(2, 2, Padding::Valid)));
    assert!(flat.starts_with("avg_pool2d: input has 2 axes, expected 4: (N, H, W, C)\n  x: [4, 9]"), "{flat}");
    assert_eq!(pool2d_shape(&Shape::from([2, 7, 7, 3]), &window(2, 2, Padding::Same)).unwrap()[..], [2, 4, 4, 3]);
}
