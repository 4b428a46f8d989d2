//! Saves the model after epochs.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use tilegrad_core::{Error, Result};

use super::{Callback, Flow, Monitor};
use crate::history::Epoch;
use crate::model::Model;

/// Saves the model after each epoch, or after those that are better than all before. Keras's `ModelCheckpoint`.
///
/// The file's name may have `{epoch}`, counted from 1, and values as `{val_loss}`; `{epoch:03}` fills up with zeros,
/// `{val_loss:.2}` sets the digits behind the point, 4 if nothing is said.
///
/// ```no_run
/// # fn main() -> tilegrad_core::Result<()> {
/// # let (mut model, data) = (tilegrad_nn::Sequential::empty(), tilegrad_data::Digits::load().train);
/// use tilegrad_nn::{FitOptions, ModelCheckpoint};
/// let best = ModelCheckpoint::new("runs/best.safetensors").save_best_only(true);
/// let last = ModelCheckpoint::new("runs/{epoch:03}-{val_loss:.3}.safetensors").keep_last(3);
/// model.fit(&data, FitOptions::new().epochs(20).validation_split(0.2).callback(best).callback(last))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ModelCheckpoint {
    path: PathBuf,
    monitor: Monitor,
    best_only: bool,
    weights_only: bool,
    keep_last: Option<usize>,
    /// What was saved and is still there, the oldest first.
    saved: VecDeque<PathBuf>,
}

impl ModelCheckpoint {
    /// Saves to this path.
    pub fn new(path: impl Into<PathBuf>) -> ModelCheckpoint {
        ModelCheckpoint {
            path: path.into(),
            monitor: Monitor::default(),
            best_only: false,
            weights_only: false,
            keep_last: None,
            saved: VecDeque::new(),
        }
    }

    /// What decides which epoch is best: a name as in [`Epoch::get`], or a [`Monitor`].
    pub fn monitor(mut self, monitor: impl Into<Monitor>) -> ModelCheckpoint {
        self.monitor = monitor.into();
        self
    }

    /// Whether only epochs are saved that are better than all before.
    pub fn save_best_only(mut self, best_only: bool) -> ModelCheckpoint {
        self.best_only = best_only;
        self
    }

    /// Whether the weights are saved alone, with [`Model::save_weights`].
    pub fn save_weights_only(mut self, weights_only: bool) -> ModelCheckpoint {
        self.weights_only = weights_only;
        self
    }

    /// Removes older files of this training, so that at most so many are there.
    pub fn keep_last(mut self, files: usize) -> ModelCheckpoint {
        self.keep_last = Some(files.max(1));
        self
    }

    /// The file that was saved last.
    pub fn last(&self) -> Option<&Path> {
        self.saved.back().map(PathBuf::as_path)
    }
}

impl Callback for ModelCheckpoint {
    fn on_train_begin(&mut self, _: &mut Model) -> Result<()> {
        self.monitor.start(None);
        self.saved.clear();
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, epoch: &Epoch, model: &mut Model) -> Result<Flow> {
        let improves = !self.monitor.is_silent(epoch) && self.monitor.improves(epoch)?;
        if self.best_only && !improves {
            return Ok(Flow::Continue);
        }
        let path = PathBuf::from(fill(&self.path.to_string_lossy(), epoch)?);
        if self.weights_only {
            model.save_weights(&path)?
        } else {
            model.save(&path)?
        }
        self.saved.retain(|saved| *saved != path);
        self.saved.push_back(path);
        while self.keep_last.is_some_and(|keep| self.saved.len() > keep) {
            let old = self.saved.pop_front().expect("there are some");
            fs::remove_file(&old).map_err(|e| Error::io(&old, e))?;
        }
        Ok(Flow::Continue)
    }
}

/// A name with the epoch's values in the places of `{..}`.
fn fill(template: &str, epoch: &Epoch) -> Result<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (place, after) = after.split_once('}').ok_or_else(|| wrong(template, epoch))?;
        let (name, form) = place.split_once(':').unwrap_or((place, ""));
        text += before;
        text += &if name == "epoch" {
            let width = if form.is_empty() { 0 } else { form.parse().map_err(|_| wrong(template, epoch))? };
            format!("{:0width$}", epoch.epoch + 1)
        } else {
            let digits = match form.strip_prefix('.') {
                Some(digits) => digits.parse().map_err(|_| wrong(template, epoch))?,
                None if form.is_empty() => 4,
                None => return Err(wrong(template, epoch)),
            };
            let digits: usize = digits;
            format!("{:.digits$}", epoch.get(name).ok_or_else(|| wrong(template, epoch))?)
        };
        rest = after;
    }
    Ok(text + rest)
}

fn wrong(template: &str, epoch: &Epoch) -> Error {
    let names: Vec<String> = epoch.values().into_iter().map(|(name, _)| name).collect();
    Error::invalid("path of the checkpoint", format!("places {{epoch}}, {{{}}}", names.join("}, {")), template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in() {
        let epoch = Epoch { epoch: 6, loss: 0.25, val_loss: Some(1.0 / 3.0), ..Epoch::default() };
        assert_eq!(fill("a/{epoch:03}-{val_loss:.2}-{loss}.bin", &epoch).unwrap(), "a/007-0.33-0.2500.bin");
        assert_eq!(fill("plain", &epoch).unwrap(), "plain");
        for bad in ["{", "{epoch:x}", "{val_auc}", "{loss:3}", "{loss:.x}"] {
            let text = fill(bad, &epoch).unwrap_err().to_string();
            assert!(text.contains("places {epoch}, {loss}, {val_loss}, {learning_rate}"), "{text}");
        }
    }
}
