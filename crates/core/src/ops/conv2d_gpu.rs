//! How convolution runs on a GPU: the direct kernels (`conv2d_direct.wgsl` on software adapters, `conv2d_tiled.wgsl` on
//! hardware, with the same entry points and parameters), and im2col with a matrix product (`conv2d_columns.rs`).

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::{CONV2D_DIRECT, CONV2D_TILED, IM2COL, Shader};

use super::conv_options::{Conv2dOptions, ConvAlgorithm};
use super::conv2d::Geometry;
use super::gemm::{self, Part, Tile};
use super::{KernelInfo, OpInfo, conv2d_columns as columns};
use crate::dtype::DType;
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::GpuView;
use crate::shape::Layout;

const ENTRIES: &[&str] = &["conv2d_forward", "conv2d_backward_data", "conv2d_backward_weights"];

pub(super) static INFO: OpInfo = OpInfo {
    names: &["conv2d", "conv2d_data_gradient", "conv2d_weight_gradient", "conv_transpose2d"],
    differentiable: true,
    kernels: &[
        KernelInfo {
            shader: &CONV2D_DIRECT,
            entries: ENTRIES,
            headers: || direct_headers(&gemm::SOFTWARE),
            params_bytes: size_of::<Params>(),
        },
        KernelInfo {
            shader: &CONV2D_TILED,
            entries: ENTRIES,
            headers: || direct_headers(&gemm::HARDWARE),
            params_bytes: size_of::<Params>(),
        },
        KernelInfo {
            shader: &IM2COL,
            entries: &["im2col_forward", "im2col_backward"],
            headers: || {
                let vec = |g: &Geometry| ("C_VEC", u32::from((g.c / g.groups).is_multiple_of(4)));
                examples().iter().map(|g| geometry_constants(g).into_iter().chain([vec(g)]).collect()).collect()
            },
            params_bytes: size_of::<ColumnParams>(),
        },
    ],
};

/// Convolutions of every kind: few and many channels, strides, dilation, groups.
fn examples() -> Vec<Geometry> {
    use crate::shape::Shape;
    use crate::window::Padding;
    let case = |x: [usize; 4], w: [usize; 4], stride, dilation, groups| {
        let options = Conv2dOptions {
            stride: [stride; 2],
            dilation: [dilation; 2],
            groups,
            padding: Padding::Same,
            ..Default::default()
        };
        Geometry::new(&Shape::from(x), &Shape::from(w), &options).expect("the examples fit")
    };
    vec![
        case([2, 28, 28, 1], [3, 3, 1, 32], 1, 1, 1),
        case([2, 14, 14, 32], [3, 3, 32, 64], 1, 1, 1),
        case([1, 28, 20, 3], [7, 7, 3, 6], 2, 1, 1),
        case([1, 9, 9, 8], [3, 3, 4, 12], 3, 1, 2),
        case([1, 12, 12, 6], [3, 3, 1, 6], 1, 2, 6),
    ]
}

fn direct_headers(tiles: &[Tile]) -> Vec<Vec<(&'static str, u32)>> {
    let header = |tile: &Tile, (act, g): (usize, &Geometry)| {
        let vec = [u32::from((g.c / g.groups).is_multiple_of(4)), u32::from((g.o / g.groups).is_multiple_of(4))];
        direct_constants(tile, g, vec, [(act % 2) as u32, (act % 4) as u32])
    };
    tiles.iter().flat_map(|tile| examples().iter().enumerate().map(|e| header(tile, e)).collect::<Vec<_>>()).collect()
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    batch: u32,
    x_offset: u32,
    w_offset: u32,
    bias_offset: u32,
    y_offset: u32,
    split: u32,
    splits: u32,
    unused: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct ColumnParams {
    pub(super) first: u32,
    pub(super) images: u32,
    pub(super) group: u32,
    pub(super) x_offset: u32,
    pub(super) columns_offset: u32,
    pub(super) unused: [u32; 3],
}

/// The geometry, baked into the kernels: division by a constant is cheap, by a parameter a third of the whole time.
pub(super) fn geometry_constants(g: &Geometry) -> Vec<(&'static str, u32)> {
    let (h, w) = (&g.h, &g.w);
    [
        ("H", h.input),
        ("W", w.input),
        ("C", g.c),
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
        ("GROUPS", g.groups),
    ]
    .map(|(name, value)| (name, value as u32))
    .into()
}

fn direct_constants(
    tile: &Tile,
    g: &Geometry,
    [c_vec, o_vec]: [u32; 2],
    [bias, act]: [u32; 2],
) -> Vec<(&'static str, u32)> {
    let mut all = tile.constants.to_vec();
    all.extend(geometry_constants(g));
    all.extend([("O", g.o as u32), ("C_VEC", c_vec), ("O_VEC", o_vec), ("HAS_BIAS", bias), ("ACT", act)]);
    all
}

/// One launch of a direct kernel over a product of `rows x depth` by `depth x columns` for each group.
struct Direct<'a> {
    entry: &'static str,
    size: [usize; 3],
    /// Offsets that the vector paths need to be multiples of four: of what has `C` channels, and of what has `O`.
    aligned: [&'a [u32]; 2],
    epilogue: [u32; 2],
    inputs: &'a [&'a GpuBuffer],
    /// What it reads of them.
    parts: &'a [Part],
    output: &'a GpuBuffer,
    params: Params,
}

