//! Tensors of any type side by side, and apart again: concat, stack, split, chunk.
//!
//! On a GPU each part is one launch. Bytes are packed four to a word there, and a word may have bytes of two parts: a
//! thread makes a whole word, and leaves the bytes of other parts as they are.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::JOIN;

use super::axes::named_axes;
use super::copy::{copy_cpu, copy_gpu};
use super::movement::{axis_of, refuse, same_dtype};
use super::{KernelInfo, OpInfo};
use crate::dtype::DType;
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, apply};
use crate::shape::{Layout, Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["concat"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &JOIN,
        entries: &["join_bytes"],
        headers: || vec![vec![]],
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    inner: u32,
    total: u32,
    start: u32,
    count: u32,
    x_offset: u32,
    pad: [u32; 2],
}

#[derive(Debug)]
struct Concat {
    axis: usize,
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        let mut total = 0usize;
        for (i, s) in x.iter().enumerate() {
            if s.rank() != x[0].rank() || (0..s.rank()).any(|a| a != self.axis && s[a] != x[0][a]) {
                let problem = format!("tensor {i} differs from tensor 0 outside axis {}", self.axis);
                return Err(ShapeError::new(problem).operand("tensor 0", x[0]).operand(&format!("tensor {i}"), s));
            }
            total = total.saturating_add(s[self.axis]);
        }
        // Views that repeat an element may be as long as any shape, and their sum longer.
        let mut dims = x[0].to_vec();
        dims[self.axis] = total;
        Shape::try_new(&dims)
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        same_dtype(x)
    }

    fn takes(&self, _: usize, _: &Layout) -> bool {
        true
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let mut to = Layout::contiguous(y[0].shape());
        for x in x {
            to.shape = *x.shape();
            copy_cpu(x, &mut y[0], to);
            to.offset += x.shape()[self.axis] * to.strides[self.axis];
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        if y[0].dtype.size() == 1 {
            return self.bytes(gpu, x, &y[0]);
        }
        let mut to = y[0].layout;
        for x in x {
            to.shape = *x.shape();
            copy_gpu(gpu, x, &y[0], to);
            to.offset += x.shape()[self.axis] * to.strides[self.axis];
        }
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let mut start = 0;
        (0..node.inputs())
            .map(|i| {
                let len = node.input_shape(i)[self.axis];
                start += len;
                node.needs(i).then(|| dy.slice_axis(self.axis as isize, start - len..start))
            })
            .collect()
    }

    fn cost(&self, _: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: 0, bytes: 8 * y.len() as u64 }
    }
}

impl Concat {
    /// Parts of bytes. A strided one is copied to scratch memory first.
    fn bytes(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &GpuView<'_>) {
        let mut start = 0;
        for x in x {
            let count = x.shape()[self.axis] as u32;
            let scratch = (!x.layout.is_contiguous()).then(|| {
                let scratch = gpu.alloc(u64::from(x.len()), "contiguous bytes");
                let layout = Layout::contiguous(*x.shape());
                copy_gpu(gpu, x, &GpuView { buffer: &scratch, layout, dtype: x.dtype }, layout);
                scratch
            });
            let params = Params {
                len: y.len(),
                inner: y.shape()[self.axis + 1..].iter().product::<usize>() as u32,
                total: y.shape()[self.axis] as u32,
                start,
                count,
                x_offset: if scratch.is_some() { 0 } else { x.offset() },
                pad: [0; 2],
            };
            let threads = if count == 0 { 0 } else { y.len().div_ceil(4) };
            gpu.dispatch(Dispatch {
                kernel: Kernel { shader: &JOIN, entry: "join_bytes", constants: &[] },
                inputs: &[scratch.as_ref().unwrap_or(x.buffer)],
                outputs: &[y.buffer],
                params: bytemuck::bytes_of(&params),
                workgroups: fold_workgroups(threads.into(), 64),
            });
            start += count;
        }
    }
}

