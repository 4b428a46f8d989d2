//! Convolution and pooling. Cases have channels first, `(N, C, H, W)` and `(O, C/groups, KH, KW)`; tilegrad has them last.

use tilegrad::{Conv2dOptions, Padding, Tensor, Window};

use super::case::{Case, Outcome, unsupported};

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    Some(match case.op() {
        "conv2d" => conv2d(case),
        "maxpool2d" | "max_pool2d" => window(case).and_then(|w| over_images(case, |x| x.max_pool2d(&w))),
        "avgpool2d" | "avg_pool2d" => window(case).and_then(|w| match case.flag("count_include_pad", false) {
            true => over_images(case, |x| x.avg_pool2d_with_padding(&w)),
            false => over_images(case, |x| x.avg_pool2d(&w)),
        }),
        _ => return None,
    })
}

/// Channels last, whatever is between.
pub fn channels_last(x: &Tensor) -> Tensor {
    let rank = x.rank() as isize;
    x.permute(&[vec![0], (2..rank).collect(), vec![1]].concat())
}

/// Channels second again.
pub fn channels_first(x: &Tensor) -> Tensor {
    let rank = x.rank() as isize;
    x.permute(&[vec![0, rank - 1], (1..rank - 1).collect()].concat())
}

fn over_images(case: &Case, f: impl Fn(&Tensor) -> Tensor) -> Outcome<Tensor> {
    Ok(channels_first(&f(&channels_last(case.input("x")?))))
}

/// A number an axis, or one for all.
fn each<const N: usize>(case: &Case, names: &[&str], default: usize) -> Outcome<[usize; N]> {
    match names.iter().find_map(|name| case.sizes(name)) {
        None => Ok([default; N]),
        Some(values) if values.len() == 1 => Ok([values[0]; N]),
        Some(values) => values.try_into().or_else(|_| unsupported(format!("not {N} numbers in {}", names[0]))),
    }
}

fn padding(case: &Case) -> Outcome<Padding> {
    match case.text("pads", "").to_lowercase().as_str() {
        "same" | "same_upper" => return Ok(Padding::Same),
        "valid" => return Ok(Padding::Valid),
        _ => {}
    }
    match case.pairs("pads") {
        None => Ok(Padding::Valid),
        Some(pairs) if pairs.iter().flatten().any(|&v| v < 0) => unsupported("negative pads"),
        Some(pairs) => {
            let pairs: Vec<[usize; 2]> = pairs.iter().map(|p| p.map(|v| v as usize)).collect();
            pairs.try_into().map(Padding::Explicit).or_else(|_| unsupported("pads of other axes"))
        }
    }
}

fn window(case: &Case) -> Outcome<Window> {
    let size = each(case, &["kernel", "kernel_size", "window"], 1)?;
    // As in ONNX, windows are next to each other only where the case says so.
    let (stride, dilation) = (each(case, &["strides", "stride"], 1)?, each(case, &["dilations", "dilation"], 1)?);
    Ok(Window { size, stride, dilation, padding: padding(case)? })
}

/// Kernels `(O, C/groups, KH, KW)` as `(KH, KW, C/groups, O)`.
fn conv2d(case: &Case) -> Outcome<Tensor> {
    case.ignore(&["layout"]);
    let options = Conv2dOptions {
        stride: each(case, &["strides", "stride"], 1)?,
        dilation: each(case, &["dilations", "dilation"], 1)?,
        padding: padding(case)?,
        groups: case.int("groups", 1) as usize,
        ..Conv2dOptions::default()
    };
    let w = case.input("w")?.permute(&[2, 3, 1, 0]);
    over_images(case, |x| x.conv2d(&w, case.optional(&["b"]), &options))
}
