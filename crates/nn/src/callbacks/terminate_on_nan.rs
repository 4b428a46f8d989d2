//! Ends training that has gone wrong.

use tilegrad_core::Result;

use super::{Batch, Callback, Flow};
use crate::history::Epoch;
use crate::model::Model;

/// Ends training when the loss is infinite or no number. Keras's `TerminateOnNaN`.
///
/// It looks at the end of each epoch, and within it every so many batches: for each look the host waits for the device.
///
/// ```
/// use tilegrad_nn::{FitOptions, TerminateOnNan};
/// let options = FitOptions::new().epochs(20).callback(TerminateOnNan::new());
/// ```
#[derive(Debug)]
pub struct TerminateOnNan {
    every: usize,
    stopped: bool,
}

impl Default for TerminateOnNan {
    fn default() -> TerminateOnNan {
        TerminateOnNan { every: 100, stopped: false }
    }
}

impl TerminateOnNan {
    /// Looks every 100 batches.
    pub fn new() -> TerminateOnNan {
        TerminateOnNan::default()
    }

    /// Looks after so many batches; after each with 1.
    pub fn every(mut self, batches: usize) -> TerminateOnNan {
        self.every = batches.max(1);
        self
    }

    fn look(&mut self, loss: f32) -> Flow {
        self.stopped |= !loss.is_finite();
        if self.stopped { Flow::Stop } else { Flow::Continue }
    }
}

impl Callback for TerminateOnNan {
    fn on_train_begin(&mut self, _: &mut Model) -> Result<()> {
        self.stopped = false;
        Ok(())
    }

    fn on_batch_end(&mut self, batch: &Batch<'_>, _: &mut Model) -> Result<Flow> {
        match (batch.batch + 1).is_multiple_of(self.every) {
            true => Ok(self.look(batch.loss()?)),
            false => Ok(Flow::Continue),
        }
    }

    fn on_epoch_end(&mut self, epoch: &Epoch, _: &mut Model) -> Result<Flow> {
        Ok(self.look(epoch.loss))
    }
}
