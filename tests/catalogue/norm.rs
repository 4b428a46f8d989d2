//! Normalisation.

use tilegrad::{LocalResponseNormOptions, RunningAverage, Tensor};

use super::{Row, row};
use crate::common::random;

/// Images `(2, 3, 2, 4)`, and a factor and a term for each of four channels.
fn images() -> Vec<Tensor> {
    vec![random([2, 3, 2, 4], 81, -1.0, 2.0), random([4], 82, 0.5, 1.5), random([4], 83, -1.0, 1.0)]
}

/// Times fixed numbers: under a gradient of ones, that of a normalised input is 0 up to rounding.
fn weighted(y: &Tensor) -> Tensor {
    y.mul(&random(y.shape(), 88, 0.5, 1.5).to(y.device()).expect("upload"))
}

fn first(mut inputs: Vec<Tensor>, n: usize) -> Vec<Tensor> {
    inputs.truncate(n);
    inputs
}

pub fn rows() -> Vec<Row> {
    vec![
        row("batch_norm", images(), |x| weighted(&x[0].batch_norm(&x[1], &x[2], 0.1).0))
            .onnx(&["BatchNormalization"])
            .jax(&["batchnorm_train"]),
        Row {
            covers: &["update_running"],
            ..row("batch_norm_training", images(), |x| {
                let (mean, variance) = (x[1].zeros_like(), x[1].ones_like());
                weighted(&x[0].batch_norm_training(&x[1], &x[2], &mean, &variance, 0.1, RunningAverage::default()))
            })
        },
        row(
            "batch_norm_inference",
            [images(), vec![random([4], 84, -0.5, 0.5), random([4], 85, 0.5, 1.5)]].concat(),
            |x| x[0].batch_norm_inference(&x[1], &x[2], &x[3], &x[4], 0.1),
        )
        .jax(&["batchnorm_eval"]),
        row("layer_norm", images(), |x| x[0].layer_norm(-1, Some(&x[1]), Some(&x[2]), 0.1))
            .onnx(&["LayerNormalization"])
            .jax(&["layernorm"]),
        row("layer_norm_with_statistics", first(images(), 1), |x| {
            let (_, mean, inverse) = x[0].layer_norm_with_statistics(-2, None, None, 0.1);
            mean.mul(&inverse)
        }),
        row("rms_norm", first(images(), 2), |x| x[0].rms_norm(-1, Some(&x[1]), 0.1))
            .onnx(&["RMSNormalization"])
            .jax(&["rmsnorm"]),
        row("group_norm", images(), |x| x[0].group_norm(2, Some(&x[1]), Some(&x[2]), 0.1))
            .onnx(&["GroupNormalization"])
            .jax(&["groupnorm"]),
        row("instance_norm", images(), |x| x[0].instance_norm(Some(&x[1]), Some(&x[2]), 0.1))
            .onnx(&["InstanceNormalization"])
            .jax(&["instancenorm"]),
        row("mean_variance_norm", first(images(), 1), |x| x[0].mean_variance_norm(&[0, 1, 2], 0.1))
            .onnx(&["MeanVarianceNormalization"]),
        row("lp_normalize", vec![random([3, 5], 86, 0.5, 2.0)], |x| x[0].lp_normalize(-1, 2.0))
            .onnx(&["LpNormalization"]),
        row("local_response_norm", vec![random([3, 6], 87, -2.0, 2.0)], |x| {
            x[0].local_response_norm(&LocalResponseNormOptions { size: 3, alpha: 0.9, beta: 0.75, bias: 1.5 })
        })
        .onnx(&["LRN"]),
    ]
}
