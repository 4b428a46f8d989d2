//! Element types: which a tensor can hold, and how a Rust type names one.

use std::fmt;

/// The type of a tensor's elements. Arithmetic and gradients are `F32`; the others carry data, labels and indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit floating point.
    F32,
    /// 32-bit signed integer.
    I32,
    /// 32-bit unsigned integer: labels, indices, argmax.
    U32,
    /// 8-bit unsigned integer: image data as it lies on disk. Packed four to a word on a GPU.
    U8,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::U8 => 1,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::I32 => "i32",
            DType::U32 => "u32",
            DType::U8 => "u8",
        })
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for i32 {}
    impl Sealed for u32 {}
    impl Sealed for u8 {}
}

/// A Rust type that a tensor can hold: `f32`, `i32`, `u32` or `u8`.
pub trait Element: bytemuck::Pod + fmt::Debug + Send + Sync + sealed::Sealed {
    /// The matching [`DType`].
    const DTYPE: DType;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
}
impl Element for i32 {
    const DTYPE: DType = DType::I32;
}
impl Element for u32 {
    const DTYPE: DType = DType::U32;
}
impl Element for u8 {
    const DTYPE: DType = DType::U8;
}
