//! Elements by index along an axis: `index_select` picks whole slices, `gather` picks for each element on its own.
//!
//! Both are one op on three axes, `y[o, k, i] = x[o, index[o, k, i], i]`: the index of `index_select` is a view that repeats
//! itself over `o` and `i`. The gradient adds `dy[o, k, i]` to `dx[o, index[o, k, i], i]`, which is `scatter.rs`.
//!
//! An index is `u32` or `i32`; negative ones count from the end. One that lies outside the axis reads nothing: it gives
//! NaN, or 0 for other types than `f32`, and no gradient. (The index is computed on the device, where nothing can panic.)

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::GATHER_AXIS;

use super::movement::{around, axis_of, refuse};
use super::scatter::scatter_sum;
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::{DType, Element};
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply, fits};
use crate::shape::{Layout, Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["gather_axis"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &GATHER_AXIS,
        entries: &["gather_axis_words", "gather_axis_bytes"],
        headers: || vec![vec![]],
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    n: u32,
    picks: u32,
    inner: u32,
    x_offset: u32,
    index_offset: u32,
    wrap: u32,
    fill: u32,
    index_strides: [u32; 4],
}

/// What is added to a negative index: nothing to one that has no sign, where the bit means a number that is too large.
pub(super) fn wrap_of(index: DType, n: usize) -> u32 {
    if index == DType::I32 { n as u32 } else { 0 }
}

/// The position that an index means, if it lies in an axis of length `n`.
pub(super) fn position(bits: u32, index: DType, n: usize) -> Option<usize> {
    let at = if index == DType::I32 && (bits as i32) < 0 { i64::from(bits as i32) + n as i64 } else { i64::from(bits) };
    (0..n as i64).contains(&at).then_some(at as usize)
}

/// Refuses an index of another type.
pub(super) fn check_index(index: DType) -> Result<(), ShapeError> {
    match index {
        DType::U32 | DType::I32 => Ok(()),
        other => Err(ShapeError::new(format!("the index is {other}, expected u32 or i32"))),
    }
}

/// `y[o, k, i] = x[o, index[o, k, i], i]`.
#[derive(Clone, Copy, Debug)]
struct GatherAxis {
    /// Whether an index outside gives NaN; 0 otherwise, as in gradients.
    nan: bool,
}

impl GatherAxis {
    fn copy<T: Element + Pod>(&self, x: &CpuView<'_>, index: &CpuView<'_>, y: &mut [T], fill: T) {
        let (n, picks, inner) = (x.shape()[1], index.shape()[1], x.shape()[2]);
        let (x, all, l) = (&x.bits::<T>()[x.layout.offset..], index.bits::<u32>(), index.layout);
        par::map(y, |at| {
            let (o, k, i) = (at / inner / picks, at / inner % picks, at % inner);
            let pick = all[l.offset + o * l.strides[0] + k * l.strides[1] + i * l.strides[2]];
            position(pick, index.dtype, n).map_or(fill, |r| x[(o * n + r) * inner + i])
        });
    }
}

impl Op for GatherAxis {
    fn name(&self) -> &'static str {
        "gather_axis"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[1])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        check_index(x[1]).map(|()| x[0])
    }

    fn takes(&self, i: usize, x: &Layout) -> bool {
        i == 1 || x.is_contiguous()
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        match x[0].dtype {
            DType::F32 => self.copy(&x[0], &x[1], y[0].bits(), if self.nan { f32::NAN } else { 0.0 }),
            dtype if dtype.size() == 1 => self.copy(&x[0], &x[1], y[0].bits(), 0u8),
            _ => self.copy(&x[0], &x[1], y[0].bits(), 0u32),
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let (x, index, n) = (&x[0], &x[1], x[0].shape()[1]);
        let strides = index.layout.strides;
        let params = Params {
            len: y[0].len(),
            n: n as u32,
            picks: index.shape()[1] as u32,
            inner: x.shape()[2] as u32,
            x_offset: x.offset(),
            index_offset: index.offset(),
            wrap: wrap_of(index.dtype, n),
            fill: if self.nan && x.dtype == DType::F32 { f32::NAN.to_bits() } else { 0 },
            index_strides: std::array::from_fn(|i| strides[i] as u32),
        };
        let bytes = x.dtype.size() == 1;
        gpu.dispatch(Dispatch {
            kernel: Kernel {
                shader: &GATHER_AXIS,
                entry: if bytes { "gather_axis_bytes" } else { "gather_axis_words" },
                constants: &[],
            },
            inputs: &[x.buffer, index.buffer],
            outputs: &[y[0].buffer],
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(if bytes { params.len.div_ceil(4) } else { params.len }.into(), 64),
        });
    }

    fn saves(&self) -> Saves {
        Saves::input(1)
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(scatter_sum(dy, node.input(1), node.input_shape(0)[1])), None]
    }

    fn cost(&self, _: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: 0, bytes: 12 * y.len() as u64 }
    }
}

