//! Times training steps, inference and single kernels of the example networks, on made-up images.
//!
//! ```text
//! cargo run --release --example bench -- --device software --model fashion_cnn --batch 32,128 --steps 40
//! cargo run --release --example bench -- --measure kernels,dispatch --json figures.json
//! cargo run --release --example bench -- --measure steps,kernels --ab hardware,software
//! ```
//!
//! Training goes through `fit`, as a user's does: batches gathered on the device, loss and accuracy accumulated there. A
//! figure is the median over epochs of ten steps, the first epoch left out. Kernels are timed by the GPU's own clock where
//! it has one, and set against a copy and a loop of multiply-adds measured in the same call.

#![allow(unreachable_pub, reason = "an example exports nothing")]

mod ab;
mod ceiling;
mod dispatch;
mod kernels;
mod nets;
mod report;
mod steps;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use tilegrad::nn::{FitOptions, Verbose};
use tilegrad::{ConvAlgorithm, Device, Error, Result};

use ab::Variant;
use ceiling::Ceilings;
use nets::{Net, images};
use report::{Comparison, KernelRow, Report, Step};

#[derive(Parser)]
#[command(about = "Times training steps, inference and single kernels of the example networks")]
struct Args {
    /// Device: auto, cpu, gpu, software, an index, or part of an adapter's name
    #[arg(long, default_value = "auto")]
    device: String,
    /// Networks, separated by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    model: Vec<Net>,
    /// What to time, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_value = "steps")]
    measure: Vec<Measure>,
    /// Batch sizes, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "32,128")]
    batch: Vec<usize>,
    /// Steps to time, rounded up to tens
    #[arg(long, default_value_t = 30)]
    steps: usize,
    /// Only kernels and shapes that contain this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Leaves out kernels that would take longer than this, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    longest: f64,
    /// Runs two variants in turn and prints how much faster the second is: hardware,software or direct,im2col or
    /// builtin,tune:FILE or eager,recorded
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    ab: Vec<Variant>,
    /// Writes everything measured here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Prints the GPU's own time of each kernel of a training step, too
    #[arg(long)]
    profile: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// Whole steps, training and inference
    Steps,
    /// The first training step of a new process, with and without the driver's shader cache
    First,
    /// Each heavy kernel at the networks' shapes, and square matrix products
    Kernels,
    /// What recording a kernel costs the host
    Dispatch,
    /// One step, and nothing else: what `first` runs
    #[value(hide = true)]
    OneStep,
}

struct Bench {
    args: Args,
    device: Device,
    nets: Vec<Net>,
    report: Report,
}

impl Bench {
    fn new(args: Args) -> Result<Bench> {
        if args.batch.contains(&0) {
            return Err(Error::invalid("--batch", "at least 1", 0));
        }
        if ![0, 2].contains(&args.ab.len()) {
            return Err(Error::invalid("--ab", "two variants, as in hardware,software", args.ab.len()));
        }
        let of_convolutions = args.ab.iter().any(Variant::is_of_convolutions);
        if of_convolutions && args.measure.iter().any(|m| *m != Measure::Kernels) {
            let expected = "hardware or software for whole steps; direct and im2col are for --measure kernels";
            return Err(Error::invalid("--ab", expected, args.ab[0].name()));
        }
        let of_steps = args.ab.iter().any(Variant::is_of_steps);
        if of_steps && args.measure.iter().any(|m| *m != Measure::Steps) {
            return Err(Error::invalid("--ab", "eager and recorded with --measure steps", args.ab[0].name()));
        }
        if let Some(folder) = args.json.as_ref().and_then(|p| p.parent()).filter(|f| !f.as_os_str().is_empty())
            && !folder.is_dir()
        {
            return Err(Error::invalid("folder of --json", "an existing folder", folder.display()));
        }
        let device = if args.device == "auto" { Device::auto()? } else { Device::named(&args.device)? };
        args.ab.iter().try_for_each(|variant| variant.apply(&device))?; // a tune file is read before anything runs
        let hardware = args.ab.contains(&Variant::Hardware) || args.ab.contains(&Variant::Software);
        if hardware && !device.is_software() {
            return Err(Error::invalid("--ab", "a software adapter, the only kind that runs both sets", &device));
        }
        let nets = if args.model.is_empty() { Net::value_variants().to_vec() } else { args.model.clone() };
        let report = Report::new(&device);
        Ok(Bench { args, device, nets, report })
    }

