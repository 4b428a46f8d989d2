//! docs/ops.md: every op, what it can do, and how far it is from other people's numbers. This test makes the page from the
//! catalogue and from runs of the cases, and fails when the one in docs/ says something else.
//!
//! `TILEGRAD_WRITE_DOCS=1 cargo test --test ops_doc` writes it. Errors are written rounded up, with room for another
//! machine's last bit: a smaller error than the page's is no difference, a larger one is.

mod catalogue;
mod common;
mod grad_runner;
mod onnx_runner;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use catalogue::{Row, families};
use grad_runner::case::Manifest;
use onnx_runner::compare::{Distance, Tolerance, floats};
use onnx_runner::report::{Tally, by_operator};
use onnx_runner::{case, run};
use tilegrad::{DType, Device, Tensor};

const PREFACE: &str = "\
# Ops

<!-- Made by `TILEGRAD_WRITE_DOCS=1 cargo test --test ops_doc`. The test fails when this page is not what it would write. -->

Every op of `Tensor`, with what was tried and found. The CPU code of an op is its definition; the GPU's kernels are held to
it. Where there is a *gradient*, it is held to finite differences by `tests/gradcheck.rs`, and so is the *second* derivative,
the gradient of the gradient. A result of an op without one is a constant to the tape; where a loss depends on what wants a
gradient through such an op alone, `backward` says so and names it.

*ONNX* counts the cases of ONNX's own backend tests that are about the op, and *JAX* those that JAX made, with gradients:
passed on the CPU, on the GPU, of all. *Errors* are the worst ones: relative, and in units of the last place. Against
ONNX's numbers, they are of each expected element of at least 0.01. Where there are none, they are against JAX's results
and gradients, of the largest element of a tensor; where there are none either, the GPU's are against the CPU's result,
and the CPU has none. They are rounded up to one of 1, 2, 5.

";

