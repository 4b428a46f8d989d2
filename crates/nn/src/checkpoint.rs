//! Weights in files: safetensors, which Python reads too. [`Model::save`](crate::Model::save) puts the whole model in one.
//!
//! Saving replaces the file in one step: a temporary file in the same folder is written, flushed to the disk and renamed,
//! and the folder is flushed. Whoever reads the file, after whatever crash, finds either the old weights or the new ones.
//!
//! Loading trusts nothing, and no weight changes until all are there.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use tilegrad_core::{Error, PendingValues, Result};

use crate::atomic_file;
use crate::model::Model;
use crate::weights_file::{Checkpoint, Named};

/// What loading a checkpoint found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// Weights that were set.
    pub weights: usize,
    /// What did not fit and was left out, one line each; none unless [`Model::load_what_fits`] loaded.
    pub differences: Vec<String>,
    /// Weights with infinite values or NaN, by name.
    pub not_finite: Vec<String>,
}

impl Model {
    /// Saves all weights, running statistics included, as safetensors. Names are `layer.weight`.
    ///
    /// # Errors
    /// When the model is not built, the weights can't be read back from the device, or the file can't be written; the old
    /// file then stays as it was.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        write(path.as_ref(), self.named_values()?, [("format", "tilegrad".into()), ("model", self.name().into())])
    }

    /// The names, shapes and values of all weights. One wait for the device.
    pub(crate) fn named_values(&self) -> Result<Vec<(Named, Vec<f32>)>> {
        self.ready()?;
        let coming: Vec<PendingValues> = self.weights().map(|w| w.tensor().read_later()).collect::<Result<_>>()?;
        self.names_and_shapes().into_iter().zip(coming).map(|(named, values)| Ok((named, values.wait()?))).collect()
    }

    pub(crate) fn names_and_shapes(&self) -> Vec<Named> {
        self.named_weights().map(|(name, weight)| (name, *weight.shape())).collect()
    }

    /// Loads all weights, from a file of weights or of a whole model. The file has to hold exactly this model's; otherwise
    /// nothing changes.
    ///
    /// # Errors
    /// - [`Error::Io`] when the file can't be read,
    /// - [`Error::Malformed`] when it is no safetensors file: truncated, damaged, or with sizes that don't add up,
    /// - [`Error::Checkpoint`] when it holds another model's weights, with every difference,
    /// - [`Error::NotReady`] when the model is not built.
    pub fn load_weights(&mut self, path: impl AsRef<Path>) -> Result<Loaded> {
        self.load_from(path.as_ref(), true)
    }

    /// Loads the weights that are in the file with the model's name and shape, keeps the others, and says which they are.
    ///
    /// # Errors
    /// As [`Model::load_weights`], but for the differences.
    pub fn load_what_fits(&mut self, path: impl AsRef<Path>) -> Result<Loaded> {
        self.load_from(path.as_ref(), false)
    }

    fn load_from(&mut self, path: &Path, strict: bool) -> Result<Loaded> {
        self.arrange()?;
        let weights = self.names_and_shapes();
        let mut file = Checkpoint::open(path, Some(weights.len()))?;
        let differences = file.differences(&weights);
        if strict && !differences.is_empty() {
            return Err(Error::Checkpoint { path: path.into(), differences });
        }
        // Everything is read before anything is written.
        let values: Vec<Option<Vec<f32>>> = weights.iter().map(|weight| file.read(weight)).collect::<Result<_>>()?;
        self.set_weights(values, differences)
    }

    /// Overwrites the weights for which there are values, in the order of [`Model::weights`]: all of them or none.
    pub(crate) fn set_weights(&mut self, values: Vec<Option<Vec<f32>>>, differences: Vec<String>) -> Result<Loaded> {
        self.arrange()?;
        let mut loaded = Loaded { differences, ..Loaded::default() };
        for ((name, _), values) in self.named_weights().zip(&values) {
            loaded.weights += usize::from(values.is_some());
            if values.iter().flatten().any(|v| !v.is_finite()) {
                loaded.not_finite.push(name);
            }
        }
        let order: Vec<_> = self.weights().cloned().collect();
        let mut changes = Vec::new();
        for arena in self.ready()?.arrangement().arenas() {
            let place = |slot: &(crate::Param, _)| order.iter().position(|weight| weight.is(&slot.0));
            let places: Vec<usize> =
                arena.slots().iter().map(|slot| place(slot).expect("a weight of the model")).collect();
            if places.iter().any(|&i| values[i].is_some()) {
                let old = if places.iter().all(|&i| values[i].is_some()) { Vec::new() } else { arena.read()? };
                changes.push((arena, places, old));
            }
        }
        for (arena, places, old) in &changes {
            let value = |(slot, &i): (usize, &usize)| values[i].as_deref().unwrap_or_else(|| &old[slot]);
            arena.write(&places.iter().enumerate().map(value).collect::<Vec<_>>())?;
        }
        Ok(loaded)
    }
}

/// Writes a safetensors file of `f32` tensors, in one step.
pub(crate) fn write<const N: usize>(
    path: &Path,
    tensors: Vec<(Named, Vec<f32>)>,
    about: [(&str, String); N],
) -> Result<()> {
    let to_bytes = |values: Vec<f32>| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let tensors: Vec<(Named, Vec<u8>)> = tensors.into_iter().map(|(named, values)| (named, to_bytes(values))).collect();
    let views = tensors.iter().map(|((name, shape), bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes);
        (name, view.expect("a weight has as many values as its shape"))
    });
    let mut about: HashMap<String, String> = about.map(|(key, value)| (key.to_string(), value)).into();
    about.insert("version".into(), env!("CARGO_PKG_VERSION").into());
    let bytes = safetensors::serialize(views, Some(about))
        .map_err(|e| Error::invalid("weights", "names and sizes that safetensors can hold", e))?;
    atomic_file::write(path, &bytes)
}
