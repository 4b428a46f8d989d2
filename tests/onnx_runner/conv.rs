//! Convolutions and matrix products.

use tilegrad::{ConvOptions, ConvTransposeOptions, DType, GemmOptions, Padding, Tensor};

use super::binary::common_type;
use super::layout::{Windows, channels_first, channels_last, count, counts, kernel_last, windows};
use super::node::{Node, Outcome, failed, unsupported};
use super::value::Value;

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "Conv" => convolve(node, |of| match of.input.len() {
            1 => conv(of, Tensor::conv1d),
            2 => conv(of, Tensor::conv2d),
            3 => conv(of, Tensor::conv3d),
            n => Err(unsupported(format!("Conv over {n} axes"))),
        }),
        "ConvTranspose" => convolve(node, |of| match of.input.len() {
            1 => conv_transpose(of, Tensor::conv_transpose1d),
            2 => conv_transpose(of, Tensor::conv_transpose2d),
            3 => conv_transpose(of, Tensor::conv_transpose3d),
            n => Err(unsupported(format!("ConvTranspose over {n} axes"))),
        }),
        "Gemm" => gemm(node),
        "MatMul" => matmul(node),
        _ => return None,
    })
}

/// What the operators have in common: images with channels last, kernels with their two kinds of channels last.
struct Operands<'a> {
    node: &'a Node<'a>,
    x: Tensor,
    w: Tensor,
    bias: Option<&'a Tensor>,
    groups: usize,
    /// Lengths of the images' and of the kernels' axes.
    input: &'a [usize],
    size: &'a [usize],
}

