//! Indexing: gathers, scatters, positions, what is chosen by value.

use tilegrad::{DType, ScatterMode, Tensor};

use super::layout;
use super::node::{Node, Outcome, failed};
use super::value::{ElementType, Host, Value};

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "Compress" => compress(node),
        "Gather" => along(node, Tensor::index_select),
        "GatherElements" => along(node, Tensor::gather),
        "GatherND" => gather_nd(node),
        "NonZero" => nonzero(node),
        "OneHot" => one_hot(node),
        "ReverseSequence" => reverse_sequence(node),
        "Scatter" | "ScatterElements" => scatter(node),
        "ScatterND" => scatter_nd(node),
        _ => return None,
    })
}

fn along(node: &Node, f: fn(&Tensor, isize, &Tensor) -> Tensor) -> Outcome<Vec<Value>> {
    let (x, index) = (node.input(0)?, node.tensor(1)?);
    let axis = layout::axis(node.int("axis", 0))?;
    Ok(vec![Value::of_type(f(x.tensor()?, axis, index), x.element())])
}

fn gather_nd(node: &Node) -> Outcome<Vec<Value>> {
    let (x, index) = (node.input(0)?, node.tensor(1)?);
    let batch = layout::count(node.int("batch_dims", 0), "batch_dims")?;
    Ok(vec![Value::of_type(x.tensor()?.gather_nd(index, batch), x.element())])
}

fn mode(node: &Node) -> Outcome<ScatterMode> {
    Ok(match node.text("reduction", "none") {
        "none" => ScatterMode::Replace,
        "add" => ScatterMode::Add,
        "mul" => ScatterMode::Mul,
        "max" => ScatterMode::Max,
        "min" => ScatterMode::Min,
        other => return Err(failed(format!("reduction {other}"))),
    })
}

fn scatter(node: &Node) -> Outcome<Vec<Value>> {
    let (x, index, src) = (node.input(0)?, node.tensor(1)?, node.tensor(2)?);
    let axis = layout::axis(node.int("axis", 0))?;
    Ok(vec![Value::of_type(x.tensor()?.scatter(axis, index, src, mode(node)?), x.element())])
}

fn scatter_nd(node: &Node) -> Outcome<Vec<Value>> {
    let (x, index, src) = (node.input(0)?, node.tensor(1)?, node.tensor(2)?);
    Ok(vec![Value::of_type(x.tensor()?.scatter_nd(index, src, mode(node)?), x.element())])
}

/// `(rank, count)`, which is the other way round here.
fn nonzero(node: &Node) -> Outcome<Vec<Value>> {
    Ok(vec![Value::of_type(node.tensor(0)?.nonzero()?.transpose(), ElementType::I64)])
}

fn compress(node: &Node) -> Outcome<Vec<Value>> {
    let (x, condition) = (node.input(0)?, node.tensor(1)?);
    let axis = node.maybe_int("axis").map(layout::axis).transpose()?;
    Ok(vec![Value::of_type(x.tensor()?.compress(condition, axis)?, x.element())])
}

/// Indices and depth are of any type of numbers.
fn one_hot(node: &Node) -> Outcome<Vec<Value>> {
    let (values, axis) = (node.input(2)?, layout::axis(node.int("axis", -1))?);
    let depth = match node.input(1)?.host()? {
        Host::Int(depth) => depth,
        Host::Float(depth) => depth.iter().map(|&v| v as i64).collect(),
    };
    let &[depth] = &depth[..] else { return Err(failed("the depth is not one number")) };
    let index = node.tensor(0)?.cast(DType::I32);
    let hot = index.one_hot_values(layout::count(depth, "the depth")?, axis, values.tensor()?);
    Ok(vec![Value::of_type(hot, values.element())])
}

/// The first elements along the time axis, as many as the batch element's length, in reverse order.
fn reverse_sequence(node: &Node) -> Outcome<Vec<Value>> {
    let (x, lengths) = (node.input(0)?, node.input(1)?.host_ints()?);
    let (batch, time) = (node.int("batch_axis", 1), node.int("time_axis", 0));
    let dims = x.shape().dims();
    let (Some(&rows), Some(&steps)) = (dims.get(batch as usize), dims.get(time as usize)) else {
        return Err(failed(format!("axes {batch} and {time} of shape {}", x.shape())));
    };
    if batch == time || lengths.len() != rows || lengths.iter().any(|l| !(0..=steps as i64).contains(l)) {
        return Err(failed(format!("{lengths:?} of shape {}", x.shape())));
    }
    let at = |t: i64, length: i64| if t < length { length - 1 - t } else { t } as u32;
    let order: Vec<u32> = (0..steps as i64).flat_map(|t| lengths.iter().map(move |&l| at(t, l))).collect();
    let order = Tensor::new(&order, [steps, rows], node.device);
    let order = if batch < time { order.transpose() } else { order };
    let mut alone = vec![1; dims.len()];
    (alone[batch as usize], alone[time as usize]) = (rows, steps);
    let index = order.reshape(&alone[..]).broadcast_to(dims);
    Ok(vec![Value::of_type(x.tensor()?.gather(time as isize, &index), x.element())])
}
