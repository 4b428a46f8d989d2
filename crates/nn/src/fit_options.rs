//! How to fit: data to validate on, batches, epochs, weights, hooks.

use std::collections::BTreeMap;

use tilegrad_core::{Error, Result};

use crate::callbacks::Callback;
use crate::device_data::Source;
use crate::evaluate::{BATCH_SIZE, check_batch_size};
use crate::progress::Verbose;

/// How to [`fit`](crate::Model::fit). The defaults are Keras's: one epoch, batches of 32, shuffled, no validation.
///
/// ```
/// use tilegrad_nn::FitOptions;
/// let options = FitOptions::new().epochs(20).batch_size(64).validation_split(0.2).seed(7);
/// ```
pub struct FitOptions<'a> {
    pub(crate) epochs: usize,
    pub(crate) initial_epoch: usize,
    pub(crate) batch_size: usize,
    pub(crate) micro_batch: Option<usize>,
    pub(crate) validation: Option<Source<'a>>,
    pub(crate) validation_split: Option<f64>,
    pub(crate) sample_weights: Option<Vec<f32>>,
    pub(crate) class_weights: BTreeMap<usize, f32>,
    pub(crate) steps_per_epoch: Option<usize>,
    pub(crate) validation_steps: Option<usize>,
    pub(crate) validation_freq: usize,
    pub(crate) shuffle: bool,
    pub(crate) seed: Option<u64>,
    pub(crate) run_eagerly: bool,
    pub(crate) verbose: Verbose,
    pub(crate) callbacks: Vec<Box<dyn Callback + 'a>>,
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
    pub(crate) fn validation_examples(&self, there: usize) -> usize {
        self.validation_steps.map_or(there, |steps| steps.saturating_mul(self.batch_size).min(there))
    }

    pub(crate) fn check(&self) -> Result<()> {
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
