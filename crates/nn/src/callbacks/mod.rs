//! Hooks into training: the trait, and the callbacks that Keras has, one a file.

mod csv_logger;
mod early_stopping;
mod lambda;
mod learning_rate;
mod model_checkpoint;
mod monitor;
mod tensor_board;
mod terminate_on_nan;

pub use csv_logger::CsvLogger;
pub use early_stopping::EarlyStopping;
pub use lambda::LambdaCallback;
pub use learning_rate::{LearningRateScheduler, ReduceLrOnPlateau};
pub use model_checkpoint::ModelCheckpoint;
pub use monitor::{Goal, Monitor};
pub use tensor_board::TensorBoard;
pub use terminate_on_nan::TerminateOnNan;

use tilegrad_core::Result;

use crate::history::Epoch;
use crate::model::Model;
use crate::totals::Totals;

/// Whether training goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    #[default]
    Continue,
    /// This was the last epoch; after a batch, the last batch too.
    Stop,
}

/// What a callback learns after a batch.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The epoch, from 0.
    pub epoch: usize,
    /// The batch within the epoch, from 0.
    pub batch: usize,
    /// Batches of an epoch.
    pub batches: usize,
    pub(crate) totals: &'a Totals,
}

impl Batch<'_> {
    /// The mean loss of the epoch so far. Waits for the device, which otherwise runs ahead of the host: not for each batch.
    ///
    /// # Errors
    /// When the device failed.
    pub fn loss(&self) -> Result<f32> {
        Ok(self.totals.read()?.loss)
    }
}

/// What `fit` calls between epochs and batches. It gets the model and may change it: save it, set the learning rate, restore
/// weights.
///
/// ```
/// use tilegrad_core::Result;
/// use tilegrad_nn::{Callback, Epoch, Flow, Model};
///
/// /// Halves the learning rate after each epoch, and stops when the loss is no number.
/// struct Halve;
/// impl Callback for Halve {
///     fn on_epoch_end(&mut self, epoch: &Epoch, model: &mut Model) -> Result<Flow> {
///         model.set_learning_rate(epoch.learning_rate / 2.0)?;
///         Ok(if epoch.loss.is_nan() { Flow::Stop } else { Flow::Continue })
///     }
/// }
/// ```
pub trait Callback {
    /// Before the first epoch.
    ///
    /// # Errors
    /// An error ends training and is `fit`'s.
    fn on_train_begin(&mut self, _model: &mut Model) -> Result<()> {
        Ok(())
    }

    /// Before an epoch, from 0.
    ///
    /// # Errors
    /// As [`Callback::on_train_begin`].
    fn on_epoch_begin(&mut self, _epoch: usize, _model: &mut Model) -> Result<()> {
        Ok(())
    }

    /// After a batch. The device may still be at work on it: see [`Batch::loss`].
    ///
    /// # Errors
    /// As [`Callback::on_train_begin`].
    fn on_batch_end(&mut self, _batch: &Batch<'_>, _model: &mut Model) -> Result<Flow> {
        Ok(Flow::Continue)
    }

    /// After an epoch and its validation.
    ///
    /// # Errors
    /// As [`Callback::on_train_begin`].
    fn on_epoch_end(&mut self, _epoch: &Epoch, _model: &mut Model) -> Result<Flow> {
        Ok(Flow::Continue)
    }

    /// After the last epoch.
    ///
    /// # Errors
    /// As [`Callback::on_train_begin`].
    fn on_train_end(&mut self, _model: &mut Model) -> Result<()> {
        Ok(())
    }
}

/// A callback that stays with the caller, who looks at it afterwards.
impl<C: Callback + ?Sized> Callback for &mut C {
    fn on_train_begin(&mut self, model: &mut Model) -> Result<()> {
        (**self).on_train_begin(model)
    }

    fn on_epoch_begin(&mut self, epoch: usize, model: &mut Model) -> Result<()> {
        (**self).on_epoch_begin(epoch, model)
    }

    fn on_batch_end(&mut self, batch: &Batch<'_>, model: &mut Model) -> Result<Flow> {
        (**self).on_batch_end(batch, model)
    }

    fn on_epoch_end(&mut self, epoch: &Epoch, model: &mut Model) -> Result<Flow> {
        (**self).on_epoch_end(epoch, model)
    }

    fn on_train_end(&mut self, model: &mut Model) -> Result<()> {
        (**self).on_train_end(model)
    }
}
