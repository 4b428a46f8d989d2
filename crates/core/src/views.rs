//! What an op's code sees of its inputs and outputs on either backend.

use bytemuck::Pod;

use crate::cpu::HostBuffer;
use crate::dtype::{DType, Element};
use crate::gpu::GpuBuffer;
use crate::shape::{Layout, Shape};

/// CPU code reads and writes conditions as their bytes.
#[track_caller]
fn check_element<T: Element>(dtype: DType) {
    let reads = T::DTYPE == dtype || (T::DTYPE, dtype) == (DType::U8, DType::Bool);
    assert!(reads, "kernel and tensor disagree on the element type ({} and {dtype})", T::DTYPE);
}

/// An input on the CPU.
#[derive(Clone, Copy, Debug)]
pub struct CpuView<'a> {
    pub(crate) buffer: &'a HostBuffer,
    /// Shape, strides and offset.
    pub layout: Layout,
    /// Element type.
    pub dtype: DType,
}

impl<'a> CpuView<'a> {
    /// The elements of a contiguous input, in order.
    ///
    /// # Panics
    /// When the input is of another type, or strided (an op that [takes](crate::op::Op::takes) strided inputs uses
    /// [`CpuView::buffer`]).
    #[track_caller]
    pub fn slice<T: Element + Pod>(&self) -> &'a [T] {
        debug_assert!(self.layout.is_contiguous());
        &self.buffer::<T>()[self.layout.offset..][..self.layout.shape.len()]
    }

    /// The whole buffer, to be indexed through the layout.
    #[track_caller]
    pub fn buffer<T: Element + Pod>(&self) -> &'a [T] {
        check_element::<T>(self.dtype);
        self.buffer.as_slice()
    }

    /// The whole buffer as some type of the same size: for ops that move elements of any type.
    #[track_caller]
    pub fn bits<T: Element + Pod>(&self) -> &'a [T] {
        assert_eq!(T::DTYPE.size(), self.dtype.size(), "kernel and tensor disagree on the size of an element");
        self.buffer.as_slice()
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.layout.shape
    }
}

/// An output on the CPU.
#[derive(Debug)]
pub struct CpuViewMut<'a> {
    pub(crate) buffer: &'a mut HostBuffer,
    pub(crate) layout: Layout,
    pub(crate) dtype: DType,
}

impl CpuViewMut<'_> {
    /// The elements, in order. Contents are unspecified, except for an op that updates in place.
    ///
    /// # Panics
    /// When the output is of another type.
    #[track_caller]
    pub fn slice<T: Element + Pod>(&mut self) -> &mut [T] {
        check_element::<T>(self.dtype);
        &mut self.buffer.as_mut_slice()[self.layout.offset..][..self.layout.shape.len()]
    }

    /// The elements as some type of the same size: for ops that move elements of any type.
    #[track_caller]
    pub fn bits<T: Element + Pod>(&mut self) -> &mut [T] {
        assert_eq!(T::DTYPE.size(), self.dtype.size(), "kernel and tensor disagree on the size of an element");
        &mut self.buffer.as_mut_slice()[self.layout.offset..][..self.layout.shape.len()]
    }

    /// The shape.
    pub fn shape(&self) -> Shape {
        self.layout.shape
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }
}

/// An input or output on a GPU.
#[derive(Clone, Copy, Debug)]
pub struct GpuView<'a> {
    /// The buffer.
    pub buffer: &'a GpuBuffer,
    /// Shape, strides and offset.
    pub layout: Layout,
    /// Element type.
    pub dtype: DType,
}

impl GpuView<'_> {
    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.layout.shape
    }

    /// Position of the first element, in elements.
    pub fn offset(&self) -> u32 {
        self.layout.offset as u32
    }

    /// Number of elements.
    pub fn len(&self) -> u32 {
        self.layout.shape.len() as u32
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
