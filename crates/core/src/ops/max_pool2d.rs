//! The largest element of each window of images: `(N, H, W, C)` becomes `(N, OH, OW, C)`. The methods, for one to three
//! axes, are in `pool.rs`.
//!
//! Padding is minus infinity, NaN passes, and of equal elements the first wins. Forward notes the winner's position in its
//! image. Given the positions everything is linear: backward puts `dy` there, and its own backward takes from there.
//!
//! Relu may be part of it, at its end: the largest of relus is the relu of the largest. A window that relu makes 0 then has
//! no winner, so that backward needs nothing else. Relu before the windows would read and write all that they read once
//! more in backward.

use bytemuck::Pod;
use tilegrad_shaders::POOL2D;

use super::pool2d::{Divisor, Geometry, Over, Params, headers};
use super::{KernelInfo, OpInfo};
use crate::cpu::lanes::{self, Loop};
use crate::cpu::par;
use crate::dtype::{DType, Element};
use crate::gpu::Stream;
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["max_pool1d", "max_pool2d", "max_pool3d", "relu_max_pool2d"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &POOL2D,
        entries: &[
            "max_pool2d_forward",
            "max_pool2d_forward_argmax",
            "max_pool2d_gather",
            "max_pool2d_backward",
            "max_pool2d_backward_cells",
        ],
        headers,
        params_bytes: size_of::<Params>(),
    }],
};

/// The position of the winner of a window that has none: of padding only, or that relu makes 0.
const NO_POSITION: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct MaxPool {
    pub(super) over: Over,
    /// Whether the winners' positions are wanted, by backward or by the caller.
    pub(super) save: bool,
    /// Whether relu follows.
    pub(super) relu: bool,
}

/// One row of windows: largest elements, and their positions.
struct Row<'a> {
    g: &'a Geometry,
    relu: bool,
    index: usize,
    x: &'a [f32],
    y: &'a mut [f32],
    positions: &'a mut [u32],
}

impl Loop for Row<'_> {
    /// Written without branches between elements, so that it compiles to vector code.
    #[inline(always)]
    fn run(self) {
        let Row { g, relu, index, x, y, positions } = self;
        let (image, row) = (index / g.h.output, index % g.h.output);
        let (x, first) = (&x[image * g.lens()[0]..], g.first_position(image));
        let lines: Vec<usize> = (0..g.h.size).filter_map(|kh| g.h.tap(row, kh)).map(|y| y * g.w.input).collect();
        let mut window = Vec::with_capacity(lines.len() * g.w.size);
        for (column, (y, positions)) in y.chunks_mut(g.c).zip(positions.chunks_mut(g.c)).enumerate() {
            window.clear();
            for line in &lines {
                for x in (0..g.w.size).filter_map(|kw| g.w.tap(column, kw)) {
                    window.push(line + x);
                }
            }
            let seen = |pixel: usize| (&x[pixel * g.c..][..g.c], (first + pixel) as u32);
            match window[..] {
                [] => {
                    y.fill(f32::NEG_INFINITY);
                    positions.fill(NO_POSITION);
                }
                // The usual window, whose four pixels meet in registers.
                [i, j, k, l] => {
                    let [(a, i), (b, j), (c, k), (d, l)] = [i, j, k, l].map(seen);
                    let elements = a.iter().zip(b).zip(c.iter().zip(d));
                    for ((y, position), ((&a, &b), (&c, &d))) in y.iter_mut().zip(positions).zip(elements) {
                        (*y, *position) = larger(larger((a, i), (b, j)), larger((c, k), (d, l)));
                    }
                }
                [pixel, ref rest @ ..] => {
                    let (x, here) = seen(pixel);
                    y.copy_from_slice(x);
                    positions.fill(here);
                    for (x, here) in rest.iter().map(|&pixel| seen(pixel)) {
                        for ((y, position), &v) in y.iter_mut().zip(positions.iter_mut()).zip(x) {
                            (*y, *position) = larger((*y, *position), (v, here));
                        }
                    }
                }
            }
        }
        if relu {
            // A window of padding only stays minus infinity, as if relu had come first.
            for (y, position) in y.iter_mut().zip(positions) {
                let cut = (*position != NO_POSITION) & (*y <= 0.0);
                *y = if cut { 0.0 } else { *y };
                *position = if cut { NO_POSITION } else { *position };
            }
        }
    }
}

/// The larger of two elements, with its position. NaN is larger than anything, and of equals the first is taken.
#[inline(always)]
fn larger((a, i): (f32, u32), (b, j): (f32, u32)) -> (f32, u32) {
    let second = !a.is_nan() & ((b > a) | b.is_nan());
    (if second { b } else { a }, if second { j } else { i })
}

impl Op for MaxPool {
    fn name(&self) -> &'static str {
        self.over.name
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(self.over.output(x[0]))
    }

    fn aux(&self, x: &[&Shape]) -> Vec<(Shape, DType)> {
        if self.save { vec![(self.over.output(x[0]), DType::U32)] } else { Vec::new() }
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let g = Geometry::of(x[0].shape(), self.over);
        let ([_, _, row], x, work) = (g.lens(), x[0].slice::<f32>(), g.w.output * g.c * g.h.size * g.w.size);
        match y {
            [y, positions] => par::rows2(y.slice(), positions.slice(), row, work, |i, y, positions| {
                lanes::wide(Row { g: &g, relu: self.relu, index: i, x, y, positions });
            }),
            y => par::rows(y[0].slice(), row, work, |index, y| {
                lanes::wide(Row { g: &g, relu: self.relu, index, x, y, positions: &mut vec![0; row] });
            }),
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let g = Geometry::of(x[0].shape(), self.over);
        let entry = if self.save { "max_pool2d_forward_argmax" } else { "max_pool2d_forward" };
        let outputs: Vec<_> = y.iter().map(|y| y.buffer).collect();
        g.launch(gpu, entry, g.h.output * g.w.output, (Divisor::One, u32::from(self.relu)), x, &outputs);
    }

    fn saves(&self) -> Saves {
        Saves::AUX
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(apply(MaxPoolBackward(self.over), &[node.aux(0), dy]))]
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        Geometry::of(x[0], self.over).cost(x[0].len() + y.len() * (1 + self.save as usize))
    }
}

