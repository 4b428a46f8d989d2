//! Weights in files: safetensors, which Python reads too.
//!
//! Saving replaces the file in one step: a temporary file in the same folder is written, flushed to the disk and renamed,
//! and the folder is flushed. Whoever reads the file, after whatever crash, finds either the old weights or the new ones.
//!
//! Loading trusts nothing. The header is read first, and no more of it than a header of this model could take; names,
//! types and shapes are compared with the model before any value is read; and no weight changes until all are there.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo, TensorView};
use tilegrad_core::{Error, PendingValues, Result};

use crate::atomic_file;
use crate::model::Model;
use crate::param::Param;

/// Bytes of header allowed for anything but the tensors: metadata, and tensors that the model does not know.
const HEADER_SLACK: u64 = 1 << 20;

/// Bytes of header allowed for each weight of the model: its name, shape and offsets.
const HEADER_PER_WEIGHT: u64 = 1 << 10;

/// Differences that are listed before the rest is only counted: a foreign file could have a million.
const MAX_DIFFERENCES: usize = 100;

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
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let values = self.read_weights()?;
        let bytes: Vec<Vec<u8>> = values.iter().map(|v| v.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
        let views = self.named_weights().zip(&bytes).map(|((name, param), bytes)| {
            let view = TensorView::new(Dtype::F32, param.shape().to_vec(), bytes);
            (name, view.expect("a weight has as many values as its shape"))
        });
        let about = [("format", "tilegrad"), ("model", self.name()), ("version", env!("CARGO_PKG_VERSION"))];
        let about: HashMap<String, String> = about.map(|(k, v)| (k.to_string(), v.to_string())).into();
        let bytes = safetensors::serialize(views, Some(about))
            .map_err(|e| Error::invalid("weights", "names and sizes that safetensors can hold", e))?;
        atomic_file::write(path, &bytes)
    }

    /// Loads all weights. The file has to hold exactly this model's; otherwise nothing changes.
    ///
    /// # Errors
    /// - [`Error::Io`] when the file can't be read,
    /// - [`Error::Malformed`] when it is no safetensors file: truncated, damaged, or with sizes that don't add up,
    /// - [`Error::Checkpoint`] when it holds another model's weights, with every difference,
    /// - [`Error::NotReady`] when the model is not built.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<Loaded> {
        self.load_from(path.as_ref(), true)
    }

    /// Loads the weights that are in the file with the model's name and shape, keeps the others, and says which they are.
    ///
    /// # Errors
    /// As [`Model::load`], but for the differences.
    pub fn load_what_fits(&mut self, path: impl AsRef<Path>) -> Result<Loaded> {
        self.load_from(path.as_ref(), false)
    }

    /// The values of all weights, in the order of [`Model::weights`]. One wait for the device.
    fn read_weights(&self) -> Result<Vec<Vec<f32>>> {
        self.ready()?;
        let coming: Vec<PendingValues> = self.weights().map(|w| w.tensor().read_later()).collect::<Result<_>>()?;
        coming.into_iter().map(PendingValues::wait).collect()
    }

    fn load_from(&mut self, path: &Path, strict: bool) -> Result<Loaded> {
        self.arrange()?;
        let arrangement = self.ready()?.arrangement();
        let weights: Vec<Param> = self.weights().cloned().collect();
        let mut file = Checkpoint::open(path, weights.len())?;
        let differences = file.differences(&weights);
        if strict && !differences.is_empty() {
            return Err(Error::Checkpoint { path: path.into(), differences });
        }

        // Everything is read before anything is written.
        let mut loaded = Loaded { differences, ..Loaded::default() };
        let mut changes = Vec::new();
        for arena in arrangement.arenas() {
            let mut values = Vec::new();
            for (param, _) in arena.slots() {
                values.push(file.read(param)?);
            }
            if values.iter().any(Option::is_some) {
                let old = if values.iter().all(Option::is_some) { Vec::new() } else { arena.read()? };
                changes.push((arena, values, old));
            }
        }
        for (arena, values, _) in &changes {
            for ((param, _), values) in arena.slots().iter().zip(values) {
                loaded.weights += usize::from(values.is_some());
                if values.iter().flatten().any(|v| !v.is_finite()) {
                    loaded.not_finite.push(param.path());
                }
            }
        }
        for (arena, values, old) in &changes {
            let all: Vec<&[f32]> =
                values.iter().enumerate().map(|(i, v)| v.as_deref().unwrap_or_else(|| &old[i])).collect();
            arena.write(&all)?;
        }
        Ok(loaded)
    }
}

