//! Convolutions and matrix products.

use tilegrad::{Conv2dOptions, Padding};

use super::layout::{channels_first, channels_last, count, counts, kernel_last, windows};
use super::node::{Node, Outcome, failed, unsupported};
use super::value::Value;

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "Conv" => conv(node),
        "Gemm" => gemm(node),
        "MatMul" => matmul(node),
        _ => return None,
    })
}

fn conv(node: &Node) -> Outcome<Vec<Value>> {
    let (x, w, bias) = (node.tensor(0)?, node.tensor(1)?, node.optional_tensor(2)?);
    let groups = count(node.int("group", 1), "group")?;
    let spatial = x.rank().checked_sub(2).ok_or_else(|| failed("images have at least 2 axes"))?;
    let size = counts(node, "kernel_shape", spatial, 0)?;
    if node.has("kernel_shape") && w.shape().dims()[2..] != size[..] {
        return Err(failed(format!("kernel_shape {size:?} of weights {}", w.shape())));
    }
    let windows = windows(node, &x.shape().dims()[2..], w.shape().dims()[2..].to_vec())?;
    if spatial != 2 {
        return Err(unsupported(format!("Conv over {spatial} axes")));
    }
    let options = Conv2dOptions {
        stride: [windows.stride[0], windows.stride[1]],
        dilation: [windows.dilation[0], windows.dilation[1]],
        padding: Padding::Explicit([windows.pads[0], windows.pads[1]]),
        groups,
        ..Default::default()
    };
    let y = channels_last(x).conv2d(&kernel_last(w), bias, &options);
    Ok(vec![Value::of(channels_first(&y))])
}

/// `alpha * a * b + beta * c`.
fn gemm(node: &Node) -> Outcome<Vec<Value>> {
    // Until operator set 7, c broadcast only where `broadcast` said so. A graph that is right then is right now.
    node.ignore("broadcast", "shapes say it");
    let turned = |i, name| node.tensor(i).map(|x| if node.flag(name, false) { x.transpose() } else { x.clone() });
    let product = turned(0, "transA")?.matmul(&turned(1, "transB")?);
    let product = product.affine(node.float("alpha", 1.0), 0.0);
    let beta = node.float("beta", 1.0);
    let y = match node.optional_tensor(2)? {
        Some(c) => product.add(&c.affine(beta, 0.0)),
        None => product,
    };
    Ok(vec![Value::of(y)])
}

/// numpy's: an operand of one axis is a row or a column whose axis of length 1 is taken away again.
fn matmul(node: &Node) -> Outcome<Vec<Value>> {
    let (a, b) = (node.tensor(0)?, node.tensor(1)?);
    let (row, column) = (a.rank() == 1, b.rank() == 1);
    let left = if row { a.unsqueeze(0) } else { a.clone() };
    let right = if column { b.unsqueeze(1) } else { b.clone() };
    let mut y = left.matmul(&right);
    if column {
        y = y.squeeze(-1);
    }
    if row {
        y = y.squeeze(if column { -1 } else { -2 });
    }
    Ok(vec![Value::of(y)])
}
