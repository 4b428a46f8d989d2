//! Optimizer steps against the formulas in `f64`, GPU against CPU, views of arenas, packing.

mod common;

use common::{Lcg, devices, panic_and_place, panic_message};
use tilegrad::ops::optimizer::{
    AdadeltaStep, AdagradStep, AdamStep, AdamaxStep, Correction, LionStep, Nesterov, RmspropStep, SgdStep,
    adadelta_step, adagrad_step, adam_step, adamax_step, lion_step, rmsprop_step, sgd_step,
};
use tilegrad::ops::pack::{pack, pack_add};
use tilegrad::{Device, Tensor};

const N: usize = 1003;
const STEPS: usize = 12;
/// Elements before the arenas' own, so that they are views: whole groups of four, and not.
const BEFORE: [usize; 2] = [3, 4];

/// Runs `step` a few times over arenas on every device, and holds weights and states against `formula`, which updates one
/// element: gradient, `[weight, states ..]`, number of the step from 1.
fn trajectory(
    name: &str,
    states: usize,
    step: impl Fn(&Tensor, &[Tensor], &Tensor, usize),
    formula: impl Fn(f64, &mut [f64], usize),
) {
    let mut lcg = Lcg::new(1);
    let start = lcg.vec(N, -1.0, 1.0);
    let gradients: Vec<Vec<f32>> = (0..STEPS).map(|_| lcg.vec(N, -1.0, 1.0)).collect();
    let mut want: Vec<Vec<f64>> = start.iter().map(|w| [vec![f64::from(*w)], vec![0.0; states]].concat()).collect();
    for (t, g) in gradients.iter().enumerate() {
        want.iter_mut().zip(g).for_each(|(element, g)| formula(f64::from(*g), element, t + 1));
    }
    for (device, before) in devices().iter().flat_map(|d| BEFORE.map(|before| (d, before))) {
        let view = |values: &[f32]| {
            let whole = [vec![9.0; before], values.to_vec(), vec![9.0; 5]].concat();
            let whole = Tensor::new(&whole, [whole.len()], device);
            let part = whole.slice(&[before..before + N]);
            (whole, part)
        };
        let (whole, w) = view(&start);
        let s: Vec<Tensor> = (0..states).map(|_| view(&[0.0; N]).1).collect();
        for (t, g) in gradients.iter().enumerate() {
            step(&w, &s, &view(g).1, t + 1);
        }
        for (i, got) in [w].iter().chain(&s).enumerate() {
            for (got, want) in got.to_vec::<f32>().unwrap().iter().zip(&want) {
                let error = (f64::from(*got) - want[i]).abs();
                assert!(
                    error <= 2e-6 + 2e-5 * want[i].abs(),
                    "{name}, tensor {i}: {got}, {} wanted on {device}",
                    want[i]
                );
            }
        }
        let whole = whole.to_vec::<f32>().unwrap();
        let (front, back) = (&whole[..before], &whole[before + N..]);
        assert!(front.iter().chain(back).all(|v| *v == 9.0), "{name} writes past its view");
    }
}

#[test]
fn sgd() {
    for (momentum, nesterov, weight_decay) in [(0.9, false, 0.0), (0.9, true, 0.01)] {
        trajectory(
            "sgd with momentum",
            1,
            |w, s, g, _| sgd_step(w, g, Some(&s[0]), &SgdStep { lr: 0.1, momentum, nesterov, weight_decay }),
            |g, e, _| {
                let (lr, momentum) = (f64::from(0.1f32), f64::from(momentum));
                e[0] -= lr * f64::from(weight_decay) * e[0];
                e[1] = momentum * e[1] - lr * g;
                e[0] += if nesterov { momentum * e[1] - lr * g } else { e[1] };
            },
        );
    }
    let constants = SgdStep { lr: 0.1, momentum: 0.0, nesterov: false, weight_decay: 0.5 };
    trajectory("sgd", 0, |w, _, g, _| sgd_step(w, g, None, &constants), |g, e, _| e[0] -= 0.1 * (0.5 * e[0] + g));
}

