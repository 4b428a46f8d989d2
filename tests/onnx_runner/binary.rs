//! Arithmetic, comparison and logic of two tensors that broadcast, choice by truth values, and casts.

use tilegrad::Tensor;

use super::node::{Node, Outcome, unsupported};
use super::value::{ElementType, Value};

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "Add" => arithmetic(node, Tensor::add),
        "Div" => arithmetic(node, Tensor::div),
        "Greater" => comparison(node, Tensor::gt),
        "Less" => comparison(node, Tensor::lt),
        "Max" => fold(node, Tensor::maximum),
        "Mean" => fold(node, Tensor::add).and_then(|sum| mean(node, &sum[0])),
        "Min" => fold(node, Tensor::minimum),
        "Mul" => arithmetic(node, Tensor::mul),
        "Pow" => arithmetic(node, Tensor::pow),
        "Sub" => arithmetic(node, Tensor::sub),
        "Sum" => fold(node, Tensor::add),
        _ => return None,
    })
}

fn floats_only(node: &Node) -> Outcome<()> {
    for i in 0..node.inputs() {
        let element = node.input(i)?.element();
        if element != ElementType::F32 {
            return Err(unsupported(format!("{} of {element:?}", node.op)));
        }
    }
    Ok(())
}

fn arithmetic(node: &Node, f: impl Fn(&Tensor, &Tensor) -> Tensor) -> Outcome<Vec<Value>> {
    floats_only(node)?;
    Ok(vec![Value::of(f(node.tensor(0)?, node.tensor(1)?))])
}

fn comparison(node: &Node, f: impl Fn(&Tensor, &Tensor) -> Tensor) -> Outcome<Vec<Value>> {
    floats_only(node)?;
    Ok(vec![Value::of_type(f(node.tensor(0)?, node.tensor(1)?), ElementType::Bool)])
}

/// One result of any number of inputs.
fn fold(node: &Node, f: impl Fn(&Tensor, &Tensor) -> Tensor) -> Outcome<Vec<Value>> {
    floats_only(node)?;
    let inputs = node.tensors()?;
    let first = node.tensor(0)?.clone();
    Ok(vec![Value::of(inputs[1..].iter().fold(first, |y, x| f(&y, x)))])
}

fn mean(node: &Node, sum: &Value) -> Outcome<Vec<Value>> {
    Ok(vec![Value::of(sum.tensor()?.affine(1.0 / node.inputs() as f32, 0.0))])
}
