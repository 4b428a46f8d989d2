//! What the device can do at best: a kernel that only copies, and one that only multiplies and adds. Kernels are held to
//! these, measured in the same call.

use std::hint::black_box;
use std::time::Instant;

use bytemuck::{Pod, Zeroable};
use serde::Serialize;
use tilegrad::gpu::Stream;
use tilegrad::op::{CpuView, CpuViewMut, GpuView, Op, apply};
use tilegrad::{CustomKernel, Device, DeviceInfo, Node, Result, Shape, ShapeError, Tensor};

#[derive(Clone, Debug, Serialize)]
pub struct Ceilings {
    /// Bytes read and written by a copy, in billions a second.
    pub copy_gb_per_s: f64,
    /// A multiply-add counts two.
    pub fma_gflop_per_s: f64,
    /// How the multiply-adds were made.
    pub fma_by: String,
}

const COPY_BYTES: usize = 64 << 20;
const RUNS: usize = 7;

impl Ceilings {
    pub fn measure(device: &Device) -> Result<Ceilings> {
        match device.info() {
            DeviceInfo::Cpu { threads } => Ok(on_cpu(threads)),
            _ => on_gpu(device),
        }
    }
}

/// Sums that do not depend on each other, so that one need not wait for another's result.
const CHAINS: usize = 8;
/// Multiply-adds of each chain in a round of the loop; 256 rounds keep far from llvmpipe's limit of 65,535.
const UNROLLED: usize = 16;
const ROUNDS: u32 = 256;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    threads: u32,
    rounds: u32,
    /// 1, which the compiler can't know, and so can't leave the loop out.
    one: f32,
    unused: u32,
}

fn wgsl(body: &str) -> String {
    format!(
        "struct Params {{ threads: u32, rounds: u32, one: f32, unused: u32 }}
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@compute @workgroup_size(64)
fn run(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {{
    let i = (group.x + group.y * groups.x) * 64u + local;
    if i < p.threads {{ {body} }}
}}
"
    )
}

/// A kernel over vectors of four, on the whole of a buffer.
#[derive(Clone, Copy, Debug)]
struct Probe {
    kernel: CustomKernel<Params>,
    /// Vectors of four that a thread makes.
    each: u32,
}

impl Op for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        y[0].slice::<f32>().copy_from_slice(x[0].slice::<f32>());
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let threads = y[0].len() / 4 / self.each;
        let params = Params { threads, rounds: ROUNDS, one: 1.0, unused: 0 };
        self.kernel.launch(gpu, x, y, &params, threads.into());
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        vec![None]
    }
}

/// Seconds of the fastest of several runs: a ceiling is what has been reached, not what is usual.
fn fastest(device: &Device, kernel: Probe, x: &Tensor) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..=RUNS {
        let seconds = match device.profile(|| apply(kernel, &[x])) {
            Ok((_, profile)) => 1e-6 * profile.total_microseconds(),
            Err(_) => {
                let start = Instant::now();
                apply(kernel, &[x]);
                device.synchronize()?;
                start.elapsed().as_secs_f64()
            }
        };
        best = best.min(seconds);
    }
    Ok(best)
}

