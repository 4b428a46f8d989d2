//! Reductions, scans, sorting.

use tilegrad::{ScanOptions, Tensor};

use super::{Row, row};
use crate::common::{random, spread};

/// Of rank 3, all elements at least 0.05 from 0 and from each other.
fn any() -> Vec<Tensor> {
    vec![spread([3, 5, 2], 51)]
}

fn positive() -> Vec<Tensor> {
    vec![random([3, 5, 2], 52, 0.5, 1.5)]
}

pub fn rows() -> Vec<Row> {
    let mut rows = reductions();
    rows.extend(statistics());
    rows.extend(scans());
    rows.extend(order());
    rows
}

fn reductions() -> Vec<Row> {
    vec![
        row("sum", positive(), |x| x[0].sum()).step(1e-2),
        row("sum_axes", any(), |x| x[0].sum_axes(&[0, 2], true)).step(1e-2).onnx(&["ReduceSum"]).jax(&["sum"]),
        row("mean", positive(), |x| x[0].mean()).step(1e-2),
        row("mean_axes", any(), |x| x[0].mean_axes(&[1], false)).step(1e-2).onnx(&["ReduceMean"]).jax(&["mean"]),
        row("prod", positive(), |x| x[0].prod()),
        row("prod_axes", positive(), |x| x[0].prod_axes(&[0, 2], false)).onnx(&["ReduceProd"]).jax(&["prod"]),
        row("max", any(), |x| x[0].max()),
        row("max_axes", any(), |x| x[0].max_axes(&[-2], false)).onnx(&["ReduceMax"]).jax(&["max"]),
        row("max_axes_from", any(), |x| x[0].max_axes_from(&[1], false, 0.72f32)),
        row("min", any(), |x| x[0].min()),
        row("min_axes", any(), |x| x[0].min_axes(&[0, 1], true)).onnx(&["ReduceMin"]).jax(&["min"]),
        row("min_axes_from", any(), |x| x[0].min_axes_from(&[1], false, -0.72f32)),
    ]
}

fn statistics() -> Vec<Row> {
    vec![
        row("sum_square", any(), |x| x[0].sum_square()),
        row("sum_square_axes", any(), |x| x[0].sum_square_axes(&[1], false)).jax(&["sumsq"]).onnx(&["ReduceSumSquare"]),
        row("l1_norm", any(), |x| x[0].l1_norm()),
        row("l1_norm_axes", any(), |x| x[0].l1_norm_axes(&[1], true)).jax(&["l1norm"]).onnx(&["ReduceL1"]),
        row("l2_norm", any(), |x| x[0].l2_norm()),
        row("l2_norm_axes", any(), |x| x[0].l2_norm_axes(&[0, 1], false)).onnx(&["ReduceL2"]).jax(&["l2norm"]),
        row("logsumexp", any(), |x| x[0].logsumexp()),
        row("logsumexp_axes", any(), |x| x[0].logsumexp_axes(&[1], false))
            .onnx(&["ReduceLogSumExp"])
            .jax(&["logsumexp"]),
        row("var", any(), |x| x[0].var(1)),
        row("var_axes", any(), |x| x[0].var_axes(&[0, 1], false, 0)).jax(&["var"]),
        row("std", any(), |x| x[0].std(0)),
        row("std_axes", any(), |x| x[0].std_axes(&[1], true, 1)).jax(&["std"]),
    ]
}

fn scans() -> Vec<Row> {
    const BACK: ScanOptions = ScanOptions { exclusive: true, reverse: true };
    vec![
        row("cumsum", any(), |x| x[0].cumsum(1)).step(1e-2).onnx(&["CumSum"]).jax(&["cumsum"]),
        row("cumsum_with", any(), |x| x[0].cumsum_with(0, BACK)).step(1e-2),
        row("cumprod", positive(), |x| x[0].cumprod(-2)).jax(&["cumprod"]).onnx(&["CumProd"]),
        row("cumprod_with", positive(), |x| x[0].cumprod_with(1, BACK)),
    ]
}

fn order() -> Vec<Row> {
    vec![
        row("argmax", any(), |x| x[0].argmax(1)).constant(&["argmax"]).onnx(&["ArgMax"]),
        row("argmax_last", any(), |x| x[0].argmax_last(0)).constant(&["argmax"]),
        row("argmin", any(), |x| x[0].argmin(1)).constant(&["argmin"]).onnx(&["ArgMin"]),
        row("argmin_last", any(), |x| x[0].argmin_last(0)).constant(&["argmin"]),
        row("sort", any(), |x| x[0].sort(1, false).0),
        row("argsort", any(), |x| x[0].argsort(0, true)).constant(&["argsort"]),
        row("topk", any(), |x| x[0].topk(2, 1, true).0).onnx(&["TopK"]),
        row("hardmax", any(), |x| x[0].hardmax(1)).constant(&[]).onnx(&["Hardmax"]),
    ]
}
