//! Buffers: a pool of whole `wgpu::Buffer`s by size class, upload, and asynchronous readback.
//!
//! Tensors never share a buffer unless one is a view of the other: wgpu tracks usage and barriers for each buffer as a
//! whole. A buffer returns to the pool when its last owner drops it, also while recorded kernels still use it: the queue
//! runs in order, so whoever gets the buffer next writes it later.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, Weak};
use std::task::{Context, Poll};

use super::context::{Gpu, GpuInner};
use super::recording::OpenRecording;
use super::stats::Counters;
use crate::error::{Error, Result};
use crate::trace;

/// A buffer on a GPU. Cloning shares it; the last owner gives it back to the pool.
#[derive(Clone)]
pub struct GpuBuffer(Arc<Owned>);

struct Owned {
    gpu: Arc<GpuInner>,
    /// `None` when the allocation failed: then `poison` says why.
    buffer: Option<wgpu::Buffer>,
    id: u64,
    bytes: u64,
    /// Why the contents are not what they should be: a failed allocation here or upstream.
    poison: OnceLock<Error>,
}

impl GpuBuffer {
    /// The wgpu buffer, unless its allocation failed.
    pub(crate) fn raw(&self) -> Option<&wgpu::Buffer> {
        self.0.buffer.as_ref()
    }

    /// A number that no other buffer of the device has, and the same each time the pool hands this buffer out.
    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    /// Why the contents can't be trusted, if so.
    pub(crate) fn poison(&self) -> Option<&Error> {
        self.0.poison.get()
    }

    /// Marks the contents as not to be trusted.
    pub(crate) fn set_poison(&self, error: Error) {
        let _ = self.0.poison.set(error);
    }

    /// Size in bytes; the size class, which may be more than was asked for.
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }
}

/// A buffer that may have gone back to the pool.
pub(crate) struct WeakBuffer(Weak<Owned>);

impl WeakBuffer {
    /// The buffer, unless it has gone back to the pool since.
    pub(crate) fn upgrade(&self) -> Option<GpuBuffer> {
        self.0.upgrade().map(GpuBuffer)
    }
}

impl GpuBuffer {
    pub(crate) fn downgrade(&self) -> WeakBuffer {
        WeakBuffer(Arc::downgrade(&self.0))
    }
}

impl std::fmt::Debug for GpuBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GpuBuffer #{} ({} bytes)", self.0.id, self.0.bytes)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.gpu.counters.shrink(self.bytes);
            let mut buffer = Some(buffer);
            OpenRecording::with(&self.gpu, |open| {
                buffer = buffer.take().and_then(|b| open.put(self.id, self.bytes, b))
            });
            if let Some(buffer) = buffer {
                lock(&self.gpu.pool).put(self.id, self.bytes, buffer);
            }
        }
    }
}

fn lock(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    pool.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Free buffers by size class.
#[derive(Default)]
pub(crate) struct Pool {
    free: HashMap<u64, BTreeSet<u64>>,
    buffers: HashMap<u64, wgpu::Buffer>,
    staging: BTreeMap<u64, Vec<wgpu::Buffer>>,
    next_id: u64,
}

impl Pool {
    /// The lowest-numbered free buffer of the class. Which buffer a request gets then depends on the set of free buffers
    /// alone, not on the order they came back in: training step n+1 gets step n's buffers, and so finds its bind groups.
    fn take(&mut self, class: u64) -> Option<(u64, wgpu::Buffer)> {
        let id = self.free.get_mut(&class)?.pop_first()?;
        Some((id, self.buffers.remove(&id).expect("a free id has its buffer")))
    }

    fn put(&mut self, id: u64, class: u64, buffer: wgpu::Buffer) {
        self.free.entry(class).or_default().insert(id);
        self.buffers.insert(id, buffer);
    }

    /// Drops every free buffer. Returns the bytes freed.
    fn clear(&mut self) -> u64 {
        let bytes = self.free.iter().map(|(class, ids)| class * ids.len() as u64).sum();
        self.free.clear();
        self.buffers.clear();
        self.staging.clear();
        bytes
    }
}

/// Rounds a size up to its class: eight classes to a doubling, so that at most an eighth is wasted.
fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    let step = (bytes.next_power_of_two() / 16).max(16);
    bytes.next_multiple_of(step)
}

const USAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

impl GpuInner {
    /// A buffer of at least `bytes` bytes with unspecified contents. When there is no room the buffer is poisoned: kernels
    /// skip it and reading it gives the error. `what` names it there.
    ///
    /// `release` is called when the device is full, to let go of what else holds buffers, before a second try.
    pub(crate) fn alloc(self: &Arc<Self>, bytes: u64, what: &str, release: impl FnOnce()) -> GpuBuffer {
        let buffer = self.find(bytes, what, true, release);
        OpenRecording::with(self, |open| open.note_made(buffer.id()));
        buffer
    }

