//! What it costs the host to record a kernel: steps are recorded without waiting for any of them.

use std::time::Instant;

use tilegrad::nn::{Adam, DeviceDataset, Optimizer};
use tilegrad::{Conv2dOptions, Device, Error, Padding, Result, Rng, Tensor, Unary, Window, no_grad};

use crate::nets::{Net, images};
use crate::report::{DispatchRow, median};

/// Steps recorded in a row: fewer than 64 kernels, after which they are submitted.
const STEPS: usize = 1;
const RUNS: usize = 25;

/// The Fashion-MNIST network of plain tensors: what `fit` runs, less its metrics.
struct Eager {
    data: DeviceDataset,
    index: Tensor,
    weights: Vec<Tensor>,
    moments: Vec<Vec<Tensor>>,
    optimizer: Adam,
    rng: Rng,
    t: u64,
}

impl Eager {
    fn new(batch: usize, device: &Device) -> Result<Eager> {
        let shapes: [&[usize]; 8] =
            [&[3, 3, 1, 32], &[32], &[3, 3, 32, 64], &[64], &[3136, 100], &[100], &[100, 10], &[10]];
        let mut rng = Rng::new(42);
        let weight = |s: &&[usize]| Tensor::rand_uniform(-0.1, 0.1, *s, rng.next_key(), device).requires_grad();
        let weights: Vec<Tensor> = shapes.iter().map(weight).collect();
        let index = Tensor::new(&(0..batch as u32).collect::<Vec<_>>(), [batch], device);
        let moments = weights.iter().map(|w| vec![w.zeros_like(), w.zeros_like()]).collect();
        let data = images(batch, device)?;
        Ok(Eager { data, index, weights, moments, optimizer: Adam::default(), rng, t: 0 })
    }

    fn step(&mut self) {
        let w = &self.weights;
        let (x, labels) = self.data.batch(&self.index);
        let conv = Conv2dOptions { padding: Padding::Same, activation: Some(Unary::Relu), ..Default::default() };
        let halve = Window { size: [2; 2], stride: [2; 2], dilation: [1; 2], padding: Padding::Valid };
        let x = x.conv2d(&w[0], Some(&w[1]), &conv).max_pool2d(halve);
        let x = x.conv2d(&w[2], Some(&w[3]), &conv).max_pool2d(halve).flatten_from(1);
        let x = x.linear(&w[4], Some(&w[5]), Some(Unary::Relu)).dropout(0.4, self.rng.next_key());
        let losses = x.linear(&w[6], Some(&w[7]), None).cross_entropy(&labels);
        let gradients = losses.mean().backward();
        self.t += 1;
        no_grad(|| {
            for (w, moments) in w.iter().zip(&self.moments) {
                let gradient = gradients.get(w).expect("every weight takes part");
                self.optimizer.step(&self.t.into(), w, gradient, moments);
            }
        });
    }
}

/// Times `step`, which has been run before, on a device that has nothing else to do.
fn recording(name: &str, batch: usize, device: &Device, mut step: impl FnMut()) -> Result<DispatchRow> {
    let (mut recorded, mut submitted, mut dispatches) = (vec![], vec![], 0.0);
    for _ in 0..RUNS {
        device.synchronize()?;
        let before = device.stats().dispatches;
        let start = Instant::now();
        for _ in 0..STEPS {
            step();
        }
        let record = start.elapsed().as_secs_f64();
        device.flush();
        let all = start.elapsed().as_secs_f64();
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

/// Training step by tensors, and inference of the model, at one batch size.
pub fn rows(batch: usize, device: &Device) -> Result<Vec<DispatchRow>> {
    let mut eager = Eager::new(batch, device)?;
    // Buffers, bind groups and pipelines are made in the first steps.
    (0..3).for_each(|_| eager.step());
    let training = recording("fashion_cnn train, eager", batch, device, || eager.step())?;
    let (model, data) = (Net::FashionCnn.build(device)?, images(batch, device)?);
    let index = Tensor::new(&(0..batch as u32).collect::<Vec<_>>(), [batch], device);
    let forward = || drop(model.forward(&data.batch(&index).0));
    (0..3).for_each(|_| forward());
    Ok(vec![training, recording("fashion_cnn infer, eager", batch, device, forward)?])
}
