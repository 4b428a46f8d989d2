//! The stream: one open encoder with one open compute pass, into which every kernel is recorded, and when it is submitted.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Weak};

use tilegrad_shaders::ParamsIn;

use super::buffer::GpuBuffer;
use super::context::{AdapterKind, Gpu, GpuInner, MAX_PARAMS};
use super::image::{Fill, Images};
use super::kernel::{BindGroups, Dispatch, Layouts, MAX_BINDINGS, Pipelines};
use super::profile::{OpNote, Recorder};
use super::recording::{Command, KernelRecording, OpenRecording};
use super::stats::Counters;
use crate::error::Error;
use crate::trace;

/// Kernels in one submission: few, so that the GPU starts early and a driver with a watchdog sees short command buffers. Most
/// of a submission's cost does not depend on their number, so there are up to the larger number where a GPU has nothing left
/// to do each time, and on a software adapter, which has no watchdog.
const DISPATCHES: u32 = 64;
pub(super) const MAX_DISPATCHES: u32 = 256;

/// Submissions that may be unfinished before recording waits: the GPU stays busy, and buffers come back in time.
const MAX_IN_FLIGHT: usize = 3;

/// Records kernels and submits them. Obtained, locked, from [`Gpu::stream`].
pub struct Stream {
    gpu: Weak<GpuInner>,
    pipelines: Pipelines,
    layouts: Layouts,
    bind_groups: BindGroups,
    images: Images,
    uniforms: Option<Uniforms>,
    encoder: Option<wgpu::CommandEncoder>,
    pass: Option<wgpu::ComputePass<'static>>,
    recorded: u32,
    /// Kernels after which they are submitted.
    limit: u32,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    profile: Option<Recorder>,
}

impl Stream {
    pub(crate) fn new(gpu: Weak<GpuInner>, device: &wgpu::Device, params: ParamsIn) -> Stream {
        let layouts = Layouts::new(device, params);
        let uniforms = layouts.params().map(|layout| Uniforms::new(device, layout));
        Stream {
            gpu,
            pipelines: Pipelines::default(),
            layouts,
            bind_groups: BindGroups::default(),
            images: Images::default(),
            uniforms,
            encoder: None,
            pass: None,
            recorded: 0,
            limit: DISPATCHES,
            in_flight: VecDeque::new(),
            profile: None,
        }
    }

    fn inner(&self) -> Arc<GpuInner> {
        self.gpu.upgrade().expect("a stream is locked through its device, which is then alive")
    }

    /// The device.
    pub fn gpu(&self) -> Gpu {
        Gpu(self.inner())
    }

    /// Whether kernels use the tiles for software adapters.
    pub fn wants_software_kernels(&self) -> bool {
        self.inner().wants_software_kernels()
    }

    /// Whether kernels are compiled with wgpu's bounds checks.
    pub(crate) fn is_checked(&self) -> bool {
        self.inner().checked
    }

    /// A buffer of at least `bytes` bytes with unspecified contents. Without room for it, a poisoned buffer: kernels that
    /// read it are skipped, and reading back what depends on it gives the error, in which `what` names it.
    pub fn alloc(&mut self, bytes: u64, what: &str) -> GpuBuffer {
        self.inner().alloc(bytes, what, || self.release())
    }

    /// Records one kernel. When a buffer is poisoned, or the kernel can't be compiled, nothing runs and the outputs are
    /// poisoned too.
    ///
    /// # Panics
    /// In debug builds, on a kernel with more than 7 buffers, more than 128 bytes of parameters, or with an output that is also an input.
    pub fn dispatch(&mut self, d: Dispatch<'_>) {
        self.dispatch_filled(d, Vec::new());
    }

    /// [`Stream::dispatch`] of a kernel that reads only these elements of its inputs: a range for each, which starts at a
    /// multiple of four, or is empty if the kernel doesn't read the input. If its shader takes images, the ranges are copied
    /// to them, and the kernel finds them at their images' starts.
    pub fn dispatch_parts(&mut self, parts: &[Range<usize>], d: Dispatch<'_>) {
        debug_assert!(parts.len() == d.inputs.len() && parts.iter().all(|r| r.start.is_multiple_of(4)), "{parts:?}");
        let fills = match d.kernel.shader.images {
            true => self.fills(parts, &d),
            false => Ok(Vec::new()),
        };
        match fills {
            Ok(fills) => self.dispatch_filled(d, fills),
            Err(error) => self.refuse(&d, error),
        }
    }

