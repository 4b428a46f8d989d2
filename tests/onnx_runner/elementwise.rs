//! Functions of one tensor, element by element.

use tilegrad::Tensor;

use super::node::{Node, Outcome};
use super::value::Value;

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "Cos" => unary(node, Tensor::cos),
        "Elu" => unary(node, |x| x.elu(node.float("alpha", 1.0))),
        "Exp" => unary(node, Tensor::exp),
        "LeakyRelu" => unary(node, |x| x.leaky_relu(node.float("alpha", 0.01))),
        "Log" => unary(node, Tensor::log),
        "Neg" => unary(node, Tensor::neg),
        "Reciprocal" => unary(node, Tensor::reciprocal),
        "Relu" => unary(node, Tensor::relu),
        "Sigmoid" => unary(node, Tensor::sigmoid),
        "Sin" => unary(node, Tensor::sin),
        "Softplus" => unary(node, Tensor::softplus),
        "Sqrt" => unary(node, Tensor::sqrt),
        "Tanh" => unary(node, Tensor::tanh),
        _ => return None,
    })
}

/// One tensor in, one of the same element type out.
fn unary(node: &Node, f: impl Fn(&Tensor) -> Tensor) -> Outcome<Vec<Value>> {
    let x = node.input(0)?;
    Ok(vec![Value::of_type(f(x.tensor()?), x.element())])
}
