//! Tensors copied to their places in a flat arena: gradients, for an optimizer's step over all of them.

use tilegrad_shaders::PACK;

use super::{KernelInfo, OpInfo};
use crate::dtype::DType;
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, apply_in_place};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["pack"],
    differentiable: false,
    kernels: &[KernelInfo {
        shader: &PACK,
        entries: &["pack_forward"],
        headers: || vec![vec![("ADD", 0)], vec![("ADD", 1)]],
        params_bytes: size_of::<[[u32; 4]; PACKED]>(),
    }],
};

/// Tensors that one launch packs at most, and buffers that they lie in.
const PACKED: usize = 8;
const BUFFERS: usize = 6;

/// Copies up to [`PACKED`] tensors to places in an arena, or adds them to what is there.
#[derive(Debug)]
struct Pack {
    offsets: Vec<usize>,
    add: bool,
}

impl Op for Pack {
    fn name(&self) -> &'static str {
        "pack"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let arena = y[0].slice::<f32>();
        for (x, &offset) in x.iter().zip(&self.offsets) {
            let x = x.slice::<f32>();
            let place = &mut arena[offset..][..x.len()];
            match self.add {
                true => place.iter_mut().zip(x).for_each(|(place, x)| *place += x),
                false => place.copy_from_slice(x),
            }
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let mut buffers: Vec<&GpuBuffer> = Vec::with_capacity(BUFFERS);
        let mut parts = [[0; 4]; PACKED];
        let mut groups = 0;
        for (i, part) in parts.iter_mut().enumerate() {
            if let (Some(x), Some(&offset)) = (x.get(i), self.offsets.get(i)) {
                let known = buffers.iter().position(|b| b.id() == x.buffer.id());
                let buffer = known.unwrap_or_else(|| {
                    buffers.push(x.buffer);
                    buffers.len() - 1
                });
                groups += x.len().div_ceil(64 * 4);
                *part = [groups << 3 | buffer as u32, x.len(), x.offset(), y[0].offset() + offset as u32];
            } else {
                part[0] = groups << 3;
            }
        }
        // Bindings without a buffer get the first one again, which no part reads there.
        let inputs: [&GpuBuffer; BUFFERS] = std::array::from_fn(|i| *buffers.get(i).unwrap_or(&buffers[0]));
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &PACK, entry: "pack_forward", constants: &[("ADD", self.add.into())] },
            inputs: &inputs,
            outputs: &[y[0].buffer],
            params: bytemuck::bytes_of(&parts),
            workgroups: fold_workgroups(groups.into(), 1),
        });
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }

    fn cost(&self, x: &[&Shape], _: &Shape) -> Cost {
        let elements: u64 = x.iter().map(|x| x.len() as u64).sum();
        let add = u64::from(self.add);
        Cost { flops: add * elements, bytes: (8 + 4 * add) * elements }
    }
}

/// Copies each tensor's elements to the arena, from element `offsets[i]` on: gradients, for a step over all of them. Up to
/// eight tensors to a launch, that lie in up to six buffers; those whose place, in the arena and in their own buffer, is a
/// multiple of four elements are copied fastest.
///
/// ```
/// use tilegrad_core::ops::pack::pack;
/// use tilegrad_core::{Device, Tensor};
/// let d = Device::cpu();
/// let (a, b, arena) = (Tensor::ones([2], &d), Tensor::full(3.0, [1, 2], &d), Tensor::zeros([5], &d));
/// pack(&[&a, &b], &arena, &[3, 0]);
/// assert_eq!(arena.to_vec::<f32>().unwrap(), [3.0, 3.0, 0.0, 1.0, 1.0]);
/// ```
///
/// # Panics
/// When a tensor does not fit at its offset, is not `f32`, or is on another device; or the arena is strided.
#[track_caller]
pub fn pack(tensors: &[&Tensor], arena: &Tensor, offsets: &[usize]) {
    put(tensors, arena, offsets, false);
}

/// Adds each tensor's elements to those of the arena, from element `offsets[i]` on: the gradients of a batch that is worked
/// on in parts.
///
/// ```
/// use tilegrad_core::ops::pack::pack_add;
/// use tilegrad_core::{Device, Tensor};
/// let d = Device::cpu();
/// let (a, arena) = (Tensor::ones([2], &d), Tensor::full(0.5, [3], &d));
/// pack_add(&[&a], &arena, &[1]);
/// assert_eq!(arena.to_vec::<f32>().unwrap(), [0.5, 1.5, 1.5]);
/// ```
///
/// # Panics
/// As [`pack`].
#[track_caller]
pub fn pack_add(tensors: &[&Tensor], arena: &Tensor, offsets: &[usize]) {
    put(tensors, arena, offsets, true);
}

#[track_caller]
fn put(tensors: &[&Tensor], arena: &Tensor, offsets: &[usize], add: bool) {
    let (n, places) = (tensors.len(), offsets.len());
    assert!(n == places, "pack: each tensor has one offset ({n} tensors, {places} offsets)");
    for (i, (t, &offset)) in tensors.iter().zip(offsets).enumerate() {
        let problem = match t.dtype() {
            DType::F32 if offset.saturating_add(t.len()) <= arena.len() => continue,
            DType::F32 => format!("tensor {i} ends at element {}, past the arena", offset.saturating_add(t.len())),
            other => format!("tensor {i} is {other}, expected f32"),
        };
        let error = ShapeError::new(problem).operand("tensor", t.shape()).operand("arena", arena.shape());
        panic!("{}", error.of("pack"));
    }
    let mut rest = tensors;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(one_launch(rest));
        let first = tensors.len() - rest.len();
        apply_in_place(&Pack { offsets: offsets[first..first + now.len()].to_vec(), add }, now, &[arena]);
        rest = later;
    }
}

/// How many of the tensors, from the first on, one launch takes.
fn one_launch(tensors: &[&Tensor]) -> usize {
    let starts_buffer = |i: usize| {
        // A strided tensor is copied to a buffer of its own.
        !tensors[i].layout().is_contiguous()
            || !tensors[..i].iter().any(|t| t.layout().is_contiguous() && t.shares_memory(tensors[i]))
    };
    let mut buffers = 0;
    let fits = |&i: &usize| {
        buffers += usize::from(starts_buffer(i));
        buffers <= BUFFERS
    };
    (0..tensors.len().min(PACKED)).take_while(fits).count()
}
