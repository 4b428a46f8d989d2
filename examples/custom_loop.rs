//! Training without `fit`: a network of plain tensors, its loss, its gradients, and an optimizer step, all in sight.
//!
//! `cargo run --release --example custom_loop`

use tilegrad::data::Digits;
use tilegrad::data::shuffle::permutation;
use tilegrad::nn::{DeviceDataset, Initializer};
use tilegrad::ops::optimizer::{SgdStep, sgd_step};
use tilegrad::{Device, Result, Shape, Tensor, no_grad};

const BATCH: usize = 32;

/// Weights and the velocity of each; a leaf of the tape, updated in place.
struct Weight {
    value: Tensor,
    velocity: Tensor,
}

impl Weight {
    fn new(shape: impl Into<Shape>, initializer: &Initializer, seed: u64, device: &Device) -> Weight {
        let shape = shape.into();
        let value = Tensor::new(&initializer.values(&shape, seed), shape, device).requires_grad();
        Weight { velocity: value.zeros_like(), value }
    }
}

/// Two dense layers: `(N, 64) -> (N, 32) -> (N, 10)` logits.
fn forward(x: &Tensor, w: &[Weight; 4]) -> Tensor {
    let hidden = (&x.matmul(&w[0].value) + &w[1].value).relu();
    &hidden.matmul(&w[2].value) + &w[3].value
}

fn main() -> Result<()> {
    let device = Device::auto()?;
    println!("device: {device}");
    let data = Digits::load();
    let train = DeviceDataset::upload(&data.train, &device)?;
    let test = DeviceDataset::upload(&data.test, &device)?;
    let (kernel, bias) = (Initializer::GlorotUniform, Initializer::Zeros);
    let weights = [
        Weight::new([64, 32], &kernel, 1, &device),
        Weight::new([32], &bias, 0, &device),
        Weight::new([32, 10], &kernel, 2, &device),
        Weight::new([10], &bias, 0, &device),
    ];
    let rule = SgdStep { lr: 0.05, momentum: 0.9, nesterov: true, weight_decay: 0.0 };

    for epoch in 0..20 {
        // The order is uploaded once an epoch; a batch is a slice of it, gathered on the device.
        let order = Tensor::new(&permutation(train.len(), epoch), [train.len()], &device);
        let mut total = Tensor::scalar(0.0, &device);
        for start in (0..train.len()).step_by(BATCH) {
            let (x, labels) = train.batch(&order.slice(&[start..train.len().min(start + BATCH)]));
            let losses = forward(&x.flatten_from(1), &weights).cross_entropy(&labels);
            let gradients = losses.mean().backward();
            for w in &weights {
                let gradient = gradients.get(&w.value).expect("every weight takes part");
                sgd_step(&w.value, gradient, Some(&w.velocity), &rule);
            }
            // Added up on the device; reading it each step would make the host wait.
            total = no_grad(|| &total + &losses.sum());
        }
        println!("epoch {:>2}: loss {:.4}", epoch + 1, total.item()? / train.len() as f32);
    }

    let all = Tensor::new(&(0..test.len() as u32).collect::<Vec<_>>(), [test.len()], &device);
    let (x, labels) = test.batch(&all);
    let correct = no_grad(|| forward(&x.flatten_from(1), &weights).correct(&labels).mean());
    println!("test accuracy {:.4}", correct.item()?);
    Ok(())
}
