//! Instance, adapters, and opening a device: limits, features, and what happens when the driver gives up.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use tilegrad_shaders::ParamsIn;

use super::buffer::Pool;
use super::image;
use super::stats::{Counters, GpuStats};
use super::stream::Stream;
use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::tuning::Tuning;

/// Whether an adapter is hardware. Kernels choose their tiles by this: a software rasteriser wants no workgroup memory
/// and big register tiles, a real GPU the opposite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AdapterKind {
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares the CPU's memory.
    Integrated,
    /// A GPU behind a hypervisor, or of a kind the driver does not tell.
    Other,
    /// A rasteriser on the CPU: lavapipe, WARP, SwiftShader.
    Software,
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AdapterKind::Discrete => "discrete GPU",
            AdapterKind::Integrated => "integrated GPU",
            AdapterKind::Other => "GPU",
            AdapterKind::Software => "software adapter",
        })
    }
}

/// What can be said of an adapter without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdapterDescription {
    /// The adapter's own name.
    pub name: String,
    /// Driver and its version.
    pub driver: String,
    /// Vulkan, Metal or DX12.
    pub backend: String,
    /// Hardware or not.
    pub kind: AdapterKind,
    /// The largest tensor, in bytes.
    pub max_tensor_bytes: u64,
    /// Workgroup memory, in bytes.
    pub max_workgroup_bytes: u32,
    /// Threads in a workgroup.
    pub max_workgroup_threads: u32,
    /// Kernel parameters as immediates (else through a uniform ring).
    pub immediates: bool,
    /// Timestamps for profiling.
    pub timestamps: bool,
    /// Smallest and largest number of invocations in a subgroup, where shaders can use subgroups.
    pub subgroup_sizes: Option<(u32, u32)>,
    /// Side of the cooperative matrices (tensor cores) that multiply `f16` into `f32` and that tilegrad has kernels for.
    pub cooperative_matrix: Option<u32>,
}

impl fmt::Display for AdapterDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} [{}, {}, {}; tensors up to {} MiB, {} KiB workgroup memory, {} threads a workgroup, {}{}{}]",
            self.name,
            self.kind,
            self.backend,
            self.driver,
            self.max_tensor_bytes >> 20,
            self.max_workgroup_bytes >> 10,
            self.max_workgroup_threads,
            if self.immediates { "immediates" } else { "uniform ring" },
            if self.timestamps { ", timestamps" } else { "" },
            if self.cooperative_matrix.is_some() { ", f16 tensor cores" } else { "" },
        )
    }
}

/// An adapter that has not been opened.
pub(crate) struct Adapter {
    pub(crate) description: AdapterDescription,
    adapter: wgpu::Adapter,
}

/// The backends that this build tries.
pub(crate) const BACKENDS: wgpu::Backends = wgpu::Backends::VULKAN
    .union(wgpu::Backends::METAL)
    .union(wgpu::Backends::DX12)
    .union(wgpu::Backends::BROWSER_WEBGPU);

/// Bytes of parameters that any kernel may have: what Vulkan guarantees for push constants.
pub(crate) const MAX_PARAMS: usize = 128;

/// Every adapter of the machine, hardware first.
pub(crate) async fn adapters() -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = BACKENDS;
    // wgpu's own extra passes (indirect validation) cost start-up time, and no kernel here is dispatched indirectly.
    descriptor.flags = wgpu::InstanceFlags::empty();
    let instance = wgpu::Instance::new(descriptor);
    let mut found: Vec<Adapter> = instance.enumerate_adapters(BACKENDS).await.into_iter().map(describe).collect();
    found.sort_by_key(|a| a.description.kind);
    found
}

fn describe(adapter: wgpu::Adapter) -> Adapter {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
        _ => AdapterKind::Other,
    };
    let description = AdapterDescription {
        name: info.name,
        driver: [info.driver, info.driver_info].join(" ").trim().to_string(),
        backend: info.backend.to_string(),
        kind,
        max_tensor_bytes: match limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) {
            // Kernels there read copies in images.
            bytes if kind == AdapterKind::Software => bytes.min(image::max_bytes(&limits)),
            bytes => bytes,
        },
        max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
        max_workgroup_threads: limits.max_compute_invocations_per_workgroup,
        immediates: features.contains(wgpu::Features::IMMEDIATES) && limits.max_immediate_size as usize >= MAX_PARAMS,
        timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
        subgroup_sizes: features
            .contains(wgpu::Features::SUBGROUP)
            .then_some((info.subgroup_min_size, info.subgroup_max_size)),
        cooperative_matrix: cooperative_matrix(&adapter, info.subgroup_min_size, info.subgroup_max_size),
    };
    Adapter { description, adapter }
}

