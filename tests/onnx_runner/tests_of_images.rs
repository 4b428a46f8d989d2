//! Convolutions, products and resizing beyond the samples: attributes and operator sets that no case has, with values by
//! hand from ONNX's specification. On every device.

use serde_json::{Value, json};

use crate::common::devices;
use crate::onnx_runner::fixture::{Fixture, Part, bytes, floats, longs};

#[track_caller]
fn passes(case: Fixture) {
    for device in devices() {
        case.distance(&device);
    }
}

fn number(v: i64) -> Value {
    json!({"t": "int", "v": v})
}

fn numbers(v: &[i64]) -> Value {
    json!({"t": "ints", "v": v})
}

fn text(v: &str) -> Value {
    json!({"t": "string", "v": v})
}

/// A row `(1, 1, length)` convolved with a row of taps.
fn line(op: &str, x: &[f32], w: &[f32], attrs: Value, y: &[f32]) -> Fixture {
    let inputs = [floats("x", x, &[1, 1, x.len()]), floats("w", w, &[1, 1, w.len()])];
    Fixture::new(op, attrs, &inputs, &[floats("y", y, &[1, 1, y.len()])])
}

#[test]
fn convolutions_pad_as_they_are_told() {
    let (x, w) = ([1.0, 2.0, 3.0, 4.0], [1.0, 10.0]);
    let conv = |attrs, y: &[f32]| passes(line("Conv", &x, &w, attrs, y));
    conv(json!({}), &[21.0, 32.0, 43.0]);
    conv(json!({"auto_pad": text("VALID"), "strides": numbers(&[2])}), &[21.0, 43.0]);
    conv(json!({"auto_pad": text("SAME_UPPER")}), &[21.0, 32.0, 43.0, 4.0]);
    conv(json!({"auto_pad": text("SAME_LOWER")}), &[10.0, 21.0, 32.0, 43.0]);
    conv(json!({"pads": numbers(&[2, 0]), "dilations": numbers(&[2])}), &[10.0, 20.0, 31.0, 42.0]);
}

#[test]
fn transposed_convolutions_have_many_sizes() {
    let (x, w) = ([1.0, 2.0], [1.0, 10.0, 100.0]);
    let spread = |attrs, y: &[f32]| passes(line("ConvTranspose", &x, &w, attrs, y));
    let two = || numbers(&[2]);
    spread(json!({}), &[1.0, 12.0, 120.0, 200.0]);
    spread(json!({"strides": two()}), &[1.0, 10.0, 102.0, 20.0, 200.0]);
    spread(json!({"strides": two(), "pads": numbers(&[1, 0])}), &[10.0, 102.0, 20.0, 200.0]);
    spread(json!({"strides": two(), "output_padding": numbers(&[1])}), &[1.0, 10.0, 102.0, 20.0, 200.0, 0.0]);
    spread(json!({"strides": two(), "auto_pad": text("VALID")}), &[1.0, 10.0, 102.0, 20.0, 200.0]);
    spread(json!({"strides": two(), "auto_pad": text("SAME_UPPER")}), &[1.0, 10.0, 102.0, 20.0]);
    spread(json!({"strides": two(), "auto_pad": text("SAME_LOWER")}), &[10.0, 102.0, 20.0, 200.0]);
    // Of one position too many, the first is cut unless the padding is SAME_UPPER.
    spread(json!({"strides": two(), "output_shape": numbers(&[4])}), &[10.0, 102.0, 20.0, 200.0]);
    let upper = json!({"strides": two(), "output_shape": numbers(&[4]), "auto_pad": text("SAME_UPPER")});
    spread(upper, &[1.0, 10.0, 102.0, 20.0]);
    spread(json!({"strides": two(), "output_shape": numbers(&[1, 1, 6])}), &[1.0, 10.0, 102.0, 20.0, 200.0, 0.0]);
    spread(json!({"dilations": two()}), &[1.0, 2.0, 10.0, 20.0, 100.0, 200.0]);
}

#[test]
fn volumes_have_groups_and_a_bias() {
    let x = floats("x", &[1.0, 2.0], &[1, 2, 1, 1, 1]);
    let bias = || floats("b", &[0.5, 0.25], &[2]);
    let attrs = json!({"group": number(2), "kernel_shape": numbers(&[1, 1, 1])});
    let w = floats("w", &[3.0, 5.0], &[2, 1, 1, 1, 1]);
    passes(Fixture::new("Conv", attrs.clone(), &[x, w, bias()], &[floats("y", &[3.5, 10.25], &[1, 2, 1, 1, 1])]));
    let x = floats("x", &[1.0, 2.0], &[1, 2, 1, 1, 1]);
    let w = floats("w", &[3.0, 5.0, 7.0, 9.0], &[2, 1, 2, 1, 1]);
    let attrs = json!({"group": number(2), "kernel_shape": numbers(&[2, 1, 1])});
    let y = floats("y", &[3.5, 5.5, 14.25, 18.25], &[1, 2, 2, 1, 1]);
    passes(Fixture::new("ConvTranspose", attrs, &[x, w, bias()], &[y]));
}

