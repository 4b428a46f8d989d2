//! Element types converted as Rust's `as` does: integers wrap, floats are truncated and limited to the range (NaN is 0).
//! To a condition: whatever is not 0 is true, NaN too. From one: 1 or 0. Between `F32` and `F16` there is a gradient, the one
//! of the result: rounding counts as no change.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::CAST;

use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::DType;
use crate::gpu::{Dispatch, Gpu, Kernel, Stream, fold_workgroups};
use crate::half::Half;
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Halves, Op, apply};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

/// The shader's numbers of the types.
const TYPES: [DType; 6] = [DType::F32, DType::I32, DType::U32, DType::U8, DType::Bool, DType::F16];

pub(super) static INFO: OpInfo = OpInfo {
    names: &["cast"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &CAST,
        entries: &["cast_forward"],
        headers: || (0..6).flat_map(|from| (0..6).map(move |to| vec![("FROM", from), ("TO", to)])).collect(),
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
struct Cast {
    from: DType,
    to: DType,
}

impl Op for Cast {
    fn name(&self) -> &'static str {
        "cast"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn dtype(&self, _: &[DType]) -> Result<DType, ShapeError> {
        Ok(self.to)
    }

    fn halves(&self, _: &[&Shape], _: Option<&Gpu>) -> Halves {
        Halves::Read
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let y = &mut y[0];
        match x[0].dtype {
            DType::F32 => floats(x[0].slice::<f32>(), y),
            DType::F16 => floats(x[0].slice::<Half>(), y),
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
                constants: &[("FROM", number(self.from)), ("TO", number(self.to))],
            },
            inputs: &[x[0].buffer],
            outputs: &[y[0].buffer],
            params: bytemuck::bytes_of(&Params { len: y[0].len(), x_offset: x[0].offset(), pad: [0; 2] }),
            workgroups: fold_workgroups(y[0].len().into(), 64 * 4),
        });
    }

    fn differentiable(&self) -> bool {
        [self.from, self.to].iter().all(|t| matches!(t, DType::F32 | DType::F16))
    }

    fn backward(&self, _: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(dy.clone())]
    }

    fn cost(&self, _: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: 0, bytes: ((self.from.size() + self.to.size()) * y.len()) as u64 }
    }
}

fn floats<T: Copy + Into<f32> + Sync>(x: &[T], y: &mut CpuViewMut<'_>) {
    let at = |i: usize| -> f32 { x[i].into() };
    match y.dtype() {
        DType::F32 => par::map(y.slice(), at),
        DType::F16 => par::map(y.slice(), |i| Half::from(at(i))),
        DType::I32 => par::map(y.slice(), |i| at(i) as i32),
        DType::U32 => par::map(y.slice(), |i| at(i) as u32),
        DType::U8 => par::map(y.slice(), |i| at(i) as u8),
        DType::Bool => par::map(y.slice(), |i| u8::from(at(i) != 0.0)),
    }
}

fn integers<T: Copy + Into<i64> + Sync>(x: &[T], y: &mut CpuViewMut<'_>) {
    let at = |i: usize| -> i64 { x[i].into() };
    match y.dtype() {
        DType::F32 => par::map(y.slice(), |i| at(i) as f32),
        // f32 has every integer that a half has, and the larger ones are infinity.
        DType::F16 => par::map(y.slice(), |i| Half::from(at(i) as f32)),
        DType::I32 => par::map(y.slice(), |i| at(i) as i32),
        DType::U32 => par::map(y.slice(), |i| at(i) as u32),
        DType::U8 => par::map(y.slice(), |i| at(i) as u8),
        DType::Bool => par::map(y.slice(), |i| u8::from(at(i) != 0)),
    }
}

impl Tensor {
    /// The elements in another type, as Rust's `as` converts them: integers wrap; floats lose their fraction and are
    /// limited to the range, with NaN as 0. [`DType::Bool`] is true for whatever is not 0. The same tensor if it has the
    /// type already. To [`DType::F16`] it is the nearest number, ties to even, and infinity past 65504. A gradient passes
    /// between `F32` and `F16`, unchanged; none to or from integers.
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
        if self.dtype() == dtype { self.clone() } else { apply(Cast { from: self.dtype(), to: dtype }, &[self]) }
    }
}
