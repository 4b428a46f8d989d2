//! The training loop.

use std::collections::BTreeMap;
use std::time::Instant;

use tilegrad_core::{Error, RandomKey, Result};
use tilegrad_data::shuffle::{SplitMix64, permutation};

use crate::callbacks::{Batch, Callback, Flow};
use crate::device_data::Source;
use crate::feed::{Feed, OnDevice, Order};
use crate::fit_options::FitOptions;
use crate::history::{Epoch, History};
use crate::model::Model;
use crate::progress::Progress;
use crate::steps::{Parts, Steps};
use crate::summary::bytes;
use crate::totals::Totals;

impl Model {
    /// Trains, and returns what was measured. The data is uploaded once; a
    /// [`DeviceDataset`](crate::DeviceDataset) is not uploaded again, and a [`Loader`](tilegrad_data::Loader) uploads part by part.
    ///
    /// The same data, seeds and device give the same weights, bit by bit.
    ///
    /// # Errors
    /// Before anything runs: when the model is not built or compiled, an option is out of range, or the data is empty or
    /// does not fit the model ([`Error::Label`] for a label that the model has no output for). Later: when the device has no
    /// room for a step with one example at a time, or is lost, and whatever a callback returns. The weights are then those
    /// of the last step that ran.
    pub fn fit<'a>(&mut self, train: impl Into<Source<'a>>, mut options: FitOptions<'_>) -> Result<History> {
        let start = Instant::now();
        options.check()?;
        self.ready()?;
        self.compiled()?.optimizer.check()?;
        let mut data = self.prepare(train.into())?;
        if let Some(weights) = &options.sample_weights {
            data = data.with_weights(weights)?;
        }
        self.arrange()?;
        let mut order: Vec<u32> = (0..data.len() as u32).collect();
        let validation = self.validation(&mut order, &data, &options)?;
        if !options.class_weights.is_empty() {
            self.check_classes(&options.class_weights)?;
            data = data.with_class_weights(&options.class_weights)?;
        }

        let mut callbacks = std::mem::take(&mut options.callbacks);
        let mut totals = self.take_totals()?;
        let run = Run { data, validation, order, options, start };
        run.data.device().reset_peak();
        let history = run.epochs(self, &mut callbacks, &mut totals);
        match &history {
            Ok(_) => self.put_totals(totals),
            Err(_) => self.forget_failed(),
        }
        history
    }

    /// Refuses weights of classes that the model has no output for.
    fn check_classes(&self, weights: &BTreeMap<usize, f32>) -> Result<()> {
        let classes = self.output_shape().and_then(|shape| shape.last().copied()).unwrap_or(1);
        match weights.keys().find(|&&class| class >= classes) {
            Some(class) => Err(Error::invalid("class weights", format!("classes from 0 to {}", classes - 1), class)),
            None => Ok(()),
        }
    }

    /// The validation data with the positions to look at; takes them from `order` if they are part of the training data.
    fn validation(&self, order: &mut Vec<u32>, data: &Feed, options: &FitOptions<'_>) -> Result<Option<Validation>> {
        if let Some(fraction) = options.validation_split {
            // As Keras rounds; 0.29 of 100 must not become 28 through the binary fraction.
            let kept = (order.len() as f64 * (1.0 - fraction) + 1e-6).floor() as usize;
            let held = order.split_off(kept);
            if kept == 0 || held.is_empty() {
                let expected = format!("a fraction that leaves examples on both sides of {}", data.len());
                return Err(Error::invalid("validation split", expected, fraction));
            }
            let count = options.validation_examples(held.len());
            return Ok(Some(Validation { order: data.order(held), data: data.share(), count }));
        }
        let Some(source) = options.validation else { return Ok(None) };
        let data = self.prepare(source)?;
        let count = options.validation_examples(data.len());
        Ok(Some(Validation { order: data.order((0..data.len() as u32).collect()), data, count }))
    }
}

/// What is measured on after epochs.
struct Validation {
    data: Feed,
    order: Order,
    /// How many of them, from the first on.
    count: usize,
}

/// One call of `fit`.
struct Run<'a> {
    data: Feed,
    validation: Option<Validation>,
    /// Positions of the examples to train on.
    order: Vec<u32>,
    options: FitOptions<'a>,
    start: Instant,
}

/// What goes on from epoch to epoch.
struct Going<'a> {
    totals: &'a mut Totals,
    progress: Progress,
    parts: Parts,
}