/// `x (outer, n, inner)` by an index `(outer, k, inner)`. An index outside gives 0.
pub(super) fn gather_or_zero(x: &Tensor, index: &Tensor) -> Tensor {
    apply(GatherAxis { nan: false }, &[x, index])
}

/// The same; an index outside gives NaN.
#[track_caller]
pub(super) fn gather_or_nan(x: &Tensor, index: &Tensor) -> Tensor {
    apply(GatherAxis { nan: true }, &[x, index])
}

/// Checks the index of an op that has one for each element: its type, its rank, and no axis longer than that of `x`.
#[track_caller]
pub(super) fn check_full_index(op: &str, x: &Tensor, axis: usize, index: &Tensor) {
    fits(op, check_index(index.dtype()));
    if index.rank() != x.rank() {
        let problem = format!("the index has {} axes, x has {}", index.rank(), x.rank());
        refuse(op, ShapeError::new(problem).operand("x", x.shape()).operand("index", index.shape()));
    }
    if let Some(a) = (0..x.rank()).find(|&a| a != axis && index.shape()[a] > x.shape()[a]) {
        let problem = format!("the index is longer than x ({} > {})", index.shape()[a], x.shape()[a]);
        refuse(
            op,
            ShapeError::new(problem)
                .operand_axis("x", x.shape(), a)
                .operand_axis("index", index.shape(), a)
                .help(format!("only along axis {axis} may the index be longer")),
        );
    }
}

/// `x` cut to the lengths of `of`, except along `axis`.
#[track_caller]
pub(super) fn cut_to(x: &Tensor, of: &Shape, axis: Option<usize>) -> Tensor {
    let ranges: Vec<_> = (0..x.rank()).map(|a| 0..if Some(a) == axis { x.shape()[a] } else { of[a] }).collect();
    if ranges.iter().zip(x.shape().iter()).all(|(r, &len)| r.end == len) { x.clone() } else { x.slice(&ranges) }
}

impl Tensor {
    /// Slices along an axis by an index of any shape, which takes the axis's place: with `axis` 1, `(a, n, b)` by `(p, q)`
    /// is `(a, p, q, b)`. Any element type; the index is `u32` or `i32`, where negative ones count from the end. An index
    /// outside gives NaN, or 0 for integers.
    ///
    /// The gradient looks through the whole index for each element of `x`: its cost is their product.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let x = Tensor::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3], &d);
    /// let y = x.index_select(1, &Tensor::new(&[-1i32, 0], [2], &d));
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [3.0, 1.0, 6.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// When the axis is out of range, the index has another type, or the result too many axes.
    #[track_caller]
    pub fn index_select(&self, axis: isize, index: &Tensor) -> Tensor {
        let axis = axis_of("index_select", self, axis);
        fits("index_select", check_index(index.dtype()));
        let [outer, n, inner] = around(self.shape(), axis);
        let dims = [&self.shape()[..axis], index.shape(), &self.shape()[axis + 1..]].concat();
        if dims.len() > crate::MAX_RANK {
            let problem =
                format!("the result would have {} axes, at most {} are supported", dims.len(), crate::MAX_RANK);
            let error = ShapeError::new(problem).operand("x", self.shape());
            refuse("index_select", error.operand("index", index.shape()));
        }
        let shape = Shape::new(&dims);
        let index = index.reshape([1, index.len(), 1]).broadcast_to([outer, index.len(), inner]);
        gather_or_nan(&self.reshape([outer, n, inner]), &index).reshape(shape)
    }

    /// One element along an axis for each element of the index: `y[i, k, j] = x[i, index[i, k, j], j]` for axis 1. The
    /// index has as many axes as `x`, and none of them longer, except `axis`. Types and indices outside as in
    /// [`Tensor::index_select`], and so is the gradient's cost.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let x = Tensor::new(&[1.0, 2.0, 3.0, 4.0], [2, 2], &d);
    /// let y = x.gather(1, &Tensor::new(&[0u32, 0, 1, 0], [2, 2], &d));
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 1.0, 4.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// When the axis is out of range, or the index has another type or does not fit.
    #[track_caller]
    pub fn gather(&self, axis: isize, index: &Tensor) -> Tensor {
        let axis = axis_of("gather", self, axis);
        check_full_index("gather", self, axis, index);
        let x = cut_to(self, index.shape(), Some(axis));
        let [outer, n, inner] = around(x.shape(), axis);
        let picks = index.reshape([outer, index.shape()[axis], inner]);
        gather_or_nan(&x.reshape([outer, n, inner]), &picks).reshape(index.shape())
    }
}
