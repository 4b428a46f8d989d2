//! Losses. A reduction that is not named is the mean.

use tilegrad::Tensor;

use super::case::{Case, Outcome, unsupported};

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    Some(match case.op() {
        "cross_entropy" => cross_entropy(case),
        _ => return None,
    })
}

fn reduced(case: &Case, losses: Tensor) -> Outcome<Tensor> {
    Ok(match case.text("reduction", "mean") {
        "mean" => losses.mean(),
        "sum" => losses.sum(),
        "none" => losses,
        other => return unsupported(format!("reduction {other}")),
    })
}

/// Of logits `(N, C)` and classes `(N)`.
fn cross_entropy(case: &Case) -> Outcome<Tensor> {
    let x = case.input("x")?;
    reduced(case, x.cross_entropy(&case.index("t", x.shape()[1], x.device())?))
}
