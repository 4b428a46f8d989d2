//! Arithmetic of two tensors or more that broadcast, and casts.

use tilegrad::Tensor;

use super::layout;
use super::node::{Node, Outcome, failed};
use super::value::{ElementType, Value};

use ElementType::{Bool, F32, I32, I64, U8};

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "Add" => arithmetic(node, Tensor::add),
        "BitShift" => bit_shift(node),
        "BitwiseAnd" => arithmetic(node, Tensor::bitwise_and),
        "BitwiseNot" => bitwise_not(node),
        "BitwiseOr" => arithmetic(node, Tensor::bitwise_or),
        "BitwiseXor" => arithmetic(node, Tensor::bitwise_xor),
        "Cast" => ElementType::numbered(node.int("to", 0)).and_then(|to| cast(node, to)),
        "CastLike" => node.input(1).and_then(|like| cast(node, like.element())),
        "Div" => arithmetic(node, Tensor::div),
        "Max" => fold(node, Tensor::maximum),
        "Mean" => mean(node),
        "Min" => fold(node, Tensor::minimum),
        "Mod" => modulo(node),
        "Mul" => arithmetic(node, Tensor::mul),
        "Pow" => pow(node),
        "Sub" => arithmetic(node, Tensor::sub),
        "Sum" => fold(node, Tensor::add),
        _ => return None,
    })
}

/// Both operands. Until operator set 7 the second one lay along the first from `axis` on, where `broadcast` said so.
pub fn operands(node: &Node) -> Outcome<(Tensor, Tensor)> {
    let (a, b) = (node.tensor(0)?.clone(), node.tensor(1)?.clone());
    if node.opset >= 7 {
        return Ok((a, b));
    }
    node.ignore("consumed_inputs", "it told where memory may be reused");
    let (broadcast, axis) = (node.flag("broadcast", false), node.maybe_int("axis"));
    if !broadcast && a.shape() != b.shape() {
        return Err(failed(format!("shapes {} and {} without broadcast", a.shape(), b.shape())));
    }
    let Some(axis) = axis.filter(|_| broadcast) else { return Ok((a, b)) };
    let axis = if axis < 0 { axis + a.rank() as i64 } else { axis };
    let behind = a.rank().checked_sub(layout::count(axis, "axis")? + b.rank());
    let behind = behind.ok_or_else(|| failed(format!("shape {} from axis {axis} of {}", b.shape(), a.shape())))?;
    let shape = [b.shape().dims(), &vec![1; behind]].concat();
    Ok((a, b.reshape(&shape[..])))
}

/// The element type of all inputs, which must be one.
pub fn common_type(node: &Node) -> Outcome<ElementType> {
    let first = node.input(0)?.element();
    for i in 1..node.inputs() {
        let other = node.input(i)?.element();
        if other != first {
            return Err(failed(format!("{} of {first:?} and {other:?}", node.op)));
        }
    }
    Ok(first)
}

/// Two tensors of one element type in, one of it out.
fn arithmetic(node: &Node, f: impl Fn(&Tensor, &Tensor) -> Tensor) -> Outcome<Vec<Value>> {
    let element = common_type(node)?;
    let (a, b) = operands(node)?;
    Ok(vec![Value::of_type(f(&a, &b), element)])
}

/// One result of any number of inputs of one element type.
fn fold(node: &Node, f: impl Fn(&Tensor, &Tensor) -> Tensor) -> Outcome<Vec<Value>> {
    node.ignore("consumed_inputs", "it told where memory may be reused");
    let element = common_type(node)?;
    let first = node.tensor(0)?.clone();
    let y = node.tensors()?[1..].iter().fold(first, |y, x| f(&y, x));
    Ok(vec![Value::of_type(y, element)])
}

fn mean(node: &Node) -> Outcome<Vec<Value>> {
    let sum = fold(node, Tensor::add)?;
    Ok(vec![Value::of(sum[0].tensor()?.affine(1.0 / node.inputs() as f32, 0.0))])
}

/// The sign is the divisor's, or the dividend's with `fmod`.
fn modulo(node: &Node) -> Outcome<Vec<Value>> {
    let fmod = node.flag("fmod", false);
    arithmetic(node, if fmod { Tensor::fmod } else { Tensor::remainder })
}

/// The result has the type of the base. Powers of integers are exact where the exponent is an integer.
fn pow(node: &Node) -> Outcome<Vec<Value>> {
    let (element, exponents) = (node.input(0)?.element(), node.input(1)?.element());
    let (a, b) = operands(node)?;
    let to = element.held_as();
    let y = match (element, exponents) {
        (F32, _) => a.pow(&b.cast(F32.held_as())),
        (_, F32) => {
            let whole = a.pow(&b.cast(to));
            let float = a.cast(F32.held_as()).pow(&b).cast(to);
            b.cast(I32.held_as()).cast(F32.held_as()).eq(&b).where_cond(&whole, &float)
        }
        _ => a.pow(&b.cast(to)),
    };
    Ok(vec![Value::of_type(y, element)])
}

fn bit_shift(node: &Node) -> Outcome<Vec<Value>> {
    match node.text("direction", "") {
        "LEFT" => arithmetic(node, Tensor::shift_left),
        "RIGHT" => arithmetic(node, Tensor::shift_right),
        other => Err(failed(format!("direction {other}"))),
    }
}

fn bitwise_not(node: &Node) -> Outcome<Vec<Value>> {
    let x = node.input(0)?;
    let ones = match x.element() {
        U8 => 255,
        I32 | I64 => -1,
        other @ (F32 | Bool) => return Err(failed(format!("BitwiseNot of {other:?}"))),
    };
    let ones = Value::ints(&[ones], [1; 0], x.element(), node.device);
    Ok(vec![Value::of_type(x.tensor()?.bitwise_xor(ones.tensor()?), x.element())])
}

fn cast(node: &Node, to: ElementType) -> Outcome<Vec<Value>> {
    for name in ["saturate", "round_mode"] {
        node.ignore(name, "it is about 8-bit floats");
    }
    let x = node.input(0)?;
    if x.element() == to {
        return Ok(vec![x.clone()]);
    }
    let y = x.tensor()?.cast(to.held_as());
    Ok(vec![Value::of_type(y, to)])
}
