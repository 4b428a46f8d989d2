//! What a recorded training step needs on the device: corrections of Adam for the step that a clock shows, and softmax
//! cross-entropy in one pass.

mod common;

use common::{devices, random, spread};
use tilegrad::ops::cross_entropy_step::{MAX_CLASSES, cross_entropy_step};
use tilegrad::ops::optimizer::{AdamStep, AdamaxStep, Correction, Nesterov, StepNumber, adam_step, adamax_step};
use tilegrad::{Clock, Device, Tensor, Time};

/// Largest difference, relative to the size of a change. One is a sum of two terms of about 1, which may cancel.
fn distance(got: &Tensor, want: &Tensor) -> f32 {
    let (got, want) = (got.to_vec::<f32>().unwrap(), want.to_vec::<f32>().unwrap());
    got.iter().zip(&want).map(|(g, w)| (g - w).abs() / w.abs().max(0.1)).fold(0.0, f32::max)
}

/// Runs a step with the number on the host and on a clock, from the same moments.
fn compare(name: &str, states: usize, run: impl Fn(StepNumber, &Tensor, &Tensor, &[Tensor])) {
    for device in devices() {
        for t in [1, 2, 3, 10, 100, 1000, 100_000] {
            let step = |number: StepNumber| {
                let g = random([37], 4, -1.0, 1.0).to(&device).unwrap();
                let w = Tensor::zeros([37], &device);
                let states: Vec<Tensor> =
                    (0..states).map(|i| random([37], 5 + i as u64, 0.1, 1.0).to(&device).unwrap()).collect();
                run(number, &w, &g, &states);
                w
            };
            let clock = Clock::new(&device);
            // Half of the way the clock goes by itself.
            let by_itself = t.min(3) - 1;
            clock.set(Time { step: (t - 1 - by_itself) as u32, ..Time::default() }).unwrap();
            (0..by_itself).for_each(|_| clock.advance(0));
            let worst = distance(&step(StepNumber::Clock(clock)), &step(StepNumber::Host(t)));
            assert!(worst < 5e-6, "{name} step {t} on {device}: {worst}");
        }
    }
}

#[test]
fn corrections_on_a_clock_are_those_of_the_host() {
    for correction in [Correction::OfRate, Correction::OfMoments] {
        for nesterov in [Nesterov::No, Nesterov::Scheduled, Nesterov::Constant] {
            for amsgrad in [false, true] {
                let name = format!("adam {correction:?} {nesterov:?} {amsgrad}");
                compare(&name, 2 + usize::from(amsgrad), |t, w, g, s| {
                    let (epsilon, epsilon_in_root) = (0.01, 0.02);
                    let rule =
                        AdamStep { lr: 1.0, t, correction, nesterov, epsilon, epsilon_in_root, ..AdamStep::default() };
                    adam_step(w, g, &s[0], &s[1], s.get(2), &rule);
                });
            }
        }
    }
    compare("adam with a beta of 0", 2, |t, w, g, s| {
        adam_step(w, g, &s[0], &s[1], None, &AdamStep { lr: 1.0, t, beta1: 0.0, beta2: 0.0, ..AdamStep::default() });
    });
    compare("adamax", 2, |t, w, g, s| {
        let rule = AdamaxStep {
            lr: 1.0,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-7,
            epsilon_in_norm: true,
            t,
            weight_decay: 0.0,
        };
        adamax_step(w, g, &s[0], &s[1], &rule);
    });
}

/// Losses, right answers and gradient by the separate ops.
fn apart(logits: &Tensor, labels: &Tensor, scale: f32) -> [Tensor; 3] {
    let x = logits.detach().requires_grad();
    let losses = x.cross_entropy(labels);
    let gradients = losses.backward_with(&Tensor::full(scale, losses.shape(), losses.device()));
    [losses.detach(), logits.correct(labels), gradients.get(&x).unwrap().clone()]
}

