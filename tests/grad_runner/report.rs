//! What came out of the cases of one device, by op.

use std::collections::BTreeMap;

use super::case::{Case, Fault, Outcome};

/// How far a case is from what is wanted: the worst over its tensors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Distance {
    /// Largest difference.
    pub absolute: f64,
    /// The same as a share of the largest wanted value of its tensor.
    pub relative: f64,
    /// The same in units of the last place of that value.
    pub ulp: f64,
}

impl Distance {
    pub fn worst(self, other: Distance) -> Distance {
        Distance {
            absolute: self.absolute.max(other.absolute),
            relative: self.relative.max(other.relative),
            ulp: self.ulp.max(other.ulp),
        }
    }
}

/// The distance of a tensor, or how it breaks `|got - want| <= atol + rtol * max|want|`. Where NaN or infinity is wanted,
/// the same must be there.
pub fn compare(what: &str, got: &[f32], want: &[f32], (rtol, atol): (f64, f64)) -> Outcome<Distance> {
    if got.len() != want.len() {
        return Err(Fault::Failed(format!("{what} has {} elements, {} wanted", got.len(), want.len())));
    }
    let largest = want.iter().filter(|w| w.is_finite()).fold(0.0, |m: f64, w| m.max(f64::from(w.abs())));
    let mut worst = Distance::default();
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        if got == want || (got.is_nan() && want.is_nan()) {
            continue;
        }
        let absolute = (f64::from(got) - f64::from(want)).abs();
        if absolute.is_nan() || absolute > atol + rtol * largest || !want.is_finite() {
            let rule = format!("{atol:.0e} + {rtol:.0e} * {largest:.3}");
            return Err(Fault::Failed(format!("{what}[{i}] is {got}, {want} wanted: off by {absolute:.2e} > {rule}")));
        }
        let unit = f64::from((largest as f32).next_up()) - largest;
        let share = |of: f64| if largest > 0.0 { absolute / of } else { 0.0 };
        worst = worst.worst(Distance { absolute, relative: share(largest), ulp: share(unit) });
    }
    Ok(worst)
}

#[derive(Default)]
struct Row {
    passed: usize,
    failed: usize,
    unsupported: usize,
    distance: Distance,
    reasons: Vec<String>,
}

impl Row {
    /// Whether all cases are unsupported.
    fn is_missing(&self) -> bool {
        self.passed + self.failed == 0
    }
}

/// The cases of one device.
pub struct Report {
    device: &'static str,
    rows: BTreeMap<String, Row>,
}

impl Report {
    pub fn new(device: &'static str) -> Report {
        Report { device, rows: BTreeMap::new() }
    }

    pub fn add(&mut self, case: &Case, outcome: Outcome<Distance>) {
        let row = self.rows.entry(case.op().to_string()).or_default();
        let kind = match outcome {
            Ok(distance) => {
                row.passed += 1;
                row.distance = row.distance.worst(distance);
                return;
            }
            Err(Fault::Unsupported(reason)) => {
                row.unsupported += 1;
                format!("unsupported: {reason}")
            }
            Err(Fault::Failed(reason)) => {
                row.failed += 1;
                reason
            }
        };
        row.reasons.push(format!("{}: {kind}", case.name()));
    }

    /// A line an op, and one for each case that did not pass.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<22} {:<3} {:>6} {:>6} {:>11} {:>9} {:>9}\n",
            "op", "on", "passed", "failed", "unsupported", "abs error", "rel error"
        );
        for (op, row) in &self.rows {
            let Row { passed, failed, unsupported, distance, .. } = row;
            text += &format!(
                "{op:<22} {:<3} {passed:>6} {failed:>6} {unsupported:>11} {:>9.1e} {:>9.1e}\n",
                self.device, distance.absolute, distance.relative
            );
            row.reasons.iter().for_each(|reason| text += &format!("    {reason}\n"));
        }
        text
    }

    pub fn totals(&self) -> String {
        let sum = |of: fn(&Row) -> usize| self.rows.values().map(of).sum::<usize>();
        let (passed, failed, unsupported) = (sum(|r| r.passed), sum(|r| r.failed), sum(|r| r.unsupported));
        format!("grad: {passed} passed, {failed} failed, {unsupported} unsupported on the {}", self.device)
    }

    pub fn cases(&self) -> usize {
        self.rows.values().map(|r| r.passed + r.failed + r.unsupported).sum()
    }

    /// What did not pass, except ops that are known to be missing; and those of them that are there.
    pub fn failures(&self, known_missing: &[&str]) -> Vec<String> {
        let mut failures = Vec::new();
        for (op, row) in &self.rows {
            match (known_missing.contains(&op.as_str()), row.is_missing()) {
                (true, true) => {}
                (true, false) => failures.push(format!("{op} is listed as unsupported, and is there")),
                (false, _) => failures.extend(row.reasons.iter().map(|r| format!("{r} (on the {})", self.device))),
            }
        }
        failures
    }
}