    fn run(&mut self, started: Instant) -> Result<()> {
        println!("device: {}", self.device);
        for measure in self.args.measure.clone() {
            match measure {
                _ if !self.args.ab.is_empty() => self.compare(measure)?,
                Measure::Steps => self.steps(started)?,
                Measure::First => self.first_steps()?,
                Measure::Kernels => self.kernels()?,
                Measure::Dispatch => self.dispatches()?,
                Measure::OneStep => {
                    return steps::run_first_step(self.nets[0], &self.device, self.args.batch[0], started);
                }
            }
        }
        if self.report.is_empty() {
            return Err(Error::invalid("what was asked for", "something that runs here", "nothing"));
        }
        if let Some(path) = &self.args.json {
            let text = serde_json::to_string_pretty(&self.report).expect("numbers and names");
            std::fs::write(path, text).map_err(|e| Error::io(path, e))?;
        }
        Ok(())
    }

    fn steps(&mut self, started: Instant) -> Result<()> {
        println!(
            "\n{:<14} {:<6} {:>6} {:>12} {:>10} {:>13} {:>10}",
            "model", "mode", "batch", "ms_per_step", "images/s", "first_step_s", "peak MiB"
        );
        let (device, steps) = (self.device.clone(), self.args.steps);
        for (net, batch) in self.networks() {
            let since = if self.report.steps.is_empty() { started } else { Instant::now() };
            let trained = steps::train(net, &device, batch, steps, since);
            for row in [trained, steps::infer(net, &device, batch, steps)] {
                if let Some(row) = or_left_out(&format!("{} {batch}", net.name()), row) {
                    print_step(&row);
                    self.report.steps.push(row);
                }
            }
            if self.args.profile {
                let mut model = net.build(&device)?;
                let data = images(batch, &device)?;
                let step = || model.fit(&data, FitOptions::new().batch_size(batch).verbose(Verbose::Off));
                println!("{}", device.profile(step)?.1);
            }
        }
        Ok(())
    }

    fn first_steps(&mut self) -> Result<()> {
        println!("\n{:<14} {:>6} {:>14} {:>10}", "model", "batch", "shader cache", "seconds");
        for (net, batch) in self.networks() {
            for without in [false, true] {
                if without && !self.device.is_gpu() {
                    continue;
                }
                let row = steps::first_step(net, &self.args.device, batch, without)?;
                let cache = if without { "off (Mesa)" } else { "as it is" };
                println!("{:<14} {batch:>6} {cache:>14} {:>10.2}", row.model, row.seconds);
                self.report.first_steps.push(row);
            }
        }
        Ok(())
    }

    fn kernels(&mut self) -> Result<()> {
        let ceilings = Ceilings::measure(&self.device)?;
        println!(
            "\nceilings: copy {:.1} GB/s, multiply-adds {:.1} GFLOP/s ({})",
            ceilings.copy_gb_per_s, ceilings.fma_gflop_per_s, ceilings.fma_by
        );
        println!(
            "{:<22} {:<34} {:>10} {:>9} {:>7} {:>8} {:>7}",
            "kernel", "shape", "us", "GFLOP/s", "of fma", "GB/s", "of copy"
        );
        let (device, mut seen) = (self.device.clone(), HashSet::new());
        // Until something has been timed, a tenth of the ceiling is what a kernel is expected to reach.
        let mut reached = 0.1 * ceilings.fma_gflop_per_s;
        for make in self.cases(&device, ConvAlgorithm::Auto) {
            let Some(case) = or_left_out("kernel", make()) else { continue };
            if !self.is_wanted(&case) || !seen.insert(case.name()) || self.is_too_long(&case, reached) {
                continue;
            }
            let Some(row) = or_left_out(&case.name(), case.measure(&device, &ceilings)) else { continue };
            if row.kernel == "matmul" {
                reached = row.gflop_per_s;
            }
            print_kernel(&row);
            self.report.kernels.push(row);
        }
        self.report.ceilings = Some(ceilings);
        Ok(())
    }

    fn dispatches(&mut self) -> Result<()> {
        if !self.device.is_gpu() {
            return Err(Error::invalid("--measure dispatch", "a GPU, or a software adapter", &self.device));
        }
        println!(
            "\n{:<26} {:>6} {:>16} {:>12} {:>16}",
            "step", "batch", "dispatches/step", "us/dispatch", "with submission"
        );
        for &batch in &self.args.batch {
            for row in dispatch::rows(batch, &self.device)? {
                println!(
                    "{:<26} {batch:>6} {:>16.1} {:>12.2} {:>16.2}",
                    row.step, row.dispatches_per_step, row.us_per_dispatch, row.us_per_dispatch_with_submission
                );
                self.report.dispatches.push(row);
            }
        }
        Ok(())
    }

