//! What the CPU code of several ops shares: buffers, parallel loops, matrix products, convolution.

pub(crate) mod broadcast;
mod buffer;
pub(crate) mod direct_conv;
pub(crate) mod gemm;
pub(crate) mod im2col;
pub(crate) mod lanes;
pub(crate) mod par;
pub(crate) mod product;

pub(crate) use buffer::{Cpu, HostBuffer};
