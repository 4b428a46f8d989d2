//! Functions of one tensor, element by element.

use tilegrad::{DType, Tensor};

use super::node::{Node, Outcome, failed, unsupported};
use super::value::{ElementType, Value};

use ElementType::{Bool, F32};

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    // A hint for memory that old operator sets have.
    node.ignore("consumed_inputs", "says what may be overwritten");
    Some(match node.op {
        "Abs" => number(node, Tensor::abs),
        "Acos" => unary(node, Tensor::acos),
        "Acosh" => unary(node, Tensor::acosh),
        "Asin" => unary(node, Tensor::asin),
        "Asinh" => unary(node, Tensor::asinh),
        "Atan" => unary(node, Tensor::atan),
        "Atanh" => unary(node, Tensor::atanh),
        "Ceil" => unary(node, Tensor::ceil),
        "Celu" => unary(node, |x| x.celu(node.float("alpha", 1.0))),
        "Clip" => clip(node),
        "Cos" => unary(node, Tensor::cos),
        "Cosh" => unary(node, Tensor::cosh),
        "Elu" => unary(node, |x| x.elu(node.float("alpha", 1.0))),
        "Erf" => unary(node, Tensor::erf),
        "Exp" => unary(node, Tensor::exp),
        "Floor" => unary(node, Tensor::floor),
        "Gelu" => gelu(node),
        "HardSigmoid" => unary(node, |x| x.hard_sigmoid_with(node.float("alpha", 0.2), node.float("beta", 0.5))),
        "HardSwish" => unary(node, Tensor::hard_swish),
        "LeakyRelu" => unary(node, |x| x.leaky_relu(node.float("alpha", 0.01))),
        "Log" => unary(node, Tensor::log),
        "Mish" => unary(node, Tensor::mish),
        "Neg" => number(node, Tensor::neg),
        "PRelu" => prelu(node),
        "Reciprocal" => unary(node, Tensor::reciprocal),
        "Relu" => number(node, relu),
        "Round" => unary(node, Tensor::round),
        "Selu" => selu(node),
        "Shrink" => unary(node, |x| x.shrink(node.float("bias", 0.0), node.float("lambd", 0.5))),
        "Sigmoid" => unary(node, Tensor::sigmoid),
        "Sign" => number(node, Tensor::sign),
        "Sin" => unary(node, Tensor::sin),
        "Sinh" => unary(node, Tensor::sinh),
        "Softplus" => unary(node, Tensor::softplus),
        "Softsign" => unary(node, Tensor::softsign),
        "Sqrt" => unary(node, Tensor::sqrt),
        "Swish" => unary(node, |x| swish(x, node.float("alpha", 1.0))),
        "Tan" => unary(node, Tensor::tan),
        "Tanh" => unary(node, Tensor::tanh),
        "ThresholdedRelu" => unary(node, |x| x.thresholded_relu(node.float("alpha", 1.0))),
        _ => return None,
    })
}

/// One tensor of floats in, one out.
fn unary(node: &Node, f: impl Fn(&Tensor) -> Tensor) -> Outcome<Vec<Value>> {
    match node.input(0)?.element() {
        F32 => Ok(vec![Value::of(f(node.tensor(0)?))]),
        other => Err(unsupported(format!("{} of {other:?}", node.op))),
    }
}

/// One tensor of floats or of integers in, one of the same element type out.
fn number(node: &Node, f: impl Fn(&Tensor) -> Tensor) -> Outcome<Vec<Value>> {
    let x = node.input(0)?;
    match x.element() {
        Bool => Err(failed(format!("{} of truth values", node.op))),
        element => Ok(vec![Value::of_type(f(x.tensor()?), element)]),
    }
}

fn relu(x: &Tensor) -> Tensor {
    match x.dtype() {
        DType::F32 => x.relu(),
        dtype => x.maximum(&Tensor::zeros([0; 0], x.device()).cast(dtype)),
    }
}

fn swish(x: &Tensor, alpha: f32) -> Tensor {
    if alpha == 1.0 { x.swish() } else { x.mul(&x.affine(alpha, 0.0).sigmoid()) }
}

fn gelu(node: &Node) -> Outcome<Vec<Value>> {
    match node.text("approximate", "none") {
        "none" => unary(node, Tensor::gelu_exact),
        "tanh" => unary(node, Tensor::gelu),
        other => Err(failed(format!("approximate is {other}"))),
    }
}

/// The defaults of operator set 1 have fewer digits.
fn selu(node: &Node) -> Outcome<Vec<Value>> {
    let (alpha, gamma) = if node.opset < 6 { (1.6732, 1.0507) } else { (1.673_263_2, 1.050_701) };
    unary(node, |x| x.selu_with(node.float("alpha", alpha), node.float("gamma", gamma)))
}

/// Limits are attributes until operator set 11, then inputs, each of which may be absent. A lower limit above the upper one
/// gives the upper one.
fn clip(node: &Node) -> Outcome<Vec<Value>> {
    if node.opset < 11 {
        let (min, max) = (node.float("min", f32::NEG_INFINITY), node.float("max", f32::INFINITY));
        return unary(node, |x| x.clip(min, max));
    }
    let x = node.input(0)?;
    for limit in [1, 2].into_iter().filter_map(|i| node.optional(i)) {
        if limit.shape().len() != 1 || limit.element() != x.element() {
            return Err(failed(format!("a limit is {:?} {}", limit.element(), limit.shape())));
        }
    }
    if x.element() == F32 {
        let limit = |i, absent| -> Outcome<f32> { Ok(node.floats_input(i)?.map_or(absent, |v| v[0])) };
        let (min, max) = (limit(1, f32::NEG_INFINITY)?, limit(2, f32::INFINITY)?);
        return unary(node, |x| x.clip(min, max));
    }
    let mut y = x.tensor()?.clone();
    if let Some(min) = node.optional_tensor(1)? {
        y = y.maximum(&min.reshape([0; 0]));
    }
    if let Some(max) = node.optional_tensor(2)? {
        y = y.minimum(&max.reshape([0; 0]));
    }
    Ok(vec![Value::of_type(y, x.element())])
}

/// Until operator set 7 the slopes are one for each channel, the second axis; since then they broadcast.
fn prelu(node: &Node) -> Outcome<Vec<Value>> {
    let slope = node.tensor(1)?;
    let rank = node.input(0)?.shape().rank();
    let slope = if node.opset < 7 && slope.rank() == 1 && slope.len() > 1 && rank > 2 {
        let mut shape = vec![1; rank - 1];
        shape[0] = slope.len();
        slope.reshape(&shape[..])
    } else {
        slope.clone()
    };
    if slope.dtype() != DType::F32 {
        return Err(unsupported("PRelu of integers"));
    }
    unary(node, |x| x.prelu(&slope))
}
