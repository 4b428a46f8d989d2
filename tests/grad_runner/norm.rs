//! Normalisation. Channels are second in cases and last in tilegrad.

use tilegrad::{LocalResponseNormOptions, Tensor};

use super::case::{Case, Outcome, unsupported};
use super::images::{channels_first, channels_last};

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    Some(match case.op() {
        "batchnorm" | "batch_norm" => batchnorm(case, !case.flag("training", !case.has("m") && !case.has("mean"))),
        "softmin" => case.input("x").map(|x| x.neg().softmax(case.axis(-1))),
        "standardize" => standardize(case),
        "batchnorm_train" => batchnorm(case, false),
        "batchnorm_eval" => batchnorm(case, true),
        "layernorm" | "layer_norm" => layernorm(case),
        "rmsnorm" | "rms_norm" => {
            case.input("x").map(|x| x.rms_norm(first_axis(case), gamma(case), epsilon(case, 1e-6)))
        }
        "groupnorm" | "group_norm" => groupnorm(case),
        "instancenorm" | "instance_norm" => instancenorm(case),
        "lrn" | "local_response_norm" => lrn(case),
        "l2_normalize" | "normalize" => case.input("x").map(|x| x.lp_normalize(case.axis(-1), case.float("p", 2.0))),
        "softmax" => case.input("x").map(|x| x.softmax(case.axis(-1))),
        "log_softmax" => case.input("x").map(|x| x.log_softmax(case.axis(-1))),
        _ => return None,
    })
}

/// `eps` under any of its names.
fn epsilon(case: &Case, default: f32) -> f32 {
    case.maybe_float("eps").or(case.maybe_float("epsilon")).unwrap_or(default)
}

fn gamma<'a>(case: &'a Case) -> Option<&'a Tensor> {
    case.optional(&["g", "gamma", "scale", "w"])
}

fn beta<'a>(case: &'a Case) -> Option<&'a Tensor> {
    case.optional(&["b", "beta", "bias"])
}

fn batchnorm(case: &Case, eval: bool) -> Outcome<Tensor> {
    let (x, epsilon) = (channels_last(case.input("x")?), epsilon(case, 1e-5));
    let c = x.shape()[x.rank() - 1];
    let gamma = gamma(case).cloned().unwrap_or_else(|| Tensor::ones([c], x.device()));
    let beta = beta(case).cloned().unwrap_or_else(|| Tensor::zeros([c], x.device()));
    let y = match (eval, case.optional(&["m", "mean"]), case.optional(&["v", "var", "variance"])) {
        (true, Some(mean), Some(variance)) => x.batch_norm_inference(&gamma, &beta, mean, variance, epsilon),
        (true, ..) => return unsupported("batchnorm_eval without statistics"),
        (false, ..) => x.batch_norm(&gamma, &beta, epsilon).0,
    };
    Ok(channels_first(&y))
}

/// Normalised are all axes from this one on.
fn first_axis(case: &Case) -> isize {
    let rank = case.sizes("normalized_shape").map(|shape| -(shape.len() as isize));
    rank.or(case.axes().and_then(|axes| axes.first().copied())).unwrap_or(-1)
}

/// Of any axes, as `jax.nn.standardize`.
fn standardize(case: &Case) -> Outcome<Tensor> {
    let axes = case.axes().unwrap_or(vec![-1]);
    Ok(case.input("x")?.mean_variance_norm(&axes, epsilon(case, 1e-5)))
}

fn layernorm(case: &Case) -> Outcome<Tensor> {
    // Axes that are not the last ones have no weights.
    let (x, axes) = (case.input("x")?, case.ints("axes").unwrap_or_default());
    let rank = x.rank() as i64;
    let last = |axis: i64| axis.rem_euclid(rank.max(1)) == rank - 1;
    if !axes.is_empty() && !axes.iter().any(|&axis| last(axis)) && gamma(case).is_none() && beta(case).is_none() {
        return standardize(case);
    }
    Ok(case.input("x")?.layer_norm(first_axis(case), gamma(case), beta(case), epsilon(case, 1e-5)))
}

fn groupnorm(case: &Case) -> Outcome<Tensor> {
    let groups = case.int("groups", case.int("num_groups", 1));
    let Ok(groups) = usize::try_from(groups) else { return unsupported(format!("{groups} groups")) };
    let x = channels_last(case.input("x")?);
    Ok(channels_first(&x.group_norm(groups, gamma(case), beta(case), epsilon(case, 1e-5))))
}

fn instancenorm(case: &Case) -> Outcome<Tensor> {
    let x = channels_last(case.input("x")?);
    Ok(channels_first(&x.instance_norm(gamma(case), beta(case), epsilon(case, 1e-5))))
}

fn lrn(case: &Case) -> Outcome<Tensor> {
    let options = LocalResponseNormOptions {
        size: case.int("size", 5) as usize,
        alpha: case.float("alpha", 1e-4),
        beta: case.float("beta", 0.75),
        bias: case.float("bias", case.float("k", 1.0)),
    };
    Ok(channels_first(&channels_last(case.input("x")?).local_response_norm(&options)))
}
