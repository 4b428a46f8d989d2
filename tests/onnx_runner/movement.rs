//! Shapes, order of axes, and parts of tensors: no arithmetic.

use tilegrad::{BlockOrder, SliceRange, Tensor};

use super::layout;
use super::node::{Node, Outcome, failed, unsupported};
use super::value::{ElementType, Host, Value};

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "CenterCropPad" => center_crop_pad(node),
        "Concat" => concat(node),
        "DepthToSpace" => depth_to_space(node),
        "Expand" => expand(node),
        "EyeLike" => eye_like(node),
        "Flatten" => flatten(node),
        "Pad" => pad(node),
        "Range" => range(node),
        "Reshape" => reshape(node),
        "Slice" => slice(node),
        "SpaceToDepth" => space_to_depth(node),
        "Split" => split(node),
        "Squeeze" => squeeze(node),
        "Tile" => tile(node),
        "Transpose" => transpose(node),
        "Trilu" => trilu(node),
        "Unsqueeze" => unsqueeze(node),
        _ => return None,
    })
}

/// One input to one output of its element type.
fn moved(node: &Node, f: impl FnOnce(&Tensor) -> Outcome<Tensor>) -> Outcome<Vec<Value>> {
    let x = node.input(0)?;
    Ok(vec![Value::of_type(f(x.tensor()?)?, x.element())])
}

fn sizes(values: Vec<i64>) -> Outcome<Vec<usize>> {
    values.into_iter().map(|v| layout::count(v, "a length")).collect()
}

/// An axis of `x`, counted from the front.
fn position(x: &Tensor, axis: i64) -> Outcome<usize> {
    let rank = x.rank() as i64;
    let out = || failed(format!("axis {axis} of shape {}", x.shape()));
    if (-rank..rank).contains(&axis) { Ok(axis.rem_euclid(rank) as usize) } else { Err(out()) }
}

fn concat(node: &Node) -> Outcome<Vec<Value>> {
    let axis = layout::axis(node.int("axis", 1))?;
    Ok(vec![Value::of_type(Tensor::concat(&node.tensors()?, axis), node.input(0)?.element())])
}

fn flatten(node: &Node) -> Outcome<Vec<Value>> {
    let x = node.input(0)?;
    let rank = x.shape().rank() as i64;
    let axis = node.int("axis", 1);
    let axis = layout::count(if axis < 0 { axis + rank } else { axis }, "axis")?;
    if axis > x.shape().rank() {
        return Err(failed(format!("axis {axis} of shape {}", x.shape())));
    }
    let (rows, columns) = x.shape().dims().split_at(axis);
    let shape: [usize; 2] = [rows.iter().product(), columns.iter().product()];
    Ok(vec![Value::of_type(x.tensor()?.reshape(shape), x.element())])
}

/// 0 keeps a length unless `allowzero`; -1 is what is left.
fn reshape(node: &Node) -> Outcome<Vec<Value>> {
    let wanted = match node.ints("shape") {
        Some(shape) => shape,
        None => node.ints_input(1)?.ok_or_else(|| failed("no shape"))?,
    };
    let zero = node.flag("allowzero", false);
    moved(node, |x| {
        let mut dims = Vec::new();
        for (i, &length) in wanted.iter().enumerate() {
            let kept = || x.shape().dims().get(i).ok_or_else(|| failed(format!("no axis {i} to keep")));
            dims.push(if length == 0 && !zero { *kept()? as isize } else { layout::axis(length)? });
        }
        // Beside a kept axis of no elements, -1 is 0: what is left of none.
        let empty = !zero && dims.contains(&0);
        if let Some(open) = dims.iter().position(|&d| d == -1).filter(|_| empty) {
            dims[open] = 0;
        }
        Ok(x.reshape_infer(&dims))
    })
}

fn transpose(node: &Node) -> Outcome<Vec<Value>> {
    let x = node.input(0)?;
    let rank = x.shape().rank() as i64;
    let order = node.ints("perm").unwrap_or_else(|| (0..rank).rev().collect());
    let order = order.into_iter().map(layout::axis).collect::<Outcome<Vec<_>>>()?;
    Ok(vec![Value::of_type(x.tensor()?.permute(&order), x.element())])
}

fn squeeze(node: &Node) -> Outcome<Vec<Value>> {
    let axes = layout::axes(node, 1)?;
    moved(node, |x| Ok(axes.map_or_else(|| x.squeeze_all(), |axes| x.squeeze_axes(&axes))))
}

