//! Handwritten digits of 8x8 pixels: the data is part of the crate, training takes seconds.
//!
//! `cargo run --release --example digits -- --device cpu`

mod common;

use std::time::Instant;

use clap::Parser;
use tilegrad::data::Digits;
use tilegrad::nn::layers::{Conv2d, Dense, Flatten, MaxPool2d};
use tilegrad::nn::{Activation, Adam, FitOptions, Metric, Sequential, SparseCategoricalCrossentropy};
use tilegrad::{Error, Result};

fn main() -> std::process::ExitCode {
    common::exit_with(run(&common::Args::parse(), Instant::now()))
}

fn run(args: &common::Args, started: Instant) -> Result<()> {
    if let Some(folder) = &args.data {
        return Err(Error::invalid("--data", "nothing: the digits are part of the crate", folder.display()));
    }
    let device = args.device()?;
    let (train, test) = args.limited(Digits::load())?;

    let mut model = Sequential::new([8, 8, 1])
        .add(Conv2d::new(32, 3).activation(Activation::Relu))
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dense::new(64).activation(Activation::Relu))
        .add(Dense::new(10).activation(Activation::Softmax));
    model.build(&device, args.seed)?;
    println!("{}", model.summary()?);

    model.compile(Adam::new(2e-3), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    let options = FitOptions::new()
        .epochs(args.epochs.unwrap_or(20))
        .batch_size(args.batch_size.unwrap_or(32))
        .validation_split(0.1)
        .seed(args.seed);
    let fitted = Instant::now();
    let history = model.fit(&train, options)?;
    let result = model.evaluate(&test)?;
    args.draw(&model, &history, &test, &result)?;
    args.report(&model, &history, &result, started, fitted)
}
