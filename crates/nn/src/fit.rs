//! The training loop.

use std::collections::BTreeMap;
use std::time::Instant;

use tilegrad_core::{Error, Result, Tensor};
use tilegrad_data::shuffle::{SplitMix64, permutation};

use crate::callbacks::{Batch, Callback, Flow};
use crate::device_data::{DeviceDataset, Source};
use crate::evaluate::{BATCH_SIZE, check_batch_size, positions};
use crate::history::{Epoch, History};
use crate::metrics::Totals;
use crate::model::Model;
use crate::progress::{Progress, Verbose};
use crate::steps::{Parts, Steps};
use crate::summary::bytes;
use crate::train::Evaluation;

/// How to [`fit`](Model::fit). The defaults are Keras's: one epoch, batches of 32, shuffled, no validation.
///
/// ```
/// use tilegrad_nn::FitOptions;
/// let options = FitOptions::new().epochs(20).batch_size(64).validation_split(0.2).seed(7);
/// ```
pub struct FitOptions<'a> {
    epochs: usize,
    initial_epoch: usize,
    batch_size: usize,
    micro_batch: Option<usize>,
    validation: Option<Source<'a>>,
    validation_split: Option<f64>,
    sample_weights: Option<Vec<f32>>,
    class_weights: BTreeMap<usize, f32>,
    steps_per_epoch: Option<usize>,
    validation_steps: Option<usize>,
    validation_freq: usize,
    shuffle: bool,
    seed: Option<u64>,
    run_eagerly: bool,
    verbose: Verbose,
    callbacks: Vec<Box<dyn Callback + 'a>>,
}

impl Default for FitOptions<'_> {
    fn default() -> Self {
        FitOptions {
            epochs: 1,
            initial_epoch: 0,
            batch_size: BATCH_SIZE,
            micro_batch: None,
            validation: None,
            validation_split: None,
            sample_weights: None,
            class_weights: BTreeMap::new(),
            steps_per_epoch: None,
            validation_steps: None,
            validation_freq: 1,
            shuffle: true,
            seed: None,
            run_eagerly: false,
            verbose: Verbose::Auto,
            callbacks: Vec::new(),
        }
    }
}