    fn compare(&mut self, measure: Measure) -> Result<()> {
        let variants: [Variant; 2] = self.args.ab.clone().try_into().expect("checked");
        let [a, b] = variants.each_ref().map(Variant::name);
        println!("\n{:<58} {a:>12} {b:>12} {:>8} {:>15} {:>6}", "ms", "ratio", "quartiles", "pairs");
        let device = self.device.clone();
        match measure {
            Measure::Steps => {
                let pairs = self.args.steps.div_ceil(steps::GROUP).max(3);
                for (net, batch) in self.networks() {
                    for (mode, train) in [("train", true), ("infer", false)] {
                        if !train && variants.iter().any(Variant::is_of_steps) {
                            continue;
                        }
                        let what = format!("{} {mode} {batch}", net.name());
                        let row = ab::compare(
                            what.clone(),
                            &variants,
                            &device,
                            |_| pairs,
                            |v| match train {
                                true => steps::timed_training(net, &device, batch, *v == Variant::Eager),
                                false => steps::timed_inference(net, &device, batch, steps::GROUP),
                            },
                        );
                        self.push_comparison(or_left_out(&what, row));
                    }
                }
            }
            Measure::Kernels => {
                let mut seen = HashSet::new();
                let cases = variants.each_ref().map(|v| self.cases(&device, v.algorithm()));
                let [of_a, of_b] = &cases;
                for (make_a, make_b) in of_a.iter().zip(of_b) {
                    let Some(case) = or_left_out("kernel", make_a()) else { continue };
                    let what = case.name();
                    if !self.is_wanted(&case) || !seen.insert(what.clone()) || self.is_too_long(&case, 10.0) {
                        continue;
                    }
                    let mut made = 0;
                    let row = ab::compare(what.clone(), &variants, &device, kernels::runs_for, |_| {
                        made += 1;
                        let (case, device) = (if made == 1 { make_a()? } else { make_b()? }, device.clone());
                        Ok(Box::new(move || case.time(&device)))
                    });
                    self.push_comparison(or_left_out(&what, row));
                }
            }
            _ => return Err(Error::invalid("--ab", "--measure steps or kernels", format!("{measure:?}"))),
        }
        Ok(())
    }

    fn push_comparison(&mut self, row: Option<Comparison>) {
        let Some(row) = row else { return };
        println!(
            "{:<58} {:>12.3} {:>12.3} {:>8.3} {:>7.3}-{:<7.3} {:>6}",
            row.what, row.a_ms, row.b_ms, row.ratio, row.ratio_from, row.ratio_to, row.pairs
        );
        self.report.comparisons.push(row);
    }

    fn networks(&self) -> Vec<(Net, usize)> {
        self.nets.iter().flat_map(|&net| self.args.batch.iter().map(move |&batch| (net, batch))).collect()
    }

    fn cases<'a>(&self, device: &'a Device, algorithm: ConvAlgorithm) -> Vec<kernels::Make<'a>> {
        let of_nets = self.networks().into_iter().flat_map(|(net, n)| kernels::of_net(net, n, device, algorithm));
        of_nets.chain(kernels::products(device)).collect()
    }

    fn is_wanted(&self, case: &kernels::Case) -> bool {
        self.args.only.as_ref().is_none_or(|text| case.name().contains(text.as_str()))
    }

    fn is_too_long(&self, case: &kernels::Case, gflop_per_s: f64) -> bool {
        let seconds = 1e-9 * case.flops / gflop_per_s;
        let too_long = seconds > self.args.longest;
        if too_long {
            println!("{}: left out, would take about {seconds:.0} s a run (--longest)", case.name());
        }
        too_long
    }
}

/// Says in a line why something could not be measured, and goes on: the next may be smaller.
fn or_left_out<T>(what: &str, result: Result<T>) -> Option<T> {
    result.inspect_err(|error| println!("{what}: left out, {}", error.to_string().lines().next().unwrap_or(""))).ok()
}

fn print_step(row: &Step) {
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
}

fn print_kernel(row: &KernelRow) {
    println!(
        "{:<22} {:<34} {:>10.1} {:>9.1} {:>6.1}% {:>8.1} {:>6.1}%",
        row.kernel,
        row.shape,
        row.us,
        row.gflop_per_s,
        100.0 * row.share_of_fma,
        row.gb_per_s,
        100.0 * row.share_of_copy
    );
}

fn main() -> std::process::ExitCode {
    let started = Instant::now();
    match Bench::new(Args::parse()).and_then(|mut bench| bench.run(started)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