fn direct(gpu: &mut Stream, g: &Geometry, tile: &Tile, shader: &'static Shader, d: &Direct<'_>) {
    let [rows, columns, _] = d.size;
    let vec = |channels: usize, offsets: &[u32]| {
        u32::from((channels / g.groups).is_multiple_of(4) && offsets.iter().all(|o| o.is_multiple_of(4)))
    };
    let constants = direct_constants(tile, g, [vec(g.c, d.aligned[0]), vec(g.o, d.aligned[1])], d.epilogue);
    let parts: Vec<_> = d.parts.iter().map(Part::range).collect();
    gpu.dispatch_parts(
        &parts,
        Dispatch {
            kernel: Kernel { shader, entry: d.entry, constants: &constants },
            inputs: d.inputs,
            outputs: &[d.output],
            params: bytemuck::bytes_of(&d.params),
            workgroups: fold_workgroups((tile.count(rows, columns) * g.groups) as u64 * u64::from(d.params.splits), 1),
        },
    );
}

/// Whether im2col must take the place of a direct kernel. Those don't split their sum, and llvmpipe silently ends a kernel
/// after 65,535 rounds of its loops; a round is four steps.
fn too_deep(gpu: &Stream, depth: usize) -> bool {
    depth.div_ceil(4) > super::MAX_ROUNDS && gpu.gpu().is_software()
}