fn unsqueeze(node: &Node) -> Outcome<Vec<Value>> {
    let axes = layout::axes(node, 1)?.ok_or_else(|| failed("no axes"))?;
    moved(node, |x| Ok(x.unsqueeze_axes(&axes)))
}

fn expand(node: &Node) -> Outcome<Vec<Value>> {
    let shape = sizes(node.ints_input(1)?.ok_or_else(|| failed("no shape"))?)?;
    moved(node, |x| Ok(x.expand(&shape[..])))
}

/// `repeats` of every axis, or in the first version a number of tiles and an axis.
fn tile(node: &Node) -> Outcome<Vec<Value>> {
    let given = sizes(node.ints_input(1)?.ok_or_else(|| failed("no repeats"))?)?;
    let axis = node.ints_input(2)?;
    moved(node, |x| {
        let repeats = match axis.as_deref() {
            Some(&[axis]) if given.len() == 1 => {
                let mut repeats = vec![1; x.rank()];
                repeats[position(x, axis)?] = given[0];
                repeats
            }
            Some(_) => return Err(failed("tiles and axis are not one number each")),
            None => given,
        };
        if repeats.len() != x.rank() {
            return Err(failed(format!("{} repeats for shape {}", repeats.len(), x.shape())));
        }
        Ok(x.tile(&repeats))
    })
}

/// Numbers from attributes up to version 9, from inputs later.
fn slice(node: &Node) -> Outcome<Vec<Value>> {
    let of = |name: &str, input: usize| match node.ints(name) {
        Some(values) => Ok(Some(values)),
        None => node.ints_input(input),
    };
    let starts = of("starts", 1)?.ok_or_else(|| failed("no starts"))?;
    let ends = of("ends", 2)?.ok_or_else(|| failed("no ends"))?;
    let axes = of("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = of("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(failed("starts, ends, axes and steps differ in number"));
    }
    moved(node, |x| {
        let mut ranges = vec![SliceRange::ALL; x.rank()];
        for (i, &axis) in axes.iter().enumerate() {
            let at = |v: i64| v.clamp(isize::MIN as i64, isize::MAX as i64) as isize;
            ranges[position(x, axis)?] = SliceRange::new(at(starts[i]), at(ends[i]), at(steps[i]));
        }
        Ok(x.slice_ranges(&ranges))
    })
}

/// Widths, all those before and then all those after, of all axes or of those that an input names.
fn pad(node: &Node) -> Outcome<Vec<Value>> {
    let x = node.input(0)?;
    let pads = match node.ints("pads").or_else(|| node.ints("paddings")) {
        Some(pads) => pads,
        None => node.ints_input(1)?.ok_or_else(|| failed("no pads"))?,
    };
    let attribute = node.maybe_float("value");
    let mode = node.text("mode", "constant");
    let axes = node.ints_input(3)?.unwrap_or_else(|| (0..x.shape().rank() as i64).collect());
    if pads.len() != 2 * axes.len() {
        return Err(failed(format!("{} pads for {} axes", pads.len(), axes.len())));
    }
    let value = match node.optional_tensor(2)? {
        Some(value) => value.clone(),
        None => Tensor::scalar(attribute.unwrap_or(0.0), node.device).cast(x.tensor()?.dtype()),
    };
    moved(node, |x| {
        let mut widths = vec![(0, 0); x.rank()];
        for (i, &axis) in axes.iter().enumerate() {
            widths[position(x, axis)?] = (layout::axis(pads[i])?, layout::axis(pads[axes.len() + i])?);
        }
        Ok(match mode {
            "constant" => x.pad_constant(&widths, &value),
            "reflect" => x.pad_reflect(&widths),
            "edge" => x.pad_edge(&widths),
            "wrap" => x.pad_wrap(&widths),
            other => return Err(unsupported(format!("Pad in mode {other}"))),
        })
    })
}

/// Lengths from an attribute or an input, else a number of parts: of equal length, the last one shorter.
fn split(node: &Node) -> Outcome<Vec<Value>> {
    let x = node.input(0)?;
    let axis = layout::axis(node.int("axis", 0))?;
    let given = match node.ints("split") {
        Some(sizes) => Some(sizes),
        None => node.ints_input(1)?,
    };
    let count = layout::count(node.int("num_outputs", node.outputs() as i64), "num_outputs")?;
    let parts = match given {
        Some(given) => x.tensor()?.split(&sizes(given)?, axis),
        None => x.tensor()?.chunk(count, axis),
    };
    Ok(parts.into_iter().map(|part| Value::of_type(part, x.element())).collect())
}

