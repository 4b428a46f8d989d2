//! A GPU deep learning framework on wgpu.

pub use tilegrad_core::*;
pub use tilegrad_data as data;
pub use tilegrad_nn as nn;
