//! Convolution: gradients, the two algorithms, GPU against CPU, second derivatives, error texts.

mod common;
#[path = "common/conv_cases.rs"]
mod conv_cases;

use common::{check, check_forward, check_with, panic_message, random};
use conv_cases::{cases, inputs};
use tilegrad::{Conv2dOptions, ConvAlgorithm, Device, Padding, Tensor, Unary};

#[test]
fn direct() {
    for (name, x, w, options) in cases() {
        check(name, &inputs(x, w), |x| x[0].conv2d(&x[1], Some(&x[2]), &options));
    }
}

#[test]
fn im2col() {
    for (name, x, w, options) in cases() {
        let options = Conv2dOptions { algorithm: ConvAlgorithm::Im2col, ..options };
        check(&format!("im2col {name}"), &inputs(x, w), |x| x[0].conv2d(&x[1], Some(&x[2]), &options));
    }
}

#[test]
fn fused_activations() {
    for activation in [Unary::Relu, Unary::Sigmoid, Unary::Tanh] {
        for algorithm in [ConvAlgorithm::Direct, ConvAlgorithm::Im2col] {
            let options =
                Conv2dOptions { activation: Some(activation), algorithm, padding: Padding::Same, ..Default::default() };
            let inputs = inputs([2, 6, 6, 4], [3, 3, 4, 8]);
            check_with(&format!("{activation:?}"), &inputs, 1e-3, |x| x[0].conv2d(&x[1], Some(&x[2]), &options));
        }
    }
}

#[test]
fn large_batches_split_and_chunk() {
    let same = Conv2dOptions { padding: Padding::Same, ..Default::default() };
    let [x, w, bias] = inputs([40, 28, 28, 8], [3, 3, 8, 16]);
    let all = [x.clone(), w.clone(), bias];
    check("split over pixels", &all, |x| x[0].conv2d(&x[1], Some(&x[2]), &same));
    // 40 images of these columns take 36 MiB, 120 take 108 MiB: more than one chunk.
    let x = Tensor::concat(&[&x, &x, &x], 0);
    let options = Conv2dOptions { algorithm: ConvAlgorithm::Im2col, ..same };
    check_forward("im2col in chunks", &[x, w], |x| x[0].conv2d(&x[1], None, &options));
}

// Weights and bias get their gradients from one kernel if both want one, and from one each if not.
#[test]
fn gradients_of_some_inputs() {
    let options = Conv2dOptions { groups: 2, padding: Padding::Same, ..Default::default() };
    let fixed = inputs([2, 5, 6, 4], [3, 3, 2, 6]);
    for wanted in [vec![0], vec![1], vec![2], vec![0, 2], vec![1, 2]] {
        let some: Vec<Tensor> = wanted.iter().map(|&i| fixed[i].clone()).collect();
        check(&format!("{wanted:?}"), &some, |some| {
            let mut all = fixed.clone().map(|x| x.to(some[0].device()).expect("upload"));
            wanted.iter().zip(some).for_each(|(&i, x)| all[i] = x.clone());
            all[0].conv2d(&all[1], Some(&all[2]), &options)
        });
    }
}

// llvmpipe ends a kernel after 65,535 rounds of its loops, and a round is four steps of the sum.
#[test]
fn sums_over_very_many_channels() {
    let plain = Conv2dOptions::default();
    let [x, w, _] = inputs([1, 2, 1, 300_000], [1, 1, 300_000, 2]);
    check("forward", &[x, w], |x| x[0].conv2d(&x[1], None, &plain));
    let [x, w, _] = inputs([1, 2, 1, 2], [1, 1, 2, 300_000]);
    check("gradient of the images", &[x, w], |x| x[0].conv2d(&x[1], None, &plain));
}

#[test]
fn second_derivatives() {
    let options = Conv2dOptions { stride: [2, 1], padding: Padding::Same, ..Default::default() };
    let [x, w, _] = inputs([1, 5, 6, 2], [3, 3, 2, 4]);
    for wrt in 0..2 {
        // The gradient of a quadratic loss is a convolution of the inputs again, and `check` differentiates it.
        check(&format!("gradient of gradient {wrt}"), &[x.clone(), w.clone()], |x| {
            let x: Vec<Tensor> = x.iter().map(|x| if x.needs_grad() { x.clone() } else { x.requires_grad() }).collect();
            let y = x[0].conv2d(&x[1], None, &options);
            y.mul(&y).sum().grad(&[&x[wrt]])[0].clone().expect("the loss depends on both")
        });
    }
}

#[test]
fn one_image_and_none() {
    for device in common::devices() {
        let w = random([3, 3, 2, 4], 5, -1.0, 1.0).to(&device).unwrap().requires_grad();
        let x = Tensor::zeros([0, 6, 6, 2], &device).requires_grad();
        let y = x.conv2d(&w, None, &Conv2dOptions::default());
        assert_eq!(y.shape()[..], [0, 4, 4, 4]);
        let gradients = y.backward();
        assert_eq!(gradients.get(&w).unwrap().to_vec::<f32>().unwrap(), [0.0; 72]);
        assert_eq!(gradients.get(&x).unwrap().len(), 0);
    }
}

#[test]
fn nan_passes_the_fused_relu() {
    for device in common::devices() {
        let x = Tensor::new(&[f32::NAN, -1.0, 1.0, f32::INFINITY], [1, 2, 2, 1], &device);
        let relu = Conv2dOptions { activation: Some(Unary::Relu), ..Default::default() };
        let y = x.conv2d(&Tensor::ones([1, 1, 1, 1], &device), None, &relu).to_vec::<f32>().unwrap();
        assert!(y[0].is_nan() && y[1..] == [0.0, 1.0, f32::INFINITY], "{y:?} on {device}");
    }
}

#[test]
fn mistakes_say_what_clashes() {
    let zero = |shape: &[usize]| Tensor::zeros(shape, &Device::cpu());
    let plain = Conv2dOptions::default();
    let conv =
        |x: &[usize], w: &[usize], options: &Conv2dOptions| panic_message(|| zero(x).conv2d(&zero(w), None, options));
    assert_eq!(
        conv(&[1, 8, 8, 3], &[3, 3, 4, 8], &plain),
        "conv2d: input channels differ (3 / 1 groups != 4)\n  x: [1, 8, 8, 3]   axis 3 = 3\n  w: [3, 3, 4, 8]   axis 2 = 4\n  \
         help: images are (N, H, W, C) and kernels (KH, KW, C/groups, O)"
    );
    assert!(conv(&[8, 8, 3], &[3, 3, 3, 8], &plain).starts_with("conv2d: input has 3 axes, expected 4: (N, H, W, C)"));
    assert!(
        conv(&[1, 2, 8, 3], &[3, 3, 3, 8], &plain).starts_with("conv2d: a window of 3 does not fit in a height of 2")
    );
    let stride = Conv2dOptions { stride: [0, 1], ..plain };
    assert!(
        conv(&[1, 8, 8, 3], &[3, 3, 3, 8], &stride).starts_with("conv2d: stride in height is 0, expected at least 1")
    );
    let groups = Conv2dOptions { groups: 2, ..plain };
    assert!(conv(&[1, 8, 8, 3], &[3, 3, 3, 8], &groups).starts_with("conv2d: 2 groups do not divide both 3 input"));
}
