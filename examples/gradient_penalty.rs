//! Second derivatives at work: a critic whose slope is part of its loss, as in WGAN-GP (Gulrajani et al. 2017).
//!
//! The critic `D` learns to tell points of a circle from normally distributed ones within it. Among functions of slope 1 the
//! largest `mean D(circle) - mean D(normal)` is how far the one has to be moved to become the other, which is known here:
//! the circle's radius less the mean radius of the others, `2 - 0.5 * sqrt(pi / 2)`, or 1.373. The penalty
//! `(|dD/dx| - 1)^2` holds the slope near 1. It has a gradient of `D` in it, so the weights' gradients are derivatives of a
//! derivative. What the critic finds is a little more, since slopes above 1 cost something and are not forbidden.
//!
//! `cargo run --release --example gradient_penalty`

use tilegrad::nn::{Adam, Initializer, Optimizer};
use tilegrad::{Device, Result, Rng, Shape, Tensor, no_grad};

const STEPS: u64 = 300;
const BATCH: usize = 256;
const HIDDEN: usize = 64;
/// How much the penalty counts, as in the paper.
const PENALTY: f32 = 10.0;

/// A weight and its optimizer's moments.
struct Weight {
    value: Tensor,
    moments: Vec<Tensor>,
}

impl Weight {
    fn new(shape: impl Into<Shape>, initializer: &Initializer, seed: u64, device: &Device) -> Weight {
        let shape = shape.into();
        let value = Tensor::new(&initializer.values(&shape, seed), shape, device).requires_grad();
        Weight { moments: vec![value.zeros_like(), value.zeros_like()], value }
    }
}

/// Points of the plane: on a circle of radius 2, normal with a deviation of 0.5, and between the two.
struct Points {
    circle: Tensor,
    normal: Tensor,
    between: Tensor,
}

impl Points {
    fn new(rng: &mut Rng, device: &Device) -> Points {
        let angle = Tensor::rand_uniform(0.0, std::f32::consts::TAU, [BATCH, 1], rng.next_key(), device);
        let circle = Tensor::concat(&[&angle.cos(), &angle.sin()], 1).affine(2.0, 0.0);
        let normal = Tensor::rand_normal(0.0, 0.5, [BATCH, 2], rng.next_key(), device);
        let share = Tensor::rand_uniform(0.0, 1.0, [BATCH, 1], rng.next_key(), device);
        let between = &normal + &(&share * &(&circle - &normal));
        Points { circle, normal, between }
    }
}

/// What is made small, and its parts.
struct Terms {
    loss: Tensor,
    distance: Tensor,
    penalty: Tensor,
}

/// `(N, 2) -> (N, 1)`. The activation is smooth: a piecewise linear one has no second derivative to learn from.
fn critic(x: &Tensor, w: &[Tensor]) -> Tensor {
    let hidden = (&x.matmul(&w[0]) + &w[1]).swish();
    let hidden = (&hidden.matmul(&w[2]) + &w[3]).swish();
    hidden.matmul(&w[4])
}

fn terms(w: &[Tensor], points: &Points) -> Terms {
    let x = points.between.requires_grad();
    // The gradient is a tensor like any other, recorded on the tape: it can be differentiated again.
    let slope = critic(&x, w).sum().grad(&[&x])[0].clone().expect("the critic depends on x");
    // A root has no derivative at 0.
    let norm = slope.square().sum_axes(&[1], false).affine(1.0, 1e-12).sqrt();
    let penalty = norm.affine(1.0, -1.0).square().mean();
    let distance = critic(&points.circle, w).mean().sub(&critic(&points.normal, w).mean());
    Terms { loss: penalty.affine(PENALTY, 0.0).sub(&distance), distance, penalty }
}

/// The slope of the loss along its gradient: by the tape, which is the gradient's norm, and by the losses at both sides.
fn slopes(weights: &[Weight], points: &Points) -> Result<(f32, f32)> {
    const STEP: f32 = 2e-3;
    let values: Vec<Tensor> = weights.iter().map(|w| w.value.clone()).collect();
    let gradients = terms(&values, points).loss.backward();
    let gradients: Vec<&Tensor> = values.iter().map(|w| gradients.get(w).expect("every weight takes part")).collect();
    let mut square = 0.0;
    for gradient in &gradients {
        square += gradient.square().sum().item()?;
    }
    let norm = square.sqrt();
    let loss_at = |step: f32| {
        let moved = |(w, gradient): (&Tensor, &&Tensor)| w + &gradient.affine(step / norm, 0.0);
        let moved: Vec<Tensor> = values.iter().zip(&gradients).map(moved).collect();
        terms(&moved, points).loss.item()
    };
    Ok((norm, (loss_at(STEP)? - loss_at(-STEP)?) / (2.0 * STEP)))
}

fn train(device: &Device) -> Result<f32> {
    println!("device: {device}");
    let (kernel, bias) = (Initializer::GlorotUniform, Initializer::Zeros);
    let weights = [
        Weight::new([2, HIDDEN], &kernel, 1, device),
        Weight::new([HIDDEN], &bias, 0, device),
        Weight::new([HIDDEN, HIDDEN], &kernel, 2, device),
        Weight::new([HIDDEN], &bias, 0, device),
        Weight::new([HIDDEN, 1], &kernel, 3, device),
    ];
    let optimizer = Adam::new(1e-2);
    let mut rng = Rng::new(7);
    let mut distance = 0.0;
    for step in 1..=STEPS {
        let points = Points::new(&mut rng, device);
        let values: Vec<Tensor> = weights.iter().map(|w| w.value.clone()).collect();
        let terms = terms(&values, &points);
        let gradients = terms.loss.backward();
        no_grad(|| {
            for w in &weights {
                let gradient = gradients.get(&w.value).expect("every weight takes part");
                optimizer.step(&step.into(), &w.value, gradient, &w.moments);
            }
        });
        if step == 1 || step % 60 == 0 {
            distance = terms.distance.item()?;
            let (loss, penalty) = (terms.loss.item()?, terms.penalty.item()?);
            println!("step {step:>3}: loss {loss:>7.4}, penalty {penalty:.4}, distance {distance:.4}");
        }
    }
    let (by_tape, by_differences) = slopes(&weights, &Points::new(&mut rng, device))?;
    println!(
        "slope of the loss along its gradient: {by_tape:.4} by the tape, {by_differences:.4} by finite differences"
    );
    assert!((by_tape - by_differences).abs() <= 0.01 * by_tape, "the two should agree");
    Ok(distance)
}

fn main() -> Result<()> {
    let on_cpu = train(&Device::cpu())?;
    match Device::gpu() {
        Ok(gpu) => {
            let on_gpu = train(&gpu)?;
            println!("distance: {on_cpu:.4} on the CPU, {on_gpu:.4} on the GPU, 1.373 exactly");
        }
        Err(error) => println!("distance: {on_cpu:.4}, 1.373 exactly; no second run: {error}"),
    }
    Ok(())
}
