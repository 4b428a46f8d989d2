//! Ends training when it no longer helps.

use tilegrad_core::Result;

use super::{Callback, Flow, Monitor};
use crate::history::Epoch;
use crate::model::Model;

/// Ends training when a value has not improved for `patience` epochs, and brings the best weights back. It watches the
/// validation loss, or the loss where there is no validation, unless told otherwise. Keras's `EarlyStopping`.
///
/// ```no_run
/// # fn main() -> tilegrad_core::Result<()> {
/// # let (mut model, data) = (tilegrad_nn::Sequential::empty(), tilegrad_data::Digits::load().train);
/// use tilegrad_nn::{EarlyStopping, FitOptions};
/// let mut stop_early = EarlyStopping::new(2);
/// model.fit(&data, FitOptions::new().epochs(20).validation_split(0.2).callback(&mut stop_early))?;
/// println!("the best epoch was {:?}", stop_early.best_epoch());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EarlyStopping {
    patience: usize,
    monitor: Monitor,
    baseline: Option<f32>,
    start_from_epoch: usize,
    restore_best: bool,
    /// Epochs since the last improvement.
    waited: usize,
    best: Option<Best>,
}

/// The best epoch so far.
#[derive(Debug)]
struct Best {
    epoch: usize,
    weights: Vec<Vec<f32>>,
}

impl EarlyStopping {
    /// Stops after this many epochs without an improvement; 0 stops at the first. The best weights come back at the end.
    pub fn new(patience: usize) -> EarlyStopping {
        EarlyStopping {
            patience,
            monitor: Monitor::default(),
            baseline: None,
            start_from_epoch: 0,
            restore_best: true,
            waited: 0,
            best: None,
        }
    }

    /// The value to watch: a name as in [`Epoch::get`], or a [`Monitor`].
    pub fn monitor(mut self, monitor: impl Into<Monitor>) -> EarlyStopping {
        self.monitor = monitor.into();
        self
    }

    /// What has to be reached for an epoch to count as an improvement at all.
    pub fn baseline(mut self, baseline: f32) -> EarlyStopping {
        self.baseline = Some(baseline);
        self
    }

    /// Epochs to let pass before anything is watched.
    pub fn start_from_epoch(mut self, epoch: usize) -> EarlyStopping {
        self.start_from_epoch = epoch;
        self
    }

    /// Whether the weights of the best epoch come back at the end, as they do unless told otherwise.
    pub fn restore_best(mut self, restore: bool) -> EarlyStopping {
        self.restore_best = restore;
        self
    }

    /// The best epoch, from 0, once there was one.
    pub fn best_epoch(&self) -> Option<usize> {
        self.best.as_ref().map(|b| b.epoch)
    }
}

impl Callback for EarlyStopping {
    fn on_train_begin(&mut self, _: &mut Model) -> Result<()> {
        self.monitor.start(self.baseline);
        (self.best, self.waited) = (None, 0);
        Ok(())
    }

    fn on_epoch_end(&mut self, epoch: &Epoch, model: &mut Model) -> Result<Flow> {
        if epoch.epoch < self.start_from_epoch || self.monitor.is_silent(epoch) {
            return Ok(Flow::Continue);
        }
        if !self.monitor.improves(epoch)? {
            self.waited += 1;
            return Ok(if self.waited >= self.patience.max(1) { Flow::Stop } else { Flow::Continue });
        }
        self.waited = 0;
        let weights = match self.restore_best {
            true => model.weights().map(|w| w.tensor().to_vec()).collect::<Result<_>>()?,
            false => Vec::new(),
        };
        self.best = Some(Best { epoch: epoch.epoch, weights });
        Ok(Flow::Continue)
    }

    fn on_train_end(&mut self, model: &mut Model) -> Result<()> {
        let Some(best) = self.best.as_ref().filter(|_| self.restore_best) else { return Ok(()) };
        model.weights().zip(&best.weights).try_for_each(|(w, values)| w.tensor().assign(values))
    }
}
