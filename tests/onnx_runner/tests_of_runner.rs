//! Tests of the runner itself: a wrong result must be seen, and what is missing must be named.

use serde_json::json;
use tilegrad::Device;

use crate::onnx_runner::compare::Distance;
use crate::onnx_runner::fixture::{Fixture, floats, longs};
use crate::onnx_runner::report;
use crate::onnx_runner::run::{CaseResult, State};

/// `y = -x`.
fn negation(x: &[f32], y: &[f32]) -> Fixture {
    Fixture::new("Neg", json!({}), &[floats("x", x, &[x.len()])], &[floats("y", y, &[y.len()])])
}

#[test]
fn wrong_results_fail_with_what_is_wrong() {
    assert_eq!(negation(&[1.0, 2.0], &[-1.0, -2.5]).failure(), "y: element 1 is -2, expected -2.5");
    assert_eq!(negation(&[1.0, 2.0], &[-1.0]).failure(), "y: shape [2], expected [1]");
    assert_eq!(negation(&[1.0], &[f32::NAN]).failure(), "y: element 0 is -1, expected NaN");
    assert_eq!(negation(&[f32::NAN], &[1.0]).failure(), "y: element 0 is NaN, expected 1");
    assert_eq!(negation(&[f32::INFINITY], &[f32::INFINITY]).failure(), "y: element 0 is -inf, expected inf");
    assert_eq!(
        negation(&[f32::MAX], &[f32::NEG_INFINITY]).failure(),
        "y: element 0 is -340282350000000000000000000000000000000, expected -inf"
    );

    let of_type = Fixture::new("Neg", json!({}), &[floats("x", &[1.0], &[1])], &[longs("y", &[-1], &[1])]);
    assert_eq!(of_type.failure(), "y: element type F32, expected I64");
    let integers = Fixture::new("Identity", json!({}), &[longs("x", &[1, 7], &[2])], &[longs("y", &[1, 8], &[2])]);
    assert_eq!(integers.failure(), "y: element 1 is 7, expected 8");
    let mut named = negation(&[1.0], &[-1.0]);
    named.case.outputs[0].name = "z".to_string();
    assert_eq!(named.failure(), "nothing makes the output z");
    named.case.outputs[0].dtype = "I32".to_string();
    named.case.outputs[0].name = "y".to_string();
    assert_eq!(named.failure(), "y is not what the manifest says");
}

#[test]
fn results_within_the_tolerance_pass_with_their_distance() {
    assert_eq!(negation(&[1.0, f32::NAN], &[-1.0, f32::NAN]).distance(&Device::cpu()), Distance::default());
    negation(&[f32::INFINITY, f32::NEG_INFINITY], &[f32::NEG_INFINITY, f32::INFINITY]).distance(&Device::cpu());
    // Less than 1e-5, or than a thousandth of what is expected.
    let near = negation(&[9e-6, 1000.0], &[0.0, -1000.5]).distance(&Device::cpu());
    assert!((near.absolute - 0.5).abs() < 1e-6 && (near.relative - 0.5 / 1000.5).abs() < 1e-9, "{near:?}");
    assert_eq!(negation(&[1.2e-5], &[0.0]).failure(), "y: element 0 is -0.000012, expected 0");
    assert_eq!(negation(&[1000.0], &[-1001.1]).failure(), "y: element 0 is -1000, expected -1001.1");
}

#[test]
fn what_is_missing_is_unsupported_and_named() {
    let node = |op: &str, attrs| Fixture::new(op, attrs, &[floats("x", &[1.0], &[1])], &[floats("y", &[-1.0], &[1])]);
    assert_eq!(node("Einsum9", json!({})).lack(), "operator Einsum9");
    assert_eq!(node("Neg", json!({"antialias": {"t": "int", "v": 1}})).lack(), "attribute antialias of Neg");
    assert_eq!(node("Neg", json!({"body": {"t": "graph"}})).lack(), "attribute body of Neg");
    let mut foreign = node("Neg", json!({}));
    foreign.case.nodes[0].domain = "com.microsoft".to_string();
    assert_eq!(foreign.lack(), "operators of com.microsoft");
    let big = [longs("x", &[1, 1 << 40], &[2])];
    let big = Fixture::new("Neg", json!({}), &big, &[longs("y", &[-1, -(1 << 40)], &[2])]);
    assert_eq!(big.lack(), "1099511627776 does not fit 32 bits");
    let two = [floats("y", &[-1.0], &[1]), floats("z", &[-1.0], &[1])];
    let two = Fixture::new("Neg", json!({}), &[floats("x", &[1.0], &[1])], &two);
    assert_eq!(two.lack(), "output 1 of Neg");
}

#[test]
fn a_panic_inside_a_case_is_its_failure() {
    let inputs = [floats("a", &[1.0; 6], &[2, 3]), floats("b", &[1.0; 8], &[2, 4])];
    let clash = Fixture::new("Add", json!({}), &inputs, &[floats("y", &[2.0; 6], &[2, 3])]);
    let reason = clash.failure();
    assert!(reason.starts_with("panicked: add: shapes do not broadcast (3 != 4)"), "{reason}");
    let kind = Fixture::new(
        "Elu",
        json!({"alpha": {"t": "string", "v": "much"}}),
        &[floats("x", &[1.0], &[1])],
        &[floats("y", &[1.0], &[1])],
    );
    assert_eq!(kind.failure(), "panicked: alpha is Text(\"much\"), not a float");
}

#[test]
fn the_list_of_what_is_unsupported_is_held_to() {
    let of = |name: &str, state| CaseResult {
        name: name.to_string(),
        op: "Op".to_string(),
        tier: "core".to_string(),
        t0: true,
        state,
    };
    let results = vec![
        of("right", State::Passed(Distance::default())),
        of("right_and_listed", State::Passed(Distance::default())),
        of("lacking", State::Unsupported("operator Op".to_string())),
        of("lacking_and_listed", State::Unsupported("operator Op".to_string())),
        of("wrong_and_listed", State::Failed("y: shape".to_string())),
    ];
    let runs = [("cpu", results)];
    assert_eq!(
        report::totals(&runs[0]),
        "onnx cpu: 2 of 5 t0, core 2 of 5 (40.0 %), wide 0 of 0 (0.0 %); 2 passed, 1 failed, 2 unsupported"
    );
    let list = "# comment\nright_and_listed why\nlacking_and_listed why\nwrong_and_listed why\n";
    let expected = report::expected(list);
    assert_eq!(
        report::surprises(&runs, Some(&expected)),
        [
            "right_and_listed on cpu passes and must leave the list",
            "lacking on cpu is unsupported and not in the list: operator Op",
            "wrong_and_listed on cpu: y: shape",
        ]
    );
    assert_eq!(report::surprises(&runs, None), ["wrong_and_listed on cpu: y: shape"]);
}
