//! Conditions: comparisons of two tensors with broadcasting, logic of conditions, and what kind of number a float is.
//! The result is [`DType::Bool`] and has no gradient.
//!
//! Numbers are compared as integers: a float's bits, with the negative ones turned round, are in the order of the floats. So
//! the result is exact on every driver, also where one flushes subnormal numbers to 0. Nothing equals NaN.

use tilegrad_shaders::COMPARE;

use super::broadcast;
use super::copy::{RANKS, kernel_rank};
use super::{KernelInfo, OpInfo};
use crate::cpu::broadcast::map2;
use crate::dtype::DType;
use crate::gpu::{Kernel, Stream};
use crate::op::{CpuView, CpuViewMut, GpuView, Op, apply};
use crate::shape::{Layout, Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

/// The number is the shader's `p.op`. The predicates of one tensor get it as both operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    And,
    Or,
    Xor,
    Not,
    IsNan,
    IsPositiveInfinity,
    IsNegativeInfinity,
    IsInfinite,
    IsFinite,
}

use Condition::*;

pub(super) static INFO: OpInfo = OpInfo {
    names: &[
        "eq",
        "ne",
        "gt",
        "ge",
        "lt",
        "le",
        "logical_and",
        "logical_or",
        "logical_xor",
        "logical_not",
        "is_nan",
        "is_positive_infinity",
        "is_negative_infinity",
        "is_inf",
        "is_finite",
    ],
    differentiable: false,
    kernels: &[KernelInfo {
        shader: &COMPARE,
        entries: &["compare_forward"],
        headers: || (0..4).flat_map(|kind| RANKS.map(|rank| vec![("KIND", kind), ("RANK", rank)])).collect(),
        params_bytes: size_of::<broadcast::Params>(),
    }],
};

impl Condition {
    fn of<T: PartialOrd>(self, a: &T, b: &T) -> bool {
        match self {
            Equal => a == b,
            NotEqual => a != b,
            Greater => a > b,
            GreaterEqual => a >= b,
            Less => a < b,
            LessEqual => a <= b,
            _ => unreachable!("{} takes one type only", self.name()),
        }
    }

    fn of_floats(self, a: &f32, b: &f32) -> bool {
        match self {
            IsNan => a.is_nan(),
            IsPositiveInfinity => *a == f32::INFINITY,
            IsNegativeInfinity => *a == f32::NEG_INFINITY,
            IsInfinite => a.is_infinite(),
            IsFinite => a.is_finite(),
            _ => self.of(a, b),
        }
    }

    fn of_bytes(self, a: &u8, b: &u8) -> bool {
        match self {
            And => a & b != 0,
            Or => a | b != 0,
            Xor => a ^ b != 0,
            Not => *a == 0,
            _ => self.of(a, b),
        }
    }
}

impl Op for Condition {
    fn name(&self) -> &'static str {
        INFO.names[*self as usize]
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        x[0].broadcast(x[1])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        let wanted = match self {
            And | Or | Xor | Not => Some(DType::Bool),
            IsNan | IsPositiveInfinity | IsNegativeInfinity | IsInfinite | IsFinite => Some(DType::F32),
            _ => None,
        };
        match wanted.and_then(|wanted| x.iter().position(|&d| d != wanted).map(|i| (i, wanted))) {
            Some((i, wanted)) => Err(ShapeError::new(format!("input {i} is {}, expected {wanted}", x[i]))),
            None if x[0] != x[1] => Err(types_differ(x[0], x[1])),
            None => Ok(DType::Bool),
        }
    }

    fn takes(&self, _: usize, _: &Layout) -> bool {
        true
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (shape, l, r) = (y[0].shape(), x[0].layout, x[1].layout);
        let y = y[0].slice::<u8>();
        match x[0].dtype {
            DType::F32 => {
                let f = |a: &f32, b: &f32| self.of_floats(a, b).into();
                map2(&shape, (x[0].buffer(), l), (x[1].buffer(), r), y, f);
            }
            DType::I32 => {
                map2(&shape, (x[0].buffer::<i32>(), l), (x[1].buffer(), r), y, |a, b| self.of(a, b).into());
            }
            DType::U32 => {
                map2(&shape, (x[0].buffer::<u32>(), l), (x[1].buffer(), r), y, |a, b| self.of(a, b).into());
            }
            DType::U8 | DType::Bool => {
                let f = |a: &u8, b: &u8| self.of_bytes(a, b).into();
                map2(&shape, (x[0].buffer(), l), (x[1].buffer(), r), y, f);
            }
            DType::F16 => unreachable!("refused before"),
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let [l, r] = broadcast::merged(x, &y[0]);
        let kind = match x[0].dtype {
            DType::F32 => 0,
            DType::I32 => 1,
            DType::U32 => 2,
            DType::U8 | DType::Bool => 3,
            DType::F16 => unreachable!("refused before"),
        };
        let constants = &[("KIND", kind), ("RANK", kernel_rank(&l.shape))];
        let kernel = Kernel { shader: &COMPARE, entry: "compare_forward", constants };
        broadcast::launch(gpu, kernel, (x, &y[0]), [l, r], (*self as u32, y[0].len().div_ceil(4)));
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }
}

