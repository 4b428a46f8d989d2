//! Profiling: the GPU's own time of each kernel, from timestamp queries.
//!
//! While a profile runs every kernel has a compute pass of its own with a timestamp at either end, and each flush waits:
//! the sum of the kernels' times is right, the time of a whole step is not.

use std::fmt;

use super::context::{Gpu, GpuInner};
use super::stream::MAX_DISPATCHES;
use crate::error::{Error, Result};
use crate::trace::KernelTrack;

/// One launch of a kernel.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct KernelTime {
    /// The shader's entry point.
    pub kernel: &'static str,
    /// The op and shapes it ran for, like `conv2d (128,28,28,1)x(3,3,1,32)`.
    pub op: String,
    /// When it started, in microseconds on the device's clock, which has its zero anywhere.
    pub start_microseconds: f64,
    /// Time on the device, in microseconds.
    pub microseconds: f64,
    /// Arithmetic of the op, in floating-point operations; counted on the op's first kernel only.
    pub flops: u64,
    /// Bytes the op reads and writes; counted on the op's first kernel only.
    pub bytes: u64,
}

impl fmt::Display for KernelTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:.1}us", self.kernel, self.op, self.microseconds)?;
        let per_us = 1e-3 / self.microseconds.max(1e-3);
        if self.flops > 0 {
            write!(f, " {:.1} GFLOP/s", self.flops as f64 * per_us)?;
        }
        if self.bytes > 0 {
            write!(f, " {:.1} GB/s", self.bytes as f64 * per_us)?;
        }
        Ok(())
    }
}

/// The kernels that ran while a profile was on, in order.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Each launch.
    pub kernels: Vec<KernelTime>,
}

impl Profile {
    /// Time of all kernels, in microseconds.
    pub fn total_microseconds(&self) -> f64 {
        self.kernels.iter().map(|k| k.microseconds).sum()
    }
}

impl fmt::Display for Profile {
    /// A table of kernels with the same op and shapes, the most expensive first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<(KernelTime, usize)> = Vec::new();
        for k in &self.kernels {
            match rows.iter_mut().find(|(r, _)| r.kernel == k.kernel && r.op == k.op) {
                Some((row, launches)) => {
                    row.microseconds += k.microseconds;
                    row.flops += k.flops;
                    row.bytes += k.bytes;
                    *launches += 1;
                }
                None => rows.push((k.clone(), 1)),
            }
        }
        rows.sort_by(|(a, _), (b, _)| b.microseconds.total_cmp(&a.microseconds));
        let total = self.total_microseconds();
        writeln!(f, "{:>6} {:>10} {:>8} {:>9} {:>8}  kernel, op", "share", "us", "launches", "GFLOP/s", "GB/s")?;
        for (k, launches) in rows {
            let rate = |n: u64| if n == 0 { String::new() } else { format!("{:.1}", n as f64 * 1e-3 / k.microseconds) };
            let share = 100.0 * k.microseconds / total.max(1e-9);
            let (gflops, gbs) = (rate(k.flops), rate(k.bytes));
            writeln!(
                f,
                "{share:>5.1}% {:>10.1} {launches:>8} {gflops:>9} {gbs:>8}  {} {}",
                k.microseconds, k.kernel, k.op
            )?;
        }
        write!(f, "{:>17.1} us in {} kernels", total, self.kernels.len())
    }
}

/// What the running op is, for the lines of a profile.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpNote {
    pub(crate) op: String,
    pub(crate) flops: u64,
    pub(crate) bytes: u64,
}

/// Kernels timed in one submission.
const SLOTS: u32 = MAX_DISPATCHES;

/// Timestamp queries of the kernels recorded since the last flush, and the times so far.
pub(crate) struct Recorder {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
    period_ns: f64,
    /// The first tick that was read. Later ones are counted from it: a `f64` does not hold the nanoseconds of a month.
    origin: Option<u64>,
    note: OpNote,
    open: Vec<KernelTime>,
    /// The kernels so far, while a profile runs.
    done: Option<Vec<KernelTime>>,
    /// Whether to print each kernel as it is collected (`TILEGRAD_DEBUG=2`).
    print: bool,
    /// Where they are drawn, while a trace is written.
    track: Option<KernelTrack>,
}

