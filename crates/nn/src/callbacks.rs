//! Hooks into training.

use tilegrad_core::Result;

use crate::history::Epoch;
use crate::model::Sequential;

/// Whether training goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    #[default]
    Continue,
    /// This was the last epoch.
    Stop,
}

/// What `fit` calls between epochs. It gets the model and may change it: save it, set the learning rate, restore weights.
///
/// ```
/// use tilegrad_core::Result;
/// use tilegrad_nn::{Callback, Epoch, Flow, Sequential};
///
/// /// Halves the learning rate after each epoch, and stops when the loss is no number.
/// struct Halve;
/// impl Callback for Halve {
///     fn on_epoch_end(&mut self, epoch: &Epoch, model: &mut Sequential) -> Result<Flow> {
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
    fn on_train_begin(&mut self, _model: &mut Sequential) -> Result<()> {
        Ok(())
    }

    /// Before an epoch, from 0.
    ///
    /// # Errors
    /// As [`Callback::on_train_begin`].
    fn on_epoch_begin(&mut self, _epoch: usize, _model: &mut Sequential) -> Result<()> {
        Ok(())
    }

    /// After an epoch and its validation.
    ///
    /// # Errors
    /// As [`Callback::on_train_begin`].
    fn on_epoch_end(&mut self, _epoch: &Epoch, _model: &mut Sequential) -> Result<Flow> {
        Ok(Flow::Continue)
    }

    /// After the last epoch.
    ///
    /// # Errors
    /// As [`Callback::on_train_begin`].
    fn on_train_end(&mut self, _model: &mut Sequential) -> Result<()> {
        Ok(())
    }
}
