//! Hooks into training.

use tilegrad_core::Result;

use crate::history::Epoch;
use crate::model::Model;

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

/// Ends training when the validation loss has not improved for `patience` epochs, and brings the best weights back. Without
/// validation it watches the loss.
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
    restore_best: bool,
    best: Option<Best>,
}

/// The epoch with the lowest loss so far.
#[derive(Debug)]
struct Best {
    epoch: usize,
    loss: f32,
    weights: Vec<Vec<f32>>,
}

impl EarlyStopping {
    /// Stops after this many epochs without a lower loss; 0 stops at the first. The best weights come back at the end.
    pub fn new(patience: usize) -> EarlyStopping {
        EarlyStopping { patience, restore_best: true, best: None }
    }

    /// Whether the weights of the best epoch come back at the end, as they do unless told otherwise.
    pub fn restore_best(mut self, restore: bool) -> EarlyStopping {
        self.restore_best = restore;
        self
    }

    /// The epoch with the lowest loss, from 0, once there was one.
    pub fn best_epoch(&self) -> Option<usize> {
        self.best.as_ref().map(|b| b.epoch)
    }
}

impl Callback for EarlyStopping {
    fn on_train_begin(&mut self, _: &mut Model) -> Result<()> {
        self.best = None;
        Ok(())
    }

    fn on_epoch_end(&mut self, epoch: &Epoch, model: &mut Model) -> Result<Flow> {
        let loss = epoch.val_loss.unwrap_or(epoch.loss);
        match &self.best {
            // A loss that is no number is never better.
            Some(best) if best.loss <= loss || loss.is_nan() => {
                let waited = epoch.epoch - best.epoch;
                return Ok(if waited >= self.patience.max(1) { Flow::Stop } else { Flow::Continue });
            }
            _ => {}
        }
        let weights = match self.restore_best {
            true => model.weights().map(|w| w.tensor().to_vec()).collect::<Result<_>>()?,
            false => Vec::new(),
        };
        self.best = Some(Best { epoch: epoch.epoch, loss, weights });
        Ok(Flow::Continue)
    }

    fn on_train_end(&mut self, model: &mut Model) -> Result<()> {
        let Some(best) = self.best.as_ref().filter(|_| self.restore_best) else { return Ok(()) };
        model.weights().zip(&best.weights).try_for_each(|(w, values)| w.tensor().assign(values))
    }
}
