//! Constant tensors.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::FILL;

use super::{KernelInfo, OpInfo};
use crate::device::Device;
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::{CpuView, CpuViewMut, GpuView, Op, create};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["fill"],
    differentiable: false,
    kernels: &[KernelInfo {
        shader: &FILL,
        entries: &["fill_forward"],
        headers: || vec![vec![]],
        params_bytes: size_of::<Params>(),
    }],
};

#[derive(Debug)]
struct Fill {
    value: f32,
    shape: Shape,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    value: f32,
    pad: [u32; 2],
}

/// A tensor with `value` everywhere.
#[track_caller]
pub(crate) fn fill(value: f32, shape: Shape, device: &Device) -> Tensor {
    create(device, Fill { value, shape })
}

/// Sets the first `len` elements of a buffer.
pub(super) fn fill_buffer(gpu: &mut Stream, y: &GpuBuffer, len: u32, value: f32) {
    gpu.dispatch(Dispatch {
        kernel: Kernel { shader: &FILL, entry: "fill_forward", constants: &[] },
        inputs: &[],
        outputs: &[y],
        params: bytemuck::bytes_of(&Params { len, value, pad: [0; 2] }),
        workgroups: fold_workgroups(len.into(), 64 * 4),
    });
}

impl Op for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn infer(&self, _: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(self.shape)
    }

    fn cpu(&self, _: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        y[0].slice().fill(self.value);
    }

    fn gpu(&self, gpu: &mut Stream, _: &[GpuView<'_>], y: &[GpuView<'_>]) {
        fill_buffer(gpu, y[0].buffer, y[0].len(), self.value);
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }
}
