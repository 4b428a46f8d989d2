//! Ops that copy elements to other places and compute nothing: contiguous, and the opposite of a slice. Views, which move
//! nothing, are in `movement.rs`; `join.rs` and `pad.rs` build on this.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::COPY;

use super::movement::{same_dtype, slice_view};
use super::{KernelInfo, OpInfo};
use crate::dtype::DType;
use crate::gpu::{Dispatch, Gpu, Kernel, Stream, fold_workgroups};
use crate::half::Half;
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Halves, Op, apply};
use crate::shape::{Layout, MAX_RANK, Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

/// Numbers of axes that strided kernels are compiled for.
pub(super) const RANKS: [u32; 5] = [1, 2, 3, 4, 8];

/// The kernel for a merged shape: the smallest of [`RANKS`] that holds it.
pub(super) fn kernel_rank(shape: &Shape) -> u32 {
    RANKS.into_iter().find(|&r| r as usize >= shape.rank()).expect("no tensor has more axes")
}

/// Axis lengths or strides as kernels take them.
pub(super) fn words(values: &[usize], spare: u32) -> [u32; MAX_RANK] {
    std::array::from_fn(|i| values.get(i).map_or(spare, |&v| v as u32))
}

pub(super) static INFO: OpInfo = OpInfo {
    names: &["contiguous", "place"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &COPY,
        entries: &["copy_words", "copy_halves", "copy_bytes"],
        headers: || RANKS.iter().map(|&rank| vec![("RANK", rank)]).collect(),
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    from_offset: u32,
    to_offset: u32,
    pad: u32,
    shape: [u32; MAX_RANK],
    from_strides: [u32; MAX_RANK],
    to_strides: [u32; MAX_RANK],
}

/// `y[to(i)] = x[from(i)]` on a GPU, where `to` is a layout of `y`'s buffer.
pub(super) fn copy_gpu(gpu: &mut Stream, x: &GpuView<'_>, y: &GpuView<'_>, to: Layout) {
    let [from, to] = Layout::merge_axes([x.layout, to]);
    let params = Params {
        len: x.len(),
        from_offset: from.offset as u32,
        to_offset: to.offset as u32,
        pad: 0,
        shape: words(from.shape.dims(), 1),
        from_strides: words(&from.strides, 0),
        to_strides: words(&to.strides, 0),
    };
    let (entry, per_word) = match x.dtype.size() {
        1 => ("copy_bytes", 4),
        2 => ("copy_halves", 2),
        _ => ("copy_words", 1),
    };
    let whole = per_word == 1 || (to.is_contiguous() && to.offset == 0);
    assert!(whole, "elements of less than a word are copied as a whole only");
    gpu.dispatch(Dispatch {
        kernel: Kernel { shader: &COPY, entry, constants: &[("RANK", kernel_rank(&from.shape))] },
        inputs: &[x.buffer],
        outputs: &[y.buffer],
        params: bytemuck::bytes_of(&params),
        workgroups: fold_workgroups(x.len().div_ceil(per_word).into(), 64),
    });
}

/// `y[to(i)] = x[from(i)]` on the CPU.
pub(super) fn copy_cpu(x: &CpuView<'_>, y: &mut CpuViewMut<'_>, to: Layout) {
    fn run<T: crate::Element + Pod>(x: &CpuView<'_>, y: &mut CpuViewMut<'_>, to: Layout) {
        let (from, x, y) = (x.layout, x.bits::<T>(), y.bits::<T>());
        let [from, to] = Layout::merge_axes([from, to]);
        for (to, from) in to.positions().zip(from.positions()) {
            y[to] = x[from];
        }
    }
    match x.dtype.size() {
        1 => run::<u8>(x, y, to),
        2 => run::<Half>(x, y, to),
        _ => run::<u32>(x, y, to),
    }
}

/// A strided tensor's elements, row-major.
#[derive(Debug)]
struct Contiguous;

impl Op for Contiguous {
    fn name(&self) -> &'static str {
        "contiguous"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        same_dtype(x)
    }

    fn halves(&self, _: &[&Shape], _: Option<&Gpu>) -> Halves {
        Halves::Read
    }

    fn takes(&self, _: usize, _: &Layout) -> bool {
        true
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let to = Layout::contiguous(y[0].shape());
        copy_cpu(&x[0], &mut y[0], to);
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        copy_gpu(gpu, &x[0], &y[0], y[0].layout);
    }

    fn backward(&self, _: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(dy.clone())]
    }

    fn cost(&self, _: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: 0, bytes: 8 * y.len() as u64 }
    }
}

/// The opposite of a slice: `x` at `start`, `start + step`, .. of a tensor that is `value` elsewhere.
#[derive(Debug)]
struct Place {
    shape: Shape,
    start: [usize; MAX_RANK],
    step: [usize; MAX_RANK],
    value: f32,
}

#[track_caller]
pub(super) fn place(x: &Tensor, shape: Shape, start: [usize; MAX_RANK], step: [usize; MAX_RANK], value: f32) -> Tensor {
    apply(Place { shape, start, step, value }, &[x])
}

impl Place {
    /// Where `x` goes, as a layout of the output.
    fn region(&self, len: &Shape) -> Layout {
        slice_view(self.start, *len, self.step).view(&Layout::contiguous(self.shape)).expect("a slice is a view")
    }
}

impl Op for Place {
    fn name(&self) -> &'static str {
        "place"
    }

    fn infer(&self, _: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(self.shape)
    }

    fn takes(&self, _: usize, _: &Layout) -> bool {
        true
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        y[0].slice().fill(self.value);
        copy_cpu(&x[0], &mut y[0], self.region(x[0].shape()));
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        super::fill::fill_buffer(gpu, y[0].buffer, y[0].len(), self.value);
        copy_gpu(gpu, &x[0], &y[0], self.region(x[0].shape()));
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(apply(slice_view(self.start, *node.input_shape(0), self.step), &[dy]))]
    }

    fn cost(&self, _: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: 0, bytes: 8 * y.len() as u64 }
    }
}

impl Tensor {
    /// Row-major without gaps: itself if it is already, else a copy.
    #[track_caller]
    pub fn contiguous(&self) -> Tensor {
        if self.layout().is_contiguous() { self.clone() } else { apply(Contiguous, &[self]) }
    }
}
