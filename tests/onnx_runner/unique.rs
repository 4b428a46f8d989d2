//! Values that differ, found on the host: their number is known only there.

use std::cmp::Ordering;

use tilegrad::Tensor;

use super::layout;
use super::node::{Node, Outcome};
use super::value::{ElementType, Host, Value};

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    (node.op == "Unique").then(|| unique(node))
}

/// Slices along an axis, or elements; with the place where each comes first, the one that each place has, and how often.
fn unique(node: &Node) -> Outcome<Vec<Value>> {
    let input = node.input(0)?;
    let (x, axis) = match node.maybe_int("axis") {
        Some(axis) => (input.tensor()?.clone(), layout::axis(axis)?),
        None => (input.tensor()?.reshape([input.shape().len()]), 0),
    };
    let lines = x.move_axis(axis, 0).contiguous();
    let count = lines.shape()[0];
    let width = lines.len().checked_div(count).unwrap_or(0);
    let keys: Vec<f64> = match Value::of_type(lines.clone(), input.element()).computed()? {
        Host::Float(values) => values.into_iter().map(f64::from).collect(),
        Host::Int(values) => values.into_iter().map(|v| v as f64).collect(),
    };
    let line = |i: usize| &keys[i * width..(i + 1) * width];
    let compare = |&a: &usize, &b: &usize| line(a).partial_cmp(line(b)).unwrap_or(Ordering::Equal);

    // The first place of each value, and which of them each place has.
    let mut first: Vec<usize> = Vec::new();
    for i in 0..count {
        if first.iter().all(|&j| line(j) != line(i)) {
            first.push(i);
        }
    }
    if node.flag("sorted", true) {
        first.sort_by(compare);
    }
    let inverse: Vec<i64> =
        (0..count).map(|i| first.iter().position(|&j| line(j) == line(i)).unwrap_or(0) as i64).collect();
    let counts: Vec<i64> =
        (0..first.len() as i64).map(|k| inverse.iter().filter(|&&i| i == k).count() as i64).collect();

    let at: Vec<u32> = first.iter().map(|&i| i as u32).collect();
    let y = x.index_select(axis, &Tensor::new(&at, [at.len()], node.device));
    let first: Vec<i64> = first.iter().map(|&i| i as i64).collect();
    let places = |values: &[i64]| Value::ints(values, [values.len()], ElementType::I64, node.device);
    Ok(vec![Value::of_type(y, input.element()), places(&first), places(&inverse), places(&counts)])
}
