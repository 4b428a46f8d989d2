//! Softmax and losses.

use tilegrad::{CrossEntropyOptions, NllOptions, Reduction, Tensor};

use super::{Row, row};
use crate::common::random;

fn logits() -> Tensor {
    random([6, 5], 91, -3.0, 3.0)
}

/// Predictions and targets, far enough apart for no kink.
fn pair() -> Vec<Tensor> {
    vec![random([4, 3], 92, 0.55, 0.95), random([4, 3], 93, 0.05, 0.45)]
}

fn labels(x: &Tensor) -> Tensor {
    Tensor::new(&[0, 4, 2, 2, 1, 3], [6], x.device())
}

/// Weights, an ignored class, smoothed labels.
fn options(x: &Tensor) -> CrossEntropyOptions {
    let weight = Some(Tensor::new(&[0.5, 1.0, 2.0, 1.5, 0.25], [5], x.device()));
    CrossEntropyOptions { weight, ignore_index: Some(2), label_smoothing: 0.1, ..Default::default() }
}

pub fn rows() -> Vec<Row> {
    vec![
        row("softmax", vec![logits()], |x| x[0].softmax(-1)).onnx(&["Softmax"]).jax(&["softmax"]),
        row("log_softmax", vec![logits()], |x| x[0].log_softmax(-1)).onnx(&["LogSoftmax"]).jax(&["log_softmax"]),
        row("cross_entropy", vec![logits()], |x| x[0].cross_entropy(&labels(&x[0]))).jax(&["cross_entropy"]),
        row("cross_entropy of class probabilities", vec![logits(), random([6, 5], 94, 0.05, 0.3)], |x| {
            x[0].cross_entropy(&x[1])
        })
        .jax(&["cross_entropy"]),
        row("cross_entropy_with", vec![logits()], |x| x[0].cross_entropy_with(&labels(&x[0]), &options(&x[0])))
            .onnx(&["SoftmaxCrossEntropyLoss"])
            .jax(&["cross_entropy"]),
        row("nll_loss", vec![random([6, 5], 95, -3.0, -0.1)], |x| {
            let CrossEntropyOptions { weight, ignore_index, reduction, .. } = options(&x[0]);
            x[0].nll_loss(&labels(&x[0]), &NllOptions { weight, ignore_index, reduction })
        })
        .jax(&["nll"])
        .onnx(&["NegativeLogLikelihoodLoss"]),
        row("correct", vec![logits()], |x| x[0].correct(&labels(&x[0]))).constant(&["correct"]),
        row("mse_loss", pair(), |x| x[0].mse_loss(&x[1], Reduction::Mean)).jax(&["mse"]),
        row("l1_loss", pair(), |x| x[0].l1_loss(&x[1], Reduction::Mean)).step(1e-2).jax(&["l1"]),
        row("huber_loss", pair(), |x| x[0].huber_loss(&x[1], 0.05, Reduction::Mean)).jax(&["huber"]),
        row("smooth_l1_loss", pair(), |x| x[0].smooth_l1_loss(&x[1], 2.0, Reduction::Sum)),
        row("bce_loss", pair(), |x| x[0].bce_loss(&x[1], Reduction::Mean)).jax(&["bce"]),
        row(
            "bce_with_logits_loss",
            vec![random([4, 3], 96, -3.0, 3.0), pair().remove(1), random([3], 97, 0.5, 2.0)],
            |x| x[0].bce_with_logits_loss(&x[1], Some(&x[2]), Reduction::Mean),
        )
        .jax(&["bce_with_logits"]),
        row("kl_div_loss", vec![random([4, 3], 98, -3.0, -0.1), pair().remove(0)], |x| {
            x[0].kl_div_loss(&x[1], Reduction::Sum)
        })
        .jax(&["kl_div"]),
    ]
}
