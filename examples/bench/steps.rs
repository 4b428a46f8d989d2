//! Whole steps: training through `fit`, as a user's program does, and inference; and the first step of a new process.

use std::process::Command;
use std::time::Instant;

use tilegrad::nn::{FitOptions, Verbose};
use tilegrad::{Device, Error, Result, Tensor};

use crate::nets::{Net, images};
use crate::report::{FirstStep, Step, median};

/// Steps timed together.
pub const GROUP: usize = 10;

/// Runs something and returns the seconds it took.
pub type Timed = Box<dyn FnMut() -> Result<f64>>;

pub fn train(net: Net, device: &Device, batch: usize, steps: usize, started: Instant) -> Result<Step> {
    device.reset_peak();
    let mut model = net.build(device)?;
    let data = images(batch * GROUP, device)?;
    let options = FitOptions::new().epochs(1 + steps.div_ceil(GROUP).max(1)).batch_size(batch).verbose(Verbose::Off);
    let fitted = Instant::now();
    let history = model.fit(&data, options)?;
    let rates: Vec<f64> = history.epochs[1..].iter().map(|e| e.images_per_second).collect();
    let first = (fitted - started).as_secs_f64() + history.first_step_seconds;
    Ok(row(net, device, "train", batch, batch as f64 / median(rates), first))
}

pub fn infer(net: Net, device: &Device, batch: usize, steps: usize) -> Result<Step> {
    device.reset_peak();
    let started = Instant::now();
    let mut group = timed_inference(net, device, batch, 1)?;
    group()?;
    let first = started.elapsed().as_secs_f64();
    let mut group = timed_inference(net, device, batch, GROUP)?;
    group()?;
    let seconds = (0..steps.div_ceil(GROUP).max(1)).map(|_| group()).collect::<Result<Vec<_>>>()?;
    Ok(row(net, device, "infer", batch, median(seconds), first))
}

/// A call trains for two epochs of a few steps and gives the seconds of a step of the second.
pub fn timed_training(net: Net, device: &Device, batch: usize, eagerly: bool) -> Result<Timed> {
    let mut model = net.build(device)?;
    let data = images(batch * GROUP, device)?;
    Ok(Box::new(move || {
        let options = FitOptions::new().epochs(2).batch_size(batch).verbose(Verbose::Off).run_eagerly(eagerly);
        Ok(batch as f64 / model.fit(&data, options)?.epochs[1].images_per_second)
    }))
}

/// A call gives the seconds of one of `steps` forward passes, each with the gathering of its batch.
pub fn timed_inference(net: Net, device: &Device, batch: usize, steps: usize) -> Result<Timed> {
    let model = net.build(device)?;
    let data = images(batch, device)?;
    let index = Tensor::new(&(0..batch as u32).collect::<Vec<_>>(), [batch], device);
    let device = device.clone();
    Ok(Box::new(move || {
        let start = Instant::now();
        for _ in 0..steps {
            let (x, _) = data.batch(&index);
            model.forward(&x)?;
        }
        device.synchronize()?;
        Ok(start.elapsed().as_secs_f64() / steps as f64)
    }))
}

fn row(net: Net, device: &Device, mode: &'static str, batch: usize, seconds: f64, first_step_s: f64) -> Step {
    Step {
        model: net.name(),
        device: device.to_string(),
        mode,
        batch,
        ms_per_step: 1e3 * seconds,
        images_per_second: batch as f64 / seconds,
        first_step_s,
        peak_device_bytes: device.stats().peak_bytes,
    }
}

/// What the process started by [`first_step`] does, and prints.
pub fn run_first_step(net: Net, device: &Device, batch: usize, started: Instant) -> Result<()> {
    let mut model = net.build(device)?;
    let fitted = Instant::now();
    let history = model.fit(&images(batch, device)?, FitOptions::new().batch_size(batch).verbose(Verbose::Off))?;
    println!("{}", (fitted - started).as_secs_f64() + history.first_step_seconds);
    Ok(())
}

/// Runs this program once more, for one step.
pub fn first_step(net: Net, device: &str, batch: usize, without_shader_cache: bool) -> Result<FirstStep> {
    let failed = |got: String| Error::invalid("first step in a process of its own", "a number of seconds", got);
    let program = std::env::current_exe().map_err(|e| failed(e.to_string()))?;
    let mut command = Command::new(program);
    command.args(["--device", device, "--model", &net.name(), "--batch", &batch.to_string(), "--measure", "one-step"]);
    if without_shader_cache {
        command.env("MESA_SHADER_CACHE_DISABLE", "true");
    }
    let output = command.output().map_err(|e| failed(e.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let seconds = text.lines().last().and_then(|line| line.trim().parse().ok());
    let seconds = seconds.ok_or_else(|| failed(String::from_utf8_lossy(&output.stderr).trim().to_string()))?;
    Ok(FirstStep { model: net.name(), batch, seconds, without_shader_cache })
}
