//! Gradients against JAX's, and optimizers against optax's: each op's output and products with its Jacobians, each
//! optimizer's weights step by step, on the CPU and on the GPU.
//!
//! Ops are built from `manifest.json`, op and attributes, so that any case of the same form runs. The cases are in
//! `tests/data/grad` and `grad-more`; `TILEGRAD_CASES_DIR` names another folder that has a `grad` folder,
//! `TILEGRAD_GRAD_ONLY` a part of the names or ops that run. Prints a table by op and a line of totals for each device. A
//! case with an op or attribute that tilegrad does not have is counted as unsupported, with the reason, and fails unless
//! [`UNSUPPORTED`] has its op.

mod common;
mod grad_runner;

use std::path::PathBuf;

use common::devices;
use grad_runner::case::{Fault, Manifest};
use grad_runner::report::Report;
use grad_runner::{optimizers, run};
use serde_json::{Value, json};
use tilegrad::Device;

/// Ops that tilegrad is known not to have.
const UNSUPPORTED: &[&str] = &[];

fn own_folders() -> Vec<PathBuf> {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    vec![data.join("grad"), data.join("grad-more")]
}

fn folders() -> Vec<PathBuf> {
    let cases = std::env::var_os("TILEGRAD_CASES_DIR").map(PathBuf::from);
    cases.map_or_else(own_folders, |cases| vec![cases.join("grad")])
}

#[test]
fn gradients_and_optimizers_are_those_of_jax() {
    let manifests: Vec<Manifest> = folders().iter().map(|folder| Manifest::read(folder)).collect();
    let only = std::env::var("TILEGRAD_GRAD_ONLY").unwrap_or_default();
    let mut reports = Vec::new();
    for device in devices() {
        let mut report = Report::new(if device.is_gpu() { "gpu" } else { "cpu" });
        for case in
            manifests.iter().flat_map(Manifest::cases).filter(|c| c.name().contains(&only) || c.op().contains(&only))
        {
            report.add(&case, run::run(&case, &device));
        }
        for case in manifests.iter().flat_map(Manifest::optimizers).filter(|c| c.name().contains(&only)) {
            report.add(&case, optimizers::run(&case, &device));
        }
        reports.push(report);
    }
    reports.iter().for_each(|r| print!("{}", r.table()));
    reports.iter().for_each(|r| println!("{}", r.totals()));
    assert!(reports.iter().all(|r| r.cases() > 0), "no cases in {:?}", folders());
    let failures: Vec<String> = reports.iter().flat_map(|r| r.failures(UNSUPPORTED)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What becomes of a case whose description was changed.
fn fault(name: &str, key: &str, value: Value) -> Option<Fault> {
    let folder = own_folders().swap_remove(0);
    let mut case = Manifest::read(&folder).json(name);
    *case.pointer_mut(key).unwrap_or_else(|| panic!("{name} has no {key}")) = value;
    let manifest = Manifest::of(&folder, case);
    let outcome = manifest.cases().map(|case| run::run(&case, &Device::cpu())).next();
    outcome.expect("one case").err()
}

#[test]
fn a_case_that_is_not_what_it_says_does_not_pass() {
    assert!(fault("slice", "/name", json!("the same")).is_none());
    let unsupported = |name, key, value| match fault(name, key, value) {
        Some(Fault::Unsupported(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(unsupported("slice", "/op", json!("knead")), "no op knead");
    assert_eq!(
        unsupported("slice", "/attrs", json!({"starts": [1, 2], "ends": [4, 7], "steps": [1, 2], "salt": 1})),
        "attributes salt"
    );
    let failed = |name, key, value| match fault(name, key, value) {
        Some(Fault::Failed(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(failed("slice", "/attrs/ends", json!([3, 7])), "y has the shape [2, 3], [3, 3] wanted");
    assert!(failed("slice", "/attrs/starts", json!([1, 1])).starts_with("y[0] is "));
    assert!(failed("slice", "/file", json!("none")).contains("none: No such file"));
    assert!(failed("softmax_plain", "/op", json!("log_softmax")).starts_with("y[0] is "));
    assert!(failed("reshape", "/attrs/shape", json!([5, 5])).starts_with("panicked: reshape: "));
}

#[test]
fn ops_and_attributes_may_have_their_other_names() {
    let renamed = |name: &str, key: &str, value: Value| {
        let fault = fault(name, key, value);
        assert!(fault.is_none(), "{name}: {fault:?}");
    };
    renamed("unary_neg", "/op", json!("negative"));
    renamed("unary_hard_swish", "/op", json!("hardswish"));
    renamed("reduce_max_axis1", "/op", json!("reduce_max"));
    renamed("reduce_l2_axis1", "/op", json!("l2"));
    renamed("cross_entropy_sum", "/op", json!("softmax_cross_entropy"));
    renamed("slice", "/attrs", json!({"start": [1, 2], "stop": [4, 7], "strides": [1, 2]}));
    renamed("clip", "/attrs", json!({"a_min": -0.5, "a_max": 0.6}));
    renamed("conv2d_5x5_same", "/attrs", json!({"stride": 1, "padding": 2, "group": 1}));
    renamed("conv2d_3x3_valid", "/attrs", json!({"padding": "VALID", "layout": "NCHW/OIHW"}));
    renamed(
        "maxpool2d_3x3_s2_p1",
        "/attrs",
        json!({"kernel_size": 3, "stride": 2, "padding": [1, 1], "layout": "NCHW"}),
    );
    let other = fault("maxpool2d_3x3_s1_overlap", "/attrs", json!({"kernel": [3, 3], "layout": "NHWC"}));
    assert!(matches!(other, Some(Fault::Unsupported(reason)) if reason == "layout NHWC"));
}
