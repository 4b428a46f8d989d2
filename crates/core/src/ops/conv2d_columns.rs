//! Convolution on a GPU as im2col and a matrix product: the reference that the direct kernels are tested against, what runs
//! where their sums would be too long for llvmpipe, and the way of halves to cooperative matrices.

use bytemuck::Zeroable;
use tilegrad_shaders::IM2COL;

use super::conv_options::Conv2dOptions;
use super::conv2d::Geometry;
use super::conv2d_gpu::{ColumnParams, geometry_constants};
use super::gemm::{self, Operand, Part, Product};
use crate::dtype::DType;
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::GpuView;
use crate::shape::Layout;

/// Columns of some images for one group, in a buffer of their own.
struct Chunk {
    first: usize,
    images: usize,
    group: usize,
}

/// The most bytes of columns at a time; within the 128 MiB that any adapter binds.
const CHUNK_BYTES: usize = 64 << 20;

/// The batch in chunks whose columns fit, for each group.
fn chunks(g: &Geometry) -> Vec<Chunk> {
    let image = 4 * g.h.output * g.w.output * g.depth();
    let images = (CHUNK_BYTES / image.max(1)).clamp(1, g.batch.max(1));
    let groups = 0..g.groups;
    groups
        .flat_map(|group| {
            let starts = (0..g.batch).step_by(images);
            starts.map(move |first| Chunk { first, images: images.min(g.batch - first), group })
        })
        .collect()
}

impl Chunk {
    fn pixels(&self, g: &Geometry) -> usize {
        self.images * g.h.output * g.w.output
    }

    /// Where the chunk's channels of `y` start, in elements.
    fn y_start(&self, g: &Geometry) -> usize {
        self.first * g.h.output * g.w.output * g.o + self.group * g.o / g.groups
    }

    /// Copies images to columns, or adds columns up to images.
    fn launch(&self, gpu: &mut Stream, g: &Geometry, entry: &'static str, x: &GpuBuffer, y: &GpuBuffer, x_offset: u32) {
        let group_channels = g.c / g.groups;
        let mut constants = geometry_constants(g);
        constants.push(("C_VEC", u32::from(group_channels.is_multiple_of(4) && x_offset.is_multiple_of(4))));
        let params = ColumnParams {
            first: self.first as u32,
            images: self.images as u32,
            group: self.group as u32,
            x_offset,
            ..ColumnParams::zeroed()
        };
        let elements = match entry {
            "im2col_forward" => self.pixels(g) * g.depth(),
            _ => self.images * g.h.input * g.w.input * group_channels,
        };
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &IM2COL, entry, constants: &constants },
            inputs: &[x],
            outputs: &[y],
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(elements as u64, 256),
        });
    }

    fn alloc_columns(&self, gpu: &mut Stream, g: &Geometry) -> GpuBuffer {
        gpu.alloc((4 * self.pixels(g) * g.depth()) as u64, "im2col columns")
    }

    /// The columns of images. Halves are copied in pairs, as words: half as many channels.
    fn columns(&self, gpu: &mut Stream, g: &Geometry, x: &GpuView<'_>) -> GpuBuffer {
        let per_word = 4 / x.dtype.size() as u32;
        let words = Geometry { c: g.c / per_word as usize, ..*g };
        let columns = self.alloc_columns(gpu, &words);
        if x.offset().is_multiple_of(per_word) {
            self.launch(gpu, &words, "im2col_forward", x.buffer, &columns, x.offset() / per_word);
        } else {
            // Images that start inside a word.
            let layout = Layout::contiguous(*x.shape());
            let own = gpu.alloc(u64::from(x.len().div_ceil(per_word)) * 4, "images at the start of a word");
            super::copy::copy_gpu(gpu, x, &GpuView { buffer: &own, layout, dtype: x.dtype }, layout);
            self.launch(gpu, &words, "im2col_forward", &own, &columns, 0);
        }
        columns
    }
}

/// A matrix in a buffer.
fn matrix(buffer: &GpuBuffer, offset: usize, row: usize, col: usize) -> Operand<'_> {
    Operand { buffer, offset, row, col, batch: 0 }
}