/// Whether a convolution runs as im2col: when it is asked for, and for halves, since only matrix products read them.
fn by_columns(options: &Conv2dOptions, x: &[GpuView<'_>]) -> bool {
    options.algorithm == ConvAlgorithm::Im2col || x[0].dtype == DType::F16
}

const PAIR: [&Shader; 2] = [&CONV2D_DIRECT, &CONV2D_TILED];

/// Sums over nothing, for an output that may be empty: kernels divide by their baked shapes, which must not be 0.
fn is_empty_sum(gpu: &mut Stream, y: &GpuView<'_>, depth: usize) -> bool {
    if depth == 0 {
        super::fill::fill_buffer(gpu, y.buffer, y.len(), 0.0);
    }
    depth == 0 || y.is_empty()
}

/// `y = act(conv(x, w) + bias)`; inputs `x`, `w` and perhaps `bias`.
pub(super) fn forward(gpu: &mut Stream, g: &Geometry, options: &Conv2dOptions, x: &[GpuView<'_>], y: &GpuView<'_>) {
    if is_empty_sum(gpu, y, g.depth()) {
        return;
    }
    if by_columns(options, x) || too_deep(gpu, g.depth()) {
        return columns::forward(gpu, g, options, x, y);
    }
    let size = [g.pixels(), g.o / g.groups, g.depth()];
    let (tile, shader) = gemm::choose(gpu, size, PAIR);
    let bias = x.get(2);
    let parts = [Part::of(&x[0]), Part::of(&x[1]), bias.map_or(Part::NONE, Part::of)];
    let params = Params {
        batch: g.batch as u32,
        x_offset: parts[0].start(shader),
        w_offset: parts[1].start(shader),
        bias_offset: parts[2].start(shader),
        splits: 1,
        ..Params::zeroed()
    };
    let d = Direct {
        entry: "conv2d_forward",
        size,
        aligned: [&[params.x_offset], &[params.w_offset]],
        epilogue: [u32::from(bias.is_some()), gemm::act_constant(options.activation)],
        inputs: &[x[0].buffer, x[1].buffer, bias.map_or(x[0].buffer, |b| b.buffer)],
        parts: &parts,
        output: y.buffer,
        params,
    };
    direct(gpu, g, &tile, shader, &d);
}

/// `dz` where no kernel makes it: those for software adapters and im2col don't.
fn made_dz(
    gpu: &mut Stream,
    options: &Conv2dOptions,
    im2col: bool,
    y: Option<&GpuView<'_>>,
    dy: &GpuView<'_>,
) -> Option<GpuBuffer> {
    let (activation, y) = options.activation.zip(y)?;
    (im2col || gpu.wants_software_kernels()).then(|| activation.derivative_on_gpu(gpu, y, dy))
}

fn dense<'a>(buffer: &'a GpuBuffer, like: &GpuView<'_>) -> GpuView<'a> {
    GpuView { buffer, layout: Layout::contiguous(*like.shape()), dtype: like.dtype }
}

/// `dx` from `dz` and `w`, or from `dy`, `w` and `y` if the options have an activation.
pub(super) fn data_gradient(
    gpu: &mut Stream,
    g: &Geometry,
    options: &Conv2dOptions,
    x: &[GpuView<'_>],
    dx: &GpuView<'_>,
) {
    let depth = g.h.size * g.w.size * g.o / g.groups;
    if is_empty_sum(gpu, dx, if g.pixels() == 0 { 0 } else { depth }) {
        return;
    }
    let im2col = by_columns(options, x) || too_deep(gpu, depth);
    if let Some(dz) = made_dz(gpu, options, im2col, x.get(2), &x[0]) {
        return data_gradient(gpu, g, &Conv2dOptions { activation: None, ..*options }, &[dense(&dz, &x[0]), x[1]], dx);
    }
    if im2col {
        return columns::data_gradient(gpu, g, x, dx);
    }
    let size = [g.batch * g.h.input * g.w.input, g.c / g.groups, depth];
    let (tile, shader) = gemm::choose(gpu, size, PAIR);
    let (buffers, parts) = gradient_inputs(x, &tile);
    let params = Params {
        batch: g.batch as u32,
        y_offset: parts[0].start(shader),
        w_offset: parts[1].start(shader),
        bias_offset: parts.get(2).map_or(0, |y| y.start(shader)),
        splits: 1,
        ..Params::zeroed()
    };
    let d = Direct {
        entry: "conv2d_backward_data",
        size,
        aligned: [&[], &[params.y_offset, params.w_offset, params.bias_offset]],
        epilogue: [0, gemm::act_constant(options.activation)],
        inputs: &buffers,
        parts: &parts,
        output: dx.buffer,
        params,
    };
    direct(gpu, g, &tile, shader, &d);
}

/// Buffers and parts of a gradient's inputs. The kernels for hardware have a third one, `y` if there is an activation and else
/// anything.
fn gradient_inputs<'a>(x: &[GpuView<'a>], tile: &Tile) -> (Vec<&'a GpuBuffer>, Vec<Part>) {
    let mut inputs: Vec<_> = x.iter().map(|x| (x.buffer, Part::of(x))).collect();
    if !tile.is_software() && x.len() == 2 {
        inputs.push((x[0].buffer, Part::NONE));
    }
    inputs.into_iter().unzip()
}

/// `dw` from `x` and `dz`, or from `x`, `dy` and `y` if the options have an activation: the batch's pixels in splits, whose
/// results a second kernel adds up. With `bias` there is one more row, the sums of `dz`.
pub(super) fn weight_gradient(
    gpu: &mut Stream,
    g: &Geometry,
    options: &Conv2dOptions,
    bias: bool,
    x: &[GpuView<'_>],
    dw: &GpuView<'_>,
) {
    if is_empty_sum(gpu, dw, g.pixels()) {
        return;
    }
    let im2col = by_columns(options, x);
    if let Some(dz) = made_dz(gpu, options, im2col, x.get(2), &x[1]) {
        let options = Conv2dOptions { activation: None, ..*options };
        return weight_gradient(gpu, g, &options, bias, &[x[0], dense(&dz, &x[1])], dw);
    }
    if im2col {
        return columns::weight_gradient(gpu, g, bias, x, dw);
    }
    let size = [g.depth(), g.o / g.groups, g.pixels()];
    let (tile, shader) = gemm::choose(gpu, size, PAIR);
    let tiles = tile.count(size[0], size[1]) * g.groups;
    // Windows overlap: a step over the pixels reads each channel about once a stride, not once a kernel position.
    let bytes = 4 * u64::from(dw.len());
    let (splits, split) = tile.split(gpu, tiles, g.pixels(), g.c + g.o, bytes);
    let (buffers, parts) = gradient_inputs(x, &tile);
    let params = Params {
        batch: g.batch as u32,
        x_offset: parts[0].start(shader),
        y_offset: parts[1].start(shader),
        bias_offset: parts.get(2).map_or(0, |y| y.start(shader)),
        split: split as u32,
        splits: splits as u32,
        ..Params::zeroed()
    };
    let partials = (splits > 1).then(|| gpu.alloc(splits as u64 * bytes, "partial weight gradients"));
    let d = Direct {
        entry: "conv2d_backward_weights",
        size,
        aligned: [&[params.x_offset], &[params.y_offset, params.bias_offset]],
        epilogue: [u32::from(bias), gemm::act_constant(options.activation)],
        inputs: &buffers,
        parts: &parts,
        output: partials.as_ref().unwrap_or(dw.buffer),
        params,
    };
    direct(gpu, g, &tile, shader, &d);
    if let Some(partials) = &partials {
        gemm::add_partials(gpu, partials, [1, g.depth() + usize::from(bias), g.o, splits], (None, None), dw.buffer, 0);
    }
}
