//! Elements put to places by index: `scatter` along an axis, with a rule for what happens to what is there, and the sum
//! that is the gradient of a gather.
//!
//! On three axes, for each `k` in order: `y[o, index[o, k, i], i] = rule(y[o, index[o, k, i], i], src[o, k, i])`, from
//! `y = x` on. So where several elements go to one place, the last one replaces, and sums add up in the index's order, the
//! same on every device. An index outside the axis puts its element nowhere.
//!
//! On a GPU each element of `y` looks through the index for what belongs to it, since there are no atomics on floats: the
//! cost is elements of `y` times length of the index. The index is `u32` or `i32`; negative ones count from the end.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::SCATTER;

use super::gather_axis::{check_full_index, check_index, cut_to, gather_or_zero, position, wrap_of};
use super::movement::{around, axis_of, refuse, same_dtype};
use super::{KernelInfo, OpInfo};
use crate::dtype::{DType, Element};
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply};
use crate::shape::{Layout, Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["scatter"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &SCATTER,
        entries: &["scatter_words", "scatter_bytes"],
        headers: || (0..5).flat_map(|rule| (0..3).map(move |kind| vec![("RULE", rule), ("KIND", kind)])).collect(),
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
    src_offset: u32,
    wrap: u32,
    first: u32,
    start: u32,
    pad: [u32; 2],
    index_strides: [u32; 4],
    src_strides: [u32; 4],
}

/// What happens where an element is put to a place that holds another. The number is the shader's `RULE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScatterMode {
    /// The new element takes its place. Of several, the last one stays.
    Replace = 0,
    /// They are added.
    Add = 1,
    /// They are multiplied.
    Mul = 2,
    /// The larger one stays; NaN if either is.
    Max = 3,
    /// The smaller one stays; NaN if either is.
    Min = 4,
}

/// Where the first launch takes `y` from: the shader's `start`.
const ZERO: u32 = 0;
const X: u32 = 1;
const LAST_LAUNCH: u32 = 2;

/// Elements of the index that one thread goes through in a launch: llvmpipe silently ends a kernel after 65,535 rounds of
/// its loops.
const PICKS_A_LAUNCH: u32 = 1 << 15;

/// The rule on the CPU, for each element type.
fn scatter_cpu<T: Element + Pod>(
    (n, index, src): (usize, &CpuView<'_>, &CpuView<'_>),
    y: &mut [T],
    rule: impl Fn(T, T) -> T,
) {
    let inner = index.shape()[2];
    let (bits, values) = (index.bits::<u32>(), src.bits::<T>());
    let picks = index.shape()[1];
    for (at, (i, s)) in index.layout.positions().zip(src.layout.positions()).enumerate() {
        if let Some(r) = position(bits[i], index.dtype, n) {
            let y = &mut y[(at / inner / picks * n + r) * inner + at % inner];
            *y = rule(*y, values[s]);
        }
    }
}

/// The one that `wins`, or a NaN.
fn extreme(a: f32, b: f32, wins: fn(&f32, &f32) -> bool) -> f32 {
    if a.is_nan() || (!b.is_nan() && !wins(&b, &a)) { a } else { b }
}

impl ScatterMode {
    /// Of true and false, a sum is whether either is true; the others are what they are of 1 and 0.
    fn of(self, dtype: DType) -> ScatterMode {
        if self == ScatterMode::Add && dtype == DType::Bool { ScatterMode::Max } else { self }
    }

