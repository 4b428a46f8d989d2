//! The kernels for hardware GPUs, run on whatever adapter there is: the same numbers as the CPU's.
//!
//! A process of its own, since the choice of kernels is the device's.

mod common;
#[path = "common/conv_cases.rs"]
mod conv_cases;
#[path = "common/conv_special.rs"]
mod conv_special;
#[path = "common/half_products.rs"]
mod half_products;
mod onnx_runner;

use common::{check, check_forward, check_with, random};
use tilegrad::{Conv2dOptions, ConvAlgorithm, ConvTranspose2dOptions, Device, HalfProducts, Padding, Tensor, Unary};

fn hardware_kernels() {
    if let Ok(device) = Device::gpu() {
        device.set_hardware_kernels(true);
    }
}

#[test]
fn convolutions() {
    hardware_kernels();
    for (name, x, w, options) in conv_cases::cases() {
        check(name, &conv_cases::inputs(x, w), |x| x[0].conv2d(&x[1], Some(&x[2]), &options));
    }
    let same = Conv2dOptions { padding: Padding::Same, ..Default::default() };
    let inputs = conv_cases::inputs([5, 28, 28, 4], [3, 3, 4, 8]);
    check("split over pixels", &inputs, |x| x[0].conv2d(&x[1], Some(&x[2]), &same));
}

/// The gradients of all inputs, as one vector that can be differentiated again.
fn gradients(x: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) -> Tensor {
    let leaves: Vec<Tensor> = x.iter().map(|x| if x.needs_grad() { x.clone() } else { x.requires_grad() }).collect();
    let y = f(&leaves);
    let found = y.mul(&y).sum().grad(&leaves.iter().collect::<Vec<_>>());
    let flat: Vec<Tensor> = found.into_iter().flatten().map(|dx| dx.reshape([dx.len()])).collect();
    Tensor::concat(&flat.iter().collect::<Vec<_>>(), 0)
}

// The kernels apply an activation's derivative to dy as they load it; the CPU makes a pass of it.
#[test]
fn activations_in_the_loads_of_backward() {
    hardware_kernels();
    for activation in [Unary::Relu, Unary::Sigmoid, Unary::Tanh] {
        for (m, k, n) in [(5, 6, 7), (36, 40, 44)] {
            let inputs = [random([m, k], 1, -1.0, 1.0), random([k, n], 2, -0.5, 0.5), random([n], 3, -0.5, 0.5)];
            let linear = |x: &[Tensor]| x[0].linear(&x[1], Some(&x[2]), Some(activation));
            check_with(&format!("linear {activation:?} {m}x{k}x{n}"), &inputs, 1e-3, linear);
        }
        let fused = Conv2dOptions { activation: Some(activation), stride: [1, 2], ..Default::default() };
        for (c, o, groups, algorithm) in
            [(8, 12, 1, ConvAlgorithm::Direct), (4, 6, 2, ConvAlgorithm::Direct), (4, 6, 2, ConvAlgorithm::Im2col)]
        {
            let options = Conv2dOptions { groups, algorithm, ..fused };
            let inputs = conv_cases::inputs([2, 6, 7, c], [3, 3, c / groups, o]);
            let conv = |x: &[Tensor]| x[0].conv2d(&x[1], Some(&x[2]), &options);
            check_with(&format!("{activation:?} of {c} to {o}, {algorithm:?}"), &inputs, 1e-3, conv);
        }
    }
    // The sum of dz alone.
    let options = Conv2dOptions { activation: Some(Unary::Tanh), ..Default::default() };
    let [x, w, bias] = conv_cases::inputs([2, 6, 7, 4], [3, 3, 4, 6]);
    check_with("the bias alone", &[bias], 1e-3, |bias| {
        let there = |x: &Tensor| x.to(bias[0].device()).expect("upload");
        there(&x).conv2d(&there(&w), Some(&bias[0]), &options)
    });
}

#[test]
fn second_derivatives_of_activations_in_loads() {
    hardware_kernels();
    for activation in [Unary::Sigmoid, Unary::Tanh] {
        let inputs = [random([4, 3], 1, -1.0, 1.0), random([3, 5], 2, -0.5, 0.5), random([5], 3, -0.5, 0.5)];
        check_with(&format!("linear {activation:?}"), &inputs, 1e-3, |x| {
            gradients(x, |x| x[0].linear(&x[1], Some(&x[2]), Some(activation)))
        });
        let options = Conv2dOptions { activation: Some(activation), ..Default::default() };
        let inputs = conv_cases::inputs([1, 4, 4, 2], [3, 3, 2, 3]);
        check_with(&format!("conv2d {activation:?}"), &inputs, 1e-3, |x| {
            gradients(x, |x| x[0].conv2d(&x[1], Some(&x[2]), &options))
        });
    }
    let inputs = [random([4, 3], 1, 0.5, 1.0), random([3, 5], 2, 0.1, 0.5)];
    check_with("relu", &inputs, 1e-3, |x| gradients(x, |x| x[0].linear(&x[1], None, Some(Unary::Relu))));
}

