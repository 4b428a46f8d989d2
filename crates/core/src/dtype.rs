//! Element types: which a tensor can hold, and how a Rust type names one.

use std::fmt;

use crate::half::Half;

/// The type of a tensor's elements. Gradients are `F32`; the others carry data, labels, indices, conditions, and
/// operands of products in mixed precision.
///
/// Integers have arithmetic of their own, which wraps; nothing is converted unless [`Tensor::cast`](crate::Tensor::cast)
/// says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point: operands of products, at half the memory. It is cast, moved and multiplied; everything else is
    /// calculated in `F32`. Packed two to a word on a GPU.
    F16,
    /// 32-bit signed integer.
    I32,
    /// 32-bit unsigned integer: labels, indices, argmax.
    U32,
    /// 8-bit unsigned integer: image data as it lies on disk. Packed four to a word on a GPU.
    U8,
    /// True or false: what comparisons give. A byte of 1 or 0, packed four to a word on a GPU.
    Bool,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::F16 => 2,
            DType::U8 | DType::Bool => 1,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::I32 => "i32",
            DType::U32 => "u32",
            DType::U8 => "u8",
            DType::Bool => "bool",
        })
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for crate::half::Half {}
    impl Sealed for i32 {}
    impl Sealed for u32 {}
    impl Sealed for u8 {}
    impl Sealed for bool {}
}

/// A Rust type that a tensor can hold: `f32`, [`Half`], `i32`, `u32`, `u8` or `bool`.
pub trait Element: bytemuck::NoUninit + fmt::Debug + Send + Sync + sealed::Sealed {
    /// The matching [`DType`].
    const DTYPE: DType;

    /// Values from their bytes, as they lie in a buffer.
    #[doc(hidden)]
    fn collect(bytes: &[u8]) -> Vec<Self>;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
    fn collect(bytes: &[u8]) -> Vec<f32> {
        bytemuck::pod_collect_to_vec(bytes)
    }
}
impl Element for Half {
    const DTYPE: DType = DType::F16;
    fn collect(bytes: &[u8]) -> Vec<Half> {
        bytemuck::pod_collect_to_vec(bytes)
    }
}
impl Element for i32 {
    const DTYPE: DType = DType::I32;
    fn collect(bytes: &[u8]) -> Vec<i32> {
        bytemuck::pod_collect_to_vec(bytes)
    }
}
impl Element for u32 {
    const DTYPE: DType = DType::U32;
    fn collect(bytes: &[u8]) -> Vec<u32> {
        bytemuck::pod_collect_to_vec(bytes)
    }
}
impl Element for u8 {
    const DTYPE: DType = DType::U8;
    fn collect(bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }
}
impl Element for bool {
    const DTYPE: DType = DType::Bool;
    fn collect(bytes: &[u8]) -> Vec<bool> {
        bytes.iter().map(|&byte| byte != 0).collect()
    }
}
