//! Times burn on the networks of `examples/bench`, and writes JSON in the same form.
//!
//! ```text
//! cd scripts/peers/burn
//! cargo run --release -- --batch 32,128 --json burn.json                          # the CPU, backend flex
//! cargo run --release --no-default-features --features wgpu -- --device software  # takes long to build
//! ```
//!
//! A training step takes a batch from images that lie on the device, divides by 255, and ends with the optimizer; loss and
//! accuracy are summed on the device. That is what tilegrad's `fit` does. A figure is the median over groups of ten steps,
//! the first group left out.

use std::time::Instant;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, RmsPropConfig};
use burn::tensor::activation::{relu, silu, softmax};
use burn::tensor::{Device, Int, Tensor};
use clap::{Parser, ValueEnum};
use serde::Serialize;

const GROUP: usize = 10;

#[derive(Parser)]
#[command(about = "Times burn on the networks of tilegrad's examples/bench")]
struct Args {
    /// cpu, gpu or software; the last two need the feature wgpu
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Networks, separated by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    model: Vec<Name>,
    /// Batch sizes, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "32,128")]
    batch: Vec<usize>,
    /// Steps to time, rounded up to tens
    #[arg(long, default_value_t = 30)]
    steps: usize,
    /// Writes the rows here
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Name {
    FashionCnn,
    MnistConvnet,
    SwishNet,
    NoMaxPool,
}

#[derive(Module, Debug)]
struct Net {
    convolutions: Vec<Conv2d>,
    dense: Vec<Linear>,
    pool: MaxPool2d,
    dropout: Dropout,
    /// Convolutions that a pooling follows.
    pooled: usize,
    swish: bool,
    drops: bool,
}

impl Net {
    fn new(name: Name, device: &Device) -> Net {
        type Shapes = (Vec<[usize; 3]>, Vec<[usize; 2]>, usize);
        let (convolutions, dense, pooled): Shapes = match name {
            Name::FashionCnn => (vec![[1, 32, 3], [32, 64, 3]], vec![[3136, 100], [100, 10]], 2),
            Name::MnistConvnet => (vec![[1, 32, 3], [32, 64, 3], [64, 128, 3]], vec![[1152, 10]], 2),
            Name::SwishNet => (vec![[1, 3, 5], [3, 6, 5]], vec![[2400, 84], [84, 10]], 0),
            Name::NoMaxPool => (vec![[1, 32, 3], [32, 64, 3], [64, 128, 3]], vec![[61_952, 10]], 0),
        };
        let padding = if name == Name::FashionCnn { PaddingConfig2d::Same } else { PaddingConfig2d::Valid };
        let conv = |[inputs, outputs, kernel]: [usize; 3]| {
            Conv2dConfig::new([inputs, outputs], [kernel; 2]).with_padding(padding.clone()).init(device)
        };
        Net {
            convolutions: convolutions.into_iter().map(conv).collect(),
            dense: dense.into_iter().map(|[i, o]| LinearConfig::new(i, o).init(device)).collect(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            dropout: DropoutConfig::new(0.4).init(),
            pooled,
            swish: name == Name::SwishNet,
            drops: name == Name::FashionCnn,
        }
    }

    fn activate<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if self.swish { silu(x) } else { relu(x) }
    }

    /// `(N, 1, 28, 28)` to logits `(N, 10)`.
    fn forward(&self, mut x: Tensor<4>) -> Tensor<2> {
        for (i, conv) in self.convolutions.iter().enumerate() {
            x = self.activate(conv.forward(x));
            if i < self.pooled {
                x = self.pool.forward(x);
            }
        }
        let mut x: Tensor<2> = x.flatten(1, 3);
        let (last, hidden) = self.dense.split_last().expect("every network ends in a dense layer");
        for dense in hidden {
            x = self.activate(dense.forward(x));
        }
        last.forward(if self.drops { self.dropout.forward(x) } else { x })
    }
}

/// As a row of tilegrad's own.
#[derive(Serialize)]
struct Row {
    model: String,
    device: String,
    mode: &'static str,
    batch: usize,
    ms_per_step: f64,
    images_per_second: f64,
    first_step_s: f64,
    peak_device_bytes: u64,
}

#[derive(Serialize)]
struct Report {
    date: String,
    device: String,
    steps: Vec<Row>,
}

struct Data {
    images: Tensor<4>,
    labels: Tensor<1, Int>,
}

impl Data {
    fn new(count: usize, device: &Device) -> Data {
        let pixels: Vec<f32> = (0..count * 784).map(|i| (i.wrapping_mul(2_654_435_761) >> 13 & 255) as f32).collect();
        let labels: Vec<i32> = (0..count as i32).map(|i| i % 10).collect();
        let images = Tensor::<1>::from_data(pixels.as_slice(), device).reshape([count, 1, 28, 28]);
        Data { images, labels: Tensor::from_data(labels.as_slice(), device) }
    }

