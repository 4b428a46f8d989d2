//! Matrix products on a GPU: parameters, how operands are loaded, and the launch. `matmul.rs` and both forms of convolution
//! use it; `gemm_tiles.rs` says with which tile.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::{MATMUL, MATMUL_TILED, Shader};

pub(super) use super::gemm_tiles::{HARDWARE, SOFTWARE, Tile, choose};
use super::half;
use super::unary::Unary;
use crate::cpu::par;
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::GpuView;
use crate::shape::{Shape, ShapeError};
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct Params {
    m: u32,
    n: u32,
    k: u32,
    batches: u32,
    a_row: u32,
    a_col: u32,
    b_row: u32,
    b_col: u32,
    a_batch: u32,
    b_batch: u32,
    a_offset: u32,
    b_offset: u32,
    c_offset: u32,
    bias_offset: u32,
    k_split: u32,
    splits: u32,
    has_bias: u32,
    sums: u32,
    unused: [u32; 2],
}

/// A batch of matrices in a buffer; strides and offset in elements.
#[derive(Clone, Copy)]
pub(super) struct Operand<'a> {
    pub(super) buffer: &'a GpuBuffer,
    pub(super) offset: usize,
    /// From one row to the next.
    pub(super) row: usize,
    /// From one column to the next.
    pub(super) col: usize,
    /// From one matrix to the next; 0 uses one for the whole batch.
    pub(super) batch: usize,
}

/// An activation's derivative at its output `y`, which multiplies one operand as the kernel loads it. `y` lies as that operand
/// does, from its own first element on. Kernels for hardware only, and without a bias.
#[derive(Clone, Copy)]
pub(super) struct Mask<'a> {
    /// 0 for `a`, 1 for `b`.
    pub(super) operand: usize,
    pub(super) activation: Unary,
    pub(super) y: (&'a GpuBuffer, Part),
}

/// `c (batches, m, n) = act(a b + bias)`, with `c` dense from `c_offset` on; with `column_sums` `c (batches, m + 1, n)`, each
/// matrix followed by the sums of b's columns, a row of ones on the left.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    pub(super) size: [usize; 3],
    pub(super) batches: usize,
    pub(super) a: Operand<'a>,
    pub(super) b: Operand<'a>,
    pub(super) bias: Option<(&'a GpuBuffer, Part)>,
    pub(super) activation: Option<Unary>,
    pub(super) mask: Option<Mask<'a>>,
    pub(super) column_sums: bool,
    pub(super) c: &'a GpuBuffer,
    pub(super) c_offset: usize,
    /// Whether `a` and `b` are `F16`, which takes cooperative matrices and excludes `column_sums`. `c` and the bias are `F32`
    /// in any case.
    pub(super) half: bool,
}

impl<'a> Product<'a> {
    /// One product of this size, and nothing else.
    pub(super) fn new(
        size: [usize; 3],
        a: Operand<'a>,
        b: Operand<'a>,
        c: &'a GpuBuffer,
        c_offset: usize,
    ) -> Product<'a> {
        Product {
            size,
            batches: 1,
            a,
            b,
            bias: None,
            activation: None,
            mask: None,
            column_sums: false,
            c,
            c_offset,
            half: false,
        }
    }
}

/// How a kernel reads an operand: four values along the summed axis, four along the other, or one by one.
const ALONG_SUM: u32 = 0;
const ACROSS: u32 = 1;
const SINGLE: u32 = 2;

/// `HAS_BIAS` and `SUMS` of a software kernel that looks at its parameters.
const BY_PARAMETER: u32 = 2;

fn load(x: &Operand<'_>, mask: usize, sum_stride: usize, sum: usize, other_stride: usize, other: usize) -> u32 {
    let aligned = [x.offset, x.batch, mask].iter().all(|v| v.is_multiple_of(4));
    let fours = |neighbour: usize, length: usize, far: usize| {
        aligned && neighbour == 1 && length.is_multiple_of(4) && far.is_multiple_of(4)
    };
    if fours(sum_stride, sum, other_stride) {
        ALONG_SUM
    } else if fours(other_stride, other, sum_stride) {
        ACROSS
    } else {
        SINGLE
    }
}

/// What a kernel reads of a buffer: `len` elements from `offset` on.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) offset: usize,
    pub(super) len: usize,
}

impl Part {
    /// Nothing of a buffer that is bound because something must be.
    pub(super) const NONE: Part = Part { offset: 0, len: 0 };

    /// All of a dense tensor.
    pub(super) fn of(x: &GpuView<'_>) -> Part {
        Part { offset: x.layout.offset, len: x.len() as usize }
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.offset / 4 * 4..self.offset + self.len
    }

    /// Where the shader finds the first element: in the buffer, or in an image that starts with the part.
    pub(super) fn start(&self, shader: &Shader) -> u32 {
        (if shader.images { self.offset % 4 } else { self.offset }) as u32
    }
}