impl<'a> FitOptions<'a> {
    /// Keras's defaults.
    pub fn new() -> FitOptions<'a> {
        FitOptions::default()
    }

    /// The number of the epoch to train to, which is how many there are unless [`FitOptions::initial_epoch`] is set.
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// Epochs that were trained before: training that goes on after a break shuffles as if there had been none.
    pub fn initial_epoch(mut self, epoch: usize) -> Self {
        self.initial_epoch = epoch;
        self
    }

    /// Examples a step.
    pub fn batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// Works on this many examples of a batch at a time and adds up their gradients before the step, so that large batches
    /// take the memory of small ones. Without it that happens when a batch does not fit the device, with half as many
    /// examples until they fit.
    ///
    /// The step is that of the whole batch, but for rounding, and for layers that look at what they get at a time: dropout
    /// draws other masks, and batch normalization takes its statistics from the examples at hand and moves its running ones
    /// each time.
    pub fn micro_batch(mut self, examples: usize) -> Self {
        self.micro_batch = Some(examples);
        self
    }

    /// Data to measure on after each epoch.
    pub fn validation(mut self, data: impl Into<Source<'a>>) -> Self {
        self.validation = Some(data.into());
        self
    }

    /// Keeps this fraction at the end of the training data, before shuffling, to measure on, as Keras does.
    pub fn validation_split(mut self, fraction: f64) -> Self {
        self.validation_split = Some(fraction);
        self
    }

    /// What each training example counts in the loss: one number an example, in the data's order. The loss of a batch is the
    /// sum of weight times loss over its examples, divided by how many there are, as in Keras; metrics don't heed weights. With
    /// [`FitOptions::validation_split`], those of the held part count in its loss.
    pub fn sample_weights(mut self, weights: impl Into<Vec<f32>>) -> Self {
        self.sample_weights = Some(weights.into());
        self
    }

    /// What the training examples of a class count in the loss, as `(class, weight)`, times their sample weights; 1 for a class
    /// that is not named. So that a rare class is not overlooked, give it the weight
    /// `examples / (classes * examples of the class)`.
    pub fn class_weights(mut self, weights: impl IntoIterator<Item = (usize, f32)>) -> Self {
        self.class_weights = weights.into_iter().collect();
        self
    }

    /// Ends an epoch after so many batches, if there are more: the next one takes others, if examples are shuffled.
    pub fn steps_per_epoch(mut self, steps: usize) -> Self {
        self.steps_per_epoch = Some(steps);
        self
    }

    /// Measures on so many batches of the validation data, the first ones, if there are more.
    pub fn validation_steps(mut self, steps: usize) -> Self {
        self.validation_steps = Some(steps);
        self
    }

    /// Measures on the validation data after every so many epochs: 1 unless told otherwise.
    pub fn validation_freq(mut self, epochs: usize) -> Self {
        self.validation_freq = epochs;
        self
    }

    /// Whether the examples come in another order each epoch.
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// Decides order and dropout. Without one, the seed that the model was built with does.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Whether each step goes through layers, loss and optimizer. By default, on a GPU, the first step of an epoch does, and
    /// its kernels are launched again for the others: the same numbers at a fraction of the host's time. Needed only for a
    /// layer or a loss of your own that does something else each time it is called without asking its context for random
    /// numbers.
    pub fn run_eagerly(mut self, eagerly: bool) -> Self {
        self.run_eagerly = eagerly;
        self
    }

    /// What is written to stderr.
    pub fn verbose(mut self, verbose: Verbose) -> Self {
        self.verbose = verbose;
        self
    }

    /// Adds a hook that is called between epochs and batches: the callback itself, or `&mut` one that is looked at afterwards.
    pub fn callback(mut self, callback: impl Callback + 'a) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// How many of the validation examples are looked at.
    fn validation_examples(&self, there: usize) -> usize {
        self.validation_steps.map_or(there, |steps| steps.saturating_mul(self.batch_size).min(there))
    }

    fn check(&self) -> Result<()> {
        check_batch_size(self.batch_size)?;
        if self.micro_batch == Some(0) {
            return Err(Error::invalid("micro batch", "at least 1", 0));
        }
        for (what, number) in [
            ("steps per epoch", self.steps_per_epoch.unwrap_or(1)),
            ("validation steps", self.validation_steps.unwrap_or(1)),
            ("validation frequency", self.validation_freq),
        ] {
            if number == 0 {
                return Err(Error::invalid(what, "at least 1", 0));
            }
        }
        if let Some((class, weight)) = self.class_weights.iter().find(|(_, w)| !(w.is_finite() && **w >= 0.0)) {
            return Err(Error::invalid(format!("weight of class {class}"), "a finite number from 0 on", weight));
        }
        if self.epochs == 0 {
            return Err(Error::invalid("epochs", "at least 1", 0));
        }
        if self.epochs <= self.initial_epoch {
            let expected = format!("more than the {} that were trained before", self.initial_epoch);
            return Err(Error::invalid("epochs", expected, self.epochs));
        }
        if self.validation.is_some() && self.validation_split.is_some() {
            return Err(Error::invalid("validation", "data or a fraction of the training data", "both"));
        }
        match self.validation_split {
            Some(fraction) if !(fraction > 0.0 && fraction < 1.0) => {
                Err(Error::invalid("validation split", "more than 0 and less than 1", fraction))
            }
            _ => Ok(()),
        }
    }
}

impl Model {
    /// Trains, and returns what was measured. The data is uploaded once; a [`DeviceDataset`] is not uploaded again.
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
    fn validation(
        &self,
        order: &mut Vec<u32>,
        data: &DeviceDataset,
        options: &FitOptions<'_>,
    ) -> Result<Option<(DeviceDataset, Tensor)>> {
        if let Some(fraction) = options.validation_split {
            // As Keras rounds; 0.29 of 100 must not become 28 through the binary fraction.
            let kept = (order.len() as f64 * (1.0 - fraction) + 1e-6).floor() as usize;
            let held = order.split_off(kept);
            if kept == 0 || held.is_empty() {
                let expected = format!("a fraction that leaves examples on both sides of {}", data.len());
                return Err(Error::invalid("validation split", expected, fraction));
            }
            let held = &held[..options.validation_examples(held.len())];
            let index = Tensor::new(held, [held.len()], data.device());
            return Ok(Some((data.clone(), index)));
        }
        let Some(source) = options.validation else { return Ok(None) };
        let data = self.prepare(source)?;
        let index = positions(options.validation_examples(data.len()), data.device());
        Ok(Some((data, index)))
    }
}

