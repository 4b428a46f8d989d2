//! Elements by index. The index is the case's input of integers, whatever its name.

use tilegrad::Tensor;

use super::case::{Case, Outcome, unsupported};

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    Some(match case.op() {
        "embedding" => select(case, &["w", "table", "weight", "x"], 0),
        "gather" => gather(case),
        "gather_nd" => gather_nd(case),
        "take" | "index_select" => select(case, &["x"], case.axis(0)),
        "take_along_axis" | "gather_elements" => elements(case),
        "scatter_add" | "index_add" => scatter_add(case),
        _ => return None,
    })
}

/// The index as the only input of integers.
fn index(case: &Case, n: usize, like: &Tensor) -> Outcome<Tensor> {
    let names: Vec<&str> = case.input_names().filter(|name| case.integers(name).is_ok()).collect();
    match names[..] {
        [name] => case.index(name, n, like.device()),
        _ => unsupported(format!("{} inputs of integers, expected an index", names.len())),
    }
}

/// The length of an axis; 0 for one that is not there, which the op itself refuses.
fn length(x: &Tensor, axis: isize) -> usize {
    x.shape().axis(axis).map_or(0, |axis| x.shape()[axis])
}

/// Slices along an axis.
fn select(case: &Case, names: &[&str], axis: isize) -> Outcome<Tensor> {
    let Some(x) = case.optional(names) else { return unsupported("nothing to select from") };
    Ok(x.index_select(axis, &index(case, length(x, axis), x)?))
}

/// One element for each of the index.
fn elements(case: &Case) -> Outcome<Tensor> {
    let (x, axis) = (case.input("x")?, case.axis(0));
    Ok(x.gather(axis, &index(case, length(x, axis), x)?))
}

/// One element for each of the index, where the result has the index's axes; slices otherwise.
fn gather(case: &Case) -> Outcome<Tensor> {
    let (x, axis) = (case.input("x")?, case.axis(0));
    let index = index(case, length(x, axis), x)?;
    let of_elements = index.rank() == x.rank() && case.output_rank() == Some(x.rank());
    Ok(if of_elements { x.gather(axis, &index) } else { x.index_select(axis, &index) })
}

/// Indices that count from the end are no part of it.
fn gather_nd(case: &Case) -> Outcome<Tensor> {
    let x = case.input("x")?;
    Ok(x.gather_nd(&index(case, 0, x)?, case.int("batch_dims", 0) as usize))
}

fn scatter_add(case: &Case) -> Outcome<Tensor> {
    let (x, axis) = (case.input("x")?, case.axis(0));
    let Some(src) = case.optional(&["src", "updates", "s", "u", "v"]) else { return unsupported("nothing to add") };
    let index = index(case, length(x, axis), x)?;
    if index.rank() == x.rank() {
        return Ok(x.scatter_add(axis, &index, src));
    }
    // Whole slices: the index counts along its axis only.
    let mut alone = vec![1; x.rank()];
    alone[x.shape().axis(axis).unwrap_or(0)] = index.len();
    Ok(x.scatter_add(axis, &index.reshape(&alone[..]).broadcast_to(src.shape()), src))
}