    /// The copies to the images of a kernel's inputs.
    fn fills(&mut self, parts: &[Range<usize>], d: &Dispatch<'_>) -> Result<Vec<Fill>, Error> {
        let gpu = self.inner();
        for (slot, part) in parts.iter().enumerate() {
            if self.images.fit(&gpu, slot, part.len())? {
                // They hold the smaller image.
                self.bind_groups.clear();
            }
        }
        let used = d.inputs.iter().zip(parts).enumerate().filter(|(_, (_, part))| !part.is_empty());
        Ok(used.filter_map(|(slot, (x, part))| Some(self.images.fill(slot, x.raw()?, part))).collect())
    }

    fn dispatch_filled(&mut self, d: Dispatch<'_>, fills: Vec<Fill>) {
        debug_assert!(d.inputs.len() + d.outputs.len() <= MAX_BINDINGS && d.params.len() <= MAX_PARAMS, "{d:?}");
        debug_assert!(
            d.outputs.iter().all(|o| d.inputs.iter().all(|i| i.id() != o.id() || i.poison().is_some())),
            "{}: a buffer can't be read and written in one dispatch",
            d.kernel.entry
        );
        let gpu = self.inner();
        if d.workgroups.contains(&0) {
            return;
        }
        let known = self.pipelines.count();
        let all = || d.inputs.iter().chain(d.outputs);
        let ready = match all().find_map(|b| b.poison()) {
            Some(error) => Err(error.clone()),
            None => self.pipelines.find(&gpu, &mut self.layouts, &d),
        };
        let pipeline = match ready {
            Ok(pipeline) => pipeline,
            Err(error) => return self.refuse(&d, error),
        };
        let group = self.bind_groups.find(&gpu, &mut self.layouts, &self.images, &d).clone();
        let command = Command::new(d.kernel.entry, pipeline, group, d.params, d.workgroups, fills);
        self.launch(&gpu, &command);
        OpenRecording::with(&gpu, |open| open.push(command, d.inputs.iter().chain(d.outputs)));
        // A software driver compiles at the launch, on a thread of its own: meanwhile the next pipeline is made here.
        if self.pipelines.count() > known && gpu.description.kind == AdapterKind::Software {
            self.flush();
        }
    }

    fn refuse(&mut self, d: &Dispatch<'_>, error: Error) {
        self.prevent_recording("an allocation or a kernel has failed");
        d.outputs.iter().for_each(|b| b.set_poison(error.clone()));
    }

    /// Launches recorded kernels again.
    pub(crate) fn replay(&mut self, recording: &KernelRecording) {
        let gpu = self.inner();
        if let Some(profile) = &mut self.profile {
            profile.describe(OpNote::default());
        }
        for command in &recording.commands {
            self.launch(&gpu, command);
        }
    }

    fn launch(&mut self, gpu: &GpuInner, command: &Command) {
        Counters::add(&gpu.counters.dispatches, 1);
        let offset = match &mut self.uniforms {
            Some(uniforms) if uniforms.is_full() => {
                self.flush();
                self.uniforms.as_mut().map(|u| u.push(command.params()))
            }
            Some(uniforms) => Some(uniforms.push(command.params())),
            None => None,
        };
        if !command.fills.is_empty() {
            self.pass = None;
            let encoder = open_encoder(&mut self.encoder, gpu);
            command.fills.iter().for_each(|fill| fill.record(encoder));
        }
        self.open_pass(gpu, command.entry);
        let pass = self.pass.as_mut().expect("just opened");
        pass.set_pipeline(self.pipelines.get(command.pipeline));
        pass.set_bind_group(0, &command.group, &[]);
        match (offset, &self.uniforms) {
            (Some(offset), Some(uniforms)) => pass.set_bind_group(1, &uniforms.group, &[offset]),
            _ => pass.set_immediates(0, command.params()),
        }
        let [x, y, z] = command.workgroups;
        pass.dispatch_workgroups(x, y, z);
        self.recorded += 1;
        if self.profile.is_some() {
            self.pass = None;
        }
        if self.recorded >= self.limit {
            self.flush();
        }
    }

    /// Copies `bytes` bytes of a buffer, from byte `start` on, to the front of another.
    pub(crate) fn copy_to(&mut self, source: &wgpu::Buffer, start: u64, target: &wgpu::Buffer, bytes: u64) {
        self.pass = None;
        let gpu = self.inner();
        open_encoder(&mut self.encoder, &gpu).copy_buffer_to_buffer(source, start, target, 0, bytes);
        self.recorded += 1;
    }

