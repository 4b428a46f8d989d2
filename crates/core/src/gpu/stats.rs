//! Counters of what the runtime did: what a steady-state training step must not do is asserted with these.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A snapshot of a device's counters since it was opened. All of them only grow, except the live bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GpuStats {
    /// Buffers created (not taken from the pool).
    pub buffers_created: u64,
    /// Bind groups created (not found in the cache).
    pub bind_groups_created: u64,
    /// Pipelines compiled.
    pub pipelines_created: u64,
    /// Kernels dispatched.
    pub dispatches: u64,
    /// Command buffers submitted.
    pub submits: u64,
    /// Bytes in buffers that tensors hold now.
    pub live_bytes: u64,
    /// The most that `live_bytes` has been.
    pub peak_bytes: u64,
    /// Bytes in all buffers of the device, those resting in the pool included, and in images that kernels share.
    pub reserved_bytes: u64,
}

/// The counters themselves.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) buffers_created: AtomicU64,
    pub(crate) bind_groups_created: AtomicU64,
    pub(crate) pipelines_created: AtomicU64,
    pub(crate) dispatches: AtomicU64,
    pub(crate) submits: AtomicU64,
    pub(crate) live_bytes: AtomicU64,
    pub(crate) peak_bytes: AtomicU64,
    /// Bytes in all buffers, which the limit of memory is about.
    pub(crate) buffer_bytes: AtomicU64,
    /// Bytes in images, which kernels share.
    pub(crate) image_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Relaxed);
    }

    /// Counts bytes that went into use.
    pub(crate) fn grow(&self, bytes: u64) {
        let live = self.live_bytes.fetch_add(bytes, Relaxed) + bytes;
        self.peak_bytes.fetch_max(live, Relaxed);
    }

    /// Counts bytes that went out of use.
    pub(crate) fn shrink(&self, bytes: u64) {
        self.live_bytes.fetch_sub(bytes, Relaxed);
    }

    pub(crate) fn reset_peak(&self) {
        self.peak_bytes.store(self.live_bytes.load(Relaxed), Relaxed);
    }

    pub(crate) fn snapshot(&self) -> GpuStats {
        GpuStats {
            buffers_created: self.buffers_created.load(Relaxed),
            bind_groups_created: self.bind_groups_created.load(Relaxed),
            pipelines_created: self.pipelines_created.load(Relaxed),
            dispatches: self.dispatches.load(Relaxed),
            submits: self.submits.load(Relaxed),
            live_bytes: self.live_bytes.load(Relaxed),
            peak_bytes: self.peak_bytes.load(Relaxed),
            reserved_bytes: self.buffer_bytes.load(Relaxed) + self.image_bytes.load(Relaxed),
        }
    }
}
