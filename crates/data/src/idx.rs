//! Reads IDX, the format of MNIST and Fashion-MNIST, plain or gzipped.
//!
//! ```text
//! offset  0       2      3      4        4 + 4·rank
//!         00 00   type   rank   sizes    values
//!                 u8     u8     u32 big-endian, one a dimension
//! ```
//!
//! [`read`] takes a file, [`read_rank`] one of a given rank, [`parse`] bytes in memory; all give an [`Idx`].

mod read;

use std::fmt;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

pub use read::{parse, read, read_rank};

/// The most bytes of values a file may hold: 1 GiB, some twenty times MNIST.
pub const MAX_BYTES: u64 = 1 << 30;

/// The type of an IDX file's values, from the third byte of the file.
///
/// Only [`IdxType::U8`] is read; the others are known so that the message can name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdxType {
    /// `08`: unsigned byte.
    U8,
    /// `09`: signed byte.
    I8,
    /// `0b`: two-byte integer.
    I16,
    /// `0c`: four-byte integer.
    I32,
    /// `0d`: four-byte float.
    F32,
    /// `0e`: eight-byte float.
    F64,
}

impl IdxType {
    /// The type a code stands for, or `None` for a code the format does not define.
    ///
    /// ```
    /// use tilegrad_data::idx::IdxType;
    /// assert_eq!(IdxType::from_code(0x0d), Some(IdxType::F32));
    /// assert_eq!(IdxType::from_code(0x0a), None);
    /// ```
    pub fn from_code(code: u8) -> Option<IdxType> {
        Some(match code {
            0x08 => IdxType::U8,
            0x09 => IdxType::I8,
            0x0b => IdxType::I16,
            0x0c => IdxType::I32,
            0x0d => IdxType::F32,
            0x0e => IdxType::F64,
            _ => return None,
        })
    }
}

impl fmt::Display for IdxType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IdxType::U8 => "u8",
            IdxType::I8 => "i8",
            IdxType::I16 => "i16",
            IdxType::I32 => "i32",
            IdxType::F32 => "f32",
            IdxType::F64 => "f64",
        })
    }
}

/// The content of an IDX file of bytes: row-major values and their shape.
///
/// The number of values is the product of the shape; a reader that returned one has checked that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    shape: Vec<usize>,
    values: Vec<u8>,
}

impl Idx {
    /// Puts values and shape together.
    ///
    /// Fails with [`Error::Shape`] when `values` is not as long as the product of `shape`, or when the format
    /// cannot say the shape: no dimension, more than 255, or one of 2³² or more.
    ///
    /// ```
    /// use tilegrad_data::idx::Idx;
    /// let two_images_of_2_by_3 = Idx::new(vec![2, 2, 3], vec![0; 12])?;
    /// assert_eq!(two_images_of_2_by_3.to_bytes()[..8], [0, 0, 8, 3, 0, 0, 0, 2]);
    /// # Ok::<(), tilegrad_data::Error>(())
    /// ```
    pub fn new(shape: Vec<usize>, values: Vec<u8>) -> Result<Idx> {
        let refuse = |expected: String, got: String| Err(Error::Shape { what: "IDX values".into(), expected, got });
        if shape.is_empty() || shape.len() > 255 {
            return refuse("1 to 255 dimensions".into(), format!("{} dimensions", shape.len()));
        }
        if let Some(size) = shape.iter().find(|&&size| u32::try_from(size).is_err()) {
            return refuse("dimensions under 2^32".into(), format!("a dimension of {size}"));
        }
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        if count != Some(values.len()) {
            return refuse(format!("as many as the shape {shape:?} holds"), format!("{} values", values.len()));
        }
        Ok(Idx { shape, values })
    }

    /// The sizes of the dimensions, outermost first: `[N, H, W]` for images, `[N]` for labels.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values, row-major.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// Takes the values out, row-major, without copying.
    pub fn into_values(self) -> Vec<u8> {
        self.values
    }

    /// The whole file as bytes, header first, not gzipped. [`parse`] reads it back.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.extend_from_slice(&self.values);
        bytes
    }

    /// The SHA-256 of the decompressed file, in lower-case hexadecimal.
    ///
    /// The header has one spelling only, so hashing it anew is the same as hashing the file that was read.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.header());
        hash.update(&self.values);
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn header(&self) -> Vec<u8> {
        let mut header = vec![0, 0, 0x08, self.shape.len() as u8];
        for &size in &self.shape {
            header.extend_from_slice(&(size as u32).to_be_bytes());
        }
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_decompressed_files() {
        let idx = Idx::new(vec![1], vec![5]).unwrap();
        let hash: String = Sha256::digest(idx.to_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(idx.sha256(), hash);
    }

    #[test]
    fn new_refuses_what_the_format_cannot_say() {
        assert!(Idx::new(vec![], vec![1]).is_err());
        assert!(Idx::new(vec![2], vec![1]).is_err());
        assert!(Idx::new(vec![1; 256], vec![1]).is_err());
        assert!(Idx::new(vec![usize::MAX, 2], vec![1]).is_err());
    }
}
