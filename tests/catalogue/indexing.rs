//! Gather and scatter.

use tilegrad::{DType, Device, FillMode, ScatterMode, Tensor, WarpOptions};

use super::{Row, row};
use crate::common::{random, spread};

fn one() -> Vec<Tensor> {
    vec![random([3, 4, 2], 61, -1.0, 1.0)]
}

/// A tensor and elements to put into it, without equal numbers.
fn two() -> Vec<Tensor> {
    vec![spread([2, 4], 62), spread([2, 5], 63).affine(0.9, 0.013)]
}

fn index(values: &[i32], shape: &[usize], device: &Device) -> Tensor {
    Tensor::new(values, shape, device)
}

/// Two elements go to one place, one goes nowhere.
fn scattered(x: &[Tensor], mode: ScatterMode) -> Tensor {
    x[0].scatter(1, &index(&[0, 2, -1, 9, 1, 1, 0, 0], &[2, 4], x[0].device()), &x[1], mode)
}

fn labels(x: &Tensor) -> Tensor {
    Tensor::new(&[2u32, 0, 3], [3], x.device())
}

pub fn rows() -> Vec<Row> {
    vec![
        row("index_select", one(), |x| x[0].index_select(1, &index(&[1, -1, 1, 0], &[2, 2], x[0].device())))
            .step(1e-2)
            .onnx(&["Gather"])
            .jax(&["gather", "take"]),
        row("gather", vec![random([3, 4], 64, -1.0, 1.0)], |x| {
            x[0].gather(0, &index(&[0, 2, 2, -1, 1, 2], &[2, 3], x[0].device()))
        })
        .step(1e-2)
        .onnx(&["GatherElements"]),
        Row {
            covers: &["flat_index"],
            ..row("gather_nd", one(), |x| x[0].gather_nd(&index(&[0, 1, -1, 0, 2, 3], &[3, 2], x[0].device()), 0))
                .step(1e-2)
                .onnx(&["GatherND"])
        },
        row("gather_rows", one(), |x| x[0].gather_rows(&Tensor::new(&[2u32, 0, 2], [3], x[0].device())))
            .step(1e-2)
            .jax(&["embedding"]),
        row("gather_images", vec![random([4, 6], 65, 0.0, 255.0)], |x| {
            x[0].cast(DType::U8).gather_images(&labels(&x[0]), 1.0 / 255.0)
        })
        .constant(&["gather_images"]),
        row("gather_batch", vec![random([4, 8], 65, 0.0, 255.0)], |x| {
            let all = Tensor::new(&[3u32, 1, 4, 1], [4], x[0].device());
            let (x, y) = x[0].cast(DType::U8).gather_batch(&all, &labels(&x[0]), 1.0 / 255.0);
            Tensor::concat(&[&x, &y.cast(DType::F32).reshape([y.len(), 1])], 1)
        })
        .constant(&["gather_batch"]),
        row("affine_warp", vec![random([2, 3, 4, 2], 66, -1.0, 1.0)], |x| {
            let maps = [0.9, 0.3, -0.2, -0.3, 0.9, 0.4, -1.0, 0.0, 3.0, 0.0, 1.0, 0.5];
            let maps = Tensor::new(&maps, [2, 6], x[0].device());
            let warp = |fill| x[0].affine_warp(&maps, &WarpOptions { size: [4, 5], bilinear: true, fill });
            let all = [FillMode::Constant(0.5), FillMode::Nearest, FillMode::Reflect, FillMode::Wrap].map(warp);
            Tensor::concat(&all.each_ref(), 0)
        })
        .constant(&["affine_warp"])
        .finite_only("a pixel that is infinite, times a share of 0, may be a number or not"),
        row("scatter", two(), |x| scattered(x, ScatterMode::Replace)).step(1e-2).onnx(&["ScatterElements", "Scatter"]),
        row("scatter_add", two(), |x| scattered(x, ScatterMode::Add)).step(1e-2),
        row("scatter (mul)", two(), |x| scattered(x, ScatterMode::Mul)),
        row("scatter (max)", two(), |x| scattered(x, ScatterMode::Max)),
        row("scatter (min)", two(), |x| scattered(x, ScatterMode::Min)),
        row("scatter_nd", vec![spread([3, 2], 66), spread([2, 2], 67).affine(0.9, 0.013)], |x| {
            x[0].scatter_nd(&index(&[2, 0], &[2, 1], x[0].device()), &x[1], ScatterMode::Add)
        })
        .step(1e-2)
        .onnx(&["ScatterND"]),
        row("nonzero", vec![spread([3, 4], 68)], |x| {
            x[0].gt(&Tensor::scalar(0.1, x[0].device())).nonzero().expect("readback")
        })
        .constant(&[])
        .onnx(&["NonZero"]),
        row("masked_select", vec![random([2, 3], 69, -1.0, 1.0)], |x| {
            x[0].masked_select(&Tensor::new(&[true, false, true], [3], x[0].device())).expect("readback")
        })
        .step(1e-2),
        row("compress", vec![random([2, 3], 70, -1.0, 1.0)], |x| {
            x[0].compress(&Tensor::new(&[true, false, true], [3], x[0].device()), Some(1)).expect("readback")
        })
        .step(1e-2)
        .onnx(&["Compress"]),
        row("one_hot", vec![spread([3], 71)], |x| labels(&x[0]).one_hot(4)).constant(&["one_hot"]),
        row("one_hot_values", vec![random([2], 72, -1.0, 1.0)], |x| labels(&x[0]).one_hot_values(4, 0, &x[0]))
            .step(1e-2)
            .onnx(&["OneHot"]),
    ]
}