fn on_gpu(device: &Device) -> Result<Ceilings> {
    let largest = match device.info() {
        DeviceInfo::Gpu(adapter) => adapter.max_tensor_bytes as usize,
        _ => COPY_BYTES,
    };
    let bytes = COPY_BYTES.min(largest);
    // Four vectors a thread, each next to its neighbours' own.
    let moves = (0..4).map(|k| format!("y[i + {k}u * p.threads] = x[i + {k}u * p.threads];\n")).collect::<String>();
    let copy = Probe { kernel: CustomKernel::new("copy", &wgsl(&moves), "run", 1, 1)?, each: 4 };
    let seconds = fastest(device, copy, &Tensor::ones([bytes / 4], device))?;

    let fma = "s = fma(s, a, b); t = fma(t, a, b);\n".repeat(UNROLLED);
    let body = format!(
        "let v = x[i]; let a = v * p.one; let b = vec4<f32>(p.one);\nvar s = v; var t = v + b;\n\
         for (var k = 0u; k < p.rounds; k++) {{ {fma} }}\ny[i] = s + t;"
    );
    let fma = Probe { kernel: CustomKernel::new("fma", &wgsl(&body), "run", 1, 1)?, each: 1 };
    // A rasteriser needs a few thousand threads to keep its cores busy, a large GPU hundreds of thousands.
    let threads = if device.is_software() { 1 << 13 } else { 1 << 20 };
    let fma_seconds = fastest(device, fma, &Tensor::full(0.5, [4 * threads], device))?;
    let flops = 2.0 * (threads * CHAINS * UNROLLED) as f64 * f64::from(ROUNDS);
    Ok(Ceilings {
        copy_gb_per_s: 2e-9 * bytes as f64 / seconds,
        fma_gflop_per_s: 1e-9 * flops / fma_seconds,
        fma_by: "a WGSL kernel, f32, two vec4 sums a thread".into(),
    })
}

fn on_cpu(threads: usize) -> Ceilings {
    let (x, mut y) = (vec![1f32; COPY_BYTES / 4], vec![0f32; COPY_BYTES / 4]);
    let chunk = y.len().div_ceil(threads);
    let copy = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for (y, x) in y.chunks_mut(chunk).zip(x.chunks(chunk)) {
                scope.spawn(|| y.copy_from_slice(x));
            }
        });
        start.elapsed().as_secs_f64()
    };
    let copied = shortest(copy);
    let (run, vector, by) = best_fma();
    let fma = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| black_box(run(black_box(0.5), CPU_ROUNDS)));
            }
        });
        start.elapsed().as_secs_f64()
    };
    let seconds = shortest(fma);
    let flops = 2.0 * (threads * vector) as f64 * CPU_ROUNDS as f64;
    Ceilings {
        copy_gb_per_s: 2e-9 * COPY_BYTES as f64 / copied,
        fma_gflop_per_s: 1e-9 * flops / seconds,
        fma_by: format!("{by}, f32, {threads} threads"),
    }
}

fn shortest(mut f: impl FnMut() -> f64) -> f64 {
    f(); // pages, clock speed
    (0..RUNS).map(|_| f()).fold(f64::INFINITY, f64::min)
}

const CPU_ROUNDS: usize = 4_000_000;

type Fma = fn(f32, usize) -> f32;

/// `LANES` sums side by side, which the compiler turns into vector registers of whatever is enabled where it is inlined.
#[inline(always)]
fn sums<const LANES: usize>(a: f32, rounds: usize, multiply_add: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut sums = [0f32; LANES];
    for _ in 0..rounds {
        for s in &mut sums {
            *s = multiply_add(*s, a, 1.0);
        }
    }
    sums.iter().sum()
}

/// The widest that this processor has: the loop, its sums, and what it is.
fn best_fma() -> (Fma, usize, &'static str) {
    #[cfg(target_arch = "x86_64")]
    {
        // Ten registers and more of sums: two a cycle, four or five cycles each.
        #[target_feature(enable = "avx512f")]
        fn avx512(a: f32, rounds: usize) -> f32 {
            sums::<192>(a, rounds, f32::mul_add)
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2(a: f32, rounds: usize) -> f32 {
            sums::<96>(a, rounds, f32::mul_add)
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has what the function is compiled for.
            return (|a, n| unsafe { avx512(a, n) }, 192, "a loop of AVX-512 multiply-adds");
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return (|a, n| unsafe { avx2(a, n) }, 96, "a loop of AVX2 multiply-adds");
        }
    }
    #[cfg(target_arch = "aarch64")]
    return (|a, n| sums::<64>(a, n, f32::mul_add), 64, "a loop of NEON multiply-adds");
    #[cfg(not(target_arch = "aarch64"))]
    (|a, n| sums::<32>(a, n, |s, a, b| s * a + b), 32, "a loop of multiplications and additions")
}
