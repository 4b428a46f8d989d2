//! Real images with labels, read from disk or built in, and checked before anything is computed with them.
//!
//! Images are bytes in Keras's layout, `(N, H, W, C)`; labels are class numbers. Random order comes from a seed and
//! is the same on every machine: see [`shuffle`].

mod contact_sheet;
mod dataset;
mod digits;
mod error;
pub mod idx;
pub mod shuffle;

pub use dataset::{Dataset, TrainTest};
pub use digits::Digits;
pub use error::{Error, Result, Tried};
