//! Kernels: which shader with which constants, the cache of their pipelines, and the cache of bind groups.

use std::collections::HashMap;

use tilegrad_shaders::{ParamsIn, Shader};

use super::buffer::GpuBuffer;
use super::context::{GpuInner, MAX_PARAMS};
use super::image::{FORMAT, Images};
use super::stats::Counters;
use crate::error::Error;

/// A compute shader's entry point and the constants put in front of it: together they name a pipeline.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a> {
    /// The WGSL file.
    pub shader: &'static Shader,
    /// The entry point.
    pub entry: &'static str,
    /// `const NAME: u32 = value` lines of the header.
    pub constants: &'a [(&'static str, u32)],
}

/// One kernel launch.
#[derive(Clone, Copy, Debug)]
pub struct Dispatch<'a> {
    /// What to run.
    pub kernel: Kernel<'a>,
    /// Buffers it reads, at bindings 0, 1, ..
    pub inputs: &'a [&'a GpuBuffer],
    /// Buffers it writes (or updates in place), at the bindings after the inputs.
    pub outputs: &'a [&'a GpuBuffer],
    /// The kernel's `Params`: at most 128 bytes.
    pub params: &'a [u8],
    /// Workgroups in x, y and z. With a zero nothing runs.
    pub workgroups: [u32; 3],
}

impl Dispatch<'_> {
    fn layout(&self) -> LayoutId {
        (self.kernel.shader.images, self.inputs.len() as u8, self.outputs.len() as u8)
    }
}

/// The most storage buffers that a kernel binds.
pub(crate) const MAX_BINDINGS: usize = 7;

/// The most workgroups in one dimension of a dispatch; what WebGPU guarantees.
const MAX_WORKGROUPS: u64 = 65_535;

/// Workgroups for `threads` threads in groups of `size`, folded into two dimensions past 65,535. The shader finds its
/// number as `id.x + id.y * groups.x * size`, and returns past the end.
///
/// ```
/// use tilegrad_core::gpu::fold_workgroups;
/// assert_eq!(fold_workgroups(1000, 64), [16, 1, 1]);
/// assert_eq!(fold_workgroups(64 * 65_536, 64), [65_535, 2, 1]);
/// assert_eq!(fold_workgroups(0, 64), [0, 1, 1]);
/// ```
pub fn fold_workgroups(threads: u64, size: u64) -> [u32; 3] {
    let groups = threads.div_ceil(size);
    let x = groups.min(MAX_WORKGROUPS);
    let y = groups.div_ceil(x.max(1)).max(1);
    assert!(y <= MAX_WORKGROUPS, "a dispatch of {threads} threads is past what a device can index");
    [x as u32, y as u32, 1]
}

/// Whether inputs are images, and the numbers of inputs and outputs: all that distinguishes bind group layouts here.
pub(crate) type LayoutId = (bool, u8, u8);

type Variants = Vec<(Vec<(&'static str, u32)>, Result<usize, Error>)>;

/// Pipelines by shader, entry point and constants. Shaders are told apart by where they lie: two of a user may have one
/// name.
#[derive(Default)]
pub(crate) struct Pipelines {
    index: HashMap<(usize, &'static str), Variants>,
    all: Vec<wgpu::ComputePipeline>,
}

impl Pipelines {
    pub(crate) fn get(&self, index: usize) -> &wgpu::ComputePipeline {
        &self.all[index]
    }

    /// Pipelines made so far.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// The pipeline's number, compiling it at first use. An error is remembered: a kernel that the driver refuses once it
    /// refuses always.
    pub(crate) fn find(&mut self, gpu: &GpuInner, layouts: &mut Layouts, d: &Dispatch<'_>) -> Result<usize, Error> {
        let variants = self.index.entry((std::ptr::from_ref(d.kernel.shader) as usize, d.kernel.entry)).or_default();
        if let Some((_, found)) = variants.iter().find(|(constants, _)| constants == d.kernel.constants) {
            return found.clone();
        }
        let layout = d.layout();
        let made = compile(gpu, layouts, &d.kernel, layout).map(|pipeline| {
            self.all.push(pipeline);
            self.all.len() - 1
        });
        variants.push((d.kernel.constants.to_vec(), made.clone()));
        made
    }
}

fn compile(
    gpu: &GpuInner,
    layouts: &mut Layouts,
    kernel: &Kernel<'_>,
    layout: LayoutId,
) -> Result<wgpu::ComputePipeline, Error> {
    let source = kernel.shader.with_header(kernel.constants, gpu.params);
    super::limits::check(kernel, &source, &gpu.description.name, &gpu.device.limits())?;
    Counters::add(&gpu.counters.pipelines_created, 1);
    let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(kernel.shader.name),
        source: wgpu::ShaderSource::Wgsl(source.into()),
    };
    // Kernels carry their own bounds, and are trusted. `TILEGRAD_BOUNDS_CHECKS=1` adds wgpu's bounds checks, and the op tests run
    // once with them; they can't be on always, since clamped indices keep drivers from unrolling loops over private
    // arrays: eight times slower on llvmpipe, which besides ends a kernel after 65,535 rounds of all its loops. Hence
    // never the loop limits, whose counters do the same.
    let checked = gpu.checked || kernel.shader.custom;
    let checks = wgpu::ShaderRuntimeChecks { bounds_checks: checked, ..wgpu::ShaderRuntimeChecks::unchecked() };
    // SAFETY: every shader of the crate carries its own bounds: it returns, or clamps, past the sizes in its parameters.
    // A custom one is checked.
    let module = unsafe { gpu.device.create_shader_module_trusted(descriptor, checks) };
    let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(kernel.entry),
        layout: Some(layouts.pipeline(gpu, layout)),
        module: &module,
        entry_point: Some(kernel.entry),
        compilation_options: wgpu::PipelineCompilationOptions {
            // Kernels write workgroup memory before they read it.
            zero_initialize_workgroup_memory: checked,
            ..Default::default()
        },
        cache: None,
    });
    match super::buffer::poll_once(scope.pop()).flatten() {
        Some(error) => Err(Error::Driver(format!("{}::{}: {error}", kernel.shader.name, kernel.entry))),
        None => Ok(pipeline),
    }
}

