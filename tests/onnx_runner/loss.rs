//! Losses. ONNX's class axis is axis 1, tilegrad's the last one; labels have the other axes.

use tilegrad::{CrossEntropyOptions, NllOptions, Reduction};

use super::layout::{channels_first, channels_last};
use super::node::{Node, Outcome, failed};
use super::value::Value;

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "NegativeLogLikelihoodLoss" => nll(node),
        "SoftmaxCrossEntropyLoss" => cross_entropy(node),
        _ => return None,
    })
}

fn reduction(node: &Node) -> Outcome<Reduction> {
    match node.text("reduction", "mean") {
        "none" => Ok(Reduction::None),
        "mean" => Ok(Reduction::Mean),
        "sum" => Ok(Reduction::Sum),
        other => Err(failed(format!("reduction {other}"))),
    }
}

fn nll(node: &Node) -> Outcome<Vec<Value>> {
    let weight = node.optional_tensor(2)?.cloned();
    let options = NllOptions { weight, ignore_index: node.maybe_int("ignore_index"), reduction: reduction(node)? };
    Ok(vec![Value::of(channels_last(node.tensor(0)?).nll_loss(node.tensor(1)?, &options))])
}

/// The loss, and the log-probabilities in the layout of the scores.
fn cross_entropy(node: &Node) -> Outcome<Vec<Value>> {
    let options = CrossEntropyOptions {
        weight: node.optional_tensor(2)?.cloned(),
        ignore_index: node.maybe_int("ignore_index"),
        reduction: reduction(node)?,
        ..Default::default()
    };
    let scores = channels_last(node.tensor(0)?);
    let loss = scores.cross_entropy_with(node.tensor(1)?, &options);
    Ok(vec![Value::of(loss), Value::of(channels_first(&scores.log_softmax(-1)))])
}
