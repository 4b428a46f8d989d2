//! Kernels that were recorded to be launched again: each with its pipeline, its bind group and its parameters found, and
//! all buffers held.
//!
//! While a recording is open, a buffer that was allocated for its kernels and becomes free is kept for its later kernels: so
//! they share memory as they would without a recording, and nobody else gets what they have written. When it is closed it
//! holds every buffer that its kernels bind.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use super::buffer::{GpuBuffer, WeakBuffer};
use super::context::{Gpu, GpuInner, MAX_PARAMS};
use super::image::Fill;
use super::stream::Stream;
use crate::error::{Error, Result};

/// A kernel launch with everything looked up.
pub(crate) struct Command {
    pub(crate) entry: &'static str,
    /// The pipeline's number.
    pub(crate) pipeline: usize,
    pub(crate) group: wgpu::BindGroup,
    params: [u8; MAX_PARAMS],
    params_len: usize,
    pub(crate) workgroups: [u32; 3],
    /// Copies to images, made before it.
    pub(crate) fills: Vec<Fill>,
}

impl Command {
    pub(crate) fn new(
        entry: &'static str,
        pipeline: usize,
        group: wgpu::BindGroup,
        params: &[u8],
        workgroups: [u32; 3],
        fills: Vec<Fill>,
    ) -> Command {
        let mut padded = [0; MAX_PARAMS];
        padded[..params.len()].copy_from_slice(params);
        Command { entry, pipeline, group, params: padded, params_len: params.len(), workgroups, fills }
    }

    pub(crate) fn params(&self) -> &[u8] {
        &self.params[..self.params_len]
    }
}

thread_local! {
    /// What this thread records: what others launch meanwhile is not part of it.
    static OPEN: RefCell<Option<OpenRecording>> = const { RefCell::new(None) };
}

/// A recording that is being made.
pub(crate) struct OpenRecording {
    gpu: Weak<GpuInner>,
    commands: Vec<Command>,
    buffers: BTreeMap<u64, WeakBuffer>,
    /// What was allocated on the way. Only such a buffer may be used twice: a kernel writes it each time before another
    /// reads it. What was there before has to be found again as the last one left it.
    made: BTreeSet<u64>,
    /// Buffers that are free and may be used again, by class and number. Nobody else gets them until the recording is closed.
    free: BTreeMap<u64, BTreeMap<u64, wgpu::Buffer>>,
    /// Other buffers that nobody owns any more.
    left: BTreeMap<u64, wgpu::Buffer>,
    /// What was uploaded on the way: constants, which nothing later in the recording may overwrite.
    constants: Vec<GpuBuffer>,
    /// Why the kernels would not do the same again.
    obstacle: Option<String>,
}

impl OpenRecording {
    /// Calls `f` with this thread's recording, if there is one on this device.
    pub(crate) fn with<R>(gpu: &GpuInner, f: impl FnOnce(&mut OpenRecording) -> R) -> Option<R> {
        let call = |open: &RefCell<Option<OpenRecording>>| {
            open.borrow_mut().as_mut().filter(|open| std::ptr::eq(open.gpu.as_ptr(), gpu)).map(f)
        };
        // A buffer may be dropped while its thread ends.
        OPEN.try_with(call).ok().flatten()
    }

