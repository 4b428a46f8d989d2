//! Optimizers, one a file, with Keras's names, defaults and formulas.
//!
//! All weights lie in one flat arena, and so do their gradients and each of the optimizer's moments: a step is one kernel
//! over the arenas, and hyper-parameters are that kernel's parameters, so that changing them costs nothing.

mod adadelta;
mod adagrad;
mod adam;
mod adam_w;
mod adamax;
mod clip;
mod lion;
mod nadam;
mod rms_prop;
mod sgd;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::Adam;
pub use adam_w::AdamW;
pub use adamax::Adamax;
pub use clip::Clip;
pub use lion::Lion;
pub use nadam::Nadam;
pub use rms_prop::RmsProp;
pub use sgd::Sgd;

pub use tilegrad_core::ops::optimizer::{Correction, StepNumber};
use tilegrad_core::{Error, Result, Tensor};

use crate::schedules::Schedule;

/// How weights follow from gradients. Implement it for an optimizer of your own.
pub trait Optimizer: Debug + Send + Sync {
    /// The name in messages, as Keras writes it.
    fn name(&self) -> &'static str;

    /// What a file needs to make the optimizer again; a [`Registry`](crate::Registry) makes it. Nothing by default.
    fn config(&self) -> Value {
        Value::Object(Map::new())
    }

    /// The learning rate.
    fn learning_rate(&self) -> f32;

    /// Changes the learning rate.
    fn set_learning_rate(&mut self, learning_rate: f32);

    /// What the learning rate follows, if it does: it is set before each step.
    fn schedule(&self) -> Option<&Schedule> {
        None
    }

    /// Arenas that the optimizer keeps from step to step, by their names.
    fn moments(&self) -> &'static [&'static str];

    /// The number that moment `moment` of [`Optimizer::moments`] starts with everywhere.
    fn initial(&self, _moment: usize) -> f32 {
        0.0
    }

    /// Updates `params (L)` in place, and `moments`, each `(L)`. `step` counts from 1; in `fit` it lies on the device. An
    /// optimizer that takes a number of the host instead still works, but its steps can't be recorded and replayed.
    fn step(&self, step: &StepNumber, params: &Tensor, gradients: &Tensor, moments: &[Tensor]);

    /// What is done to the gradients first.
    fn clip(&self) -> Clip {
        Clip::None
    }

    /// Refuses hyper-parameters out of their range.
    ///
    /// # Errors
    /// Names the first one.
    fn check(&self) -> Result<()> {
        check_number("learning rate", self.learning_rate(), "a finite number from 0 on", |v| v >= 0.0)
    }
}

/// [`Correction`], as serde sees it.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Correction", rename_all = "snake_case")]
enum CorrectionConfig {
    OfRate,
    OfMoments,
}

fn check_number(what: &str, value: f32, expected: &str, ok: impl Fn(f32) -> bool) -> Result<()> {
    if value.is_finite() && ok(value) { Ok(()) } else { Err(Error::invalid(what, expected, value)) }
}

/// A decay rate of a running mean: 1 would never learn, and bias correction would divide by 0.
fn check_rate(what: &str, value: f32) -> Result<()> {
    check_number(what, value, "at least 0 and below 1", |v| (0.0..1.0).contains(&v))
}