/// An open checkpoint whose header has been checked against its size.
struct Checkpoint<'a> {
    path: &'a Path,
    file: File,
    header: Metadata,
    /// Where the values start, in bytes.
    data: u64,
}

impl<'a> Checkpoint<'a> {
    fn open(path: &'a Path, weights: usize) -> Result<Checkpoint<'a>> {
        let io = |e| Error::io(path, e);
        let malformed = |what: &str, expected: String, got: String| Error::Malformed {
            path: path.into(),
            what: what.into(),
            expected,
            got,
        };
        let mut file = File::open(path).map_err(io)?;
        let size = fs::metadata(path).map_err(io)?.len();
        if size < 8 {
            return Err(malformed("file", "at least 8 bytes".into(), format!("{size} bytes")));
        }
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(io)?;
        let length = u64::from_le_bytes(length);
        if length > size - 8 {
            let expected = format!("at most the {} bytes that the file has", size - 8);
            return Err(malformed("header length at byte 0", expected, length.to_string()));
        }
        let most = HEADER_SLACK + HEADER_PER_WEIGHT * weights as u64;
        if length > most {
            let expected = format!("at most {most} bytes for a model of {weights} weights");
            return Err(malformed("header length at byte 0", expected, length.to_string()));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(io)?;
        // Also checks that the tensors lie side by side and that each has the size of its shape.
        let header: Metadata = serde_json::from_slice(&header)
            .map_err(|e| malformed("header at byte 8", "safetensors' JSON".into(), e.to_string()))?;
        let data = 8 + length;
        let wanted = data.checked_add(header.data_len() as u64);
        if wanted != Some(size) {
            let expected = wanted.map_or("less than 2^64 bytes".into(), |w| format!("{w} bytes, by its header"));
            return Err(malformed("file size", expected, format!("{size} bytes")));
        }
        Ok(Checkpoint { path, file, header, data })
    }

    /// One line for each weight that is missing, of another shape or type, or unknown to the model.
    fn differences(&self, weights: &[Param]) -> Vec<String> {
        let mut lines: Vec<String> = weights.iter().filter_map(|w| self.difference(w)).collect();
        let known: HashMap<String, &Param> = weights.iter().map(|w| (w.path(), w)).collect();
        let mut unknown: Vec<(String, &TensorInfo)> = self.header.tensors().into_iter().collect();
        unknown.retain(|(name, _)| !known.contains_key(name));
        unknown.sort_by(|a, b| a.0.cmp(&b.0));
        lines.extend(unknown.iter().map(|(name, info)| {
            // Debug form: a name is anyone's bytes, control characters included.
            format!("{name:?}: in the file as {} {}, but the model has no such weight", info.dtype, dims(&info.shape))
        }));
        if lines.len() > MAX_DIFFERENCES {
            let rest = lines.len() - MAX_DIFFERENCES;
            lines.truncate(MAX_DIFFERENCES);
            lines.push(format!("and {rest} more"));
        }
        lines
    }

    fn difference(&self, param: &Param) -> Option<String> {
        let (path, shape) = (param.path(), param.shape());
        match self.header.info(&path) {
            None => Some(format!("{path}: the model has {shape}, the file has no such weight")),
            Some(info) if info.dtype != Dtype::F32 => {
                Some(format!("{path}: expected f32 {shape}, got {} {}", info.dtype, dims(&info.shape)))
            }
            Some(info) if info.shape[..] != **shape => {
                Some(format!("{path}: expected {shape}, got {}", dims(&info.shape)))
            }
            Some(_) => None,
        }
    }

    /// The values of a weight, unless the file has none that fit.
    fn read(&mut self, param: &Param) -> Result<Option<Vec<f32>>> {
        if self.difference(param).is_some() {
            return Ok(None);
        }
        let info = self.header.info(&param.path()).expect("a weight without a difference is there");
        // As many bytes as the model's own shape has: the header can't ask for more.
        let mut bytes = vec![0; 4 * param.len()];
        self.file
            .seek(SeekFrom::Start(self.data + info.data_offsets.0 as u64))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|e| Error::io(self.path, e))?;
        let numbers = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        Ok(Some(numbers.collect()))
    }
}

/// A shape from a file, which may have any number of axes.
fn dims(shape: &[usize]) -> String {
    if shape.len() <= 8 { format!("{shape:?}") } else { format!("a shape of {} axes", shape.len()) }
}
