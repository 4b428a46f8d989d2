//! Convolution and pooling. Cases have channels first, `(N, C, H, W)` and `(O, C/groups, KH, KW)`; tilegrad has them last.

use tilegrad::{
    BlockOrder, Conv2dOptions, ConvAlgorithm, ConvOptions, ConvTransposeOptions, Interpolation, Nearest, Padding,
    Pooling, ResizeOptions, ResizeTo, Tensor, Window,
};

use super::case::{Case, Outcome, unsupported};

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    Some(match case.op() {
        "conv1d" => conv(case, Tensor::conv1d),
        "conv2d" => conv(case, Tensor::conv2d),
        "conv3d" => conv(case, Tensor::conv3d),
        "depthwise_conv2d" => depthwise(case),
        "conv_transpose1d" => conv_transpose(case, Tensor::conv_transpose1d),
        "conv_transpose2d" => conv_transpose(case, Tensor::conv_transpose2d),
        "conv_transpose3d" => conv_transpose(case, Tensor::conv_transpose3d),
        "maxpool1d" | "max_pool1d" => pool(case, Tensor::max_pool1d),
        "maxpool2d" | "max_pool2d" => pool(case, Tensor::max_pool2d),
        "maxpool3d" | "max_pool3d" => pool(case, Tensor::max_pool3d),
        "avgpool1d" | "avg_pool1d" => avg_pool(case, Tensor::avg_pool1d, Tensor::avg_pool1d_with_padding),
        "avgpool2d" | "avg_pool2d" => avg_pool(case, Tensor::avg_pool2d, Tensor::avg_pool2d_with_padding),
        "avgpool3d" | "avg_pool3d" => avg_pool(case, Tensor::avg_pool3d, Tensor::avg_pool3d_with_padding),
        "lppool1d" | "lp_pool1d" => lp_pool(case, Tensor::lp_pool1d),
        "lppool2d" | "lp_pool2d" => lp_pool(case, Tensor::lp_pool2d),
        "lppool3d" | "lp_pool3d" => lp_pool(case, Tensor::lp_pool3d),
        "global_avgpool2d" => global(case, Tensor::mean_axes),
        "global_maxpool2d" => global(case, Tensor::max_axes),
        "resize" => resize(case),
        "depth_to_space" => depth_to_space(case),
        "pixel_shuffle" => blocks(case, |x, block| x.depth_to_space(block, BlockOrder::DepthFirst)),
        "space_to_depth" => blocks(case, |x, block| x.space_to_depth(block, BlockOrder::DepthLast)),
        _ => return None,
    })
}

/// Channels last, whatever is between.
pub fn channels_last(x: &Tensor) -> Tensor {
    let rank = x.rank() as isize;
    x.permute(&[vec![0], (2..rank).collect(), vec![1]].concat())
}

/// Channels second again.
pub fn channels_first(x: &Tensor) -> Tensor {
    let rank = x.rank() as isize;
    x.permute(&[vec![0, rank - 1], (1..rank - 1).collect()].concat())
}

fn over_images(case: &Case, f: impl FnOnce(&Tensor) -> Tensor) -> Outcome<Tensor> {
    Ok(channels_first(&f(&channels_last(case.input("x")?))))
}

/// `(O, I, KH, KW)` as `(KH, KW, I, O)`.
fn kernel(case: &Case) -> Outcome<Tensor> {
    let w = case.input("w")?;
    Ok(w.permute(&[(2..w.rank() as isize).collect(), vec![1, 0]].concat()))
}

/// A number an axis, or one for all.
fn each<const N: usize>(case: &Case, names: &[&str], default: usize) -> Outcome<[usize; N]> {
    match names.iter().find_map(|name| case.sizes(name)) {
        None => Ok([default; N]),
        Some(values) if values.len() == 1 => Ok([values[0]; N]),
        Some(values) => values.try_into().or_else(|_| unsupported(format!("not {N} numbers in {}", names[0]))),
    }
}

fn padding<const N: usize>(case: &Case) -> Outcome<Padding<N>> {
    let name = if case.has_attribute("padding") { "padding" } else { "pads" };
    match case.text(name, "").to_lowercase().as_str() {
        "same" | "same_upper" => return Ok(Padding::Same),
        "same_lower" => return Ok(Padding::SameLower),
        "valid" => return Ok(Padding::Valid),
        _ => {}
    }
    // A width for all sides, or one for both sides of each axis.
    if let Some(widths) = case.sizes(name).filter(|widths| [1, N].contains(&widths.len()) && widths.len() != 2 * N) {
        return Ok(Padding::Explicit(std::array::from_fn(|i| [widths[i % widths.len()]; 2])));
    }
    match case.pairs(name) {
        None if case.has_attribute(name) => unsupported(format!("{name} of another form")),
        None => Ok(Padding::Valid),
        Some(pairs) if pairs.iter().flatten().any(|&v| v < 0) => unsupported("negative padding"),
        Some(pairs) => {
            let pairs: Vec<[usize; 2]> = pairs.iter().map(|p| p.map(|v| v as usize)).collect();
            pairs.try_into().map(Padding::Explicit).or_else(|_| unsupported(format!("{name} of other axes")))
        }
    }
}

fn options<const N: usize>(case: &Case, groups: usize) -> Outcome<ConvOptions<N>> {
    Ok(ConvOptions {
        stride: each(case, &["strides", "stride"], 1)?,
        dilation: each(case, &["dilations", "dilation"], 1)?,
        padding: padding(case)?,
        groups,
        activation: None,
        algorithm: ConvAlgorithm::Auto,
    })
}

fn groups(case: &Case) -> usize {
    case.int_of(&["groups", "group", "feature_group_count"], 1) as usize
}

