//! Devices: listing, choosing and describing them.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Mutex, Once, OnceLock};

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::gpu::{self, AdapterDescription, AdapterKind, Gpu, GpuStats, Profile};
use crate::memory::Memory;
use crate::trace;

/// Where tensors live and ops run: the CPU, or a GPU through wgpu. Cloning is cheap and shares the device.
///
/// ```
/// use tilegrad_core::Device;
/// let device = Device::cpu();
/// assert!(device.to_string().starts_with("CPU"));
/// ```
#[derive(Clone)]
pub struct Device(Kind);

/// The two backends. Only [`crate::op`] decides by it what to run.
#[derive(Clone)]
pub(crate) enum Kind {
    Cpu(Cpu),
    Gpu(Gpu),
}

/// One line of [`Device::list`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceInfo {
    /// The CPU backend, with its number of threads.
    Cpu {
        /// Threads that it uses.
        threads: usize,
    },
    /// An adapter.
    Gpu(AdapterDescription),
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceInfo::Cpu { threads } => write!(f, "CPU [{threads} threads]"),
            DeviceInfo::Gpu(adapter) => adapter.fmt(f),
        }
    }
}

/// The process-wide device list: adapters are enumerated once, and each is opened at most once.
struct Registry {
    adapters: Vec<gpu::Adapter>,
    open: Mutex<Vec<Option<Gpu>>>,
}

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let adapters = pollster::block_on(gpu::adapters());
        Registry { open: Mutex::new(adapters.iter().map(|_| None).collect()), adapters }
    })
}

impl Device {
    /// The CPU backend.
    pub fn cpu() -> Device {
        // Its own cell: a program that never asks for a GPU should not pay for looking for one.
        static CPU: OnceLock<Cpu> = OnceLock::new();
        let open = || {
            if let Err(error) = trace::start_from_environment() {
                eprintln!("tilegrad: there is no trace: {error}");
            }
            Cpu::new()
        };
        Device(Kind::Cpu(CPU.get_or_init(open).clone()))
    }

    /// The CPU, for who can take an error.
    fn checked_cpu() -> Result<Device> {
        trace::start_from_environment().map(|()| Device::cpu())
    }

    /// The device that `TILEGRAD_DEVICE` names, or else the best hardware GPU, or else the CPU.
    ///
    /// # Errors
    /// When `TILEGRAD_DEVICE` names something that isn't there, or the GPU would not open.
    pub fn auto() -> Result<Device> {
        match std::env::var("TILEGRAD_DEVICE") {
            Ok(name) if !name.is_empty() && name != "auto" => Device::named(&name),
            _ => Device::choose(),
        }
    }

    fn choose() -> Result<Device> {
        match registry().adapters.iter().position(|a| a.description.kind != AdapterKind::Software) {
            Some(index) => open(index),
            None => Device::checked_cpu(),
        }
    }

    /// The best adapter: discrete before integrated before software.
    ///
    /// # Errors
    /// Without any adapter, with what was tried and which package to install.
    pub fn gpu() -> Result<Device> {
        if registry().adapters.is_empty() { Err(no_adapter()) } else { open(0) }
    }

    /// The software adapter (lavapipe on Linux, WARP on Windows): every kernel, no graphics card.
    ///
    /// # Errors
    /// Without one, with the adapters there are.
    pub fn software() -> Result<Device> {
        match registry().adapters.iter().position(|a| a.description.kind == AdapterKind::Software) {
            Some(index) => open(index),
            None => Err(no_adapter()),
        }
    }

    /// A device by name: `auto`, `cpu`, `gpu`, `software`, an index into [`Device::list`], or part of an adapter's name.
    ///
    /// # Errors
    /// When nothing answers to the name, with the list of devices.
    pub fn named(name: &str) -> Result<Device> {
        let lower = name.trim().to_lowercase();
        match lower.as_str() {
            "auto" => return Device::choose(),
            "cpu" => return Device::checked_cpu(),
            "gpu" => return Device::gpu(),
            "software" => return Device::software(),
            _ => {}
        }
        let adapters = &registry().adapters;
        let found = match lower.parse::<usize>() {
            Ok(index) if index == adapters.len() => return Device::checked_cpu(),
            Ok(index) => (index < adapters.len()).then_some(index),
            Err(_) if lower.is_empty() => None,
            Err(_) => adapters.iter().position(|a| a.description.name.to_lowercase().contains(&lower)),
        };
        found.map_or_else(|| Err(unknown(name)), open)
    }

    /// Every device, hardware GPUs first and the CPU last; the position is the index that [`Device::named`] takes.
    pub fn list() -> Vec<DeviceInfo> {
        let adapters = registry().adapters.iter().map(|a| DeviceInfo::Gpu(a.description.clone()));
        adapters.chain([Device::cpu().info()]).collect()
    }

