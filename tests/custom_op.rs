//! Ops from outside the crate: an op with WGSL of its own runs on both devices and has gradients; mistakes in the text are
//! told when the kernel is made. `tests/custom_op_steady_state.rs` counts pipelines.

mod common;
#[path = "common/squareplus.rs"]
mod squareplus;

use bytemuck::Pod;
use common::{check, devices, panic_and_place, panic_message, random};
use squareplus::{Params, Squareplus, WGSL, WRONG, kernel};
use tilegrad::gpu::{Dispatch, Kernel, Stream};
use tilegrad::op::{CpuView, CpuViewMut, GpuView, Op, apply};
use tilegrad::{CustomKernel, Device, Error, Node, Shape, ShapeError, Tensor};
use tilegrad_shaders::Shader;

#[track_caller]
fn squareplus(x: &Tensor, b: f32) -> Tensor {
    apply(Squareplus { b, kernel: kernel() }, &[x])
}

/// The message of a kernel of this text.
#[track_caller]
fn message<P: Pod>(wgsl: &str, entry: &str, inputs: usize, outputs: usize) -> String {
    match CustomKernel::<P>::new("squareplus", wgsl, entry, inputs, outputs) {
        Err(error @ Error::Shader { .. }) => error.to_string(),
        other => panic!("{other:?}, expected a shader's error"),
    }
}

#[test]
fn runs_on_both_devices() {
    for device in devices() {
        let x = Tensor::new(&[0.0, 1.5, -1.5, 1e4], [4], &device);
        let y = squareplus(&x, 4.0).to_vec::<f32>().unwrap();
        assert_eq!(y[..3], [1.0, 2.0, 0.5], "on {device}");
        assert!((y[3] - 1e4).abs() < 1e-2);
        // A view that starts in the middle, and nothing at all.
        assert_eq!(squareplus(&x.slice(&[1..3]), 4.0).to_vec::<f32>().unwrap(), [2.0, 0.5]);
        assert_eq!(squareplus(&Tensor::zeros([0, 3], &device), 4.0).len(), 0);
    }
}

#[test]
fn has_gradients() {
    check("squareplus", &[random([3, 50], 1, -2.0, 2.0)], |x| squareplus(&x[0], 0.5));
    check("gradient of squareplus", &[random([3, 5], 2, -2.0, 2.0)], |x| {
        let x = if x[0].needs_grad() { x[0].clone() } else { x[0].requires_grad() };
        squareplus(&x, 0.5).sum().grad(&[&x])[0].clone().expect("y depends on x")
    });
}

#[test]
fn kernels_of_one_name_are_told_apart() {
    let negative = WGSL.replace("0.5 * (v", "-0.5 * (v");
    for device in devices().iter().filter(|d| d.is_gpu()) {
        let kernel = CustomKernel::new("squareplus", &negative, "squareplus", 1, 1).unwrap();
        let x = Tensor::new(&[1.5], [1], device);
        assert_eq!(squareplus(&x, 4.0).item().unwrap(), 2.0);
        assert_eq!(apply(Squareplus { b: 4.0, kernel }, &[&x]).item().unwrap(), -2.0);
    }
}

#[test]
fn what_reaches_past_a_buffer_harms_nothing() {
    let careless = WGSL.replace("if i < p.len", "if true").replace("x[p.x_offset + i]", "x[p.x_offset + i * 1000000u]");
    for device in devices().iter().filter(|d| d.is_gpu()) {
        let kernel = CustomKernel::new("careless", &careless, "squareplus", 1, 1).unwrap();
        let x = Tensor::new(&[1.5], [1], device);
        assert_eq!(apply(Squareplus { b: 4.0, kernel }, &[&x]).item().unwrap(), 2.0);
    }
}

