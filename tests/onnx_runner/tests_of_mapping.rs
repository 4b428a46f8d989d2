//! Operators beyond the samples: attributes and operator sets that no case has, with values by hand from ONNX's
//! specification. On every device.

use serde_json::{Value, json};

use crate::common::devices;
use crate::onnx_runner::fixture::{Fixture, Part, bytes, floats, ints, longs, truths};

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

const INF: f32 = f32::INFINITY;

#[test]
fn operands_of_old_operator_sets_lie_along_an_axis() {
    let a = || floats("a", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &[2, 3]);
    let along = |axis: i64, b: &[f32], y: &[f32]| {
        let attrs = json!({"broadcast": {"t": "int", "v": 1}, "axis": {"t": "int", "v": axis}});
        Fixture::new("Add", attrs, &[a(), floats("b", b, &[b.len()])], &[floats("y", y, &[2, 3])]).opset(6)
    };
    passes(along(0, &[10.0, 20.0], &[10.0, 11.0, 12.0, 23.0, 24.0, 25.0]));
    passes(along(1, &[10.0, 20.0, 30.0], &[10.0, 21.0, 32.0, 13.0, 24.0, 35.0]));
    passes(along(-1, &[10.0, 20.0, 30.0], &[10.0, 21.0, 32.0, 13.0, 24.0, 35.0]));
    let without = [a(), floats("b", &[1.0], &[1])];
    let without = Fixture::new("Add", json!({}), &without, &[floats("y", &[0.0; 6], &[2, 3])]).opset(6);
    assert_eq!(without.failure(), "shapes [2, 3] and [1] without broadcast");
}

#[test]
fn remainders_have_the_sign_of_the_divisor_unless_fmod() {
    let (a, b) = ([-4, 7, 5, 4, -7, 8], [2, -3, 8, -2, 3, 5]);
    let y = |op: &[i32]| ints("y", op, &[6]);
    let inputs = || [ints("a", &a, &[6]), ints("b", &b, &[6])];
    holds("Mod", json!({}), &inputs(), &[y(&[0, -2, 5, 0, 2, 3])]);
    holds("Mod", json!({"fmod": {"t": "int", "v": 1}}), &inputs(), &[y(&[0, 1, 5, 0, -1, 3])]);
    let floats_in = [floats("a", &[-4.3, 7.2, 5.0], &[3]), floats("b", &[2.1, -3.4, 8.0], &[3])];
    holds("Mod", json!({"fmod": {"t": "int", "v": 1}}), &floats_in, &[floats("y", &[-0.1, 0.4, 5.0], &[3])]);
}

#[test]
fn powers_have_the_type_of_the_base() {
    let whole = [longs("a", &[-3, 2, 10, 7], &[4]), floats("b", &[3.0, 10.0, 0.0, -1.0], &[4])];
    holds("Pow", json!({}), &whole, &[longs("y", &[-27, 1024, 1, 0], &[4])]);
    let halves = [ints("a", &[4, 9, 2], &[3]), floats("b", &[0.5, 0.5, 0.5], &[3])];
    holds("Pow", json!({}), &halves, &[ints("y", &[2, 3, 1], &[3])]);
    let of_floats = [floats("a", &[2.0, 0.5, -2.0], &[3]), longs("b", &[3, -2, 3], &[3])];
    holds("Pow", json!({}), &of_floats, &[floats("y", &[8.0, 4.0, -8.0], &[3])]);
}

#[test]
fn bits_shift_and_combine() {
    let inputs = || [bytes("a", &[16, 4, 129], &[3]), bytes("b", &[1, 2, 1], &[3])];
    let direction = |d: &str| json!({"direction": {"t": "string", "v": d}});
    holds("BitShift", direction("RIGHT"), &inputs(), &[bytes("y", &[8, 1, 64], &[3])]);
    holds("BitShift", direction("LEFT"), &inputs(), &[bytes("y", &[32, 16, 2], &[3])]);
    holds("BitwiseNot", json!({}), &[bytes("a", &[0, 1, 255], &[3])], &[bytes("y", &[255, 254, 0], &[3])]);
    holds("BitwiseNot", json!({}), &[longs("a", &[0, -8], &[2])], &[longs("y", &[-1, 7], &[2])]);
    let inputs = || [ints("a", &[12, -1], &[2]), ints("b", &[10], &[1])];
    holds("BitwiseAnd", json!({}), &inputs(), &[ints("y", &[8, 10], &[2])]);
    holds("BitwiseOr", json!({}), &inputs(), &[ints("y", &[14, -1], &[2])]);
    holds("BitwiseXor", json!({}), &inputs(), &[ints("y", &[6, -11], &[2])]);
}

