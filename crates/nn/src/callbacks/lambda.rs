//! A callback of closures.

use std::fmt;

use tilegrad_core::Result;

use super::{Batch, Callback, Flow};
use crate::history::Epoch;
use crate::model::Model;

type Hook<'a> = Box<dyn FnMut(&mut Model) -> Result<()> + 'a>;
type EpochBegin<'a> = Box<dyn FnMut(usize, &mut Model) -> Result<()> + 'a>;
type BatchEnd<'a> = Box<dyn FnMut(&Batch<'_>, &mut Model) -> Result<Flow> + 'a>;
type EpochEnd<'a> = Box<dyn FnMut(&Epoch, &mut Model) -> Result<Flow> + 'a>;

/// Calls closures, without a type of your own. Keras's `LambdaCallback`.
///
/// ```
/// use tilegrad_nn::callbacks::Flow;
/// use tilegrad_nn::{FitOptions, LambdaCallback};
/// let mut losses = Vec::new();
/// let collect = LambdaCallback::new().on_epoch_end(|epoch, _| {
///     losses.push(epoch.loss);
///     Ok(if epoch.loss < 0.01 { Flow::Stop } else { Flow::Continue })
/// });
/// let options = FitOptions::new().epochs(20).callback(collect);
/// ```
#[derive(Default)]
pub struct LambdaCallback<'a> {
    train_begin: Option<Hook<'a>>,
    train_end: Option<Hook<'a>>,
    epoch_begin: Option<EpochBegin<'a>>,
    batch_end: Option<BatchEnd<'a>>,
    epoch_end: Option<EpochEnd<'a>>,
}

impl<'a> LambdaCallback<'a> {
    /// Calls nothing yet.
    pub fn new() -> LambdaCallback<'a> {
        LambdaCallback::default()
    }

    /// Called before the first epoch.
    pub fn on_train_begin(mut self, hook: impl FnMut(&mut Model) -> Result<()> + 'a) -> LambdaCallback<'a> {
        self.train_begin = Some(Box::new(hook));
        self
    }

    /// Called after the last epoch.
    pub fn on_train_end(mut self, hook: impl FnMut(&mut Model) -> Result<()> + 'a) -> LambdaCallback<'a> {
        self.train_end = Some(Box::new(hook));
        self
    }

    /// Called before each epoch.
    pub fn on_epoch_begin(mut self, hook: impl FnMut(usize, &mut Model) -> Result<()> + 'a) -> LambdaCallback<'a> {
        self.epoch_begin = Some(Box::new(hook));
        self
    }

    /// Called after each batch.
    pub fn on_batch_end(mut self, hook: impl FnMut(&Batch<'_>, &mut Model) -> Result<Flow> + 'a) -> LambdaCallback<'a> {
        self.batch_end = Some(Box::new(hook));
        self
    }

    /// Called after each epoch and its validation.
    pub fn on_epoch_end(mut self, hook: impl FnMut(&Epoch, &mut Model) -> Result<Flow> + 'a) -> LambdaCallback<'a> {
        self.epoch_end = Some(Box::new(hook));
        self
    }
}

impl Callback for LambdaCallback<'_> {
    fn on_train_begin(&mut self, model: &mut Model) -> Result<()> {
        self.train_begin.as_mut().map_or(Ok(()), |hook| hook(model))
    }

    fn on_epoch_begin(&mut self, epoch: usize, model: &mut Model) -> Result<()> {
        self.epoch_begin.as_mut().map_or(Ok(()), |hook| hook(epoch, model))
    }

    fn on_batch_end(&mut self, batch: &Batch<'_>, model: &mut Model) -> Result<Flow> {
        self.batch_end.as_mut().map_or(Ok(Flow::Continue), |hook| hook(batch, model))
    }

    fn on_epoch_end(&mut self, epoch: &Epoch, model: &mut Model) -> Result<Flow> {
        self.epoch_end.as_mut().map_or(Ok(Flow::Continue), |hook| hook(epoch, model))
    }

    fn on_train_end(&mut self, model: &mut Model) -> Result<()> {
        self.train_end.as_mut().map_or(Ok(()), |hook| hook(model))
    }
}

impl fmt::Debug for LambdaCallback<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LambdaCallback")
    }
}
