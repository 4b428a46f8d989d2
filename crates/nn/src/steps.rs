//! The steps of an epoch: the first is recorded as it runs, and the others are that recording, replayed.
//!
//! A replayed step launches the same kernels with the same buffers and parameters. What differs from step to step is on the
//! device: which examples the batch has, the number of the step and dropout's keys follow from a clock. The learning rate is a
//! parameter, so a step is recorded in two halves, gradients and update: while the rate changes from step to step, the update,
//! which is a few kernels, runs on its own. What can't be recorded (on the CPU, or because a layer or an optimizer takes
//! numbers from the host) runs on its own each time, with the same results bit by bit. A batch for which memory does not
//! suffice is worked on in parts.

use std::mem::take;

use tilegrad_core::{Clock, Device, Error, RandomKey, Recording, Result, Rng, Tensor};

use crate::device_data::DeviceDataset;
use crate::model::Model;
use crate::totals::Totals;
use crate::train::Batch;
use crate::undo::{Undo, is_of_memory};

/// How half of the next step, of a whole batch, is done.
#[derive(Default)]
enum Half {
    #[default]
    Eager,
    /// As eager, and kept.
    Record,
    Replay(Recording),
}

impl Half {
    /// Does it, and tells how it is done the next time and whether this was a replay. Otherwise `work` has run, told whether it
    /// is being recorded, which pays unless this is the `last` time.
    fn run(self, device: &Device, last: bool, work: impl FnOnce(bool) -> Result<()>) -> Result<(Half, bool)> {
        match self {
            Half::Replay(recording) => {
                recording.replay()?;
                Ok((Half::Replay(recording), true))
            }
            Half::Record if !last => {
                let (done, recording) = device.record(|| work(true));
                done?;
                Ok((recording.map_or(Half::Eager, Half::Replay), false))
            }
            other => {
                work(false)?;
                Ok((other, false))
            }
        }
    }
}

/// How many examples are worked on at a time: fewer than a batch if that is asked for, or if more have not fitted. Lasts
/// from epoch to epoch.
pub(crate) struct Parts {
    size: usize,
    /// Why it is less than it was at the last look.
    news: Option<Error>,
    /// Whether there was room to record a step.
    record: bool,
    undo: Undo,
}

impl Parts {
    pub(crate) fn new(size: usize) -> Parts {
        Parts { size, news: None, record: true, undo: Undo::default() }
    }

    /// Goes on with half of what was too much for memory.
    fn halve(&mut self, batch: usize, reason: Error) {
        self.size = self.size.min(batch).div_ceil(2);
        (self.news, self.record) = (Some(reason), true);
    }
}

/// The steps of an epoch, or of a part of it.
pub(crate) struct Steps<'a> {
    data: &'a DeviceDataset,
    /// Positions of the examples, in the order of the epoch.
    order: &'a Tensor,
    batch_size: usize,
    parts: &'a mut Parts,
    clock: Clock,
    rng: Rng,
    start: usize,
    /// Whether steps are to be recorded.
    record: bool,
    gradients: Half,
    update: Half,
    /// How many keys of random numbers the last gradients took.
    keys: u32,
    /// The learning rate of the last step, which a recorded update would repeat.
    rate: f32,
    /// Whether it has changed since an update was recorded.
    stale: bool,
}

