//! Optimizer steps against the formulas in `f64`, GPU against CPU, views of arenas, packing.

mod common;

use common::{Lcg, devices, panic_and_place, panic_message};
use tilegrad::ops::optimizer::{AdamStep, RmspropStep, SgdStep, adam_step, pack, rmsprop_step, sgd_step};
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
                let t = t as u64;
                let constants = AdamStep { lr: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, t, weight_decay };
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
fn rmsprop() {
    for (centered, momentum) in [(false, None), (false, Some(0.9f32)), (true, None), (true, Some(0.5))] {
        let last = 2 + centered as usize;
        trajectory(
            &format!("rmsprop {centered} {momentum:?}"),
            last - 1 + momentum.is_some() as usize,
            |w, s, g, _| {
                let momentum_of = momentum.unwrap_or(0.0);
                let constants =
                    RmspropStep { lr: 0.01, rho: 0.9, momentum: momentum_of, epsilon: 1e-3, weight_decay: 0.01 };
                rmsprop_step(w, g, &s[0], s.get(1).filter(|_| centered), s.get(last - 1), &constants);
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
                let increment = 0.01 * g / (square + 1e-3).sqrt();
                match momentum {
                    Some(momentum) => {
                        e[last] = f64::from(momentum) * e[last] + increment;
                        e[0] -= e[last];
                    }
                    None => e[0] -= increment,
                }
            },
        );
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
        pack(&[&Tensor::full(5.0, [2], &device)], &arena.slice(&[4..6]), &[0]);
        assert_eq!(arena.to_vec::<f32>().unwrap()[4..6], [5.0, 5.0]);
    }
}

#[test]
fn nan_passes_through_amsgrad() {
    for device in devices() {
        let tensor = || Tensor::zeros([2], &device);
        let (w, m, v, largest) = (tensor(), tensor(), tensor(), tensor());
        let step = AdamStep { lr: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, t: 1, weight_decay: 0.0 };
        adam_step(&w, &Tensor::new(&[f32::NAN, 1.0], [2], &device), &m, &v, Some(&largest), &step);
        for t in [&w, &largest] {
            let values = t.to_vec::<f32>().unwrap();
            assert!(values[0].is_nan() && !values[1].is_nan(), "{values:?} on {device}");
        }
        adam_step(&w, &Tensor::ones([2], &device), &m, &v, Some(&largest), &step);
        assert!(largest.to_vec::<f32>().unwrap()[0].is_nan());
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
    assert_eq!(
        panic_message(|| pack(&[&g, &g], &w, &[0, 2])),
        "pack: tensor 1 ends at element 5, past the arena\n  tensor: [3]\n  arena: [4]"
    );
}
