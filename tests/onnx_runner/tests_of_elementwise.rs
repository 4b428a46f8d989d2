//! Functions of one tensor beyond the samples: operator sets, attributes and element types that no case has, with values by
//! hand from ONNX's specification. On every device.

use serde_json::{Value, json};

use crate::common::devices;
use crate::onnx_runner::fixture::{Fixture, bytes, floats, ints, longs};

#[track_caller]
fn passes(case: Fixture) {
    for device in devices() {
        case.distance(&device);
    }
}

#[track_caller]
fn maps(op: &str, attrs: Value, x: &[f32], y: &[f32]) {
    passes(Fixture::new(op, attrs, &[floats("x", x, &[x.len()])], &[floats("y", y, &[y.len()])]));
}

fn float(name: &str, v: f32) -> Value {
    json!({name: {"t": "float", "v": v}})
}

#[test]
fn integers_have_signs() {
    let of_ints = |op: &str, y: [i64; 3]| {
        let narrow = y.map(|v| v as i32);
        passes(Fixture::new(op, json!({}), &[longs("x", &[-3, 0, 2], &[3])], &[longs("y", &y, &[3])]));
        passes(Fixture::new(op, json!({}), &[ints("x", &[-3, 0, 2], &[3])], &[ints("y", &narrow, &[3])]));
    };
    of_ints("Abs", [3, 0, 2]);
    of_ints("Neg", [3, 0, -2]);
    of_ints("Sign", [-1, 0, 1]);
    of_ints("Relu", [0, 0, 2]);
    for (op, y) in [("Abs", [0, 7, 255]), ("Sign", [0, 1, 1])] {
        passes(Fixture::new(op, json!({}), &[bytes("x", &[0, 7, 255], &[3])], &[bytes("y", &y, &[3])]));
    }
    let halves = Fixture::new("Exp", json!({}), &[ints("x", &[1], &[1])], &[ints("y", &[2], &[1])]);
    assert_eq!(halves.lack(), "Exp of I32");
}

#[test]
fn limits_are_attributes_and_then_inputs() {
    let x = || floats("x", &[-3.0, 0.5, 2.0], &[3]);
    let y = |y: &[f32; 3]| [floats("y", y, &[3])];
    let both = json!({"min": {"t": "float", "v": -1.0}, "max": {"t": "float", "v": 1.0}});
    passes(Fixture::new("Clip", both.clone(), &[x()], &y(&[-1.0, 0.5, 1.0])).opset(6));
    passes(Fixture::new("Clip", float("max", 1.0), &[x()], &y(&[-3.0, 0.5, 1.0])).opset(6));
    let inputs = [x(), floats("min", &[-1.0], &[]), floats("max", &[1.0], &[1])];
    passes(Fixture::new("Clip", json!({}), &inputs, &y(&[-1.0, 0.5, 1.0])).opset(11));
    assert_eq!(Fixture::new("Clip", both, &inputs, &y(&[0.0; 3])).lack(), "attribute max of Clip");
    let two = [x(), floats("min", &[-1.0, 0.0], &[2])];
    assert_eq!(Fixture::new("Clip", json!({}), &two, &y(&[0.0; 3])).failure(), "a limit is F32 [2]");
    let whole = |limits: [i64; 2], y: [i64; 3]| {
        let inputs = [longs("x", &[-3, 0, 2], &[3]), longs("min", &limits[..1], &[]), longs("max", &limits[1..], &[])];
        passes(Fixture::new("Clip", json!({}), &inputs, &[longs("y", &y, &[3])]));
    };
    whole([-1, 1], [-1, 0, 1]);
    whole([5, 1], [1, 1, 1]);
    let one = [bytes("x", &[0, 7, 255], &[3]), bytes("min", &[9], &[])];
    passes(Fixture::new("Clip", json!({}), &one, &[bytes("y", &[9, 9, 255], &[3])]));
}

#[test]
fn slopes_of_old_operator_sets_are_for_channels() {
    let x = || floats("x", &[-1.0, -2.0, -3.0, -4.0, 5.0, -6.0, 7.0, -8.0], &[1, 2, 2, 2]);
    let y = |y: &[f32; 8]| [floats("y", y, &[1, 2, 2, 2])];
    let slope = || floats("slope", &[0.5, 0.25], &[2]);
    let by_channel = [-0.5, -1.0, -1.5, -2.0, 5.0, -1.5, 7.0, -2.0];
    let by_column = [-0.5, -0.5, -1.5, -1.0, 5.0, -1.5, 7.0, -2.0];
    passes(Fixture::new("PRelu", json!({}), &[x(), slope()], &y(&by_channel)).opset(6));
    passes(Fixture::new("PRelu", json!({}), &[x(), slope()], &y(&by_column)).opset(16));
}

#[test]
fn constants_have_the_defaults_of_the_specification() {
    let x = [-2.0, -0.5, 0.0, 0.5, 2.0];
    maps("Elu", json!({}), &x, &[-0.864_664_7, -0.393_469_3, 0.0, 0.5, 2.0]);
    maps("Celu", json!({}), &x, &[-0.864_664_7, -0.393_469_3, 0.0, 0.5, 2.0]);
    maps("LeakyRelu", json!({}), &x, &[-0.02, -0.005, 0.0, 0.5, 2.0]);
    maps("HardSigmoid", json!({}), &x, &[0.1, 0.4, 0.5, 0.6, 0.9]);
    maps("ThresholdedRelu", json!({}), &x, &[0.0, 0.0, 0.0, 0.0, 2.0]);
    maps("Shrink", json!({}), &x, &[-2.0, 0.0, 0.0, 0.0, 2.0]);
    maps("Selu", json!({}), &x, &[-1.520_166_3, -0.691_758_1, 0.0, 0.525_350_5, 2.101_402]);
    maps("Swish", json!({}), &x, &[-0.238_405_8, -0.188_770_3, 0.0, 0.311_229_7, 1.761_594_2]);
    maps("Swish", float("alpha", 2.0), &x, &[-0.035_972_4, -0.134_470_7, 0.0, 0.365_529_3, 1.964_027_6]);
    maps("Gelu", json!({}), &x, &[-0.045_500_3, -0.154_268_8, 0.0, 0.345_731_2, 1.954_499_7]);
    maps("Sign", json!({}), &x, &[-1.0, -1.0, 0.0, 1.0, 1.0]);
    maps("Round", json!({}), &[-2.5, -1.5, 0.5, 1.5, 2.51], &[-2.0, -2.0, 0.0, 2.0, 3.0]);
    let hint = json!({"consumed_inputs": {"t": "ints", "v": [0]}});
    passes(Fixture::new("Abs", hint, &[floats("x", &x, &[5])], &[floats("y", &x.map(f32::abs), &[5])]).opset(1));
    let other = json!({"approximate": {"t": "string", "v": "sigmoid"}});
    let other = Fixture::new("Gelu", other, &[floats("x", &x, &[5])], &[floats("y", &x, &[5])]);
    assert_eq!(other.failure(), "approximate is sigmoid");
}
