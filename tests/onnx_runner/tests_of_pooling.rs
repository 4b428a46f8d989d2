//! Pooling beyond the samples: indices in either order, old operator sets, ceil mode with padding, with values by hand from
//! ONNX's specification. On every device.

use serde_json::{Value, json};

use crate::common::devices;
use crate::onnx_runner::fixture::{Fixture, Part, bytes, floats, longs};

#[track_caller]
fn passes(case: Fixture) {
    for device in devices() {
        case.distance(&device);
    }
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|v| v as f32).collect()
}

fn attributes(list: &[(&str, &[i64])]) -> Value {
    let one = |(name, v): &(&str, &[i64])| (name.to_string(), json!({"t": "ints", "v": v}));
    Value::Object(list.iter().map(one).collect())
}

fn with(mut attrs: Value, name: &str, kind: &str, value: Value) -> Value {
    attrs[name] = json!({"t": kind, "v": value});
    attrs
}

#[test]
fn indices_count_through_the_whole_tensor_in_either_order() {
    // Two channels of 2 x 3 x 4: the last of each window of 2 x 2 x 2 is the largest.
    let x = || [floats("x", &numbers(48), &[1, 2, 2, 3, 4])];
    let attrs = attributes(&[("kernel_shape", &[2, 2, 2]), ("strides", &[2, 2, 2])]);
    let largest = floats("y", &[17.0, 19.0, 41.0, 43.0], &[1, 2, 1, 1, 2]);
    let rows = longs("i", &[17, 19, 41, 43], &[1, 2, 1, 1, 2]);
    passes(Fixture::new("MaxPool", attrs.clone(), &x(), &[largest, rows]));
    // Places (1, 1, 1) and (1, 1, 3) with the first axis as the fastest: 1 + 1 * 2 + w * 6.
    let largest = floats("y", &[17.0, 19.0, 41.0, 43.0], &[1, 2, 1, 1, 2]);
    let columns = longs("i", &[9, 21, 33, 45], &[1, 2, 1, 1, 2]);
    let attrs = with(attrs, "storage_order", "int", json!(1));
    passes(Fixture::new("MaxPool", attrs, &x(), &[largest, columns]));
    // One axis has one order. Images of the batch count on, too.
    let line = [floats("x", &[3.0, 1.0, 2.0, 9.0, 5.0, 6.0], &[2, 1, 3])];
    for order in [0, 1] {
        let attrs = with(attributes(&[("kernel_shape", &[2])]), "storage_order", "int", json!(order));
        let y = [floats("y", &[3.0, 2.0, 9.0, 6.0], &[2, 1, 2]), longs("i", &[0, 2, 3, 5], &[2, 1, 2])];
        passes(Fixture::new("MaxPool", attrs, &line, &y));
    }
}

#[test]
fn bytes_and_their_indices() {
    let attrs = attributes(&[("kernel_shape", &[2, 2]), ("strides", &[2, 1])]);
    let x = [bytes("x", &[0, 255, 3, 7, 1, 2], &[1, 1, 2, 3])];
    let y = [bytes("y", &[255, 255], &[1, 1, 1, 2]), longs("i", &[1, 1], &[1, 1, 1, 2])];
    passes(Fixture::new("MaxPool", attrs, &x, &y));
}

#[test]
fn same_lower_has_the_odd_pixel_first() {
    let attrs = |op: &str| {
        let attrs = with(attributes(&[("kernel_shape", &[2])]), "auto_pad", "string", json!("SAME_LOWER"));
        if op == "AveragePool" { with(attrs, "count_include_pad", "int", json!(1)) } else { attrs }
    };
    let x = || [floats("x", &[2.0, 4.0, 6.0], &[1, 1, 3])];
    let y = |v: [f32; 3]| [floats("y", &v, &[1, 1, 3])];
    passes(Fixture::new("MaxPool", attrs("MaxPool"), &x(), &y([2.0, 4.0, 6.0])));
    passes(Fixture::new("AveragePool", attrs("AveragePool"), &x(), &y([1.0, 3.0, 5.0])));
    let norms = y([2.0, 20f32.sqrt(), 52f32.sqrt()]);
    passes(Fixture::new("LpPool", attrs("LpPool"), &x(), &norms));
}

