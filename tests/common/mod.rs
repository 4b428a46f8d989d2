//! What the tests share: devices, random inputs, and [`check`], which holds an op to everything that must be true of it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::cell::Cell;
use std::sync::Once;

use tilegrad::{Device, Shape, Tensor};

/// The GPU that tests run on: the best adapter, lavapipe in CI. `None` only where there is no adapter and
/// `TILEGRAD_REQUIRE_GPU` is not set; it is said on stderr then.
pub fn gpu() -> Option<Device> {
    let required = std::env::var("TILEGRAD_REQUIRE_GPU").is_ok_and(|v| v == "1");
    match Device::gpu() {
        Ok(device) => Some(device),
        Err(error) if required => panic!("TILEGRAD_REQUIRE_GPU is set, and {error}"),
        Err(error) => {
            eprintln!("GPU half of the test left out: {error}");
            None
        }
    }
}

/// The CPU, and the GPU where there is one.
pub fn devices() -> Vec<Device> {
    [Some(Device::cpu()), gpu()].into_iter().flatten().collect()
}

/// Numbers that are the same on every run: a 64-bit linear congruential generator (Knuth's constants).
pub struct Lcg(u64);

impl Lcg {
    pub fn new(seed: u64) -> Lcg {
        Lcg(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1)
    }

    pub fn next_u32(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// Uniform in `low..high`.
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    pub fn vec(&mut self, n: usize, low: f32, high: f32) -> Vec<f32> {
        (0..n).map(|_| self.uniform(low, high)).collect()
    }
}

/// A CPU tensor of uniform random numbers in `low..high`.
pub fn random(shape: impl Into<Shape>, seed: u64, low: f32, high: f32) -> Tensor {
    let shape = shape.into();
    Tensor::new(&Lcg::new(seed).vec(shape.len(), low, high), shape, &Device::cpu())
}

/// A CPU tensor in -1..1 whose values are at least 0.05 apart from 0 and, for up to 40 of them, from each other: finite
/// differences don't step over the kinks of relu, abs and max.
pub fn spread(shape: impl Into<Shape>, seed: u64) -> Tensor {
    let shape = shape.into();
    let mut order: Vec<usize> = (0..shape.len()).collect();
    let mut lcg = Lcg::new(seed);
    for i in (1..order.len()).rev() {
        order.swap(i, lcg.next_u32() as usize % (i + 1));
    }
    let step = (2.0 / shape.len().max(1) as f32).max(0.002);
    let values: Vec<f32> = order.iter().map(|&i| (i as f32 + 0.5) * step - 1.0).collect();
    Tensor::new(
        &values.iter().map(|v| if v.abs() < 0.02 { 0.05 } else { *v }).collect::<Vec<_>>(),
        shape,
        &Device::cpu(),
    )
}

/// The tensor as a leaf, for functions that contain a gradient: itself where the caller made it one.
pub fn leaf(x: &Tensor) -> Tensor {
    if x.needs_grad() { x.clone() } else { x.requires_grad() }
}

/// Normalised mean squared error of `got` against `want`.
pub fn nmse(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len(), "lengths differ");
    let square = |v: f64| v * v;
    let error: f64 = got.iter().zip(want).map(|(g, w)| square(f64::from(*g) - f64::from(*w))).sum();
    let norm: f64 = want.iter().map(|w| square(f64::from(*w))).sum();
    if error == 0.0 { 0.0 } else { error / norm.max(1e-12) }
}

fn values(x: &Tensor) -> Vec<f32> {
    x.to_vec().expect("readback")
}

/// The same values in a buffer with another order of axes, so that the tensor is strided.
fn strided(x: &Tensor) -> Tensor {
    let back: Vec<isize> = (0..x.rank() as isize).rev().collect();
    x.permute(&back).contiguous().permute(&back)
}

/// Forward and, for each input, gradient under the cotangent `c` (or only forward, for an op without a gradient).
fn run(inputs: &[Tensor], f: &impl Fn(&[Tensor]) -> Tensor, c: Option<&Tensor>) -> (Tensor, Vec<Vec<f32>>) {
    let Some(c) = c else { return (f(inputs), Vec::new()) };
    let leaves: Vec<Tensor> = inputs.iter().map(Tensor::requires_grad).collect();
    let y = f(&leaves);
    let gradients = y.backward_with(c);
    let dx = leaves.iter().map(|x| gradients.get(x).map_or(vec![0.0; x.len()], values)).collect();
    (y.detach(), dx)
}

