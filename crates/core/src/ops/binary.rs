//! Elementwise functions of two tensors, with numpy's broadcasting, and the operators `+ - * /`.
//!
//! A function is one row of `TABLE` and a line in `shaders/binary.wgsl`. Derivatives are tensor algebra; the tape sums
//! them over the axes that were broadcast.

use std::ops;

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::BINARY;

use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{CpuView, CpuViewMut, GpuView, Op, Saves, apply};
use crate::shape::{Layout, Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

struct Function {
    name: &'static str,
    f: fn(a: f32, b: f32) -> f32,
    saves: Saves,
    /// Gradients of both operands; `None` for the comparisons.
    df: Option<Derivative>,
}

type Derivative = fn(&Node, &Tensor) -> [Option<Tensor>; 2];

/// A row of `TABLE`. The number is the shader's `OP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Maximum,
    Minimum,
    Equal,
    Greater,
    Less,
}

const NOTHING: Saves = Saves::NOTHING;
const BOTH: Saves = Saves::INPUTS;

/// In the order of [`Binary`].
static TABLE: [Function; 10] = [
    Function { name: "add", f: |a, b| a + b, saves: NOTHING, df: Some(|_, dy| [Some(dy.clone()), Some(dy.clone())]) },
    Function { name: "sub", f: |a, b| a - b, saves: NOTHING, df: Some(sub_backward) },
    Function { name: "mul", f: |a, b| a * b, saves: BOTH, df: Some(mul_backward) },
    Function { name: "div", f: |a, b| a / b, saves: BOTH, df: Some(div_backward) },
    Function { name: "pow", f: f32::powf, saves: BOTH, df: Some(pow_backward) },
    Function { name: "maximum", f: maximum, saves: BOTH, df: Some(|node, dy| pick(node, dy, Tensor::gt)) },
    Function {
        name: "minimum",
        f: |a, b| -maximum(-a, -b),
        saves: BOTH,
        df: Some(|node, dy| pick(node, dy, Tensor::lt)),
    },
    Function { name: "eq", f: |a, b| if a == b { 1.0 } else { 0.0 }, saves: NOTHING, df: None },
    Function { name: "gt", f: |a, b| if a > b { 1.0 } else { 0.0 }, saves: NOTHING, df: None },
    Function { name: "lt", f: |a, b| if a < b { 1.0 } else { 0.0 }, saves: NOTHING, df: None },
];

/// The larger one; NaN if either is.
fn maximum(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
}

fn sub_backward(node: &Node, dy: &Tensor) -> [Option<Tensor>; 2] {
    [Some(dy.clone()), node.needs(1).then(|| dy.neg())]
}

fn mul_backward(node: &Node, dy: &Tensor) -> [Option<Tensor>; 2] {
    [node.needs(0).then(|| dy.mul(node.input(1))), node.needs(1).then(|| dy.mul(node.input(0)))]
}

fn div_backward(node: &Node, dy: &Tensor) -> [Option<Tensor>; 2] {
    let (a, b) = (node.input(0), node.input(1));
    [
        node.needs(0).then(|| dy.div(b)),
        // d(a/b)/db = -a / b^2
        node.needs(1).then(|| dy.mul(a).div(&b.square()).neg()),
    ]
}

fn pow_backward(node: &Node, dy: &Tensor) -> [Option<Tensor>; 2] {
    let (a, b) = (node.input(0), node.input(1));
    [
        node.needs(0).then(|| dy.mul(&b.mul(&a.pow(&b.affine(1.0, -1.0))))),
        node.needs(1).then(|| dy.mul(&a.pow(b).mul(&a.log()))),
    ]
}

/// The gradient goes to the operand that was picked, and half to each of two equal ones.
fn pick(node: &Node, dy: &Tensor, picks: fn(&Tensor, &Tensor) -> Tensor) -> [Option<Tensor>; 2] {
    let (a, b) = (node.input(0), node.input(1));
    let half = a.eq(b).affine(0.5, 0.0);
    [node.needs(0).then(|| dy.mul(&picks(a, b).add(&half))), node.needs(1).then(|| dy.mul(&picks(b, a).add(&half)))]
}