#[test]
fn conditions_of_every_type() {
    let x = || floats("x", &[-INF, -1.0, f32::NAN, INF], &[4]);
    let is_inf = |positive: i64, negative: i64, y: [bool; 4]| {
        let attrs = json!({
            "detect_positive": {"t": "int", "v": positive}, "detect_negative": {"t": "int", "v": negative},
        });
        holds("IsInf", attrs, &[x()], &[truths("y", &y, &[4])]);
    };
    is_inf(1, 1, [true, false, false, true]);
    is_inf(1, 0, [false, false, false, true]);
    is_inf(0, 1, [true, false, false, false]);
    is_inf(0, 0, [false; 4]);
    let equal = [truths("a", &[true, false], &[2]), truths("b", &[true, true], &[2])];
    holds("Equal", json!({}), &equal, &[truths("y", &[true, false], &[2])]);
    let order = || [longs("a", &[1, 2, 3], &[3]), longs("b", &[2], &[])];
    holds("LessOrEqual", json!({}), &order(), &[truths("y", &[true, true, false], &[3])]);
    holds("GreaterOrEqual", json!({}), &order(), &[truths("y", &[false, true, true], &[3])]);
    let nothing = [floats("a", &[f32::NAN], &[1]), floats("b", &[f32::NAN], &[1])];
    holds("Equal", json!({}), &nothing, &[truths("y", &[false], &[1])]);
    let choice = [truths("c", &[true, false], &[2, 1]), bytes("a", &[1, 2], &[2]), bytes("b", &[9], &[1])];
    holds("Where", json!({}), &choice, &[bytes("y", &[1, 2, 9, 9], &[2, 2])]);
}

#[test]
fn casts_between_all_types() {
    let to = |number: i64| json!({"to": {"t": "int", "v": number}});
    let x = || floats("x", &[-1.9, 0.0, 2.7], &[3]);
    holds("Cast", to(6), &[x()], &[ints("y", &[-1, 0, 2], &[3])]);
    holds("Cast", to(7), &[x()], &[longs("y", &[-1, 0, 2], &[3])]);
    holds("Cast", to(9), &[x()], &[truths("y", &[true, false, true], &[3])]);
    holds("Cast", to(1), &[x()], &[floats("y", &[-1.9, 0.0, 2.7], &[3])]);
    holds("Cast", to(2), &[longs("x", &[7, 258], &[2])], &[bytes("y", &[7, 2], &[2])]);
    holds("Cast", to(1), &[truths("x", &[true, false], &[2])], &[floats("y", &[1.0, 0.0], &[2])]);
    holds("CastLike", json!({}), &[x(), longs("like", &[0], &[])], &[longs("y", &[-1, 0, 2], &[3])]);
    assert_eq!(Fixture::new("Cast", to(11), &[x()], &[floats("y", &[0.0; 3], &[3])]).lack(), "element type 11");
}

#[test]
fn constants_have_many_forms() {
    let attribute = |name: &str, t: &str, v: Value| json!({name: {"t": t, "v": v}});
    holds("Constant", attribute("value_int", "int", json!(-7)), &[], &[longs("y", &[-7], &[])]);
    holds("Constant", attribute("value_ints", "ints", json!([1, 2])), &[], &[longs("y", &[1, 2], &[2])]);
    holds("Constant", attribute("value_float", "float", json!(0.5)), &[], &[floats("y", &[0.5], &[])]);
    holds(
        "Constant",
        attribute("value_floats", "floats", json!([0.5, "-inf"])),
        &[],
        &[floats("y", &[0.5, -INF], &[2])],
    );
    let text = Fixture::new("Constant", attribute("value_string", "string", json!("a")), &[], &[longs("y", &[0], &[])]);
    assert_eq!(text.lack(), "Constant of a text or a sparse tensor");
    holds("ConstantOfShape", json!({}), &[longs("shape", &[2, 1], &[2])], &[floats("y", &[0.0, 0.0], &[2, 1])]);
    holds("ConstantOfShape", json!({}), &[longs("shape", &[], &[0])], &[floats("y", &[0.0], &[])]);
    let shape = |start: i64, end: i64| json!({"start": {"t": "int", "v": start}, "end": {"t": "int", "v": end}});
    holds("Shape", shape(-9, 2), &[floats("x", &[], &[2, 0, 3])], &[longs("y", &[2, 0], &[2])]);
    holds("Shape", shape(2, 1), &[floats("x", &[], &[2, 0, 3])], &[longs("y", &[], &[0])]);
}

#[test]
fn sums_and_extremes_of_any_number_of_inputs_broadcast() {
    let inputs = || [floats("a", &[1.0, 5.0], &[2]), floats("b", &[3.0], &[]), floats("c", &[-1.0, f32::NAN], &[2, 1])];
    let y = |v: [f32; 4]| [floats("y", &v, &[2, 2])];
    holds("Max", json!({}), &inputs(), &y([3.0, 5.0, f32::NAN, f32::NAN]));
    holds("Min", json!({}), &inputs(), &y([-1.0, -1.0, f32::NAN, f32::NAN]));
    holds("Sum", json!({}), &inputs(), &y([3.0, 7.0, f32::NAN, f32::NAN]));
    holds("Mean", json!({}), &inputs(), &y([1.0, 7.0 / 3.0, f32::NAN, f32::NAN]));
    let mixed = [floats("a", &[1.0], &[1]), longs("b", &[1], &[1])];
    assert_eq!(Fixture::new("Sum", json!({}), &mixed, &[floats("y", &[2.0], &[1])]).failure(), "Sum of F32 and I64");
}