fn bias<'a>(case: &'a Case) -> Option<&'a Tensor> {
    case.optional(&["b", "bias"])
}

fn conv<const N: usize>(
    case: &Case,
    f: fn(&Tensor, &Tensor, Option<&Tensor>, &ConvOptions<N>) -> Tensor,
) -> Outcome<Tensor> {
    let (w, options) = (kernel(case)?, options(case, groups(case))?);
    over_images(case, |x| f(x, &w, bias(case), &options))
}

/// Kernels `(C * M, 1, KH, KW)` as `(KH, KW, C, M)`.
fn depthwise(case: &Case) -> Outcome<Tensor> {
    case.ignore(&["groups", "group"]);
    let options: Conv2dOptions = options(case, 1)?;
    let (w, channels) = (case.input("w")?, case.input("x")?.shape()[1]);
    let w = w.reshape([channels, w.shape()[0] / channels, w.shape()[2], w.shape()[3]]).permute(&[2, 3, 0, 1]);
    over_images(case, |x| x.depthwise_conv2d(&w, bias(case), &options))
}

/// Kernels `(C, O/groups, KH, KW)` as `(KH, KW, O/groups, C)`.
fn conv_transpose<const N: usize>(
    case: &Case,
    f: fn(&Tensor, &Tensor, Option<&Tensor>, &ConvTransposeOptions<N>) -> Tensor,
) -> Outcome<Tensor> {
    let output_size =
        case.sizes("output_shape").and_then(|shape| shape[shape.len().saturating_sub(N)..].try_into().ok());
    let output_padding = match case.has_attribute("output_padding") {
        true => Some(each(case, &["output_padding"], 0)?),
        false => Some([0; N]),
    };
    let options = ConvTransposeOptions {
        stride: each(case, &["strides", "stride"], 1)?,
        dilation: each(case, &["dilations", "dilation"], 1)?,
        padding: padding(case)?,
        output_padding: output_padding.filter(|_| output_size.is_none()),
        output_size,
        groups: groups(case),
        activation: None,
    };
    let w = kernel(case)?;
    over_images(case, |x| f(x, &w, bias(case), &options))
}

fn pooling<const N: usize>(case: &Case) -> Outcome<Pooling<N>> {
    // As in JAX and ONNX, windows are a step of one apart unless the case says otherwise.
    let (stride, dilation) = (each(case, &["strides", "stride"], 1)?, each(case, &["dilations", "dilation"], 1)?);
    let size = each(case, &["kernel", "kernel_size", "kernel_shape", "window"], 1)?;
    let window = Window { size, stride, dilation, padding: padding(case)? };
    Ok(Pooling { window, ceil: case.flag("ceil_mode", false) })
}

fn pool<const N: usize>(case: &Case, f: fn(&Tensor, Pooling<N>) -> Tensor) -> Outcome<Tensor> {
    let pooling = pooling(case)?;
    over_images(case, |x| f(x, pooling))
}

/// `with_padding` counts it as zeros.
fn avg_pool<const N: usize>(
    case: &Case,
    without_padding: fn(&Tensor, Pooling<N>) -> Tensor,
    with_padding: fn(&Tensor, Pooling<N>) -> Tensor,
) -> Outcome<Tensor> {
    pool(case, if case.flag("count_include_pad", false) { with_padding } else { without_padding })
}

fn global(case: &Case, f: fn(&Tensor, &[isize], bool) -> Tensor) -> Outcome<Tensor> {
    // The output says whether the axes stay, where no attribute does.
    let x = case.input("x")?;
    let keep = case.output_rank().is_none_or(|rank| rank == x.rank());
    Ok(f(x, &(2..x.rank() as isize).collect::<Vec<_>>(), case.flag("keepdims", keep)))
}

fn lp_pool<const N: usize>(case: &Case, f: fn(&Tensor, Pooling<N>, f32) -> Tensor) -> Outcome<Tensor> {
    let (pooling, p) = (pooling(case)?, case.float("p", 2.0));
    over_images(case, |x| f(x, pooling, p))
}

/// As `jax.image.resize`: pixels have their middles where halves are, kernels stretch when an axis gets shorter, and weights
/// past the ends are left out.
fn resize(case: &Case) -> Outcome<Tensor> {
    let (x, Some(shape)) = (case.input("x")?, case.sizes("shape")) else {
        return unsupported("resize without a shape");
    };
    let interpolation = match case.text("method", "linear") {
        "nearest" => Interpolation::Nearest(Nearest::RoundPreferCeil),
        "linear" | "bilinear" | "trilinear" => Interpolation::Linear,
        "cubic" | "bicubic" | "tricubic" => Interpolation::Cubic { a: -0.5 },
        other => return unsupported(format!("method {other}")),
    };
    let antialias = case.flag("antialias", true);
    let options = ResizeOptions { interpolation, antialias, exclude_outside: true, ..Default::default() };
    let axes: Vec<isize> = (0..x.rank() as isize).collect();
    Ok(x.resize(&axes, ResizeTo::Sizes(&shape), &options))
}

fn blocks(case: &Case, f: impl Fn(&Tensor, usize) -> Tensor) -> Outcome<Tensor> {
    let block = case.int_of(&["block", "blocksize", "block_size", "upscale_factor", "r"], 1) as usize;
    over_images(case, |x| f(x, block))
}

/// ONNX's order unless the case names PyTorch's.
fn depth_to_space(case: &Case) -> Outcome<Tensor> {
    match case.text("mode", "DCR") {
        "DCR" => blocks(case, |x, block| x.depth_to_space(block, BlockOrder::DepthLast)),
        "CRD" => blocks(case, |x, block| x.depth_to_space(block, BlockOrder::DepthFirst)),
        mode => unsupported(format!("mode {mode}")),
    }
}
