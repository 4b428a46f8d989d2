//! Runs cases: loads a file, runs the nodes in order, compares the outputs.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;

use safetensors::SafeTensors;
use tilegrad::Device;

use super::FAMILIES;
use super::case::{Case, Entry};
use super::compare::{Distance, Tolerance, compare, same_kind};
use super::node::{Miss, Node, Outcome, Values, failed, unsupported};
use super::value::{ElementType, Value};

/// What became of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// With the worst distance over its outputs.
    Passed(Distance),
    Unsupported(String),
    Failed(String),
}

/// A case and what became of it on one device.
#[derive(Clone, Debug)]
pub struct CaseResult {
    pub name: String,
    /// The operators of the graph, joined by `+`.
    pub op: String,
    /// `core` or `wide`.
    pub tier: String,
    /// Whether training an image classifier needs it.
    pub t0: bool,
    pub state: State,
}

/// Runs all cases of a folder on a device.
///
/// # Errors
/// When there is no manifest, or one that can't be read.
pub fn results(folder: &Path, device: &Device) -> Result<Vec<CaseResult>, String> {
    let only = std::env::var("TILEGRAD_ONNX_ONLY").unwrap_or_default();
    let cases = super::case::cases(folder)?;
    let chosen = cases.iter().filter(|c| c.name.contains(&only) || c.op.contains(&only));
    Ok(chosen.map(|case| result(case, folder, device)).collect())
}

/// Runs one case.
pub fn result(case: &Case, folder: &Path, device: &Device) -> CaseResult {
    let state = match quietly(|| run(case, folder, device)) {
        Ok(distance) => State::Passed(distance),
        Err(Miss::Unsupported(reason)) => State::Unsupported(reason),
        Err(Miss::Failed(reason)) => State::Failed(reason),
    };
    CaseResult { name: case.name.clone(), op: case.op.clone(), tier: case.tier.clone(), t0: case.has_flag("t0"), state }
}

/// The smallest absolute tolerance: results are single precision on every device.
const ABSOLUTE: f64 = 1e-5;

fn run(case: &Case, folder: &Path, device: &Device) -> Outcome<Distance> {
    let path = folder.join(&case.file);
    let bytes = std::fs::read(&path).map_err(|e| failed(format!("{}: {e}", path.display())))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| failed(format!("{}: {e}", path.display())))?;
    let load = |entry: &Entry, device: &Device| -> Outcome<Value> {
        let view = file.tensor(&entry.key).map_err(|e| failed(format!("{}: {e}", entry.key)))?;
        let value = Value::load(&view, device)?;
        if value.element() != ElementType::named(&entry.dtype)? || value.shape().dims() != entry.shape {
            return Err(failed(format!("{} is not what the manifest says", entry.key)));
        }
        Ok(value)
    };

    // Recording costs little, but memory of long graphs; only `Gradient` wants it.
    let differentiated = case.nodes.iter().any(|n| n.op == "Gradient");
    let mut values = Values::new();
    for entry in case.initializers.iter().chain(&case.inputs) {
        let value = load(entry, device)?;
        values.insert(entry.name.clone(), if differentiated { value.leaf() } else { value });
    }
    for record in &case.nodes {
        let node = Node::new(record, &case.opset, &values, &file, device)?;
        let outputs = FAMILIES
            .iter()
            .find_map(|run| run(&node))
            .unwrap_or_else(|| Err(unsupported(format!("operator {}", record.op))))?;
        if let Some(name) = node.unread() {
            return Err(unsupported(format!("attribute {name} of {}", record.op)));
        }
        if outputs.len() < record.outputs.len() {
            return Err(unsupported(format!("output {} of {}", outputs.len(), record.op)));
        }
        let named = record.outputs.iter().zip(outputs).filter(|(name, _)| !name.is_empty());
        let named: Vec<_> = named.map(|(name, value)| (name.clone(), value)).collect();
        values.extend(named);
    }

    let tolerance = Tolerance { absolute: case.atol.max(ABSOLUTE), relative: case.rtol };
    let mut worst = Distance::default();
    for entry in &case.outputs {
        let got = values.get(&entry.name).ok_or_else(|| failed(format!("nothing makes the output {}", entry.name)))?;
        let want = load(entry, &Device::cpu())?;
        if case.has_flag("random") {
            same_kind(got, &want).map_err(|e| failed(format!("{}: {e}", entry.name)))?;
            continue;
        }
        let distance = compare(got, &want, tolerance).map_err(|e| failed(format!("{}: {e}", entry.name)))?;
        worst = worst.max(distance);
    }
    if case.has_flag("random") {
        super::random::check(case, &values)?;
    }
    Ok(worst)
}

thread_local! {
    /// Whether panics of this thread are caught and told elsewhere.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`; a panic becomes a failure with its message, and prints nothing.
fn quietly<T>(f: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                print(info);
            }
        }));
    });
    QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(f));
    QUIET.set(false);
    outcome.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|s| s.to_string()));
        Err(failed(format!("panicked: {}", text.unwrap_or_default())))
    })
}
