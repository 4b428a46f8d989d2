//! Other shapes and other orders of the same elements.

use tilegrad::Tensor;

use super::case::{Case, Outcome, unsupported};

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    Some(match case.op() {
        "reshape" => reshape(case),
        "expand" | "broadcast_to" => expand(case),
        "transpose" | "permute" => permute(case),
        "slice" => slice(case),
        "pad" => pad(case),
        "concat" | "concatenate" => case
            .input_names()
            .map(|name| case.input(name))
            .collect::<Outcome<Vec<_>>>()
            .map(|x| Tensor::concat(&x, case.axis(0))),
        _ => return None,
    })
}

/// One length may be -1: what is left.
fn reshape(case: &Case) -> Outcome<Tensor> {
    let (x, Some(shape)) = (case.input("x")?, case.ints("shape")) else {
        return unsupported("reshape without a shape");
    };
    let known: usize = shape.iter().filter(|&&n| n >= 0).map(|&n| n as usize).product();
    let shape: Vec<usize> = shape.iter().map(|&n| if n < 0 { x.len() / known.max(1) } else { n as usize }).collect();
    Ok(x.reshape(&shape[..]))
}

fn expand(case: &Case) -> Outcome<Tensor> {
    match case.sizes("shape") {
        Some(shape) => Ok(case.input("x")?.broadcast_to(&shape[..])),
        None => unsupported("expand without a shape"),
    }
}

fn permute(case: &Case) -> Outcome<Tensor> {
    let x = case.input("x")?;
    let order = ["perm", "axes", "permutation"].iter().find_map(|name| case.ints(name));
    let reversed = || (0..x.rank() as i64).rev().collect();
    Ok(x.permute(&order.unwrap_or_else(reversed).iter().map(|&a| a as isize).collect::<Vec<_>>()))
}

/// Starts, ends and steps of the first axes, or of `axes`; ends count from an axis's end where negative, and are limited.
fn slice(case: &Case) -> Outcome<Tensor> {
    let x = case.input("x")?;
    let (Some(starts), Some(ends)) = (case.ints("starts"), case.ints("ends")) else {
        return unsupported("slice without starts and ends");
    };
    let axes = case.ints("axes").unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = case.ints("steps").unwrap_or_else(|| vec![1; starts.len()]);
    let mut ranges: Vec<(std::ops::Range<usize>, usize)> = x.shape().iter().map(|&n| (0..n, 1)).collect();
    for (i, axis) in axes.into_iter().enumerate() {
        let axis = if axis < 0 { axis + x.rank() as i64 } else { axis } as usize;
        let n = x.shape()[axis] as i64;
        let place = |at: i64| (if at < 0 { at + n } else { at }).clamp(0, n) as usize;
        if steps[i] < 1 {
            return unsupported(format!("steps of {}", steps[i]));
        }
        ranges[axis] = (place(starts[i])..place(ends[i]).max(place(starts[i])), steps[i] as usize);
    }
    Ok(x.slice_steps(&ranges))
}

/// Widths of each axis, as pairs, or all before and then all after.
fn pad(case: &Case) -> Outcome<Tensor> {
    let x = case.input("x")?;
    let Some(widths) = case.pairs("pads").or_else(|| case.pairs("pad_width")).or_else(|| case.pairs("widths")) else {
        return unsupported("pad without widths");
    };
    let value = case.maybe_float("value").or(case.maybe_float("constant")).unwrap_or(0.0);
    match case.text("mode", "constant") {
        "constant" => {
            let widths: Vec<(usize, usize)> = widths.iter().map(|&[a, b]| (a as usize, b as usize)).collect();
            Ok(x.pad(&widths, value))
        }
        mode => unsupported(format!("mode {mode}")),
    }
}
