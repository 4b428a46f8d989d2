//! The steps of an epoch: the first is recorded as it runs, and the others are that recording, replayed.
//!
//! A replayed step launches the same kernels with the same buffers and parameters. What differs from step to step is on the
//! device: which examples the batch has, the number of the step and dropout's keys follow from a clock. Where a step can't be
//! recorded (on the CPU, or because a layer or an optimizer takes numbers from the host), each step runs on its own, with the
//! same results bit by bit.

use tilegrad_core::{Clock, Recording, Result, Rng, Tensor};

use crate::device_data::DeviceDataset;
use crate::metrics::Totals;
use crate::model::Sequential;

/// How the next whole batch is trained on.
enum Next {
    Eager,
    /// As eager, and kept.
    Record,
    /// The step, and the keys of random numbers that it uses.
    Replay(Recording, u32),
}

/// The steps of one epoch.
pub(crate) struct Steps<'a> {
    data: &'a DeviceDataset,
    /// Positions of the examples, in the order of the epoch.
    order: &'a Tensor,
    batch_size: usize,
    clock: Clock,
    rng: Rng,
    start: usize,
    next: Next,
}

impl<'a> Steps<'a> {
    /// Starts an epoch over the examples at `order (M)`.
    pub(crate) fn new(
        model: &mut Sequential,
        data: &'a DeviceDataset,
        order: &'a Tensor,
        batch_size: usize,
        seed: u64,
    ) -> Result<Steps<'a>> {
        let (clock, rng) = model.start_clock(seed)?;
        Ok(Steps { data, order, batch_size, clock, rng, start: 0, next: Next::Eager })
    }

    /// Whether the next step is recorded, and replayed from then on, where that is possible.
    pub(crate) fn record(&mut self, on: bool) {
        self.next = if on { Next::Record } else { Next::Eager };
    }

    /// Number of steps.
    pub(crate) fn len(&self) -> usize {
        self.order.len().div_ceil(self.batch_size)
    }

    /// Trains on the next batch.
    pub(crate) fn step(&mut self, model: &mut Sequential, totals: &mut Totals) -> Result<()> {
        let left = self.order.len() - self.start;
        if left < self.batch_size {
            // The last batch is smaller. What the recording holds is free for it.
            self.next = Next::Eager;
        }
        let size = left.min(self.batch_size);
        match &self.next {
            Next::Replay(recording, keys) => {
                recording.replay()?;
                self.rng.skip(*keys);
                totals.count(size);
                model.count_step()?;
            }
            Next::Record if left >= 2 * size => {
                let before = self.rng.state().counter;
                let device = self.data.device();
                let (done, recording) = device.record(|| {
                    let (x, y) = self.data.batch(&self.clock.batch(self.order, size));
                    model.step(&x, &y, &mut self.rng, totals)
                });
                done?;
                let keys = self.rng.state().counter.wrapping_sub(before) as u32;
                self.next = recording.map_or(Next::Eager, |recording| Next::Replay(recording, keys));
            }
            Next::Record | Next::Eager => {
                let (x, y) = self.data.batch(&self.order.slice_axis(0, self.start..self.start + size));
                model.step(&x, &y, &mut self.rng, totals)?;
            }
        }
        self.start += size;
        Ok(())
    }
}