pub(super) fn forward(gpu: &mut Stream, g: &Geometry, options: &Conv2dOptions, x: &[GpuView<'_>], y: &GpuView<'_>) {
    for chunk in chunks(g) {
        let columns = chunk.columns(gpu, g, &x[0]);
        let (pixels, width) = (chunk.pixels(g), g.o / g.groups);
        // A group's outputs are a part of each pixel: they are made on their own and copied into place.
        let own = (g.groups > 1).then(|| gpu.alloc((4 * pixels * width) as u64, "outputs of a group"));
        let a = matrix(&columns, 0, g.depth(), 1);
        let b = matrix(x[1].buffer, x[1].layout.offset + chunk.group * width, g.o, 1);
        let bias = x.get(2).map(|b| (b.buffer, Part { offset: b.layout.offset + chunk.group * width, len: width }));
        let start = if own.is_some() { 0 } else { chunk.y_start(g) };
        let product = Product::new([pixels, width, g.depth()], a, b, own.as_ref().unwrap_or(y.buffer), start);
        gemm::launch(gpu, &Product { bias, activation: options.activation, half: x[0].dtype == DType::F16, ..product });
        if let Some(own) = &own {
            copy_matrix(gpu, own, y, [pixels, width], chunk.y_start(g), g.o);
        }
    }
}

pub(super) fn data_gradient(gpu: &mut Stream, g: &Geometry, x: &[GpuView<'_>], dx: &GpuView<'_>) {
    for chunk in chunks(g) {
        let columns = chunk.alloc_columns(gpu, g);
        let width = g.o / g.groups;
        let dz = matrix(x[0].buffer, x[0].layout.offset + chunk.y_start(g), g.o, 1);
        let w = matrix(x[1].buffer, x[1].layout.offset + chunk.group * width, 1, g.o);
        let product = Product::new([chunk.pixels(g), g.depth(), width], dz, w, &columns, 0);
        gemm::launch(gpu, &Product { half: x[0].dtype == DType::F16, ..product });
        // A thread goes through the kernel's positions for each of four values.
        super::check_rounds("conv2d_data_gradient", gpu.gpu().is_software(), 4 * g.h.size * (g.w.size + 1));
        chunk.launch(gpu, g, "im2col_backward", &columns, dx.buffer, 0);
    }
}

pub(super) fn weight_gradient(gpu: &mut Stream, g: &Geometry, bias: bool, x: &[GpuView<'_>], dw: &GpuView<'_>) {
    let (rows, width) = (g.depth() + usize::from(bias), g.o / g.groups);
    let all = chunks(g);
    let per_group = all.len() / g.groups;
    for group in all.chunks(per_group) {
        // Partial results of the chunks, added up at the end.
        let partials = gpu.alloc((4 * per_group * rows * width) as u64, "partial weight gradients");
        for (i, chunk) in group.iter().enumerate() {
            let columns = chunk.columns(gpu, g, &x[0]);
            let size = [g.depth(), width, chunk.pixels(g)];
            let turned = matrix(&columns, 0, 1, g.depth());
            let dz = matrix(x[1].buffer, x[1].layout.offset + chunk.y_start(g), g.o, 1);
            let product = Product::new(size, turned, dz, &partials, i * rows * width);
            gemm::launch(gpu, &Product { column_sums: bias, half: x[0].dtype == DType::F16, ..product });
        }
        let own = gpu.alloc((4 * rows * width) as u64, "weight gradients of a group");
        gemm::add_partials(gpu, &partials, [1, rows, width, per_group], (None, None), &own, 0);
        copy_matrix(gpu, &own, dw, [rows, width], group[0].group * width, g.o);
    }
}

/// Copies a dense matrix into a part of `y` whose rows are `stride` elements apart.
fn copy_matrix(
    gpu: &mut Stream,
    from: &GpuBuffer,
    y: &GpuView<'_>,
    [rows, columns]: [usize; 2],
    offset: usize,
    stride: usize,
) {
    let layout = Layout::contiguous([rows, columns].into());
    let mut to = layout;
    (to.strides[0], to.offset) = (stride, offset);
    super::copy::copy_gpu(gpu, &GpuView { buffer: from, layout, dtype: y.dtype }, y, to);
}