#[test]
fn products_of_vectors_and_of_old_operator_sets() {
    let vectors = [floats("a", &[1.0, 2.0], &[2]), floats("b", &[3.0, 4.0], &[2])];
    passes(Fixture::new("MatMul", json!({}), &vectors, &[floats("y", &[11.0], &[])]));
    let inputs = [
        floats("a", &[1.0, 2.0], &[1, 2]),
        floats("b", &[3.0, 4.0, 5.0, 6.0], &[2, 2]),
        floats("c", &[f32::NAN, 1.0], &[2]),
    ];
    let attrs = json!({"broadcast": number(1), "beta": {"t": "float", "v": 0.0}, "transB": number(1)});
    passes(Fixture::new("Gemm", attrs, &inputs, &[floats("y", &[11.0, 17.0], &[1, 2])]).opset(6));
}

fn resize(inputs: &[Part], attrs: Value, y: Part) -> Fixture {
    Fixture::new("Resize", attrs, inputs, &[y])
}

#[test]
fn resizing_in_every_operator_set() {
    let x = || floats("x", &[1.0, 2.0, 3.0, 4.0], &[1, 1, 1, 4]);
    let scales = |v: f32| floats("scales", &[1.0, 1.0, 1.0, v], &[4]);
    let roi = || floats("roi", &[], &[0]);
    // Before operator set 11, and Upsample: x / scale.
    let y = || floats("y", &[1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0], &[1, 1, 1, 8]);
    passes(resize(&[x(), scales(2.0)], json!({}), y()).opset(10));
    passes(
        resize(&[x(), scales(0.6)], json!({"mode": text("nearest")}), floats("y", &[1.0, 3.0], &[1, 1, 1, 2]))
            .opset(10),
    );
    let linear = || floats("y", &[1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.0], &[1, 1, 1, 8]);
    passes(resize(&[x(), scales(2.0)], json!({"mode": text("linear")}), linear()).opset(10));
    passes(Fixture::new("Upsample", json!({"mode": text("linear")}), &[x(), scales(2.0)], &[linear()]).opset(9));
    let attrs = json!({"scales": {"t": "floats", "v": [1.0, 1.0, 1.0, 2.0]}});
    passes(Fixture::new("Upsample", attrs, &[x()], &[y()]).opset(7));
    let attrs = json!({
        "height_scale": {"t": "float", "v": 1.0}, "width_scale": {"t": "float", "v": 2.0}, "mode": text("bilinear"),
    });
    passes(Fixture::new("Upsample", attrs, &[x()], &[linear()]).opset(1));
    // Inputs that are there and empty, and attributes of operator set 11.
    let sizes = || longs("sizes", &[1, 1, 1, 2], &[4]);
    let none = || floats("scales", &[], &[0]);
    let attrs = json!({"coordinate_transformation_mode": text("tf_half_pixel_for_nn"), "nearest_mode": text("floor")});
    passes(resize(&[x(), roi(), none(), sizes()], attrs, floats("y", &[2.0, 4.0], &[1, 1, 1, 2])).opset(11));
    let attrs = json!({"coordinate_transformation_mode": text("pytorch_half_pixel"), "mode": text("linear")});
    passes(resize(&[x(), roi(), scales(0.25)], attrs, floats("y", &[1.0], &[1, 1, 1, 1])).opset(13));
    // Axes, from the end too.
    let attrs = json!({"axes": numbers(&[-1]), "mode": text("linear")});
    let one = longs("sizes", &[2], &[1]);
    passes(resize(&[x(), roi(), none(), one], attrs, floats("y", &[1.5, 3.5], &[1, 1, 1, 2])).opset(19));
    // Bytes are copied as well.
    let pixels = bytes("x", &[7, 255], &[1, 1, 1, 2]);
    let y = bytes("y", &[7, 7, 255, 255], &[1, 1, 1, 4]);
    passes(resize(&[pixels, roi(), scales(2.0)], json!({}), y));
    let both = resize(&[x(), roi(), scales(2.0), sizes()], json!({}), floats("y", &[0.0; 2], &[1, 1, 1, 2]));
    assert_eq!(both.failure(), "one of scales and sizes is needed");
}
