//! An op as a user would write one, for the tests of custom kernels.

use bytemuck::{Pod, Zeroable};
use tilegrad::gpu::Stream;
use tilegrad::op::{CpuView, CpuViewMut, GpuView, Op, Saves};
use tilegrad::{CustomKernel, Node, Shape, ShapeError, Tensor};

pub(crate) const WGSL: &str = "\
struct Params { len: u32, x_offset: u32, b: f32, pad: u32 }

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

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    len: u32,
    x_offset: u32,
    b: f32,
    pad: u32,
}

/// With this `b` the op hands its kernel too few buffers.
pub(crate) const WRONG: f32 = -1.0;

/// `(x + sqrt(x^2 + b)) / 2`.
#[derive(Debug)]
pub(crate) struct Squareplus {
    pub(crate) b: f32,
    pub(crate) kernel: CustomKernel<Params>,
}

impl Op for Squareplus {
    fn name(&self) -> &'static str {
        "squareplus"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let x = x[0].slice::<f32>();
        y[0].slice::<f32>().iter_mut().zip(x).for_each(|(y, v)| *y = 0.5 * (v + (v * v + self.b).sqrt()));
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let params = Params { len: y[0].len(), x_offset: x[0].offset(), b: self.b, pad: 0 };
        let x = if self.b == WRONG { &[] } else { x };
        self.kernel.launch(gpu, x, y, &params, y[0].len().into());
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let x = node.input(0);
        let slope = x.div(&x.square().affine(1.0, self.b).sqrt()).affine(0.5, 0.5);
        vec![Some(dy.mul(&slope))]
    }
}

pub(crate) fn kernel() -> CustomKernel<Params> {
    CustomKernel::new("squareplus", WGSL, "squareplus", 1, 1).expect("the text is right")
}
