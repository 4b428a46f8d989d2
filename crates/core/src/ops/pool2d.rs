//! Means over windows of images: `(N, H, W, C)` becomes `(N, OH, OW, C)`, and `dx = sum over the windows that cover x of
//! dy / divisor`. Also the geometry that all of pooling shares. The methods, for one to three axes, are in `pool.rs`.
//!
//! Backward gathers: each input looks at the windows that cover it, so nothing is added atomically. Where few windows
//! overlap, one thread makes a whole cell of inputs, and loads each window once.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::POOL2D;

use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, apply};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;
use crate::window::{Axis, Padding, Window};

pub(super) static INFO: OpInfo = OpInfo {
    names: &["avg_pool1d", "avg_pool2d", "avg_pool3d"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &POOL2D,
        entries: &["avg_pool2d_forward", "avg_pool2d_backward", "avg_pool2d_backward_cells"],
        headers,
        params_bytes: size_of::<Params>(),
    }],
};

/// Headers that take every path through the shaders of pooling.
pub(super) fn headers() -> Vec<Vec<(&'static str, u32)>> {
    let window = |size, stride, dilation, padding| Window { size: [size; 2], stride: [stride; 2], dilation, padding };
    let geometries = [
        (window(2, 2, [1; 2], Padding::Valid), [2, 4, 6, 8], Divisor::Inside),
        (window(3, 2, [2, 1], Padding::Same), [1, 7, 7, 3], Divisor::Padded),
        (window(3, 3, [1; 2], Padding::Explicit([[1, 0], [2, 2]])), [1, 5, 6, 1], Divisor::One),
    ];
    let header = |(window, shape, divisor): (Window, [usize; 4], Divisor)| {
        let shape = Shape::from(shape);
        let [h, w] = window.over(&shape).expect("these windows fit");
        Geometry::of(&shape, Over { name: "", h, w, planes: 1 }).constants(divisor, true).to_vec()
    };
    geometries.into_iter().map(header).collect()
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct Params {
    threads: u32,
    x_offset: u32,
    dy_offset: u32,
    option: u32,
}

/// The shape that pooling gives an input `(N, H, W, C)`: `(N, OH, OW, C)`.
///
/// # Errors
/// When the input is no image batch or no window fits.
///
/// ```
/// use tilegrad_core::ops::pool2d::pool2d_shape;
/// use tilegrad_core::{Padding, Shape, Window};
/// let halve = Window { size: [2; 2], stride: [2; 2], dilation: [1; 2], padding: Padding::Valid };
/// assert_eq!(pool2d_shape(&Shape::from([1, 28, 28, 32]), &halve).unwrap(), Shape::from([1, 14, 14, 32]));
/// ```
pub fn pool2d_shape(x: &Shape, window: &Window) -> Result<Shape, ShapeError> {
    let [h, w] = window.over(x)?;
    Ok(Shape::from([x[0], h.output, w.output, x[3]]))
}

/// A window resolved for images of known height and width.
#[derive(Clone, Copy, Debug)]
pub(super) struct Over {
    /// The op's name.
    pub(super) name: &'static str,
    pub(super) h: Axis,
    pub(super) w: Axis,
    /// Images that are planes of one larger image, one behind the other: positions count through them.
    pub(super) planes: usize,
}

impl Over {
    pub(super) fn output(&self, x: &Shape) -> Shape {
        Shape::from([x[0], self.h.output, self.w.output, x[3]])
    }

    pub(super) fn input(&self, y: &Shape) -> Shape {
        Shape::from([y[0], self.h.input, self.w.input, y[3]])
    }

    /// The most loop rounds of a thread that goes through a window, or in backward through the windows over an input.
    pub(super) fn rounds(&self) -> usize {
        let cover = |a: &Axis| (a.size - 1) * a.dilation / a.stride + 1;
        (self.h.size * (self.w.size + 1)).max(cover(&self.h) * (cover(&self.w) + 1))
    }
}

/// The same for a batch.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    n: usize,
    pub(super) h: Axis,
    pub(super) w: Axis,
    pub(super) c: usize,
    planes: usize,
}

impl Geometry {
    /// Of any tensor `(N, _, _, C)`: the input or the output.
    pub(super) fn of(x: &Shape, over: Over) -> Geometry {
        Geometry { n: x[0], h: over.h, w: over.w, c: x[3], planes: over.planes }
    }

