//! Normalisation. Channels are second in cases and last in tilegrad.

use tilegrad::Tensor;

use super::case::{Case, Outcome, unsupported};
use super::images::{channels_first, channels_last};

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    Some(match case.op() {
        "batchnorm_train" => batchnorm(case, false),
        "batchnorm_eval" => batchnorm(case, true),
        "groupnorm" | "group_norm" => groupnorm(case),
        "instancenorm" | "instance_norm" => instancenorm(case),
        "layernorm" | "layer_norm" => {
            let axis = case.axis(-1);
            case.input("x").map(|x| x.layer_norm(axis, gamma(case), beta(case), epsilon(case, 1e-5)))
        }
        "rmsnorm" | "rms_norm" => {
            let axis = case.axis(-1);
            case.input("x").map(|x| x.rms_norm(axis, gamma(case), epsilon(case, 1e-5)))
        }
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

fn groupnorm(case: &Case) -> Outcome<Tensor> {
    let groups = if case.has_attribute("groups") { case.int("groups", 1) } else { case.int("num_groups", 1) };
    let Ok(groups) = usize::try_from(groups) else { return unsupported(format!("{groups} groups")) };
    let x = channels_last(case.input("x")?);
    Ok(channels_first(&x.group_norm(groups, gamma(case), beta(case), epsilon(case, 1e-5))))
}

fn instancenorm(case: &Case) -> Outcome<Tensor> {
    let x = channels_last(case.input("x")?);
    Ok(channels_first(&x.instance_norm(gamma(case), beta(case), epsilon(case, 1e-5))))
}
