//! The tape: what is recorded, in what order gradients flow, what is refused.

mod common;

use common::{devices, panic_and_place, panic_message};
use tilegrad::{DType, Device, Tensor, no_grad};

fn vector(values: &[f32]) -> Tensor {
    Tensor::new(values, [values.len()], &Device::cpu())
}

#[test]
fn gradients_add_up_over_all_paths() {
    for device in devices() {
        let x = vector(&[2.0, -3.0]).to(&device).unwrap().requires_grad();
        let y = x.mul(&x).add(&x.mul(&x.mul(&x)).add(&x)); // x^2 + x^3 + x
        let gradients = y.backward();
        assert_eq!(gradients.get(&x).unwrap().to_vec::<f32>().unwrap(), [17.0, 22.0]);
        assert_eq!(gradients.len(), 1);
    }
}

#[test]
fn only_what_wants_gradients_gets_them() {
    let (a, b) = (vector(&[1.0]).requires_grad(), vector(&[2.0]));
    let gradients = a.mul(&b).add(&a.detach()).backward();
    assert_eq!(gradients.get(&a).unwrap().item().unwrap(), 2.0);
    assert!(gradients.get(&b).is_none() && gradients.get(&a.detach()).is_none());
    assert!(!no_grad(|| a.mul(&a)).needs_grad());
    let unused = vector(&[1.0]).requires_grad();
    assert!(gradients.get(&unused).is_none());
    assert!(b.sum().backward().is_empty());
}

#[test]
fn recording_resumes_after_a_panic() {
    let a = vector(&[1.0]).requires_grad();
    panic_message(|| no_grad(|| panic!("inside")));
    assert!(a.mul(&a).needs_grad());
}

#[test]
fn gradients_of_gradients() {
    for device in devices() {
        let x = vector(&[3.0]).to(&device).unwrap().requires_grad();
        let y = x.mul(&x).mul(&x);
        let dy = y.grad(&[&x])[0].clone().unwrap(); // 3 x^2
        let ddy = dy.grad(&[&x])[0].clone().unwrap(); // 6 x
        assert_eq!((dy.item().unwrap(), ddy.item().unwrap()), (27.0, 18.0));
        let dddy = ddy.grad(&[&x])[0].clone().unwrap();
        assert_eq!(dddy.item().unwrap(), 6.0);
    }
    let x = vector(&[0.5]).requires_grad();
    let relu = x.relu().grad(&[&x])[0].clone().unwrap();
    assert!(relu.grad(&[&x])[0].is_none(), "the gradient of relu does not depend on x");
}

#[test]
fn ops_without_a_gradient_say_so() {
    let x = vector(&[0.5, -2.0]).requires_grad();
    let positive = x.gt(&Tensor::scalar(0.0, x.device())).cast(DType::F32);
    let message = "gt: has no gradient, and this tensor depends on what wants one through it alone\n  y: []\n  \
                   help: a loss has to be made of differentiable ops; detach() says that none is wanted";
    assert_eq!(panic_message(|| positive.sum().backward()), message);
    assert_eq!(panic_message(|| positive.sum().grad(&[&x])), message);
    let best = x.argmax(0).cast(DType::F32);
    assert!(panic_message(|| best.mul(&best).backward_with(&best)).starts_with("argmax: has no gradient, and"));
    // Another way to x is enough, and so is saying that none is wanted.
    let dx = positive.mul(&x).sum().backward();
    assert_eq!(dx.get(&x).unwrap().to_vec::<f32>().unwrap(), [1.0, 0.0]);
    assert!(positive.detach().sum().backward().is_empty());
    // The derivative of what is constant by pieces is zero, not a mistake.
    let dx = x.max().grad(&[&x])[0].clone().unwrap();
    assert!(dx.backward().is_empty());
}

#[test]
fn a_chain_of_100_000_ops_neither_records_nor_drops_recursively() {
    let x = vector(&[1.0]).requires_grad();
    let mut y = x.clone();
    for _ in 0..100_000 {
        y = y.affine(1.0, 1e-3);
    }
    assert_eq!(y.tape().entries().len(), 100_000);
    assert_eq!(y.backward().get(&x).unwrap().item().unwrap(), 1.0);
    drop(y);
}

#[test]
fn an_input_updated_in_place_is_refused() {
    let (w, x) = (vector(&[1.0, 2.0]).requires_grad(), vector(&[3.0, 4.0]).requires_grad());
    let y = w.mul(&x);
    w.assign(&[5.0, 6.0]).unwrap();
    assert!(panic_and_place(|| y.backward()).0.starts_with("mul: input 0 was updated in place after forward used it"));
}

#[test]
fn a_tape_prints_ops_shapes_and_bytes() {
    let w = Tensor::zeros([3, 2], &Device::cpu()).requires_grad();
    let loss = Tensor::zeros([4, 3], &Device::cpu()).matmul(&w).relu().sum();
    let text = loss.tape().to_string();
    let ops: Vec<&str> = loss.tape().entries().iter().map(|e| e.op).collect();
    assert_eq!(ops, ["reshape", "matmul", "reshape", "relu", "reshape", "sum", "reshape"], "{text}");
    assert!(text.contains("matmul") && text.contains("[1, 4, 3] [1, 3, 2] -> [1, 4, 2]   72 bytes saved"), "{text}");
    assert!(
        text.ends_with("7 ops, 104 bytes saved for backward (tensors that several ops save count for each)"),
        "{text}"
    );
}

#[test]
fn devices_and_types_do_not_mix() {
    let Some(gpu) = common::gpu() else { return };
    let (a, b) = (vector(&[1.0]), vector(&[1.0]).to(&gpu).unwrap());
    assert!(panic_message(|| a.add(&b)).starts_with("add: inputs are on different devices"));
    let labels = Tensor::new(&[1u32], [1], &gpu);
    assert_eq!(
        panic_message(|| b.add(&labels)),
        "add: element types differ (f32 != u32)\n  help: convert one with .cast(DType::F32)"
    );
    assert!(panic_message(|| labels.requires_grad()).contains("only f32 tensors have gradients"));
    assert!(labels.to_vec::<f32>().unwrap_err().to_string().contains("expected element type u32, got f32"));
}