impl Run<'_> {
    fn epochs(
        &self,
        model: &mut Model,
        callbacks: &mut [Box<dyn Callback + '_>],
        totals: &mut Totals,
    ) -> Result<History> {
        let options = &self.options;
        let progress = Progress::new(options.verbose, options.epochs);
        let mut history = History { examples: self.examples(), batch_size: options.batch_size, ..History::default() };
        let mut order = self.data.order(self.order.clone());
        let parts = Parts::new(options.micro_batch.unwrap_or(usize::MAX).min(options.batch_size));
        let mut going = Going { totals, progress, parts };
        callbacks.iter_mut().try_for_each(|c| c.on_train_begin(model))?;
        for number in options.initial_epoch..options.epochs {
            callbacks.iter_mut().try_for_each(|c| c.on_epoch_begin(number, model))?;
            let started = Instant::now();
            let mut epoch = Epoch { epoch: number, learning_rate: model.scheduled_rate()?, ..Epoch::default() };
            going.progress.start_epoch(number, self.examples().div_ceil(options.batch_size));
            self.train(model, &mut order, &mut epoch, &mut history, &mut going, callbacks)?;
            let due = (number + 1).is_multiple_of(options.validation_freq);
            epoch.validation_skipped = self.validation.is_some() && !due;
            if let Some(Validation { data, order, count }) = self.validation.as_ref().filter(|_| due) {
                let measured = model.measure_all(data, order, *count, options.batch_size)?;
                (epoch.val_loss, epoch.val_accuracy) = (Some(measured.loss), measured.accuracy);
                epoch.val_metrics = measured.metrics;
            }
            model.count_epoch(number)?;
            epoch.seconds = started.elapsed().as_secs_f64();
            going.progress.end_epoch(&epoch);
            history.epochs.push(epoch);
            // Each callback sees the epoch, also when an earlier one wants to stop.
            for callback in callbacks.iter_mut() {
                let epoch = history.epochs.last().expect("just pushed");
                history.stopped |= callback.on_epoch_end(epoch, model)? == Flow::Stop;
            }
            if history.stopped {
                break;
            }
        }
        callbacks.iter_mut().try_for_each(|c| c.on_train_end(model))?;
        history.peak_device_bytes = self.data.device().stats().peak_bytes;
        if let Some(left_out) = self.data.left_out() {
            going.progress.note(&left_out);
        }
        going.progress.note(&format!("tensors took at most {} of device memory", bytes(history.peak_device_bytes)));
        Ok(history)
    }

    /// How many examples an epoch has.
    fn examples(&self) -> usize {
        let most =
            self.options.steps_per_epoch.map_or(usize::MAX, |steps| steps.saturating_mul(self.options.batch_size));
        self.order.len().min(most)
    }

    /// One pass over the training data.
    fn train(
        &self,
        model: &mut Model,
        order: &mut Order,
        epoch: &mut Epoch,
        history: &mut History,
        going: &mut Going<'_>,
        callbacks: &mut [Box<dyn Callback + '_>],
    ) -> Result<()> {
        let options = &self.options;
        let Going { totals, progress, parts } = going;
        // Seeds depend on the epoch's number alone: an epoch is the same whether or not others ran before it.
        let seed = options.seed.unwrap_or(model.ready()?.seed);
        let mut seeds = SplitMix64::new(seed ^ (epoch.epoch as u64).rotate_left(32));
        let (order_seed, rng_seed) = (seeds.next_u64(), seeds.next_u64());
        if options.shuffle {
            let shuffled = permutation(self.order.len(), order_seed).into_iter().map(|i| self.order[i as usize]);
            order.assign(shuffled.collect())?;
        }
        let (count, batch_size) = (self.examples(), options.batch_size);
        totals.reset(batch_size.min(count))?;
        let (batches, mut batch) = (count.div_ceil(batch_size), 0);
        let mut key = RandomKey { seed: rng_seed, counter: 0 };
        let started = Instant::now();
        let mut coming = None;
        // What is made once, such as the optimizer's moments, is made in the very first step, which is not recorded.
        let first = history.epochs.is_empty();
        'epoch: for part in self.data.parts(order, count, batch_size) {
            let OnDevice { data, index } = part?;
            let mut steps = Steps::new(model, &data, &index, batch_size, parts, key)?;
            let is_very_first = first && batch == 0;
            steps.record(!is_very_first && !options.run_eagerly);
            for _ in 0..steps.len() {
                steps.step(model, totals)?;
                progress.step();
                history.micro_batch = steps.micro_batch();
                if let (Some(reason), Some(examples)) = (steps.take_news(), history.micro_batch) {
                    progress.note(&format!(
                        "batches of {batch_size} do not fit, so gradients add up over {examples} examples at a time: \
                         {reason}"
                    ));
                }
                if first && batch == 0 {
                    steps.record(!options.run_eagerly);
                    self.data.device().synchronize()?;
                    history.first_step_seconds = self.start.elapsed().as_secs_f64();
                    history.train_seconds -= started.elapsed().as_secs_f64();
                }
                let done = Batch { epoch: epoch.epoch, batch, batches, totals };
                batch += 1;
                let mut flow = Flow::Continue;
                for callback in callbacks.iter_mut() {
                    if callback.on_batch_end(&done, model)? == Flow::Stop {
                        flow = Flow::Stop;
                    }
                }
                if flow == Flow::Stop {
                    history.stopped = true;
                    break 'epoch;
                }
                if coming.is_none() && progress.is_due() {
                    coming = Some(totals.read_later()?);
                }
                if let Some(means) = coming.as_mut().and_then(|c| c.try_take(totals)) {
                    progress.show(&means?);
                    coming = None;
                }
            }
            key = steps.key();
        }
        let measured = totals.read()?;
        let seconds = started.elapsed().as_secs_f64();
        history.train_seconds += seconds;
        (epoch.loss, epoch.accuracy, epoch.metrics) = (measured.loss, measured.accuracy, measured.metrics);
        epoch.images_per_second = measured.examples as f64 / seconds;
        Ok(())
    }
}