impl Recorder {
    pub(crate) fn new(gpu: &GpuInner) -> Result<Recorder> {
        if !gpu.description.timestamps {
            return Err(Error::invalid("profile", "an adapter with timestamp queries", &gpu.description.name));
        }
        let size = u64::from(SLOTS) * 2 * 8;
        let buffer = |usage| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        Ok(Recorder {
            queries: gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: SLOTS * 2,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            staging: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
            period_ns: f64::from(gpu.queue.get_timestamp_period()),
            origin: None,
            note: OpNote::default(),
            open: Vec::new(),
            done: None,
            print: false,
            track: None,
        })
    }

    /// Tells which op the next kernels belong to.
    pub(crate) fn describe(&mut self, note: OpNote) {
        self.note = note;
    }

    pub(crate) fn begin(&mut self, kernel: &'static str) -> wgpu::ComputePassTimestampWrites<'_> {
        let first = 2 * self.open.len() as u32;
        let OpNote { op, flops, bytes } = self.note.clone();
        (self.note.flops, self.note.bytes) = (0, 0);
        self.open.push(KernelTime { kernel, op, start_microseconds: 0.0, microseconds: 0.0, flops, bytes });
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        }
    }

    pub(crate) fn resolve(&mut self, encoder: &mut wgpu::CommandEncoder) {
        if let Some(track) = &mut self.track {
            track.submit();
        }
        let count = 2 * self.open.len() as u32;
        if count > 0 {
            encoder.resolve_query_set(&self.queries, 0..count, &self.resolved, 0);
            encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.staging, 0, u64::from(count) * 8);
        }
    }

    /// Reads the times of the submission just made. Waits for it.
    pub(crate) fn collect(&mut self, gpu: &GpuInner) {
        if self.open.is_empty() {
            return;
        }
        self.staging.map_async(wgpu::MapMode::Read, .., |_| {});
        #[cfg(not(target_arch = "wasm32"))]
        gpu.wait_for(None);
        if let Ok(view) = self.staging.get_mapped_range(..) {
            let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&view[..]);
            let origin = *self.origin.get_or_insert(ticks[0]);
            let microseconds = |ticks: u64| ticks as f64 * self.period_ns * 1e-3;
            for (k, t) in self.open.iter_mut().zip(ticks.chunks_exact(2)) {
                k.start_microseconds = microseconds(t[0].saturating_sub(origin));
                k.microseconds = microseconds(t[1].saturating_sub(t[0]));
                if self.print {
                    eprintln!("{k}");
                }
            }
            if let Some(track) = &mut self.track {
                track.finish(&self.open);
            }
        }
        self.staging.unmap();
        if let Some(done) = &mut self.done {
            done.append(&mut self.open);
        }
        self.open.clear();
    }

    /// Whether anyone still looks at the times.
    pub(crate) fn is_wanted(&mut self) -> bool {
        self.track.take_if(|_| !crate::trace::is_on());
        self.print || self.done.is_some() || self.track.is_some()
    }
}

impl Gpu {
    /// Prints a line for each kernel from now on.
    ///
    /// # Errors
    /// On an adapter without timestamp queries.
    pub(crate) fn print_kernels(&self) -> Result<()> {
        self.stream().recorder()?.print = true;
        Ok(())
    }

    /// Puts each kernel into the trace that is being written, until it ends.
    ///
    /// # Errors
    /// On an adapter without timestamp queries.
    pub(crate) fn trace_kernels(&self) -> Result<()> {
        self.stream().recorder()?.track = Some(KernelTrack::new(&self.0.description.name));
        Ok(())
    }

    /// Runs `work` and returns the time of each kernel it launched.
    ///
    /// # Errors
    /// On an adapter without timestamp queries.
    pub fn profile<R>(&self, work: impl FnOnce() -> R) -> Result<(R, Profile)> {
        self.stream().recorder()?.done = Some(Vec::new());
        let result = work();
        let mut stream = self.stream();
        stream.flush();
        let kernels = stream.profile().and_then(|recorder| recorder.done.take()).unwrap_or_default();
        stream.drop_unwanted_recorder();
        Ok((result, Profile { kernels }))
    }
}
