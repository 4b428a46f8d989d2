//! What a run says: a table by operator, totals by device, and what is against expectation.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::compare::Distance;
use super::run::{CaseResult, State};

/// Results of one device: its name and a row for each case.
pub type Run = (&'static str, Vec<CaseResult>);

/// Cases of one operator on one device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub cases: usize,
    pub passed: usize,
    pub failed: usize,
    pub unsupported: usize,
    /// Of those that passed.
    pub worst: Distance,
}

impl Tally {
    /// Of the results that are chosen.
    pub fn of<'a>(results: impl IntoIterator<Item = &'a CaseResult>) -> Tally {
        let mut tally = Tally::default();
        for result in results {
            tally.cases += 1;
            match &result.state {
                State::Passed(distance) => {
                    tally.passed += 1;
                    tally.worst = tally.worst.max(*distance);
                }
                State::Failed(_) => tally.failed += 1,
                State::Unsupported(_) => tally.unsupported += 1,
            }
        }
        tally
    }
}

/// By operator (or operators joined by `+`).
pub fn by_operator(results: &[CaseResult]) -> BTreeMap<&str, Vec<&CaseResult>> {
    let mut rows: BTreeMap<&str, Vec<&CaseResult>> = BTreeMap::new();
    for result in results {
        rows.entry(&result.op).or_default().push(result);
    }
    rows
}

/// A line for each operator, and below it one for each case that did not pass.
pub fn table(runs: &[Run]) -> String {
    let mut text =
        format!("{:<28} {:<3} {:>5} {:>6} {:>6} {:>11}", "operator", "on", "cases", "passed", "failed", "unsupported");
    let _ = writeln!(text, " {:>10} {:>10}", "absolute", "relative");
    let operators: Vec<(&str, BTreeMap<&str, Vec<&CaseResult>>)> =
        runs.iter().map(|(device, results)| (*device, by_operator(results))).collect();
    let Some((_, first)) = operators.first() else { return text };
    for op in first.keys() {
        for (device, rows) in &operators {
            let results = rows.get(op).map_or(&[][..], |r| r);
            let t = Tally::of(results.iter().copied());
            let _ = write!(
                text,
                "{op:<28} {device:<3} {:>5} {:>6} {:>6} {:>11}",
                t.cases, t.passed, t.failed, t.unsupported
            );
            let _ = writeln!(text, " {:>10.1e} {:>10.1e}", t.worst.absolute, t.worst.relative);
            for result in results {
                let (what, reason) = match &result.state {
                    State::Passed(_) => continue,
                    State::Failed(reason) => ("failed", reason),
                    State::Unsupported(reason) => ("unsupported", reason),
                };
                let _ = writeln!(text, "    {} on {device}: {what}: {}", result.name, reason.replace('\n', " | "));
            }
        }
    }
    text
}

/// One line of totals.
pub fn totals((device, results): &Run) -> String {
    let part = |name: &str, chosen: &dyn Fn(&CaseResult) -> bool| {
        let t = Tally::of(results.iter().filter(|r| chosen(r)));
        let percent = 100.0 * t.passed as f64 / t.cases.max(1) as f64;
        format!("{name} {} of {} ({percent:.1} %)", t.passed, t.cases)
    };
    let t0 = Tally::of(results.iter().filter(|r| r.t0));
    let all = Tally::of(results);
    format!(
        "onnx {device}: {} of {} t0, {}, {}; {} passed, {} failed, {} unsupported",
        t0.passed,
        t0.cases,
        part("core", &|r| r.tier == "core"),
        part("wide", &|r| r.tier == "wide"),
        all.passed,
        all.failed,
        all.unsupported
    )
}

/// The list of cases that may be unsupported.
pub fn expected_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx-expected.txt")
}

/// Cases that may be unsupported, with the reason; `#` starts a comment.
pub fn expected(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.map(|l| l.split_once(' ').unwrap_or((l, ""))).collect()
}

/// The list as this run would have it: cases that are unsupported on some device.
pub fn listing(runs: &[Run]) -> String {
    let mut lines = BTreeMap::new();
    for result in runs.iter().flat_map(|(_, results)| results) {
        if let State::Unsupported(reason) = &result.state {
            lines.insert(&result.name, reason);
        }
    }
    lines.iter().map(|(name, reason)| format!("{name} {reason}\n")).collect()
}

/// What is against expectation, a line for each. Failures always are. With a list, a case that is unsupported and not on
/// it is, too, and so is one on it that passes.
pub fn surprises(runs: &[Run], expected: Option<&BTreeMap<&str, &str>>) -> Vec<String> {
    let mut found = Vec::new();
    for (device, results) in runs {
        for result in results {
            let name = &result.name;
            let listed = expected.map(|list| list.contains_key(name.as_str()));
            match (&result.state, listed) {
                (State::Failed(reason), _) => found.push(format!("{name} on {device}: {reason}")),
                (State::Unsupported(reason), Some(false)) => {
                    found.push(format!("{name} on {device} is unsupported and not in the list: {reason}"));
                }
                (State::Passed(_), Some(true)) => {
                    found.push(format!("{name} on {device} passes and must leave the list"));
                }
                _ => {}
            }
        }
    }
    found
}
