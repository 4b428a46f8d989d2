//! Few images, seen many ways: the same network on a few images of each class, with and without augmentation.
//!
//! The augmenting layers are the first of the model, run on the device, and do nothing outside training.
//!
//! `cargo run --release --example augmentation -- --device cpu`

mod common;

use clap::Parser;
use tilegrad::data::Mnist;
use tilegrad::nn::layers::Fill;
use tilegrad::prelude::*;

/// Data augmentation on a few images of MNIST
#[derive(Parser)]
struct Args {
    /// Device: auto, cpu, gpu, software, an index, or part of an adapter's name
    #[arg(long, default_value = "auto")]
    device: String,
    /// Images of each class
    #[arg(long, default_value_t = 20)]
    images: usize,
    /// Passes over them
    #[arg(long, default_value_t = 60)]
    epochs: usize,
    /// Decides weights, order, augmentation and which images
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

fn main() -> std::process::ExitCode {
    common::exit_with(run(&Args::parse()))
}

fn network(augment: bool) -> Sequential {
    let mut model = Sequential::new([28, 28, 1]);
    if augment {
        let black = Fill::Constant(0.0);
        model.push(RandomRotation::new(0.04).fill(black));
        model.push(RandomZoom::new(0.1).fill(black));
        model.push(RandomTranslation::new(0.1, 0.1).fill(black));
    }
    model
        .add(Conv2d::new(32, 3).activation(Activation::Relu))
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(64, 3).activation(Activation::Relu))
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dropout::new(0.4))
        .add(Dense::new(10).activation(Activation::Softmax))
}

fn run(args: &Args) -> Result<()> {
    let device = if args.device == "auto" { Device::auto()? } else { Device::named(&args.device)? };
    println!("device: {device}");
    let data = Mnist::load()?;
    let few = data.train.take_per_class(args.images, args.seed);
    println!("{few}");
    for augment in [false, true] {
        let mut model = network(augment);
        model.build(&device, args.seed)?;
        model.compile(Adam::new(0.001), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
        let options = FitOptions::new().epochs(args.epochs).batch_size(32).seed(args.seed).verbose(Verbose::Off);
        let history = model.fit(&few, options)?;
        let training = history.last().and_then(|epoch| epoch.accuracy).unwrap_or(f32::NAN);
        let test = model.evaluate(&data.test)?.accuracy.unwrap_or(f32::NAN);
        let name = if augment { "with augmentation" } else { "without" };
        println!("{name:<18} training {training:.4}   {} test images {test:.4}", data.test.len());
    }
    Ok(())
}
