//! Kernels from outside the crate: WGSL that a user wrote, checked when the kernel is made, to be launched by the user's
//! own [`Op`](crate::op::Op).
//!
//! The text follows the rules of the crate's shaders: it declares `struct Params` and reads it as `p`, its storage buffers
//! are inputs and then outputs, and thread `(group.x + group.y * groups.x) * SIZE + local` returns past the end. Unlike the
//! crate's shaders it is not trusted: it is compiled with wgpu's bounds checks.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Mutex;

use bytemuck::Pod;
use naga::front::wgsl::{Frontend, Options};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage, StorageAccess};
use tilegrad_shaders::{ParamsIn, Shader};

use crate::error::{Error, Result};
use crate::gpu::{Demand, Dispatch, Kernel, MAX_BINDINGS, MAX_PARAMS, Stream, fold_workgroups};
use crate::op::GpuView;

/// A checked compute kernel. `P` is what the WGSL calls `Params`: a `#[repr(C)]` struct of numbers, or an array of them.
/// Copying is free; the pipeline is compiled at the first launch on a device, and kept.
///
/// ```
/// use tilegrad_core::CustomKernel;
/// const WGSL: &str = "
///     struct Params { len: u32, x_offset: u32, scale: f32, pad: u32 }
///     @group(0) @binding(0) var<storage, read> x: array<f32>;
///     @group(0) @binding(1) var<storage, read_write> y: array<f32>;
///
///     @compute @workgroup_size(64)
///     fn scale(
///         @builtin(local_invocation_index) local: u32,
///         @builtin(workgroup_id) group: vec3<u32>,
///         @builtin(num_workgroups) groups: vec3<u32>,
///     ) {
///         let i = (group.x + group.y * groups.x) * 64u + local;
///         if i < p.len {
///             y[i] = p.scale * x[p.x_offset + i];
///         }
///     }";
/// let kernel = CustomKernel::<[u32; 4]>::new("scale", WGSL, "scale", 1, 1)?;
/// let error = CustomKernel::<[u32; 4]>::new("scale", WGSL, "scales", 1, 1).unwrap_err();
/// assert_eq!(error.to_string(), "shader scale: there is no entry point `scales`, but `scale`");
/// # Ok::<(), tilegrad_core::Error>(())
/// ```
pub struct CustomKernel<P> {
    shader: &'static Shader,
    entry: &'static str,
    inputs: usize,
    outputs: usize,
    /// Threads in a workgroup.
    group: u64,
    params: PhantomData<fn(P)>,
}

impl<P> Clone for CustomKernel<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for CustomKernel<P> {}

impl<P> fmt::Debug for CustomKernel<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomKernel {}::{}", self.shader.name, self.entry)
    }
}

impl<P: Pod> CustomKernel<P> {
    /// Checks `wgsl` and its entry point: inputs are read-only storage buffers at bindings `0..inputs` of group 0, outputs
    /// are `read_write` ones behind them.
    ///
    /// # Errors
    /// [`Error::Shader`] when the text is no valid WGSL, with line and column in the text; when there is no such entry
    /// point; when its buffers are others; when it has more than 256 threads in a workgroup, 64 of them along z, or 16 KiB of
    /// workgroup memory, which not every adapter has; when `Params` has not the size of `P`, or more than 128 bytes.
    pub fn new(name: &str, wgsl: &str, entry: &str, inputs: usize, outputs: usize) -> Result<CustomKernel<P>> {
        let error = |message: String| Error::Shader { name: name.to_string(), message };
        let group = check(name, wgsl, entry, [inputs, outputs], size_of::<P>()).map_err(error)?;
        let (shader, entry) = intern(name, wgsl, entry);
        Ok(CustomKernel { shader, entry, inputs, outputs, group, params: PhantomData })
    }

    /// Records the kernel with at least `threads` threads. Without a thread nothing runs.
    ///
    /// # Panics
    /// When the numbers of inputs and outputs are others than the kernel was made for.
    #[track_caller]
    pub fn launch(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>], params: &P, threads: u64) {
        assert!(
            [x.len(), y.len()] == [self.inputs, self.outputs],
            "{}: launched with {} inputs and {} outputs, made for {} and {}",
            self.shader.name,
            x.len(),
            y.len(),
            self.inputs,
            self.outputs
        );
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: self.shader, entry: self.entry, constants: &[] },
            inputs: &x.iter().map(|x| x.buffer).collect::<Vec<_>>(),
            outputs: &y.iter().map(|y| y.buffer).collect::<Vec<_>>(),
            params: bytemuck::bytes_of(params),
            workgroups: fold_workgroups(threads, self.group),
        });
    }
}

/// Pipelines are kept as long as a device is, by shader and entry point. So are these texts: one for each that differs.
fn intern(name: &str, wgsl: &str, entry: &str) -> (&'static Shader, &'static str) {
    type Known = HashMap<[String; 3], (&'static Shader, &'static str)>;
    static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let leak = |text: &str| -> &'static str { Box::leak(text.into()) };
    *known.get_or_insert_default().entry([name, wgsl, entry].map(String::from)).or_insert_with(|| {
        let shader = Shader { name: leak(name), source: leak(wgsl), custom: true, images: false, prelude: "" };
        (Box::leak(Box::new(shader)), leak(entry))
    })
}