    pub(crate) fn push<'a>(&mut self, command: Command, buffers: impl Iterator<Item = &'a &'a GpuBuffer>) {
        self.commands.push(command);
        for buffer in buffers {
            self.buffers.insert(buffer.id(), buffer.downgrade());
        }
    }

    /// A free buffer that a kernel of this recording has used.
    pub(crate) fn take(&mut self, class: u64) -> Option<(u64, wgpu::Buffer)> {
        self.free.get_mut(&class)?.pop_first()
    }

    /// Notes what a kernel's output, or what lies between kernels, was allocated as.
    pub(crate) fn note_made(&mut self, id: u64) {
        self.made.insert(id);
    }

    /// Keeps a buffer that has become free, if a kernel of this recording uses it; else gives it back.
    pub(crate) fn put(&mut self, id: u64, class: u64, buffer: wgpu::Buffer) -> Option<wgpu::Buffer> {
        if !self.buffers.contains_key(&id) {
            return Some(buffer);
        }
        if self.made.contains(&id) {
            self.free.entry(class).or_default().insert(id, buffer);
        } else {
            self.left.insert(id, buffer);
        }
        None
    }

    pub(crate) fn keep(&mut self, constant: &GpuBuffer) {
        self.constants.push(constant.clone());
    }

    /// Notes that the work can't be repeated by its kernels alone. The first reason stays.
    pub(crate) fn prevent(&mut self, reason: &str) {
        self.obstacle.get_or_insert_with(|| reason.into());
    }

    /// The recording, which holds every buffer. Not while it is this thread's: buffers may be dropped.
    fn close(self, gpu: &Arc<GpuInner>) -> Result<KernelRecording> {
        let free = self.free.into_values().flatten().chain(self.left);
        let mut buffers: Vec<GpuBuffer> = free.map(|(id, buffer)| gpu.own(id, buffer)).collect();
        let free: BTreeSet<u64> = buffers.iter().map(GpuBuffer::id).collect();
        let used = self.buffers.iter().filter(|(id, _)| !free.contains(id));
        let used: Option<Vec<GpuBuffer>> = used.map(|(_, buffer)| buffer.upgrade()).collect();
        let obstacle = self.obstacle.or(used.is_none().then(|| "another thread has dropped a tensor of theirs".into()));
        if let Some(reason) = obstacle {
            return Err(Error::NotReady(format!("these kernels can't be launched again: {reason}")));
        }
        buffers.extend(used.unwrap_or_default());
        Ok(KernelRecording { commands: self.commands, buffers, _constants: self.constants })
    }
}

/// Kernels to launch again, in order.
pub(crate) struct KernelRecording {
    pub(crate) commands: Vec<Command>,
    /// What they bind.
    buffers: Vec<GpuBuffer>,
    _constants: Vec<GpuBuffer>,
}

impl KernelRecording {
    /// Bytes of the buffers that the kernels bind.
    pub(crate) fn bytes(&self) -> u64 {
        self.buffers.iter().map(GpuBuffer::bytes).sum()
    }
}

impl Stream {
    /// Notes that what this thread records can't be repeated by its kernels alone, and why: a number in them comes from the
    /// host and would have to be another one each time.
    pub fn prevent_recording(&mut self, reason: &str) {
        self.gpu().prevent_recording(reason);
    }
}

impl Gpu {
    pub(crate) fn prevent_recording(&self, reason: &str) {
        OpenRecording::with(&self.0, |open| open.prevent(reason));
    }

    /// Runs `work`, and keeps the kernels that it launches from this thread, which must not be recording already.
    ///
    /// # Errors
    /// In the second result: when the kernels would not do the same again.
    pub(crate) fn record<R>(&self, work: impl FnOnce() -> R) -> (R, Result<KernelRecording>) {
        // However `work` ends, this thread records no more.
        struct Close;
        impl Drop for Close {
            fn drop(&mut self) {
                // Closing gives its buffers back.
                if let Some((open, gpu)) = OPEN.take().and_then(|open| open.gpu.upgrade().map(|gpu| (open, gpu))) {
                    drop(open.close(&gpu));
                }
            }
        }
        OPEN.set(Some(OpenRecording {
            gpu: Arc::downgrade(&self.0),
            commands: Vec::new(),
            buffers: BTreeMap::new(),
            made: BTreeSet::new(),
            free: BTreeMap::new(),
            left: BTreeMap::new(),
            constants: Vec::new(),
            obstacle: self.stream().profile().map(|_| "kernels are being timed one by one".into()),
        }));
        let _close = Close;
        let result = work();
        let open = OPEN.take().expect("opened above, and closed by nobody else");
        (result, open.close(&self.0))
    }

    /// Launches the kernels again.
    ///
    /// # Errors
    /// While updates are left out for lack of memory, with the reason for that; and when the device was lost.
    pub(crate) fn replay(&self, recording: &KernelRecording) -> Result<()> {
        self.check()?;
        if let Some(error) = self.memory().why_skipping() {
            return Err(error);
        }
        self.prevent_recording("a recording is replayed on the way");
        self.stream().replay(recording);
        Ok(())
    }
}
