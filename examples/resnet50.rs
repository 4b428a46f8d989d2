//! ResNet-50 on colour images of 224 by 224 pixels: predictions and one training step on each device, and how far the devices
//! are apart. Weights are random: it is about size and speed.
//!
//! `cargo run --release --example resnet50`

mod common;

use std::time::Instant;

use clap::Parser;
use tilegrad::nn::models::ResNet50;
use tilegrad::prelude::*;

/// One training step of ResNet-50 on each device.
#[derive(Parser)]
struct Options {
    /// Images in the batch.
    #[arg(long, default_value_t = 2)]
    batch: usize,
    /// Pixels along a side.
    #[arg(long, default_value_t = 224)]
    size: usize,
}

fn main() -> std::process::ExitCode {
    common::exit_with(run(Options::parse()))
}

fn run(Options { batch, size }: Options) -> Result<()> {
    let cpu = Device::cpu();
    println!("{}", ResNet50::new().input([size, size, 3]).build().summary()?);
    let mut rng = Rng::new(7);
    let x = Tensor::rand_uniform(-1.0, 1.0, [batch, size, size, 3], rng.next_key(), &cpu);
    let y = Tensor::new(&(0..batch as u32).collect::<Vec<_>>(), [batch], &cpu);

    let mut reference: Option<Vec<f32>> = None;
    let gpu = Device::auto()?;
    for device in if gpu == cpu { vec![cpu.clone()] } else { vec![cpu.clone(), gpu] } {
        let start = Instant::now();
        let mut model = ResNet50::new().input([size, size, 3]).build();
        model.build(&device, 42)?;
        model.compile(Sgd::new(0.01), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
        let built = start.elapsed();

        let (x, y) = (x.to(&device)?, y.to(&device)?);
        let start = Instant::now();
        let output: Vec<f32> = model.predict(&x)?.to_vec()?;
        let predicted = start.elapsed();
        let start = Instant::now();
        let loss = model.train_on_batch(&x, &y)?.loss;
        println!("{device}");
        println!("  build {built:.2?}, forward {predicted:.2?}, step {:.2?}, loss {loss:.5}", start.elapsed());
        match &reference {
            None => reference = Some(output),
            Some(want) => {
                let far = output.iter().zip(want).map(|(a, b)| (a - b).abs() / b).fold(0.0, f32::max);
                println!("  probabilities are at most {far:.1e} of their size away from the CPU's");
            }
        }
    }
    Ok(())
}
