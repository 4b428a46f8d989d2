//! ONNX's backend tests: small graphs whose results other people computed, on the CPU and on the GPU.
//!
//! The cases are in `tests/data/onnx`; `TILEGRAD_CASES_DIR` names another folder that has an `onnx` folder. Prints a table
//! by operator and a line of totals for each device. `tests/data/onnx-expected.txt` has the cases that may be unsupported; `TILEGRAD_ONNX_WRITE_EXPECTED=1`
//! writes it anew, for a change that supports more.

mod common;
mod onnx_runner;

use common::devices;
use onnx_runner::compare::{self, name_of};
use onnx_runner::{case, report, run};
use serde_json::json;

#[test]
fn onnx_agrees() {
    let folder = case::folder();
    // Each device in a thread of its own: a software adapter compiles while the CPU computes.
    let runs: Vec<report::Run> = std::thread::scope(|scope| {
        let started: Vec<_> = devices()
            .into_iter()
            .map(|device| {
                let folder = &folder;
                scope.spawn(move || (name_of(&device), run::results(folder, &device).unwrap_or_else(|e| panic!("{e}"))))
            })
            .collect();
        started.into_iter().map(|t| t.join().expect("a panic in a case is caught")).collect()
    });
    assert!(runs.iter().all(|(_, results)| !results.is_empty()), "{} names no cases", folder.display());
    print!("{}", report::table(&runs));
    for run in &runs {
        println!("{}", report::totals(run));
    }

    let own = folder == case::own_folder();
    if own && std::env::var_os("TILEGRAD_ONNX_WRITE_EXPECTED").is_some() {
        std::fs::write(report::expected_path(), report::listing(&runs)).expect("the list is written");
    }
    let text = std::fs::read_to_string(report::expected_path()).expect("the list of cases that may be unsupported");
    let expected = report::expected(&text);
    let mut surprises = report::surprises(&runs, own.then_some(&expected));
    let cases = case::cases(&case::own_folder()).expect("the project's own cases");
    let unknown = expected.keys().filter(|name| cases.iter().all(|c| c.name != **name));
    surprises.extend(unknown.map(|name| format!("{name} is in the list and no case")));
    assert!(surprises.is_empty(), "{} surprises:\n{}", surprises.len(), surprises.join("\n"));
}

/// A case of one node, with its file in a folder of its own. Tensors are a key, element type, shape and bytes; names are
/// the keys.
struct Fixture {
    folder: tempfile::TempDir,
    case: case::Case,
}

type Part<'a> = (&'a str, safetensors::Dtype, &'a [usize], Vec<u8>);

fn floats<'a>(key: &'a str, values: &[f32], shape: &'a [usize]) -> Part<'a> {
    (key, safetensors::Dtype::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn longs<'a>(key: &'a str, values: &[i64], shape: &'a [usize]) -> Part<'a> {
    (key, safetensors::Dtype::I64, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

impl Fixture {
    fn new(op: &str, attrs: serde_json::Value, inputs: &[Part<'_>], outputs: &[Part<'_>]) -> Fixture {
        let names = |parts: &[Part<'_>]| parts.iter().map(|p| p.0.to_string()).collect::<Vec<_>>();
        let entries = |parts: &[Part<'_>]| -> Vec<serde_json::Value> {
            let entry = |p: &Part<'_>| json!({"name": p.0, "key": p.0, "dtype": format!("{:?}", p.1), "shape": p.2});
            parts.iter().map(entry).collect()
        };
        let case = json!({
            "name": "fixture", "op": op, "tier": "core", "opset": {"ai.onnx": 22}, "rtol": 1e-3, "atol": 1e-7,
            "flags": ["t0"], "file": "fixture.safetensors", "initializers": [],
            "nodes": [{"op": op, "domain": "", "inputs": names(inputs), "outputs": names(outputs), "attrs": attrs}],
            "inputs": entries(inputs), "outputs": entries(outputs),
        });
        let views = inputs.iter().chain(outputs).map(|(key, dtype, shape, bytes)| {
            (*key, safetensors::tensor::TensorView::new(*dtype, shape.to_vec(), bytes).expect("a tensor"))
        });
        let folder = tempfile::tempdir().expect("a scratch folder");
        let bytes = safetensors::serialize(views, None).expect("a file");
        std::fs::write(folder.path().join("fixture.safetensors"), bytes).expect("a file");
        Fixture { folder, case: serde_json::from_value(case).expect("a case") }
    }

    fn state(&self) -> run::State {
        run::result(&self.case, self.folder.path(), &tilegrad::Device::cpu()).state
    }

    /// The reason why the case fails.
    #[track_caller]
    fn failure(&self) -> String {
        match self.state() {
            run::State::Failed(reason) => reason,
            other => panic!("{other:?}, expected a failure"),
        }
    }

    /// The reason why the case is unsupported.
    #[track_caller]
    fn lack(&self) -> String {
        match self.state() {
            run::State::Unsupported(reason) => reason,
            other => panic!("{other:?}, expected something unsupported"),
        }
    }

    #[track_caller]
    fn distance(&self) -> compare::Distance {
        match self.state() {
            run::State::Passed(distance) => distance,
            other => panic!("{other:?}, expected to pass"),
        }
    }
}

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
    assert_eq!(negation(&[1.0, f32::NAN], &[-1.0, f32::NAN]).distance(), compare::Distance::default());
    negation(&[f32::INFINITY, f32::NEG_INFINITY], &[f32::NEG_INFINITY, f32::INFINITY]).distance();
    // Less than 1e-5, or than a thousandth of what is expected.
    let near = negation(&[9e-6, 1000.0], &[0.0, -1000.5]).distance();
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
    let of = |name: &str, state| run::CaseResult {
        name: name.to_string(),
        op: "Op".to_string(),
        tier: "core".to_string(),
        t0: true,
        state,
    };
    let results = vec![
        of("right", run::State::Passed(compare::Distance::default())),
        of("right_and_listed", run::State::Passed(compare::Distance::default())),
        of("lacking", run::State::Unsupported("operator Op".to_string())),
        of("lacking_and_listed", run::State::Unsupported("operator Op".to_string())),
        of("wrong_and_listed", run::State::Failed("y: shape".to_string())),
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

#[test]
fn integers_have_signs_and_limits() {
    let run = |op: &str, inputs: &[(&str, &[i64])], y: &[i64]| {
        let shape = |v: &[i64]| if v.len() == 1 { vec![] } else { vec![v.len()] };
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|i| shape(i.1)).collect();
        let parts: Vec<Part<'_>> = inputs.iter().zip(&shapes).map(|(i, s)| longs(i.0, i.1, s)).collect();
        Fixture::new(op, json!({}), &parts, &[longs("y", y, &[y.len()])]).distance();
    };
    run("Abs", &[("x", &[-3, 0, 2])], &[3, 0, 2]);
    run("Neg", &[("x", &[-3, 0, 2])], &[3, 0, -2]);
    run("Sign", &[("x", &[-3, 0, 2])], &[-1, 0, 1]);
    run("Relu", &[("x", &[-3, 0, 2])], &[0, 0, 2]);
    run("Clip", &[("x", &[-3, 0, 2]), ("min", &[-1]), ("max", &[1])], &[-1, 0, 1]);
    run("Clip", &[("x", &[-3, 0, 2]), ("min", &[5]), ("max", &[1])], &[1, 1, 1]);
    run("Clip", &[("x", &[-3, 0, 2])], &[-3, 0, 2]);
}
