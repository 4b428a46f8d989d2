//! Pooling, and max-unpooling.

use tilegrad::{DType, Padding, Pooling, Tensor, Window};

use super::layout::{Windows, channels_first, channels_last, counts, windows};
use super::node::{Node, Outcome, failed, unsupported};
use super::value::{ElementType, Value};

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "AveragePool" => average_pool(node),
        "GlobalAveragePool" => global(node, |x| x.global_avg_pool(true)),
        "GlobalLpPool" => global(node, |x| x.global_lp_pool(norm(node), true)),
        "GlobalMaxPool" => global(node, |x| x.global_max_pool(true)),
        "LpPool" => lp_pool(node),
        "MaxPool" => max_pool(node),
        "MaxUnpool" => max_unpool(node),
        _ => return None,
    })
}

/// Over all spatial axes.
fn global(node: &Node, f: impl Fn(&Tensor) -> Tensor) -> Outcome<Vec<Value>> {
    Ok(vec![Value::of(channels_first(&f(&channels_last(node.tensor(0)?))))])
}

/// Windows over one, two or three axes, in ceil mode or not.
struct Over {
    windows: Windows,
    ceil: bool,
}

impl Over {
    fn of(node: &Node) -> Outcome<Over> {
        let shape = node.input(0)?.shape();
        let spatial = shape.rank().checked_sub(2).ok_or_else(|| failed("images have at least 2 axes"))?;
        if !(1..=3).contains(&spatial) {
            return Err(unsupported(format!("{} over {spatial} axes", node.op)));
        }
        if !node.has("kernel_shape") {
            return Err(failed("kernel_shape is missing"));
        }
        let size = counts(node, "kernel_shape", spatial, 0)?;
        let windows = windows(node, &shape.dims()[2..], size)?;
        // With `auto_pad` the formulas for the output's size are the same in ceil mode.
        let explicit = ["NOTSET", ""].contains(&node.text("auto_pad", "NOTSET"));
        Ok(Over { windows, ceil: node.flag("ceil_mode", false) && explicit })
    }

    fn axes(&self) -> usize {
        self.windows.size.len()
    }

    fn pooling<const N: usize>(&self) -> Pooling<N> {
        let Windows { size, stride, dilation, pads } = &self.windows;
        let each = |values: &[usize]| std::array::from_fn(|i| values[i]);
        let padding = Padding::Explicit(std::array::from_fn(|i| pads[i]));
        let window = Window { size: each(size), stride: each(stride), dilation: each(dilation), padding };
        Pooling { window, ceil: self.ceil }
    }
}

fn average_pool(node: &Node) -> Outcome<Vec<Value>> {
    let (over, x) = (Over::of(node)?, channels_last(node.tensor(0)?));
    let y = match (over.axes(), node.flag("count_include_pad", false)) {
        (1, false) => x.avg_pool1d(over.pooling()),
        (2, false) => x.avg_pool2d(over.pooling()),
        (_, false) => x.avg_pool3d(over.pooling()),
        (1, true) => x.avg_pool1d_with_padding(over.pooling()),
        (2, true) => x.avg_pool2d_with_padding(over.pooling()),
        (_, true) => x.avg_pool3d_with_padding(over.pooling()),
    };
    Ok(vec![Value::of(channels_first(&y))])
}

/// `p` is a float in the first operator set, then an integer.
fn norm(node: &Node) -> f32 {
    if node.opset < 2 { node.float("p", 2.0) } else { node.int("p", 2) as f32 }
}

fn lp_pool(node: &Node) -> Outcome<Vec<Value>> {
    let (over, x, p) = (Over::of(node)?, channels_last(node.tensor(0)?), norm(node));
    let y = match over.axes() {
        1 => x.lp_pool1d(over.pooling(), p),
        2 => x.lp_pool2d(over.pooling(), p),
        _ => x.lp_pool3d(over.pooling(), p),
    };
    Ok(vec![Value::of(channels_first(&y))])
}

