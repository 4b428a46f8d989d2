//! Slices by indices of several axes: `gather_nd` and `scatter_nd`.
//!
//! The last axis of the index holds a position on each of the first axes of `x`. They become one position on these axes
//! seen as one, by a kernel; the rest is `gather_axis.rs` and `scatter.rs`.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::GATHER_ND;

use super::gather_axis::{check_index, gather_or_nan, position};
use super::movement::refuse;
use super::scatter::{ScatterMode, check_src_type, scatter_on_three};
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::DType;
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{CpuView, CpuViewMut, GpuView, Op, apply, fits};
use crate::shape::{MAX_RANK, Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["flat_index"],
    differentiable: false,
    kernels: &[KernelInfo {
        shader: &GATHER_ND,
        entries: &["flat_index"],
        headers: || vec![vec![]],
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    axes: u32,
    offset: u32,
    signed: u32,
    dims: [u32; MAX_RANK],
}

/// Positions `(rows, axes)` on axes of these lengths, as positions `(rows)` on all of them as one. `u32::MAX` where one
/// lies outside.
#[derive(Debug)]
struct FlatIndex {
    dims: Shape,
}

impl Op for FlatIndex {
    fn name(&self) -> &'static str {
        "flat_index"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(Shape::from([x[0][0]]))
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        check_index(x[0]).map(|()| DType::U32)
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (axes, dtype) = (self.dims.rank(), x[0].dtype);
        let index = &x[0].bits::<u32>()[x[0].layout.offset..];
        par::map(y[0].slice::<u32>(), |row| {
            let at = (0..axes).try_fold(0, |flat, a| {
                position(index[row * axes + a], dtype, self.dims[a]).map(|at| flat * self.dims[a] + at)
            });
            at.map_or(u32::MAX, |at| at as u32)
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let params = Params {
            len: y[0].len(),
            axes: self.dims.rank() as u32,
            offset: x[0].offset(),
            signed: u32::from(x[0].dtype == DType::I32),
            dims: super::copy::words(&self.dims, 1),
        };
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &GATHER_ND, entry: "flat_index", constants: &[] },
            inputs: &[x[0].buffer],
            outputs: &[y[0].buffer],
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(params.len.into(), 64),
        });
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }
}

/// `x` and an index, taken apart: axes that both share, axes of the index, indexed axes of `x`, the others.
struct Parts {
    batch: usize,
    picks: usize,
    indexed: usize,
    inner: usize,
    /// `(batch.., picks.., inner..)`
    shape: Shape,
    /// `(batch, picks)`
    flat: Tensor,
}

#[track_caller]
fn parts(op: &str, x: &Tensor, index: &Tensor, batch_dims: usize) -> Parts {
    let (xs, is) = (x.shape(), index.shape());
    let fail = |problem: String| ShapeError::new(problem).operand("x", xs).operand("index", is);
    fits(op, check_index(index.dtype()));
    let Some((&axes, leading)) = is.split_last() else { refuse(op, fail("the index is a scalar".into())) };
    if batch_dims > leading.len() || batch_dims > xs.rank() {
        refuse(op, fail(format!("{batch_dims} batch axes are more than there are")));
    }
    if let Some(a) = (0..batch_dims).find(|&a| xs[a] != is[a]) {
        let error = ShapeError::new(format!("batch axes differ ({} != {})", xs[a], is[a]));
        refuse(op, error.operand_axis("x", xs, a).operand_axis("index", is, a));
    }
    if axes > xs.rank() - batch_dims {
        let error = ShapeError::new(format!("the index names {axes} axes, x has {}", xs.rank() - batch_dims));
        refuse(op, error.operand("x", xs).operand_axis("index", is, is.rank() - 1));
    }
    let (batch, rest) = xs.split_at(batch_dims);
    let (indexed, inner) = rest.split_at(axes);
    let picks: usize = leading[batch_dims..].iter().product();
    let dims = [leading, inner].concat();
    if dims.len() > MAX_RANK {
        refuse(op, fail(format!("the result would have {} axes, at most {MAX_RANK} are supported", dims.len())));
    }
    let batch: usize = batch.iter().product();
    let flat = apply(FlatIndex { dims: Shape::new(indexed) }, &[&index.reshape([batch * picks, axes])]);
    Parts {
        batch,
        picks,
        indexed: indexed.iter().product(),
        inner: inner.iter().product(),
        shape: Shape::new(&dims),
        flat: flat.reshape([batch, picks, 1]).broadcast_to([batch, picks, inner.iter().product()]),
    }
}

impl Tensor {
    /// Slices by positions on several axes. The last axis of the index holds the positions, on the first axes of `x` behind
    /// `batch_dims` axes that both share: `x (a, b, c)` by an index `(p, q, 2)` is `(p, q, c)`. Types and indices outside
    /// as in [`Tensor::index_select`].
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let x = Tensor::new(&[1.0, 2.0, 3.0, 4.0], [2, 2], &d);
    /// let y = x.gather_nd(&Tensor::new(&[0u32, 1, 1, 0], [2, 2], &d), 0);
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [2.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// When the index has another type, names more axes than `x` has, or batch axes differ.
    #[track_caller]
    pub fn gather_nd(&self, index: &Tensor, batch_dims: usize) -> Tensor {
        let Parts { batch, indexed, inner, shape, flat, .. } = parts("gather_nd", self, index, batch_dims);
        gather_or_nan(&self.reshape([batch, indexed, inner]), &flat).reshape(shape)
    }

    /// A copy of this tensor with slices of `src` put to positions on several axes: the index is that of
    /// [`Tensor::gather_nd`] without batch axes, and `src` has the shape of its result. Order, indices outside and cost
    /// are those of [`Tensor::scatter`].
    ///
    /// # Panics
    /// When the index has another type or names more axes than there are, or `src` has another shape or type.
    #[track_caller]
    pub fn scatter_nd(&self, index: &Tensor, src: &Tensor, mode: ScatterMode) -> Tensor {
        check_src_type("scatter_nd", self, src);
        let Parts { picks, indexed, inner, shape, flat, .. } = parts("scatter_nd", self, index, 0);
        if shape != *src.shape() {
            let error = ShapeError::new(format!("src is {}, expected {shape}", src.shape()));
            refuse("scatter_nd", error.operand("x", self.shape()).operand("index", index.shape()));
        }
        let x = self.reshape([1, indexed, inner]);
        scatter_on_three(&x, &flat, &src.reshape([1, picks, inner]), mode).reshape(self.shape())
    }
}