/// The features that the kernels of cooperative matrices need.
const COOPERATIVE: wgpu::Features =
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::SHADER_F16).union(wgpu::Features::SUBGROUP);

/// The side of square cooperative matrices of `f16` that add up in `f32`, the larger of 16 and 8. None where subgroups are
/// not of one size, since the kernel's workgroup is a number of whole ones.
fn cooperative_matrix(adapter: &wgpu::Adapter, smallest: u32, largest: u32) -> Option<u32> {
    let known = smallest == largest && [8, 16, 32, 64].contains(&smallest);
    if !known || !adapter.features().contains(COOPERATIVE) {
        return None;
    }
    let offered = adapter.cooperative_matrix_properties();
    [16, 8].into_iter().find(|side| {
        let fits = |c: &wgpu::CooperativeMatrixProperties| {
            [c.m_size, c.n_size, c.k_size] == [*side; 3]
                && c.ab_type == wgpu::CooperativeScalarType::F16
                && c.cr_type == wgpu::CooperativeScalarType::F32
        };
        offered.iter().any(fits)
    })
}

impl Adapter {
    /// Opens the device.
    ///
    /// # Errors
    /// When the driver refuses.
    pub(crate) async fn open(&self) -> Result<Gpu> {
        let mut features = wgpu::Features::empty();
        let mut limits = self.adapter.limits();
        // `TILEGRAD_PARAMS=uniform` takes the path of adapters without immediates, so that it can be tested anywhere.
        let uniform = std::env::var("TILEGRAD_PARAMS").is_ok_and(|v| v == "uniform");
        let params = if self.description.immediates && !uniform { ParamsIn::Immediates } else { ParamsIn::Uniform };
        match params {
            ParamsIn::Immediates => features |= wgpu::Features::IMMEDIATES,
            ParamsIn::Uniform => limits.max_immediate_size = 0,
        }
        if self.description.subgroup_sizes.is_some() {
            features |= wgpu::Features::SUBGROUP;
        }
        if self.description.timestamps {
            features |= wgpu::Features::TIMESTAMP_QUERY;
        }
        let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
        if self.description.cooperative_matrix.is_some() {
            features |= COOPERATIVE;
            // SAFETY: the one experimental feature asked for is that of cooperative matrices. What it may get wrong is used
            // by one kernel only, when mixed precision is asked for, and after its results were compared with f32.
            experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("tilegrad"),
            required_features: features,
            experimental_features,
            required_limits: limits,
            ..Default::default()
        };
        let (device, queue) = self
            .adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| Error::OpenDevice { adapter: self.description.name.clone(), reason: e.to_string() })?;
        let failure = Arc::new(OnceLock::new());
        let lost = failure.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                let _ = lost.set(Error::DeviceLost { reason: message });
            }
        });
        let uncaptured = failure.clone();
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            let _ = uncaptured.set(Error::Driver(e.to_string()));
        }));
        Ok(Gpu::new(device, queue, self.description.clone(), params, failure))
    }
}

/// An open GPU device. Cloning shares it.
#[derive(Clone)]
pub struct Gpu(pub(crate) Arc<GpuInner>);

pub(crate) struct GpuInner {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) description: AdapterDescription,
    pub(crate) params: ParamsIn,
    pub(crate) counters: Counters,
    pub(crate) pool: Mutex<Pool>,
    /// Whether kernels are compiled with wgpu's bounds checks.
    pub(crate) checked: bool,
    /// The first error that no call could return: a lost device, or something the driver refused.
    failure: Arc<OnceLock<Error>>,
    /// Whether the kernels of cooperative matrices have been found right on this adapter.
    cooperative: AtomicBool,
    /// Whether that has been looked at; locked meanwhile.
    pub(crate) cooperative_checked: Mutex<bool>,
    pub(crate) memory: Memory,
    /// Set to run the hardware kernels on a software adapter, where they are slow and right.
    hardware_kernels: AtomicBool,
    /// Kept for the ops; nothing in the runtime looks into it.
    tuning: RwLock<Tuning>,
    stream: Mutex<Stream>,
}

