//! The MNIST network of `mnist` without its poolings: images stay large, and the last layer has most of the 712,202 parameters.
//!
//! `cargo run --release --example no_max_pool -- --device cpu`

mod common;

use std::time::Instant;

use clap::Parser;
use tilegrad::data::Mnist;
use tilegrad::prelude::*;

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

    let inputs = Input::new([28, 28, 1]);
    let x = Conv2d::new(32, 3).activation(Activation::Relu).call(&inputs);
    let x = Conv2d::new(64, 3).activation(Activation::Relu).call(&x);
    let x = Conv2d::new(128, 3).activation(Activation::Relu).call(&x);
    let x = Flatten::new().call(&x);
    let outputs = Dense::new(10).activation(Activation::Softmax).call(&x);
    let mut model = Model::new(&inputs, &outputs);
    model.build(&device, args.seed)?;
    println!("{}", model.summary()?);

    model.compile(RmsProp::default(), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    let options = FitOptions::new()
        .epochs(args.epochs.unwrap_or(5))
        .batch_size(args.batch_size.unwrap_or(64))
        .validation(&test)
        .seed(args.seed);
    let fitted = Instant::now();
    let history = model.fit(&train, options)?;
    let result = model.evaluate(&test)?;
    args.draw(&model, &history, &test, &result)?;
    args.report(&model, &history, &result, started, fitted)
}
