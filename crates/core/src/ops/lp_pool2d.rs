//! The p-norm of each window of images: `y = (sum |x|^p)^(1/p)`, `(N, H, W, C)` becomes `(N, OH, OW, C)`. The methods, for
//! one to three axes, are in `pool.rs`.
//!
//! `dx = sum over the windows that cover x of dy * sign(x) * (|x| / y)^(p - 1)`, and 0 where `y` is. Both directions work
//! with ratios of at most 1, so that no power overflows: forward divides by the largest element of the window. NaN passes.
//! Numbers below the smallest normal one count as 0, as they may on a GPU.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::LP_POOL2D;

use super::pool2d::{AvgPool, AvgPoolBackward, Divisor, Geometry, Over, headers};
use super::unary::Unary;
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply};
use crate::shape::{Shape, ShapeError};
use crate::tape::{self, Node};
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["lp_pool1d", "lp_pool2d", "lp_pool3d"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &LP_POOL2D,
        entries: &["lp_pool2d_forward", "lp_pool2d_backward"],
        headers,
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    threads: u32,
    x_offset: u32,
    y_offset: u32,
    dy_offset: u32,
    norm: f32,
    pad: [u32; 3],
}

#[derive(Clone, Copy, Debug)]
pub(super) struct LpPool {
    pub(super) over: Over,
    pub(super) p: f32,
}

/// `a / b` for `a <= b`; the division of large numbers is not exact on every GPU.
fn ratio(a: f32, b: f32) -> f32 {
    let scale = if b > 1e37 { 0.125 } else { 1.0 };
    (a * scale) / (b * scale)
}

/// `r^p` with the two norms that are everywhere.
fn power(r: f32, p: f32) -> f32 {
    match p {
        1.0 => r,
        2.0 => r * r,
        _ => r.powf(p),
    }
}

impl LpPool {
    /// The norm of a window, whose elements `each` goes through.
    fn norm(&self, each: impl Fn(&mut dyn FnMut(f32))) -> f32 {
        let (mut top, mut nan) = (0.0f32, false);
        each(&mut |v| {
            top = top.max(v.abs());
            nan |= v.is_nan();
        });
        if nan {
            return f32::NAN;
        }
        if top < f32::MIN_POSITIVE || top == f32::INFINITY {
            return if top == f32::INFINITY { top } else { 0.0 };
        }
        let mut sum = 0.0;
        each(&mut |v| sum += f64::from(power(ratio(v.abs(), top), self.p)));
        top * (sum as f32).powf(1.0 / self.p)
    }

    /// What `dx` of an element has from the `dy` of a window of norm `y`.
    fn slope(&self, x: f32, y: f32) -> f32 {
        if x.is_nan() || y.is_nan() {
            return f32::NAN;
        }
        if y < f32::MIN_POSITIVE || x.abs() < f32::MIN_POSITIVE {
            return 0.0;
        }
        let sign = x.signum();
        if self.p == 1.0 {
            return sign;
        }
        match (x.abs() == f32::INFINITY, y == f32::INFINITY) {
            (true, true) => f32::NAN,
            (false, true) => 0.0,
            _ => sign * power(ratio(x.abs(), y), self.p - 1.0),
        }
    }

    fn launch(
        &self,
        gpu: &mut Stream,
        entry: &'static str,
        offsets: [u32; 3],
        inputs: &[GpuView<'_>],
        output: &GpuView<'_>,
    ) {
        let [x_offset, y_offset, dy_offset] = offsets;
        let g = Geometry::of(output.shape(), self.over);
        let params = Params { threads: output.len(), x_offset, y_offset, dy_offset, norm: self.p, pad: [0; 3] };
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &LP_POOL2D, entry, constants: &g.constants(Divisor::One, false) },
            inputs: &inputs.iter().map(|x| x.buffer).collect::<Vec<_>>(),
            outputs: &[output.buffer],
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(output.len().into(), 64),
        });
    }

    /// The gradient as tensor algebra, to be differentiated again. Powers are in units of the largest element of all, and
    /// windows of next to nothing are held above a floor that keeps their power finite.
    fn gradient(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Tensor {
        let spread = |dz: &Tensor| apply(AvgPoolBackward(AvgPool { over: self.over, divisor: Divisor::One }), &[dz]);
        if self.p == 1.0 {
            return Unary::Abs.derivative(x, &spread(dy));
        }
        let unit = x.detach().abs().max().clip(f32::MIN_POSITIVE, f32::MAX);
        let floor = 10f32.powf(-30.0 / (self.p - 1.0)).max(1e-30);
        let of_y = y.div(&unit).clip(floor, f32::INFINITY).powf(1.0 - self.p);
        let of_x = x.abs().div(&unit).powf(self.p - 1.0);
        Unary::Abs.derivative(x, &of_x.mul(&spread(&dy.mul(&of_y))))
    }
}

impl Op for LpPool {
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
            for (i, y) in y.iter_mut().enumerate() {
                let (column, channel) = (i / g.c, i % g.c);
                *y = self.norm(|f| g.pixels(row, column).for_each(|pixel| f(x[pixel * g.c + channel])));
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        self.launch(gpu, "lp_pool2d_forward", [x[0].offset(), 0, 0], x, &y[0]);
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS.and(Saves::OUTPUT)
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let (x, y) = (node.input(0), node.output());
        let again = tape::is_recording() && [x, &y, dy].iter().any(|t| t.needs_grad());
        vec![Some(if again { self.gradient(x, &y, dy) } else { apply(LpPoolBackward(*self), &[x, &y, dy]) })]
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        Geometry::of(x[0], self.over).cost(x[0].len() + y.len())
    }
}

/// `dx` from `x`, `y` and `dy`.
#[derive(Debug)]
struct LpPoolBackward(LpPool);

impl Op for LpPoolBackward {
    fn name(&self) -> &'static str {
        "lp_pool_backward"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], dx: &mut [CpuViewMut<'_>]) {
        let g = Geometry::of(x[0].shape(), self.0.over);
        let ([image, out, _], [x, y, dy]) = (g.lens(), [x[0], x[1], x[2]].map(|x| x.slice::<f32>()));
        par::rows(dx[0].slice(), image, image, |n, dx: &mut [f32]| {
            dx.fill(0.0);
            for window in 0..g.h.output * g.w.output {
                let first = n * out + window * g.c;
                g.pixels(window / g.w.output, window % g.w.output).for_each(|pixel| {
                    for c in 0..g.c {
                        let at = pixel * g.c + c;
                        dx[at] += dy[first + c] * self.0.slope(x[n * image + at], y[first + c]);
                    }
                });
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], dx: &[GpuView<'_>]) {
        let offsets = [x[0].offset(), x[1].offset(), x[2].offset()];
        self.0.launch(gpu, "lp_pool2d_backward", offsets, x, &dx[0]);
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        unreachable!("what is recorded is tensor algebra")
    }

    fn cost(&self, x: &[&Shape], dx: &Shape) -> Cost {
        Geometry::of(dx, self.0.over).cost(x.iter().map(|s| s.len()).sum::<usize>() + dx.len())
    }
}