    fn batch(&self, index: &Tensor<1, Int>) -> (Tensor<4>, Tensor<1, Int>) {
        let images = self.images.clone().select(0, index.clone()).div_scalar(255.0);
        (images, self.labels.clone().select(0, index.clone()))
    }
}

fn indices(group: usize, batch: usize, device: &Device) -> Vec<Tensor<1, Int>> {
    let rows = |step: usize| -> Vec<i32> { (0..batch).map(|i| ((i * 7 + step * batch) % (group * batch)) as i32).collect() };
    (0..group).map(|step| Tensor::from_data(rows(step).as_slice(), device)).collect()
}

/// Seconds of each step: the first alone, then the median of the groups after the first.
fn time(steps: usize, device: &Device, mut step: impl FnMut(usize)) -> (f64, f64) {
    let start = Instant::now();
    step(0);
    device.sync().expect("the device works");
    let first = start.elapsed().as_secs_f64();
    let mut seconds = Vec::new();
    for _ in 0..=steps.div_ceil(GROUP).max(1) {
        let start = Instant::now();
        (0..GROUP).for_each(&mut step);
        device.sync().expect("the device works");
        seconds.push(start.elapsed().as_secs_f64() / GROUP as f64);
    }
    let mut seconds = seconds.split_off(1);
    seconds.sort_by(f64::total_cmp);
    (first, seconds[seconds.len() / 2])
}

fn train(name: Name, batch: usize, steps: usize, device: &Device) -> (f64, f64) {
    let plain = device.clone();
    let device = &device.clone().autodiff();
    let mut net = Some(Net::new(name, device));
    let mut optimizer: ModuleOptimizer = match name {
        Name::FashionCnn | Name::SwishNet => AdamConfig::new().with_epsilon(1e-7).init(),
        Name::MnistConvnet | Name::NoMaxPool => RmsPropConfig::new().with_alpha(0.9).with_epsilon(1e-7).init(),
    };
    let (data, index) = (Data::new(GROUP * batch, device), indices(GROUP, batch, device));
    let cross_entropy = CrossEntropyLossConfig::new().init(device);
    let (mut loss_sum, mut correct) = (Tensor::<1>::zeros([1], &plain), Tensor::<1, Int>::zeros([1], &plain));
    time(steps, &plain, |i| {
        let (x, y) = data.batch(&index[i]);
        let model = net.take().expect("put back below");
        let logits = model.forward(x);
        let loss = cross_entropy.forward(logits.clone(), y.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        net = Some(optimizer.step(1e-3, model, gradients));
        loss_sum = loss_sum.clone() + loss.inner();
        let right = logits.inner().argmax(1).reshape([batch]).equal(y.inner());
        correct = correct.clone() + right.int().sum();
    })
}

fn infer(name: Name, batch: usize, steps: usize, device: &Device) -> (f64, f64) {
    let net = Net::new(name, &device.clone().autodiff()).valid();
    let (data, index) = (Data::new(GROUP * batch, device), indices(GROUP, batch, device));
    time(steps, device, |i| drop(softmax(net.forward(data.batch(&index[i]).0), 1)))
}

fn device(name: &str) -> Result<(Device, &'static str), String> {
    match name {
        #[cfg(feature = "flex")]
        "cpu" => Ok((Device::flex(), "burn 0.22.1 flex")),
        #[cfg(all(feature = "ndarray", not(feature = "flex")))]
        #[allow(deprecated, reason = "it is timed as long as it is there")]
        "cpu" => Ok((Device::ndarray(), "burn 0.22.1 ndarray")),
        #[cfg(feature = "wgpu")]
        "gpu" => Ok((Device::wgpu(burn::tensor::DeviceKind::DefaultDevice), "burn 0.22.1 wgpu")),
        #[cfg(feature = "wgpu")]
        "software" => Ok((Device::wgpu(burn::tensor::DeviceKind::Cpu), "burn 0.22.1 wgpu, software adapter")),
        _ => Err(format!("--device {name}: this build has the features {}", FEATURES.join(", "))),
    }
}

const FEATURES: &[&str] = &[
    #[cfg(feature = "flex")]
    "flex (cpu)",
    #[cfg(feature = "ndarray")]
    "ndarray (cpu)",
    #[cfg(feature = "wgpu")]
    "wgpu (gpu, software)",
];

fn run(args: &Args) -> Result<(), String> {
    if args.batch.contains(&0) {
        return Err("--batch: expected at least 1, got 0".into());
    }
    let (device, system) = device(&args.device)?;
    let names = if args.model.is_empty() { Name::value_variants() } else { &args.model };
    let mut steps = Vec::new();
    println!(
        "{:<14} {:<6} {:>6} {:>12} {:>10} {:>13}  system",
        "model", "mode", "batch", "ms_per_step", "images/s", "first_step_s"
    );
    for &name in names {
        for &batch in &args.batch {
            for (mode, measure) in [("train", train as fn(Name, usize, usize, &Device) -> _), ("infer", infer)] {
                let (first, seconds): (f64, f64) = measure(name, batch, args.steps, &device);
                let row = Row {
                    model: name.to_possible_value().expect("none is hidden").get_name().to_string(),
                    device: system.to_string(),
                    mode,
                    batch,
                    ms_per_step: 1e3 * seconds,
                    images_per_second: batch as f64 / seconds,
                    first_step_s: first,
                    peak_device_bytes: 0,
                };
                println!(
                    "{:<14} {mode:<6} {batch:>6} {:>12.2} {:>10.0} {first:>13.2}  {system}",
                    row.model, row.ms_per_step, row.images_per_second
                );
                steps.push(row);
            }
        }
    }
    if let Some(path) = &args.json {
        let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let report = Report { date: format!("{seconds} s after 1970"), device: system.into(), steps };
        let text = serde_json::to_string_pretty(&report).map_err(|e| e.to_string())?;
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    match run(&Args::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
