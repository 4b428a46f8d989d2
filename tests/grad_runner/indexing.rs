//! Elements by index.

use tilegrad::Tensor;

use super::case::{Case, Outcome};

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    Some(match case.op() {
        "embedding" => embedding(case),
        _ => return None,
    })
}

/// Rows of a table by an index of any shape.
fn embedding(case: &Case) -> Outcome<Tensor> {
    let table = case.input(if case.has("w") { "w" } else { "x" })?;
    let index = case.index(if case.has("i") { "i" } else { "t" }, table.shape()[0], table.device())?;
    let shape = [index.shape().dims(), &table.shape()[1..]].concat();
    Ok(table.gather_rows(&index.reshape([index.len()])).reshape(&shape[..]))
}
