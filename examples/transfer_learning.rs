//! Transfer learning: a base that has learned one data set helps with another of which there are few images.
//!
//! 1. A network learns the digits 0 to 4 from thousands of images.
//! 2. Its convolutions, frozen, get a new head for 5 to 9, of each of which it sees a handful.
//! 3. All of it is fine-tuned at a small rate.
//!
//! The same network without a past, trained on the same handful, is what to compare with.
//!
//! `cargo run --release --example transfer_learning -- --device cpu`

mod common;

use clap::Parser;
use tilegrad::data::Mnist;
use tilegrad::prelude::*;

/// Transfer learning on MNIST
#[derive(Parser)]
struct Args {
    /// Device: auto, cpu, gpu, software, an index, or part of an adapter's name
    #[arg(long, default_value = "auto")]
    device: String,
    /// Images of each new class
    #[arg(long, default_value_t = 10)]
    images: usize,
    /// Passes over the first data set
    #[arg(long, default_value_t = 1)]
    epochs: usize,
    /// Decides weights, order and which images
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

fn main() -> std::process::ExitCode {
    common::exit_with(run(&Args::parse()))
}

/// The part of the network that finds features.
fn base() -> Sequential {
    let conv = |filters| Conv2d::new(filters, 3).padding(Padding::Same).activation(Activation::Relu);
    Sequential::new([28, 28, 1])
        .named("base")
        .add(conv(32))
        .add(MaxPool2d::new(2))
        .add(conv(64))
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
}

/// A base under a new head for five classes.
fn classifier(base: &Model, device: &Device, seed: u64) -> Result<Model> {
    let inputs = Input::new([28, 28, 1]);
    let x = base.call(&inputs);
    let outputs = Dense::new(5).activation(Activation::Softmax).call(&x);
    let mut model = Model::new(&inputs, &outputs);
    model.build(device, seed)?;
    Ok(model)
}

fn train(model: &mut Model, data: &Dataset, epochs: usize, rate: f32, verbose: Verbose) -> Result<()> {
    model.compile(Adam::new(rate), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    model.fit(data, FitOptions::new().epochs(epochs).batch_size(32).verbose(verbose))?;
    Ok(())
}

fn run(args: &Args) -> Result<()> {
    let device = if args.device == "auto" { Device::auto()? } else { Device::named(&args.device)? };
    println!("device: {device}");
    let data = Mnist::load()?;
    let (known, new) = ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9]);
    let few = data.train.only_classes(&new).take_per_class(args.images, args.seed);
    let test = data.test.only_classes(&new);
    println!("new: {few}\n");

    let mut base = base();
    base.build(&device, args.seed)?;
    let mut teacher = classifier(&base, &device, args.seed)?;
    train(&mut teacher, &data.train.only_classes(&known), args.epochs, 0.001, Verbose::Auto)?;
    let accuracy = |model: &mut Model| Ok::<f32, Error>(model.evaluate(&test)?.accuracy.unwrap_or(f32::NAN));

    // Only the head learns: the base keeps what it knows.
    base.trainable(false);
    let mut model = classifier(&base, &device, args.seed + 1)?;
    println!("\n{}\n", model.summary()?);
    train(&mut model, &few, 60, 0.003, Verbose::Off)?;
    let frozen = accuracy(&mut model)?;

    // Then all of it, in steps so small that little is forgotten.
    base.trainable(true);
    train(&mut model, &few, 30, 0.0001, Verbose::Off)?;
    let tuned = accuracy(&mut model)?;

    let mut beginner = classifier(&self::base(), &device, args.seed + 1)?;
    train(&mut beginner, &few, 90, 0.001, Verbose::Off)?;
    let scratch = accuracy(&mut beginner)?;

    println!("test accuracy on {} images of the new classes", test.len());
    println!("  from scratch            {scratch:.4}");
    println!("  frozen base, new head   {frozen:.4}");
    println!("  fine-tuned              {tuned:.4}");
    Ok(())
}
