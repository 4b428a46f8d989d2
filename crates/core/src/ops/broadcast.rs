//! What the kernels of two operands that broadcast get as parameters: `binary.rs`, `compare.rs` and `integer.rs`.

use bytemuck::{Pod, Zeroable};

use super::copy::words;
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::GpuView;
use crate::shape::{Layout, MAX_RANK};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct Params {
    len: u32,
    lhs_offset: u32,
    rhs_offset: u32,
    /// Which function, for shaders that don't have it in their header.
    op: u32,
    shape: [u32; MAX_RANK],
    lhs: [u32; MAX_RANK],
    rhs: [u32; MAX_RANK],
}

/// Operands with the shape of the result, over as few axes as they can be stepped through.
pub(super) fn merged(x: &[GpuView<'_>], y: &GpuView<'_>) -> [Layout; 2] {
    Layout::merge_axes([x[0].layout.broadcast_to(y.shape()), x[1].layout.broadcast_to(y.shape())])
}

/// Launches a kernel over operands that are [merged].
pub(super) fn launch(
    gpu: &mut Stream,
    kernel: Kernel<'_>,
    (x, y): (&[GpuView<'_>], &GpuView<'_>),
    [l, r]: [Layout; 2],
    (op, threads): (u32, u32),
) {
    let params = Params {
        len: y.len(),
        lhs_offset: l.offset as u32,
        rhs_offset: r.offset as u32,
        op,
        shape: words(l.shape.dims(), 1),
        lhs: words(&l.strides, 0),
        rhs: words(&r.strides, 0),
    };
    gpu.dispatch(Dispatch {
        kernel,
        inputs: &[x[0].buffer, x[1].buffer],
        outputs: &[y.buffer],
        params: bytemuck::bytes_of(&params),
        workgroups: fold_workgroups(threads.into(), 64),
    });
}
