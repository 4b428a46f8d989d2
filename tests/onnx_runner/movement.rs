//! Shapes, order of axes, and parts of tensors: no arithmetic.

use tilegrad::Tensor;

use super::layout;
use super::node::{Node, Outcome, failed};
use super::value::Value;

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "Concat" => concat(node),
        "Flatten" => flatten(node),
        "Reshape" => reshape(node),
        "Transpose" => transpose(node),
        _ => return None,
    })
}

fn concat(node: &Node) -> Outcome<Vec<Value>> {
    let axis = layout::axis(node.int("axis", 1))?;
    Ok(vec![Value::of_type(Tensor::concat(&node.tensors()?, axis), node.input(0)?.element())])
}

fn flatten(node: &Node) -> Outcome<Vec<Value>> {
    let x = node.input(0)?;
    let rank = x.shape().rank() as i64;
    let axis = node.int("axis", 1);
    let axis = layout::count(if axis < 0 { axis + rank } else { axis }, "axis")?;
    if axis > x.shape().rank() {
        return Err(failed(format!("axis {axis} of shape {}", x.shape())));
    }
    let (rows, columns) = x.shape().dims().split_at(axis);
    let shape: [usize; 2] = [rows.iter().product(), columns.iter().product()];
    Ok(vec![Value::of_type(x.tensor()?.reshape(shape), x.element())])
}

/// 0 keeps a length unless `allowzero`; -1 is what is left.
fn reshape(node: &Node) -> Outcome<Vec<Value>> {
    let x = node.input(0)?;
    let wanted = match node.ints("shape") {
        Some(shape) => shape,
        None => node.ints_input(1)?.ok_or_else(|| failed("no shape"))?,
    };
    let zero = node.flag("allowzero", false);
    let mut shape = Vec::new();
    for (i, &length) in wanted.iter().enumerate() {
        shape.push(match length {
            -1 => 1,
            0 if !zero => *x.shape().dims().get(i).ok_or_else(|| failed(format!("no axis {i} to keep")))?,
            length => layout::count(length, "a length")?,
        });
    }
    if let Some(open) = wanted.iter().position(|&length| length == -1) {
        let known: usize = shape.iter().product();
        shape[open] = x.shape().len().checked_div(known).unwrap_or(0);
    }
    Ok(vec![Value::of_type(x.tensor()?.reshape(&shape[..]), x.element())])
}

fn transpose(node: &Node) -> Outcome<Vec<Value>> {
    let x = node.input(0)?;
    let rank = x.shape().rank() as i64;
    let order = node.ints("perm").unwrap_or_else(|| (0..rank).rev().collect());
    let order = order.into_iter().map(layout::axis).collect::<Outcome<Vec<_>>>()?;
    Ok(vec![Value::of_type(x.tensor()?.permute(&order), x.element())])
}
