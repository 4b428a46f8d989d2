//! Pooling.

use tilegrad::{Padding, Pooling, Tensor, Window};

use super::{Row, row};
use crate::common::{random, spread};

/// Windows that overlap, over padding, and in ceil mode past it.
fn pooling<const N: usize>() -> Pooling<N> {
    let padding = Padding::Explicit([[1, 0]; N]);
    Window { size: [3; N], stride: [2; N], dilation: [1; N], padding }.ceil_mode()
}

fn line() -> Vec<Tensor> {
    vec![spread([2, 8, 2], 61)]
}

fn image() -> Vec<Tensor> {
    vec![spread([1, 5, 4, 2], 62)]
}

fn volume() -> Vec<Tensor> {
    vec![spread([1, 3, 3, 2, 2], 63)]
}

/// A position for each element: every third, the last past the image.
fn positions<const N: usize>(x: &Tensor) -> Tensor {
    let windows: usize = x.shape()[1..=N].iter().product();
    let values: Vec<u32> = (0..x.len()).map(|i| (3 * (i / x.shape()[N + 1] % windows)) as u32).collect();
    Tensor::new(&values, x.shape(), x.device())
}

pub fn rows() -> Vec<Row> {
    let mut rows = windows();
    rows.extend(norms());
    rows.extend(unpooling());
    rows
}

fn windows() -> Vec<Row> {
    vec![
        row("max_pool1d", line(), |x| x[0].max_pool1d(pooling())).onnx(&["MaxPool"]),
        row("max_pool2d", image(), |x| x[0].max_pool2d(pooling())).onnx(&["MaxPool"]).jax(&["maxpool2d"]),
        row("relu_max_pool2d", image(), |x| x[0].affine(1.0, 0.003).relu_max_pool2d(pooling())),
        row("max_pool3d", volume(), |x| x[0].max_pool3d(pooling())).onnx(&["MaxPool"]),
        row("max_pool1d_with_indices", line(), |x| x[0].max_pool1d_with_indices(pooling()).1)
            .constant(&[])
            .onnx(&["MaxPool"]),
        row("max_pool2d_with_indices", image(), |x| x[0].max_pool2d_with_indices(pooling()).1)
            .constant(&[])
            .onnx(&["MaxPool"]),
        row("max_pool3d_with_indices", volume(), |x| x[0].max_pool3d_with_indices(pooling()).1)
            .constant(&[])
            .onnx(&["MaxPool"]),
        row("avg_pool1d", line(), |x| x[0].avg_pool1d(pooling())).step(1e-2).onnx(&["AveragePool"]),
        row("avg_pool2d", image(), |x| x[0].avg_pool2d(pooling()))
            .step(1e-2)
            .onnx(&["AveragePool"])
            .jax(&["avgpool2d"]),
        row("avg_pool3d", volume(), |x| x[0].avg_pool3d(pooling())).step(1e-2).onnx(&["AveragePool"]),
        row("avg_pool1d_with_padding", line(), |x| x[0].avg_pool1d_with_padding(pooling()))
            .step(1e-2)
            .onnx(&["AveragePool"]),
        row("avg_pool2d_with_padding", image(), |x| x[0].avg_pool2d_with_padding(pooling()))
            .step(1e-2)
            .onnx(&["AveragePool"])
            .jax(&["avgpool2d"]),
        row("avg_pool3d_with_padding", volume(), |x| x[0].avg_pool3d_with_padding(pooling()))
            .step(1e-2)
            .onnx(&["AveragePool"]),
        row("global_max_pool", image(), |x| x[0].global_max_pool(true)).onnx(&["GlobalMaxPool"]),
        row("global_avg_pool", image(), |x| x[0].global_avg_pool(true)).step(1e-2).onnx(&["GlobalAveragePool"]),
    ]
}

fn norms() -> Vec<Row> {
    vec![
        row("lp_pool1d", line(), |x| x[0].lp_pool1d(pooling(), 3.0)).onnx(&["LpPool"]),
        row("lp_pool2d", image(), |x| x[0].lp_pool2d(pooling(), 2.0)).onnx(&["LpPool"]),
        row("lp_pool3d", volume(), |x| x[0].lp_pool3d(pooling(), 2.5)).onnx(&["LpPool"]),
        row("global_lp_pool", image(), |x| x[0].global_lp_pool(2.0, true)).onnx(&["GlobalLpPool"]),
    ]
}

fn unpooling() -> Vec<Row> {
    vec![
        row("max_unpool1d", vec![random([2, 4, 2], 64, -1.0, 1.0)], |x| {
            x[0].max_unpool1d(&positions::<1>(&x[0]), pooling(), Some([9]))
        })
        .step(1e-2)
        .onnx(&["MaxUnpool"]),
        row("max_unpool2d", vec![random([1, 2, 3, 2], 65, -1.0, 1.0)], |x| {
            x[0].max_unpool2d(&positions::<2>(&x[0]), pooling(), Some([3, 5]))
        })
        .step(1e-2)
        .onnx(&["MaxUnpool"]),
        row("max_unpool3d", vec![random([1, 2, 2, 1, 2], 66, -1.0, 1.0)], |x| {
            x[0].max_unpool3d(&positions::<3>(&x[0]), pooling(), Some([2, 2, 2]))
        })
        .step(1e-2)
        .onnx(&["MaxUnpool"]),
    ]
}
