//! Reductions along axes, and what runs along one.

use tilegrad::Tensor;

use super::case::{Case, Outcome};

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    Some(match case.op() {
        "sum" => over(case, Tensor::sum_axes),
        "mean" => over(case, Tensor::mean_axes),
        "max" | "amax" => over(case, Tensor::max_axes),
        "min" | "amin" => over(case, Tensor::min_axes),
        "argmax" => case.input("x").map(|x| x.argmax(case.axis(-1))),
        _ => return None,
    })
}

fn over(case: &Case, f: fn(&Tensor, &[isize], bool) -> Tensor) -> Outcome<Tensor> {
    let x = case.input("x")?;
    let all = || (0..x.rank() as isize).collect();
    Ok(f(x, &case.axes().unwrap_or_else(all), case.flag("keepdims", false)))
}
