//! Reading safetensors files that may be damaged or hostile.
//!
//! The header is read first, and compared with the file's size; names, types and shapes are compared with the model before
//! any value is read.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use tilegrad_core::{Error, Half, Result, Shape};

/// Bytes of header allowed for anything but the tensors: metadata, and tensors that the model does not know.
const HEADER_SLACK: u64 = 1 << 20;

/// Bytes of header allowed for each weight of the model: its name, shape and offsets, those of what an optimizer keeps, and
/// its layer's settings.
const HEADER_PER_WEIGHT: u64 = 1 << 12;

/// Bytes of header allowed where the model is not known yet: that of a network with thousands of layers.
const HEADER_OF_MODEL: u64 = 1 << 24;

/// Differences that are listed before the rest is only counted: a foreign file could have a million.
const MAX_DIFFERENCES: usize = 100;

/// What a tensor's name begins with that belongs to the optimizer.
pub(crate) const OPTIMIZER: &str = "optimizer.";

/// A tensor that is looked for in a file.
pub(crate) type Named = (String, Shape);

/// An open checkpoint whose header has been checked against its size.
pub(crate) struct Checkpoint<'a> {
    path: &'a Path,
    file: File,
    header: Metadata,
    /// Where the values start, in bytes.
    data: u64,
}

impl<'a> Checkpoint<'a> {
    /// Opens a file for a model with so many weights, or for one that the file describes.
    pub(crate) fn open(path: &'a Path, weights: Option<usize>) -> Result<Checkpoint<'a>> {
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
        let most = weights.map_or(HEADER_OF_MODEL, |weights| HEADER_SLACK + HEADER_PER_WEIGHT * weights as u64);
        if length > most {
            let of = weights.map_or("".into(), |weights| format!(" for a model of {weights} weights"));
            return Err(malformed("header length at byte 0", format!("at most {most} bytes{of}"), length.to_string()));
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

    /// What the metadata says under a key.
    pub(crate) fn about(&self, key: &str) -> Option<&str> {
        self.header.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// One line for each weight that is missing, of another shape or type, or unknown to the model.
    pub(crate) fn differences(&self, weights: &[Named]) -> Vec<String> {
        let mut lines: Vec<String> = weights.iter().filter_map(|w| self.difference(w)).collect();
        let known: HashMap<&str, &Shape> = weights.iter().map(|(name, shape)| (name.as_str(), shape)).collect();
        let mut unknown: Vec<(String, &TensorInfo)> = self.header.tensors().into_iter().collect();
        unknown.retain(|(name, _)| !known.contains_key(name.as_str()) && !name.starts_with(OPTIMIZER));
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

    fn difference(&self, (name, shape): &Named) -> Option<String> {
        match self.header.info(name) {
            None => Some(format!("{name}: the model has {shape}, the file has no such weight")),
            Some(info) if info.dtype != Dtype::F32 => {
                Some(format!("{name}: expected f32 {shape}, got {} {}", info.dtype, dims(&info.shape)))
            }
            Some(info) if info.shape[..] != **shape => {
                Some(format!("{name}: expected {shape}, got {}", dims(&info.shape)))
            }
            Some(_) => None,
        }
    }

    /// Names and shapes of all tensors, in the order of their names.
    pub(crate) fn tensors(&self) -> BTreeMap<String, Vec<usize>> {
        self.header.tensors().into_iter().map(|(name, info)| (name, info.shape.clone())).collect()
    }

    /// The numbers of a tensor of any floating-point type, which has to be there.
    ///
    /// # Errors
    /// When the tensor holds something else, or the file can't be read.
    pub(crate) fn read_as_f32(&mut self, name: &str) -> Result<Vec<f32>> {
        let info = self.header.info(name).expect("the caller got the name from here").clone();
        let (start, end) = info.data_offsets;
        // The header has been compared with the file's size.
        let mut bytes = vec![0; end - start];
        self.file
            .seek(SeekFrom::Start(self.data + start as u64))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|e| Error::io(self.path, e))?;
        let halves = || bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        Ok(match info.dtype {
            Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Dtype::F64 => {
                let double = |b: &[u8]| f64::from_le_bytes(b.try_into().expect("eight bytes")) as f32;
                bytes.chunks_exact(8).map(double).collect()
            }
            Dtype::F16 => halves().map(|bits| Half::from_bits(bits).into()).collect(),
            // The upper half of an f32.
            Dtype::BF16 => halves().map(|bits| f32::from_bits(u32::from(bits) << 16)).collect(),
            other => {
                let (what, expected) = (format!("tensor {name:?}"), "f32, f64, f16 or bf16".to_string());
                return Err(Error::Malformed { path: self.path.into(), what, expected, got: other.to_string() });
            }
        })
    }

    /// The values of a weight, unless the file has none that fit.
    pub(crate) fn read(&mut self, weight: &Named) -> Result<Option<Vec<f32>>> {
        if self.difference(weight).is_some() {
            return Ok(None);
        }
        let info = self.header.info(&weight.0).expect("a weight without a difference is there");
        // As many bytes as the model's own shape has: the header can't ask for more.
        let mut bytes = vec![0; 4 * weight.1.len()];
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
