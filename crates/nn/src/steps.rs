//! The steps of an epoch: the first is recorded as it runs, and the others are that recording, replayed.
//!
//! A replayed step launches the same kernels with the same buffers and parameters. What differs from step to step is on the
//! device: which examples the batch has, the number of the step and dropout's keys follow from a clock. Where a step can't be
//! recorded (on the CPU, or because a layer or an optimizer takes numbers from the host), each step runs on its own, with the
//! same results bit by bit. A batch for which memory does not suffice is worked on in parts.

use tilegrad_core::{Clock, Error, RandomKey, Recording, Result, Rng, Tensor};

use crate::device_data::DeviceDataset;
use crate::model::Model;
use crate::totals::Totals;
use crate::train::Batch;
use crate::undo::{Undo, is_of_memory};

/// How the next whole batch is trained on.
enum Next {
    Eager,
    /// As eager, and kept.
    Record,
    /// The step, and the keys of random numbers that it uses.
    Replay(Recording, u32),
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
    next: Next,
    /// The learning rate of the last step, which a recording would repeat.
    rate: f32,
    /// Whether it has changed since something was recorded.
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
        let (start, record, next) = (0, false, Next::Eager);
        let (rate, stale) = (model.scheduled_rate()?, false);
        Ok(Steps { data, order, batch_size, parts, clock, rng, start, record, next, rate, stale })
    }

    /// Where random numbers go on after the steps so far.
    pub(crate) fn key(&self) -> RandomKey {
        self.rng.state()
    }

    /// Whether the next step is recorded, and replayed from then on, where that is possible.
    pub(crate) fn record(&mut self, on: bool) {
        self.record = on;
        self.next = if on && self.parts.record { Next::Record } else { Next::Eager };
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
            // The last batch is smaller. What the recording holds is free for it.
            self.next = Next::Eager;
        }
        let size = left.min(self.batch_size);
        if let Next::Replay(recording, keys) = &self.next {
            recording.replay()?;
            self.rng.skip(*keys);
            totals.count(size);
            model.count_step()?;
        } else {
            self.parts.undo.save(model, totals, &self.rng)?;
            while let Err(error) = self.run(size, model, totals) {
                if !is_of_memory(&error) {
                    return Err(error);
                }
                self.parts.undo.restore(model, totals, &mut self.rng);
                match self.next {
                    // Buffers of other sizes that a recording is done with are not free for the rest of it.
                    Next::Record => (self.next, self.parts.record) = (Next::Eager, false),
                    _ if self.parts.size.min(size) == 1 => return Err(error),
                    _ => {
                        self.parts.halve(size, error);
                        self.record(self.record);
                    }
                }
            }
        }
        self.start += size;
        Ok(())
    }

    /// A recording has the learning rate that it was made with. While the rate changes, steps run on their own; when it has
    /// stayed for a step, the next is recorded again.
    fn follow(&mut self, rate: f32) {
        if rate.to_bits() != self.rate.to_bits() {
            (self.rate, self.stale, self.next) = (rate, true, Next::Eager);
        } else if std::mem::take(&mut self.stale) {
            self.record(self.record);
        }
    }

    /// Runs a step on the next `size` examples, and records it if that is due.
    fn run(&mut self, size: usize, model: &mut Model, totals: &mut Totals) -> Result<()> {
        let part = self.parts.size.min(size);
        let before = self.rng.state().counter;
        let (data, rng) = (self.data, &mut self.rng);
        let mut train = |index: Tensor| {
            let get = |range| data.examples(&index.slice_axis(0, range));
            model.step(&Batch { size, part, get: &get }, rng, totals)
        };
        if !matches!(self.next, Next::Record) || self.order.len() - self.start < 2 * size {
            return train(self.order.slice_axis(0, self.start..self.start + size));
        }
        let (done, recording) = data.device().record(|| train(self.clock.batch(self.order, size)));
        done?;
        let keys = self.rng.state().counter.wrapping_sub(before) as u32;
        self.next = recording.map_or(Next::Eager, |recording| Next::Replay(recording, keys));
        Ok(())
    }
}
