//! The GPU runtime: wgpu, and nothing about tensors or shapes.
//!
//! One [`Gpu`] owns a device and its queue, a pool of buffers, caches of pipelines and bind groups, and a [`Stream`]:
//! the one open encoder into which every kernel is recorded. Encoding and submission happen under the stream's lock.

mod buffer;
mod context;
mod image;
mod kernel;
mod limits;
mod profile;
mod recording;
mod stats;
mod stream;

pub use buffer::{GpuBuffer, Readback};
pub(crate) use context::{Adapter, MAX_PARAMS, adapters};
pub use context::{AdapterDescription, AdapterKind, Gpu};
pub(crate) use kernel::MAX_BINDINGS;
pub use kernel::{Dispatch, Kernel, fold_workgroups};
pub(crate) use limits::Demand;
pub(crate) use profile::OpNote;
pub use profile::{KernelTime, Profile};
pub(crate) use recording::KernelRecording;
pub use stats::GpuStats;
pub use stream::Stream;
