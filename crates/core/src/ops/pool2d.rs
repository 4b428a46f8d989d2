//! Pooling: each window of an image `(N, H, W, C)` becomes one element of `(N, OH, OW, C)`, its largest or its mean.
//!
//! Max: padding is minus infinity, NaN passes, and of equal elements the first wins. Forward notes the winner's tap, and
//! backward gives it `dy`. Mean: `dx = sum over the windows that cover x of dy / taps`, where padding is no tap.
//!
//! Backward gathers: each input looks at the windows that cover it, so nothing is added atomically. Where few windows
//! overlap, one thread makes a whole cell of inputs, and loads each window once.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::POOL2D;

use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::DType;
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply, apply_all};
use crate::shape::{Shape, ShapeError};
use crate::tape::{self, Node};
use crate::tensor::Tensor;
use crate::window::{Axis, Padding, Window};

pub(super) static INFO: OpInfo = OpInfo {
    names: &["max_pool2d", "avg_pool2d"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &POOL2D,
        entries: &[
            "max_pool2d_forward",
            "max_pool2d_forward_argmax",
            "max_pool2d_backward",
            "max_pool2d_backward_cells",
            "avg_pool2d_forward",
            "avg_pool2d_backward",
            "avg_pool2d_backward_cells",
        ],
        headers: || {
            let window =
                |size, stride, dilation, padding| Window { size: [size; 2], stride: [stride; 2], dilation, padding };
            let geometries = [
                (window(2, 2, [1; 2], Padding::Valid), [2, 4, 6, 8]),
                (window(3, 2, [2, 1], Padding::Same), [1, 7, 7, 3]),
                (window(3, 3, [1; 2], Padding::Explicit([[1, 0], [2, 2]])), [1, 5, 6, 1]),
            ];
            let header = |(window, shape)| Geometry::of(&Shape::new(shape), &window).map(|g| g.constants(true, true));
            geometries.iter().map(|(w, s)| header((*w, s)).expect("these windows fit").to_vec()).collect()
        },
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    threads: u32,
    x_offset: u32,
    dy_offset: u32,
    pad: u32,
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

/// A window resolved for one input.
#[derive(Clone, Copy)]
struct Geometry {
    n: usize,
    h: Axis,
    w: Axis,
    c: usize,
}

impl Geometry {
    fn of(x: &Shape, window: &Window) -> Result<Geometry, ShapeError> {
        let [h, w] = window.over(x)?;
        Ok(Geometry { n: x[0], h, w, c: x[3] })
    }

    /// Of an input that has been checked before.
    fn checked(x: &Shape, window: &Window) -> Geometry {
        Geometry::of(x, window).expect("the shape rule has accepted these shapes")
    }

    fn constants(&self, count_padding: bool, vec: bool) -> [(&'static str, u32); 15] {
        let ([h, w], flag) = ([self.h, self.w], |b| b as usize);
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
            ("COUNT_PADDING", flag(count_padding)),
            ("VEC", flag(vec)),
        ];
        constants.map(|(name, value)| (name, value as u32))
    }

    /// Whether backward can work by cells: windows without holes, few of them over each input, and a cell that one thread
    /// can go through.
    fn by_cells(&self) -> bool {
        let (dense, cover) = (|a: &Axis| a.dilation == 1 || a.size == 1, |a: &Axis| a.size.div_ceil(a.stride));
        dense(&self.h)
            && dense(&self.w)
            && cover(&self.h) * cover(&self.w) <= 4
            && self.h.stride * self.w.stride <= 1024
    }

    /// Cells of the stride's size that cover the input and the padding before it.
    fn cells(&self) -> usize {
        let along = |a: &Axis| (a.input + a.before).div_ceil(a.stride);
        along(&self.h) * along(&self.w)
    }

    /// Calls `f(tap, position)` for each tap of a window that lies in the image, in order; positions count pixels.
    fn taps(&self, row: usize, column: usize, mut f: impl FnMut(usize, usize)) {
        for kh in 0..self.h.size {
            let Some(h) = self.h.tap(row, kh) else { continue };
            for kw in 0..self.w.size {
                if let Some(w) = self.w.tap(column, kw) {
                    f(kh * self.w.size + kw, h * self.w.input + w);
                }
            }
        }
    }

    /// What the sum over a window is multiplied by to give the mean; anything for a window of padding only.
    fn weight(&self, row: usize, column: usize, count_padding: bool) -> f32 {
        let mut count = 0;
        self.taps(row, column, |_, _| count += 1);
        1.0 / if count_padding { self.h.size * self.w.size } else { count.max(1) } as f32
    }

    /// Elements of one input image, of one output image, and of one output row.
    fn lens(&self) -> [usize; 3] {
        let row = self.w.output * self.c;
        [self.h.input * self.w.input * self.c, self.h.output * row, row]
    }

    /// Threads of a kernel that makes four channels of each of `pixels` pixels of each image.
    fn threads(&self, pixels: usize) -> u32 {
        (self.n * pixels * self.c.div_ceil(4)) as u32
    }

    fn launch(
        &self,
        gpu: &mut Stream,
        entry: &'static str,
        pixels: usize,
        count_padding: bool,
        x: &[GpuView<'_>],
        y: &[&GpuBuffer],
    ) {
        let vec = self.c.is_multiple_of(4) && x.iter().all(|x| x.offset().is_multiple_of(4));
        let (threads, dy_offset) = (self.threads(pixels), x.get(1).map_or(0, |dy| dy.offset()));
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &POOL2D, entry, constants: &self.constants(count_padding, vec) },
            inputs: &x.iter().map(|x| x.buffer).collect::<Vec<_>>(),
            outputs: y,
            params: bytemuck::bytes_of(&Params { threads, x_offset: x[0].offset(), dy_offset, pad: 0 }),
            workgroups: fold_workgroups(threads.into(), 64),
        });
    }

    fn cost(&self, words: usize) -> Cost {
        let taps = self.n * self.h.output * self.w.output * self.c * self.h.size * self.w.size;
        Cost { flops: taps as u64, bytes: 4 * words as u64 }
    }
}