/// `dx` from the winners' positions and `dy`.
#[derive(Debug)]
struct MaxPoolBackward(Over);

impl Op for MaxPoolBackward {
    fn name(&self) -> &'static str {
        "max_pool_backward"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(self.0.input(x[0]))
    }

    fn dtype(&self, _: &[DType]) -> Result<DType, ShapeError> {
        Ok(DType::F32)
    }

    fn cpu(&self, x: &[CpuView<'_>], dx: &mut [CpuViewMut<'_>]) {
        let g = Geometry::of(x[0].shape(), self.0);
        let ([image, out, _], positions, dy) = (g.lens(), x[0].slice::<u32>(), x[1].slice::<f32>());
        par::rows(dx[0].slice(), image, image, |n, dx: &mut [f32]| {
            let here = n * out..(n + 1) * out;
            let (positions, dy) = (&positions[here.clone()], &dy[here]);
            if !g.is_covered() {
                dx.fill(0.0);
            }
            if g.is_apart() {
                return lanes::wide(Winners { g: &g, first: g.first_position(n), positions, dy, dx });
            }
            for (i, (&position, dy)) in positions.iter().zip(dy).enumerate() {
                if position != NO_POSITION {
                    dx[(position as usize - g.first_position(n)) * g.c + i % g.c] += dy;
                }
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], dx: &[GpuView<'_>]) {
        let g = Geometry::of(x[0].shape(), self.0);
        let (entry, pixels) = if g.by_cells() {
            ("max_pool2d_backward_cells", g.cells())
        } else {
            ("max_pool2d_backward", g.h.input * g.w.input)
        };
        g.launch(gpu, entry, pixels, (Divisor::One, 0), x, &[dx[0].buffer]);
    }

    fn saves(&self) -> Saves {
        Saves::input(0)
    }

    fn backward(&self, node: &Node, ddx: &Tensor) -> Vec<Option<Tensor>> {
        vec![None, Some(apply(MaxPoolGather(self.0), &[node.input(0), ddx]))]
    }

    fn cost(&self, x: &[&Shape], dx: &Shape) -> Cost {
        Geometry::of(dx, self.0).cost(2 * x[1].len() + dx.len())
    }
}

/// An image's gradient under windows that don't overlap: asking each pixel of a window whether it has won is vector code,
/// which putting `dy` where the winner is can't be.
struct Winners<'a> {
    g: &'a Geometry,
    first: usize,
    positions: &'a [u32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Loop for Winners<'_> {
    #[inline(always)]
    fn run(self) {
        let Winners { g, first, positions, dy, dx } = self;
        let windows = positions.chunks(g.c).zip(dy.chunks(g.c));
        for (window, (positions, dy)) in windows.enumerate() {
            for pixel in g.pixels(window / g.w.output, window % g.w.output) {
                let here = (first + pixel) as u32;
                for ((dx, dy), &position) in dx[pixel * g.c..][..g.c].iter_mut().zip(dy).zip(positions) {
                    *dx = if position == here { *dy } else { 0.0 };
                }
            }
        }
    }
}

/// What lies at the winners' positions: the adjoint of [`MaxPoolBackward`]. Also of `u32`: positions of positions. A
/// window without a winner has 0, or no position.
#[derive(Debug)]
pub(super) struct MaxPoolGather(pub(super) Over);

impl MaxPoolGather {
    fn copy<T: Element + Pod>(&self, positions: &CpuView<'_>, x: &CpuView<'_>, y: &mut [T], fill: T) {
        let g = Geometry::of(positions.shape(), self.0);
        let ([image, out, row], positions, x) = (g.lens(), positions.slice::<u32>(), x.slice::<T>());
        par::chunks(y, row, |first, y| {
            for (i, y) in (first..).zip(y) {
                let position = positions[i];
                *y = match position {
                    NO_POSITION => fill,
                    _ => x[i / out * image + (position as usize - g.first_position(i / out)) * g.c + i % g.c],
                };
            }
        });
    }
}

impl Op for MaxPoolGather {
    fn name(&self) -> &'static str {
        "max_pool_gather"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        Ok(x[1])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        match x[1].dtype {
            DType::U32 => self.copy(&x[0], &x[1], y[0].slice(), NO_POSITION),
            _ => self.copy(&x[0], &x[1], y[0].slice(), 0.0f32),
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let g = Geometry::of(x[0].shape(), self.0);
        let fill = if x[1].dtype == DType::U32 { NO_POSITION } else { 0 };
        g.launch(gpu, "max_pool2d_gather", g.h.output * g.w.output, (Divisor::One, fill), x, &[y[0].buffer]);
    }

    fn saves(&self) -> Saves {
        Saves::input(0)
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        vec![None, Some(apply(MaxPoolBackward(self.0), &[node.input(0), dy]))]
    }
}
