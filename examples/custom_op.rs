//! An op of your own: WGSL for GPUs, Rust for the CPU, a derivative, and then a training step that uses it on both.
//!
//! `cargo run --release --example custom_op`

use bytemuck::{Pod, Zeroable};
use tilegrad::data::Digits;
use tilegrad::gpu::Stream;
use tilegrad::nn::{DeviceDataset, Initializer};
use tilegrad::op::{CpuView, CpuViewMut, GpuView, Op, Saves, apply};
use tilegrad::{CustomKernel, Device, Node, Result, Shape, ShapeError, Tensor};

/// Squareplus, a smooth relu without exponentials: `y = (x + sqrt(x^2 + b)) / 2`.
///
/// Buffers are inputs, then outputs. `p` is the `Params` that `launch` sends. Groups are numbered in two dimensions, since
/// one holds 65,535 of them, and the last one reaches past the end.
const WGSL: &str = "
struct Params {
    len: u32,
    x_offset: u32, // the input may be a slice that starts anywhere
    b: f32,
    pad: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn squareplus(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * 64u + local;
    if i < p.len {
        let v = x[p.x_offset + i];
        y[i] = 0.5 * (v + sqrt(v * v + p.b));
    }
}
";

/// The same struct in Rust.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    x_offset: u32,
    b: f32,
    pad: u32,
}

#[derive(Clone, Copy, Debug)]
struct Squareplus {
    b: f32,
    kernel: CustomKernel<Params>,
}

impl Squareplus {
    /// Checks the WGSL: a mistake is an error with its line, here and not at the first launch.
    fn new(b: f32) -> Result<Squareplus> {
        Ok(Squareplus { b, kernel: CustomKernel::new("squareplus", WGSL, "squareplus", 1, 1)? })
    }

    #[track_caller]
    fn of(self, x: &Tensor) -> Tensor {
        apply(self, &[x])
    }
}

impl Op for Squareplus {
    fn name(&self) -> &'static str {
        "squareplus"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        for (y, x) in y[0].slice::<f32>().iter_mut().zip(x[0].slice::<f32>()) {
            *y = 0.5 * (x + (x * x + self.b).sqrt());
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let params = Params { len: y[0].len(), x_offset: x[0].offset(), b: self.b, pad: 0 };
        self.kernel.launch(gpu, x, y, &params, y[0].len().into());
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    /// `y' = (1 + x / sqrt(x^2 + b)) / 2`, as tensor algebra: it runs on both devices and can be differentiated again.
    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let x = node.input(0);
        let slope = x.div(&x.square().affine(1.0, self.b).sqrt()).affine(0.5, 0.5);
        vec![Some(dy.mul(&slope))]
    }
}

/// Twenty steps of plain gradient descent on a batch of digits: `(N, 64) -> (N, 32) -> (N, 10)`. Returns the losses.
fn train(activation: Squareplus, device: &Device) -> Result<Vec<f32>> {
    let data = DeviceDataset::upload(&Digits::load().train, device)?;
    let (x, labels) = data.batch(&Tensor::new(&(0..64).collect::<Vec<u32>>(), [64], device));
    let weight = |shape: [usize; 2], seed| {
        let values = Initializer::GlorotUniform.values(&Shape::from(shape), seed);
        Tensor::new(&values, shape, device).requires_grad()
    };
    let (mut hidden, mut output) = (weight([64, 32], 1), weight([32, 10], 2));
    let mut losses = Vec::new();
    for _ in 0..20 {
        let loss = activation.of(&x.flatten_from(1).matmul(&hidden)).matmul(&output).cross_entropy(&labels).mean();
        let gradients = loss.backward();
        for w in [&mut hidden, &mut output] {
            let dw = gradients.get(w).expect("the loss depends on it");
            *w = w.detach().sub(&dw.affine(0.5, 0.0)).requires_grad();
        }
        losses.push(loss.item()?);
    }
    Ok(losses)
}

fn main() -> Result<()> {
    let activation = Squareplus::new(4.0)?;
    let gpu = Device::gpu().inspect_err(|error| eprintln!("on the CPU only: {error}"));
    for device in [Ok(Device::cpu()), gpu].into_iter().flatten() {
        let losses = train(activation, &device)?;
        println!("{device}\n  loss {:.4} at the first step, {:.4} at the last", losses[0], losses[losses.len() - 1]);
    }

    // What a mistake looks like.
    let wrong = WGSL.replace("sqrt(v", "root(v");
    if let Err(error) = CustomKernel::<Params>::new("squareplus", &wrong, "squareplus", 1, 1) {
        println!("\n{error}");
    }
    Ok(())
}