    /// What this device is.
    pub fn info(&self) -> DeviceInfo {
        match &self.0 {
            Kind::Cpu(_) => DeviceInfo::Cpu { threads: rayon::current_num_threads() },
            Kind::Gpu(gpu) => DeviceInfo::Gpu(gpu.description().clone()),
        }
    }

    /// Whether ops run through wgpu.
    pub fn is_gpu(&self) -> bool {
        matches!(self.0, Kind::Gpu(_))
    }

    /// Whether this is a GPU adapter that is a rasteriser on the CPU.
    pub fn is_software(&self) -> bool {
        matches!(&self.0, Kind::Gpu(gpu) if gpu.is_software())
    }

    /// Whether backward kernels of products and convolutions multiply `dy` by an activation's derivative as they load it, in
    /// place of a pass over `dy` and `y` before them: with the kernels for hardware, where the pass costs the memory's time and
    /// a second load almost none. For the CPU and in the kernels for software adapters loads are what costs, and each
    /// element is loaded by many tiles.
    pub(crate) fn derives_in_loads(&self) -> bool {
        matches!(&self.0, Kind::Gpu(gpu) if !gpu.wants_software_kernels())
    }

    /// Waits until everything asked for so far has run. On the CPU it has already.
    ///
    /// # Errors
    /// When the device was lost, and once after updates in place were left out because memory ran out.
    pub fn synchronize(&self) -> Result<()> {
        match &self.0 {
            Kind::Cpu(_) => self.check(),
            Kind::Gpu(gpu) => gpu.synchronize(),
        }
    }

    /// The error that [`Device::synchronize`] would give for updates left out so far, without waiting.
    ///
    /// # Errors
    /// That error.
    pub fn check(&self) -> Result<()> {
        self.as_gpu().map_or(Ok(()), |gpu| gpu.check())?;
        self.memory().take_skipped().map_or(Ok(()), Err)
    }

    /// Submits what has been recorded, without waiting. Rarely needed: reading a result does it, and so does a full stream.
    pub fn flush(&self) {
        if let Some(gpu) = self.as_gpu() {
            gpu.flush();
        }
    }

    /// What the runtime has done so far. On the CPU only bytes are counted, and the rest is 0.
    pub fn stats(&self) -> GpuStats {
        match &self.0 {
            Kind::Cpu(cpu) => cpu.stats(),
            Kind::Gpu(gpu) => gpu.stats(),
        }
    }

    /// Starts a new measurement of the peak of live bytes.
    pub fn reset_peak(&self) {
        match &self.0 {
            Kind::Cpu(cpu) => cpu.reset_peak(),
            Kind::Gpu(gpu) => gpu.reset_peak(),
        }
    }

    /// Sets how many bytes the tensors on this device may take in all, so that other programs have the rest; `None` takes
    /// the limit away. Past it a tensor is what it is without memory for it: an [`Error::OutOfMemory`] where it is read.
    /// Tensors in use stay. What the driver, an op's code on the CPU, and images that kernels on software adapters read take
    /// besides is not counted.
    ///
    /// ```
    /// use tilegrad_core::{Device, Error, Tensor};
    /// let device = Device::cpu();
    /// device.set_memory_limit(1 << 20);
    /// let large = Tensor::zeros([1 << 20], &device).to_vec::<f32>();
    /// assert!(matches!(large, Err(Error::OutOfMemory { .. })));
    /// device.set_memory_limit(None);
    /// assert!(Tensor::zeros([1 << 20], &device).to_vec::<f32>().is_ok());
    /// ```
    pub fn set_memory_limit(&self, bytes: impl Into<Option<u64>>) {
        match &self.0 {
            Kind::Cpu(cpu) => cpu.set_memory_limit(bytes.into()),
            Kind::Gpu(gpu) => gpu.set_memory_limit(bytes.into()),
        }
    }

    fn memory(&self) -> &Memory {
        match &self.0 {
            Kind::Cpu(cpu) => cpu.memory(),
            Kind::Gpu(gpu) => gpu.memory(),
        }
    }

    /// Runs `work` and returns, with its result, the GPU's own time of each kernel.
    ///
    /// # Errors
    /// On the CPU, and on an adapter without timestamp queries.
    pub fn profile<R>(&self, work: impl FnOnce() -> R) -> Result<(R, Profile)> {
        match self.as_gpu() {
            Some(gpu) => gpu.profile(work),
            None => Err(Error::invalid("profile", "a GPU device", self)),
        }
    }

