//! Operators that none of the samples has, with values by hand. On every device.

use serde_json::{Value, json};

use crate::common::devices;
use crate::onnx_runner::fixture::{Fixture, Part, floats, ints, longs, truths};

#[track_caller]
fn holds(op: &str, attrs: Value, inputs: &[Part], outputs: &[Part]) {
    let case = Fixture::new(op, attrs, inputs, outputs);
    for device in devices() {
        case.distance(&device);
    }
}

fn equation(text: &str) -> Value {
    json!({"equation": {"t": "string", "v": text}})
}

#[test]
fn einsum_sums_what_the_output_does_not_name() {
    let a = || floats("a", &[1.0, 2.0, 3.0, 4.0], &[2, 2]);
    let b = || floats("b", &[5.0, 6.0, 7.0, 8.0], &[2, 2]);
    let y = |values: &[f32], shape: &[usize]| [floats("y", values, shape)];
    holds("Einsum", equation("ij,jk->ik"), &[a(), b()], &y(&[19.0, 22.0, 43.0, 50.0], &[2, 2]));
    holds("Einsum", equation("ij , jk -> ki"), &[a(), b()], &y(&[19.0, 43.0, 22.0, 50.0], &[2, 2]));
    // Without an output the names that come once.
    holds("Einsum", equation("ij,jk"), &[a(), b()], &y(&[19.0, 22.0, 43.0, 50.0], &[2, 2]));
    holds("Einsum", equation("ji"), &[a()], &y(&[1.0, 3.0, 2.0, 4.0], &[2, 2]));
    holds("Einsum", equation("ij->"), &[a()], &y(&[10.0], &[]));
    holds("Einsum", equation("ii->i"), &[a()], &y(&[1.0, 4.0], &[2]));
    holds("Einsum", equation("ii"), &[a()], &y(&[5.0], &[]));
    let batch = || floats("a", &[1.0, 2.0, 3.0, 4.0], &[1, 2, 2]);
    holds("Einsum", equation("...ij,...jk->...ik"), &[batch(), b()], &y(&[19.0, 22.0, 43.0, 50.0], &[1, 2, 2]));
    holds("Einsum", equation("...i->..."), &[batch()], &y(&[3.0, 7.0], &[1, 2]));
    let wrong = Fixture::new("Einsum", equation("ijk->i"), &[a()], &y(&[0.0], &[1]));
    assert_eq!(wrong.failure(), "ijk of 2 axes");
}

#[test]
fn windows_are_periodic_unless_said_otherwise() {
    let size = || [ints("size", &[4], &[])];
    let y = |values: &[f32]| [floats("y", values, &[4])];
    let symmetric = || json!({"periodic": {"t": "int", "v": 0}});
    holds("HannWindow", json!({}), &size(), &y(&[0.0, 0.5, 1.0, 0.5]));
    holds("HannWindow", symmetric(), &size(), &y(&[0.0, 0.75, 0.75, 0.0]));
    holds("HammingWindow", json!({}), &size(), &y(&[4.0 / 46.0, 25.0 / 46.0, 1.0, 25.0 / 46.0]));
    holds("BlackmanWindow", symmetric(), &size(), &y(&[0.0, 0.63, 0.63, 0.0]));
    let one = [ints("size", &[1], &[])];
    holds("HannWindow", symmetric(), &one, &[floats("y", &[0.0], &[1])]);
}

#[test]
fn products_of_integers_are_exact() {
    let a = || longs("a", &[1_000_003, 2, -3, 4], &[2, 2]);
    let y = |values: &[i64], shape: &[usize]| [longs("y", values, shape)];
    holds(
        "MatMul",
        json!({}),
        &[a(), longs("b", &[7, 1, 0, 1], &[2, 2])],
        &y(&[7_000_021, 1_000_005, -21, 1], &[2, 2]),
    );
    holds("MatMul", json!({}), &[a(), longs("b", &[1, 1], &[2])], &y(&[1_000_005, 1], &[2]));
    holds("MatMul", json!({}), &[longs("b", &[1, 1], &[2]), a()], &y(&[1_000_000, 6], &[2]));
    holds("MatMul", json!({}), &[longs("a", &[2, 3], &[2]), longs("b", &[4, 5], &[2])], &y(&[23], &[]));
    let wrong = [a(), longs("b", &[1, 2, 3], &[3])];
    let wrong = Fixture::new("MatMul", json!({}), &wrong, &y(&[0], &[1]));
    assert_eq!(wrong.failure(), "MatMul of shapes [2, 2] and [3, 1]");
}

#[test]
fn unique_values_come_with_their_places() {
    let x = || floats("x", &[2.0, 1.0, 1.0, 3.0, 4.0, 3.0], &[6]);
    let results = |y: &[f32], first: &[i64], inverse: &[i64], counts: &[i64]| {
        let n = y.len();
        [
            floats("y", y, &[n]),
            longs("first", first, &[n]),
            longs("inverse", inverse, &[inverse.len()]),
            longs("counts", counts, &[n]),
        ]
    };
    let sorted = results(&[1.0, 2.0, 3.0, 4.0], &[1, 0, 3, 4], &[1, 0, 0, 2, 3, 2], &[2, 1, 2, 1]);
    holds("Unique", json!({}), &[x()], &sorted);
    let unsorted = results(&[2.0, 1.0, 3.0, 4.0], &[0, 1, 3, 4], &[0, 1, 1, 2, 3, 2], &[1, 2, 2, 1]);
    holds("Unique", json!({"sorted": {"t": "int", "v": 0}}), &[x()], &unsorted);
    // Whole rows or columns along an axis.
    let rows = [ints("x", &[2, 3, 1, 0, 2, 3], &[3, 2])];
    let outputs = [
        ints("y", &[1, 0, 2, 3], &[2, 2]),
        longs("first", &[1, 0], &[2]),
        longs("inverse", &[1, 0, 1], &[3]),
        longs("counts", &[1, 2], &[2]),
    ];
    holds("Unique", json!({"axis": {"t": "int", "v": 0}}), &rows, &outputs);
    let columns = [ints("x", &[2, 1, 2, 3, 0, 3], &[2, 3])];
    let y = [ints("y", &[1, 2, 0, 3], &[2, 2])];
    holds("Unique", json!({"axis": {"t": "int", "v": -1}}), &columns, &y);
    holds("Unique", json!({}), &[truths("x", &[true, false, true], &[3])], &[truths("y", &[false, true], &[2])]);
}
