//! Functions of one tensor.

use tilegrad::Tensor;

use super::{Row, row};
use crate::common::{random, spread};

/// Between -2 and 2, away from 0.
fn any() -> Vec<Tensor> {
    vec![spread([3, 7], 31).affine(2.0, 0.0)]
}

fn positive() -> Vec<Tensor> {
    vec![random([3, 7], 32, 0.3, 2.0)]
}

fn below_one() -> Vec<Tensor> {
    vec![spread([3, 7], 33).affine(0.9, 0.0)]
}

fn above_one() -> Vec<Tensor> {
    vec![random([3, 7], 34, 1.5, 3.0)]
}

pub fn rows() -> Vec<Row> {
    let mut rows = arithmetic();
    rows.extend(elementary());
    rows.extend(activations());
    rows
}

fn arithmetic() -> Vec<Row> {
    vec![
        row("neg", any(), |x| x[0].neg()).step(1e-2).onnx(&["Neg"]).jax(&["neg"]),
        row("abs", any(), |x| x[0].abs()).jax(&["abs"]).onnx(&["Abs"]),
        row("sign", any(), |x| x[0].sign()).jax(&["sign"]).onnx(&["Sign"]),
        row("ceil", any(), |x| x[0].ceil()).jax(&["ceil"]).onnx(&["Ceil"]),
        row("floor", any(), |x| x[0].floor()).jax(&["floor"]).onnx(&["Floor"]),
        row("round", any(), |x| x[0].round()).jax(&["round"]).onnx(&["Round"]),
        row("trunc", any(), |x| x[0].trunc()),
        row("affine", any(), |x| x[0].affine(3.0, -1.0)).step(1e-2),
        row("square", any(), |x| x[0].square()).jax(&["square"]),
        row("sqrt", positive(), |x| x[0].sqrt()).jax(&["sqrt"]).onnx(&["Sqrt"]),
        row("rsqrt", positive(), |x| x[0].rsqrt()).jax(&["rsqrt"]),
        row("reciprocal", positive(), |x| x[0].reciprocal()).onnx(&["Reciprocal"]).jax(&["reciprocal"]),
        row("powf", positive(), |x| x[0].powf(2.5)).jax(&["pow"]),
        row("clip", any(), |x| x[0].clip(-0.52, 0.77)).onnx(&["Clip"]).jax(&["clip", "hard_tanh"]),
        row("clip_min", any(), |x| x[0].clip_min(-0.52)),
        row("clip_max", any(), |x| x[0].clip_max(0.77)),
    ]
}

fn elementary() -> Vec<Row> {
    vec![
        row("exp", any(), |x| x[0].exp()).jax(&["exp"]).onnx(&["Exp"]),
        row("expm1", any(), |x| x[0].expm1()).jax(&["expm1"]),
        row("log", positive(), |x| x[0].log()).onnx(&["Log"]).jax(&["log"]),
        row("log1p", positive(), |x| x[0].log1p()).jax(&["log1p"]),
        row("sin", any(), |x| x[0].sin()).onnx(&["Sin"]).jax(&["sin"]),
        row("cos", any(), |x| x[0].cos()).onnx(&["Cos"]).jax(&["cos"]),
        row("tan", below_one(), |x| x[0].tan()).jax(&["tan"]).onnx(&["Tan"]),
        row("asin", below_one(), |x| x[0].asin()).jax(&["asin"]).onnx(&["Asin"]),
        row("acos", below_one(), |x| x[0].acos()).jax(&["acos"]).onnx(&["Acos"]),
        row("atan", any(), |x| x[0].atan()).jax(&["atan"]).onnx(&["Atan"]),
        row("sinh", any(), |x| x[0].sinh()).jax(&["sinh"]).onnx(&["Sinh"]),
        row("cosh", any(), |x| x[0].cosh()).jax(&["cosh"]).onnx(&["Cosh"]),
        row("tanh", any(), |x| x[0].tanh()).jax(&["tanh"]).onnx(&["Tanh"]),
        row("asinh", any(), |x| x[0].asinh()).jax(&["asinh"]).onnx(&["Asinh"]),
        row("acosh", above_one(), |x| x[0].acosh()).jax(&["acosh"]).onnx(&["Acosh"]),
        row("atanh", below_one(), |x| x[0].atanh()).jax(&["atanh"]).onnx(&["Atanh"]),
        row("erf", any(), |x| x[0].erf()).onnx(&["Erf"]).jax(&["erf"]),
    ]
}

fn activations() -> Vec<Row> {
    vec![
        row("relu", any(), |x| x[0].relu()).onnx(&["Relu"]).jax(&["relu"]),
        row("relu6", any(), |x| x[0].affine(4.1, 0.0).relu6()).jax(&["relu6"]),
        row("leaky_relu", any(), |x| x[0].leaky_relu(0.1)).jax(&["leaky_relu"]).onnx(&["LeakyRelu"]),
        row("prelu", vec![spread([3, 7], 31), random([7], 35, 0.1, 0.9)], |x| x[0].prelu(&x[1]))
            .jax(&["prelu"])
            .onnx(&["PRelu"]),
        row("thresholded_relu", any(), |x| x[0].thresholded_relu(0.77)).onnx(&["ThresholdedRelu"]),
        row("shrink", any(), |x| x[0].shrink(0.3, 0.52)).onnx(&["Shrink"]),
        row("elu", any(), |x| x[0].elu(0.7)).onnx(&["Elu"]).jax(&["elu"]),
        row("celu", any(), |x| x[0].celu(0.7)).onnx(&["Celu"]).jax(&["celu"]),
        row("selu", any(), |x| x[0].selu()).jax(&["selu"]).onnx(&["Selu"]),
        row("gelu", any(), |x| x[0].gelu()).onnx(&["Gelu"]).jax(&["gelu_tanh"]),
        row("gelu_exact", any(), |x| x[0].gelu_exact()).jax(&["gelu_exact"]),
        row("sigmoid", any(), |x| x[0].sigmoid()).onnx(&["Sigmoid"]).jax(&["sigmoid"]),
        row("logsigmoid", any(), |x| x[0].logsigmoid()).jax(&["logsigmoid"]),
        row("hard_sigmoid", any(), |x| x[0].affine(2.0, 0.0).hard_sigmoid())
            .jax(&["hard_sigmoid"])
            .onnx(&["HardSigmoid"]),
        row("swish", any(), |x| x[0].swish()).onnx(&["Swish"]).jax(&["silu"]),
        row("hard_swish", any(), |x| x[0].affine(2.0, 0.0).hard_swish()).onnx(&["HardSwish"]).jax(&["hard_swish"]),
        row("mish", any(), |x| x[0].mish()).jax(&["mish"]).onnx(&["Mish"]),
        row("softplus", any(), |x| x[0].softplus()).onnx(&["Softplus"]).jax(&["softplus"]),
        row("softsign", any(), |x| x[0].softsign()).onnx(&["Softsign"]).jax(&["softsign"]),
    ]
}
