//! Layer, group, instance, RMS, local response and Lp normalisation: gradients, GPU against CPU, large means, special values,
//! error texts. Batch normalisation is in `ops_norm.rs`.

mod common;

use common::{check, check_forward, devices, nmse, panic_message, random, spread};
use tilegrad::{Device, LocalResponseNormOptions, Tensor};

fn values(x: &Tensor) -> Vec<f32> {
    x.to_vec().unwrap()
}

/// Of each of `rows` of `x`: centred and divided by the root of the biased variance plus epsilon, in `f64`.
fn normalised(x: &[f32], row: usize, epsilon: f64) -> Vec<f32> {
    let of_row = |x: &[f32]| {
        let n = x.len() as f64;
        let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let variance = x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
        x.iter().map(|v| ((f64::from(*v) - mean) / (variance + epsilon).sqrt()) as f32).collect::<Vec<_>>()
    };
    x.chunks(row).flat_map(of_row).collect()
}

#[test]
fn layer_norm_over_the_last_axes() {
    let shape = [2, 3, 4, 5];
    for axis in [0isize, 1, 2, 3, -1, -3, -4] {
        let from = axis.rem_euclid(4) as usize;
        let inputs =
            [random(shape, 1, -1.0, 2.0), random(&shape[from..], 2, 0.5, 1.5), random(&shape[from..], 3, -1.0, 1.0)];
        check(&format!("layer_norm {axis}"), &inputs, |x| x[0].layer_norm(axis, Some(&x[1]), Some(&x[2]), 1e-2));
        check(&format!("rms_norm {axis}"), &inputs[..2], |x| x[0].rms_norm(axis, Some(&x[1]), 1e-2));
        let want = normalised(&values(&inputs[0]), shape[from..].iter().product(), 1e-5);
        assert!(nmse(&values(&inputs[0].layer_norm(axis, None, None, 1e-5)), &want) < 1e-12);
    }
    // The statistics carry gradients too.
    check("mean and inverse deviation", &[random([4, 6], 4, -1.0, 2.0)], |x| {
        let (y, mean, inverse) = x[0].layer_norm_with_statistics(-1, None, None, 1e-2);
        y.mul(&mean).add(&inverse)
    });
    // What broadcasts is enough: one gamma for a whole image.
    check("one gamma for all", &[random([2, 3, 4], 5, -1.0, 1.0), random([1], 6, 0.5, 1.0)], |x| {
        x[0].layer_norm(1, Some(&x[1]), None, 1e-2)
    });
    for device in devices() {
        let x = Tensor::new(&[1.0, 3.0, -2.0, 6.0], [2, 2], &device);
        let (y, mean, inverse) = x.layer_norm_with_statistics(1, None, None, 0.0);
        assert_eq!((values(&mean), mean.shape().to_vec()), (vec![2.0, 2.0], vec![2, 1]));
        assert_eq!((values(&inverse), values(&y)), (vec![1.0, 0.25], vec![-1.0, 1.0, -1.0, 1.0]));
        let y = x.rms_norm(0, Some(&Tensor::full(2.0, [1], &device)), 3.5);
        assert!(nmse(&values(&y), &[0.5, 1.5, -1.0, 3.0]) < 1e-12, "{:?}", values(&y));
    }
}

#[test]
fn group_and_instance_norm_of_any_rank() {
    for shape in [&[3, 6][..], &[2, 5, 6], &[2, 3, 2, 6], &[2, 2, 3, 2, 6]] {
        let inputs = [random(shape, 7, -1.0, 2.0), random([6], 8, 0.5, 1.5), random([6], 9, -1.0, 1.0)];
        for groups in [1, 2, 3] {
            check(&format!("group_norm {groups} {shape:?}"), &inputs, |x| {
                x[0].group_norm(groups, Some(&x[1]), Some(&x[2]), 1e-1)
            });
        }
        if shape.len() > 2 {
            check(&format!("instance_norm {shape:?}"), &inputs, |x| x[0].instance_norm(Some(&x[1]), Some(&x[2]), 1e-1));
        }
    }
    for device in devices() {
        // (1, 2, 4): the channels of the two groups lie side by side.
        let x = Tensor::new(&[1.0, 3.0, 10.0, 30.0, 1.0, 3.0, 10.0, 30.0], [1, 2, 4], &device);
        let want = [-1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0];
        assert!(nmse(&values(&x.group_norm(2, None, None, 0.0)), &want) < 1e-12);
        assert_eq!(values(&x.instance_norm(None, None, 1.0)), [0.0; 8]);
        // A group a channel is instance normalisation.
        let x = random([2, 3, 3, 4], 10, -1.0, 1.0).to(&device).unwrap();
        let (a, b) = (x.group_norm(4, None, None, 1e-3), x.instance_norm(None, None, 1e-3));
        assert!(nmse(&values(&a), &values(&b)) < 1e-12);
        let c = x.mean_variance_norm(&[1, 2], 1e-3);
        assert!(nmse(&values(&a), &values(&c)) < 1e-12);
    }
    check("mean_variance_norm", &[random([3, 2, 4], 11, -1.0, 1.0)], |x| x[0].mean_variance_norm(&[0, -1], 1e-2));
}

