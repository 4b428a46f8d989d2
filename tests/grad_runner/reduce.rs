//! Reductions along axes, and what runs along one.

use tilegrad::{ScanOptions, Tensor};

use super::case::{Case, Outcome};

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    Some(match case.op() {
        "sum" => over(case, Tensor::sum_axes),
        "mean" => over(case, Tensor::mean_axes),
        "prod" => over(case, Tensor::prod_axes),
        "max" | "amax" => over(case, Tensor::max_axes),
        "min" | "amin" => over(case, Tensor::min_axes),
        "logsumexp" => over(case, Tensor::logsumexp_axes),
        "l1" if case.target().is_none() => over(case, Tensor::l1_norm_axes),
        "l1norm" | "l1_norm" => over(case, Tensor::l1_norm_axes),
        "l2norm" | "l2_norm" | "l2" | "norm" => over(case, Tensor::l2_norm_axes),
        "sumsq" | "sum_square" => over(case, Tensor::sum_square_axes),
        "var" => with_ddof(case, Tensor::var_axes),
        "std" => with_ddof(case, Tensor::std_axes),
        "cumsum" => case.input("x").map(|x| x.cumsum_with(case.axis(0), scan(case))),
        "cumprod" => case.input("x").map(|x| x.cumprod_with(case.axis(0), scan(case))),
        "argmax" => case.input("x").map(|x| x.argmax(case.axis(-1))),
        "argmin" => case.input("x").map(|x| x.argmin(case.axis(-1))),
        "sort" => case.input("x").map(|x| x.sort(case.axis(-1), case.flag("descending", false)).0),
        "topk" => {
            let (k, largest) = (case.int("k", 1) as usize, case.flag("largest", true));
            case.input("x").map(|x| x.topk(k, case.axis(-1), largest).0)
        }
        _ => return None,
    })
}

/// The axes of the case, or all.
fn axes(case: &Case, x: &Tensor) -> Vec<isize> {
    case.axes().unwrap_or_else(|| (0..x.rank() as isize).collect())
}

fn over(case: &Case, f: fn(&Tensor, &[isize], bool) -> Tensor) -> Outcome<Tensor> {
    let x = case.input("x")?;
    Ok(f(x, &axes(case, x), case.flag("keepdims", false)))
}

fn with_ddof(case: &Case, f: fn(&Tensor, &[isize], bool, usize) -> Tensor) -> Outcome<Tensor> {
    let x = case.input("x")?;
    Ok(f(x, &axes(case, x), case.flag("keepdims", false), ddof(case)))
}

/// PyTorch has two other names.
fn ddof(case: &Case) -> usize {
    case.int_of(&["ddof", "correction"], case.flag("unbiased", false).into()) as usize
}

fn scan(case: &Case) -> ScanOptions {
    ScanOptions { exclusive: case.flag("exclusive", false), reverse: case.flag("reverse", false) }
}