/// Bind group layouts and pipeline layouts by their numbers of buffers.
pub(crate) struct Layouts {
    params: Option<wgpu::BindGroupLayout>,
    made: HashMap<LayoutId, (wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
}

impl Layouts {
    pub(crate) fn new(device: &wgpu::Device, params: ParamsIn) -> Layouts {
        let params = (params == ParamsIn::Uniform).then(|| {
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some("params"),
                entries: &[entry(0, buffer(wgpu::BufferBindingType::Uniform, true))],
            })
        });
        Layouts { params, made: HashMap::new() }
    }

    /// The layout of group 1, on adapters without immediates.
    pub(crate) fn params(&self) -> Option<&wgpu::BindGroupLayout> {
        self.params.as_ref()
    }

    fn get(&mut self, gpu: &GpuInner, id: LayoutId) -> &(wgpu::BindGroupLayout, wgpu::PipelineLayout) {
        let params = &self.params;
        self.made.entry(id).or_insert_with(|| {
            let (images, inputs, outputs) = id;
            let buffer = |read_only| buffer(wgpu::BufferBindingType::Storage { read_only }, false);
            let entries: Vec<_> = (0..inputs + outputs)
                .map(|i| match i < inputs {
                    true if images => entry(i.into(), IMAGE),
                    read_only => entry(i.into(), buffer(read_only)),
                })
                .collect();
            let group = gpu
                .device
                .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
            let pipeline = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(&group), params.as_ref()][..1 + params.is_some() as usize],
                immediate_size: if params.is_none() { MAX_PARAMS as u32 } else { 0 },
            });
            (group, pipeline)
        })
    }

    fn pipeline(&mut self, gpu: &GpuInner, id: LayoutId) -> &wgpu::PipelineLayout {
        &self.get(gpu, id).1
    }

    fn group(&mut self, gpu: &GpuInner, id: LayoutId) -> &wgpu::BindGroupLayout {
        &self.get(gpu, id).0
    }
}

fn buffer(ty: wgpu::BufferBindingType, has_dynamic_offset: bool) -> wgpu::BindingType {
    wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None }
}

const IMAGE: wgpu::BindingType = wgpu::BindingType::StorageTexture {
    access: wgpu::StorageTextureAccess::ReadOnly,
    format: FORMAT,
    view_dimension: wgpu::TextureViewDimension::D2,
};

fn entry(binding: u32, ty: wgpu::BindingType) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry { binding, visibility: wgpu::ShaderStages::COMPUTE, ty, count: None }
}

/// Bind groups by layout and buffers or images.
#[derive(Default)]
pub(crate) struct BindGroups(HashMap<(LayoutId, [u64; MAX_BINDINGS]), wgpu::BindGroup>);

/// A program that makes new buffers for ever (ever-changing shapes) must not keep them all alive through bind groups.
const MAX_BIND_GROUPS: usize = 8192;

/// A whole buffer; poisoned ones are never bound.
fn whole<'a>(buffer: &&'a GpuBuffer) -> wgpu::BindingResource<'a> {
    buffer.raw().expect("poisoned buffers are never bound").as_entire_binding()
}

impl BindGroups {
    pub(crate) fn find(
        &mut self,
        gpu: &GpuInner,
        layouts: &mut Layouts,
        images: &Images,
        d: &Dispatch<'_>,
    ) -> &wgpu::BindGroup {
        let layout = d.layout();
        // Images take the place of the inputs, one each.
        let images = if d.kernel.shader.images { images.of_inputs(d.inputs.len()) } else { &[] };
        let buffers = || d.inputs[images.len()..].iter().chain(d.outputs);
        let mut ids = [0; MAX_BINDINGS];
        let numbers = images.iter().map(|image| image.id()).chain(buffers().map(|buffer| buffer.id()));
        for (id, number) in ids.iter_mut().zip(numbers) {
            *id = number;
        }
        if self.0.len() > MAX_BIND_GROUPS {
            self.0.clear();
        }
        self.0.entry((layout, ids)).or_insert_with(|| {
            Counters::add(&gpu.counters.bind_groups_created, 1);
            let entries: Vec<_> = (0u32..)
                .zip(images.iter().map(|image| image.binding()).chain(buffers().map(whole)))
                .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
                .collect();
            gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: layouts.group(gpu, layout),
                entries: &entries,
            })
        })
    }

    /// Forgets all groups, and with them their hold on buffers.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
