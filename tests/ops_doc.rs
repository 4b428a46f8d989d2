//! docs/ops.md: every op, what it can do, and how far it is from other people's numbers. This test makes the page from the
//! catalogue and from runs of the cases, and fails when the one in docs/ says something else.
//!
//! `TILEGRAD_WRITE_DOCS=1 cargo test --test ops_doc` writes it. Errors are written rounded up, with room for another
//! machine's last bit: a smaller error than the page's is no difference, a larger one is.

mod catalogue;
mod common;
mod onnx_runner;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use catalogue::{Order, Row, families};
use onnx_runner::compare::{Distance, Tolerance, floats};
use onnx_runner::report::{Tally, by_operator};
use onnx_runner::{case, run};
use tilegrad::{DType, Device, Tensor};

const PREFACE: &str = "\
# Ops

<!-- Made by `TILEGRAD_WRITE_DOCS=1 cargo test --test ops_doc`. The test fails when this page is not what it would write. -->

Every op of `Tensor`, with what was tried and found. The CPU code of an op is its definition; the GPU's kernels are held to
it. *Gradient* is `1` where an op can be differentiated once, `2` where gradients can be differentiated again, both held to
finite differences by `tests/gradcheck.rs`, and `-` where the result is a constant to the tape: asking for the gradient of
a tensor made of it alone gives none.

*ONNX* counts the cases of ONNX's own backend tests that are about the op: passed of all, on both devices. *Errors* are
the worst ones: relative, and in units of the last place of the expected value, over all elements of at least 0.01. They
are against ONNX's numbers where there are cases; otherwise the GPU's are against the CPU's result, and the CPU has none.
They are rounded up to one of 1, 2, 5.

";

const HEADER: [&str; 8] = ["op", "CPU", "GPU", "gradient", "ONNX", "against", "CPU error", "GPU error"];

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/ops.md")
}

/// Values of a result, and whether there are any: an op that can't run on a device panics.
fn values(row: &Row, device: &Device) -> Vec<f32> {
    let inputs: Vec<Tensor> = row.inputs.iter().map(|x| x.to(device).expect("upload")).collect();
    (row.f)(&inputs).cast(DType::F32).to_vec().expect("readback")
}

/// Counts of a group of cases on the CPU and on the GPU.
type Outside = BTreeMap<String, [Tally; 2]>;

fn onnx(devices: [&Device; 2]) -> Outside {
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
fn joined(outside: &Outside, names: &[&str]) -> Option<[Tally; 2]> {
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

fn line(row: &Row, outside: &Outside, gpu: &Device) -> [String; 8] {
    let (want, got) = (values(row, &Device::cpu()), values(row, gpu));
    let order = match row.order {
        Order::None => "-",
        Order::First => "1",
        Order::Second => "2",
    };
    let loose = Tolerance { absolute: 1e-5, relative: 1e-3 };
    let (passed, against, errors) = match joined(outside, row.onnx) {
        Some([cpu, gpu]) => {
            (format!("{}, {} of {}", cpu.passed, gpu.passed, cpu.cases), "ONNX", [error(cpu.worst), error(gpu.worst)])
        }
        None => {
            let distance = floats(&got, &want, loose).unwrap_or_else(|e| panic!("{}: {e}", row.op));
            ("-".to_string(), "CPU", ["-".to_string(), error(distance)])
        }
    };
    let [cpu_error, gpu_error] = errors;
    [format!("`{}`", row.op), "yes".into(), "yes".into(), order.into(), passed, against.into(), cpu_error, gpu_error]
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
    let outside = onnx([&Device::cpu(), &gpu]);
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
