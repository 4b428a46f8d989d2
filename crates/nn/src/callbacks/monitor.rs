//! A value that is watched, and when it is better than before.

use tilegrad_core::{Error, Result};

use crate::history::Epoch;

/// Which way a value is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Smaller is better.
    Min,
    /// Larger is better.
    Max,
}

impl Goal {
    /// Larger for what measures success (accuracies, precision, recall, F1, the area under the curve), smaller for all else.
    fn of(name: &str) -> Goal {
        let success = ["accuracy", "precision", "recall", "f1", "auc"];
        if success.iter().any(|word| name.ends_with(word)) { Goal::Max } else { Goal::Min }
    }
}

/// A value of each epoch by its name, as in [`Epoch::get`], and the best so far.
///
/// ```
/// use tilegrad_nn::callbacks::{Goal, Monitor};
/// let monitor = Monitor::new("val_auc"); // larger is better, which the name says
/// let other = Monitor::new("val_loss").goal(Goal::Min).min_delta(0.001);
/// ```
#[derive(Clone, Debug)]
pub struct Monitor {
    /// `None` for the validation loss, or the loss without validation.
    name: Option<String>,
    goal: Option<Goal>,
    min_delta: f32,
    best: Option<f32>,
}

impl Default for Monitor {
    /// The validation loss, or the loss where there is no validation.
    fn default() -> Monitor {
        Monitor { name: None, goal: None, min_delta: 0.0, best: None }
    }
}

impl From<&str> for Monitor {
    fn from(name: &str) -> Monitor {
        Monitor::new(name)
    }
}

impl Monitor {
    /// Watches this value.
    pub fn new(name: impl Into<String>) -> Monitor {
        Monitor { name: Some(name.into()), ..Monitor::default() }
    }

    /// Which way it is to go, where the name does not say it.
    pub fn goal(mut self, goal: Goal) -> Monitor {
        self.goal = Some(goal);
        self
    }

    /// Changes that are not larger than this don't count.
    pub fn min_delta(mut self, min_delta: f32) -> Monitor {
        self.min_delta = min_delta.abs();
        self
    }

    /// Counts as if it had been this good before.
    pub(crate) fn start(&mut self, baseline: Option<f32>) {
        self.best = baseline;
    }

    /// Whether an epoch has no such value because its validation was left out: it says nothing, neither good nor bad.
    pub(crate) fn is_silent(&self, epoch: &Epoch) -> bool {
        epoch.validation_skipped && self.name.as_ref().is_none_or(|name| name.starts_with("val_"))
    }

    /// The value in an epoch.
    pub(crate) fn value(&self, epoch: &Epoch) -> Result<f32> {
        let Some(name) = &self.name else { return Ok(epoch.val_loss.unwrap_or(epoch.loss)) };
        epoch.get(name).ok_or_else(|| {
            let there: Vec<String> = epoch.values().into_iter().map(|(name, _)| name).collect();
            Error::invalid("value to monitor", format!("one of {}", there.join(", ")), format!("{name:?}"))
        })
    }

    /// Whether an epoch is better than the best before, and takes note of it.
    pub(crate) fn improves(&mut self, epoch: &Epoch) -> Result<bool> {
        let value = self.value(epoch)?;
        let goal = self.goal.unwrap_or_else(|| Goal::of(self.name.as_deref().unwrap_or("loss")));
        let better = match (self.best, goal) {
            // A value that is no number is never better than one that is.
            (None, _) => true,
            (Some(best), _) if best.is_nan() => !value.is_nan(),
            (Some(best), Goal::Min) => value < best - self.min_delta,
            (Some(best), Goal::Max) => value > best + self.min_delta,
        };
        if better {
            self.best = Some(value);
        }
        Ok(better)
    }
}
