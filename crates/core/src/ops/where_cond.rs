//! A choice between two tensors: `y = on_true` where the condition holds, else `on_false`. The gradient goes to the one
//! that was chosen: NaN and infinity of the other one have no say, as they would have in `c * a + (1 - c) * b`.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::WHERE_COND;

use super::compare::types_differ;
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::{DType, Element};
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply, fits};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["where_cond"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &WHERE_COND,
        entries: &["where_cond_forward"],
        headers: || vec![vec![]],
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    cond_offset: u32,
    true_offset: u32,
    false_offset: u32,
}

/// Of a condition and two tensors of 32-bit elements, all of one shape.
#[derive(Debug)]
struct WhereCond;

impl Op for WhereCond {
    fn name(&self) -> &'static str {
        "where_cond"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        Ok(x[1])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        fn run<T: Element + Pod>(x: &[CpuView<'_>], y: &mut CpuViewMut<'_>) {
            let from = |i: usize| &x[i].bits::<T>()[x[i].layout.offset..];
            let (cond, a, b) = (x[0].slice::<u8>(), from(1), from(2));
            par::map(y.bits(), |i| if cond[i] != 0 { a[i] } else { b[i] });
        }
        // Elements are chosen as they are, whatever their type.
        if x[1].dtype.size() == 1 { run::<u8>(x, &mut y[0]) } else { run::<u32>(x, &mut y[0]) }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let params = Params {
            len: y[0].len(),
            cond_offset: x[0].offset(),
            true_offset: x[1].offset(),
            false_offset: x[2].offset(),
        };
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &WHERE_COND, entry: "where_cond_forward", constants: &[] },
            inputs: &[x[0].buffer, x[1].buffer, x[2].buffer],
            outputs: &[y[0].buffer],
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(y[0].len().into(), 64),
        });
    }

    fn saves(&self) -> Saves {
        Saves::input(0)
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let (cond, zero) = (node.input(0), Tensor::scalar(0.0, dy.device()));
        let chosen = |i, a, b| node.needs(i).then(|| cond.where_cond(a, b));
        vec![None, chosen(1, dy, &zero), chosen(2, &zero, dy)]
    }

    fn cost(&self, _: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: 0, bytes: 13 * y.len() as u64 }
    }
}

fn check(cond: &Tensor, on_true: &Tensor, on_false: &Tensor) -> Result<Shape, ShapeError> {
    if cond.dtype() != DType::Bool {
        let problem = format!("the condition is {}, expected bool", cond.dtype());
        return Err(ShapeError::new(problem).help("compare with .ne(..), or convert with .cast(DType::Bool)"));
    }
    if on_true.dtype() != on_false.dtype() {
        return Err(types_differ(on_true.dtype(), on_false.dtype()));
    }
    let shape = on_true.shape().broadcast(on_false.shape())?;
    cond.shape().broadcast(&shape)
}

impl Tensor {
    /// `on_true` where this condition ([`DType::Bool`]) holds, else `on_false`. All three broadcast; the two have one
    /// element type. Gradients go to whichever was chosen.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let x = Tensor::new(&[-2.0, 3.0], [2], &d);
    /// let zero = Tensor::scalar(0.0, &d);
    /// assert_eq!(x.gt(&zero).where_cond(&x, &zero).to_vec::<f32>().unwrap(), [0.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// When this is no condition, the types of the two differ, or the shapes don't broadcast.
    #[track_caller]
    pub fn where_cond(&self, on_true: &Tensor, on_false: &Tensor) -> Tensor {
        let shape = fits("where_cond", check(self, on_true, on_false));
        // Bytes are packed four to a word on a GPU; the kernel writes words.
        let words = if on_true.dtype().size() == 1 { DType::U32 } else { on_true.dtype() };
        let [a, b] = [on_true, on_false].map(|x| x.broadcast_to(shape).cast(words));
        apply(WhereCond, &[&self.broadcast_to(shape), &a, &b]).cast(on_true.dtype())
    }
}
