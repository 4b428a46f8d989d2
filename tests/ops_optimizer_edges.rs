//! Optimizer steps at the edges: NaN, infinity and zeros of either sign on the GPU as on the CPU, and arenas of nothing.

mod common;

use common::devices;
use tilegrad::ops::optimizer::{
    AdadeltaStep, AdagradStep, AdamStep, AdamaxStep, LionStep, RmspropStep, SgdStep, adadelta_step, adagrad_step,
    adam_step, adamax_step, lion_step, rmsprop_step, sgd_step,
};
use tilegrad::{Device, Tensor};

/// A name, how many states there are, and a step of weights, gradients and states.
type Rule = (&'static str, usize, fn(&Tensor, &Tensor, &[Tensor]));

const SGD: SgdStep = SgdStep { lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.01 };
const RMSPROP: RmspropStep = RmspropStep {
    lr: 0.1,
    rho: 0.9,
    momentum: 0.9,
    nesterov: false,
    epsilon: 1e-7,
    epsilon_in_root: true,
    weight_decay: 0.01,
};

const RULES: [Rule; 11] = [
    ("sgd", 0, |w, g, _| sgd_step(w, g, None, &SGD)),
    ("sgd with momentum", 1, |w, g, s| sgd_step(w, g, Some(&s[0]), &SGD)),
    ("adam", 2, |w, g, s| adam_step(w, g, &s[0], &s[1], None, &AdamStep::default())),
    ("amsgrad", 3, |w, g, s| adam_step(w, g, &s[0], &s[1], Some(&s[2]), &AdamStep::default())),
    ("rmsprop", 1, |w, g, s| rmsprop_step(w, g, &s[0], None, None, &RMSPROP)),
    ("rmsprop with momentum", 2, |w, g, s| rmsprop_step(w, g, &s[0], None, Some(&s[1]), &RMSPROP)),
    ("centered rmsprop", 2, |w, g, s| rmsprop_step(w, g, &s[0], Some(&s[1]), None, &RMSPROP)),
    ("adagrad", 1, |w, g, s| {
        let constants = AdagradStep { lr: 0.1, epsilon: 1e-7, epsilon_in_root: true, weight_decay: 0.0 };
        adagrad_step(w, g, &s[0], &constants);
    }),
    ("adadelta", 2, |w, g, s| {
        adadelta_step(w, g, &s[0], &s[1], &AdadeltaStep { lr: 1.0, rho: 0.9, epsilon: 1e-7, weight_decay: 0.0 });
    }),
    ("adamax", 2, |w, g, s| {
        let (lr, beta1, beta2, epsilon) = (0.1, 0.9, 0.99, 1e-7);
        let constants =
            AdamaxStep { lr, beta1, beta2, epsilon, epsilon_in_norm: false, t: 1.into(), weight_decay: 0.0 };
        adamax_step(w, g, &s[0], &s[1], &constants);
    }),
    ("lion", 1, |w, g, s| {
        lion_step(w, g, &s[0], &LionStep { lr: 0.1, beta1: 0.9, beta2: 0.99, weight_decay: 0.01 });
    }),
];

/// Every pair of a special weight and a special gradient; states start at 0, and then are what a first step makes of them.
fn stepped(rule: &Rule, device: &Device) -> Vec<Vec<f32>> {
    let special = [0.0, -0.0, 1.0, -1.0, 1e30, -1e30, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    let n = special.len() * special.len();
    let w: Vec<f32> = (0..n).map(|i| special[i / special.len()]).collect();
    let g: Vec<f32> = (0..n).map(|i| special[i % special.len()]).collect();
    let (w, g) = (Tensor::new(&w, [n], device), Tensor::new(&g, [n], device));
    let states: Vec<Tensor> = (0..rule.1).map(|_| Tensor::zeros([n], device)).collect();
    for _ in 0..2 {
        rule.2(&w, &g, &states);
    }
    [w].iter().chain(&states).map(|t| t.to_vec::<f32>().unwrap()).collect()
}

#[test]
fn special_values_pass_as_on_the_cpu() {
    for rule in &RULES {
        let want = stepped(rule, &Device::cpu());
        for device in devices() {
            for (t, (got, want)) in stepped(rule, &device).iter().zip(&want).enumerate() {
                for (i, (got, want)) in got.iter().zip(want).enumerate() {
                    let close = (got - want).abs() <= 1e-5 * want.abs() + 1e-9;
                    let same = got == want || close || (got.is_nan() && want.is_nan());
                    assert!(same, "{}, tensor {t}, element {i}: {got}, {want} wanted on {device}", rule.0);
                }
            }
        }
    }
}

#[test]
fn a_gap_of_the_arena_stays_zero() {
    for device in devices() {
        for (name, states, step) in &RULES {
            let zeros = || Tensor::zeros([5], &device);
            let w = zeros();
            let states: Vec<Tensor> = (0..*states).map(|_| zeros()).collect();
            (0..3).for_each(|_| step(&w, &zeros(), &states));
            assert_eq!(w.to_vec::<f32>().unwrap(), [0.0; 5], "{name} on {device}");
        }
    }
}

#[test]
fn an_empty_arena_is_no_special_case() {
    for device in devices() {
        for (_, states, step) in &RULES {
            let empty = || Tensor::zeros([0], &device);
            let w = empty();
            let states: Vec<Tensor> = (0..*states).map(|_| empty()).collect();
            step(&w, &empty(), &states);
            assert!(w.to_vec::<f32>().unwrap().is_empty());
        }
    }
}
