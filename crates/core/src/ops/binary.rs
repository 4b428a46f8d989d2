//! Elementwise functions of two tensors, with numpy's broadcasting, and the operators `+ - * /`.
//!
//! A function is one row of `TABLE` and a line in `shaders/binary.wgsl`. Derivatives are tensor algebra; the tape sums
//! them over the axes that were broadcast.

use std::ops;

use tilegrad_shaders::BINARY;

use super::broadcast;
use super::compare::types_differ;
use super::integer::{Integer, integers};
use super::{KernelInfo, OpInfo};
use crate::cpu::broadcast::map2;
use crate::dtype::DType;
use crate::gpu::{Kernel, Stream};
use crate::op::{CpuView, CpuViewMut, GpuView, Op, Saves, apply};
use crate::shape::{Layout, Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

struct Function {
    name: &'static str,
    f: fn(a: f32, b: f32) -> f32,
    saves: Saves,
    /// Gradients of both operands.
    df: Derivative,
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
    Fmod,
    Remainder,
}

const NOTHING: Saves = Saves::NOTHING;
const BOTH: Saves = Saves::INPUTS;

/// In the order of [`Binary`].
static TABLE: [Function; 9] = [
    Function { name: "add", f: |a, b| a + b, saves: NOTHING, df: |_, dy| [Some(dy.clone()), Some(dy.clone())] },
    Function { name: "sub", f: |a, b| a - b, saves: NOTHING, df: sub_backward },
    Function { name: "mul", f: |a, b| a * b, saves: BOTH, df: mul_backward },
    Function { name: "div", f: |a, b| a / b, saves: BOTH, df: div_backward },
    Function { name: "pow", f: f32::powf, saves: BOTH, df: pow_backward },
    Function { name: "maximum", f: maximum, saves: BOTH, df: |node, dy| pick(node, dy, Tensor::gt) },
    Function { name: "minimum", f: |a, b| -maximum(-a, -b), saves: BOTH, df: |node, dy| pick(node, dy, Tensor::lt) },
    Function { name: "fmod", f: |a, b| a % b, saves: BOTH.and(Saves::OUTPUT), df: modulo_backward },
    Function { name: "remainder", f: remainder, saves: BOTH.and(Saves::OUTPUT), df: modulo_backward },
];

/// The larger one; NaN if either is.
pub(super) fn maximum(a: f32, b: f32) -> f32 {
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
    let half = a.eq(b).cast(DType::F32).affine(0.5, 0.0);
    let share = |a: &Tensor, b: &Tensor| dy.mul(&picks(a, b).cast(DType::F32).add(&half));
    [node.needs(0).then(|| share(a, b)), node.needs(1).then(|| share(b, a))]
}

/// With the sign of the divisor.
fn remainder(a: f32, b: f32) -> f32 {
    match a % b {
        r if r != 0.0 && (r < 0.0) != (b < 0.0) => r + b,
        r => r,
    }
}

/// `y = a - q b` with a whole `q` that is constant by pieces.
fn modulo_backward(node: &Node, dy: &Tensor) -> [Option<Tensor>; 2] {
    let quotient = || node.input(0).sub(&node.output()).div(node.input(1)).detach();
    [Some(dy.clone()), node.needs(1).then(|| dy.mul(&quotient()).neg())]
}

pub(super) static INFO: OpInfo = OpInfo {
    names: &["add", "sub", "mul", "div", "pow", "maximum", "minimum", "fmod", "remainder"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &BINARY,
        entries: &["binary_forward"],
        headers: || {
            let ops = 0..TABLE.len() as u32;
            ops.flat_map(|op| [0, 1, 2, 3, 4, 8].map(|rank| vec![("OP", op), ("RANK", rank)])).collect()
        },
        params_bytes: size_of::<broadcast::Params>(),
    }],
};

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

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        if x[0] == x[1] { Ok(x[0]) } else { Err(types_differ(x[0], x[1])) }
    }

    fn takes(&self, _: usize, _: &Layout) -> bool {
        true
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (shape, f) = (y[0].shape(), self.row().f);
        let (l, r) = ((x[0].buffer(), x[0].layout), (x[1].buffer(), x[1].layout));
        map2(&shape, l, r, y[0].slice(), |a: &f32, b: &f32| f(*a, *b));
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let [l, r] = broadcast::merged(x, &y[0]);
        // One axis, stepped through by fours: each operand is whole and aligned, or one repeated element.
        let fours = |l: &Layout| l.strides[0] == 0 || (l.strides[0] == 1 && l.offset.is_multiple_of(4));
        let simple = l.shape.rank() <= 1 && fours(&l) && fours(&r);
        let (rank, threads) =
            if simple { (0, y[0].len().div_ceil(4)) } else { (super::copy::kernel_rank(&l.shape), y[0].len()) };
        let constants = &[("OP", *self as u32), ("RANK", rank)];
        let kernel = Kernel { shader: &BINARY, entry: "binary_forward", constants };
        broadcast::launch(gpu, kernel, (x, &y[0]), [l, r], (0, threads));
    }

    fn saves(&self) -> Saves {
        self.row().saves
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        (self.row().df)(node, dy).into()
    }
}

