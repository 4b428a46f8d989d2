//! Buffers in the computer's memory, recycled: fresh pages from the system cost more than filling them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use bytemuck::Pod;

use crate::error::Error;
use crate::gpu::GpuStats;
use crate::memory::Memory;

/// The CPU device: its pool of buffers.
#[derive(Clone, Default)]
pub(crate) struct Cpu(Arc<Inner>);

#[derive(Default)]
struct Inner {
    free: Mutex<Free>,
    memory: Memory,
    /// Bytes in buffers that tensors hold.
    live: AtomicU64,
    peak: AtomicU64,
}

#[derive(Default)]
struct Free {
    by_words: HashMap<usize, Vec<Vec<u32>>>,
    words: usize,
}

/// Buffers below this size (16 KiB) are left to the allocator, which is good at them.
const POOLED_WORDS: usize = 4096;

/// What the pool keeps at most (1 GiB); beyond that, buffers go back to the system.
const MAX_WORDS: usize = 1 << 28;

impl Cpu {
    pub(crate) fn new() -> Cpu {
        Cpu::default()
    }

    /// A buffer of at least `bytes` bytes with unspecified contents (NaN in debug builds, so that an op which forgets to
    /// write an element shows it). When there is no room the buffer is poisoned: ops skip it and reading it gives the error.
    /// `what` names it there.
    pub(crate) fn alloc(&self, bytes: usize, what: &str) -> HostBuffer {
        match self.words(bytes.div_ceil(4), self.0.memory.limit()) {
            Some(mut words) => {
                if cfg!(debug_assertions) {
                    words.fill(f32::NAN.to_bits());
                }
                self.own(words)
            }
            None => {
                let (what, live) = (what.to_string(), self.0.live.load(Relaxed));
                self.poisoned(Error::OutOfMemory { device: "the CPU".into(), what, wanted: bytes as u64, live })
            }
        }
    }

    /// So many words with any contents, unless that is past the limit or the system has no memory of that size.
    fn words(&self, count: usize, limit: u64) -> Option<Vec<u32>> {
        if let Some(words) = (count >= POOLED_WORDS).then(|| self.lock().take(count)).flatten() {
            return Some(words);
        }
        let past = |taken: u64| taken.saturating_add((count as u64).saturating_mul(4)) > limit;
        if limit < u64::MAX && past(self.stats().reserved_bytes) {
            *self.lock() = Free::default();
            if past(self.0.live.load(Relaxed)) {
                return None;
            }
        }
        // Asked first, since `vec!` ends the process; but made by `vec!`, which gets zeroed pages without touching them.
        Vec::<u32>::new().try_reserve_exact(count).ok().map(|()| vec![0; count])
    }

    fn own(&self, words: Vec<u32>) -> HostBuffer {
        let bytes = 4 * words.len() as u64;
        let live = self.0.live.fetch_add(bytes, Relaxed) + bytes;
        self.0.peak.fetch_max(live, Relaxed);
        HostBuffer { words, cpu: self.clone(), poison: None }
    }

    /// A buffer without memory.
    pub(crate) fn poisoned(&self, error: Error) -> HostBuffer {
        HostBuffer { words: Vec::new(), cpu: self.clone(), poison: Some(error) }
    }

    /// A buffer that holds `data`, unless there is no room for it.
    pub(crate) fn upload(&self, data: &[u8], what: &str) -> HostBuffer {
        let mut buffer = self.alloc(data.len(), what);
        if buffer.poison.is_none() {
            bytemuck::cast_slice_mut::<u32, u8>(&mut buffer.words)[..data.len()].copy_from_slice(data);
        }
        buffer
    }

    /// The limit of memory, and what was left out for lack of it.
    pub(crate) fn memory(&self) -> &Memory {
        &self.0.memory
    }

    pub(crate) fn set_memory_limit(&self, bytes: Option<u64>) {
        self.0.memory.set_limit(bytes);
        if self.stats().reserved_bytes > self.0.memory.limit() {
            *self.lock() = Free::default();
        }
    }

    pub(crate) fn stats(&self) -> GpuStats {
        let (live_bytes, peak_bytes) = (self.0.live.load(Relaxed), self.0.peak.load(Relaxed));
        let reserved_bytes = live_bytes + 4 * self.lock().words as u64;
        GpuStats { live_bytes, peak_bytes, reserved_bytes, ..GpuStats::default() }
    }

    pub(crate) fn reset_peak(&self) {
        self.0.peak.store(self.0.live.load(Relaxed), Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.0.free.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Free {
    fn take(&mut self, words: usize) -> Option<Vec<u32>> {
        let found = self.by_words.get_mut(&words)?.pop()?;
        self.words -= words;
        Some(found)
    }
}

/// A block of memory that holds elements of any one type. Goes back to its device's pool when dropped.
pub(crate) struct HostBuffer {
    words: Vec<u32>,
    cpu: Cpu,
    /// Why there are no contents: a failed allocation here or upstream.
    poison: Option<Error>,
}

impl HostBuffer {
    /// The contents as elements of one type.
    pub(crate) fn as_slice<T: Pod>(&self) -> &[T] {
        bytemuck::cast_slice(&self.words)
    }

    /// The contents as elements of one type, to write.
    pub(crate) fn as_mut_slice<T: Pod>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.words)
    }

    /// Why there are no contents, if so.
    pub(crate) fn poison(&self) -> Option<&Error> {
        self.poison.as_ref()
    }

    /// The device that it belongs to.
    pub(crate) fn cpu(&self) -> &Cpu {
        &self.cpu
    }
}

impl Clone for HostBuffer {
    /// For an update in place of what someone still reads, which no limit must keep from what it owns.
    fn clone(&self) -> HostBuffer {
        let words = self.cpu.words(self.words.len(), u64::MAX);
        let mut words = words.expect("there is memory for a copy of what is in memory");
        words.copy_from_slice(&self.words);
        let mut copy = self.cpu.own(words);
        copy.poison.clone_from(&self.poison);
        copy
    }
}

impl Drop for HostBuffer {
    fn drop(&mut self) {
        let words = std::mem::take(&mut self.words);
        let count = words.len();
        self.cpu.0.live.fetch_sub(4 * count as u64, Relaxed);
        if count >= POOLED_WORDS {
            let mut free = self.cpu.lock();
            if free.words + count <= MAX_WORDS {
                free.words += count;
                free.by_words.entry(count).or_default().push(words);
            }
        }
    }
}

impl fmt::Debug for HostBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostBuffer ({} bytes)", 4 * self.words.len())
    }
}
