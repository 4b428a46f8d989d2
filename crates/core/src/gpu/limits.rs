//! What a kernel takes of an adapter, and whether the adapter has it. Asked before a pipeline is made: past its limits a
//! driver may do anything, and an error should name the kernel and the limit.

use naga::front::wgsl::{Frontend, Options};
use naga::valid::{Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use naga::{AddressSpace, Module};
use tilegrad_shaders::Shader;

use super::context::MAX_PARAMS;
use super::kernel::{Kernel, MAX_BINDINGS};
use crate::error::{Error, Result};

/// What one entry point takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Threads in a workgroup.
    pub(crate) threads: u64,
    /// The same along x, y and z.
    pub(crate) size: [u32; 3],
    /// Bytes of workgroup memory.
    pub(crate) workgroup_bytes: u64,
    /// Storage buffers that it uses.
    pub(crate) buffers: usize,
    /// Bytes of `Params`.
    pub(crate) params_bytes: u64,
}

impl Demand {
    /// More than any shader of the crate takes: `tests/shaders.rs` holds them to these numbers. An adapter with all of this
    /// needs no look at their texts.
    const OF_THE_CRATE: Demand = Demand {
        threads: 256,
        size: [256, 256, 64],
        workgroup_bytes: 32 << 10,
        buffers: MAX_BINDINGS,
        params_bytes: 128,
    };

    /// Counts what entry point number `entry` uses.
    ///
    /// # Errors
    /// When a type has no layout, with naga's words.
    pub(crate) fn of(module: &Module, info: &ModuleInfo, entry: usize) -> Result<Demand, String> {
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).map_err(|e| e.to_string())?;
        let size = module.entry_points[entry].workgroup_size;
        // In 64 bits, which the largest sizes that pass the validation need.
        let threads = size.iter().map(|&size| u64::from(size)).product();
        let mut demand = Demand { threads, size, workgroup_bytes: 0, buffers: 0, params_bytes: 0 };
        let uses = info.get_entry_point(entry);
        let used = module.global_variables.iter().filter(|(handle, _)| !uses[*handle].is_empty());
        for (_, variable) in used {
            let bytes = u64::from(layouter[variable.ty].size);
            match variable.space {
                AddressSpace::WorkGroup => demand.workgroup_bytes += bytes,
                AddressSpace::Storage { .. } => demand.buffers += 1,
                AddressSpace::Immediate | AddressSpace::Uniform => demand.params_bytes += bytes,
                _ => {}
            }
        }
        Ok(demand)
    }

    /// The first limit that is exceeded: what it counts, how much is wanted, and how much there is.
    fn past(&self, limits: &wgpu::Limits) -> Option<(&'static str, u64, u64)> {
        let [x, y, z] = self.size.map(u64::from);
        let buffers = (limits.max_storage_buffers_per_shader_stage as usize).min(MAX_BINDINGS);
        [
            ("threads in a workgroup", self.threads, limits.max_compute_invocations_per_workgroup.into()),
            ("threads in a workgroup along x", x, limits.max_compute_workgroup_size_x.into()),
            ("threads in a workgroup along y", y, limits.max_compute_workgroup_size_y.into()),
            ("threads in a workgroup along z", z, limits.max_compute_workgroup_size_z.into()),
            ("bytes of workgroup memory", self.workgroup_bytes, limits.max_compute_workgroup_storage_size.into()),
            ("storage buffers", self.buffers as u64, buffers as u64),
            ("bytes of parameters", self.params_bytes, MAX_PARAMS as u64),
        ]
        .into_iter()
        .find(|(_, wanted, available)| wanted > available)
    }
}

