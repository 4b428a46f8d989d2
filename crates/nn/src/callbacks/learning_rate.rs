//! Learning rates that change between epochs.

use tilegrad_core::{Error, Result};

use super::{Callback, Flow, Monitor};
use crate::history::Epoch;
use crate::model::Model;

/// Sets the learning rate before each epoch to what a function says. Keras's `LearningRateScheduler`.
///
/// ```
/// use tilegrad_nn::{FitOptions, LearningRateScheduler};
/// let halve = LearningRateScheduler::new(|epoch, rate| if epoch < 10 { rate } else { rate * 0.5 });
/// let options = FitOptions::new().epochs(20).callback(halve);
/// ```
#[derive(Debug)]
pub struct LearningRateScheduler<F>(F);

impl<F: FnMut(usize, f32) -> f32> LearningRateScheduler<F> {
    /// Calls this with the epoch, from 0, and the rate so far.
    pub fn new(rate: F) -> LearningRateScheduler<F> {
        LearningRateScheduler(rate)
    }
}

impl<F: FnMut(usize, f32) -> f32> Callback for LearningRateScheduler<F> {
    fn on_epoch_begin(&mut self, epoch: usize, model: &mut Model) -> Result<()> {
        let rate = model.learning_rate()?;
        model.set_learning_rate((self.0)(epoch, rate))
    }
}

/// Makes the learning rate smaller when a value has stopped improving. Keras's `ReduceLROnPlateau` with its defaults: a tenth of
/// it after 10 epochs in which the validation loss has not fallen by more than 0.0001.
///
/// ```
/// use tilegrad_nn::{FitOptions, ReduceLrOnPlateau};
/// let gentle = ReduceLrOnPlateau::new().factor(0.5).patience(3).min_rate(1e-5);
/// let options = FitOptions::new().epochs(20).callback(gentle);
/// ```
#[derive(Debug)]
pub struct ReduceLrOnPlateau {
    monitor: Monitor,
    factor: f32,
    patience: usize,
    cooldown: usize,
    min_rate: f32,
    waited: usize,
    cooling: usize,
}

impl Default for ReduceLrOnPlateau {
    fn default() -> ReduceLrOnPlateau {
        let monitor = Monitor::default().min_delta(1e-4);
        ReduceLrOnPlateau { monitor, factor: 0.1, patience: 10, cooldown: 0, min_rate: 0.0, waited: 0, cooling: 0 }
    }
}

impl ReduceLrOnPlateau {
    /// Keras's defaults.
    pub fn new() -> ReduceLrOnPlateau {
        ReduceLrOnPlateau::default()
    }

    /// The value to watch: a name as in [`Epoch::get`], or a [`Monitor`].
    pub fn monitor(mut self, monitor: impl Into<Monitor>) -> ReduceLrOnPlateau {
        self.monitor = monitor.into();
        self
    }

    /// What the rate is multiplied by: more than 0 and less than 1.
    pub fn factor(mut self, factor: f32) -> ReduceLrOnPlateau {
        self.factor = factor;
        self
    }

    /// Epochs without an improvement after which it happens.
    pub fn patience(mut self, epochs: usize) -> ReduceLrOnPlateau {
        self.patience = epochs;
        self
    }

    /// Epochs after a change in which nothing is counted.
    pub fn cooldown(mut self, epochs: usize) -> ReduceLrOnPlateau {
        self.cooldown = epochs;
        self
    }

    /// The rate does not go below this.
    pub fn min_rate(mut self, rate: f32) -> ReduceLrOnPlateau {
        self.min_rate = rate;
        self
    }
}

impl Callback for ReduceLrOnPlateau {
    fn on_train_begin(&mut self, _: &mut Model) -> Result<()> {
        if !(self.factor > 0.0 && self.factor < 1.0) {
            return Err(Error::invalid("factor of ReduceLrOnPlateau", "more than 0 and less than 1", self.factor));
        }
        self.monitor.start(None);
        (self.waited, self.cooling) = (0, 0);
        Ok(())
    }

    fn on_epoch_end(&mut self, epoch: &Epoch, model: &mut Model) -> Result<Flow> {
        if self.cooling > 0 {
            (self.cooling, self.waited) = (self.cooling - 1, 0);
        }
        if self.monitor.is_silent(epoch) {
            return Ok(Flow::Continue);
        }
        if self.monitor.improves(epoch)? {
            self.waited = 0;
        } else if self.cooling == 0 {
            self.waited += 1;
            if self.waited >= self.patience {
                let rate = model.learning_rate()?;
                model.set_learning_rate((rate * self.factor).max(self.min_rate.min(rate)))?;
                (self.cooling, self.waited) = (self.cooldown, 0);
            }
        }
        Ok(Flow::Continue)
    }
}