/// What is said when an op wants operands of one type.
pub(super) fn types_differ(l: DType, r: DType) -> ShapeError {
    ShapeError::new(format!("element types differ ({l} != {r})")).help(format!("convert one with .cast(DType::{l:?})"))
}

/// Comparisons take two tensors of one element type that broadcast, and give conditions ([`DType::Bool`]). To calculate
/// with them, convert: `x.gt(&y).cast(DType::F32)`; to choose by them, see [`Tensor::where_cond`].
impl Tensor {
    /// Where `self == rhs`. NaN equals nothing.
    #[track_caller]
    pub fn eq(&self, rhs: &Tensor) -> Tensor {
        apply(Equal, &[self, rhs])
    }

    /// Where `self != rhs`. NaN differs from everything.
    #[track_caller]
    pub fn ne(&self, rhs: &Tensor) -> Tensor {
        apply(NotEqual, &[self, rhs])
    }

    /// Where `self > rhs`.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let above = Tensor::new(&[1.0, 2.0, f32::NAN], [3], &d).gt(&Tensor::scalar(1.5, &d));
    /// assert_eq!(above.to_vec::<bool>().unwrap(), [false, true, false]);
    /// ```
    #[track_caller]
    pub fn gt(&self, rhs: &Tensor) -> Tensor {
        apply(Greater, &[self, rhs])
    }

    /// Where `self >= rhs`.
    #[track_caller]
    pub fn ge(&self, rhs: &Tensor) -> Tensor {
        apply(GreaterEqual, &[self, rhs])
    }

    /// Where `self < rhs`.
    #[track_caller]
    pub fn lt(&self, rhs: &Tensor) -> Tensor {
        apply(Less, &[self, rhs])
    }

    /// Where `self <= rhs`.
    #[track_caller]
    pub fn le(&self, rhs: &Tensor) -> Tensor {
        apply(LessEqual, &[self, rhs])
    }

    /// Where both conditions hold.
    #[track_caller]
    pub fn logical_and(&self, rhs: &Tensor) -> Tensor {
        apply(And, &[self, rhs])
    }

    /// Where one of the conditions holds, or both.
    #[track_caller]
    pub fn logical_or(&self, rhs: &Tensor) -> Tensor {
        apply(Or, &[self, rhs])
    }

    /// Where exactly one of the conditions holds.
    #[track_caller]
    pub fn logical_xor(&self, rhs: &Tensor) -> Tensor {
        apply(Xor, &[self, rhs])
    }

    /// Where the condition does not hold.
    #[track_caller]
    pub fn logical_not(&self) -> Tensor {
        apply(Not, &[self, self])
    }

    /// Where an element is NaN.
    #[track_caller]
    pub fn is_nan(&self) -> Tensor {
        apply(IsNan, &[self, self])
    }

    /// Where an element is infinity of either sign.
    #[track_caller]
    pub fn is_inf(&self) -> Tensor {
        apply(IsInfinite, &[self, self])
    }

    /// Where an element is plus infinity.
    #[track_caller]
    pub fn is_positive_infinity(&self) -> Tensor {
        apply(IsPositiveInfinity, &[self, self])
    }

    /// Where an element is minus infinity.
    #[track_caller]
    pub fn is_negative_infinity(&self) -> Tensor {
        apply(IsNegativeInfinity, &[self, self])
    }

    /// Where an element is neither NaN nor infinity.
    #[track_caller]
    pub fn is_finite(&self) -> Tensor {
        apply(IsFinite, &[self, self])
    }
}