fn convolve(node: &Node, f: impl Fn(&Operands<'_>) -> Outcome<Tensor>) -> Outcome<Vec<Value>> {
    let (x, w) = (node.tensor(0)?, node.tensor(1)?);
    if x.rank() < 2 || w.rank() != x.rank() {
        return Err(failed(format!("weights {} for images {}", w.shape(), x.shape())));
    }
    let (input, size) = (&x.shape().dims()[2..], &w.shape().dims()[2..]);
    let kernel_shape = counts(node, "kernel_shape", input.len(), 0)?;
    if node.has("kernel_shape") && size != kernel_shape {
        return Err(failed(format!("kernel_shape {kernel_shape:?} of weights {}", w.shape())));
    }
    let groups = count(node.int("group", 1), "group")?;
    let bias = node.optional_tensor(2)?;
    let y = f(&Operands { node, x: channels_last(x), w: kernel_last(w), bias, groups, input, size })?;
    Ok(vec![Value::of(channels_first(&y))])
}

/// As many values as there are axes.
fn each<T: Copy, const N: usize>(values: &[T]) -> [T; N] {
    std::array::from_fn(|i| values[i])
}

type Convolution<Options> = fn(&Tensor, &Tensor, Option<&Tensor>, &Options) -> Tensor;

fn conv<const N: usize>(of: &Operands<'_>, f: Convolution<ConvOptions<N>>) -> Outcome<Tensor> {
    let Windows { stride, dilation, pads, .. } = windows(of.node, of.input, of.size.to_vec())?;
    let options = ConvOptions {
        stride: each(&stride),
        dilation: each(&dilation),
        padding: Padding::Explicit(each(&pads)),
        groups: of.groups,
        ..Default::default()
    };
    Ok(f(&of.x, &of.w, of.bias, &options))
}

fn conv_transpose<const N: usize>(of: &Operands<'_>, f: Convolution<ConvTransposeOptions<N>>) -> Outcome<Tensor> {
    Ok(f(&of.x, &of.w, of.bias, &transpose_options(of)?))
}

fn transpose_options<const N: usize>(of: &Operands<'_>) -> Outcome<ConvTransposeOptions<N>> {
    let node = of.node;
    let (stride, dilation) = (counts(node, "strides", N, 1)?, counts(node, "dilations", N, 1)?);
    let pads = counts(node, "pads", 2 * N, 0)?;
    let extra = counts(node, "output_padding", N, 0)?;
    let asked = match node.ints("output_shape") {
        None => None,
        // The whole shape, in graphs that were written before the specification said that it is the images' size.
        Some(shape) if shape.len() == N + 2 => Some(shape[2..].to_vec()),
        Some(shape) if shape.len() == N => Some(shape),
        Some(shape) => return Err(failed(format!("output_shape {shape:?} for {N} axes"))),
    };
    let asked: Option<Vec<usize>> =
        asked.map(|shape| shape.iter().map(|&v| count(v, "output_shape")).collect()).transpose()?;
    let times_stride = || of.input.iter().zip(&stride).map(|(n, s)| n * s).collect();
    let (padding, output) = match (node.text("auto_pad", "NOTSET"), asked) {
        // With a size, pads are not looked at: what is too much is cut, the larger half first unless it says otherwise.
        ("SAME_UPPER", Some(size)) => (Padding::Same, Some(size)),
        (_, Some(size)) => (Padding::SameLower, Some(size)),
        ("SAME_UPPER", None) => (Padding::Same, Some(times_stride())),
        ("SAME_LOWER", None) => (Padding::SameLower, Some(times_stride())),
        ("VALID", None) => (Padding::Explicit([[0, 0]; N]), None),
        ("NOTSET" | "", None) => (Padding::Explicit(std::array::from_fn(|i| [pads[i], pads[N + i]])), None),
        (other, None) => return Err(unsupported(format!("auto_pad {other}"))),
    };
    Ok(ConvTransposeOptions {
        stride: each(&stride),
        dilation: each(&dilation),
        padding,
        output_padding: Some(each(&extra)),
        output_size: output.map(|size: Vec<usize>| each(&size)),
        groups: of.groups,
        activation: None,
    })
}

fn matmul(node: &Node) -> Outcome<Vec<Value>> {
    let element = common_type(node)?;
    let (a, b) = (node.tensor(0)?, node.tensor(1)?);
    let y = if a.dtype() == DType::F32 { a.matmul(b) } else { integer_matmul(a, b)? };
    Ok(vec![Value::of_type(y, element)])
}

/// As products and their sums, which are exact; a vector has an axis of length 1 meanwhile.
fn integer_matmul(a: &Tensor, b: &Tensor) -> Outcome<Tensor> {
    if a.rank() == 0 || b.rank() == 0 {
        return Err(failed(format!("MatMul of shapes {} and {}", a.shape(), b.shape())));
    }
    let (row, column) = (a.rank() == 1, b.rank() == 1);
    let a = if row { a.unsqueeze(0) } else { a.clone() };
    let b = if column { b.unsqueeze(1) } else { b.clone() };
    if a.shape()[a.rank() - 1] != b.shape()[b.rank() - 2] {
        return Err(failed(format!("MatMul of shapes {} and {}", a.shape(), b.shape())));
    }
    let y = a.unsqueeze(-1).mul(&b.unsqueeze(-3)).sum_axes(&[-2], false);
    let axes: Vec<isize> = [(row, -2), (column, -1)].into_iter().filter(|(is, _)| *is).map(|(_, axis)| axis).collect();
    Ok(y.squeeze_axes(&axes))
}

/// `alpha * a * b + beta * c`.
fn gemm(node: &Node) -> Outcome<Vec<Value>> {
    // Until operator set 7, c broadcast only where `broadcast` said so. A graph that is right then is right now.
    node.ignore("broadcast", "shapes say it");
    let options = GemmOptions {
        alpha: node.float("alpha", 1.0),
        beta: node.float("beta", 1.0),
        transpose_a: node.flag("transA", false),
        transpose_b: node.flag("transB", false),
    };
    Ok(vec![Value::of(node.tensor(0)?.gemm(node.tensor(1)?, node.optional_tensor(2)?, &options))])
}
