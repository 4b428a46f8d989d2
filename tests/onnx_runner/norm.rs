//! Normalisation and softmax. ONNX's channels are axis 1, tilegrad's the last one.

use tilegrad::{LocalResponseNormOptions, Tensor};

use super::layout::{self, channels_first, channels_last, count};
use super::node::{Node, Outcome, failed, unsupported};
use super::value::Value;

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "BatchNormalization" => batch(node),
        "GroupNormalization" => group(node),
        "Hardmax" => softmax(node, Tensor::hardmax),
        "InstanceNormalization" => instance(node),
        "LRN" => local_response(node),
        "LayerNormalization" => layer(node),
        "LogSoftmax" => softmax(node, Tensor::log_softmax),
        "LpNormalization" => lp(node),
        "MeanVarianceNormalization" => mean_variance(node),
        "RMSNormalization" => rms(node),
        "Softmax" => softmax(node, Tensor::softmax),
        _ => return None,
    })
}

/// Until operator set 13 over all axes from `axis` on, seen as one; since then along `axis`.
fn softmax(node: &Node, f: impl Fn(&Tensor, isize) -> Tensor) -> Outcome<Vec<Value>> {
    let x = node.tensor(0)?;
    if node.opset >= 13 {
        return Ok(vec![Value::of(f(x, layout::axis(node.int("axis", -1))?))]);
    }
    let axis = node.int("axis", 1);
    let axis = count(if axis < 0 { axis + x.rank() as i64 } else { axis }, "axis")?;
    let (rows, columns) = x.shape().dims().split_at(axis);
    let flat: [usize; 2] = [rows.iter().product(), columns.iter().product()];
    Ok(vec![Value::of(f(&x.reshape(flat), 1).reshape(x.shape()))])
}

/// The number added to a variance.
fn epsilon(node: &Node) -> f32 {
    node.float("epsilon", 1e-5)
}

/// The type in which statistics are computed, where a node names one: ours is `f32`.
fn check_stash_type(node: &Node) -> Outcome<()> {
    match node.int("stash_type", 1) {
        1 => Ok(()),
        other => Err(unsupported(format!("statistics of element type {other}"))),
    }
}

/// Whether a batch's own statistics are used: said by `training_mode` since operator set 14, by the number of outputs from
/// 7 on, and by `is_test` before.
fn is_training(node: &Node) -> bool {
    match node.opset {
        14.. => node.flag("training_mode", false),
        7..14 => node.outputs() > 1,
        _ => !node.flag("is_test", false),
    }
}

fn batch(node: &Node) -> Outcome<Vec<Value>> {
    node.ignore("consumed_inputs", "said which buffers an operator set 1 runtime may overwrite");
    let x = node.tensor(0)?;
    let shape = x.shape().dims();
    // A channel is a channel; of one axis there is one channel; and before operator set 9 it may be every element of an image.
    let rows = match (x.rank(), node.flag("spatial", true)) {
        (0, _) => return Err(failed("x is a scalar")),
        (1, _) => x.reshape([x.len(), 1]),
        (_, true) => channels_last(x),
        (_, false) => x.flatten_from(1),
    };
    let back = |y: Tensor| {
        if y.rank() == x.rank() && x.rank() > 2 { channels_first(&y) } else { y.reshape(shape) }
    };
    let parameter = |i: usize| node.tensor(i).map(|t| t.reshape([t.len()]));
    let (gamma, beta, mean, variance) = (parameter(1)?, parameter(2)?, parameter(3)?, parameter(4)?);
    let (epsilon, momentum) = (epsilon(node), node.float("momentum", 0.9));
    if !is_training(node) {
        return Ok(vec![Value::of(back(rows.batch_norm_inference(&gamma, &beta, &mean, &variance, epsilon)))]);
    }
    let (y, batch_mean, batch_variance) = rows.batch_norm(&gamma, &beta, epsilon);
    let moved = |old: &Tensor, new: &Tensor| old.affine(momentum, 0.0).add(&new.affine(1.0 - momentum, 0.0));
    let as_given = |t: Tensor| Ok(t.reshape(node.tensor(3)?.shape()));
    let statistics = [moved(&mean, &batch_mean), moved(&variance, &batch_variance), batch_mean, batch_variance];
    let statistics = statistics.into_iter().map(as_given).collect::<Outcome<Vec<_>>>()?;
    Ok([back(y)].into_iter().chain(statistics).map(Value::of).collect())
}

