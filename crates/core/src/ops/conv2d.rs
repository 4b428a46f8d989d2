//! Convolution over images `(N, H, W, C)` with kernels `(KH, KW, C/groups, O)`:
//!
//! `y[n, oy, ox, o] = act(sum over kh, kw, c of x[n, iy, ix, c] w[kh, kw, c, o] + bias[o])` with
//! `iy = oy*stride - top + kh*dilation` and `ix` likewise.
//!
//! Backward is two ops of their own, each linear in both of its inputs, so that their derivatives are convolutions again:
//! `DataGradient` `dx` from `dz, w` and `WeightGradient` `dw`, perhaps with `dbias`, from `x, dz`, with `dz = dy * act'`.
//! The GPU's kernels are in `conv2d_gpu.rs`; on the CPU each is im2col and a matrix product, block by block.

use rayon::prelude::*;

use super::conv_options::{Conv2dOptions, conv_shape, windows};
use super::conv2d_gpu as kernels;
use super::gemm::{check_epilogue, finish_block, finish_tensor};
use crate::cpu::gemm::{Mat, add_column_sums, gemm};
use crate::cpu::im2col::Columns;
use crate::gpu::Stream;
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply, fits};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;
use crate::window::Axis;

pub(super) use super::conv2d_gpu::INFO;

/// A convolution with all sizes resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) batch: usize,
    pub(super) h: Axis,
    pub(super) w: Axis,
    /// Channels in and out.
    pub(super) c: usize,
    pub(super) o: usize,
    pub(super) groups: usize,
}

impl Geometry {
    pub(super) fn new(x: &Shape, w: &Shape, options: &Conv2dOptions) -> Result<Geometry, ShapeError> {
        let [h, width] = windows(x, w, options)?;
        Ok(Geometry { batch: x[0], h, w: width, c: x[3], o: w[3], groups: options.groups })
    }

    pub(super) fn x(&self) -> Shape {
        Shape::from([self.batch, self.h.input, self.w.input, self.c])
    }

    pub(super) fn y(&self) -> Shape {
        Shape::from([self.batch, self.h.output, self.w.output, self.o])
    }

    pub(super) fn kernel(&self) -> Shape {
        Shape::from([self.h.size, self.w.size, self.c / self.groups, self.o])
    }

    /// Positions of the output over the whole batch.
    pub(super) fn pixels(&self) -> usize {
        self.batch * self.h.output * self.w.output
    }

    /// Elements that one output sums up: kernel positions times channels of a group.
    pub(super) fn depth(&self) -> usize {
        self.h.size * self.w.size * self.c / self.groups
    }

    fn columns(&self, group: usize) -> Columns {
        let width = self.c / self.groups;
        Columns { axes: [self.h, self.w], channels: self.c, first: group * width, group: width }
    }

    /// Output rows `(n, oy)`.
    fn rows(&self) -> usize {
        self.batch * self.h.output
    }

    /// A group's weights as a matrix `(depth, O/groups)`.
    fn weights<'a>(&self, w: &'a [f32], group: usize) -> Mat<'a> {
        Mat { data: &w[(group * self.o / self.groups).min(w.len())..], row_stride: self.o, col_stride: 1 }
    }

    /// A group's channels of a block of `y` as a matrix `(pixels, O/groups)`.
    fn outputs<'a>(&self, y: &'a [f32], group: usize) -> Mat<'a> {
        Mat { data: &y[group * self.o / self.groups..], row_stride: self.o, col_stride: 1 }
    }

    fn cost(&self) -> Cost {
        let elements = self.x().len() + self.y().len() + self.kernel().len();
        Cost { flops: 2 * (self.pixels() * self.o * self.depth()) as u64, bytes: 4 * elements as u64 }
    }
}

/// Inputs `x`, `w`, and perhaps `bias (O)`.
#[derive(Debug)]
struct Conv2d(Conv2dOptions);

