//! Ops that move elements and compute nothing: views (reshape, permute, broadcast, slice), which share the buffer, and
//! copies (contiguous, concat, pad).

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::COPY;

use super::{KernelInfo, OpInfo};
use crate::dtype::DType;
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, apply};
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
    names: &["reshape", "permute", "broadcast_to", "slice", "contiguous", "place", "concat"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &COPY,
        entries: &["copy_words", "copy_bytes"],
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
    let bytes = x.dtype == DType::U8;
    assert!(!bytes || (to.is_contiguous() && to.offset == 0), "u8 tensors are copied as a whole only");
    gpu.dispatch(Dispatch {
        kernel: Kernel {
            shader: &COPY,
            entry: if bytes { "copy_bytes" } else { "copy_words" },
            constants: &[("RANK", kernel_rank(&from.shape))],
        },
        inputs: &[x.buffer],
        outputs: &[y.buffer],
        params: bytemuck::bytes_of(&params),
        workgroups: fold_workgroups(if bytes { x.len().div_ceil(4) } else { x.len() }.into(), 64),
    });
}

/// `y[to(i)] = x[from(i)]` on the CPU.
fn copy_cpu(x: &CpuView<'_>, y: &mut CpuViewMut<'_>, to: Layout) {
    fn run<T: crate::Element>(x: &CpuView<'_>, y: &mut CpuViewMut<'_>, to: Layout) {
        let (from, x, y) = (x.layout, x.buffer::<T>(), y.slice::<T>());
        let [from, to] = Layout::merge_axes([from, to]);
        for (to, from) in to.positions().zip(from.positions()) {
            y[to] = x[from];
        }
    }
    match x.dtype {
        DType::F32 => run::<f32>(x, y, to),
        DType::I32 => run::<i32>(x, y, to),
        DType::U32 => run::<u32>(x, y, to),
        DType::U8 => run::<u8>(x, y, to),
    }
}

/// Any type is fine for an op that only moves.
fn same_dtype(x: &[DType]) -> Result<DType, ShapeError> {
    match x.iter().find(|&&d| d != x[0]) {
        None => Ok(x[0]),
        Some(other) => Err(ShapeError::new(format!("element types differ ({} and {other})", x[0]))),
    }
}

/// Why a view's code never runs.
const IS_A_VIEW: &str = "a view launches nothing";

#[derive(Debug)]
enum View {
    Reshape(Shape),
    Permute([usize; MAX_RANK]),
    BroadcastTo(Shape),
    Slice { start: [usize; MAX_RANK], len: Shape, step: [usize; MAX_RANK] },
}

impl Op for View {
    fn name(&self) -> &'static str {
        match self {
            View::Reshape(_) => "reshape",
            View::Permute(_) => "permute",
            View::BroadcastTo(_) => "broadcast_to",
            View::Slice { .. } => "slice",
        }
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        let x = x[0];
        match self {
            View::Reshape(shape) if shape.len() == x.len() => Ok(*shape),
            View::Reshape(shape) => {
                let problem = format!("{} elements do not fill {shape}, which has {}", x.len(), shape.len());
                Err(ShapeError::new(problem).operand("x", x))
            }
            View::Permute(axes) => Ok(Shape::new(&axes[..x.rank()].iter().map(|&a| x[a]).collect::<Vec<_>>())),
            View::BroadcastTo(shape) if x.rank() <= shape.rank() && x.broadcast(shape) == Ok(*shape) => Ok(*shape),
            View::BroadcastTo(shape) => {
                Err(ShapeError::new(format!("does not broadcast to {shape}")).operand("x", x).operand("shape", shape))
            }
            View::Slice { len, .. } => Ok(*len),
        }
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        same_dtype(x)
    }

    fn view(&self, x: &Layout) -> Option<Layout> {
        Some(match self {
            // A strided tensor that has to be copied is made contiguous before.
            View::Reshape(shape) => x.reshape(shape).expect("checked by the method"),
            View::Permute(axes) => {
                let mut strides = [0; MAX_RANK];
                let rank = x.shape.rank();
                (0..rank).for_each(|i| strides[i] = x.strides[axes[i]]);
                let dims: Vec<usize> = axes[..rank].iter().map(|&a| x.shape[a]).collect();
                Layout { shape: Shape::new(&dims), strides, offset: x.offset }
            }
            View::BroadcastTo(shape) => x.broadcast_to(shape),
            View::Slice { start, len, step } => {
                let mut y = Layout { shape: *len, ..*x };
                for axis in 0..len.rank() {
                    y.offset += start[axis] * x.strides[axis];
                    y.strides[axis] = x.strides[axis] * step[axis];
                }
                y
            }
        })
    }

    fn takes(&self, _: usize, _: &Layout) -> bool {
        true
    }

    fn cpu(&self, _: &[CpuView<'_>], _: &mut [CpuViewMut<'_>]) {
        unreachable!("{IS_A_VIEW}")
    }

    fn gpu(&self, _: &mut Stream, _: &[GpuView<'_>], _: &[GpuView<'_>]) {
        unreachable!("{IS_A_VIEW}")
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let x = node.input_shape(0);
        vec![Some(match self {
            View::Reshape(_) => dy.reshape(x),
            View::Permute(axes) => {
                let mut inverse = vec![0; x.rank()];
                (0..x.rank()).for_each(|i| inverse[axes[i]] = i as isize);
                dy.permute(&inverse)
            }
            View::BroadcastTo(_) => dy.clone(), // the tape sums it
            View::Slice { start, step, .. } => place(dy, *x, *start, *step, 0.0),
        })]
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
}

