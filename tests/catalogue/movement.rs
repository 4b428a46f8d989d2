//! Views and copies.

use tilegrad::{BlockOrder, SliceRange, Tensor};

use super::{Row, row};
use crate::common::random;

fn one() -> Vec<Tensor> {
    vec![random([2, 3, 4], 51, -1.0, 1.0)]
}

fn matrix() -> Vec<Tensor> {
    vec![random([4, 5], 52, -1.0, 1.0)]
}

fn two() -> Vec<Tensor> {
    vec![random([2, 3], 53, -1.0, 1.0), random([2, 3], 54, -1.0, 1.0)]
}

pub fn rows() -> Vec<Row> {
    // All are linear, so that steps may be large.
    [axes(), parts(), padded(), made()].into_iter().flatten().map(|row| row.step(1e-2)).collect()
}

fn axes() -> Vec<Row> {
    vec![
        row("reshape", one(), |x| x[0].reshape([4, 6])).jax(&["reshape"]),
        row("reshape_infer", one(), |x| x[0].reshape_infer(&[4, -1])).onnx(&["Reshape"]),
        row("flatten", one(), |x| x[0].flatten(1, -1)),
        row("flatten_from", one(), |x| x[0].flatten_from(1)).onnx(&["Flatten"]),
        row("permute", one(), |x| x[0].permute(&[2, 0, 1])).onnx(&["Transpose"]).jax(&["transpose"]),
        row("transpose", one(), |x| x[0].transpose()),
        row("swap_axes", one(), |x| x[0].swap_axes(0, 2)),
        row("move_axis", one(), |x| x[0].move_axis(0, 2)),
        row("unsqueeze", one(), |x| x[0].unsqueeze(1)).jax(&["unsqueeze"]),
        row("unsqueeze_axes", one(), |x| x[0].unsqueeze_axes(&[0, -1])).onnx(&["Unsqueeze"]),
        row("squeeze", one(), |x| x[0].slice(&[0..1]).squeeze(0)).jax(&["squeeze"]),
        row("squeeze_axes", one(), |x| x[0].slice(&[0..1, 1..2]).squeeze_axes(&[0, 1])).onnx(&["Squeeze"]),
        row("squeeze_all", one(), |x| x[0].slice(&[0..1, 1..2]).squeeze_all()),
        row("broadcast_to", one(), |x| x[0].unsqueeze(1).broadcast_to([2, 2, 3, 4])),
        row("expand", one(), |x| x[0].unsqueeze(1).expand([2, 1, 1])).onnx(&["Expand"]).jax(&["expand"]),
        row("contiguous", one(), |x| x[0].transpose().contiguous()),
        row("depth_to_space", vec![random([1, 2, 2, 8], 55, -1.0, 1.0)], |x| {
            x[0].depth_to_space(2, BlockOrder::DepthLast)
        })
        .onnx(&["DepthToSpace"]),
        row("space_to_depth", vec![random([1, 2, 4, 2], 56, -1.0, 1.0)], |x| {
            x[0].space_to_depth(2, BlockOrder::DepthLast)
        })
        .onnx(&["SpaceToDepth"]),
    ]
}

fn parts() -> Vec<Row> {
    vec![
        row("slice", one(), |x| x[0].slice(&[1..2, 0..2])),
        row("slice_axis", one(), |x| x[0].slice_axis(-1, 1..3)),
        row("slice_steps", one(), |x| x[0].slice_steps(&[(0..2, 1), (0..3, 2)])).jax(&["slice"]),
        row("slice_ranges", matrix(), |x| x[0].slice_ranges(&[SliceRange::new(-1, 0, -2), SliceRange::new(1, -1, 1)]))
            .onnx(&["Slice"]),
        row("split", matrix(), |x| x[0].split(&[1, 3, 1], 1)[1].clone()).onnx(&["Split"]),
        row("chunk", matrix(), |x| x[0].chunk(2, 1)[0].clone()),
        row("concat", two(), |x| Tensor::concat(&[&x[0], &x[1], &x[0]], 1)).onnx(&["Concat"]).jax(&["concat"]),
        row("stack", two(), |x| Tensor::stack(&[&x[0], &x[1]], -1)).jax(&["stack"]),
        row("flip", one(), |x| x[0].flip(&[0, 2])).jax(&["flip"]),
        row("roll", matrix(), |x| x[0].roll(2, 1)),
        row("tile", matrix(), |x| x[0].tile(&[2, 3])).jax(&["tile"]).onnx(&["Tile"]),
        row("repeat_interleave", matrix(), |x| x[0].repeat_interleave(2, 0)),
        row("tril", matrix(), |x| x[0].tril(1)).jax(&["tril"]),
        row("triu", matrix(), |x| x[0].triu(-1)).jax(&["triu"]).onnx(&["Trilu"]),
    ]
}

fn padded() -> Vec<Row> {
    vec![
        row("pad", matrix(), |x| x[0].pad(&[(1, 0), (0, 2)], 3.0)).jax(&["pad"]),
        row("pad_constant", vec![random([4, 5], 52, -1.0, 1.0), random([1], 57, -1.0, 1.0)], |x| {
            x[0].pad_constant(&[(1, -1), (0, 2)], &x[1])
        })
        .onnx(&["Pad"]),
        row("pad_reflect", matrix(), |x| x[0].pad_reflect(&[(1, 0), (4, 2)])),
        row("pad_symmetric", matrix(), |x| x[0].pad_symmetric(&[(1, 0), (4, 2)])),
        row("pad_edge", matrix(), |x| x[0].pad_edge(&[(1, 0), (4, 2)])),
        row("pad_wrap", matrix(), |x| x[0].pad_wrap(&[(1, 0), (4, 2)])),
    ]
}

fn made() -> Vec<Row> {
    vec![
        row("arange", matrix(), |x| Tensor::arange(0.0, 3.0, 0.5, x[0].device())).constant(&[]).onnx(&["Range"]),
        row("arange_i32", matrix(), |x| Tensor::arange_i32(4, -4, -2, x[0].device())).constant(&[]),
        row("linspace", matrix(), |x| Tensor::linspace(-1.0, 1.0, 7, x[0].device())).constant(&[]),
        row("eye", matrix(), |x| Tensor::eye(4, 5, 1, x[0].device())).constant(&[]).onnx(&["EyeLike"]),
    ]
}