/// Applies a function in the form for the operands' type.
#[track_caller]
fn binary(op: Binary, of_integers: Integer, lhs: &Tensor, rhs: &Tensor) -> Tensor {
    match lhs.dtype() {
        DType::F32 | DType::F16 => apply(op, &[lhs, rhs]),
        _ => integers(of_integers, op.name(), lhs, rhs),
    }
}

/// Methods take anything that broadcasts with `self`; see [`Shape::broadcast`]. Both operands have one element type: `f32`,
/// or an integer, whose results wrap and whose quotient by 0 is 0. Shapes or types that don't fit panic at the caller.
impl Tensor {
    /// `self + rhs`.
    #[track_caller]
    pub fn add(&self, rhs: &Tensor) -> Tensor {
        binary(Binary::Add, Integer::Add, self, rhs)
    }

    /// `self - rhs`.
    #[track_caller]
    pub fn sub(&self, rhs: &Tensor) -> Tensor {
        binary(Binary::Sub, Integer::Sub, self, rhs)
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
        binary(Binary::Mul, Integer::Mul, self, rhs)
    }

    /// `self / rhs`.
    #[track_caller]
    pub fn div(&self, rhs: &Tensor) -> Tensor {
        binary(Binary::Div, Integer::Div, self, rhs)
    }

    /// `self` to the power `rhs`; NaN for a negative base unless the exponent is a whole number.
    #[track_caller]
    pub fn pow(&self, rhs: &Tensor) -> Tensor {
        binary(Binary::Pow, Integer::Pow, self, rhs)
    }

    /// The larger of two; NaN if either is.
    #[track_caller]
    pub fn maximum(&self, rhs: &Tensor) -> Tensor {
        binary(Binary::Maximum, Integer::Maximum, self, rhs)
    }

    /// The smaller of two; NaN if either is.
    #[track_caller]
    pub fn minimum(&self, rhs: &Tensor) -> Tensor {
        binary(Binary::Minimum, Integer::Minimum, self, rhs)
    }

    /// The remainder of `self / rhs` with the sign of `self`, as C's `fmod`; NaN for a divisor of 0.
    #[track_caller]
    pub fn fmod(&self, rhs: &Tensor) -> Tensor {
        binary(Binary::Fmod, Integer::Fmod, self, rhs)
    }

    /// The remainder of `self / rhs` with the sign of `rhs`, as Python's `%`; NaN for a divisor of 0.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let (x, three) = (Tensor::new(&[-4.0, 4.0], [2], &d), Tensor::scalar(3.0, &d));
    /// assert_eq!(x.remainder(&three).to_vec::<f32>().unwrap(), [2.0, 1.0]);
    /// assert_eq!(x.fmod(&three).to_vec::<f32>().unwrap(), [-1.0, 1.0]);
    /// ```
    #[track_caller]
    pub fn remainder(&self, rhs: &Tensor) -> Tensor {
        binary(Binary::Remainder, Integer::Remainder, self, rhs)
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