impl Operand<'_> {
    /// All elements of the matrices, `rows` by `columns` each.
    fn part(&self, batches: usize, rows: usize, columns: usize) -> Part {
        let steps = [(batches, self.batch), (rows, self.row), (columns, self.col)];
        if steps.iter().any(|(n, _)| *n == 0) {
            return Part::NONE;
        }
        Part { offset: self.offset, len: 1 + steps.iter().map(|(n, stride)| (n - 1) * stride).sum::<usize>() }
    }
}

/// Launches a product; in two passes when the summed axis is split.
pub(super) fn launch(gpu: &mut Stream, p: &Product<'_>) {
    let [m, n, k] = p.size;
    let (tile, shader) = match p.half {
        true => half::kernel(gpu),
        false => choose(gpu, [m * p.batches, n, k], [&MATMUL, &MATMUL_TILED]),
    };
    let tiles = tile.count(m, n) * p.batches;
    let rows = m + usize::from(p.column_sums);
    let bytes = (4 * p.batches * rows * n) as u64;
    let (splits, k_split) = tile.split(gpu, tiles, k, m + n, bytes);
    // Small products on a software adapter share one pipeline: compiling another takes longer than they ever run.
    let tiny = tile.is_software() && m * n * k * p.batches < 1_000_000;
    let mask = p.mask.map_or(0, |mask| mask.y.1.offset);
    let loads = match tiny {
        true => [SINGLE; 2],
        false => [load(&p.a, mask, p.a.col, k, p.a.row, m), load(&p.b, mask, p.b.row, k, p.b.col, n)],
    };
    assert!(p.mask.is_none() || !(tile.is_software() || p.bias.is_some()), "no kernel takes such a mask");
    let third = p.bias.or(p.mask.map(|mask| mask.y));
    let parts = [p.a.part(p.batches, m, k), p.b.part(p.batches, k, n), third.map_or(Part::NONE, |(_, part)| part)];
    let params = Params {
        m: m as u32,
        n: n as u32,
        k: k as u32,
        batches: p.batches as u32,
        a_row: p.a.row as u32,
        a_col: p.a.col as u32,
        b_row: p.b.row as u32,
        b_col: p.b.col as u32,
        a_batch: p.a.batch as u32,
        b_batch: p.b.batch as u32,
        a_offset: parts[0].start(shader),
        b_offset: parts[1].start(shader),
        c_offset: p.c_offset as u32,
        bias_offset: parts[2].start(shader),
        k_split: k_split as u32,
        splits: splits as u32,
        has_bias: u32::from(p.bias.is_some()),
        sums: u32::from(p.column_sums),
        unused: [0; 2],
    };
    let partials = (splits > 1).then(|| gpu.alloc(splits as u64 * bytes, "partial products"));
    // A binding that the kernel doesn't look at gets any buffer.
    let third = third.map_or(p.b.buffer, |(buffer, _)| buffer);
    let c_vec = |offset: usize| u32::from(!tiny && n.is_multiple_of(4) && offset.is_multiple_of(4));
    let masks = [0, 1].map(|i| act_constant(p.mask.filter(|mask| mask.operand == i).map(|mask| mask.activation)));
    let first = match &partials {
        None if tiny => [0, BY_PARAMETER, act_constant(p.activation), BY_PARAMETER],
        None => [c_vec(p.c_offset), params.has_bias, act_constant(p.activation), params.sums],
        Some(_) => [c_vec(0), 0, 0, params.sums],
    };
    let parts = parts.map(|part| part.range());
    gpu.dispatch_parts(
        &parts,
        Dispatch {
            kernel: Kernel { shader, entry: "matmul_forward", constants: &constants(tile, loads, masks, first) },
            inputs: &[p.a.buffer, p.b.buffer, third],
            outputs: &[partials.as_ref().unwrap_or(p.c)],
            params: bytemuck::bytes_of(&Params {
                c_offset: if partials.is_some() { 0 } else { params.c_offset },
                ..params
            }),
            workgroups: fold_workgroups((tiles * splits) as u64, 1),
        },
    );
    if let Some(partials) = partials {
        add_partials(gpu, &partials, [p.batches, rows, n, splits], (p.bias, p.activation), p.c, p.c_offset);
    }
}

/// `c = act(sum over splits of partials + bias)`, for partial results `(splits, batches, m, n)`.
pub(super) fn add_partials(
    gpu: &mut Stream,
    partials: &GpuBuffer,
    [batches, m, n, splits]: [usize; 4],
    (bias, activation): (Option<(&GpuBuffer, Part)>, Option<Unary>),
    c: &GpuBuffer,
    c_offset: usize,
) {
    let (tile, shader) = choose(gpu, [1, 1, 1], [&MATMUL, &MATMUL_TILED]);
    let sums = Part { offset: 0, len: splits * batches * m * n };
    let parts = [sums, Part::NONE, bias.map_or(Part::NONE, |(_, part)| part)];
    let params = Params {
        m: m as u32,
        n: n as u32,
        batches: batches as u32,
        splits: splits as u32,
        c_offset: c_offset as u32,
        bias_offset: parts[2].start(shader),
        ..Params::zeroed()
    };
    let vec = u32::from(n.is_multiple_of(4) && c_offset.is_multiple_of(4));
    let flags = [vec, u32::from(bias.is_some()), act_constant(activation), 0];
    let second = bias.map_or(partials, |(buffer, _)| buffer);
    let parts = parts.map(|part| part.range());
    gpu.dispatch_parts(
        &parts,
        Dispatch {
            kernel: Kernel {
                shader,
                entry: "matmul_reduce_partials",
                constants: &constants(tile, [SINGLE; 2], [0; 2], flags),
            },
            inputs: &[partials, second, second],
            outputs: &[c],
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups((batches * m * n).div_ceil(4) as u64, 64),
        },
    );
}

