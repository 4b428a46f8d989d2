//! Takes an update back that should not have been made: what a tensor was is copied over it, if the device finds that a
//! condition does not hold. Nothing is allocated, so that nothing can fail after the update.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::RESTORE;

use super::{KernelInfo, OpInfo};
use crate::dtype::DType;
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, apply_in_place, fits};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["restore"],
    differentiable: false,
    kernels: &[KernelInfo {
        shader: &RESTORE,
        entries: &["restore"],
        headers: || vec![vec![]],
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    condition_offset: u32,
    before_offset: u32,
    y_offset: u32,
}

#[derive(Debug)]
struct Restore;

impl Op for Restore {
    fn name(&self) -> &'static str {
        "restore"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[1])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        match x {
            [DType::Bool, DType::F32] => Ok(DType::F32),
            _ => Err(ShapeError::new(format!(
                "a condition and what was are {} and {}, expected bool and f32",
                x[0], x[1]
            ))),
        }
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        if x[0].slice::<u8>()[0] == 0 {
            y[0].slice::<f32>().copy_from_slice(x[1].slice());
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let params = Params {
            len: y[0].len(),
            condition_offset: x[0].offset(),
            before_offset: x[1].offset(),
            y_offset: y[0].offset(),
        };
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &RESTORE, entry: "restore", constants: &[] },
            inputs: &[x[0].buffer, x[1].buffer],
            outputs: &[y[0].buffer],
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(y[0].len().into(), 64),
        });
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }

    fn cost(&self, _: &[&Shape], _: &Shape) -> Cost {
        Cost::default()
    }
}

/// `y = before`, in place, unless the one element of `keep` (a [`DType::Bool`]) is true.
///
/// ```
/// use tilegrad_core::ops::restore::restore_unless;
/// use tilegrad_core::{Device, Tensor};
/// let d = Device::cpu();
/// let (y, before) = (Tensor::new(&[f32::NAN, 1.0], [2], &d), Tensor::ones([2], &d));
/// restore_unless(&y.sum().is_finite(), &before, &y);
/// assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 1.0]);
/// ```
///
/// # Panics
/// When `keep` has not one element, the two tensors differ in length, or a type or device is another.
#[track_caller]
pub fn restore_unless(keep: &Tensor, before: &Tensor, y: &Tensor) {
    if keep.len() != 1 || before.len() != y.len() || y.dtype() != DType::F32 {
        let problem = format!("one condition and as many f32 as there were are needed, y is {}", y.dtype());
        let error = ShapeError::new(problem).operand("keep", keep.shape()).operand("before", before.shape());
        fits::<()>("restore", Err(error.operand("y", y.shape())));
    }
    apply_in_place(&Restore, &[keep, before], &[y]);
}