/// Refuses a kernel, given with its complete text, that takes more than the adapter has.
///
/// # Errors
/// [`Error::KernelLimit`].
pub(crate) fn check(kernel: &Kernel<'_>, text: &str, device: &str, limits: &wgpu::Limits) -> Result<()> {
    // Parsing takes a third of a millisecond, which adds up over a training step's kernels.
    if is_of_the_crate(kernel.shader) && Demand::OF_THE_CRATE.past(limits).is_none() {
        return Ok(());
    }
    // What does not parse is refused with the pipeline.
    let Some((limit, wanted, available)) = read(text, kernel.entry).and_then(|demand| demand.past(limits)) else {
        return Ok(());
    };
    let kernel = format!("{}::{}", kernel.shader.name, kernel.entry);
    Err(Error::KernelLimit { device: device.to_string(), kernel, limit: limit.to_string(), wanted, available })
}

fn is_of_the_crate(shader: &'static Shader) -> bool {
    tilegrad_shaders::ALL.iter().any(|known| std::ptr::eq(*known, shader))
}

fn read(text: &str, entry: &str) -> Option<Demand> {
    let capabilities = Capabilities::all();
    let module = Frontend::new_with_options(Options { parse_doc_comments: false, capabilities }).parse(text).ok()?;
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    validator.subgroup_stages(ShaderStages::COMPUTE);
    validator.subgroup_operations(SubgroupOperationSet::all());
    let info = validator.validate(&module).ok()?;
    let entry = module.entry_points.iter().position(|e| e.name == entry)?;
    Demand::of(&module, &info, entry).ok()
}

#[cfg(test)]
mod tests {
    use tilegrad_shaders::MATMUL_TILED;

    use super::*;

    /// The largest tile of matrix products for hardware.
    const LARGE: Kernel<'_> = Kernel { shader: &MATMUL_TILED, entry: "matmul_forward", constants: &[] };

    #[test]
    fn the_crates_shaders_fit_everywhere_but_where_they_do_not() {
        let limits = wgpu::Limits { max_compute_workgroup_storage_size: 32 << 10, ..wgpu::Limits::default() };
        assert!(Demand::OF_THE_CRATE.past(&limits).is_none());
        check(&LARGE, "is not looked at", "test", &limits).unwrap();
        let text = "var<workgroup> tile: array<f32, 4500>;
            @compute @workgroup_size(64) fn matmul_forward() { tile[0] = 1.0; }
            @compute @workgroup_size(64) fn matmul_other() { }";
        let small = wgpu::Limits { max_compute_workgroup_storage_size: 16 << 10, ..limits };
        let error = check(&LARGE, text, "test", &small).unwrap_err().to_string();
        assert_eq!(
            error,
            "kernel matmul_tiled::matmul_forward takes 18000 bytes of workgroup memory, test has 16384 for one"
        );
        check(&Kernel { entry: "matmul_other", ..LARGE }, text, "test", &small).unwrap();
    }

    #[test]
    fn each_limit_is_looked_at() {
        let demand = Demand { threads: 8, size: [2, 2, 2], workgroup_bytes: 8, buffers: 2, params_bytes: 8 };
        let limits = wgpu::Limits::default();
        assert_eq!(demand.past(&limits), None);
        let past = |change: &dyn Fn(&mut wgpu::Limits)| {
            let mut limits = limits.clone();
            change(&mut limits);
            demand.past(&limits)
        };
        assert_eq!(past(&|l| l.max_compute_invocations_per_workgroup = 7), Some(("threads in a workgroup", 8, 7)));
        assert_eq!(past(&|l| l.max_compute_workgroup_size_x = 1), Some(("threads in a workgroup along x", 2, 1)));
        assert_eq!(past(&|l| l.max_compute_workgroup_size_y = 1), Some(("threads in a workgroup along y", 2, 1)));
        assert_eq!(past(&|l| l.max_compute_workgroup_size_z = 1), Some(("threads in a workgroup along z", 2, 1)));
        assert_eq!(past(&|l| l.max_compute_workgroup_storage_size = 4), Some(("bytes of workgroup memory", 8, 4)));
        assert_eq!(past(&|l| l.max_storage_buffers_per_shader_stage = 1), Some(("storage buffers", 2, 1)));
        let params = Demand { params_bytes: 144, ..demand };
        assert_eq!(params.past(&limits), Some(("bytes of parameters", 144, 128)));
    }
}
