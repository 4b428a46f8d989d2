//! MNIST with three convolutions and RMSprop: 104,202 parameters, 99 % in five epochs.
//!
//! `cargo run --release --example mnist -- --device gpu`

mod common;

use std::time::Instant;

use clap::Parser;
use tilegrad::Result;
use tilegrad::data::Mnist;
use tilegrad::nn::layers::{Conv2d, Dense, Flatten, MaxPool2d};
use tilegrad::nn::{Activation, FitOptions, Metric, RmsProp, Sequential, SparseCategoricalCrossentropy};

fn main() -> std::process::ExitCode {
    common::exit_with(run(&common::Args::parse(), Instant::now()))
}

fn run(args: &common::Args, started: Instant) -> Result<()> {
    let device = args.device()?;
    let data = match &args.data {
        Some(folder) => Mnist::load_from(folder)?,
        None => Mnist::load()?,
    };
    let (train, test) = args.limited(data)?;

    let mut model = Sequential::new([28, 28, 1])
        .add(Conv2d::new(32, 3).activation(Activation::Relu))
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(64, 3).activation(Activation::Relu))
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(128, 3).activation(Activation::Relu))
        .add(Flatten::new())
        .add(Dense::new(10).activation(Activation::Softmax));
    model.build(&device, args.seed)?;
    println!("{}", model.summary()?);

    model.compile(RmsProp::default(), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    // All 60,000 images are for training here; the test set is only looked at, after each epoch.
    let options = FitOptions::new()
        .epochs(args.epochs.unwrap_or(5))
        .batch_size(args.batch_size.unwrap_or(64))
        .validation(&test)
        .seed(args.seed);
    let fitted = Instant::now();
    let history = model.fit(&train, options)?;
    let result = model.evaluate(&test)?;
    args.report(&model, &history, &result, started, fitted)
}