    fn cpu(self, parts: (usize, &CpuView<'_>, &CpuView<'_>), y: &mut CpuViewMut<'_>, dtype: DType) {
        match (self.of(dtype), dtype) {
            (ScatterMode::Replace, _) if dtype.size() == 1 => scatter_cpu(parts, y.bits::<u8>(), |_, b| b),
            (ScatterMode::Replace, _) => scatter_cpu(parts, y.bits::<u32>(), |_, b| b),
            (ScatterMode::Add, DType::F32) => scatter_cpu(parts, y.slice::<f32>(), |a, b| a + b),
            (ScatterMode::Mul, DType::F32) => scatter_cpu(parts, y.slice::<f32>(), |a, b| a * b),
            (ScatterMode::Max, DType::F32) => scatter_cpu(parts, y.slice(), |a, b| extreme(a, b, f32::gt)),
            (ScatterMode::Min, DType::F32) => scatter_cpu(parts, y.slice(), |a, b| extreme(a, b, f32::lt)),
            (ScatterMode::Max, DType::I32) => scatter_cpu(parts, y.slice(), i32::max),
            (ScatterMode::Min, DType::I32) => scatter_cpu(parts, y.slice(), i32::min),
            // Sums and products of whole numbers wrap around, with a sign or without.
            (ScatterMode::Add, _) if dtype.size() == 1 => scatter_cpu(parts, y.bits(), u8::wrapping_add),
            (ScatterMode::Mul, _) if dtype.size() == 1 => scatter_cpu(parts, y.bits(), u8::wrapping_mul),
            (ScatterMode::Max, _) if dtype.size() == 1 => scatter_cpu(parts, y.bits(), u8::max),
            (ScatterMode::Min, _) if dtype.size() == 1 => scatter_cpu(parts, y.bits(), u8::min),
            (ScatterMode::Add, _) => scatter_cpu(parts, y.bits(), u32::wrapping_add),
            (ScatterMode::Mul, _) => scatter_cpu(parts, y.bits(), u32::wrapping_mul),
            (ScatterMode::Max, _) => scatter_cpu(parts, y.bits(), u32::max),
            (ScatterMode::Min, _) => scatter_cpu(parts, y.bits(), u32::min),
        }
    }

    /// Launches over parts of a long index; each goes on from what the one before has left in `y`.
    fn gpu(self, gpu: &mut Stream, x: Option<&GpuView<'_>>, index: &GpuView<'_>, src: &GpuView<'_>, y: &GpuView<'_>) {
        let (picks, bytes) = (index.shape()[1] as u32, y.dtype.size() == 1);
        let strides = |x: &GpuView<'_>| std::array::from_fn(|i| x.layout.strides[i] as u32);
        let kind = match y.dtype {
            DType::F32 => 0,
            DType::I32 => 1,
            _ => 2,
        };
        // A thread makes four bytes, with a loop for each.
        let each = if bytes { PICKS_A_LAUNCH / 4 } else { PICKS_A_LAUNCH };
        // An index of no elements has a launch too, for what does not change.
        for first in (0..picks.max(1)).step_by(each as usize) {
            let start = match x {
                _ if first > 0 => LAST_LAUNCH,
                Some(_) => X,
                None => ZERO,
            };
            let params = Params {
                len: y.len(),
                n: y.shape()[1] as u32,
                picks: (picks - first).min(each),
                inner: y.shape()[2] as u32,
                x_offset: x.map_or(0, |x| x.offset()),
                index_offset: index.offset(),
                src_offset: src.offset(),
                wrap: wrap_of(index.dtype, y.shape()[1]),
                first,
                start,
                pad: [0; 2],
                index_strides: strides(index),
                src_strides: strides(src),
            };
            gpu.dispatch(Dispatch {
                kernel: Kernel {
                    shader: &SCATTER,
                    entry: if bytes { "scatter_bytes" } else { "scatter_words" },
                    constants: &[("RULE", self.of(y.dtype) as u32), ("KIND", kind)],
                },
                inputs: &[x.unwrap_or(src).buffer, index.buffer, src.buffer],
                outputs: &[y.buffer],
                params: bytemuck::bytes_of(&params),
                workgroups: fold_workgroups(if bytes { y.len().div_ceil(4) } else { y.len() }.into(), 64),
            });
        }
    }
}

/// `x (outer, n, inner)` with elements of `src (outer, k, inner)` put to an index of the same shape.
#[derive(Clone, Copy, Debug)]
struct Scatter(ScatterMode);