#[derive(Debug)]
struct MaxPool {
    window: Window,
    /// Whether backward will want the winners' taps.
    save: bool,
}

impl MaxPool {
    /// One row of windows: largest elements, and their taps (`u32::MAX` where a window is all padding).
    fn row(g: &Geometry, index: usize, x: &[f32], y: &mut [f32], argmax: &mut [u32]) {
        let x = &x[index / g.h.output * g.lens()[0]..];
        y.fill(f32::NEG_INFINITY);
        argmax.fill(u32::MAX);
        for (column, (y, argmax)) in y.chunks_mut(g.c).zip(argmax.chunks_mut(g.c)).enumerate() {
            g.taps(index % g.h.output, column, |tap, pixel| {
                for ((y, argmax), &v) in y.iter_mut().zip(argmax.iter_mut()).zip(&x[pixel * g.c..]) {
                    if *argmax == u32::MAX || (!y.is_nan() && (v > *y || v.is_nan())) {
                        (*y, *argmax) = (v, tap as u32);
                    }
                }
            });
        }
    }
}

impl Op for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        pool2d_shape(x[0], &self.window)
    }

    fn aux(&self, x: &[&Shape]) -> Vec<(Shape, DType)> {
        if self.save { self.infer(x).map(|y| (y, DType::U32)).into_iter().collect() } else { Vec::new() }
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let g = Geometry::checked(x[0].shape(), &self.window);
        let ([_, _, row], x, work) = (g.lens(), x[0].slice::<f32>(), g.w.output * g.c * g.h.size * g.w.size);
        match y {
            [y, argmax] => par::rows2(y.slice(), argmax.slice(), row, work, |i, y, argmax| {
                MaxPool::row(&g, i, x, y, argmax);
            }),
            y => par::rows(y[0].slice(), row, work, |i, y| MaxPool::row(&g, i, x, y, &mut vec![0; row])),
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let g = Geometry::checked(x[0].shape(), &self.window);
        let entry = if self.save { "max_pool2d_forward_argmax" } else { "max_pool2d_forward" };
        let outputs: Vec<_> = y.iter().map(|y| y.buffer).collect();
        g.launch(gpu, entry, g.h.output * g.w.output, false, x, &outputs);
    }

    fn saves(&self) -> Saves {
        Saves::AUX
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(apply(MaxPoolBackward { window: self.window, x: *node.input_shape(0) }, &[node.aux(0), dy]))]
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        Geometry::checked(x[0], &self.window).cost(x[0].len() + y.len() * (1 + self.save as usize))
    }
}