#[test]
fn adam() {
    for amsgrad in [false, true] {
        let weight_decay = if amsgrad { 0.02 } else { 0.0 };
        trajectory(
            "adam",
            2 + amsgrad as usize,
            |w, s, g, t| {
                let constants = AdamStep { lr: 0.01, t: (t as u64).into(), weight_decay, ..AdamStep::default() };
                adam_step(w, g, &s[0], &s[1], s.get(2), &constants);
            },
            |g, e, t| {
                let (b1, b2) = (f64::from(0.9f32), f64::from(0.999f32));
                e[0] -= 0.01 * f64::from(weight_decay) * e[0];
                e[1] += (1.0 - b1) * (g - e[1]);
                e[2] += (1.0 - b2) * (g * g - e[2]);
                let second = if amsgrad {
                    e[3] = e[3].max(e[2]);
                    e[3]
                } else {
                    e[2]
                };
                let lr = 0.01 * (1.0 - b2.powi(t as i32)).sqrt() / (1.0 - b1.powi(t as i32));
                e[0] -= lr * e[1] / (second.sqrt() + 1e-7);
            },
        );
    }
}

#[test]
fn adam_with_corrected_moments() {
    // Algorithm 1 of the paper, with epsilons large enough to tell where they are added.
    for (amsgrad, epsilon_in_root) in [(false, 0.0), (false, 0.02f32), (true, 0.0)] {
        trajectory(
            &format!("adam with corrected moments {amsgrad} {epsilon_in_root}"),
            2 + amsgrad as usize,
            |w, s, g, t| {
                let (epsilon, correction) = (0.01, Correction::OfMoments);
                let constants = AdamStep {
                    lr: 0.01,
                    epsilon,
                    epsilon_in_root,
                    t: (t as u64).into(),
                    correction,
                    ..AdamStep::default()
                };
                adam_step(w, g, &s[0], &s[1], s.get(2), &constants);
            },
            |g, e, t| {
                let (b1, b2) = (f64::from(0.9f32), f64::from(0.999f32));
                e[1] = b1 * e[1] + (1.0 - b1) * g;
                e[2] = b2 * e[2] + (1.0 - b2) * g * g;
                let (mean, mut square) = (e[1] / (1.0 - b1.powi(t as i32)), e[2] / (1.0 - b2.powi(t as i32)));
                if amsgrad {
                    e[3] = e[3].max(square);
                    square = e[3];
                }
                e[0] -= 0.01 * mean / ((square + f64::from(epsilon_in_root)).sqrt() + 0.01);
            },
        );
    }
}

#[test]
fn nadam() {
    for nesterov in [Nesterov::Scheduled, Nesterov::Constant] {
        trajectory(
            &format!("nadam {nesterov:?}"),
            2,
            |w, s, g, t| {
                let correction = Correction::OfMoments;
                let constants = AdamStep {
                    lr: 0.01,
                    epsilon: 0.01,
                    t: (t as u64).into(),
                    correction,
                    nesterov,
                    ..AdamStep::default()
                };
                adam_step(w, g, &s[0], &s[1], None, &constants);
            },
            |g, e, t| {
                let (b1, b2) = (f64::from(0.9f32), f64::from(0.999f32));
                e[1] = b1 * e[1] + (1.0 - b1) * g;
                e[2] = b2 * e[2] + (1.0 - b2) * g * g;
                let share = |t: usize| match nesterov {
                    Nesterov::Scheduled => b1 * (1.0 - 0.5 * 0.96f64.powi(t as i32)),
                    _ => b1,
                };
                let product = |t: usize| (1..=t).map(share).product::<f64>();
                let mean = share(t + 1) * e[1] / (1.0 - product(t + 1)) + (1.0 - share(t)) * g / (1.0 - product(t));
                e[0] -= 0.01 * mean / ((e[2] / (1.0 - b2.powi(t as i32))).sqrt() + 0.01);
            },
        );
    }
}

#[test]
fn a_late_step_is_no_slower_and_needs_no_correction() {
    let device = Device::cpu();
    let moved = |nesterov, t: u64| {
        let one = || Tensor::ones([1], &device);
        let (w, m, v) = (Tensor::zeros([1], &device), one(), one());
        let constants = AdamStep { lr: 0.5, epsilon: 0.0, t: t.into(), nesterov, ..AdamStep::default() };
        adam_step(&w, &one(), &m, &v, None, &constants);
        w.item().unwrap()
    };
    for nesterov in [Nesterov::No, Nesterov::Scheduled, Nesterov::Constant] {
        let far = moved(nesterov, u64::MAX);
        assert!((far + 0.5).abs() < 1e-6, "{nesterov:?} moves by {far}");
    }
    assert_eq!(moved(Nesterov::No, 0), -0.5);
}

