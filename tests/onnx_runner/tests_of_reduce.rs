//! Reductions, scans, order and softmax beyond the samples: operator sets, attributes and element types that no case has, with
//! values by hand from ONNX's specification. On every device.

use serde_json::{Value, json};

use crate::common::devices;
use crate::onnx_runner::fixture::{Fixture, Part, bytes, floats, ints, longs, truths};

const INF: f32 = f32::INFINITY;

#[track_caller]
fn passes(case: Fixture) {
    for device in devices() {
        case.distance(&device);
    }
}

#[track_caller]
fn holds(op: &str, attrs: Value, inputs: &[Part], outputs: &[Part]) {
    passes(Fixture::new(op, attrs, inputs, outputs));
}

/// Attributes that are integers.
fn int(attrs: &[(&str, i64)]) -> Value {
    attrs
        .iter()
        .map(|(name, v)| (name.to_string(), json!({"t": "int", "v": v})))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn x() -> Part {
    floats("x", &[3.0, -4.0, 0.0, 1.0, 2.0, -2.0], &[2, 3])
}

#[test]
fn axes_are_an_attribute_and_then_an_input() {
    let attrs = json!({"axes": {"t": "ints", "v": [1]}, "keepdims": {"t": "int", "v": 0}});
    let rows: [(&str, [f32; 2]); 9] = [
        ("ReduceL1", [7.0, 5.0]),
        ("ReduceL2", [5.0, 3.0]),
        ("ReduceMax", [3.0, 2.0]),
        ("ReduceMean", [-1.0 / 3.0, 1.0 / 3.0]),
        ("ReduceMin", [-4.0, -2.0]),
        ("ReduceProd", [0.0, -4.0]),
        ("ReduceSum", [-1.0, 1.0]),
        ("ReduceSumSquare", [25.0, 9.0]),
        ("ReduceLogSumExp", [3.049_455_6, 2.326_562_6]),
    ];
    for (op, y) in rows {
        passes(Fixture::new(op, attrs.clone(), &[x()], &[floats("y", &y, &[2])]).opset(11));
        let inputs = [x(), longs("axes", &[-1], &[1])];
        holds(op, json!({}), &inputs, &[floats("y", &y, &[2, 1])]);
    }
    let y = [floats("y", &[3.0f32.ln(), 2.0f32.ln()], &[2])];
    passes(Fixture::new("ReduceLogSum", attrs, &[floats("x", &[1.0, 1.0, 1.0, 0.5, 1.0, 0.5], &[2, 3])], &y).opset(1));
    // Two axes, in any order.
    let both = [x(), longs("axes", &[1, 0], &[2])];
    holds("ReduceSum", int(&[("keepdims", 0)]), &both, &[floats("y", &[0.0], &[])]);
}

#[test]
fn without_axes_all_are_meant_or_none() {
    holds("ReduceSumSquare", json!({}), &[x()], &[floats("y", &[34.0], &[1, 1])]);
    holds("ReduceMax", int(&[("keepdims", 0)]), &[x()], &[floats("y", &[3.0], &[])]);
    let none = || longs("axes", &[], &[0]);
    let noop = int(&[("noop_with_empty_axes", 1)]);
    holds("ReduceMin", noop.clone(), &[x(), none()], &[floats("y", &[3.0, -4.0, 0.0, 1.0, 2.0, -2.0], &[2, 3])]);
    // Each element is a set of its own.
    holds("ReduceL1", noop.clone(), &[x()], &[floats("y", &[3.0, 4.0, 0.0, 1.0, 2.0, 2.0], &[2, 3])]);
    holds("ReduceSumSquare", noop, &[x(), none()], &[floats("y", &[9.0, 16.0, 0.0, 1.0, 4.0, 4.0], &[2, 3])]);
}

#[test]
fn integers_stay_integers() {
    let whole: [(&str, [i32; 2]); 8] = [
        ("ReduceL1", [11, 7]),
        ("ReduceL2", [7, 5]),
        ("ReduceMax", [6, 5]),
        ("ReduceMean", [1, 1]),
        ("ReduceMin", [-3, -2]),
        ("ReduceProd", [-36, 0]),
        ("ReduceSum", [5, 3]),
        ("ReduceSumSquare", [49, 29]),
    ];
    let values = [2, -3, 6, 5, 0, -2];
    for (op, y) in whole {
        let axes = || longs("axes", &[1], &[1]);
        holds(op, json!({}), &[ints("x", &values, &[2, 3]), axes()], &[ints("y", &y, &[2, 1])]);
        let wide = longs("x", &values.map(i64::from), &[2, 3]);
        holds(op, json!({}), &[wide, axes()], &[longs("y", &y.map(i64::from), &[2, 1])]);
    }
    let small = || [bytes("x", &[200, 100, 7, 3], &[2, 2]), longs("axes", &[0], &[1])];
    holds("ReduceMax", json!({}), &small(), &[bytes("y", &[200, 100], &[1, 2])]);
    holds("ReduceMin", int(&[("keepdims", 0)]), &small(), &[bytes("y", &[7, 3], &[2])]);
    let both = [truths("x", &[true, false, true, true], &[2, 2]), longs("axes", &[1], &[1])];
    holds("ReduceMin", json!({}), &both, &[truths("y", &[false, true], &[2, 1])]);
}

#[test]
fn of_no_elements() {
    let reduced = |op: &str, y: f32| {
        let inputs = [floats("x", &[], &[2, 0]), longs("axes", &[1], &[1])];
        holds(op, json!({}), &inputs, &[floats("y", &[y; 2], &[2, 1])]);
    };
    reduced("ReduceMax", -INF);
    reduced("ReduceMin", INF);
    reduced("ReduceProd", 1.0);
    reduced("ReduceLogSum", -INF);
    reduced("ReduceLogSumExp", -INF);
    reduced("ReduceL2", 0.0);
    reduced("ReduceMean", f32::NAN);
    let of_ints = [ints("x", &[], &[0, 1]), longs("axes", &[0], &[1])];
    holds("ReduceMax", int(&[("keepdims", 0)]), &of_ints, &[ints("y", &[i32::MIN], &[1])]);
    let of_truths = [truths("x", &[], &[0, 1]), longs("axes", &[0], &[1])];
    holds("ReduceMin", int(&[("keepdims", 0)]), &of_truths, &[truths("y", &[true], &[1])]);
    let of_longs = [longs("x", &[], &[0, 1]), longs("axes", &[0], &[1])];
    let lack = Fixture::new("ReduceMax", json!({}), &of_longs, &[longs("y", &[0], &[1, 1])]).lack();
    assert_eq!(lack, "the extremes of 64-bit integers");
}

#[test]
fn positions() {
    let x = || ints("x", &[4, 4, 1, 1], &[2, 2]);
    let last = |axis| int(&[("select_last_index", 1), ("keepdims", 0), ("axis", axis)]);
    holds("ArgMax", last(-1), &[x()], &[longs("y", &[1, 1], &[2])]);
    holds("ArgMin", last(0), &[x()], &[longs("y", &[1, 1], &[2])]);
    holds("ArgMax", json!({}), &[bytes("x", &[1, 9, 200, 9], &[2, 2])], &[longs("y", &[1, 0], &[1, 2])]);
}

#[test]
fn scans() {
    let x = || floats("x", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]);
    let axis = || longs("axis", &[-1], &[1]);
    holds("CumSum", int(&[("reverse", 1)]), &[x(), axis()], &[floats("y", &[6.0, 5.0, 3.0, 15.0, 11.0, 6.0], &[2, 3])]);
    let both = int(&[("reverse", 1), ("exclusive", 1)]);
    let y = floats("y", &[6.0, 3.0, 1.0, 30.0, 6.0, 1.0], &[2, 3]);
    holds("CumProd", both, &[x(), axis()], &[y]);
    let down = [longs("x", &[1, 2, 3, 4], &[2, 2]), ints("axis", &[0], &[])];
    holds("CumSum", json!({}), &down, &[longs("y", &[1, 2, 4, 6], &[2, 2])]);
}

