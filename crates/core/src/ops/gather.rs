//! Rows by index: `y[k] = x[index[k]]`, batches of images from a data set of bytes, and one-hot rows.
//!
//! The gradient adds `dy[k]` to row `index[k]`. It is written as a gather too (each row looks through the index), so that
//! additions have a fixed order: the cost is rows times picks, for tables of some thousand rows.
//!
//! An index past the last row reads nothing: its row is NaN, or zeros for integers.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::GATHER;

use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::{DType, Element};
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply, apply_all};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["gather_rows", "gather_images", "gather_batch", "one_hot"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &GATHER,
        entries: &[
            "gather_words",
            "gather_bytes",
            "gather_images",
            "gather_images_bytes",
            "gather_batch",
            "gather_rows_backward",
            "one_hot",
        ],
        headers: || vec![vec![("WORDS", 1)], vec![("WORDS", 196)]],
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct Params {
    len: u32,
    row: u32,
    rows: u32,
    picks: u32,
    x_offset: u32,
    index_offset: u32,
    fill: u32,
    scale: f32,
}

fn launch(
    gpu: &mut Stream,
    entry: &'static str,
    words: u32,
    params: Params,
    threads: u32,
    x: &[GpuView<'_>],
    y: &[&GpuView<'_>],
) {
    gpu.dispatch(Dispatch {
        kernel: Kernel { shader: &GATHER, entry, constants: &[("WORDS", words)] },
        inputs: &x.iter().map(|x| x.buffer).collect::<Vec<_>>(),
        outputs: &y.iter().map(|y| y.buffer).collect::<Vec<_>>(),
        params: bytemuck::bytes_of(&params),
        workgroups: fold_workgroups(threads.into(), 64),
    });
}

/// The shape of `x[index]`: the index's length in place of the first axis.
fn infer(x: &Shape, index: &Shape) -> Result<Shape, ShapeError> {
    let shape = match (x.rank(), index.rank()) {
        (0, _) => Err(ShapeError::new("a scalar has no rows")),
        (_, 1) => Shape::try_new(&[index, &x[1..]].concat()),
        (_, rank) => Err(ShapeError::new(format!("the index has {rank} axes, expected 1"))),
    };
    shape.map_err(|error| error.operand("x", x).operand("index", index))
}

fn index_dtype(index: DType) -> Result<(), ShapeError> {
    if index == DType::U32 { Ok(()) } else { Err(ShapeError::new(format!("the index is {index}, expected u32"))) }
}

/// Elements in a row of `(rows, ..)`.
fn row_len(x: &Shape) -> usize {
    x[1..].iter().product()
}

#[derive(Debug)]
struct GatherRows;

impl GatherRows {
    fn copy<T: Element + Pod>(x: &CpuView<'_>, index: &[u32], y: &mut CpuViewMut<'_>, fill: T) {
        let (rows, row, x) = (x.shape()[0], row_len(x.shape()), x.slice::<T>());
        par::rows(y.slice::<T>(), row, row, |k, y: &mut [T]| match index[k] as usize {
            from if from < rows => y.copy_from_slice(&x[from * row..][..row]),
            _ => y.fill(fill),
        });
    }
}

impl Op for GatherRows {
    fn name(&self) -> &'static str {
        "gather_rows"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        infer(x[0], x[1])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        index_dtype(x[1]).map(|()| x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let index = x[1].slice::<u32>();
        match x[0].dtype {
            DType::F32 => GatherRows::copy(&x[0], index, &mut y[0], f32::NAN),
            DType::I32 => GatherRows::copy(&x[0], index, &mut y[0], 0i32),
            DType::U32 => GatherRows::copy(&x[0], index, &mut y[0], 0u32),
            DType::U8 | DType::Bool => GatherRows::copy(&x[0], index, &mut y[0], 0u8),
            DType::F16 => unreachable!("refused before"),
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let fill = if x[0].dtype == DType::F32 { f32::NAN.to_bits() } else { 0 };
        let params = Params {
            len: y[0].len(),
            row: row_len(x[0].shape()) as u32,
            rows: x[0].shape()[0] as u32,
            picks: x[1].len(),
            x_offset: x[0].offset(),
            index_offset: x[1].offset(),
            fill,
            ..Params::default()
        };
        if x[0].dtype.size() == 4 {
            return launch(gpu, "gather_words", 1, params, params.len, x, &[&y[0]]);
        }
        if [params.row, params.x_offset].iter().all(|v| v.is_multiple_of(4)) {
            // Rows of whole words: four bytes at a time.
            let by_words = |v: u32| v / 4;
            let Params { len, row, x_offset, .. } = params;
            let params = Params { len: by_words(len), row: by_words(row), x_offset: by_words(x_offset), ..params };
            return launch(gpu, "gather_words", 1, params, params.len, x, &[&y[0]]);
        }
        launch(gpu, "gather_bytes", 1, params, params.len.div_ceil(4), x, &[&y[0]]);
    }

    fn saves(&self) -> Saves {
        Saves::input(1)
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(apply(GatherRowsBackward { x: *node.input_shape(0) }, &[dy, node.input(1)])), None]
    }

    fn cost(&self, _: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: 0, bytes: 8 * y.len() as u64 }
    }
}

/// Picks that one launch of the gradient goes through: llvmpipe silently ends a kernel after 65,535 rounds of its loops.
const PICKS_A_LAUNCH: u32 = 1 << 15;

/// `dx` from `dy` and the index.
#[derive(Debug)]
struct GatherRowsBackward {
    x: Shape,
}

impl Op for GatherRowsBackward {
    fn name(&self) -> &'static str {
        "gather_rows_backward"
    }

    fn infer(&self, _: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(self.x)
    }

    fn dtype(&self, _: &[DType]) -> Result<DType, ShapeError> {
        Ok(DType::F32)
    }

    fn cpu(&self, x: &[CpuView<'_>], dx: &mut [CpuViewMut<'_>]) {
        let (row, dy, dx) = (row_len(&self.x), x[0].slice::<f32>(), dx[0].slice::<f32>());
        dx.fill(0.0);
        for (k, &r) in x[1].slice::<u32>().iter().enumerate().filter(|(_, r)| (**r as usize) < self.x[0]) {
            let dx = &mut dx[r as usize * row..][..row];
            dx.iter_mut().zip(&dy[k * row..]).for_each(|(dx, dy)| *dx += dy);
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], dx: &[GpuView<'_>]) {
        let (row, picks) = (row_len(&self.x) as u32, x[1].len());
        // An empty index has a launch too, for the zeros.
        for first in (0..picks.max(1)).step_by(PICKS_A_LAUNCH as usize) {
            let params = Params {
                len: dx[0].len(),
                row,
                rows: self.x[0] as u32,
                picks: (picks - first).min(PICKS_A_LAUNCH),
                x_offset: x[0].offset() + first * row,
                index_offset: x[1].offset() + first,
                fill: u32::from(first > 0),
                ..Params::default()
            };
            launch(gpu, "gather_rows_backward", 1, params, params.len, x, &[&dx[0]]);
        }
    }

    fn saves(&self) -> Saves {
        Saves::input(1)
    }

    fn backward(&self, node: &Node, ddx: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(apply(GatherRows, &[ddx, node.input(1)])), None]
    }
}

/// Rows of bytes as numbers: `y[k] = scale * x[index[k]]`.
#[derive(Debug)]
struct GatherImages {
    scale: f32,
}

impl GatherImages {
    fn params(&self, x: &[GpuView<'_>], y: &GpuView<'_>) -> Params {
        Params {
            len: y.len(),
            row: row_len(x[0].shape()) as u32,
            rows: x[0].shape()[0] as u32,
            picks: x[1].len(),
            x_offset: x[0].offset(),
            index_offset: x[1].offset(),
            fill: f32::NAN.to_bits(),
            scale: self.scale,
        }
    }
}

impl Op for GatherImages {
    fn name(&self) -> &'static str {
        "gather_images"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        infer(x[0], x[1])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        index_dtype(x[1])?;
        match x[0] {
            DType::U8 => Ok(DType::F32),
            other => Err(ShapeError::new(format!("images are {other}, expected u8")).help("use gather_rows")),
        }
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (rows, row, index) = (x[0].shape()[0], row_len(x[0].shape()), x[1].slice::<u32>());
        let x = x[0].slice::<u8>();
        par::rows(y[0].slice(), row, row, |k, y: &mut [f32]| match index[k] as usize {
            from if from < rows => {
                y.iter_mut().zip(&x[from * row..]).for_each(|(y, v)| *y = f32::from(*v) * self.scale);
            }
            _ => y.fill(f32::NAN),
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let params = self.params(x, &y[0]);
        if [params.row, params.x_offset].iter().all(|v| v.is_multiple_of(4)) {
            launch(gpu, "gather_images", params.row / 4, params, params.len / 4, x, &[&y[0]]);
        } else {
            launch(gpu, "gather_images_bytes", 1, params, params.len, x, &[&y[0]]);
        }
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }

    fn cost(&self, _: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: y.len() as u64, bytes: 5 * y.len() as u64 }
    }
}

/// [`GatherImages`] of images in whole words, and the labels `u32` of the same picks: inputs `x`, `index`, `labels`.
#[derive(Debug)]
struct GatherBatch(GatherImages);

impl Op for GatherBatch {
    fn name(&self) -> &'static str {
        "gather_batch"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        self.0.infer(x)
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        self.0.dtype(x)
    }

    fn aux(&self, x: &[&Shape]) -> Vec<(Shape, DType)> {
        vec![(*x[1], DType::U32)]
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        self.0.cpu(x, y);
        GatherRows::copy(&x[2], x[1].slice::<u32>(), &mut y[1], 0u32);
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let params = self.0.params(x, &y[0]);
        let words = params.row / 4;
        // Where an image has pixels in words, its length is a constant: the place tells where the labels begin.
        let params = Params { row: x[2].offset(), ..params };
        launch(gpu, "gather_batch", words, params, params.len / 4, x, &[&y[0], &y[1]]);
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        self.0.cost(x, y)
    }
}

#[derive(Debug)]
struct OneHot {
    classes: usize,
}

impl Op for OneHot {
    fn name(&self) -> &'static str {
        "one_hot"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        if x[0].rank() == crate::MAX_RANK {
            return Err(ShapeError::new("there is no room for one more axis").operand("labels", x[0]));
        }
        Shape::try_new(&[x[0].dims(), &[self.classes]].concat()).map_err(|error| error.operand("labels", x[0]))
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        match x[0] {
            DType::U32 => Ok(DType::F32),
            other => Err(ShapeError::new(format!("labels are {other}, expected u32"))),
        }
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let labels = x[0].slice::<u32>();
        par::rows(y[0].slice(), self.classes, self.classes, |k, y: &mut [f32]| {
            y.fill(0.0);
            if let Some(y) = y.get_mut(labels[k] as usize) {
                *y = 1.0;
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let (len, row, x_offset) = (y[0].len(), self.classes as u32, x[0].offset());
        launch(gpu, "one_hot", 1, Params { len, row, x_offset, ..Params::default() }, len, x, &[&y[0]]);
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }
}

impl Tensor {
    /// Rows `(n, ..)` of a tensor `(rows, ..)` of any type, by an index `(n)` of type `u32`. An index past the last row
    /// gives a row of NaN, or of zeros for integers.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let x = Tensor::new(&[1.0, 2.0, 3.0, 4.0], [2, 2], &d);
    /// let y = x.gather_rows(&Tensor::new(&[1u32, 0, 1], [3], &d));
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// When the index has not one axis or not type `u32`.
    #[track_caller]
    pub fn gather_rows(&self, index: &Tensor) -> Tensor {
        apply(GatherRows, &[self, index])
    }

    /// A batch `(n, ..)` of `f32` images, `scale` times those that an index `(n)` picks from a data set `(N, ..)` of `u8`.
    /// One pass over the data: the bytes stay packed on the device. An index past the last image gives NaN.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let images = Tensor::new(&[0u8, 255, 51, 102], [2, 2], &d);
    /// let batch = images.gather_images(&Tensor::new(&[1u32], [1], &d), 0.5);
    /// assert_eq!(batch.to_vec::<f32>().unwrap(), [25.5, 51.0]);
    /// ```
    ///
    /// # Panics
    /// When the images are not `u8`, or the index has not one axis or not type `u32`.
    #[track_caller]
    pub fn gather_images(&self, index: &Tensor, scale: f32) -> Tensor {
        apply(GatherImages { scale }, &[self, index])
    }

    /// [`Tensor::gather_images`], and the labels of the same examples: `u32 (n)` of labels `u32 (N)`. On a GPU one launch makes
    /// both if an image has a multiple of four bytes. An index past the last image gives label 0.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let (images, labels) = (Tensor::new(&[0u8, 255, 51, 102], [2, 2], &d), Tensor::new(&[7u32, 9], [2], &d));
    /// let (x, y) = images.gather_batch(&labels, &Tensor::new(&[1u32], [1], &d), 0.5);
    /// assert_eq!((x.to_vec::<f32>().unwrap(), y.to_vec::<u32>().unwrap()), (vec![25.5, 51.0], vec![9]));
    /// ```
    ///
    /// # Panics
    /// As [`Tensor::gather_images`]; and when there is not one label an image, of type `u32`.
    #[track_caller]
    pub fn gather_batch(&self, labels: &Tensor, index: &Tensor, scale: f32) -> (Tensor, Tensor) {
        if labels.rank() != 1 || labels.shape().first() != self.shape().first() || labels.dtype() != DType::U32 {
            let error = ShapeError::new(format!("labels are {}, expected one u32 an image", labels.dtype()));
            panic!("{}", error.operand("images", self.shape()).operand("labels", labels.shape()).of("gather_batch"));
        }
        let in_words = self.rank() > 0
            && row_len(self.shape()).is_multiple_of(4)
            && row_len(self.shape()) > 0
            && self.layout().offset.is_multiple_of(4);
        if !in_words {
            return (self.gather_images(index, scale), labels.gather_rows(index));
        }
        let (x, mut y) = apply_all(GatherBatch(GatherImages { scale }), &[self, index, labels]);
        (x, y.remove(0))
    }

    /// Labels of type `u32` as rows of `classes` numbers: 1 at the label, else 0. A label that is no class gives zeros.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let labels = Tensor::new(&[2u32, 0], [2], &Device::cpu());
    /// assert_eq!(labels.one_hot(3).to_vec::<f32>().unwrap(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// When the labels are not `u32`.
    #[track_caller]
    pub fn one_hot(&self, classes: usize) -> Tensor {
        apply(OneHot { classes }, &[self])
    }
}
