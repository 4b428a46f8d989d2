//! What updates tensors in place: optimizer steps, running statistics, packed gradients. Each row works on fresh copies and
//! returns what was updated.

use tilegrad::ops::batch_norm::update_running;
use tilegrad::ops::cross_entropy_step::cross_entropy_step;
use tilegrad::ops::optimizer::{
    AdadeltaStep, AdagradStep, AdamStep, AdamaxStep, LionStep, RmspropStep, SgdStep, adadelta_step, adagrad_step,
    adam_step, adamax_step, lion_step, rmsprop_step, sgd_step,
};
use tilegrad::ops::pack::pack;
use tilegrad::ops::restore::restore_unless;
use tilegrad::{Clock, Tensor};

use super::{Row, row};
use crate::common::random;

/// Weights and gradients.
fn two() -> Vec<Tensor> {
    vec![random([30], 41, -1.0, 1.0), random([30], 42, -1.0, 1.0)]
}

/// Something to update: a copy that no tape knows.
fn fresh(x: &Tensor) -> Tensor {
    x.detach().affine(1.0, 0.0)
}

fn state(x: &Tensor) -> Tensor {
    Tensor::full(0.25, x.shape(), x.device())
}

fn sgd(x: &[Tensor]) -> Tensor {
    let (w, velocity) = (fresh(&x[0]), state(&x[0]));
    sgd_step(&w, &x[1], Some(&velocity), &SgdStep { lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.01 });
    w.add(&velocity)
}

fn adam(x: &[Tensor]) -> Tensor {
    let (w, m, v, largest) = (fresh(&x[0]), state(&x[0]), state(&x[0]), state(&x[0]));
    adam_step(&w, &x[1], &m, &v, Some(&largest), &AdamStep { t: 3.into(), weight_decay: 0.01, ..AdamStep::default() });
    w.add(&m).add(&v).add(&largest)
}

fn rmsprop(x: &[Tensor]) -> Tensor {
    let (w, v, mean, momentum) = (fresh(&x[0]), state(&x[0]), Tensor::zeros(x[0].shape(), x[0].device()), state(&x[0]));
    let rule = RmspropStep {
        lr: 0.01,
        rho: 0.9,
        momentum: 0.5,
        nesterov: false,
        epsilon: 1e-7,
        epsilon_in_root: true,
        weight_decay: 0.0,
    };
    rmsprop_step(&w, &x[1], &v, Some(&mean), Some(&momentum), &rule);
    w.add(&v).add(&mean).add(&momentum)
}

fn adagrad(x: &[Tensor]) -> Tensor {
    let (w, v) = (fresh(&x[0]), state(&x[0]));
    adagrad_step(&w, &x[1], &v, &AdagradStep { lr: 0.1, epsilon: 1e-7, epsilon_in_root: true, weight_decay: 0.0 });
    w.add(&v)
}

fn adadelta(x: &[Tensor]) -> Tensor {
    let (w, v, u) = (fresh(&x[0]), state(&x[0]), state(&x[0]));
    adadelta_step(&w, &x[1], &v, &u, &AdadeltaStep { lr: 1.0, rho: 0.95, epsilon: 1e-7, weight_decay: 0.01 });
    w.add(&v).add(&u)
}

fn adamax(x: &[Tensor]) -> Tensor {
    let (w, m, u) = (fresh(&x[0]), state(&x[0]), state(&x[0]));
    let (lr, beta1, beta2, epsilon) = (0.1, 0.9, 0.999, 1e-7);
    let rule = AdamaxStep { lr, beta1, beta2, epsilon, epsilon_in_norm: false, t: 3.into(), weight_decay: 0.01 };
    adamax_step(&w, &x[1], &m, &u, &rule);
    w.add(&m).add(&u)
}

fn lion(x: &[Tensor]) -> Tensor {
    let (w, m) = (fresh(&x[0]), state(&x[0]));
    lion_step(&w, &x[1], &m, &LionStep { lr: 0.1, beta1: 0.9, beta2: 0.99, weight_decay: 0.01 });
    w.add(&m)
}

fn packed(x: &[Tensor]) -> Tensor {
    let arena = Tensor::zeros([100], x[0].device());
    pack(&[&x[0], &x[1]], &arena, &[4, 64]);
    arena
}

fn running(x: &[Tensor]) -> Tensor {
    let mean = fresh(&x[0]);
    update_running(&mean, &x[1], 0.99);
    mean
}

/// What a clock shows after two steps, and the batch that it is at.
fn clock(x: &[Tensor]) -> Tensor {
    let clock = Clock::new(x[0].device());
    clock.advance(3);
    clock.advance(3);
    let order = Tensor::new(&[5u32, 4, 3, 2, 1, 0], [6], x[0].device());
    x[0].detach().gather_rows(&clock.batch(&order, 2))
}

fn cross_entropy(x: &[Tensor]) -> Tensor {
    let sums = Tensor::full(0.5, [20], x[0].device());
    let logits = x[0].reshape([10, 3]);
    let labels = Tensor::new(&[0u32, 1, 2, 2, 1, 0, 2, 1, 2, 0], [10], x[0].device());
    let dx = cross_entropy_step(&logits, &labels, 0.1, &sums);
    let of_targets = cross_entropy_step(&logits, &x[1].reshape([10, 3]), 0.1, &sums);
    Tensor::concat(&[&dx.reshape([30]), &of_targets.reshape([30]), &sums], 0)
}

/// One that is kept as it is, and one that is what the second was.
fn restored(x: &[Tensor]) -> Tensor {
    let (kept, taken_back) = (fresh(&x[0]), fresh(&x[0]));
    restore_unless(&x[0].eq(&x[0]).max(), &x[1], &kept);
    restore_unless(&x[0].ne(&x[0]).max(), &x[1], &taken_back);
    kept.sub(&taken_back)
}

pub fn rows() -> Vec<Row> {
    vec![
        row("sgd_step", two(), sgd).constant(&["sgd_step"]).onnx(&["Momentum"]),
        row("adam_step", two(), adam).constant(&["adam_step"]).onnx(&["Adam"]),
        row("rmsprop_step", two(), rmsprop).constant(&["rmsprop_step"]),
        row("adagrad_step", two(), adagrad).constant(&["adagrad_step"]).onnx(&["Adagrad"]),
        row("adadelta_step", two(), adadelta).constant(&["adadelta_step"]),
        row("adamax_step", two(), adamax).constant(&["adamax_step"]),
        row("lion_step", two(), lion).constant(&["lion_step"]),
        row("clock_advance", two(), clock).constant(&["clock_advance", "clock_batch"]),
        row("cross_entropy_step", two(), cross_entropy).constant(&["cross_entropy_step"]),
        row("pack", two(), packed).constant(&["pack"]),
        row("restore_unless", two(), restored).constant(&["restore"]),
        row("update_running", two(), running).constant(&["update_running"]),
    ]
}
