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
        headers: || vec![vec![("VEC", 0)], vec![("VEC", 1)]],
        params_bytes: size_of::<[[u32; 4]; PACKED]>(),
    }],
};

/// Tensors that one launch packs.
const PACKED: usize = 6;

/// Copies up to [`PACKED`] tensors to places in an arena.
#[derive(Debug)]
struct Pack {
    offsets: Vec<usize>,
    /// Whether all begin and end at multiples of four, so that they go four elements at a time.
    vec: bool,
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
            arena[offset..][..x.len()].copy_from_slice(x);
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        // Bindings without a tensor get the first one again, and no workgroup.
        let mut inputs: [&GpuBuffer; PACKED] = [x[0].buffer; PACKED];
        let mut parts = [[0; 4]; PACKED];
        let mut groups = 0;
        for (i, part) in parts.iter_mut().enumerate() {
            if let (Some(x), Some(&offset)) = (x.get(i), self.offsets.get(i)) {
                inputs[i] = x.buffer;
                groups += x.len().div_ceil(64 * 4);
                *part = [groups, x.len(), x.offset(), y[0].offset() + offset as u32];
            } else {
                part[0] = groups;
            }
        }
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &PACK, entry: "pack_forward", constants: &[("VEC", self.vec as u32)] },
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
        Cost { flops: 0, bytes: 8 * x.iter().map(|x| x.len() as u64).sum::<u64>() }
    }
}

/// Copies each tensor's elements to the arena, from element `offsets[i]` on: gradients, for a step over all of them. Six
/// tensors to a launch; those whose length and place are multiples of four are copied fastest.
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
    let aligned = |t: &Tensor, offset: usize| {
        [t.len(), t.layout().offset, arena.layout().offset + offset].iter().all(|v| v.is_multiple_of(4))
    };
    let (fast, slow): (Vec<_>, Vec<_>) =
        tensors.iter().copied().zip(offsets.iter().copied()).partition(|&(t, offset)| aligned(t, offset));
    for (group, vec) in [(fast, true), (slow, false)] {
        for group in group.chunks(PACKED) {
            let (tensors, offsets): (Vec<&Tensor>, Vec<usize>) = group.iter().copied().unzip();
            apply_in_place(&Pack { offsets, vec }, &tensors, &[arena]);
        }
    }
}
