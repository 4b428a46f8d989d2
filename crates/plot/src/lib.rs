//! Pictures that a person looks at: what convolutions do, what a network has learned, how training went.
//!
//! Each function gives a [`Picture`], to be saved as a PNG. Text is drawn with a font that is part of the crate, so that pictures are
//! the same on every machine.
//!
//! ```
//! use tilegrad_core::{Device, Tensor};
//! let edge = Tensor::new(&[-1.0, -1.0, -1.0, -1.0, 8.0, -1.0, -1.0, -1.0, -1.0], [3, 3], &Device::cpu());
//! let picture = tilegrad_plot::show_kernel(&edge)?;
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("kernel.png");
//! picture.save(&path)?;
//! # Ok::<(), tilegrad_core::Error>(())
//! ```

mod canvas;
mod colour;
mod confusion;
mod curves;
mod extraction;
mod grad_cam;
mod graph;
mod grids;
mod histogram;
mod kernel;
mod predictions;
mod report;

pub use canvas::Picture;
pub use colour::ColourMap;
pub use confusion::confusion_matrix;
pub use curves::learning_curves;
pub use extraction::Extraction;
pub use grad_cam::{GradCam, grad_cam};
pub use graph::plot_model;
pub use grids::{feature_maps, kernels};
pub use histogram::weight_histogram;
pub use kernel::show_kernel;
pub use predictions::predictions;
pub use report::Report;