fn check(logits: &Tensor, labels: &Tensor, what: &str) {
    let (rows, capacity) = (logits.shape()[0], logits.shape()[0] + 5);
    let sums = Tensor::full(1.0, [2 * capacity], logits.device());
    let dx = cross_entropy_step(logits, labels, 0.25, &sums);
    let [losses, right, want] = apart(logits, labels, 0.25);
    let one = |x: &Tensor| x.affine(1.0, 1.0);
    let half = |start: usize| sums.slice_axis(0, start..start + rows);
    for (name, got, want) in
        [("dx", dx, want), ("losses", half(0), one(&losses)), ("right", half(capacity), one(&right))]
    {
        let (got, want) = (got.to_vec::<f32>().unwrap(), want.to_vec::<f32>().unwrap());
        for (i, (g, w)) in got.iter().zip(&want).enumerate() {
            let close = (g - w).abs() <= 1e-6 * (1.0 + w.abs()) || (g.is_nan() && w.is_nan()) || g == w;
            assert!(close, "{what}: {name} {i} on {}: {g}, expected {w}", logits.device());
        }
    }
    // Behind the rows nothing is added.
    assert_eq!(sums.slice_axis(0, rows..capacity).to_vec::<f32>().unwrap(), [1.0; 5]);
}

#[test]
fn cross_entropy_in_one_pass_is_that_of_the_separate_ops() {
    for device in devices() {
        for (rows, classes) in [(1, 1), (3, 2), (70, 10), (5, MAX_CLASSES)] {
            let logits = spread([rows, classes], 1).to(&device).unwrap();
            let labels: Vec<u32> = (0..rows).map(|i| ((7 * i) % classes) as u32).collect();
            check(&logits, &Tensor::new(&labels, [rows], &device), "classes");
            let targets = random([rows, classes], 2, 0.0, 1.0).to(&device).unwrap();
            check(&logits, &targets, "targets");
        }
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let odd = [[1.0, nan, 2.0], [inf, 0.0, 1.0], [-inf, 0.0, 1.0], [-inf, -inf, -inf], [3e38, -3e38, 0.0]];
        let logits = Tensor::new(&odd.concat(), [5, 3], &device);
        check(&logits, &Tensor::new(&[0u32, 1, 0, 2, 7], [5], &device), "odd classes");
        let hot = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0], [nan, 0.0, 1.0]];
        check(&logits, &Tensor::new(&hot.concat(), [5, 3], &device), "odd targets");
        // Logits and labels that are parts of something larger.
        let whole = spread([9, 6], 3).to(&device).unwrap();
        let labels = Tensor::new(&[9u32, 1, 2, 3, 4, 5, 0, 1, 2], [9], &device);
        check(&whole.slice_axis(0, 2..6), &labels.slice_axis(0, 1..5), "slices");
    }
}

#[test]
fn mistakes_panic_at_the_line_that_makes_them() {
    let d = Device::cpu();
    let (x, sums) = (Tensor::zeros([4, 3], &d), Tensor::zeros([8], &d));
    let labels = |n: usize| Tensor::new(&vec![0u32; n], [n], &d);
    let message = |f: &dyn Fn() -> Tensor| common::panic_message(f);
    assert!(message(&|| cross_entropy_step(&x, &labels(3), 1.0, &sums)).contains("labels are classes"));
    assert!(message(&|| cross_entropy_step(&x, &labels(4), 1.0, &Tensor::zeros([6], &d))).contains("two halves"));
    let wide = Tensor::zeros([4, MAX_CLASSES + 1], &d);
    assert!(message(&|| cross_entropy_step(&wide, &labels(4), 1.0, &sums)).contains("a thread"));
    assert!(message(&|| Clock::new(&d).batch(&Tensor::zeros([3], &d), 2)).contains("expected u32"));
    assert!(message(&|| Clock::new(&d).batch(&labels(0), 2)).contains("at least one"));
}