    /// Runs `work` and writes to `path` what ran meanwhile, in the form that ui.perfetto.dev and chrome://tracing open: this
    /// device's kernels, where it has timestamps, and what the threads of the host did, also for other devices. As in a
    /// profile, each kernel has a pass of its own and each submission waits. The trace ends after 20,000 events.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// # let folder = std::env::temp_dir();
    /// # let path = folder.join(format!("tilegrad-doc-{}.json", std::process::id()));
    /// let device = Device::cpu();
    /// let x = Tensor::ones([64, 64], &device);
    /// let product = device.trace(&path, || x.matmul(&x))?;
    /// assert!(std::fs::read_to_string(&path).unwrap().contains("matmul (1,64,64)x(1,64,64)"));
    /// # std::fs::remove_file(path).unwrap();
    /// # Ok::<(), tilegrad_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the file can't be written, or a trace is being written already.
    pub fn trace<R>(&self, path: impl AsRef<Path>, work: impl FnOnce() -> R) -> Result<R> {
        // Also when `work` panics.
        struct Open<'a>(&'a Device);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.flush();
                trace::end();
                if let Some(gpu) = self.0.as_gpu() {
                    gpu.stream().drop_unwanted_recorder();
                }
            }
        }
        trace::start(path.as_ref())?;
        let _open = Open(self);
        match self.as_gpu() {
            Some(gpu) if gpu.description().timestamps => gpu.trace_kernels()?,
            _ => {}
        }
        Ok(work())
    }

    /// Runs the kernels that are made for hardware GPUs, also on a software adapter: for tests and benchmarks. No effect on
    /// the CPU or on hardware.
    pub fn set_hardware_kernels(&self, on: bool) {
        if let Some(gpu) = self.as_gpu() {
            gpu.set_hardware_kernels(on);
        }
    }

    /// Notes that what this thread records on the device can't be repeated by its kernels alone, and why.
    pub(crate) fn prevent_recording(&self, reason: &str) {
        if let Some(gpu) = self.as_gpu() {
            gpu.prevent_recording(reason);
        }
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.0
    }

    pub(crate) fn as_gpu(&self) -> Option<&Gpu> {
        match &self.0 {
            Kind::Gpu(gpu) => Some(gpu),
            Kind::Cpu(_) => None,
        }
    }
}

fn unknown(name: &str) -> Error {
    let list: Vec<String> = Device::list().iter().enumerate().map(|(i, d)| format!("{i}: {d}")).collect();
    Error::UnknownDevice { wanted: name.to_string(), available: list.join("; ") }
}

fn no_adapter() -> Error {
    let seen: Vec<_> = registry().adapters.iter().map(|a| a.description.to_string()).collect();
    let seen = if seen.is_empty() { "none".to_string() } else { seen.join("; ") };
    let backends = if cfg!(windows) {
        "Vulkan, DX12"
    } else if cfg!(target_vendor = "apple") {
        "Metal"
    } else {
        "Vulkan"
    };
    Error::NoAdapter { backends: backends.to_string(), seen }
}

fn open(index: usize) -> Result<Device> {
    let registry = registry();
    let adapter = &registry.adapters[index];
    let mut open = registry.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let gpu = match &open[index] {
        Some(gpu) => gpu.clone(),
        None => {
            let gpu = pollster::block_on(adapter.open())?;
            gpu.set_tuning(crate::tune_file::for_adapter(gpu.description()));
            crate::debug::device_opened(&gpu)?;
            open[index].insert(gpu).clone()
        }
    };
    if gpu.is_software() {
        static ANNOUNCED: Once = Once::new();
        ANNOUNCED.call_once(|| {
            eprintln!("tilegrad: {} is a software adapter: kernels run on the CPU's cores", adapter.description.name);
        });
    }
    Ok(Device(Kind::Gpu(gpu)))
}

impl FromStr for Device {
    type Err = Error;
    fn from_str(name: &str) -> Result<Device> {
        Device::named(name)
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Device) -> bool {
        match (&self.0, &other.0) {
            (Kind::Cpu(_), Kind::Cpu(_)) => true,
            (Kind::Gpu(a), Kind::Gpu(b)) => std::sync::Arc::ptr_eq(&a.0, &b.0),
            _ => false,
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.info().fmt(f)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.info().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_lists_the_devices() {
        let error = Device::named("voodoo2").unwrap_err().to_string();
        assert!(error.contains("no device matches \"voodoo2\"") && error.contains("CPU ["), "{error}");
        assert!(Device::named("").is_err() && Device::named("999").is_err());
        assert_eq!(Device::named("CPU").unwrap(), Device::cpu());
        let last = Device::list().len() - 1;
        assert_eq!(Device::named(&last.to_string()).unwrap(), Device::cpu());
    }
}
