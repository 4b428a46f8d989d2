//! What training measured, epoch by epoch.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tilegrad_core::Result;

use crate::atomic_file;
use crate::summary::bytes;

/// The record of one [`fit`](crate::Model::fit). `Display` prints a table; serde writes it to JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct History {
    /// One record an epoch.
    pub epochs: Vec<Epoch>,
    /// Examples trained on in each epoch.
    pub examples: usize,
    /// Examples a step.
    pub batch_size: usize,
    /// Seconds from the call of `fit` until the device had finished the first step: upload and kernel compilation included.
    pub first_step_seconds: f64,
    /// Seconds of all training steps after the first, validation left out.
    pub train_seconds: f64,
    /// Whether a callback ended training early.
    pub stopped: bool,
    /// Examples that were worked on at a time, with their gradients added up over the batch, if that was fewer than a batch
    /// has: because it was asked for, or because the device had no room for more.
    #[serde(default)]
    pub micro_batch: Option<usize>,
    /// The most bytes that tensors took on the device while training, whatever else was there included.
    #[serde(default)]
    pub peak_device_bytes: u64,
}

/// One epoch of a [`History`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Epoch {
    /// Its number, from 0.
    pub epoch: usize,
    /// Mean loss over the examples, each measured before the step that it was part of.
    pub loss: f32,
    /// Mean accuracy, measured like the loss.
    pub accuracy: Option<f32>,
    /// Loss on the validation data after the epoch.
    pub val_loss: Option<f32>,
    /// Accuracy on the validation data after the epoch.
    pub val_accuracy: Option<f32>,
    /// Every metric that is a number, by its name, measured like the loss; the accuracy included.
    #[serde(default)]
    pub metrics: BTreeMap<String, f32>,
    /// Every metric on the validation data after the epoch, without `val_` in front.
    #[serde(default)]
    pub val_metrics: BTreeMap<String, f32>,
    /// The optimizer's learning rate in this epoch.
    pub learning_rate: f32,
    /// Seconds of training and validation.
    pub seconds: f64,
    /// Images trained on in a second, validation left out.
    pub images_per_second: f64,
    /// Whether there is validation data that was not looked at after this epoch; see
    /// [`FitOptions::validation_freq`](crate::FitOptions::validation_freq).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub validation_skipped: bool,
}

impl Epoch {
    /// A value by its name: `loss`, `val_loss`, `learning_rate`, a metric as `accuracy`, or with `val_` in front one on the
    /// validation data.
    ///
    /// ```
    /// use tilegrad_nn::Epoch;
    /// assert_eq!(Epoch::default().get("loss"), Some(0.0));
    /// assert_eq!(Epoch::default().get("val_auc"), None);
    /// ```
    pub fn get(&self, name: &str) -> Option<f32> {
        match name {
            "loss" => Some(self.loss),
            "val_loss" => self.val_loss,
            "learning_rate" => Some(self.learning_rate),
            _ => match name.strip_prefix("val_") {
                Some(metric) => self.val_metrics.get(metric).copied(),
                None => self.metrics.get(name).copied(),
            },
        }
    }

    /// All values with their names: the loss, metrics, those on validation data, the learning rate.
    pub fn values(&self) -> Vec<(String, f32)> {
        let mut values = vec![("loss".to_string(), self.loss)];
        values.extend(self.metrics.iter().map(|(name, &value)| (name.clone(), value)));
        values.extend(self.val_loss.map(|loss| ("val_loss".to_string(), loss)));
        values.extend(self.val_metrics.iter().map(|(name, &value)| (format!("val_{name}"), value)));
        values.push(("learning_rate".to_string(), self.learning_rate));
        values
    }
}

impl History {
    /// A value of each epoch that has it, by its name: see [`Epoch::get`].
    pub fn series(&self, name: &str) -> Vec<f32> {
        self.epochs.iter().filter_map(|epoch| epoch.get(name)).collect()
    }

    /// Writes the history as JSON.
    ///
    /// # Errors
    /// When the file can't be written; an old one then stays as it was.
    pub fn save_json(&self, path: impl AsRef<Path>) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).expect("plain data");
        atomic_file::write(path.as_ref(), &text)
    }

    /// Writes a table with a row for each epoch as CSV: the epoch from 0, all values, the seconds it took.
    ///
    /// # Errors
    /// As [`History::save_json`].
    pub fn save_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in self.epochs.iter().flat_map(Epoch::values) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut writer = csv::Writer::from_writer(Vec::new());
        let title = std::iter::once("epoch").chain(names.iter().map(String::as_str)).chain(["seconds"]);
        writer.write_record(title).expect("memory takes everything");
        for epoch in &self.epochs {
            let value = |name: &String| epoch.get(name).map_or_else(String::new, |value| value.to_string());
            let row = std::iter::once(epoch.epoch.to_string()).chain(names.iter().map(value));
            writer.write_record(row.chain([epoch.seconds.to_string()])).expect("memory takes everything");
        }
        atomic_file::write(path.as_ref(), &writer.into_inner().expect("memory takes everything"))
    }

    /// The last epoch, unless there was none.
    pub fn last(&self) -> Option<&Epoch> {
        self.epochs.last()
    }

    /// The epoch with the lowest validation loss, or lowest loss where there was no validation.
    pub fn best(&self) -> Option<&Epoch> {
        // A loss that is no number is the worst, whatever its sign.
        let loss = |e: &Epoch| Some(e.val_loss.unwrap_or(e.loss)).filter(|l| !l.is_nan()).unwrap_or(f32::INFINITY);
        self.epochs.iter().min_by(|a, b| loss(a).total_cmp(&loss(b)))
    }

    /// Losses, an epoch each.
    pub fn loss(&self) -> Vec<f32> {
        self.epochs.iter().map(|e| e.loss).collect()
    }

    /// Accuracies, an epoch each, if they were measured.
    pub fn accuracy(&self) -> Vec<f32> {
        self.epochs.iter().filter_map(|e| e.accuracy).collect()
    }

    /// Validation losses, an epoch each, if there was validation.
    pub fn val_loss(&self) -> Vec<f32> {
        self.epochs.iter().filter_map(|e| e.val_loss).collect()
    }

    /// Validation accuracies, an epoch each, if they were measured.
    pub fn val_accuracy(&self) -> Vec<f32> {
        self.epochs.iter().filter_map(|e| e.val_accuracy).collect()
    }

    /// Images trained on in a second over all epochs, the first step and validation left out; 0 when there was but a step.
    pub fn images_per_second(&self) -> f64 {
        let images = (self.examples * self.epochs.len()).saturating_sub(self.batch_size);
        if self.train_seconds > 0.0 { images as f64 / self.train_seconds } else { 0.0 }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "epoch     loss accuracy val_loss val_accuracy seconds images/s")?;
        let cell = |value: Option<f32>| value.map_or_else(|| "-".to_string(), |v| format!("{v:.4}"));
        for e in &self.epochs {
            writeln!(
                f,
                "{:>5} {:>8.4} {:>8} {:>8} {:>12} {:>7.1} {:>8.0}",
                e.epoch + 1,
                e.loss,
                cell(e.accuracy),
                cell(e.val_loss),
                cell(e.val_accuracy),
                e.seconds,
                e.images_per_second
            )?;
        }
        write!(f, "first step after {:.2} s, then {:.0} images/s", self.first_step_seconds, self.images_per_second())?;
        write!(f, ", at most {} on the device", bytes(self.peak_device_bytes))?;
        self.micro_batch.map_or(Ok(()), |examples| write!(f, ", {examples} examples at a time"))
    }
}
