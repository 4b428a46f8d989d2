//! What a recording holds goes back to the pool with it. Alone in its file: bytes are counted for the device, which tests in
//! one process share.

mod common;

use common::{gpu, random};
use tilegrad::Tensor;
use tilegrad::ops::optimizer::{SgdStep, sgd_step};

const DESCENT: SgdStep = SgdStep { lr: 0.1, momentum: 0.0, nesterov: false, weight_decay: 0.0 };

/// One step of a small network, with several buffers that come and go.
fn step(x: &Tensor, w: &Tensor) {
    let loss = x.matmul(w).relu().square().mean();
    let gradients = loss.backward();
    sgd_step(w, gradients.get(w).expect("the loss depends on it"), None, &DESCENT);
}

#[test]
fn buffers_go_back_to_the_pool_when_the_recording_is_dropped() {
    let Some(device) = gpu() else { return };
    let (x, w) = (random([40, 30], 1, -1.0, 1.0), random([30, 20], 2, -1.0, 1.0));
    let (x, w) = (x.to(&device).unwrap(), w.to(&device).unwrap().requires_grad());
    step(&x, &w);
    let before = device.stats().reserved_bytes;
    for _ in 0..10 {
        let ((), recording) = device.record(|| step(&x, &w));
        recording.unwrap().replay().unwrap();
    }
    device.synchronize().unwrap();
    assert_eq!(device.stats().reserved_bytes, before);
}