pub(super) static INFO: OpInfo = OpInfo {
    names: &["add", "sub", "mul", "div", "pow", "maximum", "minimum", "eq", "gt", "lt"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &BINARY,
        entries: &["binary_forward"],
        headers: || {
            let ops = 0..TABLE.len() as u32;
            ops.flat_map(|op| [0, 1, 2, 3, 4, 8].map(|rank| vec![("OP", op), ("RANK", rank)])).collect()
        },
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    lhs_offset: u32,
    rhs_offset: u32,
    pad: u32,
    shape: [u32; 8],
    lhs: [u32; 8],
    rhs: [u32; 8],
}

impl Binary {
    fn row(self) -> &'static Function {
        &TABLE[self as usize]
    }
}

impl Op for Binary {
    fn name(&self) -> &'static str {
        self.row().name
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        x[0].broadcast(x[1])
    }

    fn takes(&self, _: usize, _: &Layout) -> bool {
        true
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (shape, f) = (y[0].shape(), self.row().f);
        let [l, r] = Layout::merge_axes([x[0].layout.broadcast_to(&shape), x[1].layout.broadcast_to(&shape)]);
        let (a, b) = (x[0].buffer::<f32>(), x[1].buffer::<f32>());
        let y = y[0].slice::<f32>();
        if y.is_empty() {
            return;
        }
        if l.shape.rank() <= 1 {
            let at = |l: &Layout, i: usize| l.offset + i * l.strides[0];
            return par::map(y, |i| f(a[at(&l, i)], b[at(&r, i)]));
        }
        // Rows of the innermost axis: the outer position is worked out once a row.
        let last = l.shape.rank() - 1;
        let inner = l.shape[last];
        let outer = Shape::new(&l.shape[..last]);
        let rows = |l: &Layout| -> Vec<usize> { Layout { shape: outer, ..*l }.positions().collect() };
        let (l_rows, r_rows, l_step, r_step) = (rows(&l), rows(&r), l.strides[last], r.strides[last]);
        par::chunks(y, inner, |first, chunk| {
            for (row, y) in (first / inner..).zip(chunk.chunks_mut(inner)) {
                let (a, b) = (&a[l_rows[row]..], &b[r_rows[row]..]);
                for (i, y) in y.iter_mut().enumerate() {
                    *y = f(a[i * l_step], b[i * r_step]);
                }
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let shape = y[0].shape();
        let [l, r] = Layout::merge_axes([x[0].layout.broadcast_to(shape), x[1].layout.broadcast_to(shape)]);
        let params = Params {
            len: y[0].len(),
            lhs_offset: l.offset as u32,
            rhs_offset: r.offset as u32,
            pad: 0,
            shape: super::copy::words(l.shape.dims(), 1),
            lhs: super::copy::words(&l.strides, 0),
            rhs: super::copy::words(&r.strides, 0),
        };
        // One axis, stepped through by fours: each operand is whole and aligned, or one repeated element.
        let fours = |l: &Layout| l.strides[0] == 0 || (l.strides[0] == 1 && l.offset.is_multiple_of(4));
        let simple = l.shape.rank() <= 1 && fours(&l) && fours(&r);
        let (rank, threads) =
            if simple { (0, y[0].len().div_ceil(4)) } else { (super::copy::kernel_rank(&l.shape), y[0].len()) };
        gpu.dispatch(Dispatch {
            kernel: Kernel {
                shader: &BINARY,
                entry: "binary_forward",
                constants: &[("OP", *self as u32), ("RANK", rank)],
            },
            inputs: &[x[0].buffer, x[1].buffer],
            outputs: &[y[0].buffer],
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(threads.into(), 64),
        });
    }

    fn differentiable(&self) -> bool {
        self.row().df.is_some()
    }

    fn saves(&self) -> Saves {
        self.row().saves
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let df = self.row().df.expect("comparisons are not recorded");
        df(node, dy).into()
    }
}

/// Methods take anything that broadcasts with `self`; see [`Shape::broadcast`]. Shapes that don't panic at the caller.
impl Tensor {
    /// `self + rhs`.
    #[track_caller]
    pub fn add(&self, rhs: &Tensor) -> Tensor {
        apply(Binary::Add, &[self, rhs])
    }

    /// `self - rhs`.
    #[track_caller]
    pub fn sub(&self, rhs: &Tensor) -> Tensor {
        apply(Binary::Sub, &[self, rhs])
    }

    /// `self * rhs`, element by element.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let (col, row) = (Tensor::new(&[1.0, 2.0], [2, 1], &d), Tensor::new(&[3.0, 4.0], [2], &d));
    /// assert_eq!((&col * &row).to_vec::<f32>().unwrap(), [3.0, 4.0, 6.0, 8.0]);
    /// ```
    #[track_caller]
    pub fn mul(&self, rhs: &Tensor) -> Tensor {
        apply(Binary::Mul, &[self, rhs])
    }

    /// `self / rhs`.
    #[track_caller]
    pub fn div(&self, rhs: &Tensor) -> Tensor {
        apply(Binary::Div, &[self, rhs])
    }

    /// `self` to the power `rhs`; NaN for a negative base unless the exponent is a whole number.
    #[track_caller]
    pub fn pow(&self, rhs: &Tensor) -> Tensor {
        apply(Binary::Pow, &[self, rhs])
    }

    /// The larger of two; NaN if either is.
    #[track_caller]
    pub fn maximum(&self, rhs: &Tensor) -> Tensor {
        apply(Binary::Maximum, &[self, rhs])
    }

    /// The smaller of two; NaN if either is.
    #[track_caller]
    pub fn minimum(&self, rhs: &Tensor) -> Tensor {
        apply(Binary::Minimum, &[self, rhs])
    }

    /// 1 where equal, else 0.
    #[track_caller]
    pub fn eq(&self, rhs: &Tensor) -> Tensor {
        apply(Binary::Equal, &[self, rhs])
    }

    /// 1 where `self > rhs`, else 0.
    #[track_caller]
    pub fn gt(&self, rhs: &Tensor) -> Tensor {
        apply(Binary::Greater, &[self, rhs])
    }

    /// 1 where `self < rhs`, else 0.
    #[track_caller]
    pub fn lt(&self, rhs: &Tensor) -> Tensor {
        apply(Binary::Less, &[self, rhs])
    }
}

impl ops::Add for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn add(self, rhs: &Tensor) -> Tensor {
        Tensor::add(self, rhs)
    }
}

impl ops::Sub for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn sub(self, rhs: &Tensor) -> Tensor {
        Tensor::sub(self, rhs)
    }
}

impl ops::Mul for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn mul(self, rhs: &Tensor) -> Tensor {
        Tensor::mul(self, rhs)
    }
}

impl ops::Div for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn div(self, rhs: &Tensor) -> Tensor {
        Tensor::div(self, rhs)
    }
}

impl ops::Add<f32> for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn add(self, rhs: f32) -> Tensor {
        self.affine(1.0, rhs)
    }
}

impl ops::Sub<f32> for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn sub(self, rhs: f32) -> Tensor {
        self.affine(1.0, -rhs)
    }
}

impl ops::Mul<f32> for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn mul(self, rhs: f32) -> Tensor {
        self.affine(rhs, 0.0)
    }
}

impl ops::Div<f32> for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn div(self, rhs: f32) -> Tensor {
        self.affine(1.0 / rhs, 0.0)
    }
}

impl ops::Neg for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        Tensor::neg(self)
    }
}