#[test]
fn ceil_mode_counts_no_more_than_the_padding() {
    // Windows of 3 in steps of 2 over 1 + 4 + 1: the last one has 4, and padding, and one place past it.
    let attrs = attributes(&[("kernel_shape", &[3]), ("strides", &[2]), ("pads", &[1, 1])]);
    let attrs = with(attrs, "ceil_mode", "int", json!(1));
    let x = || [floats("x", &[1.0, 2.0, 3.0, 4.0], &[1, 1, 4])];
    let y = |v: [f32; 3]| [floats("y", &v, &[1, 1, 3])];
    passes(Fixture::new("AveragePool", attrs.clone(), &x(), &y([1.5, 3.0, 4.0])));
    let counted = with(attrs.clone(), "count_include_pad", "int", json!(1));
    passes(Fixture::new("AveragePool", counted, &x(), &y([1.0, 3.0, 2.0])));
    passes(Fixture::new("MaxPool", attrs.clone(), &x(), &y([2.0, 4.0, 4.0])));
    passes(Fixture::new("LpPool", with(attrs, "p", "int", json!(1)), &x(), &y([3.0, 9.0, 4.0])));
    // The formulas of auto_pad round down.
    let valid = attributes(&[("kernel_shape", &[3]), ("strides", &[2])]);
    let valid = with(with(valid, "ceil_mode", "int", json!(1)), "auto_pad", "string", json!("VALID"));
    passes(Fixture::new("MaxPool", valid, &x(), &[floats("y", &[3.0], &[1, 1, 1])]));
}

#[test]
fn norms_of_the_first_operator_set_have_a_fraction() {
    let x = || [floats("x", &[3.0, -4.0], &[1, 1, 2])];
    let y = |v: f32| [floats("y", &[v], &[1, 1, 1])];
    let p = |p: f32| with(json!({}), "p", "float", json!(p));
    let norm = (3f32.powf(1.5) + 8.0).powf(1.0 / 1.5);
    passes(Fixture::new("GlobalLpPool", p(1.5), &x(), &y(norm)).opset(1));
    passes(Fixture::new("GlobalLpPool", json!({}), &x(), &y(5.0)).opset(1));
    passes(Fixture::new("GlobalLpPool", with(json!({}), "p", "int", json!(1)), &x(), &y(7.0)));
    let windows = with(attributes(&[("kernel_shape", &[2])]), "p", "float", json!(1.5));
    passes(Fixture::new("LpPool", windows, &x(), &y(norm)).opset(1));
    passes(Fixture::new("LpPool", attributes(&[("kernel_shape", &[2])]), &x(), &y(5.0)));
}

#[test]
fn unpooling_counts_through_the_whole_tensor() {
    let attrs = attributes(&[("kernel_shape", &[2]), ("strides", &[2])]);
    let inputs = |i: [i64; 4]| [floats("x", &[1.0, 2.0, 3.0, 4.0], &[1, 2, 2]), longs("i", &i, &[1, 2, 2])];
    let y = floats("y", &[0.0, 1.0, 2.0, 0.0, 3.0, 0.0, 0.0, 4.0], &[1, 2, 4]);
    passes(Fixture::new("MaxUnpool", attrs.clone(), &inputs([1, 2, 4, 7]), &[y]));
    // Windows in steps of 1 share their largest: 1 + 2 - padding of 1.
    let shared = attributes(&[("kernel_shape", &[2]), ("pads", &[1, 0])]);
    let y = floats("y", &[0.0, 2.0, 3.0, 4.0], &[1, 2, 2]);
    passes(Fixture::new("MaxUnpool", shared, &inputs([1, 1, 2, 3]), &[y]));
    let smaller: Part = longs("shape", &[1, 2, 3], &[3]);
    let [x, i] = inputs([1, 2, 4, 7]);
    let case = Fixture::new("MaxUnpool", attrs, &[x, i, smaller], &[floats("y", &[0.0; 6], &[1, 2, 3])]);
    assert_eq!(case.failure(), "output_shape [1, 2, 3] of an image [1, 2, 4]");
}

#[test]
fn what_is_not_there_is_said() {
    let x = || [floats("x", &[0.0; 4], &[1, 1, 4])];
    let y = || [floats("y", &[0.0; 4], &[1, 1, 4])];
    assert_eq!(Fixture::new("MaxPool", json!({}), &x(), &y()).failure(), "kernel_shape is missing");
    let two = attributes(&[("kernel_shape", &[2, 2])]);
    assert_eq!(Fixture::new("AveragePool", two, &x(), &y()).failure(), "kernel_shape has 2 values for 1 axes");
    let four = [floats("x", &[0.0], &[1, 1, 1, 1, 1, 1])];
    assert_eq!(Fixture::new("MaxPool", json!({}), &four, &y()).lack(), "MaxPool over 4 axes");
}
