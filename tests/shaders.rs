//! Every shader with every header: parsed and validated by naga, translated for Vulkan, Metal and DX12, and its `Params`
//! compared in size with the struct that the host sends. No GPU in sight.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage};
use tilegrad::ops::{ALL, KernelInfo};
use tilegrad_shaders::ParamsIn;

/// Parses and validates; the message of an error shows the line with a caret.
fn validate(name: &str, wgsl: &str) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(wgsl).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(wgsl)));
    let mut capabilities = Capabilities::IMMEDIATES | Capabilities::SUBGROUP;
    if wgsl.contains("enable wgpu_cooperative_matrix;") {
        capabilities |= Capabilities::COOPERATIVE_MATRIX | Capabilities::SHADER_FLOAT16;
    }
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
    validator.subgroup_operations(naga::valid::SubgroupOperationSet::all());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(wgsl)));
    (module, info)
}

fn for_each_kernel(mut f: impl FnMut(&KernelInfo, &str, ParamsIn, &Module, &ModuleInfo)) {
    for info in ALL {
        for kernel in info.kernels {
            for header in (kernel.headers)() {
                for params in [ParamsIn::Immediates, ParamsIn::Uniform] {
                    let wgsl = kernel.shader.with_header(&header, params);
                    let name = format!("{} {header:?} {params:?}", kernel.shader.name);
                    let (module, info) = validate(&name, &wgsl);
                    f(kernel, &name, params, &module, &info);
                }
            }
        }
    }
}

/// Whether Khronos's validator is installed. It looks at what naga wrote with other eyes than naga's.
fn has_spirv_val() -> bool {
    let found = Command::new("spirv-val").arg("--version").output().is_ok_and(|o| o.status.success());
    let required = std::env::var("TILEGRAD_REQUIRE_SPIRV_VAL").is_ok_and(|v| v == "1");
    assert!(found || !required, "TILEGRAD_REQUIRE_SPIRV_VAL is set, and there is no spirv-val");
    if !found {
        eprintln!("spirv-val is not installed: the SPIR-V is not checked a second time");
    }
    found
}

/// Whether the validator knows SPV_KHR_cooperative_matrix: from 2023.4 on.
fn knows_cooperative_matrices() -> bool {
    let output = Command::new("spirv-val").arg("--version").output().expect("spirv-val is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().find_map(|word| word.strip_prefix('v')).unwrap_or_default();
    let mut numbers = version.split(['.', '-']).map_while(|n| n.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (2023, 4)
}

fn spirv_val(name: &str, words: &[u32]) {
    let mut child = Command::new("spirv-val")
        .args(["--target-env", "vulkan1.1", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("spirv-val starts");
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    child.stdin.take().expect("a pipe").write_all(&bytes).expect("spirv-val reads");
    let output = child.wait_with_output().expect("spirv-val ends");
    assert!(output.status.success(), "{name}: spirv-val: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn all_are_valid_and_have_their_entry_points() {
    for_each_kernel(|kernel, name, _, module, _| {
        for entry in kernel.entries {
            assert!(module.entry_points.iter().any(|e| e.name == *entry), "{name}: no entry point {entry}");
        }
    });
}

#[test]
fn params_have_the_size_that_the_host_sends() {
    for_each_kernel(|kernel, name, _, module, _| {
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).expect("a valid module has a layout");
        let params = module
            .global_variables
            .iter()
            .find(|(_, v)| v.name.as_deref() == Some("p"))
            .expect("the header declares p");
        let size = layouter[params.1.ty].size as usize;
        assert_eq!(size, kernel.params_bytes, "{name}: size of Params in WGSL and in Rust");
        assert!(size <= 128 && size.is_multiple_of(16), "{name}: {size} bytes of parameters");
    });
}

#[test]
fn all_keep_to_the_limits_of_every_adapter() {
    for_each_kernel(|_, name, _, module, info| {
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).expect("a valid module has a layout");
        for (i, entry) in module.entry_points.iter().enumerate() {
            let used = |space: fn(AddressSpace) -> bool| {
                let info = info.get_entry_point(i);
                let all = module.global_variables.iter();
                all.filter(|(handle, v)| !info[*handle].is_empty() && space(v.space))
                    .map(|(_, v)| v)
                    .collect::<Vec<_>>()
            };
            let storage = used(|s| matches!(s, AddressSpace::Storage { .. }));
            assert!(storage.len() <= 7, "{name}: {} binds {} storage buffers", entry.name, storage.len());
            let bytes: u32 = used(|s| s == AddressSpace::WorkGroup).iter().map(|v| layouter[v.ty].size).sum();
            assert!(bytes <= 32 << 10, "{name}: {} takes {bytes} bytes of workgroup memory", entry.name);
            let size = entry.workgroup_size;
            assert!(size.iter().product::<u32>() <= 256 && size[2] <= 64, "{name}: {size:?}");
        }
    });
}

#[test]
fn all_translate_to_vulkan_metal_and_dx12() {
    let has_spirv_val = has_spirv_val();
    for_each_kernel(|kernel, name, params, module, info| {
        // What Vulkan 1.1 takes: subgroup operations are part of SPIR-V from 1.3 on.
        let options = naga::back::spv::Options { lang_version: (1, 3), ..Default::default() };
        let spirv =
            naga::back::spv::write_vec(module, info, &options, None).unwrap_or_else(|e| panic!("{name}: SPIR-V: {e}"));
        let cooperative = !kernel.shader.prelude.is_empty();
        if has_spirv_val && (!cooperative || knows_cooperative_matrices()) {
            spirv_val(name, &spirv);
        }
        // Where resources lie in Metal and DX12 is decided with the pipeline; any place will do for the translation.
        let options =
            naga::back::msl::Options { fake_missing_bindings: true, lang_version: (2, 4), ..Default::default() };
        for entry in &module.entry_points {
            let pipeline = naga::back::msl::PipelineOptions {
                entry_point: Some((ShaderStage::Compute, entry.name.clone())),
                ..Default::default()
            };
            naga::back::msl::write_string(module, info, &options, &pipeline)
                .unwrap_or_else(|e| panic!("{name}: {} in MSL: {e}", entry.name));
        }
        if cooperative {
            // DX12 has none.
            return;
        }
        let options = naga::back::hlsl::Options {
            fake_missing_bindings: true,
            shader_model: naga::back::hlsl::ShaderModel::V6_0,
            immediates_target: (params == ParamsIn::Immediates).then_some(Default::default()),
            ..Default::default()
        };
        let mut text = String::new();
        naga::back::hlsl::Writer::new(&mut text, &options, &Default::default())
            .write(module, info, None)
            .unwrap_or_else(|e| panic!("{name}: HLSL: {e}"));
    });
}

#[test]
fn the_registry_names_every_shader() {
    let registered: BTreeSet<&str> = ALL.iter().flat_map(|i| i.kernels).map(|k| k.shader.name).collect();
    let declared: BTreeSet<&str> = tilegrad_shaders::ALL.iter().map(|s| s.name).collect();
    assert_eq!(registered, declared, "shaders in the registry of ops, and in the shaders crate");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .expect("the shaders folder")
        .filter_map(|f| f.ok()?.file_name().to_str()?.strip_suffix(".wgsl").map(String::from))
        .collect();
    assert_eq!(files, declared.iter().map(|s| s.to_string()).collect(), "files in shaders/, and shaders declared");
}