/// One call of `fit`.
struct Run<'a> {
    data: DeviceDataset,
    validation: Option<(DeviceDataset, Tensor)>,
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
        let accuracy = model.compiled()?.accuracy;
        let progress = Progress::new(options.verbose, options.epochs, accuracy);
        let mut history = History { examples: self.examples(), batch_size: options.batch_size, ..History::default() };
        let index = Tensor::new(&self.order, [self.order.len()], self.data.device());
        let parts = Parts::new(options.micro_batch.unwrap_or(usize::MAX).min(options.batch_size));
        let mut going = Going { totals, progress, parts };
        callbacks.iter_mut().try_for_each(|c| c.on_train_begin(model))?;
        for number in options.initial_epoch..options.epochs {
            callbacks.iter_mut().try_for_each(|c| c.on_epoch_begin(number, model))?;
            let started = Instant::now();
            let mut epoch = Epoch { epoch: number, learning_rate: model.scheduled_rate()?, ..Epoch::default() };
            going.progress.start_epoch(number, self.examples().div_ceil(options.batch_size));
            self.train(model, &index, &mut epoch, &mut history, &mut going, callbacks)?;
            let due = (number + 1).is_multiple_of(options.validation_freq);
            epoch.validation_skipped = self.validation.is_some() && !due;
            if let Some((data, index)) = self.validation.as_ref().filter(|_| due) {
                let measured = model.measure_all(data, index, options.batch_size)?;
                let measured = Evaluation::new(measured, accuracy, index.len());
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
        index: &Tensor,
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
            let order: Vec<u32> =
                permutation(self.order.len(), order_seed).into_iter().map(|i| self.order[i as usize]).collect();
            index.assign(&order)?;
        }
        let index = &index.slice_axis(0, 0..self.examples());
        let mut steps = Steps::new(model, &self.data, index, options.batch_size, parts, rng_seed)?;
        totals.reset(options.batch_size.min(index.len()))?;
        let started = Instant::now();
        let mut coming = None;
        // What is made once, such as the optimizer's moments, is made in the very first step, which is not recorded.
        let first = history.epochs.is_empty();
        steps.record(!first && !options.run_eagerly);
        for step in 0..steps.len() {
            steps.step(model, totals)?;
            progress.step();
            history.micro_batch = steps.micro_batch();
            if let (Some(reason), Some(examples)) = (steps.take_news(), history.micro_batch) {
                let batch = options.batch_size;
                progress.note(&format!(
                    "batches of {batch} do not fit, so gradients add up over {examples} examples at a time: {reason}"
                ));
            }
            if step == 0 && first {
                steps.record(!options.run_eagerly);
                self.data.device().synchronize()?;
                history.first_step_seconds = self.start.elapsed().as_secs_f64();
                history.train_seconds -= started.elapsed().as_secs_f64();
            }
            let batch = Batch { epoch: epoch.epoch, batch: step, batches: steps.len(), totals };
            let mut flow = Flow::Continue;
            for callback in callbacks.iter_mut() {
                if callback.on_batch_end(&batch, model)? == Flow::Stop {
                    flow = Flow::Stop;
                }
            }
            if flow == Flow::Stop {
                history.stopped = true;
                break;
            }
            if coming.is_none() && progress.is_due() {
                coming = Some(totals.read_later()?);
            }
            if let Some(means) = coming.as_mut().and_then(|c| c.try_take()) {
                progress.show(means?);
                coming = None;
            }
        }
        let measured = totals.read()?;
        let seconds = started.elapsed().as_secs_f64();
        history.train_seconds += seconds;
        let measured = Evaluation::new(measured, model.compiled()?.accuracy, index.len());
        (epoch.loss, epoch.accuracy, epoch.metrics) = (measured.loss, measured.accuracy, measured.metrics);
        epoch.images_per_second = index.len() as f64 / seconds;
        Ok(())
    }
}