    /// [`GpuInner::alloc`] outside an open recording; and with `of_recording` one that a kernel of that has used, if there is.
    fn find(self: &Arc<Self>, bytes: u64, what: &str, of_recording: bool, release: impl FnOnce()) -> GpuBuffer {
        // Vector loads read whole words of 16 bytes.
        let limit = self.description.max_tensor_bytes & !15;
        let class = if bytes <= limit { size_class(bytes).min(limit) } else { bytes };
        let owned = |id, buffer: Option<wgpu::Buffer>, poison: Option<Error>| {
            let cell = OnceLock::new();
            if let Some(error) = poison {
                let _ = cell.set(error);
            } else {
                self.counters.grow(class);
            }
            GpuBuffer(Arc::new(Owned { gpu: self.clone(), buffer, id, bytes: class, poison: cell }))
        };
        if class > limit {
            let (device, what) = (self.description.name.clone(), what.to_string());
            return owned(u64::MAX, None, Some(Error::TooLarge { device, what, wanted: bytes, limit }));
        }
        let free = OpenRecording::with(self, |open| if of_recording { open.take(class) } else { None }).flatten();
        if let Some((id, buffer)) = free.or_else(|| lock(&self.pool).take(class)) {
            return owned(id, Some(buffer), None);
        }
        let buffer = self.create(class).or_else(|| {
            // What rests in the pool may be what is missing.
            release();
            self.empty_pool();
            self.create(class)
        });
        let Some(buffer) = buffer else {
            let live = self.counters.snapshot().live_bytes;
            let (device, what) = (self.description.name.clone(), what.to_string());
            return owned(u64::MAX, None, Some(Error::OutOfMemory { device, what, wanted: bytes, live }));
        };
        Counters::add(&self.counters.buffers_created, 1);
        Counters::add(&self.counters.buffer_bytes, class);
        let id = {
            let mut pool = lock(&self.pool);
            pool.next_id += 1;
            pool.next_id
        };
        owned(id, Some(buffer), None)
    }

    /// Frees the buffers that nobody uses.
    pub(crate) fn empty_pool(&self) {
        let freed = lock(&self.pool).clear();
        self.counters.buffer_bytes.fetch_sub(freed, Relaxed);
    }

    /// A buffer that nobody owned.
    pub(crate) fn own(self: &Arc<Self>, id: u64, buffer: wgpu::Buffer) -> GpuBuffer {
        let bytes = buffer.size();
        self.counters.grow(bytes);
        GpuBuffer(Arc::new(Owned { gpu: self.clone(), buffer: Some(buffer), id, bytes, poison: OnceLock::new() }))
    }

    fn create(&self, size: u64) -> Option<wgpu::Buffer> {
        if self.counters.buffer_bytes.load(Relaxed).saturating_add(size) > self.memory.limit() {
            return None;
        }
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: USAGE,
            mapped_at_creation: false,
        });
        // On native the future is ready at once; in a browser the error arrives later, at the uncaptured-error callback.
        let error = poll_once(memory.pop()).flatten();
        error.is_none().then_some(buffer)
    }

    /// A mappable buffer to read `bytes` bytes back through.
    fn staging(&self, bytes: u64) -> wgpu::Buffer {
        let class = size_class(bytes);
        if let Some(buffer) = lock(&self.pool).staging.get_mut(&class).and_then(Vec::pop) {
            return buffer;
        }
        Counters::add(&self.counters.buffers_created, 1);
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size: class,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }
}

/// The result of a future that is ready at its first poll.
pub(crate) fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

impl Gpu {
    /// A buffer that holds `data`, padded with zeros to a multiple of four bytes.
    pub fn upload(&self, data: &[u8], what: &str) -> GpuBuffer {
        // Not a buffer that a kernel of an open recording writes: the values have to be there each time.
        let buffer = self.0.find(data.len() as u64, what, false, || self.stream().release());
        OpenRecording::with(&self.0, |open| open.keep(&buffer));
        self.write_now(&buffer, 0, data);
        buffer
    }

    /// Overwrites part of a buffer, from byte `offset` (a multiple of four) on.
    pub fn write(&self, buffer: &GpuBuffer, offset: u64, data: &[u8]) {
        self.prevent_recording("the host writes to a tensor on the way");
        self.write_now(buffer, offset, data);
    }

    fn write_now(&self, buffer: &GpuBuffer, offset: u64, data: &[u8]) {
        let Some(raw) = buffer.raw() else { return };
        let _span = trace::transfer("upload", data.len() as u64);
        // `write_buffer` takes effect before anything recorded and not yet submitted; and the buffer may have been
        // recycled from a tensor that a recorded kernel still reads.
        self.flush();
        let whole = data.len() & !3;
        self.0.queue.write_buffer(raw, offset, &data[..whole]);
        if whole < data.len() {
            let mut tail = [0u8; 4];
            tail[..data.len() - whole].copy_from_slice(&data[whole..]);
            self.0.queue.write_buffer(raw, offset + whole as u64, &tail);
        }
    }