fn layer(node: &Node) -> Outcome<Vec<Value>> {
    check_stash_type(node)?;
    let axis = layout::axis(node.int("axis", -1))?;
    let (x, gamma, beta) = (node.tensor(0)?, node.tensor(1)?, node.optional_tensor(2)?);
    let (y, mean, inverse) = x.layer_norm_with_statistics(axis, Some(gamma), beta, epsilon(node));
    Ok([y, mean, inverse].map(Value::of).to_vec())
}

fn rms(node: &Node) -> Outcome<Vec<Value>> {
    check_stash_type(node)?;
    let axis = layout::axis(node.int("axis", -1))?;
    Ok(vec![Value::of(node.tensor(0)?.rms_norm(axis, Some(node.tensor(1)?), epsilon(node)))])
}

/// Until operator set 21 scale and bias are one number a group, since then one a channel.
fn group(node: &Node) -> Outcome<Vec<Value>> {
    check_stash_type(node)?;
    let x = node.tensor(0)?;
    let groups = count(node.int("num_groups", 0), "num_groups")?;
    let Some(&c) = x.shape().get(1) else { return Err(failed("x has no channels")) };
    let each = c.checked_div(groups).ok_or_else(|| failed("num_groups is missing"))?;
    let parameter = |i: usize| -> Outcome<Tensor> {
        let t = node.tensor(i)?;
        let of_groups = || t.reshape([groups, 1]).broadcast_to([groups, each]).reshape([groups * each]);
        Ok(if node.opset < 21 { of_groups() } else { t.clone() })
    };
    let y = channels_last(x).group_norm(groups, Some(&parameter(1)?), Some(&parameter(2)?), epsilon(node));
    Ok(vec![Value::of(channels_first(&y))])
}

fn instance(node: &Node) -> Outcome<Vec<Value>> {
    node.ignore("consumed_inputs", "said which buffers an operator set 1 runtime may overwrite");
    let (x, gamma, beta) = (node.tensor(0)?, node.tensor(1)?, node.tensor(2)?);
    let y = channels_last(x).instance_norm(Some(gamma), Some(beta), epsilon(node));
    Ok(vec![Value::of(channels_first(&y))])
}

fn local_response(node: &Node) -> Outcome<Vec<Value>> {
    let options = LocalResponseNormOptions {
        size: count(node.int("size", 0), "size")?,
        alpha: node.float("alpha", 1e-4),
        beta: node.float("beta", 0.75),
        bias: node.float("bias", 1.0),
    };
    Ok(vec![Value::of(channels_first(&channels_last(node.tensor(0)?).local_response_norm(&options)))])
}

fn lp(node: &Node) -> Outcome<Vec<Value>> {
    let axis = layout::axis(node.int("axis", -1))?;
    Ok(vec![Value::of(node.tensor(0)?.lp_normalize(axis, node.int("p", 2) as f32))])
}

/// ONNX adds 1e-9 to the deviation, not to the variance. Where a deviation is not tiny neither is seen in single precision.
fn mean_variance(node: &Node) -> Outcome<Vec<Value>> {
    const SQUARE: f32 = 1e-18;
    let axes = node.ints("axes").unwrap_or_else(|| vec![0, 2, 3]);
    let axes = axes.into_iter().map(layout::axis).collect::<Outcome<Vec<_>>>()?;
    Ok(vec![Value::of(node.tensor(0)?.mean_variance_norm(&axes, SQUARE))])
}