#[test]
fn rmsprop() {
    let plain = RmspropStep {
        lr: 0.01,
        rho: 0.9,
        momentum: 0.0,
        nesterov: false,
        epsilon: 1e-3,
        epsilon_in_root: true,
        weight_decay: 0.01,
    };
    for (centered, momentum, nesterov, epsilon_in_root) in [
        (false, None, false, true),
        (false, None, false, false),
        (false, Some(0.9f32), false, true),
        (false, Some(0.9), true, true),
        (true, None, false, true),
        (true, Some(0.5), false, true),
        (true, Some(0.5), true, false),
    ] {
        let last = 2 + centered as usize;
        let constants = RmspropStep { momentum: momentum.unwrap_or(0.0), nesterov, epsilon_in_root, ..plain };
        trajectory(
            &format!("rmsprop {centered} {momentum:?} {nesterov} {epsilon_in_root}"),
            last - 1 + momentum.is_some() as usize,
            |w, s, g, _| {
                let average = s.get(1).filter(|_| centered);
                rmsprop_step(w, g, &s[0], average, s.get(last - 1), &constants);
            },
            |g, e, _| {
                let rho = f64::from(0.9f32);
                e[0] -= 0.01 * 0.01 * e[0];
                e[1] = rho * e[1] + (1.0 - rho) * g * g;
                let mut square = e[1];
                if centered {
                    e[2] = rho * e[2] + (1.0 - rho) * g;
                    square -= e[2] * e[2];
                }
                let root = if epsilon_in_root { (square + 1e-3).sqrt() } else { square.sqrt() + 1e-3 };
                let increment = 0.01 * g / root;
                match momentum {
                    Some(momentum) => {
                        e[last] = f64::from(momentum) * e[last] + increment;
                        e[0] -= if nesterov { f64::from(momentum) * e[last] + increment } else { e[last] };
                    }
                    None => e[0] -= increment,
                }
            },
        );
    }
}

#[test]
fn a_variance_that_rounds_below_0_does_not_make_nan() {
    let constants = RmspropStep {
        lr: 0.01,
        rho: 0.9,
        momentum: 0.0,
        nesterov: false,
        epsilon: 1e-7,
        epsilon_in_root: true,
        weight_decay: 0.0,
    };
    for device in devices() {
        let (w, v, mean) = (Tensor::zeros([9], &device), Tensor::zeros([9], &device), Tensor::zeros([9], &device));
        let gradients: Vec<f32> = (0..9).map(|i| 1000.0 + 77.7 * i as f32).collect();
        for _ in 0..300 {
            rmsprop_step(&w, &Tensor::new(&gradients, [9], &device), &v, Some(&mean), None, &constants);
        }
        assert!(w.to_vec::<f32>().unwrap().iter().all(|w| w.is_finite()), "on {device}");
    }
}

#[test]
fn adagrad() {
    for epsilon_in_root in [true, false] {
        trajectory(
            &format!("adagrad {epsilon_in_root}"),
            1,
            |w, s, g, _| {
                let constants = AdagradStep { lr: 0.1, epsilon: 1e-2, epsilon_in_root, weight_decay: 0.01 };
                adagrad_step(w, g, &s[0], &constants);
            },
            |g, e, _| {
                let lr = f64::from(0.1f32);
                e[0] -= lr * 0.01 * e[0];
                e[1] += g * g;
                e[0] -= lr * g / if epsilon_in_root { (e[1] + 1e-2).sqrt() } else { e[1].sqrt() + 1e-2 };
            },
        );
    }
}

#[test]
fn adadelta() {
    trajectory(
        "adadelta",
        2,
        |w, s, g, _| {
            let constants = AdadeltaStep { lr: 0.5, rho: 0.9, epsilon: 1e-2, weight_decay: 0.01 };
            adadelta_step(w, g, &s[0], &s[1], &constants);
        },
        |g, e, _| {
            let rho = f64::from(0.9f32);
            e[0] -= 0.5 * 0.01 * e[0];
            e[1] = rho * e[1] + (1.0 - rho) * g * g;
            let change = ((e[2] + 1e-2) / (e[1] + 1e-2)).sqrt() * g;
            e[2] = rho * e[2] + (1.0 - rho) * change * change;
            e[0] -= 0.5 * change;
        },
    );
}