#[test]
fn transposed_convolutions() {
    hardware_kernels();
    let plain = ConvTranspose2dOptions::default();
    let cases = [
        ([2, 3, 4, 3], [3, 2, 2, 3], plain),
        ([1, 3, 4, 4], [3, 3, 2, 4], ConvTranspose2dOptions { stride: [2, 3], groups: 2, ..plain }),
        ([1, 4, 4, 8], [3, 3, 16, 8], ConvTranspose2dOptions { stride: [2, 2], padding: Padding::Same, ..plain }),
        ([1, 2, 3, 1], [2, 2, 1, 1], ConvTranspose2dOptions { stride: [3, 3], output_size: Some([9, 9]), ..plain }),
    ];
    for (x, w, options) in cases {
        let inputs = [random(x, 1, -1.0, 1.0), random(w, 2, -0.5, 0.5)];
        check(&format!("{x:?} by {w:?}"), &inputs, |x| x[0].conv_transpose2d(&x[1], None, &options));
    }
}

#[test]
fn infinity_and_nan_pass_as_on_the_cpu() {
    hardware_kernels();
    conv_special::convolutions();
    conv_special::transposed();
}

#[test]
fn products() {
    hardware_kernels();
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[3, 4], &[4, 5]),
        (&[33, 17], &[17, 65]),
        (&[2, 5, 7], &[2, 7, 3]),
        (&[64, 40], &[40, 36]),
        (&[4, 8], &[3, 8, 4]),
        (&[70, 64], &[64, 72]),
    ];
    for (a, b) in shapes {
        let inputs = [random(a, 1, -1.0, 1.0), random(b, 2, -1.0, 1.0)];
        check(&format!("matmul {a:?} {b:?}"), &inputs, |x| x[0].matmul(&x[1]));
    }
    let transposed = [random([12, 8], 1, -1.0, 1.0), random([20, 12], 2, -1.0, 1.0)];
    check("a^T b^T", &transposed, |x| x[0].transpose().matmul(&x[1].transpose()));
    let split = [random([36, 6000], 3, -1.0, 1.0), random([6000, 40], 4, -0.1, 0.1), random([40], 5, -1.0, 1.0)];
    check_forward("split with epilogue", &split, |x| x[0].linear(&x[1], Some(&x[2]), Some(Unary::Tanh)));
    let tall = [random([5000, 36], 3, -1.0, 1.0), random([36, 40], 4, -1.0, 1.0), random([40], 5, -1.0, 1.0)];
    check("gradients over many rows", &tall, |x| x[0].linear(&x[1], Some(&x[2]), None));
    let wide = [random([3, 1300], 6, -1.0, 1.0), random([1300, 1280], 7, -0.1, 0.1), random([1280], 8, -1.0, 1.0)];
    check("gradients with the largest tile", &wide, |x| x[0].linear(&x[1], Some(&x[2]), None));
    let large = [random([1600, 64], 6, -1.0, 1.0), random([64, 1300], 7, -1.0, 1.0)];
    check_forward("the largest tile", &large, |x| x[0].matmul(&x[1]));
}

/// By cooperative matrices, where the adapter has them: lavapipe from Mesa 25.2 on. Without them halves run as `f32`, which
/// tests/ops_half.rs looks at.
#[test]
fn products_of_halves() {
    hardware_kernels();
    match common::gpu().map(|device| device.half_products()) {
        Some(HalfProducts::Cooperative) => {
            half_products::products();
            half_products::convolutions();
        }
        other => eprintln!("products of halves left out, without cooperative matrices: {other:?}"),
    }
}

#[test]
fn products_and_convolutions_of_onnx() {
    hardware_kernels();
    let Some(device) = common::gpu() else { return };
    let folder = onnx_runner::case::own_folder();
    let cases = onnx_runner::case::cases(&folder).expect("the project's own cases");
    let of_products = cases.iter().filter(|c| ["Conv", "ConvTranspose", "Gemm", "MatMul"].contains(&c.op.as_str()));
    let mut passed = 0;
    for case in of_products {
        let result = onnx_runner::run::result(case, &folder, &device);
        assert!(matches!(result.state, onnx_runner::run::State::Passed(_)), "{result:?}");
        passed += 1;
    }
    assert_eq!(passed, 36);
}
