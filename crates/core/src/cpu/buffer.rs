//! Buffers in the computer's memory, recycled: fresh pages from the system cost more than filling them.

use std::collections::HashMap;
use std::collections::TryReserveError;
use std::fmt;
use std::sync::{Arc, Mutex};

use bytemuck::Pod;

/// The CPU device: its pool of buffers.
#[derive(Clone, Default)]
pub(crate) struct Cpu(Arc<Mutex<Free>>);

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
    /// write an element shows it).
    ///
    /// # Errors
    /// When the system has no memory of that size; inside is the size.
    pub(crate) fn alloc(&self, bytes: usize) -> Result<HostBuffer, TryReserveError> {
        let words = bytes.div_ceil(4);
        let recycled = (words >= POOLED_WORDS).then(|| self.lock().take(words)).flatten();
        let mut words = match recycled {
            Some(words) => words,
            // Asked first, since `vec!` ends the process; but made by `vec!`, which gets zeroed pages without touching them.
            None => Vec::<u32>::new().try_reserve_exact(words).map(|()| vec![0; words])?,
        };
        if cfg!(debug_assertions) {
            words.fill(f32::NAN.to_bits());
        }
        Ok(HostBuffer { words, cpu: self.clone() })
    }

    /// A buffer that holds `data`.
    pub(crate) fn upload(&self, data: &[u8]) -> HostBuffer {
        let mut buffer = self.alloc(data.len()).expect("there is memory for a copy of what is in memory");
        bytemuck::cast_slice_mut::<u32, u8>(&mut buffer.words)[..data.len()].copy_from_slice(data);
        buffer
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Free> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
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
}

impl Clone for HostBuffer {
    fn clone(&self) -> HostBuffer {
        self.cpu.upload(bytemuck::cast_slice(&self.words))
    }
}

impl Drop for HostBuffer {
    fn drop(&mut self) {
        let words = std::mem::take(&mut self.words);
        let count = words.len();
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