const HEADER: [&str; 10] =
    ["op", "CPU", "GPU", "gradient", "second", "ONNX", "JAX", "against", "CPU error", "GPU error"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> PathBuf {
    root().join("docs/ops.md")
}

/// Values of a result, and whether there are any: an op that can't run on a device panics.
fn values(row: &Row, device: &Device) -> Vec<f32> {
    let inputs: Vec<Tensor> = row.inputs.iter().map(|x| x.to(device).expect("upload")).collect();
    (row.f)(&inputs).cast(DType::F32).to_vec().expect("readback")
}

/// Counts of the cases of each operator, on the CPU and on the GPU.
type Counts = BTreeMap<String, [Tally; 2]>;

/// Other people's numbers.
struct Outside {
    onnx: Counts,
    jax: Counts,
}

fn jax(devices: [&Device; 2]) -> Counts {
    let manifests = ["grad", "grad-more"].map(|folder| Manifest::read(&root().join("tests/data").join(folder)));
    let mut counts = Counts::new();
    for case in manifests.iter().flat_map(Manifest::cases) {
        let tallies = counts.entry(case.op().to_string()).or_default();
        for (device, tally) in devices.iter().zip(tallies) {
            tally.cases += 1;
            match grad_runner::run::run(&case, device) {
                Ok(d) => {
                    let distance = Distance { absolute: d.absolute, relative: d.relative, ulp: d.ulp };
                    tally.passed += 1;
                    tally.worst = tally.worst.max(distance);
                }
                Err(_) => tally.failed += 1,
            }
        }
    }
    counts
}

fn onnx(devices: [&Device; 2]) -> Counts {
    let folder = case::own_folder();
    let runs = devices.map(|device| run::results(&folder, device).expect("the cases"));
    let [cpu, gpu] = [by_operator(&runs[0]), by_operator(&runs[1])];
    cpu.iter()
        .map(|(op, of_cpu)| {
            let tally = |results: &[&run::CaseResult]| Tally::of(results.iter().copied());
            (op.to_string(), [tally(of_cpu), tally(gpu.get(op).map_or(&[], |r| r))])
        })
        .collect()
}

/// The cases of several operators together.
fn joined(outside: &Counts, names: &[&str]) -> Option<[Tally; 2]> {
    let found = names.iter().filter_map(|name| outside.get(*name));
    found.fold(None, |sum: Option<[Tally; 2]>, tallies| {
        let add = |i: usize| {
            let (a, b) = (sum.as_ref().map_or(Tally::default(), |s| s[i].clone()), &tallies[i]);
            Tally {
                cases: a.cases + b.cases,
                passed: a.passed + b.passed,
                failed: a.failed + b.failed,
                unsupported: a.unsupported + b.unsupported,
                worst: a.worst.max(b.worst),
            }
        };
        Some([add(0), add(1)])
    })
}

/// The smallest of 1, 2, 5, 10, .. that is at least half as large again.
fn rounded_up(error: f64) -> f64 {
    let mut step = 1e-9;
    loop {
        if let Some(v) = [1.0, 2.0, 5.0].iter().map(|m| m * step).find(|v| *v >= 1.5 * error) {
            return v;
        }
        step *= 10.0;
    }
}

fn error(distance: Distance) -> String {
    if distance.ulp == 0.0 {
        return "0".to_string();
    }
    format!("{:.0e}, {:.0} ULP", rounded_up(distance.relative), rounded_up(distance.ulp).max(1.0))
}

fn line(row: &Row, outside: &Outside, gpu: &Device) -> [String; 10] {
    let (want, got) = (values(row, &Device::cpu()), values(row, gpu));
    let loose = Tolerance { absolute: 1e-5, relative: 1e-3 };
    let distance = floats(&got, &want, loose).unwrap_or_else(|e| panic!("{}: {e}", row.op));
    let (onnx, jax) = (joined(&outside.onnx, row.onnx), joined(&outside.jax, row.jax));
    let passed = |counts: &Option<[Tally; 2]>| match counts {
        Some([cpu, gpu]) => format!("{}, {} of {}", cpu.passed, gpu.passed, cpu.cases),
        None => "-".to_string(),
    };
    let (against, [cpu_error, gpu_error]) = match (&onnx, &jax) {
        (Some([cpu, gpu]), _) => ("ONNX", [error(cpu.worst), error(gpu.worst)]),
        (None, Some([cpu, gpu])) => ("JAX", [error(cpu.worst), error(gpu.worst)]),
        (None, None) => ("CPU", ["-".to_string(), error(distance)]),
    };
    let (onnx, jax, yes) = (passed(&onnx), passed(&jax), || "yes".to_string());
    let gradient = || if row.differentiable { yes() } else { "-".to_string() };
    [format!("`{}`", row.op), yes(), yes(), gradient(), gradient(), onnx, jax, against.into(), cpu_error, gpu_error]
}

fn table(title: &str, rows: &[Row], outside: &Outside, gpu: &Device) -> String {
    let mut text = format!("## {title}\n\n| {} |\n|{}\n", HEADER.join(" | "), "---|".repeat(HEADER.len()));
    for row in rows {
        let _ = writeln!(text, "| {} |", line(row, outside, gpu).join(" | "));
    }
    text.push('\n');
    text
}

/// Whether a cell of the page still holds: the same text, or an error that is not larger.
fn holds(written: &str, made: &str) -> bool {
    let numbers = |cell: &str| -> Option<[f64; 2]> {
        let (relative, ulp) = cell.strip_suffix(" ULP")?.split_once(", ")?;
        Some([relative.parse().ok()?, ulp.parse().ok()?])
    };
    match (numbers(written), numbers(made)) {
        (Some(written), Some(made)) => made[0] <= written[0] && made[1] <= written[1],
        (Some(_), None) => made == "0",
        _ => written == made,
    }
}

#[test]
fn the_page_is_what_would_be_written() {
    let Some(gpu) = common::gpu() else { return };
    let devices = [&Device::cpu(), &gpu];
    let outside = Outside { onnx: onnx(devices), jax: jax(devices) };
    let tables: String = families().iter().map(|(title, rows)| table(title, rows, &outside, &gpu)).collect();
    let made = format!("{PREFACE}{}\n", tables.trim_end());
    if std::env::var_os("TILEGRAD_WRITE_DOCS").is_some() {
        std::fs::write(page(), &made).expect("docs/ops.md is written");
    }
    let written = std::fs::read_to_string(page()).expect("docs/ops.md");
    let stale: Vec<String> = written
        .lines()
        .zip(made.lines())
        .filter(|(w, m)| !w.split(" | ").zip(m.split(" | ")).all(|(w, m)| holds(w.trim(), m.trim())))
        .map(|(w, m)| format!("  written: {w}\n  now:     {m}"))
        .collect();
    let help = "write it anew with TILEGRAD_WRITE_DOCS=1 cargo test --test ops_doc";
    assert!(stale.is_empty(), "docs/ops.md is stale; {help}\n{}", stale.join("\n"));
    assert_eq!(written.lines().count(), made.lines().count(), "docs/ops.md has other lines; {help}");
}

#[test]
fn a_larger_error_is_stale_and_a_smaller_one_is_not() {
    assert!(holds("1e-6, 5 ULP", "5e-7, 5 ULP") && holds("1e-6, 5 ULP", "0") && holds("`add`", "`add`"));
    assert!(!holds("1e-6, 5 ULP", "2e-6, 5 ULP") && !holds("1e-6, 5 ULP", "1e-6, 10 ULP") && !holds("1", "2"));
    assert!(!holds("0", "1e-7, 1 ULP") && !holds("12, 12 of 12", "11, 12 of 12"));
}