/// The opposite of a slice: `x` at `start`, `start + step`, .. of a tensor that is `value` elsewhere.
#[derive(Debug)]
struct Place {
    shape: Shape,
    start: [usize; MAX_RANK],
    step: [usize; MAX_RANK],
    value: f32,
}

fn place(x: &Tensor, shape: Shape, start: [usize; MAX_RANK], step: [usize; MAX_RANK], value: f32) -> Tensor {
    apply(Place { shape, start, step, value }, &[x])
}

impl Place {
    fn slice(&self, len: Shape) -> View {
        View::Slice { start: self.start, len, step: self.step }
    }

    fn region(&self, len: &Shape) -> Layout {
        self.slice(*len).view(&Layout::contiguous(self.shape)).expect("a slice is a view")
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
        vec![Some(apply(self.slice(*node.input_shape(0)), &[dy]))]
    }
}

#[derive(Debug)]
struct Concat {
    axis: usize,
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        let mut total = 0;
        for (i, s) in x.iter().enumerate() {
            if s.rank() != x[0].rank() || (0..s.rank()).any(|a| a != self.axis && s[a] != x[0][a]) {
                let problem = format!("tensor {i} differs from tensor 0 outside axis {}", self.axis);
                return Err(ShapeError::new(problem).operand("tensor 0", x[0]).operand(&format!("tensor {i}"), s));
            }
            total += s[self.axis];
        }
        Ok(x[0].with(self.axis, total))
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        same_dtype(x)
    }

    fn takes(&self, _: usize, _: &Layout) -> bool {
        true
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let mut to = Layout::contiguous(y[0].shape());
        for x in x {
            to.shape = *x.shape();
            copy_cpu(x, &mut y[0], to);
            to.offset += x.shape()[self.axis] * to.strides[self.axis];
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let mut to = y[0].layout;
        for x in x {
            to.shape = *x.shape();
            copy_gpu(gpu, x, &y[0], to);
            to.offset += x.shape()[self.axis] * to.strides[self.axis];
        }
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let mut start = 0;
        (0..node.inputs())
            .map(|i| {
                let len = node.input_shape(i)[self.axis];
                start += len;
                node.needs(i).then(|| dy.slice_axis(self.axis as isize, start - len..start))
            })
            .collect()
    }

    fn cost(&self, _: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: 0, bytes: 8 * y.len() as u64 }
    }
}