impl Tensor {
    /// Tensors of one type joined along an axis. Parts may be empty.
    ///
    /// # Panics
    /// When there are none, their types or ranks differ, or their shapes differ elsewhere.
    #[track_caller]
    pub fn concat(tensors: &[&Tensor], axis: isize) -> Tensor {
        let first = first_of("concat", tensors);
        apply(Concat { axis: axis_of("concat", first, axis) }, tensors)
    }

    /// Tensors of one shape and type joined along a new axis, at position `axis` of the result.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let (a, b) = (Tensor::zeros([3], &Device::cpu()), Tensor::ones([3], &Device::cpu()));
    /// assert_eq!(Tensor::stack(&[&a, &b], 0).shape()[..], [2, 3]);
    /// assert_eq!(Tensor::stack(&[&a, &b], -1).shape()[..], [3, 2]);
    /// ```
    ///
    /// # Panics
    /// When there are none, or they differ in shape or type.
    #[track_caller]
    pub fn stack(tensors: &[&Tensor], axis: isize) -> Tensor {
        let first = first_of("stack", tensors);
        if let Some(i) = tensors.iter().position(|t| t.shape() != first.shape()) {
            let error = ShapeError::new(format!("tensor {i} differs from tensor 0 in shape"));
            let other = tensors[i].shape();
            refuse("stack", error.operand("tensor 0", first.shape()).operand(&format!("tensor {i}"), other));
        }
        named_axes("stack", first, &[axis], first.rank() + 1);
        // Not by `map`: in a closure the caller's line is lost.
        let mut with_axis = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            with_axis.push(tensor.unsqueeze(axis));
        }
        let axis = if axis < 0 { axis + first.rank() as isize + 1 } else { axis };
        apply(Concat { axis: axis as usize }, &with_axis.iter().collect::<Vec<_>>())
    }

    /// The tensor cut along an axis into parts of these lengths, which may be 0. Views.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[1.0, 2.0, 3.0], [3], &Device::cpu());
    /// let parts = x.split(&[1, 2], 0);
    /// assert_eq!(parts[1].to_vec::<f32>().unwrap(), [2.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// When the axis is out of range, or the lengths do not add up to the axis.
    #[track_caller]
    pub fn split(&self, sizes: &[usize], axis: isize) -> Vec<Tensor> {
        let at = axis_of("split", self, axis);
        let total = sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size));
        if total != Some(self.shape()[at]) {
            let total = total.map_or("too much".to_string(), |total| total.to_string());
            let problem = format!("parts {sizes:?} add up to {total} (!= {})", self.shape()[at]);
            refuse("split", ShapeError::new(problem).operand_axis("x", self.shape(), at));
        }
        let mut parts = Vec::with_capacity(sizes.len());
        let mut start = 0;
        for size in sizes {
            parts.push(self.slice_axis(axis, start..start + size));
            start += size;
        }
        parts
    }

    /// The tensor cut along an axis into `count` parts of equal length, except that the last ones are shorter, or empty,
    /// where the axis does not divide. Views.
    ///
    /// # Panics
    /// When the axis is out of range, or `count` is 0.
    #[track_caller]
    pub fn chunk(&self, count: usize, axis: isize) -> Vec<Tensor> {
        let len = self.shape()[axis_of("chunk", self, axis)];
        if count == 0 {
            refuse("chunk", ShapeError::new("0 parts").operand("x", self.shape()));
        }
        let each = len.div_ceil(count);
        let sizes: Vec<usize> = (0..count).map(|i| len.saturating_sub(i.saturating_mul(each)).min(each)).collect();
        self.split(&sizes, axis)
    }
}

#[track_caller]
fn first_of<'a>(op: &str, tensors: &[&'a Tensor]) -> &'a Tensor {
    match tensors.first() {
        Some(first) => first,
        None => refuse(op, ShapeError::new("no tensors")),
    }
}