#[test]
fn a_mistake_in_the_text_has_its_line() {
    let missing = WGSL.replace("let v = x[p.x_offset + i];", "let v = x[p.x_offset + i]");
    assert_eq!(
        message::<Params>(&missing, "squareplus", 1, 1),
        "shader squareplus: expected `;`, found \"y\"\n   ┌─ squareplus:15:9\n   │\n15 │         y[i] = 0.5 * (v + sqrt(v * v + p.b));\n   │         ^ expected `;`"
    );
    let unknown = WGSL.replace("sqrt(", "root(");
    assert_eq!(
        message::<Params>(&unknown, "squareplus", 1, 1),
        "shader squareplus: no definition in scope for identifier: `root`\n   ┌─ squareplus:15:27\n   │\n15 │         y[i] = 0.5 * (v + root(v * v + p.b));\n   │                           ^^^^ unknown identifier"
    );
    let mixed = WGSL.replace("v * v + p.b", "v * v + p.len");
    assert_eq!(
        message::<Params>(&mixed, "squareplus", 1, 1),
        concat!(
            "shader squareplus: Entry point squareplus at Compute is invalid\n   ┌─ squareplus:15:32\n   │\n",
            "15 │         y[i] = 0.5 * (v + sqrt(v * v + p.len));\n   │                                ^^^^^^^^^^^^^ ",
            "naga::ir::Expression [28]\n   │\n   = Expression [28] is invalid\n   = Operation Add can't work with [24] ",
            "(of type Scalar(Scalar { kind: Float, width: 4 })) and [27] (of type Scalar(Scalar { kind: Uint, width: 4 }))"
        )
    );
    let none = WGSL.replace("struct Params", "struct Numbers").replace("p.", "");
    assert_eq!(
        message::<Params>(&none, "squareplus", 1, 1),
        "shader squareplus: there is no `struct Params`\n  help: declare it, and read it as `p`"
    );
    // What not every adapter has; a directive that changes nothing is a line like others.
    let half = format!("enable f16;\n{WGSL}");
    assert_eq!(
        message::<Params>(&half, "squareplus", 1, 1),
        "shader squareplus: the `f16` extension is not supported in the current environment\n  ┌─ squareplus:1:8\n  │\n1 │ enable f16;\n  │        ^^^ unsupported enable-extension"
    );
    let quiet = format!("diagnostic(off, derivative_uniformity);\n{WGSL}");
    for device in devices() {
        let kernel = CustomKernel::new("squareplus", &quiet, "squareplus", 1, 1).unwrap();
        assert_eq!(apply(Squareplus { b: 4.0, kernel }, &[&Tensor::new(&[1.5], [1], &device)]).item().unwrap(), 2.0);
    }
}