#[test]
fn a_small_spread_around_a_large_mean_keeps_its_digits() {
    let x = random([4, 30_000], 12, 9_999.0, 10_001.0);
    let want = normalised(&values(&x), 30_000, 1e-5);
    for device in devices() {
        let x = x.to(&device).unwrap();
        let error = nmse(&values(&x.layer_norm(-1, None, None, 1e-5)), &want);
        assert!(error < 1e-8, "layer_norm on {device}: {error}");
        let columns = x.reshape([4, 1, 30_000]).permute(&[0, 2, 1]).contiguous();
        let error = nmse(&values(&columns.instance_norm(None, None, 1e-5)), &want);
        assert!(error < 1e-8, "instance_norm on {device}: {error}");
        let error = nmse(&values(&columns.group_norm(1, None, None, 1e-5)), &want);
        assert!(error < 1e-8, "group_norm on {device}: {error}");
    }
}

/// The sum over a window around each channel, spelled out.
fn response_norm(x: &[f32], c: usize, o: &LocalResponseNormOptions) -> Vec<f32> {
    let at = |i: usize| {
        let (row, k) = (&x[i / c * c..][..c], i % c);
        let (first, last) = (k.saturating_sub((o.size - 1) / 2), (k + o.size / 2).min(c - 1));
        let sum: f64 = row[first..=last].iter().map(|v| f64::from(*v).powi(2)).sum();
        let base = f64::from(o.bias) + f64::from(o.alpha) / o.size as f64 * sum;
        (f64::from(x[i]) / base.powf(f64::from(o.beta))) as f32
    };
    (0..x.len()).map(at).collect()
}

#[test]
fn local_response_norm_over_neighbouring_channels() {
    let x = random([2, 3, 2, 7], 13, -2.0, 2.0);
    for size in [1, 2, 3, 4, 5, 13, 14, 100] {
        let options = LocalResponseNormOptions { size, alpha: 0.9, beta: 0.75, bias: 1.5 };
        let run = |x: &[Tensor]| x[0].local_response_norm(&options);
        check(&format!("local_response_norm {size}"), std::slice::from_ref(&x), run);
        let want = response_norm(&values(&x), 7, &options);
        assert!(nmse(&values(&x.local_response_norm(&options)), &want) < 1e-12, "size {size}");
    }
    for device in devices() {
        // What is infinite or NaN shows in its neighbours only.
        let x = Tensor::new(&[1.0, f32::NAN, 1.0, 1.0, f32::INFINITY, 1.0], [6], &device);
        let options = LocalResponseNormOptions { size: 2, alpha: 2.0, beta: 1.0, bias: 1.0 };
        let y = values(&x.local_response_norm(&options));
        assert!(y[0].is_nan() && y[1].is_nan() && y[4].is_nan(), "{y:?} on {device}");
        assert!(y[2] == 1.0 / 3.0 && y[3] == 0.0 && y[5] == 0.5, "{y:?} on {device}");
    }
}

#[test]
fn lp_normalize_makes_unit_vectors() {
    let x = spread([3, 4, 2], 14);
    for axis in [0, 1, -1] {
        for p in [1.0, 2.0, 3.0] {
            check(&format!("lp_normalize {axis} {p}"), std::slice::from_ref(&x), |x| x[0].lp_normalize(axis, p));
        }
        let apart =
            Tensor::new(&(0..24).map(|i| (i * 7 % 25) as f32 - 7.25).collect::<Vec<_>>(), [3, 4, 2], &Device::cpu());
        check(&format!("lp_normalize {axis} inf"), &[apart], |x| x[0].lp_normalize(axis, f32::INFINITY));
    }
    for device in devices() {
        let x = Tensor::new(&[3.0, -4.0, 0.0, 0.0, 3e-20, 4e-20, 3e30, 4e30], [4, 2], &device).requires_grad();
        let y = x.lp_normalize(1, 2.0);
        assert!(nmse(&values(&y), &[0.6, -0.8, 0.0, 0.0, 0.6, 0.8, 0.6, 0.8]) < 1e-12, "{:?}", values(&y));
        let dx = values(y.slice(&[0..2]).sum().backward().get(&x).unwrap());
        // d(x0 + x1)/|x| at (3, -4): (1 - x * (x0 + x1) / |x|^2) / |x|.
        assert!(nmse(&dx[..4], &[0.224, 0.168, 0.0, 0.0]) < 1e-12, "{dx:?}");
        let y = values(&Tensor::new(&[3.0, -1.0], [1, 2], &device).lp_normalize(-1, 1.0));
        assert_eq!(y, [0.75, -0.25]);
        let x = Tensor::new(&[1.0, f32::INFINITY, 1.0, f32::NAN, -2.0, -0.0], [3, 2], &device);
        let y = values(&x.lp_normalize(-1, 2.0));
        assert!(y[0] == 0.0 && y[1..4].iter().all(|v| v.is_nan()) && y[4] == -1.0, "{y:?} on {device}");
    }
}

