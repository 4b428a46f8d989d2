//! Element types converted as Rust's `as` does: integers wrap, floats are truncated and limited to the range (NaN is 0).
//! To a condition: whatever is not 0 is true, NaN too. From one: 1 or 0.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::CAST;

use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::DType;
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, apply};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

/// The shader's numbers of the types.
const TYPES: [DType; 5] = [DType::F32, DType::I32, DType::U32, DType::U8, DType::Bool];

pub(super) static INFO: OpInfo = OpInfo {
    names: &["cast"],
    differentiable: false,
    kernels: &[KernelInfo {
        shader: &CAST,
        entries: &["cast_forward"],
        headers: || (0..5).flat_map(|from| (0..5).map(move |to| vec![("FROM", from), ("TO", to)])).collect(),
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    x_offset: u32,
    pad: [u32; 2],
}

#[derive(Debug)]
struct Cast(DType);

impl Op for Cast {
    fn name(&self) -> &'static str {
        "cast"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn dtype(&self, _: &[DType]) -> Result<DType, ShapeError> {
        Ok(self.0)
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let y = &mut y[0];
        match x[0].dtype {
            DType::F32 => floats(x[0].slice(), y),
            DType::I32 => integers(x[0].slice::<i32>(), y),
            DType::U32 => integers(x[0].slice::<u32>(), y),
            DType::U8 | DType::Bool => integers(x[0].slice::<u8>(), y),
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let number = |dtype| TYPES.iter().position(|&t| t == dtype).expect("every type has a number") as u32;
        gpu.dispatch(Dispatch {
            kernel: Kernel {
                shader: &CAST,
                entry: "cast_forward",
                constants: &[("FROM", number(x[0].dtype)), ("TO", number(self.0))],
            },
            inputs: &[x[0].buffer],
            outputs: &[y[0].buffer],
            params: bytemuck::bytes_of(&Params { len: y[0].len(), x_offset: x[0].offset(), pad: [0; 2] }),
            workgroups: fold_workgroups(y[0].len().into(), 64 * 4),
        });
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }

    fn cost(&self, _: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: 0, bytes: 8 * y.len() as u64 }
    }
}

fn floats(x: &[f32], y: &mut CpuViewMut<'_>) {
    match y.dtype() {
        DType::F32 => par::map(y.slice(), |i| x[i]),
        DType::I32 => par::map(y.slice(), |i| x[i] as i32),
        DType::U32 => par::map(y.slice(), |i| x[i] as u32),
        DType::U8 => par::map(y.slice(), |i| x[i] as u8),
        DType::Bool => par::map(y.slice(), |i| u8::from(x[i] != 0.0)),
    }
}

fn integers<T: Copy + Into<i64> + Sync>(x: &[T], y: &mut CpuViewMut<'_>) {
    let at = |i: usize| -> i64 { x[i].into() };
    match y.dtype() {
        DType::F32 => par::map(y.slice(), |i| at(i) as f32),
        DType::I32 => par::map(y.slice(), |i| at(i) as i32),
        DType::U32 => par::map(y.slice(), |i| at(i) as u32),
        DType::U8 => par::map(y.slice(), |i| at(i) as u8),
        DType::Bool => par::map(y.slice(), |i| u8::from(at(i) != 0)),
    }
}

impl Tensor {
    /// The elements in another type, as Rust's `as` converts them: integers wrap; floats lose their fraction and are
    /// limited to the range, with NaN as 0. [`DType::Bool`] is true for whatever is not 0. The same tensor if it has the
    /// type already. No gradient passes from one type to another.
    ///
    /// ```
    /// use tilegrad_core::{DType, Device, Tensor};
    /// let x = Tensor::new(&[-1.5, 0.0, 300.7], [3], &Device::cpu());
    /// assert_eq!(x.cast(DType::I32).to_vec::<i32>().unwrap(), [-1, 0, 300]);
    /// assert_eq!(x.cast(DType::U8).to_vec::<u8>().unwrap(), [0, 0, 255]);
    /// assert_eq!(x.cast(DType::Bool).to_vec::<bool>().unwrap(), [true, false, true]);
    /// ```
    #[track_caller]
    pub fn cast(&self, dtype: DType) -> Tensor {
        if self.dtype() == dtype { self.clone() } else { apply(Cast(dtype), &[self]) }
    }
}
