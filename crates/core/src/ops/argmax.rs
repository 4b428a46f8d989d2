//! Positions of the largest and smallest elements along an axis, of floating-point numbers and of integers.
//!
//! NaN counts as the largest and as the smallest, so that a search finds it, as numpy's does; -0 equals 0.

use std::cmp::Ordering;

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::ARGMAX;

use super::reduce::{dims, in_words, over_axes, refuse_nothing};
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::DType;
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["argmax", "argmin"],
    differentiable: false,
    kernels: &[KernelInfo {
        shader: &ARGMAX,
        entries: &["argmax_forward", "argmax_merge"],
        headers: || (0..6).map(|i| vec![("TYPE", i % 3), ("SMALLEST", i / 3)]).collect(),
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    outputs: u32,
    reduce: u32,
    inner: u32,
    chunk: u32,
    splits: u32,
    x_offset: u32,
    last: u32,
    pad: u32,
}

/// Position of an extreme along the middle axis of an input of rank 3; the output is `(outer, inner)`.
#[derive(Clone, Copy, Debug, Default)]
struct ArgMax {
    smallest: bool,
    /// Of elements that tie, the last one in place of the first.
    last: bool,
}

/// The elements as numbers that hold each of them exactly.
pub(super) fn numbers(x: &CpuView<'_>) -> Vec<f64> {
    match x.dtype {
        DType::I32 => x.slice::<i32>().iter().map(|&v| v.into()).collect(),
        DType::U32 => x.slice::<u32>().iter().map(|&v| v.into()).collect(),
        _ => x.slice::<f32>().iter().map(|&v| v.into()).collect(),
    }
}

/// The order of numbers in which NaN is above all others, and equal to itself.
pub(super) fn nan_last(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Which of the orders that the kernels know the elements are in: the shaders' `TYPE`.
pub(super) fn type_of_order(dtype: DType) -> u32 {
    match dtype {
        DType::I32 => 1,
        DType::U32 => 2,
        _ => 0,
    }
}

impl Op for ArgMax {
    fn name(&self) -> &'static str {
        if self.smallest { "argmin" } else { "argmax" }
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(Shape::from([x[0][0], x[0][2]]))
    }

    fn dtype(&self, _: &[DType]) -> Result<DType, ShapeError> {
        Ok(DType::U32)
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let ([_, reduce, inner], x) = (dims(x[0].shape()), numbers(&x[0]));
        par::map(y[0].slice::<u32>(), |o| {
            let at = |r: usize| x[(o / inner * reduce + r) * inner + o % inner];
            let mut best = 0;
            for r in 1..reduce {
                let order = match nan_last(at(r), at(best)) {
                    order if self.smallest && !at(r).is_nan() && !at(best).is_nan() => order.reverse(),
                    order => order,
                };
                if order == Ordering::Greater || (self.last && order == Ordering::Equal) {
                    best = r;
                }
            }
            best as u32
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        self.launch(gpu, &x[0], dims(x[0].shape()), y[0].buffer);
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: x[0].len() as u64, bytes: 4 * (x[0].len() + y.len()) as u64 }
    }
}

impl ArgMax {
    /// Of `x` seen as `(outer, reduce, inner)`. Of a long axis each part gives a candidate first.
    fn launch(self, gpu: &mut Stream, x: &GpuView<'_>, dims: [usize; 3], y: &GpuBuffer) {
        let [outer, reduce, inner] = dims.map(|d| d as u32);
        let (outputs, x_offset) = (outer * inner, x.offset());
        let (splits, chunk) = super::parts_of_row(gpu, self.name(), reduce);
        let constants = [("TYPE", type_of_order(x.dtype)), ("SMALLEST", self.smallest.into())];
        let launch = |gpu: &mut Stream, entry, threads: u32, inputs: &[&GpuBuffer], y: &GpuBuffer| {
            let last = self.last.into();
            let params = Params { outputs, reduce, inner, chunk, splits, x_offset, last, pad: 0 };
            gpu.dispatch(Dispatch {
                kernel: Kernel { shader: &ARGMAX, entry, constants: &constants },
                inputs,
                outputs: &[y],
                params: bytemuck::bytes_of(&params),
                workgroups: fold_workgroups(threads.into(), 64),
            });
        };
        if splits == 1 {
            return launch(gpu, "argmax_forward", outputs, &[x.buffer], y);
        }
        let candidates = gpu.alloc(u64::from(outputs) * u64::from(splits) * 4, "candidates for argmax");
        launch(gpu, "argmax_forward", outputs * splits, &[x.buffer], &candidates);
        launch(gpu, "argmax_merge", outputs, &[x.buffer, &candidates], y);
    }
}

/// Positions of the first largest elements along the middle axis of `x` seen as `(outer, reduce, inner)`.
pub(super) fn argmax_gpu(gpu: &mut Stream, x: &GpuView<'_>, dims: [usize; 3], y: &GpuBuffer) {
    ArgMax::default().launch(gpu, x, dims, y);
}

#[track_caller]
fn position(x: &Tensor, axis: isize, op: ArgMax) -> Tensor {
    refuse_nothing(op.name(), if op.smallest { "smallest" } else { "largest" }, None, x, &[axis]);
    over_axes(&in_words(x), op.name(), &[axis], false, op)
}

impl Tensor {
    /// The position (`u32`) of the first largest element along an axis, which goes. The first NaN, if there is one.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[1.0, 5.0, 2.0, 7.0, 7.0, 0.0], [2, 3], &Device::cpu());
    /// assert_eq!(x.argmax(-1).to_vec::<u32>().unwrap(), [1, 0]);
    /// ```
    ///
    /// # Panics
    /// When the axis is out of range or empty, here and in the three others.
    #[track_caller]
    pub fn argmax(&self, axis: isize) -> Tensor {
        position(self, axis, ArgMax { smallest: false, last: false })
    }

    /// The position (`u32`) of the last largest element along an axis. The last NaN, if there is one.
    #[track_caller]
    pub fn argmax_last(&self, axis: isize) -> Tensor {
        position(self, axis, ArgMax { smallest: false, last: true })
    }

    /// The position (`u32`) of the first smallest element along an axis. The first NaN, if there is one.
    #[track_caller]
    pub fn argmin(&self, axis: isize) -> Tensor {
        position(self, axis, ArgMax { smallest: true, last: false })
    }

    /// The position (`u32`) of the last smallest element along an axis. The last NaN, if there is one.
    #[track_caller]
    pub fn argmin_last(&self, axis: isize) -> Tensor {
        position(self, axis, ArgMax { smallest: true, last: true })
    }
}