#[test]
fn what_was_not_announced_is_said() {
    let say = |wgsl: &str, inputs, outputs| message::<Params>(wgsl, "squareplus", inputs, outputs);
    assert_eq!(
        message::<Params>(WGSL, "square", 1, 1),
        "shader squareplus: there is no entry point `square`, but `squareplus`"
    );
    assert_eq!(say(WGSL, 2, 1), "shader squareplus: `y` at binding 1 is an input, expected `var<storage, read>`");
    assert_eq!(
        say(WGSL, 1, 2),
        "shader squareplus: `squareplus` does not use binding 2, an output: 1 inputs and 2 outputs were announced"
    );
    assert_eq!(
        say(WGSL, 0, 1),
        "shader squareplus: `x` at binding 0 is an output, expected `var<storage, read_write>`"
    );
    let far = WGSL.replace("@binding(1)", "@binding(3)");
    assert_eq!(
        say(&far, 1, 1),
        "shader squareplus: `y` is at binding 3 of group 0, 1 inputs and 1 outputs end at binding 1 of group 0"
    );
    assert_eq!(say(WGSL, 7, 1), "shader squareplus: 7 inputs and 1 outputs, expected an output and at most 7 in all");
    assert_eq!(
        message::<[u32; 2]>(WGSL, "squareplus", 1, 1),
        "shader squareplus: `Params` has 16 bytes in WGSL and 8 in Rust, at most 128"
    );
    let large = WGSL.replace("b: f32, pad: u32", "b: f32, pad: u32, more: array<vec4<u32>, 8>");
    assert_eq!(
        message::<[u32; 36]>(&large, "squareplus", 1, 1),
        "shader squareplus: `Params` has 144 bytes in WGSL and 144 in Rust, at most 128"
    );
    let overflow = WGSL.replace("@workgroup_size(64)", "@workgroup_size(16384, 16384, 16)");
    assert_eq!(
        say(&overflow, 1, 1),
        "shader squareplus: `squareplus` has 4294967296 threads in a workgroup, every adapter has 256"
    );
    let many = WGSL.replace("@workgroup_size(64)", "@workgroup_size(32, 32)");
    assert_eq!(
        say(&many, 1, 1),
        "shader squareplus: `squareplus` has 1024 threads in a workgroup, every adapter has 256"
    );
    let deep = WGSL.replace("@workgroup_size(64)", "@workgroup_size(1, 1, 128)");
    assert_eq!(
        say(&deep, 1, 1),
        "shader squareplus: `squareplus` has 128 threads along z in a workgroup, every adapter has 64"
    );
    let memory = WGSL.replace("if i < p.len {", "w[local] = 0.0;\n    if i < p.len {");
    assert_eq!(
        say(&format!("var<workgroup> w: array<f32, 5000>;\n{memory}"), 1, 1),
        "shader squareplus: `squareplus` takes 20000 bytes of workgroup memory, every adapter has 16384"
    );
    // Sizes that add up past 32 bits.
    let [a, b, c] = ["a", "b", "c"].map(|name| format!("var<workgroup> {name}: array<f32, 536870911>;\n"));
    let memory = WGSL.replace("if i < p.len {", "a[local] = 0.0; b[local] = 0.0; c[local] = 0.0;\n    if i < p.len {");
    assert_eq!(
        say(&format!("{a}{b}{c}{memory}"), 1, 1),
        "shader squareplus: `squareplus` takes 6442450932 bytes of workgroup memory, every adapter has 16384"
    );
    let uniform = WGSL.replace("var<storage, read> x: array<f32>", "var<uniform> x: array<vec4<f32>, 4>");
    let uniform = uniform.replace("x[p.x_offset + i]", "x[i].x");
    assert_eq!(say(&uniform, 1, 1), "shader squareplus: `x` is no storage buffer; numbers belong in `Params`");
}

#[test]
fn what_is_no_kernel_is_said() {
    let say = |wgsl: &str, inputs, outputs| message::<Params>(wgsl, "squareplus", inputs, outputs);
    assert_eq!(
        say(WGSL, usize::MAX, 1),
        format!("shader squareplus: {} inputs and 1 outputs, expected an output and at most 7 in all", usize::MAX)
    );
    let fragment = format!("{WGSL}@fragment fn paint() {{ }}");
    assert_eq!(
        message::<Params>(&fragment, "paint", 1, 1),
        "shader squareplus: `paint` is no compute shader\n  help: mark it `@compute @workgroup_size(64)`"
    );
    let open = format!("override SIZE: u32 = 64;\n{}", WGSL.replace("@workgroup_size(64)", "@workgroup_size(SIZE)"));
    assert_eq!(
        say(&open, 1, 1),
        "shader squareplus: `override SIZE` is never given a value\n  help: use `const`, or a number of `Params`"
    );
}

/// An op with a shader that no check of a custom kernel has seen.
#[derive(Debug)]
struct Unchecked(&'static Shader);

impl Op for Unchecked {
    fn name(&self) -> &'static str {
        "unchecked"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn cpu(&self, _: &[CpuView<'_>], _: &mut [CpuViewMut<'_>]) {
        unreachable!("runs on GPUs only");
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: self.0, entry: "large", constants: &[] },
            inputs: &[x[0].buffer],
            outputs: &[y[0].buffer],
            params: &[0; 16],
            workgroups: [1, 1, 1],
        });
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }
}