impl Op for Scatter {
    fn name(&self) -> &'static str {
        "scatter"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        check_index(x[1])?;
        same_dtype(&[x[0], x[2]])
    }

    fn takes(&self, i: usize, x: &Layout) -> bool {
        i > 0 || x.is_contiguous()
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let from = x[0].layout.offset;
        if x[0].dtype.size() == 1 {
            y[0].bits::<u8>().copy_from_slice(&x[0].bits()[from..][..x[0].shape().len()]);
        } else {
            y[0].bits::<u32>().copy_from_slice(&x[0].bits()[from..][..x[0].shape().len()]);
        }
        self.0.cpu((x[0].shape()[1], &x[1], &x[2]), &mut y[0], x[0].dtype);
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        self.0.gpu(gpu, Some(&x[0]), &x[1], &x[2], &y[0]);
    }

    fn saves(&self) -> Saves {
        match self.0 {
            ScatterMode::Replace | ScatterMode::Add => Saves::input(1),
            ScatterMode::Mul | ScatterMode::Max | ScatterMode::Min => Saves::INPUTS.and(Saves::OUTPUT),
        }
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let index = node.input(1);
        let [of_x, of_src] = match self.0 {
            ScatterMode::Add => [Some(dy.clone()), node.needs(2).then(|| gather_or_zero(dy, index))],
            ScatterMode::Replace => {
                let zero = |dy: &Tensor| Tensor::scalar(0.0, dy.device());
                let replaced = |dy: &Tensor| {
                    apply(Scatter(ScatterMode::Replace), &[dy, index, &zero(dy).broadcast_to(index.shape())])
                };
                [
                    node.needs(0).then(|| replaced(dy)),
                    node.needs(2).then(|| stays(index, dy.shape()).where_cond(&gather_or_zero(dy, index), &zero(dy))),
                ]
            }
            ScatterMode::Mul => product_backward(node, dy).map(Some),
            // Elements that tie for the extreme share its gradient.
            ScatterMode::Max | ScatterMode::Min => {
                let y = node.output();
                let of_x = node.input(0).eq(&y).cast(DType::F32);
                let of_src = node.input(2).eq(&gather_or_zero(&y, index)).cast(DType::F32);
                let ties = apply(Scatter(ScatterMode::Add), &[&of_x, index, &of_src]);
                let share = dy.div(&ties);
                [Some(of_x.mul(&share)), Some(of_src.mul(&gather_or_zero(&share, index)))]
            }
        };
        vec![of_x, None, of_src]
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        let looks = (y.len() * x[1][1]) as u64;
        Cost { flops: looks, bytes: 8 * y.len() as u64 + 8 * x[1].len() as u64 }
    }
}

/// Whether each element of an index is the last one to go to its place.
fn stays(index: &Tensor, y: &Shape) -> Tensor {
    let none = Tensor::new(&[-1i32], [], index.device()).broadcast_to(y);
    let picks = index.shape()[1];
    let order = Tensor::arange_i32(0, picks as i32, 1, index.device());
    let order = order.reshape([1, picks, 1]).broadcast_to(index.shape());
    let last = apply(Scatter(ScatterMode::Replace), &[&none, index, &order]);
    gather_or_zero(&last, index).eq(&order)
}

/// Gradients of a scatter that multiplies: `dy` times the product of all other factors. Where a factor is 0 it can't be
/// divided away: the product of the others is then 0 too if another one is 0, and else that of all without it.
fn product_backward(node: &Node, dy: &Tensor) -> [Tensor; 2] {
    let (x, index, src) = (node.input(0), node.input(1), node.input(2));
    let mul = |x: &Tensor, src: &Tensor| apply(Scatter(ScatterMode::Mul), &[x, index, src]);
    let of_x = dy.mul(&mul(&x.ones_like(), src));
    let (zero, one) = (Tensor::scalar(0.0, dy.device()), Tensor::scalar(1.0, dy.device()));
    let (x_is_0, src_is_0) = (x.eq(&zero), src.eq(&zero));
    let zeros = [&x_is_0, &src_is_0].map(|is_0| is_0.cast(DType::F32));
    let zeros = apply(Scatter(ScatterMode::Add), &[&zeros[0], index, &zeros[1]]);
    let src_or_1 = src_is_0.where_cond(&one, src);
    let product = mul(&x_is_0.where_cond(&one, x), &src_or_1);
    let product = zeros.eq(&one).where_cond(&product, &zero);
    let divided = gather_or_zero(&node.output(), index).div(&src_or_1);
    let others = src_is_0.where_cond(&gather_or_zero(&product, index), &divided);
    [of_x, gather_or_zero(dy, index).mul(&others)]
}

/// `y[o, index[o, k, i], i] += src[o, k, i]`, from zeros on: the gradient of a gather.
#[derive(Clone, Copy, Debug)]
struct ScatterSum {
    n: usize,
}

