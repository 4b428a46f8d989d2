//! Fashion-MNIST with two convolutions, from `Sequential` to the test set: 333,526 parameters, about 92 % on images that
//! training has not seen.
//!
//! `cargo run --release --example fashion_mnist -- --device gpu`

mod common;

use std::time::Instant;

use clap::Parser;
use tilegrad::data::FashionMnist;
use tilegrad::nn::layers::{Conv2d, Dense, Dropout, Flatten, MaxPool2d};
use tilegrad::nn::{Activation, Adam, EarlyStopping, FitOptions, Metric, Sequential, SparseCategoricalCrossentropy};
use tilegrad::{Padding, Result};

fn main() -> std::process::ExitCode {
    common::exit_with(run(&common::Args::parse(), Instant::now()))
}

fn run(args: &common::Args, started: Instant) -> Result<()> {
    let device = args.device()?;
    let data = match &args.data {
        Some(folder) => FashionMnist::load_from(folder)?,
        None => FashionMnist::load()?,
    };
    let (all, test) = args.limited(data)?;
    let (train, validation) = all.split(0.8, args.seed);

    let mut model = Sequential::new([28, 28, 1])
        .add(Conv2d::new(32, 3).padding(Padding::Same).activation(Activation::Relu))
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(64, 3).padding(Padding::Same).activation(Activation::Relu))
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dense::new(100).activation(Activation::Relu))
        .add(Dropout::new(0.4))
        .add(Dense::new(10).activation(Activation::Softmax));
    model.build(&device, args.seed)?;
    println!("{}", model.summary()?);

    model.compile(Adam::default(), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    // Two epochs without a lower validation loss end training, and the best weights come back.
    let mut stop_early = EarlyStopping::new(2);
    let options = FitOptions::new()
        .epochs(args.epochs.unwrap_or(20))
        .batch_size(args.batch_size.unwrap_or(32))
        .validation(&validation)
        .seed(args.seed)
        .callback(&mut stop_early);
    let fitted = Instant::now();
    let history = model.fit(&train, options)?;
    let result = model.evaluate(&test)?;
    args.draw(&model, &history, &test, &result)?;
    args.report(&model, &history, &result, started, fitted)
}
