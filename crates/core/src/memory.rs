//! What both backends keep about memory: how much they may take, and what was left out for lack of it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use crate::error::Error;

/// A device's limit, and the first update that was left out because an allocation failed.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: AtomicU64,
    skipped: Mutex<Option<Error>>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { limit: AtomicU64::new(u64::MAX), skipped: Mutex::new(None) }
    }
}

impl Memory {
    /// Bytes that all buffers together may take.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// Sets the limit, or takes it away.
    pub(crate) fn set_limit(&self, bytes: Option<u64>) {
        self.limit.store(bytes.unwrap_or(u64::MAX), Relaxed);
    }

    fn skipped(&self) -> MutexGuard<'_, Option<Error>> {
        self.skipped.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Notes that an update in place was left out because what it reads can't be trusted. The weights stay as they were,
    /// until [`Memory::take_skipped`] has given the error.
    pub(crate) fn skip(&self, error: Error) {
        self.skipped().get_or_insert(error);
    }

    /// Whether an update was left out and nobody has asked yet.
    pub(crate) fn is_skipping(&self) -> bool {
        self.skipped().is_some()
    }

    /// Why updates are being left out, if so.
    pub(crate) fn why_skipping(&self) -> Option<Error> {
        self.skipped().clone()
    }

    /// The error behind updates that were left out; they are made again from here on.
    pub(crate) fn take_skipped(&self) -> Option<Error> {
        self.skipped().take()
    }
}
