//! Runs one op of the manifest on one device: its output and its gradients against JAX's.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tilegrad::{Device, Tensor};

use super::FAMILIES;
use super::case::{Case, Outcome, Stored, failed, unsupported};
use super::report::{Distance, compare};

pub fn run(case: &Case, device: &Device) -> Outcome<Distance> {
    // A panic is a failure of the case, not of those after it.
    catch_unwind(AssertUnwindSafe(|| checked(case, device))).unwrap_or_else(|panic| {
        let text = panic
            .downcast::<String>()
            .map_or_else(|p| p.downcast::<&str>().map_or_else(|_| "no message".into(), |s| s.to_string()), |s| *s);
        failed(format!("panicked: {}", text.replace('\n', " ")))
    })
}

fn checked(case: &Case, device: &Device) -> Outcome<Distance> {
    let tensors = case.tensors()?;
    let case = case.on(&tensors, device);
    let y = build(&case)?;
    let mut worst = compare_tensor("y", &y, tensors.get("out.y"), case.tolerances())?;
    let cotangent = match tensors.get("cot.y") {
        Some(Stored::Floats(values, shape)) => Tensor::new(values, &shape[..], device),
        _ if case.differentiable().is_empty() => return Ok(worst),
        _ => return failed("no cotangent"),
    };
    let gradients = y.backward_with(&cotangent);
    for name in case.differentiable() {
        let x = case.input(name)?;
        let dx = gradients.get(x).cloned().unwrap_or_else(|| x.zeros_like());
        let what = format!("d{name}");
        worst = worst.worst(compare_tensor(&what, &dx, tensors.get(&format!("grad.{name}")), case.tolerances())?);
    }
    Ok(worst)
}

fn build(case: &Case) -> Outcome<Tensor> {
    // Channels first is what images have here anyway.
    let layout = case.text("layout", "NC");
    if !layout.starts_with("NC") {
        return unsupported(format!("layout {layout}"));
    }
    case.ignore(&["note"]);
    let Some(y) = FAMILIES.iter().find_map(|build| build(case)) else {
        return unsupported(format!("no op {}", case.op()));
    };
    let (y, unread) = (y?, case.unread());
    if unread.is_empty() { Ok(y) } else { unsupported(format!("attributes {}", unread.join(", "))) }
}

fn compare_tensor(what: &str, got: &Tensor, want: Option<&Stored>, tolerances: (f64, f64)) -> Outcome<Distance> {
    let Some(want) = want else { return failed(format!("no {what} in the file")) };
    if got.shape()[..] != *want.shape() {
        return failed(format!("{what} has the shape {}, {:?} wanted", got.shape(), want.shape()));
    }
    let want = match want {
        Stored::Floats(values, _) => values.clone(),
        Stored::Integers(values, _) => values.iter().map(|&v| v as f32).collect(),
    };
    let got = match got.dtype() {
        tilegrad::DType::U32 => got.to_vec::<u32>().map(|v| v.into_iter().map(|v| v as f32).collect()),
        _ => got.to_vec::<f32>(),
    };
    compare(what, &got.or_else(|e| failed(e.to_string()))?, &want, tolerances)
}