    fn open_pass(&mut self, gpu: &GpuInner, entry: &'static str) {
        if self.pass.is_some() {
            return;
        }
        let encoder = open_encoder(&mut self.encoder, gpu);
        let timestamp_writes = self.profile.as_mut().map(|p| p.begin(entry));
        self.pass = Some(
            encoder
                .begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes })
                .forget_lifetime(),
        );
    }

    /// Submits what has been recorded, without waiting for it; waits for older work when too much is in flight.
    pub fn flush(&mut self) {
        self.pass = None;
        let Some(mut encoder) = self.encoder.take() else { return };
        let gpu = self.inner();
        if let Some(profile) = &mut self.profile {
            profile.resolve(&mut encoder);
        }
        if let Some(uniforms) = &mut self.uniforms {
            uniforms.upload(&gpu.queue);
        }
        self.recorded = 0;
        let idle = gpu.device.poll(wgpu::PollType::Poll).is_ok_and(|status| status.is_queue_empty());
        let more = idle || gpu.description.kind == AdapterKind::Software;
        self.limit = if more { (2 * self.limit).min(MAX_DISPATCHES) } else { DISPATCHES };
        Counters::add(&gpu.counters.submits, 1);
        let span = trace::span("submit");
        self.in_flight.push_back(gpu.queue.submit([encoder.finish()]));
        drop(span);
        #[cfg(not(target_arch = "wasm32"))]
        if self.in_flight.len() > MAX_IN_FLIGHT {
            gpu.wait_for(self.in_flight.pop_front());
        }
        if let Some(profile) = &mut self.profile {
            profile.collect(&gpu);
            self.drop_unwanted_recorder();
        }
    }

    pub(crate) fn last_submission(&self) -> Option<wgpu::SubmissionIndex> {
        self.in_flight.back().cloned()
    }

    /// Lets go of buffers that nothing uses any more: finishes what is recorded, and forgets cached bind groups.
    pub(crate) fn release(&mut self) {
        self.flush();
        self.bind_groups.clear();
        #[cfg(not(target_arch = "wasm32"))]
        self.inner().wait_for(self.last_submission());
    }

    /// What times every kernel (each in a pass of its own), from here on.
    pub(crate) fn recorder(&mut self) -> Result<&mut Recorder, Error> {
        self.flush();
        let gpu = self.inner();
        match &mut self.profile {
            Some(recorder) => Ok(recorder),
            none => Ok(none.insert(Recorder::new(&gpu)?)),
        }
    }

    /// Stops timing kernels when nobody looks at the times any more.
    pub(crate) fn drop_unwanted_recorder(&mut self) {
        self.profile.take_if(|recorder| !recorder.is_wanted());
    }

    /// The running profile, to which [`crate::op::apply`] tells what each kernel works on.
    pub(crate) fn profile(&mut self) -> Option<&mut Recorder> {
        self.profile.as_mut()
    }
}

fn open_encoder<'a>(encoder: &'a mut Option<wgpu::CommandEncoder>, gpu: &GpuInner) -> &'a mut wgpu::CommandEncoder {
    encoder.get_or_insert_with(|| gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default()))
}

/// Kernel parameters on adapters without immediates: one uniform buffer, filled on the host while kernels are recorded
/// and uploaded with the submission that reads it. The queue runs in order, so each submission starts from the front.
struct Uniforms {
    buffer: wgpu::Buffer,
    group: wgpu::BindGroup,
    host: Vec<u8>,
    stride: usize,
}

impl Uniforms {
    fn new(device: &wgpu::Device, layout: &wgpu::BindGroupLayout) -> Uniforms {
        let stride = MAX_PARAMS.next_multiple_of(device.limits().min_uniform_buffer_offset_alignment as usize);
        let size = (stride * MAX_DISPATCHES as usize) as u64;
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size,
            usage,
            mapped_at_creation: false,
        });
        let window =
            wgpu::BufferBinding { buffer: &buffer, offset: 0, size: std::num::NonZero::new(MAX_PARAMS as u64) };
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("params"),
            layout,
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(window) }],
        });
        Uniforms { buffer, group, host: Vec::with_capacity(size as usize), stride }
    }

    fn is_full(&self) -> bool {
        self.host.len() == self.host.capacity()
    }

    /// Adds one kernel's parameters; returns their dynamic offset.
    fn push(&mut self, params: &[u8]) -> u32 {
        let offset = self.host.len();
        self.host.extend_from_slice(params);
        self.host.resize(offset + self.stride, 0);
        offset as u32
    }

    fn upload(&mut self, queue: &wgpu::Queue) {
        queue.write_buffer(&self.buffer, 0, &self.host);
        self.host.clear();
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream ({} kernels recorded, {} submissions in flight)", self.recorded, self.in_flight.len())
    }
}