#[test]
fn the_largest_in_order() {
    let x = || floats("x", &[1.0, 5.0, 3.0, 5.0], &[1, 4]);
    let y = || [floats("y", &[5.0, 5.0], &[1, 2]), longs("at", &[1, 3], &[1, 2])];
    passes(Fixture::new("TopK", int(&[("k", 2)]), &[x()], &y()).opset(1));
    passes(Fixture::new("TopK", json!({}), &[x(), longs("k", &[2], &[1])], &y()).opset(10));
    let smallest = [bytes("x", &[9, 200, 4, 4], &[4]), longs("k", &[3], &[1])];
    let y = [bytes("y", &[4, 4, 9], &[3]), longs("at", &[2, 3, 0], &[3])];
    holds("TopK", int(&[("axis", 0), ("largest", 0), ("sorted", 0)]), &smallest, &y);
    let without = Fixture::new("TopK", json!({}), &[x()], &[floats("y", &[0.0], &[1, 1])]);
    assert_eq!(without.failure(), "k is None and None");
}

#[test]
fn softmax_of_old_operator_sets_is_over_all_axes_behind_one() {
    let x = || floats("x", &[0.0, 0.0, 2.0f32.ln(), 0.0, 1.0, 1.0, 1.0, 1.0], &[2, 2, 2]);
    let whole = [0.2, 0.2, 0.4, 0.2, 0.25, 0.25, 0.25, 0.25];
    passes(Fixture::new("Softmax", json!({}), &[x()], &[floats("y", &whole, &[2, 2, 2])]).opset(11));
    let last = [0.5, 0.5, 2.0 / 3.0, 1.0 / 3.0, 0.5, 0.5, 0.5, 0.5];
    holds("Softmax", json!({}), &[x()], &[floats("y", &last, &[2, 2, 2])]);
    let logarithms = floats("y", &whole.map(f32::ln), &[2, 2, 2]);
    passes(Fixture::new("LogSoftmax", int(&[("axis", -2)]), &[x()], &[logarithms]).opset(11));
    let hard = [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0];
    passes(Fixture::new("Hardmax", json!({}), &[x()], &[floats("y", &hard, &[2, 2, 2])]).opset(1));
    let hard = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0];
    holds("Hardmax", json!({}), &[x()], &[floats("y", &hard, &[2, 2, 2])]);
}
