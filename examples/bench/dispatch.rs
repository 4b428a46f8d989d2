//! What it costs the host to launch a kernel, by code that runs as it is written and by a recorded step that is replayed.
//! Nothing waits for the device meanwhile.

use std::time::Instant;

use tilegrad::nn::{Adam, DeviceDataset, Optimizer, StepNumber};
use tilegrad::ops::cross_entropy_step::cross_entropy_step;
use tilegrad::{
    Clock, Conv2dOptions, Device, Error, Padding, RandomKey, Result, Rng, Tensor, Time, Unary, Window, no_grad,
};

use crate::nets::{Net, images};
use crate::report::{DispatchRow, median};

/// Steps in a row, so that submissions are of their usual size.
const STEPS: usize = 12;
const RUNS: usize = 25;

/// A step of the Fashion-MNIST network of plain tensors, but for packed weights what `fit` runs.
struct Step {
    data: DeviceDataset,
    order: Tensor,
    sums: Tensor,
    clock: Clock,
    weights: Vec<Tensor>,
    moments: Vec<Vec<Tensor>>,
    optimizer: Adam,
    rng: Rng,
}

impl Step {
    fn new(batch: usize, device: &Device) -> Result<Step> {
        let shapes: [&[usize]; 8] =
            [&[3, 3, 1, 32], &[32], &[3, 3, 32, 64], &[64], &[3136, 100], &[100], &[100, 10], &[10]];
        let mut rng = Rng::new(42);
        let weight = |s: &&[usize]| Tensor::rand_uniform(-0.1, 0.1, *s, rng.next_key(), device).requires_grad();
        let weights: Vec<Tensor> = shapes.iter().map(weight).collect();
        let order = Tensor::new(&(0..batch as u32).collect::<Vec<_>>(), [batch], device);
        let moments = weights.iter().map(|w| vec![w.zeros_like(), w.zeros_like()]).collect();
        let data = images(batch, device)?;
        let (sums, clock) = (Tensor::zeros([2 * batch], device), Clock::new(device));
        let key = RandomKey { seed: 42, counter: 0 };
        clock.set(Time { key, ..Time::default() })?;
        let rng = Rng::on_clock(&clock, key);
        Ok(Step { data, order, sums, clock, weights, moments, optimizer: Adam::default(), rng })
    }

    fn run(&mut self) {
        let w = &self.weights;
        let (x, labels) = self.data.batch(&self.clock.batch(&self.order, self.order.len()));
        let conv = Conv2dOptions { padding: Padding::Same, activation: Some(Unary::Relu), ..Default::default() };
        let halve = Window { size: [2; 2], stride: [2; 2], dilation: [1; 2], padding: Padding::Valid };
        let x = x.conv2d(&w[0], Some(&w[1]), &conv).max_pool2d(halve);
        let x = x.conv2d(&w[2], Some(&w[3]), &conv).max_pool2d(halve).flatten_from(1);
        let x = x.linear(&w[4], Some(&w[5]), Some(Unary::Relu)).dropout(0.4, self.rng.next_draw());
        let logits = x.linear(&w[6], Some(&w[7]), None);
        let dy = no_grad(|| cross_entropy_step(&logits, &labels, 1.0 / self.order.len() as f32, &self.sums));
        let gradients = logits.backward_with(&dy);
        no_grad(|| {
            for (w, moments) in w.iter().zip(&self.moments) {
                let gradient = gradients.get(w).expect("every weight takes part");
                self.optimizer.step(&StepNumber::Clock(self.clock.clone()), w, gradient, moments);
            }
            self.clock.advance(self.rng.end_step());
        });
    }
}

/// Seconds that this thread has run, where the system says so: a software adapter works on the same cores meanwhile, and
/// its time is not the host's.
#[cfg(unix)]
fn host_seconds(_: Instant) -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}

/// Seconds since `start`.
#[cfg(not(unix))]
fn host_seconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64()
}

/// Times `step`, which has been run before, on a device that has nothing else to do.
fn recording(name: &str, batch: usize, device: &Device, mut step: impl FnMut()) -> Result<DispatchRow> {
    let (mut recorded, mut submitted, mut dispatches) = (vec![], vec![], 0.0);
    for _ in 0..RUNS {
        device.synchronize()?;
        let before = device.stats().dispatches;
        let clock = Instant::now();
        let start = host_seconds(clock);
        for _ in 0..STEPS {
            step();
        }
        let record = host_seconds(clock) - start;
        device.flush();
        let all = host_seconds(clock) - start;
        dispatches = (device.stats().dispatches - before) as f64;
        if dispatches == 0.0 {
            return Err(Error::invalid("dispatches of a step", "at least one", 0));
        }
        recorded.push(1e6 * record / dispatches);
        submitted.push(1e6 * all / dispatches);
    }
    device.synchronize()?;
    Ok(DispatchRow {
        step: name.into(),
        batch,
        dispatches_per_step: dispatches / STEPS as f64,
        us_per_dispatch: median(recorded),
        us_per_dispatch_with_submission: median(submitted),
    })
}

/// A training step by tensors, eager and replayed.
fn training(name: &str, batch: usize, device: &Device) -> Result<[DispatchRow; 2]> {
    let mut step = Step::new(batch, device)?;
    // Buffers, bind groups and pipelines are made in the first steps.
    (0..3).for_each(|_| step.run());
    let eager = recording(&format!("{name}, eager"), batch, device, || step.run())?;
    let ((), recorded) = device.record(|| step.run());
    let recorded = recorded?;
    let mut failure = Ok(());
    let replayed = recording(&format!("{name}, replayed"), batch, device, || failure = recorded.replay())?;
    failure?;
    Ok([eager, replayed])
}

/// Training step by tensors, and inference of the model, at one batch size.
pub fn rows(batch: usize, device: &Device) -> Result<Vec<DispatchRow>> {
    let mut rows = Vec::from(training("fashion_cnn train", batch, device)?);
    if device.is_software() {
        // The kernels for software adapters read copies of their inputs, which the host launches too. One example is enough
        // for the kernels for hardware, which are slow here.
        device.set_hardware_kernels(true);
        let hardware = training("the same, kernels for hardware", 1, device);
        device.set_hardware_kernels(false);
        rows.extend(hardware?);
    }
    let (model, data) = (Net::FashionCnn.build(device)?, images(batch, device)?);
    let index = Tensor::new(&(0..batch as u32).collect::<Vec<_>>(), [batch], device);
    let forward = || drop(model.forward(&data.batch(&index).0));
    (0..3).for_each(|_| forward());
    rows.push(recording("fashion_cnn infer, eager", batch, device, forward)?);
    Ok(rows)
}