    pub(super) fn constants(&self, divisor: Divisor, vec: bool) -> [(&'static str, u32); 18] {
        let (h, w) = (self.h, self.w);
        let constants = [
            ("C", self.c),
            ("H", h.input),
            ("W", w.input),
            ("OH", h.output),
            ("OW", w.output),
            ("KH", h.size),
            ("KW", w.size),
            ("SH", h.stride),
            ("SW", w.stride),
            ("DH", h.dilation),
            ("DW", w.dilation),
            ("PT", h.before),
            ("PL", w.before),
            ("PB", h.after),
            ("PR", w.after),
            ("PLANES", self.planes),
            ("DIVISOR", divisor as usize),
            ("VEC", vec as usize),
        ];
        constants.map(|(name, value)| (name, value as u32))
    }

    /// Whether backward can work by cells: windows without holes, few of them over each input, and a cell that one thread
    /// can go through.
    pub(super) fn by_cells(&self) -> bool {
        let (dense, cover) = (|a: &Axis| a.dilation == 1 || a.size == 1, |a: &Axis| a.size.div_ceil(a.stride));
        dense(&self.h)
            && dense(&self.w)
            && cover(&self.h) * cover(&self.w) <= 4
            && self.h.stride * self.w.stride <= 1024
    }

    /// Whether every pixel lies under exactly one window.
    pub(super) fn is_covered(&self) -> bool {
        let along = |a: &Axis| {
            a.size == a.stride && (a.dilation == 1 || a.size == 1) && a.output * a.stride >= a.input + a.before
        };
        along(&self.h) && along(&self.w)
    }

    /// Whether no pixel lies under two windows.
    pub(super) fn is_apart(&self) -> bool {
        let along = |a: &Axis| (a.size - 1) * a.dilation < a.stride;
        along(&self.h) && along(&self.w)
    }

    /// Cells of the stride's size that cover the input and the padding before it.
    pub(super) fn cells(&self) -> usize {
        let along = |a: &Axis| (a.input + a.before).div_ceil(a.stride);
        along(&self.h) * along(&self.w)
    }

    /// The pixels of the image under a window, in order.
    #[inline(always)]
    pub(super) fn pixels(&self, row: usize, column: usize) -> impl Iterator<Item = usize> + use<> {
        let Geometry { h, w, .. } = *self;
        let rows = (0..h.size).filter_map(move |kh| h.tap(row, kh));
        rows.flat_map(move |y| (0..w.size).filter_map(move |kw| w.tap(column, kw)).map(move |x| y * w.input + x))
    }

    /// What the sum over a window is multiplied by; anything for a window of padding only.
    fn weight(&self, row: usize, column: usize, divisor: Divisor) -> f32 {
        let along = |a: &Axis, o: usize| match divisor {
            Divisor::Inside => (0..a.size).filter(|&k| a.tap(o, k).is_some()).count(),
            Divisor::Padded => {
                (0..a.size).filter(|k| o * a.stride + k * a.dilation < a.before + a.input + a.after).count()
            }
            Divisor::One => 1,
        };
        1.0 / (along(&self.h, row) * along(&self.w, column)).max(1) as f32
    }

    /// The position of an image's first pixel.
    pub(super) fn first_position(&self, image: usize) -> usize {
        image % self.planes * self.h.input * self.w.input
    }

    /// Elements of one input image, of one output image, and of one output row.
    pub(super) fn lens(&self) -> [usize; 3] {
        let row = self.w.output * self.c;
        [self.h.input * self.w.input * self.c, self.h.output * row, row]
    }

    /// Threads of a kernel that makes four channels of each of `pixels` pixels of each image.
    fn threads(&self, pixels: usize) -> u32 {
        (self.n * pixels * self.c.div_ceil(4)) as u32
    }

    pub(super) fn launch(
        &self,
        gpu: &mut Stream,
        entry: &'static str,
        pixels: usize,
        (divisor, option): (Divisor, u32),
        x: &[GpuView<'_>],
        y: &[&GpuBuffer],
    ) {
        let vec = self.c.is_multiple_of(4) && x.iter().all(|x| x.offset().is_multiple_of(4));
        let (threads, dy_offset) = (self.threads(pixels), x.get(1).map_or(0, |dy| dy.offset()));
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &POOL2D, entry, constants: &self.constants(divisor, vec) },
            inputs: &x.iter().map(|x| x.buffer).collect::<Vec<_>>(),
            outputs: y,
            params: bytemuck::bytes_of(&Params { threads, x_offset: x[0].offset(), dy_offset, option }),
            workgroups: fold_workgroups(threads.into(), 64),
        });
    }

    pub(super) fn cost(&self, words: usize) -> Cost {
        let taps = self.n * self.h.output * self.w.output * self.c * self.h.size * self.w.size;
        Cost { flops: taps as u64, bytes: 4 * words as u64 }
    }
}

