//! Losses. A reduction that is not named is the mean.

use tilegrad::{CrossEntropyOptions, NllOptions, Reduction, Tensor};

use super::case::{Case, Outcome, unsupported};

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    Some(match case.op() {
        "bce" | "binary_cross_entropy" => of_values(case, Tensor::bce_loss),
        "bce_with_logits" | "bce_logits" | "sigmoid_bce" | "sigmoid_cross_entropy" => bce_with_logits(case),
        "cross_entropy" => cross_entropy(case),
        "huber" => {
            let delta = case.float("delta", 1.0);
            of_values(case, |x, t, reduction| x.huber_loss(t, delta, reduction))
        }
        "kl_div" | "kl" => of_values(case, Tensor::kl_div_loss),
        "l1" | "mae" => of_values(case, Tensor::l1_loss),
        "mse" => of_values(case, Tensor::mse_loss),
        "nll" | "nll_loss" => nll(case),
        "smooth_l1" => {
            let beta = case.float("beta", 1.0);
            of_values(case, |x, t, reduction| x.smooth_l1_loss(t, beta, reduction))
        }
        _ => return None,
    })
}

fn reduction(case: &Case) -> Outcome<Reduction> {
    Ok(match case.text("reduction", "mean") {
        "mean" => Reduction::Mean,
        "sum" => Reduction::Sum,
        "none" => Reduction::None,
        other => return unsupported(format!("reduction {other}")),
    })
}

fn of_values(case: &Case, f: impl Fn(&Tensor, &Tensor, Reduction) -> Tensor) -> Outcome<Tensor> {
    Ok(f(case.input("x")?, case.input("t")?, reduction(case)?))
}

fn bce_with_logits(case: &Case) -> Outcome<Tensor> {
    let pos_weight = case.optional(&["pos_weight", "w"]);
    Ok(case.input("x")?.bce_with_logits_loss(case.input("t")?, pos_weight, reduction(case)?))
}

fn weight(case: &Case) -> Option<Tensor> {
    case.optional(&["w", "weight"]).cloned()
}

fn ignore_index(case: &Case) -> Option<i64> {
    case.has_attribute("ignore_index").then(|| case.int("ignore_index", 0))
}

/// Labels as they are: classes, of which one may be ignored, or class probabilities.
fn labels(case: &Case) -> Outcome<Tensor> {
    if let Ok(t) = case.input("t") {
        return Ok(t.clone());
    }
    let (values, shape) = case.integers("t")?;
    let labels: Vec<i32> = values.iter().map(|&t| t as i32).collect();
    Ok(Tensor::new(&labels, shape, case.input("x")?.device()))
}

/// Of logits `(.., C)` and classes `(..)` or class probabilities.
fn cross_entropy(case: &Case) -> Outcome<Tensor> {
    let options = CrossEntropyOptions {
        weight: weight(case),
        ignore_index: ignore_index(case),
        label_smoothing: case.float("label_smoothing", 0.0),
        reduction: reduction(case)?,
    };
    Ok(case.input("x")?.cross_entropy_with(&labels(case)?, &options))
}

fn nll(case: &Case) -> Outcome<Tensor> {
    let options = NllOptions { weight: weight(case), ignore_index: ignore_index(case), reduction: reduction(case)? };
    Ok(case.input("x")?.nll_loss(&labels(case)?, &options))
}
