//! Reductions over any axes: sum, mean, prod, max, min. What is composed of them is in `statistics.rs`.
//!
//! A reduction is brought to the form `(outer, reduce, inner)`, with the reduced axes as the middle one; axes that don't
//! lie side by side are permuted to the end first. Integers wrap, as numpy's do.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::REDUCE;

use super::axes::named_axes;
use super::cumulative::ScanOptions;
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::{DType, Element};
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply, fits};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["sum", "mean", "prod", "max", "min"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &REDUCE,
        entries: &["reduce_forward", "reduce_columns", "reduce_integers"],
        headers: || (0..4).map(|op| vec![("OP", op)]).collect(),
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
    scale: f32,
    divisor: u32,
    sign: u32,
    pad: [u32; 3],
}

/// What to do with the middle axis. The number is the shader's `OP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sum = 0,
    Max = 1,
    Min = 2,
    Prod = 3,
}

/// Reduces the middle axis of an input of rank 3; the output is `(outer, inner)`.
#[derive(Debug)]
struct Reduce {
    kind: Kind,
    /// Divides a sum by the number of elements. Of integers the quotient is rounded toward zero.
    mean: bool,
}

/// The three axes of an input, as `(outer, reduce, inner)`.
pub(super) fn dims(x: &Shape) -> [usize; 3] {
    [x[0], x[1], x[2]]
}

impl Reduce {
    /// Multiplies a sum of `n` floating-point numbers. The mean of none is NaN, as 0 times infinity is.
    fn scale(&self, n: usize) -> f32 {
        if self.mean { 1.0 / n as f32 } else { 1.0 }
    }

    fn cpu_floats(&self, [outer, reduce, inner]: [usize; 3], x: &[f32], y: &mut [f32]) {
        let scale = f64::from(self.scale(reduce));
        // NaN beats everything, and the first one of equal elements stays.
        let extreme = |best: f32, v: f32| {
            let beats = if self.kind == Kind::Max { v > best } else { v < best };
            if !best.is_nan() && (v.is_nan() || beats) { v } else { best }
        };
        let column = |o: usize| (0..reduce).map(move |r| x[(o / inner * reduce + r) * inner + o % inner]);
        let sum = |terms: &mut dyn Iterator<Item = f64>| terms.fold(0.0, |sum, v| sum + v);
        match self.kind {
            // Sums run in f64, in blocks of rows when there are few outputs and many rows, as in a bias gradient.
            Kind::Sum if outer == 1 && reduce > 64 => {
                let block = 1024;
                let blocks = reduce.div_ceil(block);
                let mut partial = vec![0.0; blocks * inner];
                par::rows(&mut partial, inner, block * inner, |b, sums: &mut [f64]| {
                    for row in x[b * block * inner..].chunks_exact(inner.max(1)).take(block.min(reduce - b * block)) {
                        sums.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v));
                    }
                });
                for (i, y) in y.iter_mut().enumerate() {
                    *y = (sum(&mut partial.iter().skip(i).step_by(inner).copied()) * scale) as f32;
                }
            }
            Kind::Sum => par::map(y, |o| (sum(&mut column(o).map(f64::from)) * scale) as f32),
            Kind::Prod => par::map(y, |o| column(o).map(f64::from).product::<f64>() as f32),
            Kind::Max | Kind::Min => par::map(y, |o| column(o).reduce(extreme).expect("none are refused before")),
        }
    }

    /// In 64 bits, of which the lower 32 are those that wrapping in 32 bits gives.
    fn cpu_integers<T: Element + Into<i64>>(
        &self,
        [_, reduce, inner]: [usize; 3],
        x: &[T],
        y: &mut [T],
        narrow: fn(i64) -> T,
    ) {
        par::map(y, |o| {
            let column = (0..reduce).map(|r| x[(o / inner * reduce + r) * inner + o % inner].into());
            let whole = match self.kind {
                Kind::Sum => column.fold(0, i64::wrapping_add),
                Kind::Prod => column.fold(1, i64::wrapping_mul),
                Kind::Max => column.max().expect("none are refused before"),
                Kind::Min => column.min().expect("none are refused before"),
            };
            if self.mean { narrow(narrow(whole).into() / reduce as i64) } else { narrow(whole) }
        });
    }

    /// One launch: of the input, or of the partial results of another.
    fn launch(&self, gpu: &mut Stream, dtype: DType, x: &GpuBuffer, y: &GpuBuffer, params: Params) {
        let fours = [params.inner, params.x_offset].iter().all(|v| v.is_multiple_of(4));
        let (entry, each) = match dtype {
            DType::F32 if fours && self.kind == Kind::Sum => ("reduce_columns", 4),
            DType::F32 => ("reduce_forward", 1),
            _ => ("reduce_integers", 1),
        };
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &REDUCE, entry, constants: &[("OP", self.kind as u32)] },
            inputs: &[x],
            outputs: &[y],
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(u64::from(params.outputs / each) * u64::from(params.splits), 64),
        });
    }
}

