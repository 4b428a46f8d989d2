//! Keras's functional style with one-hot labels: two small convolutions with swish, 203,068 parameters.
//!
//! `cargo run --release --example swish_net -- --device cpu`

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
    let x = Conv2d::new(3, 5).activation(Activation::Swish).call(&inputs);
    let x = Conv2d::new(6, 5).activation(Activation::Swish).call(&x);
    let x = Flatten::new().call(&x);
    let x = Dense::new(84).activation(Activation::Swish).call(&x);
    let outputs = Dense::new(10).activation(Activation::Softmax).call(&x);
    let mut model = Model::new(&inputs, &outputs);
    model.build(&device, args.seed)?;
    println!("{}", model.summary()?);

    // This loss takes labels as rows of zeros with a one; `fit` makes them of class numbers.
    model.compile(Adam::default(), CategoricalCrossentropy::new(), [Metric::Accuracy]);
    let options = FitOptions::new()
        .epochs(args.epochs.unwrap_or(10))
        .batch_size(args.batch_size.unwrap_or(64))
        .validation(&test)
        .seed(args.seed);
    let fitted = Instant::now();
    let history = model.fit(&train, options)?;
    let result = model.evaluate(&test)?;

    let five = test.take(5);
    let probabilities = model.predict(&five)?.to_vec::<f32>()?;
    println!("\nprobabilities of five images, and the truth");
    for (row, &label) in probabilities.chunks(10).zip(five.labels()) {
        let row: Vec<String> = row.iter().map(|p| format!("{p:.2}")).collect();
        println!("{}   {label}", row.join(" "));
    }
    args.draw(&model, &history, &test, &result)?;
    args.report(&model, &history, &result, started, fitted)
}
