//! Dropout: the identity unless a node says that it trains.

use tilegrad::{RandomKey, Tensor};

use super::node::{Node, Outcome, failed};
use super::value::Value;

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    (node.op == "Dropout").then(|| dropout(node))
}

/// Whether elements are dropped: said by an input since operator set 12, never from 7 on, and by `is_test` before.
fn is_training(node: &Node) -> Outcome<bool> {
    Ok(match node.opset {
        12.. => match node.optional(2) {
            Some(mode) => mode.host_ints()?.first().is_some_and(|&v| v != 0),
            None => false,
        },
        7..12 => false,
        _ => !node.flag("is_test", false),
    })
}

/// The part that is dropped: an attribute until operator set 12, an input since.
fn ratio(node: &Node) -> Outcome<f32> {
    if node.opset < 12 {
        return Ok(node.float("ratio", 0.5));
    }
    match node.floats_input(1)? {
        None => Ok(0.5),
        Some(values) => values.first().copied().ok_or_else(|| failed("ratio has no value")),
    }
}

fn dropout(node: &Node) -> Outcome<Vec<Value>> {
    node.ignore("consumed_inputs", "said which buffers an operator set 1 runtime may overwrite");
    let (x, rate, training) = (node.tensor(0)?, ratio(node)?, is_training(node)?);
    let key = RandomKey { seed: node.int("seed", 0) as u64, counter: 0 };
    let dropped = |x: &Tensor| if training && rate != 0.0 { x.dropout(rate, key) } else { x.clone() };
    // The same key draws the same mask.
    let ones = dropped(&x.ones_like());
    let kept = ones.ne(&Tensor::scalar(0.0, x.device()));
    // Until operator set 10 the mask was numbers.
    let mask = if node.opset < 10 { kept.cast(x.dtype()) } else { kept };
    Ok(vec![Value::of(dropped(x)), Value::of(mask)])
}