impl Op for Reduce {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sum if self.mean => "mean",
            Kind::Sum => "sum",
            Kind::Max => "max",
            Kind::Min => "min",
            Kind::Prod => "prod",
        }
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(Shape::from([x[0][0], x[0][2]]))
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        Ok(x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (dims, x, y) = (dims(x[0].shape()), &x[0], &mut y[0]);
        match x.dtype {
            DType::I32 => self.cpu_integers::<i32>(dims, x.slice(), y.slice(), |v| v as i32),
            DType::U32 => self.cpu_integers::<u32>(dims, x.slice(), y.slice(), |v| v as u32),
            _ => self.cpu_floats(dims, x.slice(), y.slice()),
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let [outer, reduce, inner] = dims(x[0].shape()).map(|d| d as u32);
        let (outputs, dtype) = (outer * inner, x[0].dtype);
        if reduce == 0 && dtype == DType::F32 {
            let of_none = if self.kind == Kind::Prod { 1.0 } else { 0.0 * self.scale(0) };
            return super::fill::fill_buffer(gpu, y[0].buffer, y[0].len(), of_none);
        }
        // Few outputs leave the device idle: split the reduced axis until there are threads enough.
        let threads = if gpu.wants_software_kernels() { 512 } else { 1 << 15 };
        // And llvmpipe silently ends a kernel after 65,535 rounds of its loops.
        let splits = (threads / outputs.max(1)).clamp(1, reduce.div_ceil(32).max(1)).max(reduce.div_ceil(32_768));
        let chunk = reduce.div_ceil(splits).max(1);
        let splits = reduce.div_ceil(chunk).max(1);
        let whole = Params {
            outputs,
            reduce,
            inner,
            chunk,
            splits,
            x_offset: x[0].offset(),
            scale: self.scale(reduce as usize),
            divisor: if self.mean { reduce } else { 1 },
            sign: if dtype == DType::I32 { 1 << 31 } else { 0 },
            pad: [0; 3],
        };
        if splits == 1 {
            return self.launch(gpu, dtype, x[0].buffer, y[0].buffer, whole);
        }
        let partial = gpu.alloc(u64::from(outputs) * u64::from(splits) * 4, "partial reductions");
        self.launch(gpu, dtype, x[0].buffer, &partial, Params { scale: 1.0, divisor: 1, ..whole });
        let second = Params { reduce: splits, inner: outputs, chunk: splits, splits: 1, x_offset: 0, ..whole };
        self.launch(gpu, dtype, &partial, y[0].buffer, second);
    }

    fn saves(&self) -> Saves {
        match self.kind {
            Kind::Sum => Saves::NOTHING,
            Kind::Prod => Saves::INPUTS,
            Kind::Max | Kind::Min => Saves::INPUTS.and(Saves::OUTPUT),
        }
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let shape = node.input_shape(0);
        let dy = dy.unsqueeze(1);
        let dx = match self.kind {
            Kind::Sum if self.mean => dy.affine(self.scale(shape[1]), 0.0),
            Kind::Sum => dy,
            // The product of the elements before and of those after each one: no division, which zeros would spoil.
            Kind::Prod => {
                let others = |reverse| node.input(0).cumprod_with(1, ScanOptions { exclusive: true, reverse });
                others(false).mul(&others(true)).mul(&dy)
            }
            // Elements that tie for the extreme share its gradient.
            Kind::Max | Kind::Min => {
                let hit = node.input(0).eq(&node.output().unsqueeze(1)).cast(DType::F32);
                let ties = hit.sum_axes(&[1], true);
                hit.mul(&dy.div(&ties))
            }
        };
        vec![Some(dx.broadcast_to(shape))]
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: x[0].len() as u64, bytes: 4 * (x[0].len() + y.len()) as u64 }
    }
}

/// The tensor in a type that the kernels of reductions, scans and sorts read: bytes and conditions as `u32`.
#[track_caller]
pub(super) fn in_words(x: &Tensor) -> Tensor {
    match x.dtype() {
        // The ops refuse `F16`.
        DType::F32 | DType::F16 | DType::I32 | DType::U32 => x.clone(),
        DType::U8 | DType::Bool => x.cast(DType::U32),
    }
}