/// Threads in a workgroup of the entry point, or what is wrong.
fn check(name: &str, wgsl: &str, entry: &str, buffers: [usize; 2], params_bytes: usize) -> Result<u64, String> {
    if buffers[0].saturating_add(buffers[1]) > MAX_BINDINGS || buffers[1] == 0 {
        let [inputs, outputs] = buffers;
        return Err(format!(
            "{inputs} inputs and {outputs} outputs, expected an output and at most {MAX_BINDINGS} in all"
        ));
    }
    if !wgsl.contains("Params") {
        return Err("there is no `struct Params`\n  help: declare it, and read it as `p`".into());
    }
    // Both ways to pass parameters: an adapter has one or the other.
    validate(name, wgsl, ParamsIn::Uniform)?;
    let (module, info) = validate(name, wgsl, ParamsIn::Immediates)?;
    let Some(at) = module.entry_points.iter().position(|e| e.name == entry) else {
        let names: Vec<String> = module.entry_points.iter().map(|e| format!("`{}`", e.name)).collect();
        let others = if names.is_empty() { "and no other".into() } else { format!("but {}", names.join(", ")) };
        return Err(format!("there is no entry point `{entry}`, {others}"));
    };
    if module.entry_points[at].stage != ShaderStage::Compute {
        return Err(format!("`{entry}` is no compute shader\n  help: mark it `@compute @workgroup_size(64)`"));
    }
    // Sizes of workgroups and arrays could depend on them.
    if let Some((_, constant)) = module.overrides.iter().next() {
        let name = constant.name.as_deref().unwrap_or_default();
        return Err(format!("`override {name}` is never given a value\n  help: use `const`, or a number of `Params`"));
    }
    let Demand { threads, size, workgroup_bytes, .. } = Demand::of(&module, &info, at)?;
    if threads > 256 {
        return Err(format!("`{entry}` has {threads} threads in a workgroup, every adapter has 256"));
    }
    if size[2] > 64 {
        return Err(format!("`{entry}` has {} threads along z in a workgroup, every adapter has 64", size[2]));
    }
    check_variables(&module, &info, at, buffers, params_bytes)?;
    const MEMORY: u64 = 16 << 10;
    if workgroup_bytes > MEMORY {
        return Err(format!("`{entry}` takes {workgroup_bytes} bytes of workgroup memory, every adapter has {MEMORY}"));
    }
    Ok(threads)
}

/// The entry point's variables: buffers and parameters.
fn check_variables(
    module: &Module,
    info: &ModuleInfo,
    entry: usize,
    [inputs, outputs]: [usize; 2],
    params_bytes: usize,
) -> Result<(), String> {
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).map_err(|e| e.to_string())?;
    let (name, uses) = (&module.entry_points[entry].name, info.get_entry_point(entry));
    let mut found = vec![false; inputs + outputs];
    for (handle, variable) in module.global_variables.iter() {
        let label = variable.name.as_deref().unwrap_or_default();
        if label == "p" && variable.space == AddressSpace::Immediate {
            let size = layouter[variable.ty].size;
            if size as usize != params_bytes || params_bytes > MAX_PARAMS {
                return Err(format!(
                    "`Params` has {size} bytes in WGSL and {params_bytes} in Rust, at most {MAX_PARAMS}"
                ));
            }
            continue;
        }
        if uses[handle].is_empty() {
            continue;
        }
        let Some(binding) = &variable.binding else { continue };
        let (group, number) = (binding.group, binding.binding as usize);
        let AddressSpace::Storage { access } = variable.space else {
            return Err(format!("`{label}` is no storage buffer; numbers belong in `Params`"));
        };
        if group != 0 || number >= inputs + outputs {
            let place = format!("`{label}` is at binding {number} of group {group}");
            return Err(format!(
                "{place}, {inputs} inputs and {outputs} outputs end at binding {} of group 0",
                inputs + outputs - 1
            ));
        }
        let (what, wanted) = if number < inputs { ("an input", "read") } else { ("an output", "read_write") };
        if access.contains(StorageAccess::STORE) != (number >= inputs) {
            return Err(format!("`{label}` at binding {number} is {what}, expected `var<storage, {wanted}>`"));
        }
        found[number] = true;
    }
    if let Some(missing) = found.iter().position(|used| !used) {
        let what = if missing < inputs { "an input" } else { "an output" };
        return Err(format!(
            "`{name}` does not use binding {missing}, {what}: {inputs} inputs and {outputs} outputs were announced"
        ));
    }
    Ok(())
}

/// Parses and validates.
fn validate(name: &str, wgsl: &str, params: ParamsIn) -> Result<(Module, ModuleInfo), String> {
    // As `Shader::with_header` makes it.
    let text = format!("{wgsl}\n{}", params.declaration());
    let said = |report: String| report.trim_start_matches("error: ").trim_end().to_string();
    let capabilities = Capabilities::IMMEDIATES;
    let mut frontend = Frontend::new_with_options(Options { parse_doc_comments: false, capabilities });
    let module = frontend.parse(&text).map_err(|e| said(e.emit_to_string_with_path(&text, name)))?;
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    let info = validator.validate(&module).map_err(|e| said(e.emit_to_string_with_path(&text, name)))?;
    Ok((module, info))
}
