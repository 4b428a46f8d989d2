//! Normalisation and softmax.

use tilegrad::Tensor;

use super::layout;
use super::node::{Node, Outcome};
use super::value::Value;

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "Hardmax" => softmax(node, Tensor::hardmax),
        "LogSoftmax" => softmax(node, Tensor::log_softmax),
        "Softmax" => softmax(node, Tensor::softmax),
        _ => return None,
    })
}

/// Until operator set 13 over all axes from `axis` on, seen as one; since then along `axis`.
fn softmax(node: &Node, f: impl Fn(&Tensor, isize) -> Tensor) -> Outcome<Vec<Value>> {
    let x = node.tensor(0)?;
    if node.opset >= 13 {
        return Ok(vec![Value::of(f(x, layout::axis(node.int("axis", -1))?))]);
    }
    let axis = node.int("axis", 1);
    let axis = layout::count(if axis < 0 { axis + x.rank() as i64 } else { axis }, "axis")?;
    let (rows, columns) = x.shape().dims().split_at(axis);
    let flat: [usize; 2] = [rows.iter().product(), columns.iter().product()];
    Ok(vec![Value::of(f(&x.reshape(flat), 1).reshape(x.shape()))])
}