    /// Starts to read `bytes` bytes back, from byte `offset` on. Submits what has been recorded; does not wait.
    pub fn read(&self, buffer: &GpuBuffer, offset: u64, bytes: u64) -> Readback {
        self.prevent_recording("the host reads a tensor on the way");
        let Some(source) = buffer.raw().filter(|_| buffer.poison().is_none()) else {
            let error = buffer.poison().cloned().unwrap_or_else(|| Error::Driver("buffer without memory".into()));
            // Whoever reads this knows of the failure: updates in place go on.
            self.memory().take_skipped();
            return Readback(State::Failed(error));
        };
        // Copies go by whole words; sizes of buffers are multiples of four, so the widened range stays inside.
        let start = offset & !3;
        let padded = (offset - start + bytes).next_multiple_of(4).max(4);
        let staging = self.0.staging(padded);
        let mut stream = self.stream();
        stream.copy_to(source, start, &staging, padded);
        stream.flush();
        let submission = stream.last_submission();
        drop(stream);
        let mapped = Arc::new(Mapped::default());
        let done = mapped.clone();
        staging.map_async(wgpu::MapMode::Read, ..padded, move |result| done.set(result));
        let range = (offset - start) as usize..(offset - start + bytes) as usize;
        Readback(State::Waiting { gpu: self.clone(), staging, range, mapped, submission })
    }
}

/// Bytes on their way back from a GPU: a future, or [`Readback::wait`] where waiting is allowed.
#[derive(Debug)]
pub struct Readback(State);

/// Whether a staging buffer has been mapped, told by a callback that runs on whichever thread polls the device.
#[derive(Default)]
struct Mapped {
    result: Mutex<Option<Result<(), wgpu::BufferAsyncError>>>,
    arrived: Condvar,
}

impl Mapped {
    fn lock(&self) -> MutexGuard<'_, Option<Result<(), wgpu::BufferAsyncError>>> {
        self.result.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn set(&self, result: Result<(), wgpu::BufferAsyncError>) {
        *self.lock() = Some(result);
        self.arrived.notify_all();
    }
}

enum State {
    Waiting {
        gpu: Gpu,
        staging: wgpu::Buffer,
        range: Range<usize>,
        mapped: Arc<Mapped>,
        submission: Option<wgpu::SubmissionIndex>,
    },
    Failed(Error),
    Taken,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Waiting { .. } => "Waiting",
            State::Failed(_) => "Failed",
            State::Taken => "Taken",
        })
    }
}

impl Readback {
    /// The bytes if they have arrived, else `None`, without waiting.
    pub fn try_take(&mut self) -> Option<Result<Vec<u8>>> {
        if let State::Waiting { gpu, mapped, .. } = &self.0 {
            let _ = gpu.0.device.poll(wgpu::PollType::Poll);
            if mapped.lock().is_none() {
                return gpu.check().err().map(Err);
            }
        }
        match std::mem::replace(&mut self.0, State::Taken) {
            State::Waiting { gpu, staging, range, mapped, .. } => {
                let arrived = mapped.lock().take();
                Some(take(&gpu, staging, range, arrived.expect("checked above")))
            }
            State::Failed(error) => Some(Err(error)),
            State::Taken => Some(Err(Error::Driver("a readback was taken twice".into()))),
        }
    }

    /// Waits for the bytes.
    ///
    /// # Errors
    /// When the buffer's contents depend on an allocation that failed, or the device was lost.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(mut self) -> Result<Vec<u8>> {
        let _span = match &self.0 {
            State::Waiting { range, .. } => trace::transfer("read", range.len() as u64),
            _ => None,
        };
        if let State::Waiting { gpu, submission, mapped, .. } = &self.0 {
            gpu.wait_for(submission.clone());
            // Another thread that polls at the same time may have picked up the callback and be about to run it.
            let mut result = mapped.lock();
            while result.is_none() && gpu.check().is_ok() {
                let step = std::time::Duration::from_millis(10);
                result = mapped.arrived.wait_timeout(result, step).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
            }
        }
        self.try_take()
            .unwrap_or_else(|| Err(Error::DeviceLost { reason: "a finished readback did not arrive".into() }))
    }
}

fn take(
    gpu: &Gpu,
    staging: wgpu::Buffer,
    range: Range<usize>,
    arrived: Result<(), wgpu::BufferAsyncError>,
) -> Result<Vec<u8>> {
    gpu.check()?;
    arrived.map_err(|e| Error::DeviceLost { reason: e.to_string() })?;
    let padded = (range.end as u64).next_multiple_of(4).max(4);
    let view = staging.get_mapped_range(..padded).map_err(|e| Error::Driver(e.to_string()))?;
    let data = view[range].to_vec();
    drop(view);
    staging.unmap();
    let class = staging.size();
    lock(&gpu.0.pool).staging.entry(class).or_default().push(staging);
    Ok(data)
}

impl Future for Readback {
    type Output = Result<Vec<u8>>;

    /// Looks at the device without waiting, and asks to be polled again: an executor that has other work does it meanwhile.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.try_take() {
            Some(result) => Poll::Ready(result),
            None => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn size_classes_waste_at_most_an_eighth() {
        for bytes in (1..100_000u64).chain([1 << 30, (1 << 30) + 1, 128 << 20]) {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(16), "{bytes} -> {class}");
            assert!(bytes < 256 || class - bytes <= bytes / 8, "{bytes} -> {class}");
            assert_eq!(size_class(class), class);
        }
    }
}