impl Gpu {
    fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        description: AdapterDescription,
        params: ParamsIn,
        failure: Arc<OnceLock<Error>>,
    ) -> Gpu {
        Gpu(Arc::new_cyclic(|this| GpuInner {
            stream: Mutex::new(Stream::new(this.clone(), &device, params)),
            device,
            queue,
            description,
            params,
            counters: Counters::default(),
            pool: Mutex::new(Pool::default()),
            failure,
            checked: std::env::var("TILEGRAD_BOUNDS_CHECKS").is_ok_and(|v| v == "1"),
            cooperative: AtomicBool::new(false),
            cooperative_checked: Mutex::new(false),
            memory: Memory::default(),
            hardware_kernels: AtomicBool::new(false),
            tuning: RwLock::default(),
        }))
    }

    /// Adapter, driver, and the limits that matter.
    pub fn description(&self) -> &AdapterDescription {
        &self.0.description
    }

    /// Whether the adapter is a rasteriser on the CPU.
    pub fn is_software(&self) -> bool {
        self.0.description.kind == AdapterKind::Software
    }

    /// Whether kernels use the tiles for software adapters.
    pub fn wants_software_kernels(&self) -> bool {
        self.0.wants_software_kernels()
    }

    /// Runs the kernels for hardware GPUs, also on a software adapter: for tests and benchmarks.
    pub fn set_hardware_kernels(&self, on: bool) {
        self.0.hardware_kernels.store(on, Relaxed);
    }

    /// The tiles that were measured on this adapter.
    pub(crate) fn tuning(&self) -> Tuning {
        self.0.tuning.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_tuning(&self, tuning: Tuning) {
        *self.0.tuning.write().unwrap_or_else(PoisonError::into_inner) = tuning;
    }

    /// Smallest and largest number of invocations in a subgroup, where shaders can use subgroups.
    pub fn subgroup_sizes(&self) -> Option<(u32, u32)> {
        self.0.description.subgroup_sizes
    }

    /// The side of cooperative matrices, where kernels should use them and once they have been found right. A software adapter
    /// emulates them, slower than it multiplies `f32`.
    pub fn cooperative_matrix(&self) -> Option<u32> {
        let useful = self.0.cooperative.load(Relaxed) && !self.wants_software_kernels();
        self.0.description.cooperative_matrix.filter(|_| useful)
    }

    /// Says whether kernels may use cooperative matrices.
    pub(crate) fn trust_cooperative(&self, trusted: bool) {
        self.0.cooperative.store(trusted, Relaxed);
    }

    /// The one stream, locked: kernels are recorded and submitted one thread at a time.
    pub fn stream(&self) -> MutexGuard<'_, Stream> {
        // A panic while recording (a wrong shape in a kernel's host code) leaves the stream usable.
        self.0.stream.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Counters since the device was opened.
    pub fn stats(&self) -> GpuStats {
        self.0.counters.snapshot()
    }

    /// Starts a new measurement of `peak_bytes` at what is live now.
    pub fn reset_peak(&self) {
        self.0.counters.reset_peak();
    }

    /// Submits what has been recorded, without waiting.
    pub fn flush(&self) {
        self.stream().flush();
    }

    /// Submits what has been recorded and waits until it has run.
    ///
    /// # Errors
    /// When the device was lost or the driver refused something, or when an update in place was left out since the last
    /// call because an allocation that it depends on failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn synchronize(&self) -> Result<()> {
        let submission = {
            let mut stream = self.stream();
            stream.flush();
            stream.last_submission()
        };
        self.wait_for(submission);
        self.check()?;
        self.memory().take_skipped().map_or(Ok(()), Err)
    }

    /// The limit of memory, and what was left out for lack of it.
    pub(crate) fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// Sets how many bytes all buffers together may take, or takes the limit away. Buffers that rest in the pool are freed
    /// if they are past it; those in use stay.
    pub fn set_memory_limit(&self, bytes: Option<u64>) {
        self.0.memory.set_limit(bytes);
        if self.0.counters.buffer_bytes.load(Relaxed) > self.0.memory.limit() {
            self.stream().release();
            self.0.empty_pool();
        }
    }

    /// Waits for one submission, or for all of them.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn wait_for(&self, submission_index: Option<wgpu::SubmissionIndex>) {
        self.0.wait_for(submission_index);
    }

    /// The error that the device has run into, if any.
    pub(crate) fn check(&self) -> Result<()> {
        self.0.check()
    }
}

impl GpuInner {
    pub(crate) fn wants_software_kernels(&self) -> bool {
        self.description.kind == AdapterKind::Software && !self.hardware_kernels.load(Relaxed)
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.failure.get().map_or(Ok(()), |e| Err(e.clone()))
    }

    /// Waits for one submission, or for all of them. A failed wait means a lost device, which its callback reports.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn wait_for(&self, submission_index: Option<wgpu::SubmissionIndex>) {
        let _span = crate::trace::span("wait");
        if self.device.poll(wgpu::PollType::Wait { submission_index, timeout: None }).is_err() {
            let _ = self.failure.set(Error::DeviceLost { reason: "waiting for the queue failed".into() });
        }
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpu({})", self.0.description)
    }
}