#[test]
fn past_a_limit_of_the_adapter_no_pipeline_is_made() {
    const LARGE: &str = "
        struct Params { len: vec4<u32> }
        @group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        var<workgroup> kept: array<f32, 1000000>;
        @compute @workgroup_size(64)
        fn large(@builtin(local_invocation_index) i: u32) {
            kept[i] = x[i] + f32(p.len.x);
            y[i] = kept[i];
        }";
    static MEMORY: Shader = Shader { name: "memory", source: LARGE, custom: true, images: false, prelude: "" };
    for device in devices().iter().filter(|d| d.is_gpu()) {
        let x = Tensor::ones([64], device);
        device.synchronize().unwrap();
        match apply(Unchecked(&MEMORY), &[&x]).to_vec::<f32>() {
            Err(Error::KernelLimit { kernel, limit, wanted, available, .. }) => {
                assert_eq!((kernel.as_str(), limit.as_str()), ("memory::large", "bytes of workgroup memory"));
                assert!(wanted == 4_000_000 && available < wanted);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(x.sum().item().unwrap(), 64.0, "and nothing else is harmed");
    }
}

/// An op whose derivative breaks its promises.
#[derive(Debug)]
struct Careless(fn(&Node, &Tensor) -> Vec<Option<Tensor>>);

impl Op for Careless {
    fn name(&self) -> &'static str {
        "careless"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        y[0].slice::<f32>().copy_from_slice(x[0].slice::<f32>());
    }

    fn gpu(&self, _: &mut Stream, _: &[GpuView<'_>], _: &[GpuView<'_>]) {
        unreachable!("it is tried on the CPU")
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        self.0(node, dy)
    }
}

#[test]
fn a_derivative_that_breaks_its_promises_is_found() {
    let x = Tensor::ones([2, 3], &Device::cpu()).requires_grad();
    let say = |f: fn(&Node, &Tensor) -> Vec<Option<Tensor>>| {
        panic_and_place(|| apply(Careless(f), &[&x, &x.detach()]).sum().backward()).0
    };
    assert_eq!(
        say(|_, dy| vec![Some(dy.clone())]),
        "careless: backward gives 1 gradients, expected one for each of 2 inputs\n  \
         help: the entry of an input without a gradient is None"
    );
    assert_eq!(
        say(|_, dy| vec![Some(dy.reshape([3, 2])), None]),
        "careless: backward gives a gradient of another shape than its input's\n  x: [2, 3]\n  dx: [3, 2]"
    );
    assert_eq!(
        say(|_, dy| vec![Some(dy.sum()), None]),
        "careless: backward gives a gradient of another shape than its input's\n  x: [2, 3]\n  dx: []"
    );
    assert_eq!(
        say(|node, _| vec![Some(node.input(1).clone()), None]),
        "careless: backward asks for input 1, which the op does not save"
    );
    assert_eq!(
        say(|node, _| vec![Some(node.output()), None]),
        "careless: backward asks for the output, which the op does not save"
    );
    assert_eq!(
        say(|node, _| vec![Some(node.aux(0).clone()), None]),
        "careless: backward asks for auxiliary output 0, which the op does not save"
    );
    // A gradient of a broadcast shape is summed.
    let y = apply(Careless(|_, dy| vec![Some(dy.broadcast_to([4, 2, 3])), None]), &[&x, &x.detach()]);
    assert_eq!(y.sum().backward().get(&x).unwrap().to_vec::<f32>().unwrap(), [4.0; 6]);
}

#[test]
fn the_trait_checks_what_it_checks_of_every_op() {
    let kernel_of_none = Squareplus { b: 1.0, kernel: kernel() };
    assert_eq!(
        panic_message(|| apply(kernel_of_none, &[])),
        "squareplus: no inputs, so no device\n  help: `create` applies an op without inputs"
    );
    let integers = Tensor::new(&[1u32], [1], &Device::cpu());
    assert_eq!(panic_message(|| squareplus(&integers, 1.0)), "squareplus: input 0 is u32, expected f32");
    for device in devices().iter().filter(|d| d.is_gpu()) {
        let x = Tensor::ones([1], device);
        assert_eq!(
            panic_message(|| squareplus(&x, WRONG)),
            "squareplus: launched with 0 inputs and 1 outputs, made for 1 and 1"
        );
    }
}
