//! Results that are random: they can't be the numbers that numpy drew, but they have to keep what the operator promises.

use super::case::Case;
use super::node::{Outcome, Values, failed, unsupported};
use super::value::Value;

/// Holds a graph of one random node to its promise.
pub fn check(case: &Case, values: &Values) -> Outcome<()> {
    let [node] = &case.nodes[..] else { return Err(unsupported("random results of several nodes")) };
    let find = |name: &String| values.get(name).ok_or_else(|| failed(format!("nothing makes {name}")));
    match node.op.as_str() {
        "Dropout" => {
            let ratio = match node.inputs.get(1).filter(|name| !name.is_empty()) {
                Some(name) => f64::from(find(name)?.host_floats()?[0]),
                None => 0.5,
            };
            let mask = node.outputs.get(1).filter(|name| !name.is_empty()).map(find).transpose()?;
            dropout(find(&node.inputs[0])?, find(&node.outputs[0])?, mask, ratio)
        }
        other => Err(unsupported(format!("nothing to hold random results of {other} to"))),
    }
}

/// Each element is dropped, or kept and scaled by `1 / (1 - ratio)`; the mask says which; and the number of kept ones is
/// within five standard deviations.
fn dropout(x: &Value, y: &Value, mask: Option<&Value>, ratio: f64) -> Outcome<()> {
    let (x, y) = (x.host_floats()?, y.host_floats()?);
    let kept: Vec<bool> = match mask {
        Some(mask) => mask.host_ints()?.iter().map(|&v| v != 0).collect(),
        None => y.iter().map(|&v| v != 0.0).collect(),
    };
    for (i, &kept) in kept.iter().enumerate() {
        let want = if kept { f64::from(x[i]) / (1.0 - ratio) } else { 0.0 };
        if (f64::from(y[i]) - want).abs() > 1e-5 + 1e-5 * want.abs() {
            return Err(failed(format!("element {i} is {}, expected {want} for {} dropped", y[i], x[i])));
        }
    }
    let (n, count) = (kept.len() as f64, kept.iter().filter(|&&k| k).count() as f64);
    let spread = 5.0 * (n * ratio * (1.0 - ratio)).sqrt();
    if (count - n * (1.0 - ratio)).abs() > spread {
        return Err(failed(format!("{count} of {n} elements are kept at a ratio of {ratio}")));
    }
    Ok(())
}