/// `dx` from the winners' taps and `dy`.
#[derive(Debug)]
struct MaxPoolBackward {
    window: Window,
    x: Shape,
}

impl Op for MaxPoolBackward {
    fn name(&self) -> &'static str {
        "max_pool2d_backward"
    }

    fn infer(&self, _: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(self.x)
    }

    fn dtype(&self, _: &[DType]) -> Result<DType, ShapeError> {
        Ok(DType::F32)
    }

    fn cpu(&self, x: &[CpuView<'_>], dx: &mut [CpuViewMut<'_>]) {
        let g = Geometry::checked(&self.x, &self.window);
        let ([image, out, _], argmax, dy) = (g.lens(), x[0].slice::<u32>(), x[1].slice::<f32>());
        par::rows(dx[0].slice(), image, image, |n, dx| {
            dx.fill(0.0);
            for window in 0..g.h.output * g.w.output {
                let first = n * out + window * g.c;
                g.taps(window / g.w.output, window % g.w.output, |tap, pixel| {
                    for c in (0..g.c).filter(|c| argmax[first + c] == tap as u32) {
                        dx[pixel * g.c + c] += dy[first + c];
                    }
                });
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], dx: &[GpuView<'_>]) {
        let g = Geometry::checked(&self.x, &self.window);
        let (entry, pixels) = if g.by_cells() {
            ("max_pool2d_backward_cells", g.cells())
        } else {
            ("max_pool2d_backward", g.h.input * g.w.input)
        };
        g.launch(gpu, entry, pixels, false, x, &[dx[0].buffer]);
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        panic!("max_pool2d: has no second derivative");
    }

    fn cost(&self, x: &[&Shape], dx: &Shape) -> Cost {
        Geometry::checked(dx, &self.window).cost(2 * x[1].len() + dx.len())
    }
}

#[derive(Clone, Copy, Debug)]
struct AvgPool {
    window: Window,
    /// Whether padding counts as zeros, as in some other frameworks; in Keras it does not count.
    count_padding: bool,
}

impl Op for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        pool2d_shape(x[0], &self.window)
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let g = Geometry::checked(x[0].shape(), &self.window);
        let ([image, _, row], x) = (g.lens(), x[0].slice::<f32>());
        par::rows(y[0].slice(), row, row * g.h.size * g.w.size, |index, y: &mut [f32]| {
            let (x, row) = (&x[index / g.h.output * image..], index % g.h.output);
            y.fill(0.0);
            for (column, y) in y.chunks_mut(g.c).enumerate() {
                g.taps(row, column, |_, pixel| y.iter_mut().zip(&x[pixel * g.c..]).for_each(|(y, v)| *y += v));
                let weight = g.weight(row, column, self.count_padding);
                y.iter_mut().for_each(|y| *y *= weight);
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let g = Geometry::checked(x[0].shape(), &self.window);
        g.launch(gpu, "avg_pool2d_forward", g.h.output * g.w.output, self.count_padding, x, &[y[0].buffer]);
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(apply(AvgPoolBackward { pool: *self, x: *node.input_shape(0) }, &[dy]))]
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        Geometry::checked(x[0], &self.window).cost(x[0].len() + y.len())
    }
}

#[derive(Debug)]
struct AvgPoolBackward {
    pool: AvgPool,
    x: Shape,
}

impl Op for AvgPoolBackward {
    fn name(&self) -> &'static str {
        "avg_pool2d_backward"
    }

    fn infer(&self, _: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(self.x)
    }

    fn cpu(&self, dy: &[CpuView<'_>], dx: &mut [CpuViewMut<'_>]) {
        let g = Geometry::checked(&self.x, &self.pool.window);
        let ([image, out, _], dy) = (g.lens(), dy[0].slice::<f32>());
        par::rows(dx[0].slice(), image, image, |n, dx: &mut [f32]| {
            dx.fill(0.0);
            for window in 0..g.h.output * g.w.output {
                let (row, column) = (window / g.w.output, window % g.w.output);
                let (dy, weight) = (&dy[n * out + window * g.c..], g.weight(row, column, self.pool.count_padding));
                g.taps(row, column, |_, pixel| {
                    dx[pixel * g.c..][..g.c].iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy * weight);
                });
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, dy: &[GpuView<'_>], dx: &[GpuView<'_>]) {
        let g = Geometry::checked(&self.x, &self.pool.window);
        let (entry, pixels) = if g.by_cells() {
            ("avg_pool2d_backward_cells", g.cells())
        } else {
            ("avg_pool2d_backward", g.h.input * g.w.input)
        };
        g.launch(gpu, entry, pixels, self.pool.count_padding, dy, &[dx[0].buffer]);
    }

    /// The adjoint of the adjoint is the mean itself.
    fn backward(&self, _: &Node, ddx: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(apply(self.pool, &[ddx]))]
    }

    fn cost(&self, dy: &[&Shape], dx: &Shape) -> Cost {
        Geometry::checked(dx, &self.pool.window).cost(dy[0].len() + dx.len())
    }
}

/// Refuses a window that is too large for a software adapter, whose threads go through a window, or in backward through the
/// windows that cover an input.
#[track_caller]
fn check_window(op: &str, x: &Tensor, window: &Window) {
    // The shape rule says what is wrong with a window that doesn't fit.
    if let Ok(g) = Geometry::of(x.shape(), window) {
        let cover = |a: &Axis| (a.size - 1) * a.dilation / a.stride + 1;
        let rounds = (g.h.size * (g.w.size + 1)).max(cover(&g.h) * (cover(&g.w) + 1));
        super::check_rounds(op, x.device().is_software(), rounds);
    }
}

impl Tensor {
    /// The largest element of each window: `(N, H, W, C)` becomes `(N, OH, OW, C)`. Padding is minus infinity, NaN passes.
    ///
    /// ```
    /// use tilegrad_core::{Device, Padding, Tensor, Window};
    /// let x = Tensor::new(&[1.0, 2.0, 5.0, 4.0, 3.0, 0.0], [1, 2, 3, 1], &Device::cpu());
    /// let window = Window { size: [2; 2], stride: [1; 2], dilation: [1; 2], padding: Padding::Valid };
    /// assert_eq!(x.max_pool2d(&window).to_vec::<f32>().unwrap(), [4.0, 5.0]);
    /// ```
    ///
    /// # Panics
    /// When the input is no image batch or no window fits; on a software adapter, when a window has more than 65,000 taps.
    #[track_caller]
    pub fn max_pool2d(&self, window: &Window) -> Tensor {
        check_window("max_pool2d", self, window);
        let save = tape::is_recording() && self.needs_grad();
        apply_all(MaxPool { window: *window, save }, &[self]).0
    }

    /// The mean of each window: `(N, H, W, C)` becomes `(N, OH, OW, C)`. Padding does not count, as in Keras; the mean of
    /// a window of nothing else is 0.
    ///
    /// ```
    /// use tilegrad_core::{Device, Padding, Tensor, Window};
    /// let x = Tensor::new(&[1.0, 2.0, 6.0, 3.0, 4.0, 8.0], [1, 2, 3, 1], &Device::cpu());
    /// let window = Window { size: [2; 2], stride: [2; 2], dilation: [1; 2], padding: Padding::Same };
    /// assert_eq!(x.avg_pool2d(&window).to_vec::<f32>().unwrap(), [2.5, 7.0]);
    /// ```
    ///
    /// # Panics
    /// When the input is no image batch or no window fits; on a software adapter, when a window has more than 65,000 taps.
    #[track_caller]
    pub fn avg_pool2d(&self, window: &Window) -> Tensor {
        check_window("avg_pool2d", self, window);
        apply(AvgPool { window: *window, count_padding: false }, &[self])
    }

    /// [`Tensor::avg_pool2d`] that counts padding as zeros, as PyTorch does by default.
    ///
    /// # Panics
    /// When the input is no image batch or no window fits; on a software adapter, when a window has more than 65,000 taps.
    #[track_caller]
    pub fn avg_pool2d_with_padding(&self, window: &Window) -> Tensor {
        check_window("avg_pool2d", self, window);
        apply(AvgPool { window: *window, count_padding: true }, &[self])
    }
}