/// Brings `x` to `(outer, reduce, inner)`, applies `op`, and gives the result its proper shape.
#[track_caller]
pub(super) fn over_axes(x: &Tensor, name: &str, axes: &[isize], keepdims: bool, op: impl Op) -> Tensor {
    let reduced = named_axes(name, x, axes, x.rank());
    let kept: Vec<usize> = (0..x.rank()).filter(|&a| !reduced[a]).collect();
    let gone: Vec<usize> = (0..x.rank()).filter(|&a| reduced[a]).collect();
    let product = |axes: &[usize]| axes.iter().map(|&a| x.shape()[a]).product::<usize>();
    let n = product(&gone);
    // The reduced axes lie side by side when none that is kept is between them.
    let (outer, inner): (Vec<usize>, Vec<usize>) = match gone.first() {
        Some(&first) => kept.iter().partition(|&&a| a < first),
        None => (kept.clone(), Vec::new()),
    };
    let side_by_side = gone.last().is_none_or(|&last| inner.iter().all(|&a| a > last));
    let three = if side_by_side {
        x.reshape([product(&outer), n, product(&inner)])
    } else {
        let order: Vec<isize> = kept.iter().chain(&gone).map(|&a| a as isize).collect();
        x.permute(&order).reshape([product(&kept), n, 1])
    };
    let dims = |a: usize| match reduced[a] {
        true if keepdims => Some(1),
        true => None,
        false => Some(x.shape()[a]),
    };
    apply(op, &[&three]).reshape(&(0..x.rank()).filter_map(dims).collect::<Vec<_>>())
}

/// How many elements a reduction over `axes` makes one of.
#[track_caller]
pub(super) fn count(name: &str, x: &Tensor, axes: &[isize]) -> usize {
    let reduced = named_axes(name, x, axes, x.rank());
    (0..x.rank()).filter(|&a| reduced[a]).map(|a| x.shape()[a]).product()
}

/// Refuses to look for an extreme where there are no elements, unless none is asked for. `instead` is what takes an initial
/// value.
#[track_caller]
pub(super) fn refuse_nothing(name: &str, which: &str, instead: Option<&str>, x: &Tensor, axes: &[isize]) {
    let reduced = named_axes(name, x, axes, x.rank());
    let wanted = (0..x.rank()).filter(|&a| !reduced[a]).all(|a| x.shape()[a] > 0);
    if wanted && x.len() == 0 {
        let error = ShapeError::new(format!("there is no {which} of no elements")).operand("x", x.shape());
        let help = instead.map(|i| format!("`{i}` takes a value for this case"));
        fits(name, Err(help.into_iter().fold(error, ShapeError::help)))
    }
}

#[track_caller]
fn reduce(x: &Tensor, kind: Kind, mean: bool, axes: &[isize], keepdims: bool) -> Tensor {
    let op = Reduce { kind, mean };
    match kind {
        Kind::Sum | Kind::Prod => {}
        Kind::Max => refuse_nothing("max", "largest", Some("max_axes_from"), x, axes),
        Kind::Min => refuse_nothing("min", "smallest", Some("min_axes_from"), x, axes),
    }
    let y = over_axes(&in_words(x), op.name(), axes, keepdims, op);
    // An extreme is one of the elements; sums and products of bytes are larger.
    if matches!(kind, Kind::Max | Kind::Min) { y.cast(x.dtype()) } else { y }
}

#[track_caller]
fn from_initial<T: Element>(x: &Tensor, kind: Kind, axes: &[isize], keepdims: bool, initial: T) -> Tensor {
    let name = Reduce { kind, mean: false }.name();
    assert!(T::DTYPE == x.dtype(), "{name}: the initial value is {}, the tensor {}", T::DTYPE, x.dtype());
    let initial = Tensor::new(&[initial], Shape::scalar(), x.device());
    if count(name, x, axes) == 0 {
        return initial.broadcast_to(x.sum_axes(axes, keepdims).shape());
    }
    let (y, initial) = (in_words(&reduce(x, kind, false, axes, keepdims)), in_words(&initial));
    let y = if kind == Kind::Max { y.maximum(&initial) } else { y.minimum(&initial) };
    y.cast(x.dtype())
}

impl Tensor {
    pub(super) fn all_axes(&self) -> Vec<isize> {
        (0..self.rank() as isize).collect()
    }

    /// The sum of all elements, of rank 0.
    #[track_caller]
    pub fn sum(&self) -> Tensor {
        self.sum_axes(&self.all_axes(), false)
    }

    /// Sums over some axes; 0 of no elements. With `keepdims` the axes stay, with length 1. Sums of integers wrap;
    /// those of bytes and conditions are `u32`, as in all reductions but `max` and `min`.
    ///
    /// # Panics
    /// When an axis is out of range or named twice, here and in the other reductions.
    #[track_caller]
    pub fn sum_axes(&self, axes: &[isize], keepdims: bool) -> Tensor {
        reduce(self, Kind::Sum, false, axes, keepdims)
    }