#[test]
fn second_derivatives() {
    let second = |x: &[Tensor], f: &dyn Fn(&Tensor) -> Tensor| {
        let leaf = if x[0].needs_grad() { x[0].clone() } else { x[0].requires_grad() };
        f(&leaf).mul(&x[1]).sum().grad(&[&leaf])[0].clone().unwrap()
    };
    let inputs = [random([2, 3, 4], 15, -1.0, 1.0), random([2, 3, 4], 16, -1.0, 1.0)];
    check("layer_norm", &inputs, |x| second(x, &|x| x.layer_norm(1, None, None, 0.1)));
    check("rms_norm", &inputs, |x| second(x, &|x| x.rms_norm(1, None, 0.1)));
    check("group_norm", &inputs, |x| second(x, &|x| x.group_norm(2, None, None, 0.1)));
    check("instance_norm", &inputs, |x| second(x, &|x| x.instance_norm(None, None, 0.1)));
    check("local_response_norm", &inputs, |x| second(x, &|x| x.local_response_norm(&Default::default())));
    check("lp_normalize", &inputs, |x| second(x, &|x| x.lp_normalize(-1, 2.0)));
}

#[test]
fn special_values_and_empty_tensors() {
    for device in devices() {
        let x = Tensor::new(&[1.0, f32::NAN, 1.0, 2.0, 1.0, f32::INFINITY, 5.0, 5.0], [4, 2], &device);
        let nan = |y: Tensor| values(&y).iter().map(|v| v.is_nan()).collect::<Vec<_>>();
        let (t, f) = (true, false);
        assert_eq!(nan(x.layer_norm(-1, None, None, 1e-3)), [t, t, f, f, t, t, f, f], "on {device}");
        assert_eq!(nan(x.layer_norm(-1, None, None, 0.0)), [t, t, f, f, t, t, t, t], "on {device}");
        assert_eq!(nan(x.rms_norm(-1, None, 0.0)), [t, t, f, f, f, t, f, f], "on {device}");
        assert_eq!(values(&x.rms_norm(-1, None, 0.0))[4], 0.0);
        let empty = |shape: &[usize]| Tensor::zeros(shape, &device);
        for shape in [&[0, 3, 4][..], &[2, 0, 4], &[2, 3, 0]] {
            let x = empty(shape).requires_grad();
            let y = x.layer_norm(-1, None, None, 1e-3);
            assert_eq!((y.shape(), y.backward().get(&x).unwrap().len()), (x.shape(), 0));
            assert_eq!(x.layer_norm(0, None, None, 1e-3).len() + x.rms_norm(1, None, 1e-3).len(), 0);
            assert_eq!(x.instance_norm(None, None, 1e-3).len() + x.group_norm(1, None, None, 1e-3).len(), 0);
            assert_eq!(x.lp_normalize(1, 2.0).len() + x.local_response_norm(&Default::default()).len(), 0);
        }
        let (_, mean, inverse) = empty(&[2, 0]).layer_norm_with_statistics(1, None, None, 1e-3);
        assert_eq!((nan(mean), nan(inverse)), (vec![true; 2], vec![true; 2]));
        // One element an axis: nothing is left of it.
        assert_eq!(values(&Tensor::full(7.0, [2, 1], &device).layer_norm(-1, None, None, 1e-3)), [0.0, 0.0]);
    }
    check_forward("subnormal spread", &[random([2, 8], 17, -1e-18, 1e-18)], |x| x[0].layer_norm(-1, None, None, 1e-12));
}