impl Op for ScatterSum {
    fn name(&self) -> &'static str {
        "scatter_sum"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(x[0].with(1, self.n))
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        check_index(x[1]).map(|()| x[0])
    }

    fn takes(&self, _: usize, _: &Layout) -> bool {
        true
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        y[0].bits::<u32>().fill(0);
        ScatterMode::Add.cpu((self.n, &x[1], &x[0]), &mut y[0], x[0].dtype);
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        ScatterMode::Add.gpu(gpu, None, &x[1], &x[0], &y[0]);
    }

    fn saves(&self) -> Saves {
        Saves::input(1)
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(gather_or_zero(dy, node.input(1))), None]
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: (y.len() * x[1][1]) as u64, bytes: 4 * y.len() as u64 + 8 * x[1].len() as u64 }
    }
}

/// Sums of elements of `src (outer, k, inner)` by an index of its shape: `(outer, n, inner)`.
pub(super) fn scatter_sum(src: &Tensor, index: &Tensor, n: usize) -> Tensor {
    apply(ScatterSum { n }, &[src, index])
}

/// `x (outer, n, inner)` with elements of `src (outer, k, inner)` put to an index of that shape.
#[track_caller]
pub(super) fn scatter_on_three(x: &Tensor, index: &Tensor, src: &Tensor, mode: ScatterMode) -> Tensor {
    apply(Scatter(mode), &[x, index, src])
}

impl Tensor {
    /// A copy of this tensor with elements of `src` put to an index along an axis: for axis 1,
    /// `y[i, index[i, k, j], j] = src[i, k, j]`, or what `mode` makes of both. The index has as many axes as the tensor;
    /// it may be shorter than the tensor along the other axes, and than `src` along any. Elements are put in the order of
    /// the index; an index outside puts nothing. Indices are `u32` or `i32`, negative ones count from the end.
    ///
    /// On a GPU, each element looks through the index along its axis: the cost is elements times length of that axis.
    ///
    /// ```
    /// use tilegrad_core::{Device, ScatterMode, Tensor};
    /// let d = Device::cpu();
    /// let index = Tensor::new(&[2i32, -1, 0], [3], &d);
    /// let src = Tensor::new(&[1.0, 2.0, 3.0], [3], &d);
    /// let y = Tensor::ones([3], &d).scatter(0, &index, &src, ScatterMode::Mul);
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [3.0, 1.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// When the axis is out of range, the index or `src` have another type or do not fit.
    #[track_caller]
    pub fn scatter(&self, axis: isize, index: &Tensor, src: &Tensor, mode: ScatterMode) -> Tensor {
        let axis = axis_of("scatter", self, axis);
        check_full_index("scatter", self, axis, index);
        check_src_type("scatter", self, src);
        let fits = src.rank() == index.rank() && (0..src.rank()).all(|a| index.shape()[a] <= src.shape()[a]);
        if !fits {
            let error = ShapeError::new("there is not one element of src for each index");
            refuse("scatter", error.operand("index", index.shape()).operand("src", src.shape()));
        }
        let src = cut_to(src, index.shape(), None);
        let x = cut_to(self, index.shape(), Some(axis));
        let [outer, n, inner] = around(x.shape(), axis);
        let picks = index.shape()[axis];
        let mut y = scatter_on_three(
            &x.reshape([outer, n, inner]),
            &index.reshape([outer, picks, inner]),
            &src.reshape([outer, picks, inner]),
            mode,
        )
        .reshape(x.shape());
        // Around what the index covers, the tensor stays as it is.
        for a in (0..self.rank()).filter(|&a| a != axis && index.shape()[a] < self.shape()[a]) {
            let ranges: Vec<_> = (0..self.rank())
                .map(|b| if b == a { index.shape()[a]..self.shape()[a] } else { 0..y.shape()[b] })
                .collect();
            y = Tensor::concat(&[&y, &self.slice(&ranges)], a as isize);
        }
        y
    }

    /// [`Tensor::scatter`] that adds.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let index = Tensor::new(&[1u32, 1, 0], [3], &d);
    /// let y = Tensor::zeros([2], &d).scatter_add(0, &index, &Tensor::new(&[1.0, 2.0, 3.0], [3], &d));
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [3.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// As [`Tensor::scatter`].
    #[track_caller]
    pub fn scatter_add(&self, axis: isize, index: &Tensor, src: &Tensor) -> Tensor {
        self.scatter(axis, index, src, ScatterMode::Add)
    }
}

/// Refuses elements of another type than the tensor they are put into.
#[track_caller]
pub(super) fn check_src_type(op: &str, x: &Tensor, src: &Tensor) {
    if x.dtype() != src.dtype() {
        refuse(op, ShapeError::new(format!("element types differ ({} and {})", x.dtype(), src.dtype())));
    }
}
