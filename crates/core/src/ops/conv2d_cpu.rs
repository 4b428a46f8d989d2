//! The CPU half of `conv2d.rs`. The definition is im2col and a matrix product, block by block. With vector instructions the
//! windows are read where they lie instead, see `direct_conv.rs`; tests hold that against the definition.

use rayon::prelude::*;

use super::conv2d::Geometry;
use super::gemm::{finish_block, finish_rows};
use super::unary::Unary;
use crate::cpu::direct_conv::{Convolution, turn};
use crate::cpu::gemm::{Mat, add_column_sums, gemm};
use crate::cpu::im2col::Columns;
use crate::cpu::lanes::has_vectors;
use crate::window::Axis;

impl Geometry {
    /// The convolution without columns, where the processor has vectors and it is the better way.
    fn direct(&self) -> Option<Convolution> {
        let direct = Convolution { images: self.batch, columns: self.columns(0), groups: self.groups, out: self.o };
        (has_vectors() && direct.pays()).then_some(direct)
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
}

/// `y = act(x * w + bias)`.
pub(super) fn forward(
    g: &Geometry,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    activation: Option<Unary>,
    y: &mut [f32],
) {
    if y.is_empty() {
        return;
    }
    let Some(direct) = g.direct() else {
        return forward_by_columns(g, x, w, bias, activation, y);
    };
    let relu = activation == Some(Unary::Relu);
    direct.forward(x, w, bias, relu, y);
    finish_rows(y, g.o, None, activation.filter(|_| !relu));
}

fn forward_by_columns(
    g: &Geometry,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    activation: Option<Unary>,
    y: &mut [f32],
) {
    let row = g.w.output * g.o;
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
        finish_block(y, g.o, bias, activation);
    });
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

/// `dx` from `dz` and `w`.
pub(super) fn data_gradient(g: &Geometry, dz: &[f32], w: &[f32], dx: &mut [f32]) {
    if dx.is_empty() {
        return;
    }
    match g.direct().and_then(|direct| direct.turned()).filter(Convolution::pays) {
        Some(turned) => turned.forward(dz, &turn(w, g.h.size * g.w.size, g.c / g.groups, g.groups), None, false, dx),
        None => data_gradient_by_columns(g, dz, w, dx),
    }
}

fn data_gradient_by_columns(g: &Geometry, dz: &[f32], w: &[f32], dx: &mut [f32]) {
    let (image, output_row) = (g.h.input * g.w.input * g.c, g.w.output * g.o);
    let zero_times = meetings_with_zeros(g, w);
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

/// `dw` from `x` and `dz`, and with `bias` behind it one more row, the sums of `dz`.
pub(super) fn weight_gradient(g: &Geometry, bias: bool, x: &[f32], dz: &[f32], dw: &mut [f32]) {
    if dw.is_empty() || dz.is_empty() {
        dw.fill(0.0);
    } else if let Some(direct) = g.direct() {
        direct.weight_gradient(bias, x, dz, dw);
    } else {
        weight_gradient_by_columns(g, bias, x, dz, dw);
    }
}

fn weight_gradient_by_columns(g: &Geometry, bias: bool, x: &[f32], dz: &[f32], dw: &mut [f32]) {
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
                if bias {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::conv_options::Conv2dOptions;
    use crate::shape::Shape;
    use crate::window::Padding;

    fn numbers(len: usize) -> Vec<f32> {
        (0..len).map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5).collect()
    }

    fn assert_near(name: &str, direct: &[f32], defined: &[f32]) {
        let near =
            |(a, b): (&f32, &f32)| a == b || (a - b).abs() <= 1e-4 * b.abs().max(1.0) || a.is_nan() && b.is_nan();
        let differ = direct.iter().zip(defined).position(|pair| !near(pair));
        assert_eq!(differ, None, "{name}: {:?}", differ.map(|i| (direct[i], defined[i])));
    }

    #[test]
    fn direct_convolution_gives_what_columns_give() {
        let explicit = |t, b, l, r| Padding::Explicit([[t, b], [l, r]]);
        let cases = [
            ([3, 14, 14, 32], [3, 3, 64], [1, 1], [1, 1], 1, Padding::Same),
            ([2, 28, 28, 1], [3, 3, 32], [1, 1], [1, 1], 1, Padding::Same),
            ([2, 9, 7, 3], [5, 4, 100], [1, 1], [1, 1], 1, Padding::Valid),
            ([2, 9, 7, 6], [3, 2, 9], [2, 3], [1, 1], 3, Padding::Same),
            ([1, 12, 11, 4], [3, 3, 6], [1, 1], [2, 3], 2, explicit(4, 1, 2, 7)),
            ([2, 5, 6, 5], [1, 1, 17], [1, 1], [1, 1], 1, Padding::Valid),
            ([1, 5, 6, 2], [2, 2, 3], [1, 1], [1, 1], 1, explicit(3, 0, 0, 3)),
            ([1, 150, 90, 8], [3, 3, 40], [1, 1], [1, 1], 1, Padding::Same),
        ];
        for (image, [kh, kw, out], stride, dilation, groups, padding) in cases {
            let options = Conv2dOptions {
                stride,
                dilation,
                groups,
                padding,
                activation: Some(Unary::Relu),
                ..Conv2dOptions::default()
            };
            let (image, kernel) = (Shape::from(image), Shape::from([kh, kw, image[3] / groups, out]));
            let g = Geometry::new(&image, &kernel, &options).expect("these fit");
            let (x, mut w, dz, bias) =
                (numbers(image.len()), numbers(kernel.len()), numbers(g.y().len()), numbers(out));
            let (mut y, mut defined) = (numbers(dz.len()), numbers(dz.len()));
            forward(&g, &x, &w, Some(&bias), options.activation, &mut y);
            forward_by_columns(&g, &x, &w, Some(&bias), options.activation, &mut defined);
            assert_near(&format!("forward {g:?}"), &y, &defined);

            let (mut dw, mut defined) = (numbers(w.len() + out), numbers(w.len() + out));
            weight_gradient(&g, true, &x, &dz, &mut dw);
            weight_gradient_by_columns(&g, true, &x, &dz, &mut defined);
            assert_near(&format!("weights {g:?}"), &dw, &defined);

            for infinite in [false, true] {
                if infinite {
                    w[0] = f32::INFINITY;
                }
                let (mut dx, mut defined) = (numbers(x.len()), numbers(x.len()));
                data_gradient(&g, &dz, &w, &mut dx);
                data_gradient_by_columns(&g, &dz, &w, &mut defined);
                assert_near(&format!("data {infinite} {g:?}"), &dx, &defined);
            }
        }
    }
}
