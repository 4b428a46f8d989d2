//! Losses. A reduction that is not named is the mean.

use tilegrad::{CrossEntropyOptions, NllOptions, Reduction, Tensor};

use super::case::{Case, Outcome, unsupported};
use super::images::channels_last;

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    Some(match case.op() {
        "mse" => elementwise(case, Tensor::mse_loss),
        "l1" | "mae" => elementwise(case, Tensor::l1_loss),
        "huber" => elementwise(case, |x, t, r| x.huber_loss(t, case.float("delta", 1.0), r)),
        "smooth_l1" => elementwise(case, |x, t, r| x.smooth_l1_loss(t, case.float("beta", 1.0), r)),
        "bce" | "binary_cross_entropy" => elementwise(case, Tensor::bce_loss),
        "bce_with_logits" | "bce_logits" | "sigmoid_bce" | "sigmoid_cross_entropy" => {
            elementwise(case, |x, t, r| x.bce_with_logits_loss(t, case.optional(&["pos_weight", "w"]), r))
        }
        "kl_div" | "kl" => kl_div(case),
        "nll" | "nll_loss" => nll(case),
        "cross_entropy" => cross_entropy(case),
        _ => return None,
    })
}

fn reduction(case: &Case) -> Outcome<Reduction> {
    match case.text("reduction", "mean") {
        "mean" => Ok(Reduction::Mean),
        "sum" => Ok(Reduction::Sum),
        "none" => Ok(Reduction::None),
        other => unsupported(format!("reduction {other}")),
    }
}

fn prediction<'a>(case: &'a Case) -> Outcome<&'a Tensor> {
    case.optional(&["x", "p", "logits", "pred", "input", "log_probs"]).map_or_else(|| unsupported("no prediction"), Ok)
}

fn target(case: &Case) -> Outcome<&'static str> {
    case.target().map_or_else(|| unsupported("nothing to compare with"), Ok)
}

fn elementwise(case: &Case, f: impl Fn(&Tensor, &Tensor, Reduction) -> Tensor) -> Outcome<Tensor> {
    Ok(f(prediction(case)?, case.input(target(case)?)?, reduction(case)?))
}

/// `batchmean` is the sum over the number of rows.
fn kl_div(case: &Case) -> Outcome<Tensor> {
    if case.text("reduction", "mean") != "batchmean" {
        return elementwise(case, Tensor::kl_div_loss);
    }
    let x = prediction(case)?;
    Ok(x.kl_div_loss(case.input(target(case)?)?, Reduction::Sum).affine(1.0 / x.shape()[0] as f32, 0.0))
}

/// A weight for each class.
fn weight(case: &Case) -> Option<Tensor> {
    case.optional(&["w", "weight", "weights"]).cloned()
}

fn ignore_index(case: &Case) -> Option<i64> {
    case.attribute("ignore_index").and_then(|v| v.as_i64())
}

fn labels(case: &Case, x: &Tensor) -> Outcome<Tensor> {
    let (values, shape) = case.integers(target(case)?)?;
    Ok(Tensor::new(&values.iter().map(|&v| v as i32).collect::<Vec<_>>(), shape, x.device()))
}

/// The prediction with classes on the last axis. In a case they are there or on axis 1: where the target has none.
fn classes_last(case: &Case) -> Outcome<Tensor> {
    let x = prediction(case)?;
    let without = |axis: usize| [&x.shape()[..axis], &x.shape()[axis + 1..]].concat();
    let on_axis_1 = |target: &[usize]| x.rank() > 2 && target == without(1) && target != without(x.rank() - 1);
    Ok(match case.integers(target(case)?) {
        Ok((_, target)) if on_axis_1(target) => channels_last(x),
        _ => x.clone(),
    })
}

fn nll(case: &Case) -> Outcome<Tensor> {
    let x = classes_last(case)?;
    let (weight, ignore_index, reduction) = (weight(case), ignore_index(case), reduction(case)?);
    Ok(x.nll_loss(&labels(case, &x)?, &NllOptions { weight, ignore_index, reduction }))
}

/// Of logits; the target is classes, or a probability for each.
fn cross_entropy(case: &Case) -> Outcome<Tensor> {
    let x = classes_last(case)?;
    let options = CrossEntropyOptions {
        weight: weight(case),
        ignore_index: ignore_index(case),
        label_smoothing: case.float("label_smoothing", 0.0),
        reduction: reduction(case)?,
    };
    let target = match case.input(target(case)?) {
        Ok(probabilities) => probabilities.clone(),
        Err(_) => labels(case, &x)?,
    };
    Ok(x.cross_entropy_with(&target, &options))
}
