//! Elements by index.

use tilegrad::Tensor;

use super::case::{Case, Outcome};

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    Some(match case.op() {
        "embedding" => embedding(case),
        "gather" | "take" => picked(case, Tensor::index_select),
        "take_along_axis" | "gather_elements" => picked(case, Tensor::gather),
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

/// Elements of `x` along an axis by the index, which is the input of integers.
fn picked(case: &Case, f: fn(&Tensor, isize, &Tensor) -> Tensor) -> Outcome<Tensor> {
    let (x, axis) = (case.input("x")?, case.axis(0));
    let at = if axis < 0 { axis + x.rank() as isize } else { axis } as usize;
    let name = ["i", "index", "indices"].into_iter().find(|name| case.has(name)).unwrap_or("t");
    Ok(f(x, axis, &case.index(name, x.shape().get(at).copied().unwrap_or(0), x.device())?))
}
