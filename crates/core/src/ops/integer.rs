//! Arithmetic of integers, elementwise with broadcasting: what the methods of `binary.rs` do for `i32`, `u32` and `u8`.
//!
//! Results wrap, as two's complement does. A quotient by 0 is 0, and so is a remainder, as in numpy; a power with a
//! negative exponent is 0 unless the base is 1 or -1. Bytes are calculated in 32 bits and wrap to 8.

use tilegrad_shaders::INTEGER;

use super::broadcast;
use super::compare::types_differ;
use super::copy::{RANKS, kernel_rank};
use super::{KernelInfo, OpInfo};
use crate::cpu::broadcast::map2;
use crate::dtype::DType;
use crate::gpu::{Kernel, Stream};
use crate::op::{CpuView, CpuViewMut, GpuView, Op, apply, fits};
use crate::shape::{Layout, Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

/// The number is the shader's `p.op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Integer {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Maximum,
    Minimum,
    Fmod,
    Remainder,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

use Integer::*;

pub(super) static INFO: OpInfo = OpInfo {
    names: &[
        "integer add",
        "integer sub",
        "integer mul",
        "integer div",
        "integer pow",
        "integer maximum",
        "integer minimum",
        "integer fmod",
        "integer remainder",
        "bitwise_and",
        "bitwise_or",
        "bitwise_xor",
        "shift_left",
        "shift_right",
    ],
    differentiable: false,
    kernels: &[KernelInfo {
        shader: &INTEGER,
        entries: &["integer_forward"],
        headers: || (0..2).flat_map(|signed| RANKS.map(|rank| vec![("SIGNED", signed), ("RANK", rank)])).collect(),
        params_bytes: size_of::<broadcast::Params>(),
    }],
};

impl Integer {
    fn signed(self, a: i32, b: i32) -> i32 {
        match self {
            Div if b == 0 => 0,
            Div => a.wrapping_div(b),
            Fmod | Remainder if b == 0 => 0,
            Fmod => a.wrapping_rem(b),
            // The remainder has the divisor's sign.
            Remainder => match a.wrapping_rem(b) {
                r if r != 0 && (r < 0) != (b < 0) => r + b,
                r => r,
            },
            Maximum => a.max(b),
            Minimum => a.min(b),
            Pow if b < 0 => match a {
                1 => 1,
                -1 => 1 - 2 * (b & 1),
                _ => 0,
            },
            ShiftRight => {
                if b as u32 > 31 {
                    a >> 31
                } else {
                    a >> b
                }
            }
            _ => self.unsigned(a as u32, b as u32) as i32,
        }
    }

    fn unsigned(self, a: u32, b: u32) -> u32 {
        match self {
            Add => a.wrapping_add(b),
            Sub => a.wrapping_sub(b),
            Mul => a.wrapping_mul(b),
            Div => a.checked_div(b).unwrap_or(0),
            Pow => a.wrapping_pow(b),
            Maximum => a.max(b),
            Minimum => a.min(b),
            Fmod | Remainder => a.checked_rem(b).unwrap_or(0),
            And => a & b,
            Or => a | b,
            Xor => a ^ b,
            ShiftLeft => a.checked_shl(b).unwrap_or(0),
            ShiftRight => a.checked_shr(b).unwrap_or(0),
        }
    }
}

impl Op for Integer {
    fn name(&self) -> &'static str {
        INFO.names[*self as usize]
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        x[0].broadcast(x[1])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        match x {
            [l, r] if l != r => Err(types_differ(*l, *r)),
            [DType::I32 | DType::U32, _] => Ok(x[0]),
            _ => Err(ShapeError::new(format!("input 0 is {}, expected an integer", x[0]))),
        }
    }

    fn takes(&self, _: usize, _: &Layout) -> bool {
        true
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (shape, l, r) = (y[0].shape(), x[0].layout, x[1].layout);
        match x[0].dtype {
            DType::I32 => {
                let f = |a: &i32, b: &i32| self.signed(*a, *b);
                map2(&shape, (x[0].buffer(), l), (x[1].buffer(), r), y[0].slice(), f);
            }
            _ => {
                let f = |a: &u32, b: &u32| self.unsigned(*a, *b);
                map2(&shape, (x[0].buffer(), l), (x[1].buffer(), r), y[0].slice(), f);
            }
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let [l, r] = broadcast::merged(x, &y[0]);
        let signed = u32::from(x[0].dtype == DType::I32);
        let constants = &[("SIGNED", signed), ("RANK", kernel_rank(&l.shape))];
        let kernel = Kernel { shader: &INTEGER, entry: "integer_forward", constants };
        broadcast::launch(gpu, kernel, (x, &y[0]), [l, r], (*self as u32, y[0].len()));
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }
}

/// Applies a function to integers of any width. `name` is the method's.
#[track_caller]
pub(super) fn integers(op: Integer, name: &str, lhs: &Tensor, rhs: &Tensor) -> Tensor {
    let (l, r) = (lhs.dtype(), rhs.dtype());
    let one_type = match l {
        _ if l != r => Err(types_differ(l, r)),
        DType::I32 | DType::U32 | DType::U8 => Ok(l),
        DType::F32 | DType::F16 => Err(ShapeError::new(format!("input 0 is {l}, expected an integer"))),
        DType::Bool => Err(ShapeError::new("there is no arithmetic of conditions")
            .help("combine them with logical_and, logical_or, logical_xor, or calculate with .cast(DType::F32)")),
    };
    match fits(name, one_type) {
        DType::U8 => apply(op, &[&lhs.cast(DType::U32), &rhs.cast(DType::U32)]).cast(DType::U8),
        _ => apply(op, &[lhs, rhs]),
    }
}

/// A number in the type of `x`.
fn number(x: &Tensor, value: i32) -> Tensor {
    Tensor::new(&[value], [], x.device()).cast(x.dtype())
}

/// `-x`, which wraps.
pub(super) fn neg(x: &Tensor) -> Tensor {
    number(x, 0).sub(x)
}

/// `|x|`; the smallest `i32` stays what it is.
pub(super) fn abs(x: &Tensor) -> Tensor {
    if x.dtype() == DType::I32 { x.maximum(&neg(x)) } else { x.clone() }
}

/// -1, 0 or 1.
pub(super) fn sign(x: &Tensor) -> Tensor {
    let y = x.minimum(&number(x, 1));
    if x.dtype() == DType::I32 { y.maximum(&number(x, -1)) } else { y }
}

/// Bits of integers. Both operands have one type.
impl Tensor {
    /// Bits that are set in both.
    #[track_caller]
    pub fn bitwise_and(&self, rhs: &Tensor) -> Tensor {
        integers(And, "bitwise_and", self, rhs)
    }

    /// Bits that are set in one of them, or in both.
    #[track_caller]
    pub fn bitwise_or(&self, rhs: &Tensor) -> Tensor {
        integers(Or, "bitwise_or", self, rhs)
    }

    /// Bits that are set in exactly one of them.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let x = Tensor::new(&[0b1100u32, 7], [2], &d).bitwise_xor(&Tensor::new(&[0b1010u32], [1], &d));
    /// assert_eq!(x.to_vec::<u32>().unwrap(), [0b0110, 0b1101]);
    /// ```
    #[track_caller]
    pub fn bitwise_xor(&self, rhs: &Tensor) -> Tensor {
        integers(Xor, "bitwise_xor", self, rhs)
    }

    /// Bits moved up by `rhs` places; 0 past the width.
    #[track_caller]
    pub fn shift_left(&self, rhs: &Tensor) -> Tensor {
        integers(ShiftLeft, "shift_left", self, rhs)
    }

    /// Bits moved down by `rhs` places, with the sign kept for `i32`.
    #[track_caller]
    pub fn shift_right(&self, rhs: &Tensor) -> Tensor {
        integers(ShiftRight, "shift_right", self, rhs)
    }
}
