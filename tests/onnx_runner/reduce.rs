//! Reductions over axes.

use tilegrad::Tensor;

use super::layout;
use super::node::{Node, Outcome, unsupported};
use super::value::{ElementType, Value};

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "ReduceMax" => reduce(node, Tensor::max_axes),
        "ReduceMean" => reduce(node, Tensor::mean_axes),
        "ReduceMin" => reduce(node, Tensor::min_axes),
        "ReduceSum" => reduce(node, Tensor::sum_axes),
        _ => return None,
    })
}

/// Axes are an input or an attribute. Without axes all are meant, or none with `noop_with_empty_axes`.
fn reduce(node: &Node, f: impl Fn(&Tensor, &[isize], bool) -> Tensor) -> Outcome<Vec<Value>> {
    let x = node.input(0)?;
    if x.element() != ElementType::F32 {
        return Err(unsupported(format!("{} of {:?}", node.op, x.element())));
    }
    let keepdims = node.flag("keepdims", true);
    let nothing = node.flag("noop_with_empty_axes", false);
    let axes = layout::axes(node, 1)?.unwrap_or_default();
    let all: Vec<isize> = (0..x.shape().rank() as isize).collect();
    let axes = if axes.is_empty() && !nothing { all } else { axes };
    if x.shape().len() == 0 && ["ReduceMax", "ReduceMin"].contains(&node.op) {
        return Err(unsupported(format!("{} of no elements", node.op)));
    }
    Ok(vec![Value::of(f(x.tensor()?, &axes, keepdims))])
}
