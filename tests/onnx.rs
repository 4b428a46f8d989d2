//! ONNX's backend tests: small graphs whose results other people computed, on the CPU and on the GPU.
//!
//! The cases are in `tests/data/onnx`; `TILEGRAD_CASES_DIR` names another folder that has an `onnx` folder. Prints a table
//! by operator and a line of totals for each device. `tests/data/onnx-expected.txt` has the cases that may be unsupported;
//! `TILEGRAD_ONNX_WRITE_EXPECTED=1` writes it anew, for a change that supports more.

mod common;
mod onnx_runner;
#[path = "onnx_runner/tests_of_elementwise.rs"]
mod tests_of_elementwise;
#[path = "onnx_runner/tests_of_images.rs"]
mod tests_of_images;
#[path = "onnx_runner/tests_of_mapping.rs"]
mod tests_of_mapping;
#[path = "onnx_runner/tests_of_norm.rs"]
mod tests_of_norm;
#[path = "onnx_runner/tests_of_operators.rs"]
mod tests_of_operators;
#[path = "onnx_runner/tests_of_pooling.rs"]
mod tests_of_pooling;
#[path = "onnx_runner/tests_of_reduce.rs"]
mod tests_of_reduce;
#[path = "onnx_runner/tests_of_runner.rs"]
mod tests_of_runner;

use common::devices;
use onnx_runner::compare::name_of;
use onnx_runner::{case, report, run};

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
        started.into_iter().map(|t| t.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    });
    assert!(runs.iter().all(|(_, results)| !results.is_empty()), "{} names no cases", folder.display());
    print!("{}", report::table(&runs));
    for run in &runs {
        println!("{}", report::totals(run));
    }

    let own = folder == case::own_folder();
    let set = |name: &str| std::env::var_os(name).is_some();
    if own && set("TILEGRAD_ONNX_WRITE_EXPECTED") && !set("TILEGRAD_ONNX_ONLY") {
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