fn constants(
    tile: Tile,
    [a, b]: [u32; 2],
    masks: [u32; 2],
    [vec, bias, act, sums]: [u32; 4],
) -> Vec<(&'static str, u32)> {
    let operands = [("A_LOAD", a), ("B_LOAD", b), ("A_MASK", masks[0]), ("B_MASK", masks[1])];
    let flags = [("C_VEC", vec), ("HAS_BIAS", bias), ("ACT", act), ("SUMS", sums)];
    tile.constants.iter().copied().chain(operands).chain(flags).collect()
}

/// Headers that cover every tile, every way to load, and every epilogue.
pub(super) fn headers(tiles: &[Tile]) -> Vec<Vec<(&'static str, u32)>> {
    let kinds = [
        ([ALONG_SUM, ACROSS], [2, 0], [1, 0, 0, 0]),
        ([ACROSS, ALONG_SUM], [0, 0], [1, 1, 1, 0]),
        ([SINGLE, SINGLE], [0, 0], [0, 1, 2, 1]),
        ([ALONG_SUM, ALONG_SUM], [0, 0], [1, 0, 3, 0]),
        ([ACROSS, ACROSS], [0, 1], [0, 0, 0, 1]),
        ([SINGLE, SINGLE], [0, 3], [0, 0, 0, 1]),
    ];
    let tiny = tiles.iter().filter(|tile| tile.is_software());
    let tiny = tiny.map(|tile| constants(*tile, [SINGLE; 2], [0, 0], [0, BY_PARAMETER, 0, BY_PARAMETER]));
    let all = tiles.iter().flat_map(|tile| kinds.map(|(loads, masks, flags)| constants(*tile, loads, masks, flags)));
    all.chain(tiny).collect()
}

/// The activation that a kernel ends in, as its constant `ACT`.
pub(super) fn act_constant(activation: Option<Unary>) -> u32 {
    match activation {
        Some(Unary::Relu) => 1,
        Some(Unary::Sigmoid) => 2,
        Some(Unary::Tanh) => 3,
        _ => 0,
    }
}

/// Checks bias and activation of an op that ends in `act(.. + bias)` over `n` columns.
///
/// # Panics
/// At the caller, when the bias has another shape, or the activation's derivative doesn't follow from its output.
#[track_caller]
pub(super) fn check_epilogue(op: &str, n: usize, bias: Option<&Tensor>, activation: Option<Unary>) {
    if let Some(bias) = bias
        && bias.shape()[..] != [n]
    {
        let problem = format!("bias has shape {}, expected {}", bias.shape(), Shape::from([n]));
        panic!("{}", ShapeError::new(problem).of(op));
    }
    assert!(
        activation.is_none() || act_constant(activation) != 0,
        "{op}: {activation:?} can't be fused, only Relu, Sigmoid and Tanh\n  help: apply it to the result"
    );
}

/// Bias and activation as tensor algebra, for results that no product's epilogue finishes.
#[track_caller]
pub(super) fn finish_tensor(mut y: Tensor, bias: Option<&Tensor>, activation: Option<Unary>) -> Tensor {
    if let Some(bias) = bias {
        y = y.add(bias);
    }
    match activation {
        Some(activation) => y.unary(activation),
        None => y,
    }
}

/// The CPU's form of the epilogue, over rows of `n` columns.
pub(super) fn finish_rows(y: &mut [f32], n: usize, bias: Option<&[f32]>, activation: Option<Unary>) {
    if n == 0 || (bias.is_none() && activation.is_none()) {
        return;
    }
    par::chunks(y, n, |_, rows| finish_block(rows, n, bias, activation));
}

/// [`finish_rows`] of a few rows, on this thread.
pub(super) fn finish_block(rows: &mut [f32], n: usize, bias: Option<&[f32]>, activation: Option<Unary>) {
    for row in rows.chunks_exact_mut(n) {
        if let Some(bias) = bias {
            row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        }
        match activation {
            None => {}
            // Spelled out, so that it compiles to vector code.
            Some(Unary::Relu) => row.iter_mut().for_each(|y| *y = if *y <= 0.0 { 0.0 } else { *y }),
            Some(activation) => row.iter_mut().for_each(|y| *y = activation.eval(*y)),
        }
    }
}