fn depth_to_space(node: &Node) -> Outcome<Vec<Value>> {
    let block = layout::count(node.int("blocksize", 0), "blocksize")?;
    let order = match node.text("mode", "DCR") {
        "DCR" => BlockOrder::DepthLast,
        "CRD" => BlockOrder::DepthFirst,
        other => return Err(failed(format!("mode {other}"))),
    };
    moved(node, |x| Ok(layout::channels_first(&layout::channels_last(x).depth_to_space(block, order))))
}

fn space_to_depth(node: &Node) -> Outcome<Vec<Value>> {
    let block = layout::count(node.int("blocksize", 0), "blocksize")?;
    moved(node, |x| {
        let blocks = layout::channels_last(x).space_to_depth(block, BlockOrder::DepthLast);
        Ok(layout::channels_first(&blocks))
    })
}

fn trilu(node: &Node) -> Outcome<Vec<Value>> {
    let upper = node.flag("upper", true);
    let k = match node.ints_input(1)?.as_deref() {
        None => 0,
        Some(&[k]) => layout::axis(k)?,
        Some(_) => return Err(failed("k is not one number")),
    };
    moved(node, |x| Ok(if upper { x.triu(k) } else { x.tril(k) }))
}

/// Of the input's shape, and of its element type unless `dtype` names another.
fn eye_like(node: &Node) -> Outcome<Vec<Value>> {
    let x = node.input(0)?;
    let element = node.maybe_int("dtype").map_or(Ok(x.element()), ElementType::numbered)?;
    let k = layout::axis(node.int("k", 0))?;
    let &[rows, columns] = x.shape().dims() else { return Err(failed(format!("EyeLike of shape {}", x.shape()))) };
    Ok(vec![Value::of_type(Tensor::eye(rows, columns, k, node.device), element)])
}

fn range(node: &Node) -> Outcome<Vec<Value>> {
    let element = node.input(0)?.element();
    let hosts = [0, 1, 2].map(|i| node.input(i).and_then(Value::host));
    let [start, limit, delta] = hosts;
    Ok(vec![match (start?, limit?, delta?) {
        (Host::Float(start), Host::Float(limit), Host::Float(delta)) => {
            let (&[start], &[limit], &[delta]) = (&start[..], &limit[..], &delta[..]) else {
                return Err(failed("start, limit and delta are not one number each"));
            };
            Value::of(Tensor::arange(start, limit, delta, node.device))
        }
        (Host::Int(start), Host::Int(limit), Host::Int(delta)) => {
            let (&[start], &[limit], &[delta]) = (&start[..], &limit[..], &delta[..]) else {
                return Err(failed("start, limit and delta are not one number each"));
            };
            let [start, limit, delta] = [start, limit, delta].map(|v| i32::try_from(v).ok());
            let (Some(start), Some(limit), Some(delta)) = (start, limit, delta) else {
                return Err(unsupported("Range of numbers that don't fit 32 bits"));
            };
            Value::of_type(Tensor::arange_i32(start, limit, delta, node.device), element)
        }
        _ => return Err(failed("start, limit and delta differ in type")),
    }])
}

/// The middle of each axis, or the tensor in the middle of zeros. What is odd is cut or added at the end.
fn center_crop_pad(node: &Node) -> Outcome<Vec<Value>> {
    let shape = node.ints_input(1)?.ok_or_else(|| failed("no shape"))?;
    let axes = node.ints("axes");
    moved(node, |x| {
        let axes = axes.unwrap_or_else(|| (0..x.rank() as i64).collect());
        if shape.len() != axes.len() {
            return Err(failed(format!("{} lengths for {} axes", shape.len(), axes.len())));
        }
        let mut widths = vec![(0, 0); x.rank()];
        for (&axis, &wanted) in axes.iter().zip(&shape) {
            let at = position(x, axis)?;
            let more = layout::axis(wanted)? - x.shape()[at] as isize;
            // Towards 0: half of what is cut, or added, comes before.
            widths[at] = (more / 2, more - more / 2);
        }
        Ok(x.pad_constant(&widths, &Tensor::scalar(0.0, x.device()).cast(x.dtype())))
    })
}