#[test]
fn mistakes_say_what_is_wrong() {
    let d = Device::cpu();
    let (x, three) = (Tensor::zeros([2, 3, 4], &d), Tensor::zeros([3], &d));
    let message = |f: &dyn Fn() -> Tensor| panic_message(f);
    for (f, want) in [
        (
            &(|| x.layer_norm(3, None, None, 0.1)) as &dyn Fn() -> Tensor,
            "layer_norm: axis 3 is out of range for rank 3\n  x: [2, 3, 4]",
        ),
        (
            &|| Tensor::scalar(1.0, &d).layer_norm(-1, None, None, 0.1),
            "layer_norm: axis -1 is out of range for rank 0\n  x: []",
        ),
        (
            &|| x.layer_norm(-1, Some(&three), None, 0.1),
            "layer_norm: gamma does not broadcast to the input\n  x: [2, 3, 4]\n  gamma: [3]\n  \
             help: gamma usually has the shape of the normalised axes",
        ),
        (
            &|| x.layer_norm(-1, None, Some(&Tensor::zeros([5, 2, 3, 4], &d)), 0.1),
            "layer_norm: beta does not broadcast to the input\n  x: [2, 3, 4]\n  beta: [5, 2, 3, 4]\n  \
             help: beta usually has the shape of the normalised axes",
        ),
        (
            &|| x.layer_norm(-1, Some(&Tensor::new(&[1i32; 4], [4], &d)), None, 0.1),
            "layer_norm: gamma is i32, expected f32\n  x: [2, 3, 4]\n  gamma: [4]",
        ),
        (
            &|| x.group_norm(2, None, Some(&Tensor::new(&[1i32; 4], [4], &d)), 0.1),
            "group_norm: beta is i32, expected f32\n  x: [2, 3, 4]   axis 2 = 4\n  beta: [4]",
        ),
        (
            &|| x.layer_norm(-1, None, None, -0.1),
            "layer_norm: epsilon is -0.1, expected a number that is not negative\n  x: [2, 3, 4]",
        ),
        (
            &|| x.rms_norm(-1, None, f32::NAN),
            "rms_norm: epsilon is NaN, expected a number that is not negative\n  x: [2, 3, 4]",
        ),
        (&|| Tensor::new(&[1i32], [1], &d).rms_norm(0, None, 0.1), "rms_norm: x is i32, expected f32\n  x: [1]"),
        (
            &|| x.group_norm(3, None, None, 0.1),
            "group_norm: 3 groups do not divide 4 channels evenly\n  x: [2, 3, 4]   axis 2 = 4",
        ),
        (
            &|| x.group_norm(0, None, None, 0.1),
            "group_norm: 0 groups do not divide 4 channels evenly\n  x: [2, 3, 4]   axis 2 = 4",
        ),
        (
            &|| x.group_norm(2, Some(&three), None, 0.1),
            "group_norm: gamma must be one number a channel, [4]\n  x: [2, 3, 4]   axis 2 = 4\n  gamma: [3]\n  \
             help: channels are the last axis",
        ),
        (
            &|| three.group_norm(1, None, None, 0.1),
            "group_norm: input has 1 axes, expected at least 2: (N, .., C)\n  x: [3]",
        ),
        (
            &|| Tensor::zeros([2, 3], &d).instance_norm(None, None, 0.1),
            "instance_norm: input has 2 axes, expected at least 3: (N, .., C)\n  x: [2, 3]",
        ),
        (
            &|| x.instance_norm(None, Some(&three), 0.1),
            "instance_norm: beta must be one number a channel, [4]\n  x: [2, 3, 4]   axis 2 = 4\n  beta: [3]\n  \
             help: channels are the last axis",
        ),
        (
            &|| x.mean_variance_norm(&[0, 5], 0.1),
            "mean_variance_norm: axis 5 is out of range for rank 3\n  x: [2, 3, 4]",
        ),
        (
            &|| x.mean_variance_norm(&[1, -2], 0.1),
            "mean_variance_norm: axis -2 is named twice in [1, -2]\n  x: [2, 3, 4]",
        ),
        (&|| x.lp_normalize(3, 2.0), "lp_normalize: axis 3 is out of range for rank 3\n  x: [2, 3, 4]"),
        (&|| x.lp_normalize(0, 0.0), "lp_normalize: p is 0, expected a positive number\n  x: [2, 3, 4]"),
        (
            &|| x.local_response_norm(&LocalResponseNormOptions { size: 0, ..Default::default() }),
            "local_response_norm: a window of 0 channels has no sum\n  x: [2, 3, 4]",
        ),
        (
            &|| Tensor::scalar(1.0, &d).local_response_norm(&Default::default()),
            "local_response_norm: a scalar has no channels\n  x: []",
        ),
    ] {
        assert_eq!(message(f), want);
    }
}
