//! Storage: the buffer behind one or more tensors, on one of the two backends.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, RwLock, Weak};

use crate::cpu::HostBuffer;
use crate::gpu::GpuBuffer;

/// A shared buffer. Views of a tensor share its storage.
#[derive(Clone, Debug)]
pub(crate) struct Storage(Arc<Inner>);

/// A storage that may be gone.
#[derive(Debug)]
pub(crate) struct WeakStorage(Weak<Inner>);

impl WeakStorage {
    pub(crate) fn upgrade(&self) -> Option<Storage> {
        self.0.upgrade().map(Storage)
    }
}

#[derive(Debug)]
struct Inner {
    data: Data,
    /// Counts in-place updates: backward refuses values that changed since forward saved them.
    version: AtomicU64,
}

/// Where the bytes are.
#[derive(Debug)]
pub(crate) enum Data {
    /// Readers take a snapshot by cloning the inner `Arc`; an in-place update writes where it is, unless a reader still
    /// holds a snapshot, which then keeps the old contents.
    Cpu(RwLock<Arc<HostBuffer>>),
    Gpu(GpuBuffer),
}

impl Storage {
    pub(crate) fn cpu(buffer: HostBuffer) -> Storage {
        Storage::new(Data::Cpu(RwLock::new(Arc::new(buffer))))
    }

    pub(crate) fn gpu(buffer: GpuBuffer) -> Storage {
        Storage::new(Data::Gpu(buffer))
    }

    fn new(data: Data) -> Storage {
        Storage(Arc::new(Inner { data, version: AtomicU64::new(0) }))
    }

    pub(crate) fn data(&self) -> &Data {
        &self.0.data
    }

    pub(crate) fn downgrade(&self) -> WeakStorage {
        WeakStorage(Arc::downgrade(&self.0))
    }

    pub(crate) fn version(&self) -> u64 {
        self.0.version.load(Relaxed)
    }

    /// Notes an in-place update.
    pub(crate) fn touch(&self) {
        self.0.version.fetch_add(1, Relaxed);
    }

    /// Whether two tensors share their memory.
    pub(crate) fn is(&self, other: &Storage) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
