//! Comparison, logic, and choice by truth values.

use tilegrad::Tensor;

use super::binary::{common_type, operands};
use super::node::{Node, Outcome, failed};
use super::value::{ElementType, Value};

use ElementType::Bool;

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "And" => condition(node, Tensor::logical_and),
        "Equal" => condition(node, Tensor::eq),
        "Greater" => condition(node, Tensor::gt),
        "GreaterOrEqual" => condition(node, Tensor::ge),
        "IsInf" => is_inf(node),
        "IsNaN" => node.tensor(0).map(|x| vec![Value::of_type(x.is_nan(), Bool)]),
        "Less" => condition(node, Tensor::lt),
        "LessOrEqual" => condition(node, Tensor::le),
        "Not" => node.tensor(0).map(|x| vec![Value::of_type(x.logical_not(), Bool)]),
        "Or" => condition(node, Tensor::logical_or),
        "Where" => choose(node),
        "Xor" => condition(node, Tensor::logical_xor),
        _ => return None,
    })
}

/// Two tensors of one element type in, truth values out.
fn condition(node: &Node, f: impl Fn(&Tensor, &Tensor) -> Tensor) -> Outcome<Vec<Value>> {
    common_type(node)?;
    let (a, b) = operands(node)?;
    Ok(vec![Value::of_type(f(&a, &b), Bool)])
}

fn is_inf(node: &Node) -> Outcome<Vec<Value>> {
    let x = node.tensor(0)?;
    let y = match (node.flag("detect_positive", true), node.flag("detect_negative", true)) {
        (true, true) => x.is_inf(),
        (true, false) => x.is_positive_infinity(),
        (false, true) => x.is_negative_infinity(),
        (false, false) => x.is_inf().logical_and(&x.is_nan()),
    };
    Ok(vec![Value::of_type(y, Bool)])
}

fn choose(node: &Node) -> Outcome<Vec<Value>> {
    let (a, b) = (node.input(1)?, node.input(2)?);
    if a.element() != b.element() {
        return Err(failed(format!("Where of {:?} and {:?}", a.element(), b.element())));
    }
    Ok(vec![Value::of_type(node.tensor(0)?.where_cond(a.tensor()?, b.tensor()?), a.element())])
}
