//! Elementwise functions of one tensor: `y = f(x)`, `dx = dy * f'`.
//!
//! A function is one row of `TABLE` (`unary_table.rs`), its lines in `shaders/unary.wgsl` or `unary_series.wgsl`, and its
//! method (`unary_methods.rs`); the CPU's loops are in `unary_cpu.rs`. The derivative is written in terms of whichever of
//! `x` and `y` the row saves; second derivatives are tensor algebra (`unary_curve.rs`).

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::{Shader, UNARY, UNARY_SERIES};

pub use super::unary_table::Unary;
use super::unary_table::{Function, TABLE, X, Y};
use super::{KernelInfo, OpInfo, unary_cpu};
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::{CpuView, CpuViewMut, GpuView, Op, Saves, apply};
use crate::shape::{Layout, Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

const NAMES: [&str; TABLE.len()] = {
    let mut names = [""; TABLE.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = TABLE[i].name;
        i += 1;
    }
    names
};

pub(super) static INFO: OpInfo = OpInfo {
    names: &NAMES,
    differentiable: true,
    kernels: &[
        KernelInfo {
            shader: &UNARY,
            entries: &["unary_forward", "unary_backward"],
            headers: || headers(&UNARY),
            params_bytes: size_of::<Params>(),
        },
        KernelInfo {
            shader: &UNARY_SERIES,
            entries: &["unary_forward", "unary_backward"],
            headers: || headers(&UNARY_SERIES),
            params_bytes: size_of::<Params>(),
        },
    ],
};

fn headers(shader: &Shader) -> Vec<Vec<(&'static str, u32)>> {
    let ops = (0..TABLE.len()).filter(|&op| TABLE[op].shader.name == shader.name);
    ops.flat_map(|op| [0, 1].map(|vec| vec![("OP", op as u32), ("VEC", vec)])).collect()
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    x_offset: u32,
    g_offset: u32,
    pad: u32,
    a: f32,
    b: f32,
    pad2: [f32; 2],
}

#[derive(Clone, Copy, Debug)]
struct Forward {
    function: Unary,
    a: f32,
    b: f32,
}

impl Forward {
    fn row(&self) -> &'static Function {
        self.function.row()
    }
}

impl Op for Forward {
    fn name(&self) -> &'static str {
        self.row().name
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        unary_cpu::values(self.function, [self.a, self.b], x[0].slice(), y[0].slice());
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        launch(gpu, self, "unary_forward", x, y[0]);
    }

    fn saves(&self) -> Saves {
        self.row().saves
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let v = match self.row().saves {
            Y => node.output(),
            X => node.input(0).clone(),
            _ => dy.detach(), // a constant derivative looks at no value
        };
        vec![Some(apply(Backward(*self), &[&v, dy]))]
    }
}

/// `dx = dy * f'(v)`.
#[derive(Debug)]
struct Backward(Forward);

impl Op for Backward {
    fn name(&self) -> &'static str {
        "unary_backward"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let Forward { function, a, b } = self.0;
        unary_cpu::derivatives(function, [a, b], x[0].slice(), x[1].slice(), y[0].slice());
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        launch(gpu, &self.0, "unary_backward", x, y[0]);
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    /// Linear in `dy`, and a product of `dy` with the row's curve in `v`.
    fn backward(&self, node: &Node, ddx: &Tensor) -> Vec<Option<Tensor>> {
        let (v, dy, Forward { function, a, b }) = (node.input(0), node.input(1), self.0);
        let of_v = node.needs(0).then(|| function.row().curve.times(v, a, b, &dy.mul(ddx))).flatten();
        vec![of_v, node.needs(1).then(|| apply(Backward(self.0), &[v, ddx]))]
    }
}

fn launch(gpu: &mut Stream, op: &Forward, entry: &'static str, x: &[GpuView<'_>], y: GpuView<'_>) {
    let params = Params {
        len: y.len(),
        x_offset: x[0].offset(),
        g_offset: x.get(1).map_or(0, |dy| dy.offset()),
        pad: 0,
        a: op.a,
        b: op.b,
        pad2: [0.0; 2],
    };
    let inputs: Vec<_> = x.iter().map(|x| x.buffer).collect();
    let vec = u32::from(x.iter().all(|x| x.offset().is_multiple_of(4)));
    gpu.dispatch(Dispatch {
        kernel: Kernel { shader: op.row().shader, entry, constants: &[("OP", op.function as u32), ("VEC", vec)] },
        inputs: &inputs,
        outputs: &[y.buffer],
        params: bytemuck::bytes_of(&params),
        workgroups: fold_workgroups(y.len().into(), 64 * 4),
    });
}

/// `f(x)` with the constants `a` and `b`.
#[track_caller]
pub(super) fn unary(x: &Tensor, function: Unary, a: f32, b: f32) -> Tensor {
    apply(Forward { function, a, b }, &[x])
}

impl Unary {
    /// The derivative `dy * f'`, from the value that the row saves. For ops that end in an activation of their own.
    pub(crate) fn derivative(self, v: &Tensor, dy: &Tensor) -> Tensor {
        apply(Backward(Forward { function: self, a: 0.0, b: 0.0 }), &[v, dy])
    }

    /// The gradients of `v` (`None` where it is zero everywhere) and of `dy`, given `ddx`, that of [`Unary::derivative`]'s result.
    pub(crate) fn derivative_backward(self, v: &Tensor, dy: &Tensor, ddx: &Tensor) -> [Option<Tensor>; 2] {
        [self.row().curve.times(v, 0.0, 0.0, &dy.mul(ddx)), Some(self.derivative(v, ddx))]
    }

    /// [`Unary::derivative`] of numbers on the CPU.
    pub(super) fn derivative_of_slices(self, v: &[f32], dy: &[f32]) -> Vec<f32> {
        let mut dx = vec![0.0; dy.len()];
        unary_cpu::derivatives(self, [0.0; 2], v, dy, &mut dx);
        dx
    }

    /// [`Unary::derivative`] into a buffer of its own, for kernels that can't apply it while they load `dy`.
    pub(super) fn derivative_on_gpu(self, gpu: &mut Stream, v: &GpuView<'_>, dy: &GpuView<'_>) -> GpuBuffer {
        let dx = gpu.alloc(4 * u64::from(dy.len()), "a gradient before the activation");
        let whole = GpuView { buffer: &dx, layout: Layout::contiguous(*dy.shape()), dtype: dy.dtype };
        launch(gpu, &Forward { function: self, a: 0.0, b: 0.0 }, "unary_backward", &[*v, *dy], whole);
        dx
    }

    /// `f` of one number, for ops that end in an activation of their own.
    pub(crate) fn eval(self, x: f32) -> f32 {
        (self.row().f)(x, 0.0, 0.0)
    }
}