fn max_pool(node: &Node) -> Outcome<Vec<Value>> {
    let (over, element) = (Over::of(node)?, node.input(0)?.element());
    // Bytes are exact as floats.
    let x = channels_last(&node.input(0)?.float()?);
    let column_major = node.flag("storage_order", false);
    let value = |y: &Tensor| Value::of_type(channels_first(y), element);
    if !node.wants(1) {
        return Ok(vec![value(&match over.axes() {
            1 => x.max_pool1d(over.pooling()),
            2 => x.max_pool2d(over.pooling()),
            _ => x.max_pool3d(over.pooling()),
        })]);
    }
    let (y, positions) = match over.axes() {
        1 => x.max_pool1d_with_indices(over.pooling()),
        2 => x.max_pool2d_with_indices(over.pooling()),
        _ => x.max_pool3d_with_indices(over.pooling()),
    };
    let indices = global_indices(&channels_first(&positions), node.input(0)?.shape(), column_major);
    Ok(vec![value(&y), Value::of_type(indices, ElementType::I64)])
}

/// Positions in the image of a channel as positions in the whole tensor `(N, C, spatial...)`, whose images may be counted
/// with the first spatial axis as the fastest.
fn global_indices(positions: &Tensor, x: &[usize], column_major: bool) -> Tensor {
    let (positions, spatial) = (positions.cast(DType::I32), &x[2..]);
    let number = |v: usize| Tensor::new(&[v as i32], [1], positions.device());
    let mut within = positions.clone();
    if column_major {
        within = number(0);
        let mut left = positions.clone();
        // The last axis is the fastest of `positions`, and the slowest of the result.
        for axis in (0..spatial.len()).rev() {
            let step: usize = spatial[..axis].iter().product();
            within = within.add(&left.remainder(&number(spatial[axis])).mul(&number(step)));
            left = left.div(&number(spatial[axis]));
        }
    }
    let size = spatial.iter().product::<usize>() as i32;
    let starts: Vec<i32> = (0..(x[0] * x[1]) as i32).map(|i| i * size).collect();
    let shape = [&x[..2], &vec![1; spatial.len()]].concat();
    within.add(&Tensor::new(&starts, &shape, positions.device()))
}

/// Indices count through the whole tensor, so it is unpooled as one line.
fn max_unpool(node: &Node) -> Outcome<Vec<Value>> {
    let (x, indices) = (node.tensor(0)?, node.tensor(1)?);
    let spatial = x.rank().checked_sub(2).ok_or_else(|| failed("images have at least 2 axes"))?;
    let sizes = counts(node, "kernel_shape", spatial, 0)?;
    let (strides, pads) = (counts(node, "strides", spatial, 1)?, counts(node, "pads", 2 * spatial, 0)?);
    if !node.has("kernel_shape") {
        return Err(failed("kernel_shape is missing"));
    }
    // The image that the window pools to `x`.
    let mut shape = x.shape().dims().to_vec();
    for (i, size) in shape[2..].iter_mut().enumerate() {
        let padded = size.saturating_sub(1) * strides[i] + sizes[i];
        *size =
            padded.checked_sub(pads[i] + pads[spatial + i]).ok_or_else(|| failed("padding is more than the image"))?;
    }
    let line = |x: &Tensor| x.reshape([1, x.len(), 1]);
    let window = Window { size: [1], stride: [1], dilation: [1], padding: Padding::Valid };
    let y = line(x).max_unpool1d(&line(&indices.cast(DType::U32)), window, Some([shape.iter().product()]));
    let mut y = y.reshape(&shape);
    // A larger output has the image at its start.
    if let Some(output) = node.ints_input(2)? {
        let output: Vec<usize> = output.iter().map(|&v| usize::try_from(v).unwrap_or_default()).collect();
        if output.len() != shape.len() || output.iter().zip(&shape).any(|(larger, size)| larger < size) {
            return Err(failed(format!("output_shape {output:?} of an image {shape:?}")));
        }
        let behind: Vec<(usize, usize)> = output.iter().zip(&shape).map(|(larger, size)| (0, larger - size)).collect();
        y = y.pad(&behind, 0.0);
    }
    Ok(vec![Value::of(y)])
}
