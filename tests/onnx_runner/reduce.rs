//! Reductions over axes, positions of extremes, running sums and products, order.

use tilegrad::{DType, ScanOptions, Tensor};

use super::layout;
use super::node::{Node, Outcome, failed, unsupported};
use super::value::{ElementType, Value};

use ElementType::{Bool, F32, I32, I64, U8};

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "ArgMax" => position(node, Tensor::argmax, Tensor::argmax_last),
        "ArgMin" => position(node, Tensor::argmin, Tensor::argmin_last),
        "CumProd" => scan(node, Tensor::cumprod_with),
        "CumSum" => scan(node, Tensor::cumsum_with),
        "ReduceL1" => reduce(node, |x, axes, keepdims| absolute(x).sum_axes(axes, keepdims)),
        "ReduceL2" => reduce(node, l2_norm),
        "ReduceLogSum" => reduce_float(node, |x, axes, keepdims| x.sum_axes(axes, keepdims).log()),
        "ReduceLogSumExp" => reduce_float(node, Tensor::logsumexp_axes),
        "ReduceMax" => extreme(node, Extreme::Max),
        "ReduceMean" => reduce(node, Tensor::mean_axes),
        "ReduceMin" => extreme(node, Extreme::Min),
        "ReduceProd" => reduce(node, Tensor::prod_axes),
        "ReduceSum" => reduce(node, Tensor::sum_axes),
        "ReduceSumSquare" => reduce(node, Tensor::sum_square_axes),
        "TopK" => top_k(node),
        _ => return None,
    })
}

/// The axes to reduce, from an input or an attribute, and whether they stay. Without axes all are meant, or none with
/// `noop_with_empty_axes`: then each element is a set of its own.
fn axes(node: &Node) -> Outcome<(Vec<isize>, bool)> {
    let keepdims = node.flag("keepdims", true);
    let nothing = node.flag("noop_with_empty_axes", false);
    let axes = layout::axes(node, 1)?.unwrap_or_default();
    let all = || (0..node.input(0).map_or(0, |x| x.shape().rank()) as isize).collect();
    Ok((if axes.is_empty() && !nothing { all() } else { axes }, keepdims))
}

/// The result has the type of the input.
fn reduce(node: &Node, f: impl Fn(&Tensor, &[isize], bool) -> Tensor) -> Outcome<Vec<Value>> {
    let (x, (axes, keepdims)) = (node.input(0)?, axes(node)?);
    Ok(vec![Value::of_type(f(x.tensor()?, &axes, keepdims), x.element())])
}

/// As [`reduce`], computed with floats: of integers the result loses its fraction.
fn reduce_float(node: &Node, f: impl Fn(&Tensor, &[isize], bool) -> Tensor) -> Outcome<Vec<Value>> {
    reduce(node, |x, axes, keepdims| f(&x.cast(F32.held_as()), axes, keepdims))
}

/// Of floats and integers.
fn absolute(x: &Tensor) -> Tensor {
    match x.dtype() {
        DType::F32 | DType::F16 => x.abs(),
        DType::I32 => x.maximum(&x.sub(x).sub(x)),
        DType::U32 | DType::U8 | DType::Bool => x.clone(),
    }
}

/// Of integers as a root of their sum of squares, which is exact where the result is a whole number.
fn l2_norm(x: &Tensor, axes: &[isize], keepdims: bool) -> Tensor {
    match x.dtype() {
        DType::F32 => x.l2_norm_axes(axes, keepdims),
        _ => x.sum_square_axes(axes, keepdims).cast(DType::F32).sqrt(),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Extreme {
    Max,
    Min,
}

/// Of no elements the number that every other one beats.
fn extreme(node: &Node, which: Extreme) -> Outcome<Vec<Value>> {
    let max = which == Extreme::Max;
    let element = node.input(0)?.element();
    if element == I64 && node.tensor(0)?.len() == 0 {
        return Err(unsupported("the extremes of 64-bit integers"));
    }
    reduce(node, |x, axes, keepdims| match (element, max) {
        (F32, true) => x.max_axes_from(axes, keepdims, f32::NEG_INFINITY),
        (F32, false) => x.min_axes_from(axes, keepdims, f32::INFINITY),
        (I32 | I64, true) => x.max_axes_from(axes, keepdims, i32::MIN),
        (I32 | I64, false) => x.min_axes_from(axes, keepdims, i32::MAX),
        (U8, true) => x.max_axes_from(axes, keepdims, u8::MIN),
        (U8, false) => x.min_axes_from(axes, keepdims, u8::MAX),
        (Bool, true) => x.max_axes_from(axes, keepdims, false),
        (Bool, false) => x.min_axes_from(axes, keepdims, true),
    })
}

type Position = fn(&Tensor, isize) -> Tensor;

fn position(node: &Node, first: Position, last: Position) -> Outcome<Vec<Value>> {
    let x = node.tensor(0)?;
    let given = node.int("axis", 0);
    let f = if node.flag("select_last_index", false) { last } else { first };
    let y = f(x, layout::axis(given)?);
    if !node.flag("keepdims", true) {
        return Ok(vec![Value::of_type(y, I64)]);
    }
    let at = layout::count(if given < 0 { given + x.rank() as i64 } else { given }, "axis")?;
    Ok(vec![Value::of_type(y.reshape(x.shape().with(at, 1)), I64)])
}

/// The axis is an input.
fn scan(node: &Node, f: fn(&Tensor, isize, ScanOptions) -> Tensor) -> Outcome<Vec<Value>> {
    let x = node.input(0)?;
    let axis = match node.ints_input(1)?.as_deref() {
        Some(&[axis]) => layout::axis(axis)?,
        other => return Err(failed(format!("the axis is {other:?}"))),
    };
    let options = ScanOptions { exclusive: node.flag("exclusive", false), reverse: node.flag("reverse", false) };
    Ok(vec![Value::of_type(f(x.tensor()?, axis, options), x.element())])
}

/// `k` is an input since operator set 10, and an attribute before.
fn top_k(node: &Node) -> Outcome<Vec<Value>> {
    let x = node.input(0)?;
    node.flag("sorted", true); // Those that need no order may have one.
    let k = match (node.maybe_int("k"), node.ints_input(1)?.as_deref()) {
        (Some(k), None) | (None, Some(&[k])) => layout::count(k, "k")?,
        (attribute, input) => return Err(failed(format!("k is {attribute:?} and {input:?}"))),
    };
    let (values, order) = x.tensor()?.topk(k, layout::axis(node.int("axis", -1))?, node.flag("largest", true));
    Ok(vec![Value::of_type(values, x.element()), Value::of_type(order, I64)])
}
