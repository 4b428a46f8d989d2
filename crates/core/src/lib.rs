//! Tensors that remember how they were made.
//!
//! The core of tilegrad: devices, tensors, ops with their derivatives on two backends, and the autograd tape. Layers and
//! training are in `tilegrad-nn`, data sets in `tilegrad-data`; the `tilegrad` package re-exports all of them.
//!
//! Read `tape.rs` first, then `op.rs`, then any file of `ops/`.

mod cpu;
mod custom_kernel;
mod debug;
mod device;
mod display;
mod dtype;
mod error;
pub mod gpu;
mod half;
mod memory;
pub mod op;
pub mod ops;
mod recording;
mod shape;
mod storage;
mod tape;
mod tape_listing;
mod tensor;
mod trace;
mod tune_file;
mod tuning;
mod views;
mod window;

pub use custom_kernel::CustomKernel;
pub use device::{Device, DeviceInfo};
pub use dtype::{DType, Element};
pub use error::{Error, Result};
pub use half::Half;
pub use ops::affine_warp::{FillMode, WarpOptions};
pub use ops::blocks::BlockOrder;
pub use ops::clock::{Clock, Time};
pub use ops::conv_options::{Conv1dOptions, Conv2dOptions, Conv3dOptions, ConvAlgorithm, ConvOptions, conv_shape};
pub use ops::conv_transpose::{
    ConvTranspose1dOptions, ConvTranspose2dOptions, ConvTranspose3dOptions, ConvTransposeOptions, conv_transpose_shape,
};
pub use ops::cumulative::ScanOptions;
pub use ops::flip::SliceRange;
pub use ops::half::HalfProducts;
pub use ops::local_response_norm::LocalResponseNormOptions;
pub use ops::losses::Reduction;
pub use ops::matmul::GemmOptions;
pub use ops::nll_loss::{CrossEntropyOptions, NllOptions};
pub use ops::pool::Pooling;
pub use ops::random::{Draw, RandomKey, Rng};
pub use ops::resize::{AspectRatio, Coordinates, Interpolation, Nearest, ResizeOptions, ResizeTo};
pub use ops::running_statistics::RunningAverage;
pub use ops::scatter::ScatterMode;
pub use ops::unary::Unary;
pub use recording::Recording;
pub use shape::{Layout, MAX_RANK, Shape, ShapeError};
pub use tape::{Gradients, Node, is_recording, no_grad};
pub use tape_listing::{Tape, TapeEntry};
pub use tensor::{PendingValues, Tensor};
pub use tuning::{ProductClass, ProductKind, Tuning};
pub use window::{Axis, Padding, Window};