/// What a mean divides its sum by. The number is the shader's `DIVISOR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Divisor {
    /// The taps in the image, as in Keras.
    Inside,
    /// The taps in the padded image: padding counts as zeros. What reaches past it, in ceil mode, does not count.
    Padded,
    /// Nothing: a sum.
    One,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct AvgPool {
    pub(super) over: Over,
    pub(super) divisor: Divisor,
}

impl Op for AvgPool {
    fn name(&self) -> &'static str {
        self.over.name
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(self.over.output(x[0]))
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let g = Geometry::of(x[0].shape(), self.over);
        let ([image, _, row], x) = (g.lens(), x[0].slice::<f32>());
        par::rows(y[0].slice(), row, row * g.h.size * g.w.size, |index, y: &mut [f32]| {
            let (x, row) = (&x[index / g.h.output * image..], index % g.h.output);
            y.fill(0.0);
            for (column, y) in y.chunks_mut(g.c).enumerate() {
                for pixel in g.pixels(row, column) {
                    y.iter_mut().zip(&x[pixel * g.c..]).for_each(|(y, v)| *y += v);
                }
                let weight = g.weight(row, column, self.divisor);
                y.iter_mut().for_each(|y| *y *= weight);
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let g = Geometry::of(x[0].shape(), self.over);
        g.launch(gpu, "avg_pool2d_forward", g.h.output * g.w.output, (self.divisor, 0), x, &[y[0].buffer]);
    }

    fn backward(&self, _: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(apply(AvgPoolBackward(*self), &[dy]))]
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        Geometry::of(x[0], self.over).cost(x[0].len() + y.len())
    }
}

/// `dx` from `dy`.
#[derive(Debug)]
pub(super) struct AvgPoolBackward(pub(super) AvgPool);

impl Op for AvgPoolBackward {
    fn name(&self) -> &'static str {
        "avg_pool_backward"
    }

    fn infer(&self, dy: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(self.0.over.input(dy[0]))
    }

    fn cpu(&self, dy: &[CpuView<'_>], dx: &mut [CpuViewMut<'_>]) {
        let g = Geometry::of(dy[0].shape(), self.0.over);
        let ([image, out, _], dy) = (g.lens(), dy[0].slice::<f32>());
        par::rows(dx[0].slice(), image, image, |n, dx: &mut [f32]| {
            dx.fill(0.0);
            for window in 0..g.h.output * g.w.output {
                let (row, column) = (window / g.w.output, window % g.w.output);
                let (dy, weight) = (&dy[n * out + window * g.c..], g.weight(row, column, self.0.divisor));
                for pixel in g.pixels(row, column) {
                    dx[pixel * g.c..][..g.c].iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy * weight);
                }
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, dy: &[GpuView<'_>], dx: &[GpuView<'_>]) {
        let g = Geometry::of(dy[0].shape(), self.0.over);
        let (entry, pixels) = if g.by_cells() {
            ("avg_pool2d_backward_cells", g.cells())
        } else {
            ("avg_pool2d_backward", g.h.input * g.w.input)
        };
        g.launch(gpu, entry, pixels, (self.0.divisor, 0), dy, &[dx[0].buffer]);
    }

    /// The adjoint of the adjoint is the mean itself.
    fn backward(&self, _: &Node, ddx: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(apply(self.0, &[ddx]))]
    }

    fn cost(&self, dy: &[&Shape], dx: &Shape) -> Cost {
        Geometry::of(dx, self.0.over).cost(dy[0].len() + dx.len())
    }
}
