//! What the CPU code of several ops shares: buffers, parallel loops, matrix product, im2col.

pub(crate) mod broadcast;
mod buffer;
pub(crate) mod gemm;
pub(crate) mod im2col;
pub(crate) mod par;

pub(crate) use buffer::{Cpu, HostBuffer};