/// What the three ops share in how they run: everything but the activation.
fn plain(options: &Conv2dOptions) -> Conv2dOptions {
    Conv2dOptions { activation: None, ..*options }
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Geometry::new(x[0], x[1], &self.0).map(|g| g.y())
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let g = Geometry::new(x[0].shape(), x[1].shape(), &self.0).expect("inferred before");
        let (x, w, bias) = (x[0].slice::<f32>(), x[1].slice::<f32>(), x.get(2).map(|b| b.slice::<f32>()));
        let (y, row) = (y[0].slice::<f32>(), g.w.output * g.o);
        if y.is_empty() {
            return;
        }
        let block = g.columns(0).block();
        y.par_chunks_mut(block * row).enumerate().for_each_init(Vec::new, |columns, (i, y)| {
            let rows = i * block..i * block + y.len() / row;
            let pixels = y.len() / g.o;
            columns.resize(pixels * g.depth(), 0.0);
            for group in 0..g.groups {
                g.columns(group).gather(x, rows.clone(), columns);
                let size = [pixels, g.o / g.groups, g.depth()];
                let y = &mut y[group * g.o / g.groups..];
                gemm(y, g.o, size, Mat::rows(columns, g.depth()), g.weights(w, group), false, false);
            }
            finish_block(y, g.o, bias, self.0.activation);
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let g = Geometry::new(x[0].shape(), x[1].shape(), &self.0).expect("inferred before");
        kernels::forward(gpu, &g, &self.0, x, &y[0]);
    }

    fn saves(&self) -> Saves {
        let operands = Saves::input(0).and(Saves::input(1));
        if self.0.activation.is_some() { operands.and(Saves::OUTPUT) } else { operands }
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let dz = match self.0.activation {
            Some(activation) => activation.derivative(&node.output(), dy),
            None => dy.clone(),
        };
        let (options, x, w) = (plain(&self.0), node.input(0), node.input(1));
        let dx = node.needs(0).then(|| data_gradient(*x.shape(), options, &dz, w));
        let w = *w.shape();
        let (dw, dbias) = match (node.needs(1), node.inputs() == 3 && node.needs(2)) {
            (true, true) => {
                let (dw, dbias) = parted(&apply(WeightGradient { w, options, bias: true }, &[x, &dz]), w);
                (Some(dw), Some(dbias))
            }
            (true, false) => (Some(weight_gradient(w, options, x, &dz)), None),
            (false, wanted) => (None, wanted.then(|| dz.sum_axes(&[0, 1, 2], false))),
        };
        [dx, dw, dbias].into_iter().take(node.inputs()).collect()
    }

    fn cost(&self, x: &[&Shape], _: &Shape) -> Cost {
        Geometry::new(x[0], x[1], &self.0).map(|g| g.cost()).unwrap_or_default()
    }
}

/// The gradient of the images: inputs `dz` (the output's shape) and `w`, output `dx`. It is the convolution of `dz`, spread
/// by the strides, with the kernel turned round; what lies between and around is zero. As anywhere else, zero times an
/// infinite weight is NaN.
#[derive(Debug)]
pub(super) struct DataGradient {
    pub(super) name: &'static str,
    pub(super) x: Shape,
    pub(super) options: Conv2dOptions,
}

fn data_gradient(x: Shape, options: Conv2dOptions, dz: &Tensor, w: &Tensor) -> Tensor {
    apply(DataGradient { name: "conv2d_data_gradient", x, options }, &[dz, w])
}

impl DataGradient {
    fn geometry(&self, w: &Shape) -> Geometry {
        Geometry::new(&self.x, w, &self.options).expect("forward had these shapes")
    }
}

/// Elements of an image's gradient that are NaN because a weight that is not finite meets a zero, between two strides or
/// beyond the outputs. None, unless a weight is infinite or NaN.
fn meetings_with_zeros(g: &Geometry, w: &[f32]) -> Vec<usize> {
    let meets = |a: &Axis, i: usize, tap: usize| {
        let at = (i + a.before).checked_sub(tap * a.dilation);
        !at.is_some_and(|at| at.is_multiple_of(a.stride) && at / a.stride < a.output)
    };
    let (of_group, width) = (g.c / g.groups, g.o / g.groups);
    let mut places = Vec::new();
    // A tap's weights of one input channel, for all output channels of its group: each place is found once.
    let weights = w.chunks(width.max(1)).enumerate();
    for (at, _) in weights.filter(|(_, weights)| weights.iter().any(|w| !w.is_finite())) {
        let (row, group) = (at / g.groups, at % g.groups);
        let (tap, channel) = (row / of_group, group * of_group + row % of_group);
        for y in 0..g.h.input {
            let zero = meets(&g.h, y, tap / g.w.size);
            let columns = (0..g.w.input).filter(|&x| zero || meets(&g.w, x, tap % g.w.size));
            places.extend(columns.map(|x| (y * g.w.input + x) * g.c + channel));
        }
    }
    places
}

impl Op for DataGradient {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, _: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(self.x)
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let g = self.geometry(x[1].shape());
        let (dz, w, dx) = (x[0].slice::<f32>(), x[1].slice::<f32>(), y[0].slice::<f32>());
        let (image, output_row) = (g.h.input * g.w.input * g.c, g.w.output * g.o);
        if dx.is_empty() {
            return;
        }
        let zero_times = meetings_with_zeros(&g, w);
        // Windows overlap, so an image is one thread's; blocks of its rows keep the columns in the cache.
        dx.par_chunks_mut(image).enumerate().for_each_init(Vec::new, |columns, (n, dx)| {
            dx.fill(0.0);
            let block = g.columns(0).block().min(g.h.output);
            for first in (0..g.h.output).step_by(block) {
                let rows = n * g.h.output + first..n * g.h.output + (first + block).min(g.h.output);
                let pixels = rows.len() * g.w.output;
                columns.resize(pixels * g.depth(), 0.0);
                for group in 0..g.groups {
                    let dz = g.outputs(&dz[rows.start * output_row..], group);
                    let w = g.weights(w, group);
                    let turned = Mat { row_stride: w.col_stride, col_stride: w.row_stride, ..w };
                    gemm(columns, g.depth(), [pixels, g.depth(), g.o / g.groups], dz, turned, false, false);
                    g.columns(group).scatter(columns, rows.clone(), dx);
                }
            }
            zero_times.iter().for_each(|&at| dx[at] = f32::NAN);
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        kernels::data_gradient(gpu, &self.geometry(x[1].shape()), &self.options, x, &y[0]);
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn backward(&self, node: &Node, ddx: &Tensor) -> Vec<Option<Tensor>> {
        let (dz, w, options) = (node.input(0), node.input(1), self.options);
        vec![
            node.needs(0).then(|| apply(Conv2d(options), &[ddx, w])),
            node.needs(1).then(|| weight_gradient(*w.shape(), options, ddx, dz)),
        ]
    }

    fn cost(&self, x: &[&Shape], _: &Shape) -> Cost {
        self.geometry(x[1]).cost()
    }
}

/// The gradient of the weights: inputs `x` and `dz` (the output's shape), output `dw`.
///
/// With `bias` the output is a matrix `(KH*KW*C/groups + 1, O)`, whose last row is the bias's gradient: the sum of `dz` over
/// the pixels, which the product goes through anyway. A kernel of its own would read `dz` once more.
#[derive(Debug)]
struct WeightGradient {
    w: Shape,
    options: Conv2dOptions,
    bias: bool,
}

fn weight_gradient(w: Shape, options: Conv2dOptions, x: &Tensor, dz: &Tensor) -> Tensor {
    apply(WeightGradient { w, options, bias: false }, &[x, dz])
}

/// `dw` and `dbias`, views of the one matrix that holds them.
fn parted(both: &Tensor, w: Shape) -> (Tensor, Tensor) {
    let depth = both.shape()[0] - 1;
    (both.slice(&[0..depth]).reshape(w), both.slice(&[depth..depth + 1]).reshape([w[3]]))
}

impl WeightGradient {
    fn geometry(&self, x: &Shape) -> Geometry {
        Geometry::new(x, &self.w, &self.options).expect("forward had these shapes")
    }
}

impl Op for WeightGradient {
    fn name(&self) -> &'static str {
        "conv2d_weight_gradient"
    }

    fn infer(&self, _: &[&Shape]) -> Result<Shape, ShapeError> {
        let [kh, kw, c, o] = self.w[..] else { unreachable!("kernels have four axes") };
        Ok(if self.bias { Shape::from([kh * kw * c + 1, o]) } else { self.w })
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let g = self.geometry(x[0].shape());
        let (x, dz, dw) = (x[0].slice::<f32>(), x[1].slice::<f32>(), y[0].slice::<f32>());
        let output_row = g.w.output * g.o;
        // A fixed number of partial sums, whatever the number of threads, so that results don't depend on it.
        let parts = g.rows().clamp(1, 8);
        let per_part = g.rows().div_ceil(parts);
        let partials: Vec<Vec<f32>> = (0..parts)
            .into_par_iter()
            .map(|part| {
                let (mut sum, mut columns) = (vec![0.0; dw.len()], Vec::new());
                let end = ((part + 1) * per_part).min(g.rows());
                let block = g.columns(0).block();
                for first in (part * per_part..end).step_by(block) {
                    let rows = first..(first + block).min(end);
                    let pixels = rows.len() * g.w.output;
                    columns.resize(pixels * g.depth(), 0.0);
                    for group in 0..g.groups {
                        g.columns(group).gather(x, rows.clone(), &mut columns);
                        let dz = g.outputs(&dz[rows.start * output_row..], group);
                        let turned = Mat::transposed(&columns, g.depth());
                        let sum = &mut sum[group * g.o / g.groups..];
                        gemm(sum, g.o, [g.depth(), g.o / g.groups, pixels], turned, dz, true, false);
                    }
                    if self.bias {
                        let dz = Mat::rows(&dz[rows.start * output_row..], g.o);
                        add_column_sums(&mut sum[g.depth() * g.o..], dz, pixels);
                    }
                }
                sum
            })
            .collect();
        dw.fill(0.0);
        for partial in &partials {
            dw.iter_mut().zip(partial).for_each(|(dw, p)| *dw += p);
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        kernels::weight_gradient(gpu, &self.geometry(x[0].shape()), &self.options, self.bias, x, &y[0]);
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn backward(&self, node: &Node, ddw: &Tensor) -> Vec<Option<Tensor>> {
        let (x, dz, options) = (node.input(0), node.input(1), self.options);
        if !self.bias {
            return vec![
                node.needs(0).then(|| data_gradient(*x.shape(), options, dz, ddw)),
                node.needs(1).then(|| apply(Conv2d(options), &[x, ddw])),
            ];
        }
        let (ddw, ddbias) = parted(ddw, self.w);
        vec![
            node.needs(0).then(|| data_gradient(*x.shape(), options, dz, &ddw)),
            node.needs(1).then(|| apply(Conv2d(options), &[x, &ddw, &ddbias])),
        ]
    }

    fn cost(&self, x: &[&Shape], _: &Shape) -> Cost {
        self.geometry(x[0]).cost()
    }
}

impl Tensor {
    /// Convolves images `(N, H, W, C)` with kernels `(KH, KW, C/groups, O)`, adds `bias (O)` and applies the activation:
    /// `(N, OH, OW, O)`.
    ///
    /// ```
    /// use tilegrad_core::{Conv2dOptions, Device, Padding, Tensor};
    /// let d = Device::cpu();
    /// let image = Tensor::ones([1, 3, 3, 1], &d);
    /// let edge = Tensor::new(&[-1., -1., -1., -1., 8., -1., -1., -1., -1.], [3, 3, 1, 1], &d);
    /// let same = Conv2dOptions { padding: Padding::Same, ..Conv2dOptions::default() };
    /// let y = image.conv2d(&edge, None, &same).to_vec::<f32>().unwrap();
    /// assert_eq!(y, [5., 3., 5., 3., 0., 3., 5., 3., 5.]);
    /// ```
    ///
    /// # Panics
    /// When the shapes don't fit (see [`conv_shape`]), or the activation can't be fused.
    #[track_caller]
    pub fn conv2d(&self, w: &Tensor, bias: Option<&Tensor>, options: &Conv2dOptions) -> Tensor {
        fits("conv2d", conv_shape(self.shape(), w.shape(), options));
        check_epilogue("conv2d", w.shape()[3], bias, options.activation);
        match bias {
            // Empty sums leave only bias and activation, which no product then runs.
            _ if w.shape()[2] == 0 => {
                finish_tensor(apply(Conv2d(plain(options)), &[self, w]), bias, options.activation)
            }
            Some(bias) => apply(Conv2d(*options), &[self, w, bias]),
            None => apply(Conv2d(*options), &[self, w]),
        }
    }
}