    /// The mean of all elements, of rank 0; NaN when there are none.
    #[track_caller]
    pub fn mean(&self) -> Tensor {
        self.mean_axes(&self.all_axes(), false)
    }

    /// Means over some axes; NaN of no elements. A mean of integers is an integer, rounded toward zero.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[1.0, 2.0, 3.0, 6.0], [2, 2], &Device::cpu());
    /// assert_eq!(x.mean_axes(&[0], false).to_vec::<f32>().unwrap(), [2.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// When an axis is out of range, or there are no integers.
    #[track_caller]
    pub fn mean_axes(&self, axes: &[isize], keepdims: bool) -> Tensor {
        assert!(
            self.dtype() == DType::F32 || count("mean", self, axes) > 0,
            "mean: there is no mean of no {} elements\n  x: {}",
            self.dtype(),
            self.shape()
        );
        reduce(self, Kind::Sum, true, axes, keepdims)
    }

    /// The product of all elements, of rank 0.
    #[track_caller]
    pub fn prod(&self) -> Tensor {
        self.prod_axes(&self.all_axes(), false)
    }

    /// Products over some axes; 1 of no elements. The gradient is right where elements are 0.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[2.0, 0.0, 3.0], [3], &Device::cpu()).requires_grad();
    /// let gradients = x.prod().backward();
    /// assert_eq!(gradients.get(&x).unwrap().to_vec::<f32>().unwrap(), [0.0, 6.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// When an axis is out of range.
    #[track_caller]
    pub fn prod_axes(&self, axes: &[isize], keepdims: bool) -> Tensor {
        reduce(self, Kind::Prod, false, axes, keepdims)
    }

    /// The largest element, of rank 0. NaN if any is; elements that tie share the gradient.
    #[track_caller]
    pub fn max(&self) -> Tensor {
        self.max_axes(&self.all_axes(), false)
    }

    /// Largest elements over some axes.
    ///
    /// # Panics
    /// When an axis is out of range or there is no element; see [`Tensor::max_axes_from`].
    #[track_caller]
    pub fn max_axes(&self, axes: &[isize], keepdims: bool) -> Tensor {
        reduce(self, Kind::Max, false, axes, keepdims)
    }

    /// Largest of the elements over some axes and of `initial`, which is the result where there are none.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::zeros([2, 0], &Device::cpu());
    /// assert_eq!(x.max_axes_from(&[1], false, f32::NEG_INFINITY).to_vec::<f32>().unwrap(), [f32::NEG_INFINITY; 2]);
    /// ```
    ///
    /// # Panics
    /// When an axis is out of range, or `initial` is of another type than the elements.
    #[track_caller]
    pub fn max_axes_from<T: Element>(&self, axes: &[isize], keepdims: bool, initial: T) -> Tensor {
        from_initial(self, Kind::Max, axes, keepdims, initial)
    }

    /// The smallest element, of rank 0. NaN if any is; elements that tie share the gradient.
    #[track_caller]
    pub fn min(&self) -> Tensor {
        self.min_axes(&self.all_axes(), false)
    }

    /// Smallest elements over some axes.
    ///
    /// # Panics
    /// When an axis is out of range or there is no element; see [`Tensor::min_axes_from`].
    #[track_caller]
    pub fn min_axes(&self, axes: &[isize], keepdims: bool) -> Tensor {
        reduce(self, Kind::Min, false, axes, keepdims)
    }

    /// Smallest of the elements over some axes and of `initial`, which is the result where there are none.
    ///
    /// # Panics
    /// When an axis is out of range, or `initial` is of another type than the elements.
    #[track_caller]
    pub fn min_axes_from<T: Element>(&self, axes: &[isize], keepdims: bool, initial: T) -> Tensor {
        from_initial(self, Kind::Min, axes, keepdims, initial)
    }

    /// Summed over the axes that broadcasting `shape` to this tensor's shape would stretch: what the gradient of a
    /// broadcast operand is.
    ///
    /// # Panics
    /// When `shape` does not broadcast to this shape.
    #[track_caller]
    pub fn sum_to(&self, shape: &Shape) -> Tensor {
        if self.shape() == shape {
            return self.clone();
        }
        assert!(shape.rank() <= self.rank(), "sum_to: {shape} has more axes than {}", self.shape());
        let pad = self.rank() - shape.rank();
        let stretched = (0..self.rank()).filter(|&a| a < pad || (shape[a - pad] == 1 && self.shape()[a] != 1));
        let axes: Vec<isize> = stretched.map(|a| a as isize).collect();
        self.sum_axes(&axes, true).reshape(shape)
    }
}