impl<'a> Steps<'a> {
    /// Starts to go over the examples at `order (M)`, with random numbers from this key on.
    pub(crate) fn new(
        model: &mut Model,
        data: &'a DeviceDataset,
        order: &'a Tensor,
        batch_size: usize,
        parts: &'a mut Parts,
        key: RandomKey,
    ) -> Result<Steps<'a>> {
        let (clock, rng) = model.start_clock(key)?;
        let (start, record, gradients, update) = (0, false, Half::Eager, Half::Eager);
        let (keys, rate, stale) = (0, model.scheduled_rate()?, false);
        Ok(Steps { data, order, batch_size, parts, clock, rng, start, record, gradients, update, keys, rate, stale })
    }

    /// Where random numbers go on after the steps so far.
    pub(crate) fn key(&self) -> RandomKey {
        self.rng.state()
    }

    /// Whether the next step is recorded, and replayed from then on, where that is possible.
    pub(crate) fn record(&mut self, on: bool) {
        self.record = on;
        (self.gradients, self.update) = (self.anew(), self.anew());
    }

    /// How a half is done of which nothing is recorded.
    fn anew(&self) -> Half {
        if self.record && self.parts.record { Half::Record } else { Half::Eager }
    }

    /// Number of steps.
    pub(crate) fn len(&self) -> usize {
        self.order.len().div_ceil(self.batch_size)
    }

    /// How many examples are worked on at a time, if that is fewer than a batch has.
    pub(crate) fn micro_batch(&self) -> Option<usize> {
        Some(self.parts.size).filter(|&size| size < self.batch_size)
    }

    /// Why it has become fewer, once.
    pub(crate) fn take_news(&mut self) -> Option<Error> {
        self.parts.news.take()
    }

    /// Trains on the next batch. If memory runs out, the step is taken back and done again with half as many examples at a
    /// time.
    ///
    /// # Errors
    /// When there is no room for one example; and when the device has failed.
    pub(crate) fn step(&mut self, model: &mut Model, totals: &mut Totals) -> Result<()> {
        let left = self.order.len() - self.start;
        self.follow(model.scheduled_rate()?);
        if left < self.batch_size {
            // The last batch is smaller. What the recordings hold is free for it.
            (self.gradients, self.update) = (Half::Eager, Half::Eager);
        }
        let size = left.min(self.batch_size);
        if let (Half::Replay(_), Half::Replay(_)) = (&self.gradients, &self.update) {
            // Which allocates nothing.
            self.run(size, model, totals)?;
        } else {
            self.parts.undo.save(model, totals, &self.rng)?;
            loop {
                let is_eager = matches!((&self.gradients, &self.update), (Half::Eager, Half::Eager));
                let Err(error) = self.run(size, model, totals) else { break };
                if !is_of_memory(&error) {
                    return Err(error);
                }
                self.parts.undo.restore(model, totals, &mut self.rng);
                if !is_eager {
                    // Buffers of other sizes that a recording is done with are not free for the rest of it.
                    (self.gradients, self.update, self.parts.record) = (Half::Eager, Half::Eager, false);
                } else if self.parts.size.min(size) == 1 {
                    return Err(error);
                } else {
                    self.parts.halve(size, error);
                    self.record(self.record);
                }
            }
        }
        self.start += size;
        Ok(())
    }

    /// A recorded update has the learning rate that it was made with. While the rate changes, updates run on their own; when it
    /// has stayed for a step, the next is recorded again.
    fn follow(&mut self, rate: f32) {
        if rate.to_bits() != self.rate.to_bits() {
            (self.rate, self.stale, self.update) = (rate, true, Half::Eager);
        } else if take(&mut self.stale) {
            self.update = self.anew();
        }
    }

    /// Runs a step on the next `size` examples, and records what is due of it.
    fn run(&mut self, size: usize, model: &mut Model, totals: &mut Totals) -> Result<()> {
        let (device, order) = (self.data.device(), self.order);
        let last = order.len() - self.start < 2 * size;
        let (gradients, replayed) = take(&mut self.gradients).run(device, last, |recorded| {
            let index = if recorded {
                self.clock.batch(order, size)
            } else {
                order.slice_axis(0, self.start..self.start + size)
            };
            self.pack_gradients(&index, model, totals)
        })?;
        self.gradients = gradients;
        if replayed {
            self.rng.skip(self.keys);
            totals.count(size);
        }
        let (update, replayed) = take(&mut self.update).run(device, last, |_| model.update(self.keys))?;
        self.update = update;
        if replayed {
            model.count_step()?;
        }
        Ok(())
    }

    /// The gradients of the examples at these positions.
    fn pack_gradients(&mut self, index: &Tensor, model: &mut Model, totals: &mut Totals) -> Result<()> {
        let (data, size) = (self.data, index.len());
        let get = |range| data.examples(&index.slice_axis(0, range));
        let batch = Batch { size, part: self.parts.size.min(size), get: &get };
        model.pack_gradients(&batch, &mut self.rng, totals)?;
        self.keys = self.rng.end_step();
        Ok(())
    }
}