/// Holds a differentiable function of `f32` tensors to everything that must be true of it:
/// - its gradient on the CPU against finite differences, along random directions;
/// - forward and gradients on the GPU against the CPU's (normalised mean squared error up to 1e-7);
/// - the same result from strided inputs, on both devices;
/// - twice the gradient when the result is used twice.
#[track_caller]
pub fn check(name: &str, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    check_with(name, inputs, 1e-2, f);
}

/// [`check`] with another step for the finite differences.
#[track_caller]
pub fn check_with(name: &str, inputs: &[Tensor], step: f32, f: impl Fn(&[Tensor]) -> Tensor) {
    let c = random(f(inputs).shape(), 99, -1.0, 1.0);
    let (y, dx) = run(inputs, &f, Some(&c));
    let (y, cotangent) = (values(&y), values(&c));

    for seed in 0..3 {
        let directions: Vec<Tensor> =
            (0..).zip(inputs).map(|(i, x)| random(x.shape(), 1000 + 10 * seed + i, -1.0, 1.0)).collect();
        let at = |sign: f32| {
            let moved: Vec<Tensor> =
                inputs.iter().zip(&directions).map(|(x, d)| x.add(&d.affine(sign * step, 0.0))).collect();
            dot(&values(&f(&moved)), &cotangent)
        };
        let numeric = (at(1.0) - at(-1.0)) / (2.0 * f64::from(step));
        let analytic: f64 = dx.iter().zip(&directions).map(|(g, d)| dot(g, &values(d))).sum();
        let scale: f64 = dx.iter().zip(&directions).map(|(g, d)| dot_abs(g, &values(d))).sum::<f64>().max(1e-3);
        assert!(
            (numeric - analytic).abs() <= 2e-3 * scale,
            "{name}: gradient {analytic:.6} along direction {seed}, finite differences give {numeric:.6}"
        );
    }
    let twice = run(inputs, &|x: &[Tensor]| f(x).add(&f(x)), Some(&c)).1;
    for (i, (twice, once)) in twice.iter().zip(&dx).enumerate() {
        let doubled: Vec<f32> = once.iter().map(|g| 2.0 * g).collect();
        assert!(nmse(twice, &doubled) <= 1e-10, "{name}: gradient {i} of a reused input is not the sum");
    }
    compare(name, inputs, &f, Some(&c), &y, &dx);
}

/// The part of [`check`] for a function without a gradient: GPU against CPU, strided inputs.
#[track_caller]
pub fn check_forward(name: &str, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    let y = values(&f(inputs));
    compare(name, inputs, &f, None, &y, &[]);
}

#[track_caller]
fn compare(
    name: &str,
    inputs: &[Tensor],
    f: &impl Fn(&[Tensor]) -> Tensor,
    c: Option<&Tensor>,
    y: &[f32],
    dx: &[Vec<f32>],
) {
    for device in devices() {
        let there: Vec<Tensor> = inputs.iter().map(|x| x.to(&device).expect("upload")).collect();
        let c = c.map(|c| c.to(&device).expect("upload"));
        let shuffled: Vec<Tensor> = there.iter().map(strided).collect();
        for (kind, inputs) in [("contiguous", there), ("strided", shuffled)] {
            let (got_y, got_dx) = run(&inputs, f, c.as_ref());
            let error = nmse(&values(&got_y), y);
            assert!(error <= 1e-7, "{name}: forward of {kind} inputs on {device} is off by NMSE {error:.2e}");
            for (i, (got, want)) in got_dx.iter().zip(dx).enumerate() {
                let error = nmse(got, want);
                assert!(error <= 1e-7, "{name}: gradient {i} of {kind} inputs on {device} is off by NMSE {error:.2e}");
            }
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn dot_abs(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) * f64::from(*b)).abs()).sum()
}

/// The message of the panic that `f` must end in, from a line of the tests: mistakes in a tensor expression panic where the
/// expression stands.
#[track_caller]
pub fn panic_message<R>(f: impl FnOnce() -> R) -> String {
    let (message, place) = panic_and_place(f);
    assert!(place.starts_with("tests"), "panicked in {place}, not at the caller: {message}");
    message
}

/// The message of the panic that `f` must end in, and the file it comes from.
#[track_caller]
pub fn panic_and_place<R>(f: impl FnOnce() -> R) -> (String, String) {
    thread_local! {
        static PLACE: Cell<Option<String>> = const { Cell::new(None) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PLACE.set(info.location().map(|l| l.file().to_string()));
            print(info);
        }));
    });
    let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)) else { panic!("no panic") };
    let message = match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast::<&str>().map(|s| s.to_string()).unwrap_or_default(),
    };
    (message, PLACE.take().unwrap_or_default())
}
