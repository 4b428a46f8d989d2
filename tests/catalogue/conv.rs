//! Matrix products, convolutions, resizing.

use tilegrad::{
    Conv1dOptions, Conv2dOptions, Conv3dOptions, ConvTranspose1dOptions, ConvTranspose2dOptions,
    ConvTranspose3dOptions, GemmOptions, Interpolation, Padding, ResizeOptions, ResizeTo, Tensor,
};

use super::{Row, row};
use crate::common::random;

pub fn rows() -> Vec<Row> {
    products().into_iter().chain(convolutions()).chain(transposed()).chain(resizing()).collect()
}

/// Images or lines, weights, bias.
fn inputs(x: &[usize], w: &[usize], bias: usize) -> Vec<Tensor> {
    vec![random(x, 1, -1.0, 1.0), random(w, 2, -0.6, 0.6), random([bias], 3, -0.5, 0.5)]
}

fn products() -> Vec<Row> {
    let pair = |a: &[usize], b: &[usize]| vec![random(a, 1, -1.0, 1.0), random(b, 2, -1.0, 1.0)];
    vec![
        row("matmul", pair(&[2, 1, 3, 5], &[3, 5, 4]), |x| x[0].matmul(&x[1]))
            .step(1e-2)
            .onnx(&["MatMul"])
            .jax(&["matmul"]),
        row("linear", inputs(&[3, 5], &[5, 4], 4), |x| x[0].linear(&x[1], Some(&x[2]), None)).step(1e-2),
        row("gemm", inputs(&[5, 3], &[4, 5], 4), |x| {
            let options = GemmOptions { alpha: 0.5, beta: 2.0, transpose_a: true, transpose_b: true };
            x[0].gemm(&x[1], Some(&x[2]), &options)
        })
        .step(1e-2)
        .onnx(&["Gemm"]),
    ]
}

fn convolutions() -> Vec<Row> {
    vec![
        row("conv2d", inputs(&[1, 5, 6, 4], &[3, 2, 2, 4], 4), |x| {
            let options = Conv2dOptions { stride: [2, 1], padding: Padding::Same, groups: 2, ..Default::default() };
            x[0].conv2d(&x[1], Some(&x[2]), &options)
        })
        .step(1e-2)
        .onnx(&["Conv"])
        .jax(&["conv2d"]),
        row("conv1d", inputs(&[2, 6, 2], &[3, 2, 3], 3), |x| {
            let options = Conv1dOptions { dilation: [2], padding: Padding::SameLower, ..Default::default() };
            x[0].conv1d(&x[1], Some(&x[2]), &options)
        })
        .step(1e-2)
        .onnx(&["Conv"]),
        row("conv3d", inputs(&[1, 3, 3, 4, 2], &[2, 2, 3, 2, 2], 2), |x| {
            let options = Conv3dOptions { padding: Padding::Explicit([[1, 0], [0, 1], [1, 1]]), ..Default::default() };
            x[0].conv3d(&x[1], Some(&x[2]), &options)
        })
        .step(1e-2)
        .onnx(&["Conv"]),
        row("depthwise_conv2d", inputs(&[1, 4, 5, 3], &[3, 2, 3, 2], 6), |x| {
            x[0].depthwise_conv2d(&x[1], Some(&x[2]), &Conv2dOptions::default())
        })
        .jax(&["depthwise_conv2d"])
        .step(1e-2)
        .onnx(&["Conv"]),
    ]
}

fn transposed() -> Vec<Row> {
    vec![
        row("conv_transpose2d", inputs(&[1, 3, 3, 4], &[3, 2, 2, 4], 4), |x| {
            let options = ConvTranspose2dOptions {
                stride: [2, 3],
                padding: Padding::Explicit([[1, 0], [0, 1]]),
                output_padding: Some([1, 2]),
                groups: 2,
                ..Default::default()
            };
            x[0].conv_transpose2d(&x[1], Some(&x[2]), &options)
        })
        .step(1e-2)
        .onnx(&["ConvTranspose"])
        .jax(&["conv_transpose2d"]),
        row("conv_transpose1d", inputs(&[2, 4, 2], &[3, 3, 2], 3), |x| {
            let options = ConvTranspose1dOptions { stride: [2], padding: Padding::Same, ..Default::default() };
            x[0].conv_transpose1d(&x[1], Some(&x[2]), &options)
        })
        .step(1e-2)
        .onnx(&["ConvTranspose"]),
        row("conv_transpose3d", inputs(&[1, 2, 2, 3, 2], &[2, 3, 2, 2, 2], 2), |x| {
            let options = ConvTranspose3dOptions { stride: [2, 1, 1], dilation: [1, 1, 2], ..Default::default() };
            x[0].conv_transpose3d(&x[1], Some(&x[2]), &options)
        })
        .step(1e-2)
        .onnx(&["ConvTranspose"]),
    ]
}

fn resizing() -> Vec<Row> {
    let images = || vec![random([1, 3, 4, 2], 1, -1.0, 1.0)];
    vec![
        row("resize", images(), |x| {
            let cubic = ResizeOptions { interpolation: Interpolation::Cubic { a: -0.75 }, ..Default::default() };
            x[0].resize(&[1, 2], ResizeTo::Sizes(&[5, 3]), &cubic)
        })
        .step(1e-2)
        .onnx(&["Resize"]),
        row("resize_nearest", images(), |x| x[0].resize_nearest([6, 5])).step(1e-2).onnx(&["Resize", "Upsample"]),
        row("resize_bilinear", images(), |x| x[0].resize_bilinear([5, 3])).step(1e-2).onnx(&["Resize", "Upsample"]),
        row("upsample_nearest", images(), |x| x[0].upsample_nearest([2, 3])).step(1e-2).onnx(&["Upsample"]),
    ]
}
