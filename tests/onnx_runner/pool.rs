//! Pooling.

use super::layout::{channels_first, channels_last};
use super::node::{Node, Outcome};
use super::value::Value;

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "GlobalAveragePool" => global(node, |x, axes| x.mean_axes(axes, true)),
        "GlobalMaxPool" => global(node, |x, axes| x.max_axes(axes, true)),
        _ => return None,
    })
}

/// Over all spatial axes.
fn global(node: &Node, f: impl Fn(&tilegrad::Tensor, &[isize]) -> tilegrad::Tensor) -> Outcome<Vec<Value>> {
    let x = channels_last(node.tensor(0)?);
    let axes: Vec<isize> = (1..x.rank() as isize - 1).collect();
    Ok(vec![Value::of(channels_first(&f(&x, &axes)))])
}
