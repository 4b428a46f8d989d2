//! Other shapes and other orders of the same elements.

use tilegrad::{SliceRange, Tensor};

use super::case::{Case, Outcome, unsupported};

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    Some(match case.op() {
        "reshape" => reshape(case),
        "expand" | "broadcast_to" => expand(case),
        "transpose" | "permute" => permute(case),
        "slice" => slice(case),
        "pad" => pad(case, case.text("mode", "constant")),
        "pad_constant" | "pad_reflect" | "pad_symmetric" | "pad_edge" | "pad_wrap" => pad(case, &case.op()[4..]),
        "move_axis" => move_axis(case),
        "flip" | "rev" | "reverse" => flip(case),
        "tile" => tile(case),
        "roll" => roll(case),
        "concat" | "concatenate" => all(case).map(|x| Tensor::concat(&x, case.axis(0))),
        "stack" => all(case).map(|x| Tensor::stack(&x, case.axis(0))),
        "squeeze" => case.input("x").map(|x| case.axes().map_or_else(|| x.squeeze_all(), |axes| x.squeeze_axes(&axes))),
        "unsqueeze" | "expand_dims" => case.input("x").map(|x| x.unsqueeze_axes(&case.axes().unwrap_or(vec![0]))),
        "swapaxes" => swap(case),
        "flatten" => {
            case.input("x").map(|x| x.flatten_from(case.int_of(&["axis", "start_axis", "start_dim"], 0) as isize))
        }
        "repeat" => case.input("x").map(|x| x.repeat_interleave(case.int("repeats", 1) as usize, case.axis(0))),
        "tril" => case.input("x").map(|x| x.tril(case.int_of(&["k", "diagonal"], 0) as isize)),
        "triu" => case.input("x").map(|x| x.triu(case.int_of(&["k", "diagonal"], 0) as isize)),
        _ => return None,
    })
}

/// All inputs, in the order of their names.
fn all<'a>(case: &'a Case) -> Outcome<Vec<&'a Tensor>> {
    case.input_names().map(|name| case.input(name)).collect()
}

fn move_axis(case: &Case) -> Outcome<Tensor> {
    Ok(case.input("x")?.move_axis(case.int("source", 0) as isize, case.int("destination", 0) as isize))
}

fn swap(case: &Case) -> Outcome<Tensor> {
    let pair = || Some(vec![case.int("axis1", 0) as isize, case.int("axis2", 0) as isize]);
    match case.axes().or_else(pair).as_deref() {
        Some(&[a, b]) => Ok(case.input("x")?.swap_axes(a, b)),
        _ => unsupported("swapaxes without two axes"),
    }
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
    let order = ["perm", "axes", "permutation", "dims"].iter().find_map(|name| case.ints(name));
    let reversed = || (0..x.rank() as i64).rev().collect();
    Ok(x.permute(&order.unwrap_or_else(reversed).iter().map(|&a| a as isize).collect::<Vec<_>>()))
}

/// Starts, ends and steps of the first axes, or of `axes`, as numpy's.
fn slice(case: &Case) -> Outcome<Tensor> {
    let x = case.input("x")?;
    let of = |names: &[&str]| names.iter().find_map(|name| case.ints(name));
    let (Some(starts), Some(ends)) =
        (of(&["starts", "start", "start_indices"]), of(&["ends", "end", "stops", "stop", "limits", "limit_indices"]))
    else {
        return unsupported("slice without starts and ends");
    };
    let axes = case.ints("axes").unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = of(&["steps", "step", "strides"]).unwrap_or_else(|| vec![1; starts.len()]);
    let mut ranges = vec![SliceRange::ALL; x.rank()];
    for (i, axis) in axes.into_iter().enumerate() {
        let axis = if axis < 0 { axis + x.rank() as i64 } else { axis } as usize;
        ranges[axis] = SliceRange::new(starts[i] as isize, ends[i] as isize, steps[i] as isize);
    }
    Ok(x.slice_ranges(&ranges))
}

/// The axes, or all of them.
fn axes(case: &Case, x: &Tensor) -> Vec<isize> {
    case.axes().unwrap_or_else(|| (0..x.rank() as isize).collect())
}

fn flip(case: &Case) -> Outcome<Tensor> {
    let x = case.input("x")?;
    Ok(x.flip(&axes(case, x)))
}

fn tile(case: &Case) -> Outcome<Tensor> {
    match case.sizes("reps").or_else(|| case.sizes("repeats")) {
        Some(repeats) => Ok(case.input("x")?.tile(&repeats)),
        None => unsupported("tile without repeats"),
    }
}

fn roll(case: &Case) -> Outcome<Tensor> {
    let x = case.input("x")?;
    let flat = case.axes().is_none() && x.rank() > 1;
    let Some(shifts) = case.ints("shift").or_else(|| case.ints("shifts")) else {
        return unsupported("roll without a shift");
    };
    // numpy rolls all elements as one line where no axis is named.
    if flat && shifts.len() == 1 {
        return Ok(x.reshape([x.len()]).roll(shifts[0] as isize, 0).reshape(x.shape()));
    }
    Ok(shifts.iter().zip(axes(case, x)).fold(x.clone(), |x, (&shift, axis)| x.roll(shift as isize, axis)))
}

/// Widths of each axis, as pairs, or all before and then all after.
fn pad(case: &Case, mode: &str) -> Outcome<Tensor> {
    let x = case.input("x")?;
    let names = ["pads", "pad_width", "widths", "paddings", "padding"];
    let Some(widths) = names.into_iter().find_map(|name| case.pairs(name)) else {
        return unsupported("pad without widths");
    };
    let widths: Vec<(isize, isize)> = widths.iter().map(|&[a, b]| (a as isize, b as isize)).collect();
    let value = case.maybe_float("value").or(case.maybe_float("constant")).unwrap_or(0.0);
    Ok(match mode {
        "constant" => x.pad_constant(&widths, &Tensor::scalar(value, x.device())),
        "reflect" => x.pad_reflect(&widths),
        "symmetric" => x.pad_symmetric(&widths),
        "edge" => x.pad_edge(&widths),
        "wrap" => x.pad_wrap(&widths),
        mode => return unsupported(format!("mode {mode}")),
    })
}