#[test]
fn adamax() {
    for epsilon_in_norm in [false, true] {
        trajectory(
            &format!("adamax {epsilon_in_norm}"),
            2,
            |w, s, g, t| {
                let (lr, beta1, beta2, epsilon, t) = (0.01, 0.9, 0.99, 0.01, t as u64);
                let constants =
                    AdamaxStep { lr, beta1, beta2, epsilon, epsilon_in_norm, t: t.into(), weight_decay: 0.0 };
                adamax_step(w, g, &s[0], &s[1], &constants);
            },
            |g, e, t| {
                let (b1, b2) = (f64::from(0.9f32), f64::from(0.99f32));
                let [in_norm, after] = if epsilon_in_norm { [0.01, 0.0] } else { [0.0, 0.01] };
                e[1] = b1 * e[1] + (1.0 - b1) * g;
                e[2] = (b2 * e[2]).max(g.abs() + in_norm);
                e[0] -= 0.01 * e[1] / (1.0 - b1.powi(t as i32)) / (e[2] + after);
            },
        );
    }
}

#[test]
fn lion() {
    trajectory(
        "lion",
        1,
        |w, s, g, _| lion_step(w, g, &s[0], &LionStep { lr: 0.01, beta1: 0.9, beta2: 0.99, weight_decay: 0.1 }),
        |g, e, _| {
            let (b1, b2) = (f64::from(0.9f32), f64::from(0.99f32));
            e[0] -= 0.01 * 0.1 * e[0];
            let direction = b1 * e[1] + (1.0 - b1) * g;
            e[1] = b2 * e[1] + (1.0 - b2) * g;
            e[0] -= 0.01 * direction.signum();
        },
    );
    for device in devices() {
        let tensor = |values: [f32; 6]| Tensor::new(&values, [6], &device);
        let (w, m) = (tensor([1.0; 6]), tensor([0.0; 6]));
        let g = tensor([0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-30]);
        lion_step(&w, &g, &m, &LionStep { lr: 0.5, beta1: 0.9, beta2: 0.99, weight_decay: 0.0 });
        let w = w.to_vec::<f32>().unwrap();
        assert_eq!((&w[..2], &w[3..]), (&[1.0, 1.0][..], &[0.5, 1.5, 0.5][..]), "on {device}");
        assert!(w[2].is_nan(), "on {device}");
    }
}

#[test]
fn tensors_are_packed_into_an_arena() {
    for device in devices() {
        // More than one launch, pieces of more than one workgroup, an empty one, a strided one, one at an odd offset.
        let lens = [1usize, 300, 7, 0, 1025, 64, 5, 256, 12];
        let mut offset = 2;
        let (mut tensors, mut offsets, mut want) = (Vec::new(), Vec::new(), vec![-1.0; 2]);
        for (i, len) in lens.into_iter().enumerate() {
            let values = Lcg::new(i as u64).vec(len, 0.0, 1.0);
            let padded = [vec![9.0], values.clone()].concat();
            tensors.push(match i {
                8 => {
                    let swapped: Vec<f32> = (0..12).map(|k| values[k % 4 * 3 + k / 4]).collect();
                    Tensor::new(&swapped, [3, 4], &device).transpose()
                }
                _ => Tensor::new(&padded, [len + 1], &device).slice(&[1..len + 1]),
            });
            offsets.push(offset);
            want.extend(values);
            want.push(-1.0);
            offset += len + 1;
        }
        let arena = Tensor::full(-1.0, [offset], &device);
        pack(&tensors.iter().collect::<Vec<_>>(), &arena, &offsets);
        assert_eq!(arena.to_vec::<f32>().unwrap(), want, "on {device}");
        pack_add(&tensors.iter().collect::<Vec<_>>(), &arena, &offsets);
        let twice: Vec<f32> = want.iter().map(|&v| if v == -1.0 { v } else { 2.0 * v }).collect();
        assert_eq!(arena.to_vec::<f32>().unwrap(), twice, "on {device}");
        pack(&[], &arena, &[]);
        // Whole groups of four, and one that is not, in between.
        let rows = Tensor::new(&(0..40).map(|v| v as f32).collect::<Vec<_>>(), [40], &device);
        let target = Tensor::full(-1.0, [40], &device);
        pack(&[&rows.slice(&[4..12]), &rows.slice(&[12..15]), &rows.slice(&[16..32])], &target, &[0, 9, 16]);
        let want: Vec<f32> = (0..40)
            .map(|i| match i {
                0..=7 => i as f32 + 4.0,
                9..12 => i as f32 + 3.0,
                16..32 => i as f32,
                _ => -1.0,
            })
            .collect();
        assert_eq!(target.to_vec::<f32>().unwrap(), want, "on {device}");
        // Nine parts of one buffer, and of one each: more than a launch takes.
        let parts: Vec<Tensor> = (0..9).map(|i| rows.slice(&[4 * i..4 * i + 3])).collect();
        let own: Vec<Tensor> = parts.iter().map(|part| part.affine(2.0, 0.0)).collect();
        let target = Tensor::full(-1.0, [72], &device);
        let both: Vec<&Tensor> = parts.iter().chain(&own).collect();
        pack(&both, &target, &(0..18).map(|i| 4 * i).collect::<Vec<_>>());
        let want = |i: usize| match (i % 4, i % 36) {
            (3, _) => -1.0,
            (_, k) => k as f32 * if i < 36 { 1.0 } else { 2.0 },
        };
        assert_eq!(target.to_vec::<f32>().unwrap(), (0..72).map(want).collect::<Vec<_>>(), "on {device}");
        pack(&[&Tensor::full(5.0, [2], &device)], &arena.slice(&[4..6]), &[0]);
        assert_eq!(arena.to_vec::<f32>().unwrap()[4..6], [5.0, 5.0]);
    }
}