impl Tensor {
    /// The same elements in another shape with as many. No copy, unless the tensor is strided.
    ///
    /// # Panics
    /// When the number of elements differs.
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        if shape == *self.shape() {
            return self.clone();
        }
        let in_place = shape.len() != self.len() || self.layout().reshape(&shape).is_some();
        let x = if in_place { self.clone() } else { self.contiguous() };
        apply(View::Reshape(shape), &[&x])
    }

    /// All axes from `axis` on as one: `(N, H, W, C).flatten_from(1)` is `(N, H*W*C)`.
    ///
    /// # Panics
    /// When the axis is out of range.
    #[track_caller]
    pub fn flatten_from(&self, axis: isize) -> Tensor {
        let axis = axis_of("flatten_from", self, axis);
        let (outer, inner) = self.shape().split_at(axis);
        self.reshape(&[outer, &[inner.iter().product()]].concat())
    }

    /// Adds an axis of length 1 at position `axis` of the result.
    ///
    /// # Panics
    /// When the position is past the end.
    #[track_caller]
    pub fn unsqueeze(&self, axis: usize) -> Tensor {
        assert!(axis <= self.rank(), "unsqueeze: position {axis} is past the end of shape {}", self.shape());
        let mut dims = self.shape().to_vec();
        dims.insert(axis, 1);
        self.reshape(&dims)
    }

    /// Removes an axis of length 1.
    ///
    /// # Panics
    /// When its length is not 1.
    #[track_caller]
    pub fn squeeze(&self, axis: isize) -> Tensor {
        let axis = axis_of("squeeze", self, axis);
        assert_eq!(self.shape()[axis], 1, "squeeze: axis {axis} of shape {} has not length 1", self.shape());
        let mut dims = self.shape().to_vec();
        dims.remove(axis);
        self.reshape(&dims)
    }

    /// The axes in another order: axis `i` of the result is axis `axes[i]`. A view.
    ///
    /// # Panics
    /// When `axes` is no permutation of the axes.
    #[track_caller]
    pub fn permute(&self, axes: &[isize]) -> Tensor {
        let mut order = [0; MAX_RANK];
        let mut seen = [false; MAX_RANK];
        assert_eq!(axes.len(), self.rank(), "permute: {axes:?} does not name each axis of shape {} once", self.shape());
        for (i, &axis) in axes.iter().enumerate() {
            order[i] = axis_of("permute", self, axis);
            assert!(!seen[order[i]], "permute: {axes:?} names an axis of shape {} twice", self.shape());
            seen[order[i]] = true;
        }
        apply(View::Permute(order), &[self])
    }

    /// The last two axes swapped. A view; [`Tensor::matmul`] reads it without a copy.
    ///
    /// # Panics
    /// With fewer than two axes.
    #[track_caller]
    pub fn transpose(&self) -> Tensor {
        let rank = self.rank() as isize;
        assert!(rank >= 2, "transpose: shape {} has fewer than two axes", self.shape());
        let mut axes: Vec<isize> = (0..rank).collect();
        axes.swap(rank as usize - 1, rank as usize - 2);
        self.permute(&axes)
    }

    /// Stretched to `shape` by numpy's rule. A view.
    ///
    /// # Panics
    /// When it does not broadcast.
    #[track_caller]
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        if shape == *self.shape() { self.clone() } else { apply(View::BroadcastTo(shape), &[self]) }
    }

    /// A range of each axis; axes past the end of `ranges` are kept whole. A view.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [2, 3], &Device::cpu());
    /// assert_eq!(x.slice(&[0..2, 1..3]).to_vec::<f32>().unwrap(), [1.0, 2.0, 4.0, 5.0]);
    /// ```
    ///
    /// # Panics
    /// When a range is outside its axis.
    #[track_caller]
    pub fn slice(&self, ranges: &[Range<usize>]) -> Tensor {
        let stepped: Vec<_> = ranges.iter().map(|r| (r.clone(), 1)).collect();
        self.slice_steps(&stepped)
    }

    /// A range of each axis with a step: every `step`-th element of it.
    ///
    /// # Panics
    /// When a range is outside its axis or a step is 0.
    #[track_caller]
    pub fn slice_steps(&self, ranges: &[(Range<usize>, usize)]) -> Tensor {
        let shape = self.shape();
        assert!(ranges.len() <= shape.rank(), "slice: {} ranges for shape {shape}", ranges.len());
        let (mut start, mut step, mut dims) = ([0; MAX_RANK], [1; MAX_RANK], shape.to_vec());
        for (axis, (range, by)) in ranges.iter().enumerate() {
            assert!(
                range.start <= range.end && range.end <= shape[axis] && *by > 0,
                "slice: {range:?} in steps of {by} is outside axis {axis} of shape {shape}"
            );
            (start[axis], step[axis], dims[axis]) = (range.start, *by, range.len().div_ceil(*by));
        }
        apply(View::Slice { start, len: Shape::new(&dims), step }, &[self])
    }

    /// A range of one axis. A view.
    ///
    /// # Panics
    /// When the axis or the range is out of bounds.
    #[track_caller]
    pub fn slice_axis(&self, axis: isize, range: Range<usize>) -> Tensor {
        let axis = axis_of("slice", self, axis);
        let mut ranges: Vec<Range<usize>> = self.shape()[..axis].iter().map(|&len| 0..len).collect();
        ranges.push(range);
        self.slice(&ranges)
    }

    /// Row-major without gaps: itself if it is already, else a copy.
    pub fn contiguous(&self) -> Tensor {
        if self.layout().is_contiguous() { self.clone() } else { apply(Contiguous, &[self]) }
    }

    /// Tensors joined along an axis.
    ///
    /// # Panics
    /// When there are none, or their shapes differ elsewhere.
    #[track_caller]
    pub fn concat(tensors: &[&Tensor], axis: isize) -> Tensor {
        let first = tensors.first().expect("concat: no tensors");
        apply(Concat { axis: axis_of("concat", first, axis) }, tensors)
    }

    /// `value` added around each axis: `(before, after)` elements. Axes past the end of `widths` get none.
    ///
    /// # Panics
    /// With more widths than axes.
    #[track_caller]
    pub fn pad(&self, widths: &[(usize, usize)], value: f32) -> Tensor {
        assert!(widths.len() <= self.rank(), "pad: {} widths for shape {}", widths.len(), self.shape());
        let (mut start, mut dims) = ([0; MAX_RANK], self.shape().to_vec());
        for (axis, &(before, after)) in widths.iter().enumerate() {
            start[axis] = before;
            dims[axis] += before + after;
        }
        place(self, Shape::new(&dims), start, [1; MAX_RANK], value)
    }
}

#[track_caller]
pub(super) fn axis_of(op: &str, x: &Tensor, axis: isize) -> usize {
    x.shape().axis(axis).unwrap_or_else(|e| panic!("{}", e.of(op)))
}
