//! A step that is repeated makes no buffer, no bind group and no pipeline. Alone in its process: tests that ran beside it
//! would share the pool and be counted too.

mod common;

use tilegrad::ops::optimizer::{SgdStep, sgd_step};
use tilegrad::{Conv2dOptions, Padding, Tensor, Unary};

/// A step with every kind of kernel: forward, backward, an in-place update.
fn step(x: &Tensor, w: &Tensor, dense: &Tensor) -> Tensor {
    let options = Conv2dOptions { padding: Padding::Same, activation: Some(Unary::Relu), ..Default::default() };
    let loss = x.conv2d(w, None, &options).flatten_from(1).matmul(dense).square().mean();
    let gradients = loss.backward();
    let gradient = |w: &Tensor| gradients.get(w).expect("the loss depends on it").clone();
    // A rate of 0 leaves the weights as they are, so that the next step gives the same numbers.
    sgd_step(w, &gradient(w), None, &SgdStep { lr: 0.0, momentum: 0.0, nesterov: false, weight_decay: 0.0 });
    gradient(w).square().sum().add(&gradient(dense).square().sum())
}

#[test]
fn a_repeated_step_makes_nothing_new() {
    let Some(device) = common::gpu() else { return };
    let x = common::random([4, 8, 8, 2], 1, -1.0, 1.0).to(&device).unwrap();
    let w = common::random([3, 3, 2, 4], 2, -1.0, 1.0).to(&device).unwrap().requires_grad();
    let dense = common::random([256, 10], 3, -1.0, 1.0).to(&device).unwrap().requires_grad();
    let mut values = Vec::new();
    for _ in 0..3 {
        values.push(step(&x, &w, &dense).item().unwrap());
    }
    let before = device.stats();
    for _ in 0..20 {
        values.push(step(&x, &w, &dense).item().unwrap());
    }
    let after = device.stats();
    assert!(values.iter().all(|v| v.to_bits() == values[0].to_bits()), "the same step gives the same bits: {values:?}");
    assert_eq!(after.pipelines_created, before.pipelines_created, "pipelines");
    assert_eq!(after.buffers_created, before.buffers_created, "buffers");
    assert_eq!(after.bind_groups_created, before.bind_groups_created, "bind groups");
    assert_eq!(after.live_bytes, before.live_bytes, "live bytes");
    assert!(after.dispatches > before.dispatches + 20 * 10);
}
