//! Reductions along axes, and what runs along one.

use tilegrad::{ScanOptions, Tensor};

use super::case::{Case, Outcome, failed};

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    Some(match case.op() {
        "sum" => over(case, Tensor::sum_axes),
        "mean" => over(case, Tensor::mean_axes),
        "max" | "amax" => over(case, Tensor::max_axes),
        "min" | "amin" => over(case, Tensor::min_axes),
        "prod" => over(case, Tensor::prod_axes),
        "logsumexp" => over(case, Tensor::logsumexp_axes),
        "l1norm" => over(case, Tensor::l1_norm_axes),
        "l2norm" => over(case, Tensor::l2_norm_axes),
        "sum_square" => over(case, Tensor::sum_square_axes),
        "std" => ddof(case).and_then(|n| over(case, |x, axes, keepdims| x.std_axes(axes, keepdims, n))),
        "var" => ddof(case).and_then(|n| over(case, |x, axes, keepdims| x.var_axes(axes, keepdims, n))),
        "argmax" => case.input("x").map(|x| x.argmax(case.axis(-1))),
        "argmin" => case.input("x").map(|x| x.argmin(case.axis(-1))),
        "cumsum" => scan(case, Tensor::cumsum_with),
        "cumprod" => scan(case, Tensor::cumprod_with),
        "sort" => case.input("x").map(|x| x.sort(case.axis(-1), case.flag("descending", false)).0),
        _ => return None,
    })
}

fn over(case: &Case, f: impl Fn(&Tensor, &[isize], bool) -> Tensor) -> Outcome<Tensor> {
    let x = case.input("x")?;
    let all = || (0..x.rank() as isize).collect();
    Ok(f(x, &case.axes().unwrap_or_else(all), case.flag("keepdims", false)))
}

/// What is taken from the number of elements.
fn ddof(case: &Case) -> Outcome<usize> {
    usize::try_from(case.int("ddof", 0)).or_else(|_| failed("ddof is negative"))
}

fn scan(case: &Case, f: fn(&Tensor, isize, ScanOptions) -> Tensor) -> Outcome<Tensor> {
    let options = ScanOptions { exclusive: case.flag("exclusive", false), reverse: case.flag("reverse", false) };
    Ok(f(case.input("x")?, case.axis(0), options))
}
