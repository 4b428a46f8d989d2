//! Constants, the identity, and what belongs to no other family.

use image::DynamicImage;
use tilegrad::Tensor;

use super::layout::count;
use super::node::{Node, Outcome, failed, unsupported};
use super::value::{ElementType, Value};

use ElementType::{I64, U8};

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "Constant" => constant(node),
        "ConstantOfShape" => constant_of_shape(node),
        "Identity" => node.input(0).map(|x| vec![x.clone()]),
        "ImageDecoder" => image_decoder(node),
        "Shape" => shape(node),
        "Size" => node.input(0).map(|x| vec![Value::ints(&[x.shape().len() as i64], [0; 0], I64, node.device)]),
        _ => return None,
    })
}

/// One of several attributes.
fn constant(node: &Node) -> Outcome<Vec<Value>> {
    let floats = |values: &[f32], shape: &[usize]| Value::of(Tensor::new(values, shape, node.device));
    let value = if let Some(value) = node.constant("value")? {
        value
    } else if let Some(value) = node.maybe_int("value_int") {
        Value::ints(&[value], [0; 0], I64, node.device)
    } else if let Some(values) = node.ints("value_ints") {
        Value::ints(&values, [values.len()], I64, node.device)
    } else if let Some(value) = node.maybe_float("value_float") {
        floats(&[value], &[])
    } else if let Some(values) = node.floats("value_floats") {
        floats(&values, &[values.len()])
    } else {
        return Err(unsupported("Constant of a text or a sparse tensor"));
    };
    Ok(vec![value])
}

/// The attribute `value`, or 0, in every place of a shape.
fn constant_of_shape(node: &Node) -> Outcome<Vec<Value>> {
    let shape = node.ints_input(0)?.ok_or_else(|| failed("no shape"))?;
    let shape = shape.into_iter().map(|n| count(n, "a length")).collect::<Outcome<Vec<_>>>()?;
    Ok(vec![match node.constant("value")? {
        Some(value) => {
            // Of one element, whose shape is [1].
            let one = value.tensor()?.reshape([0; 0]);
            Value::of_type(one.broadcast_to(&shape[..]).contiguous(), value.element())
        }
        None => Value::of(Tensor::zeros(&shape[..], node.device)),
    }])
}

/// The lengths of the axes from `start` to `end`, both limited to the rank.
fn shape(node: &Node) -> Outcome<Vec<Value>> {
    let dims: Vec<i64> = node.input(0)?.shape().dims().iter().map(|&n| n as i64).collect();
    let rank = dims.len() as i64;
    let limited = |axis: i64| (if axis < 0 { axis + rank } else { axis }).clamp(0, rank) as usize;
    let (start, end) = (limited(node.int("start", 0)), limited(node.maybe_int("end").unwrap_or(rank)));
    let chosen = dims.get(start..end).unwrap_or(&[]);
    Ok(vec![Value::ints(chosen, [chosen.len()], I64, node.device)])
}

/// `(H, W, C)` bytes of an encoded image.
fn image_decoder(node: &Node) -> Outcome<Vec<Value>> {
    let bytes: Vec<u8> = node.input(0)?.host_ints()?.iter().map(|&v| v as u8).collect();
    // Decoders round a JPEG's transform each in its own way, which the format allows; the cases ask for one decoder's pixels.
    if image::guess_format(&bytes).is_ok_and(|format| format == image::ImageFormat::Jpeg) {
        return Err(unsupported("ImageDecoder: the pixels of a JPEG depend on the decoder"));
    }
    let image = image::load_from_memory(&bytes).map_err(|e| unsupported(format!("ImageDecoder: {e}")))?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let rgb = image.to_rgb8().into_raw();
    let (pixels, channels) = match node.text("pixel_format", "RGB") {
        "RGB" => (rgb, 3),
        "BGR" => (rgb.chunks_exact(3).flat_map(|p| [p[2], p[1], p[0]]).collect(), 3),
        "Grayscale" => match image {
            DynamicImage::ImageLuma8(gray) => (gray.into_raw(), 1),
            // ITU-R 601-2's weights in 16 bits, as Pillow has them.
            _ => {
                let luma = |p: &[u8]| p[0] as u32 * 19595 + p[1] as u32 * 38470 + p[2] as u32 * 7471 + 0x8000;
                (rgb.chunks_exact(3).map(|p| (luma(p) >> 16) as u8).collect(), 1)
            }
        },
        other => return Err(failed(format!("pixel_format {other}"))),
    };
    let y = Tensor::new(&pixels, [height, width, channels], node.device);
    Ok(vec![Value::of_type(y, U8)])
}
