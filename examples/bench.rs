//! Times whole training steps and inference of the example networks, on made-up images.
//!
//! `cargo run --release --example bench -- --device software --model fashion_cnn --batch 32,128 --steps 40`
//!
//! Training goes through `fit`, as a user's does: batches gathered on the device, loss and accuracy accumulated there. A
//! figure is the median over epochs of ten steps, the first epoch left out.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use serde::Serialize;
use tilegrad::data::Dataset;
use tilegrad::nn::layers::{Conv2d, Dense, Dropout, Flatten, MaxPool2d};
use tilegrad::nn::{
    Activation, Adam, DeviceDataset, FitOptions, Metric, RmsProp, Sequential, SparseCategoricalCrossentropy, Verbose,
};
use tilegrad::{Device, Error, Padding, Result, Tensor};

#[derive(Parser)]
#[command(about = "Times training steps and inference of the example networks")]
struct Args {
    /// Device: auto, cpu, gpu, software, an index, or part of an adapter's name
    #[arg(long, default_value = "auto")]
    device: String,
    /// Networks, separated by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    model: Vec<Net>,
    /// Batch sizes, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "32,128")]
    batch: Vec<usize>,
    /// Steps to time, rounded up to tens
    #[arg(long, default_value_t = 30)]
    steps: usize,
    /// Writes the rows here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Prints the GPU's own time of each kernel of a training step, too
    #[arg(long)]
    profile: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Net {
    /// Conv 32, conv 64, dense 100: Fashion-MNIST, Adam
    FashionCnn,
    /// Conv 32, conv 64, conv 128: MNIST, RMSprop
    MnistConvnet,
    /// Two 5x5 convolutions with swish and odd channel counts, Adam
    #[value(name = "swish_net")]
    Swish,
}

impl Net {
    fn build(self, device: &Device) -> Result<Sequential> {
        let (relu, swish) = (Activation::Relu, Activation::Swish);
        let input = Sequential::new([28, 28, 1]);
        let model = match self {
            Net::FashionCnn => input
                .add(Conv2d::new(32, 3).padding(Padding::Same).activation(relu))
                .add(MaxPool2d::new(2))
                .add(Conv2d::new(64, 3).padding(Padding::Same).activation(relu))
                .add(MaxPool2d::new(2))
                .add(Flatten::new())
                .add(Dense::new(100).activation(relu))
                .add(Dropout::new(0.4)),
            Net::MnistConvnet => input
                .add(Conv2d::new(32, 3).activation(relu))
                .add(MaxPool2d::new(2))
                .add(Conv2d::new(64, 3).activation(relu))
                .add(MaxPool2d::new(2))
                .add(Conv2d::new(128, 3).activation(relu))
                .add(Flatten::new()),
            Net::Swish => input
                .add(Conv2d::new(3, 5).activation(swish))
                .add(Conv2d::new(6, 5).activation(swish))
                .add(Flatten::new())
                .add(Dense::new(84).activation(swish)),
        };
        let mut model = model.add(Dense::new(10).activation(Activation::Softmax));
        model.build(device, 42)?;
        let (loss, metrics) = (SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
        match self {
            Net::MnistConvnet => model.compile(RmsProp::default(), loss, metrics),
            _ => model.compile(Adam::default(), loss, metrics),
        }
        Ok(model)
    }
}

/// A line of the table and of the JSON file.
#[derive(Serialize)]
struct Row {
    model: String,
    device: String,
    mode: &'static str,
    batch: usize,
    ms_per_step: f64,
    images_per_second: f64,
    /// From the start of the process for the first row of a run, from building the model for the others.
    first_step_s: f64,
    peak_device_bytes: u64,
}

/// Steps timed together.
const GROUP: usize = 10;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// `n` images of noise, of ten classes.
fn images(n: usize, device: &Device) -> Result<DeviceDataset> {
    let pixels = (0..n * 28 * 28).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let labels = (0..n as u32).map(|i| i % 10).collect();
    let data = Dataset::new(pixels, [28, 28, 1], labels, (0..10).map(|c| c.to_string()))?;
    DeviceDataset::upload(&data, device)
}

fn train(net: Net, device: &Device, batch: usize, steps: usize, started: Instant) -> Result<Row> {
    device.reset_peak();
    let mut model = net.build(device)?;
    let data = images(batch * GROUP, device)?;
    let options = FitOptions::new().epochs(1 + steps.div_ceil(GROUP)).batch_size(batch).verbose(Verbose::Off);
    let fitted = Instant::now();
    let history = model.fit(&data, options)?;
    let rates: Vec<f64> = history.epochs[1..].iter().map(|e| e.images_per_second).collect();
    let rate = median(rates);
    Ok(Row {
        first_step_s: (fitted - started).as_secs_f64() + history.first_step_seconds,
        ..row(net, device, "train", batch, batch as f64 / rate)
    })
}

fn infer(net: Net, device: &Device, batch: usize, steps: usize) -> Result<Row> {
    device.reset_peak();
    let started = Instant::now();
    let model = net.build(device)?;
    let data = images(batch, device)?;
    let index = Tensor::new(&(0..batch as u32).collect::<Vec<_>>(), [batch], device);
    let group = |n: usize| -> Result<f64> {
        let start = Instant::now();
        for _ in 0..n {
            let (x, _) = data.batch(&index);
            model.forward(&x)?;
        }
        device.synchronize()?;
        Ok(start.elapsed().as_secs_f64() / n as f64)
    };
    group(1)?;
    let first_step_s = started.elapsed().as_secs_f64();
    group(GROUP)?;
    let seconds = (0..steps.div_ceil(GROUP).max(1)).map(|_| group(GROUP)).collect::<Result<Vec<_>>>()?;
    Ok(Row { first_step_s, ..row(net, device, "infer", batch, median(seconds)) })
}

fn row(net: Net, device: &Device, mode: &'static str, batch: usize, seconds: f64) -> Row {
    Row {
        model: net.to_possible_value().expect("no network is hidden").get_name().to_string(),
        device: device.to_string(),
        mode,
        batch,
        ms_per_step: 1e3 * seconds,
        images_per_second: batch as f64 / seconds,
        first_step_s: 0.0,
        peak_device_bytes: device.stats().peak_bytes,
    }
}

fn run(args: &Args, started: Instant) -> Result<()> {
    if args.batch.contains(&0) {
        return Err(Error::invalid("--batch", "at least 1", 0));
    }
    let device = if args.device == "auto" { Device::auto()? } else { Device::named(&args.device)? };
    let nets = if args.model.is_empty() { Net::value_variants() } else { &args.model };
    println!("device: {device}");
    println!(
        "{:<14} {:<6} {:>6} {:>12} {:>10} {:>13} {:>10}",
        "model", "mode", "batch", "ms_per_step", "images/s", "first_step_s", "peak MiB"
    );
    let mut rows: Vec<Row> = Vec::new();
    for &net in nets {
        for &batch in &args.batch {
            let since = if rows.is_empty() { started } else { Instant::now() };
            for row in [train(net, &device, batch, args.steps, since)?, infer(net, &device, batch, args.steps)?] {
                println!(
                    "{:<14} {:<6} {:>6} {:>12.2} {:>10.0} {:>13.2} {:>10.1}",
                    row.model,
                    row.mode,
                    row.batch,
                    row.ms_per_step,
                    row.images_per_second,
                    row.first_step_s,
                    row.peak_device_bytes as f64 / 1048576.0
                );
                rows.push(row);
            }
            if args.profile {
                let mut model = net.build(&device)?;
                let data = images(batch, &device)?;
                let step = || model.fit(&data, FitOptions::new().batch_size(batch).verbose(Verbose::Off));
                println!("{}", device.profile(step)?.1);
            }
        }
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&rows).expect("numbers and names");
        std::fs::write(path, text).map_err(|e| Error::io(path, e))?;
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    match run(&Args::parse(), Instant::now()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
