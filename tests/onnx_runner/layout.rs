//! What operators have in common: axes, the order of image axes, and how ONNX writes padding.

use tilegrad::Tensor;

use super::node::{Node, Outcome, failed, unsupported};

/// `(N, C, spatial...)` as tilegrad's `(N, spatial..., C)`, for any number of spatial axes.
pub fn channels_last(x: &Tensor) -> Tensor {
    let rank = x.rank() as isize;
    let axes: Vec<isize> = [0].into_iter().chain(2..rank).chain([1]).collect();
    x.permute(&axes)
}

/// `(N, spatial..., C)` as ONNX's `(N, C, spatial...)`.
pub fn channels_first(x: &Tensor) -> Tensor {
    let rank = x.rank() as isize;
    let axes: Vec<isize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    x.permute(&axes)
}

/// Weights `(out, in / groups, spatial...)` as tilegrad's `(spatial..., in / groups, out)`.
pub fn kernel_last(w: &Tensor) -> Tensor {
    let rank = w.rank() as isize;
    let axes: Vec<isize> = (2..rank).chain([1, 0]).collect();
    w.permute(&axes)
}

/// An axis as tilegrad takes it.
pub fn axis(value: i64) -> Outcome<isize> {
    isize::try_from(value).map_err(|_| failed(format!("axis {value}")))
}

/// The axes of a reduction: from an input of newer operator sets or an attribute of older ones; `None` when neither is
/// given.
pub fn axes(node: &Node, input: usize) -> Outcome<Option<Vec<isize>>> {
    let values = match node.ints("axes") {
        Some(values) => Some(values),
        None => node.ints_input(input)?,
    };
    values.map(|v| v.into_iter().map(axis).collect()).transpose()
}

/// A number that counts: a size, a stride, a dilation.
pub fn count(value: i64, what: &str) -> Outcome<usize> {
    usize::try_from(value).map_err(|_| failed(format!("{what} is {value}")))
}

/// Counts from an attribute, or `default` for each of `n` axes.
pub fn counts(node: &Node, name: &str, n: usize, default: usize) -> Outcome<Vec<usize>> {
    let Some(values) = node.ints(name) else { return Ok(vec![default; n]) };
    if values.len() != n {
        return Err(failed(format!("{name} has {} values for {n} axes", values.len())));
    }
    values.into_iter().map(|v| count(v, name)).collect()
}

/// How a window lies over images: what `Conv` and the pooling operators have in common.
#[derive(Clone, Debug)]
pub struct Windows {
    pub size: Vec<usize>,
    pub stride: Vec<usize>,
    pub dilation: Vec<usize>,
    /// `[before, after]` for each spatial axis.
    pub pads: Vec<[usize; 2]>,
}

/// Reads `strides`, `dilations`, `pads` and `auto_pad` for windows of `size` over spatial axes of lengths `input`.
pub fn windows(node: &Node, input: &[usize], size: Vec<usize>) -> Outcome<Windows> {
    let n = input.len();
    let stride = counts(node, "strides", n, 1)?;
    let dilation = counts(node, "dilations", n, 1)?;
    let pads = pads(node, input, &size, &stride, &dilation)?;
    Ok(Windows { size, stride, dilation, pads })
}

/// `auto_pad` and `pads` as explicit widths, `[before, after]` for each axis.
pub fn pads(
    node: &Node,
    input: &[usize],
    size: &[usize],
    stride: &[usize],
    dilation: &[usize],
) -> Outcome<Vec<[usize; 2]>> {
    let n = input.len();
    let explicit = counts(node, "pads", 2 * n, 0)?;
    let upper = match node.text("auto_pad", "NOTSET") {
        "NOTSET" | "" => return Ok((0..n).map(|i| [explicit[i], explicit[n + i]]).collect()),
        "VALID" => return Ok(vec![[0, 0]; n]),
        "SAME_UPPER" => true,
        "SAME_LOWER" => false,
        other => return Err(unsupported(format!("auto_pad {other}"))),
    };
    if stride.contains(&0) || size.contains(&0) {
        return Err(failed("a stride or a kernel of length 0"));
    }
    let widths = (0..n).map(|i| {
        let output = input[i].div_ceil(stride[i]);
        let reach = output.saturating_sub(1) * stride[i] + (size[i] - 1) * dilation[i] + 1;
        let total = reach.saturating_sub(input[i]);
        let small = total / 2;
        if upper { [small, total - small] } else { [total - small, small] }
    });
    Ok(widths.collect())
}
