//! Gradients against JAX's, and optimizers against optax's: each op's output and products with its Jacobians, each
//! optimizer's weights step by step, on the CPU and on the GPU.
//!
//! Ops are built from `manifest.json`, op and attributes, so that any case of the same form runs. The cases are in
//! `tests/data/grad`; `TILEGRAD_CASES_DIR` names another folder that has a `grad` folder, `TILEGRAD_GRAD_ONLY` a part of the
//! names or ops that run. Prints a table by op and a line of totals for each device. A case with an op or attribute that
//! tilegrad does not have is counted as unsupported, with the reason, and fails unless [`UNSUPPORTED`] has its op.

mod common;
mod grad_runner;

use std::path::PathBuf;

use common::devices;
use grad_runner::case::Manifest;
use grad_runner::report::Report;
use grad_runner::{optimizers, run};

/// Ops that tilegrad is known not to have.
const UNSUPPORTED: &[&str] = &[];

fn folder() -> PathBuf {
    let cases = std::env::var_os("TILEGRAD_CASES_DIR").map(PathBuf::from);
    cases.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data")).join("grad")
}

#[test]
fn gradients_and_optimizers_are_those_of_jax() {
    let manifest = Manifest::read(&folder());
    let only = std::env::var("TILEGRAD_GRAD_ONLY").unwrap_or_default();
    let mut reports = Vec::new();
    for device in devices() {
        let mut report = Report::new(if device.is_gpu() { "gpu" } else { "cpu" });
        for case in manifest.cases().filter(|c| c.name().contains(&only) || c.op().contains(&only)) {
            report.add(&case, run::run(&case, &device));
        }
        for case in manifest.optimizers().filter(|c| c.name().contains(&only)) {
            report.add(&case, optimizers::run(&case, &device));
        }
        reports.push(report);
    }
    reports.iter().for_each(|r| print!("{}", r.table()));
    reports.iter().for_each(|r| println!("{}", r.totals()));
    assert!(reports.iter().all(|r| r.cases() > 0), "no cases in {}", folder().display());
    let failures: Vec<String> = reports.iter().flat_map(|r| r.failures(UNSUPPORTED)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