#[test]
fn nan_passes_through_maxima() {
    for device in devices() {
        let tensor = || Tensor::zeros([2], &device);
        let (w, m, v, largest) = (tensor(), tensor(), tensor(), tensor());
        let step = AdamStep { lr: 0.1, ..AdamStep::default() };
        adam_step(&w, &Tensor::new(&[f32::NAN, 1.0], [2], &device), &m, &v, Some(&largest), &step);
        for t in [&w, &largest] {
            let values = t.to_vec::<f32>().unwrap();
            assert!(values[0].is_nan() && !values[1].is_nan(), "{values:?} on {device}");
        }
        adam_step(&w, &Tensor::ones([2], &device), &m, &v, Some(&largest), &step);
        assert!(largest.to_vec::<f32>().unwrap()[0].is_nan());

        let (w, m, u) = (tensor(), tensor(), tensor());
        let (lr, beta1, beta2, epsilon) = (0.1, 0.9, 0.999, 1e-7);
        let step = AdamaxStep { lr, beta1, beta2, epsilon, epsilon_in_norm: false, t: 1.into(), weight_decay: 0.0 };
        adamax_step(&w, &Tensor::new(&[f32::NAN, 1.0], [2], &device), &m, &u, &step);
        adamax_step(&w, &Tensor::ones([2], &device), &m, &u, &step);
        let values = u.to_vec::<f32>().unwrap();
        assert!(values[0].is_nan() && values[1] == 1.0, "{values:?} on {device}");
    }
}

#[test]
fn a_weight_that_was_stepped_is_refused_by_backward() {
    let d = Device::cpu();
    let w = Tensor::ones([2], &d).requires_grad();
    let loss = w.mul(&w).sum();
    let constants = SgdStep { lr: 0.1, momentum: 0.0, nesterov: false, weight_decay: 0.0 };
    sgd_step(&w, &Tensor::ones([2], &d), None, &constants);
    assert!(panic_and_place(|| loss.backward()).0.contains("updated in place"));
}

#[test]
fn mistakes_say_what_clashes() {
    let d = Device::cpu();
    let (w, g) = (Tensor::ones([4], &d), Tensor::ones([3], &d));
    let constants = SgdStep { lr: 0.1, momentum: 0.0, nesterov: false, weight_decay: 0.0 };
    assert_eq!(
        panic_message(|| sgd_step(&w, &g, None, &constants)),
        "sgd_step: grads and params differ in length\n  params: [4]\n  grads: [3]"
    );
    let adagrad = AdagradStep { lr: 0.1, epsilon: 1e-7, epsilon_in_root: true, weight_decay: 0.0 };
    assert_eq!(
        panic_message(|| adagrad_step(&w, &Tensor::ones([4], &d), &g, &adagrad)),
        "adagrad_step: state and params differ in length\n  params: [4]\n  state: [3]"
    );
    let lion = LionStep { lr: 0.1, beta1: 0.9, beta2: 0.99, weight_decay: 0.0 };
    let bytes = Tensor::new(&[0u32; 4], [4], &d);
    assert_eq!(
        panic_message(|| lion_step(&w, &bytes, &Tensor::ones([4], &d), &lion)),
        "lion_step: grads are u32, expected f32\n  params: [4]\n  grads: [4]"
    );
    assert_eq!(
        panic_message(|| pack(&[&g, &g], &w, &[0, 2])),
        "pack: tensor 1 ends at element 5, past the arena\n  tensor: [3]\n  arena: [4]"
    );
    assert_eq!(panic_message(|| pack(&[&g], &w, &[0, 2])), "pack: each tensor has one offset (1 tensors, 2 offsets)");
}
