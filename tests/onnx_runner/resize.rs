//! Resizing of images.

use tilegrad::{AspectRatio, Coordinates, DType, Interpolation, Nearest, ResizeOptions, ResizeTo, Tensor};

use super::layout::axis;
use super::node::{Node, Outcome, failed, unsupported};
use super::value::Value;

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "Resize" if node.opset < 11 => scales(node).and_then(|scales| by_scales(node, &scales)),
        "Resize" => resize(node),
        "Upsample" => scales(node).and_then(|scales| by_scales(node, &scales)),
        _ => return None,
    })
}

/// One scale for each axis: an input, or an attribute in older operator sets.
fn scales(node: &Node) -> Outcome<Vec<f32>> {
    if let Some(scales) = node.floats("scales") {
        return Ok(scales);
    }
    match (node.maybe_float("height_scale"), node.maybe_float("width_scale")) {
        (Some(height), Some(width)) => Ok(vec![1.0, 1.0, height, width]),
        _ => node.floats_input(1)?.ok_or_else(|| failed("scales are missing")),
    }
}

/// What there was before operator set 11: elements at `x / scale`, and the one before for nearest, but the one behind where an
/// axis gets shorter.
fn by_scales(node: &Node, scales: &[f32]) -> Outcome<Vec<Value>> {
    let x = node.tensor(0)?;
    if scales.len() != x.rank() {
        return Err(failed(format!("{} scales for shape {}", scales.len(), x.shape())));
    }
    let mode = node.text("mode", "nearest");
    let mut y = exact(x, mode)?;
    for (i, scale) in scales.iter().enumerate() {
        let interpolation = match mode {
            "nearest" if *scale < 1.0 => Interpolation::Nearest(Nearest::Ceil),
            "nearest" => Interpolation::Nearest(Nearest::Floor),
            "linear" | "bilinear" => Interpolation::Linear,
            other => return Err(unsupported(format!("mode {other}"))),
        };
        let options = ResizeOptions { interpolation, coordinates: Coordinates::Asymmetric, ..Default::default() };
        y = y.resize(&[i as isize], ResizeTo::Scales(&[*scale]), &options);
    }
    result(node, y)
}

/// The tensor in a type that the mode can be had in; only nearest elements may be integers.
fn exact(x: &Tensor, mode: &str) -> Outcome<Tensor> {
    match x.dtype() {
        DType::F32 => Ok(x.clone()),
        other if mode != "nearest" => Err(unsupported(format!("{mode} between elements of type {other}"))),
        DType::I32 | DType::U32 => Ok(x.clone()),
        _ => Ok(x.cast(DType::I32)),
    }
}

fn result(node: &Node, y: Tensor) -> Outcome<Vec<Value>> {
    Ok(vec![Value::of_type(y, node.input(0)?.element())])
}

fn resize(node: &Node) -> Outcome<Vec<Value>> {
    let mode = node.text("mode", "nearest");
    let x = exact(node.tensor(0)?, mode)?;
    let axes: Vec<isize> = match node.ints("axes") {
        Some(axes) => axes.into_iter().map(axis).collect::<Outcome<_>>()?,
        None => (0..x.rank() as isize).collect(),
    };
    let rounding = match node.text("nearest_mode", "round_prefer_floor") {
        "round_prefer_floor" => Nearest::RoundPreferFloor,
        "round_prefer_ceil" => Nearest::RoundPreferCeil,
        "floor" => Nearest::Floor,
        "ceil" => Nearest::Ceil,
        other => return Err(unsupported(format!("nearest_mode {other}"))),
    };
    let a = node.float("cubic_coeff_a", -0.75);
    let interpolation = match mode {
        "nearest" => Interpolation::Nearest(rounding),
        "linear" => Interpolation::Linear,
        "cubic" => Interpolation::Cubic { a },
        other => return Err(unsupported(format!("mode {other}"))),
    };
    let aspect_ratio = match node.text("keep_aspect_ratio_policy", "stretch") {
        "stretch" => AspectRatio::Stretch,
        "not_larger" => AspectRatio::NotLarger,
        "not_smaller" => AspectRatio::NotSmaller,
        other => return Err(unsupported(format!("keep_aspect_ratio_policy {other}"))),
    };
    let options = ResizeOptions {
        interpolation,
        coordinates: coordinates(node, axes.len())?,
        antialias: node.flag("antialias", false),
        exclude_outside: node.flag("exclude_outside", false),
        aspect_ratio,
    };
    // One of the two is there; an empty tensor is as good as none.
    let scales = node.floats_input(2)?.filter(|scales| !scales.is_empty());
    let sizes = node.ints_input(3)?.filter(|sizes| !sizes.is_empty());
    let y = match (scales, sizes) {
        (Some(scales), None) => x.resize(&axes, ResizeTo::Scales(&scales), &options),
        (None, Some(sizes)) => {
            let sizes: Vec<usize> =
                sizes.into_iter().map(|v| super::layout::count(v, "sizes")).collect::<Outcome<_>>()?;
            x.resize(&axes, ResizeTo::Sizes(&sizes), &options)
        }
        (None, None) if axes.is_empty() => x,
        _ => return Err(failed("one of scales and sizes is needed")),
    };
    result(node, y)
}

fn coordinates(node: &Node, axes: usize) -> Outcome<Coordinates> {
    let outside = node.float("extrapolation_value", 0.0);
    Ok(match node.text("coordinate_transformation_mode", "half_pixel") {
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "tf_half_pixel_for_nn" => Coordinates::HalfPixelUnshifted,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_crop_and_resize" => {
            let roi = node.floats_input(1)?.unwrap_or_default();
            if roi.len() != 2 * axes {
                return Err(failed(format!("roi has {} values for {axes} axes", roi.len())));
            }
            Coordinates::CropAndResize { roi: (0..axes).map(|i| [roi[i], roi[axes + i]]).collect(), outside }
        }
        other => return Err(unsupported(format!("coordinate_transformation_mode {other}"))),
    })
}
