//! Max-unpooling: elements back at the positions that max-pooling had them from, zeros elsewhere.
//!
//! The op works on `(N, P, C)` elements and positions in `0..Q`, and makes `(N, Q, C)`. Where several elements have one
//! position the last is kept, so the GPU first finds that one by an atomic maximum over element numbers. With the winners
//! known everything is linear: each op below is the other's gradient. A position past the end, such as that of a window of
//! padding only, is left out.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::MAX_UNPOOL;

use super::pool::Pooling;
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::DType;
use crate::gpu::{Dispatch, GpuBuffer, Kernel, Stream, fold_workgroups};
use crate::op::{CpuView, CpuViewMut, GpuView, Op, Saves, apply, fits};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;
use crate::window::{Padding, Window, axis_name, check_rank};

pub(super) static INFO: OpInfo = OpInfo {
    names: &["max_unpool"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &MAX_UNPOOL,
        entries: &["max_unpool_clear", "max_unpool_winners", "max_unpool_forward", "max_unpool_backward"],
        headers: || vec![Vec::new()],
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    threads: u32,
    elements: u32,
    positions: u32,
    channels: u32,
    x_offset: u32,
    index_offset: u32,
    winners_offset: u32,
    pad: u32,
}

/// Sizes of a problem.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Elements `P` of an image.
    elements: usize,
    /// Positions `Q` of an image.
    positions: usize,
}

impl Sizes {
    fn launch(
        &self,
        gpu: &mut Stream,
        entry: &'static str,
        [x_offset, index_offset, winners_offset]: [u32; 3],
        inputs: &[&GpuBuffer],
        (y, threads): (&GpuView<'_>, u32),
    ) {
        let params = Params {
            threads,
            elements: self.elements as u32,
            positions: self.positions as u32,
            channels: y.shape()[2] as u32,
            x_offset,
            index_offset,
            winners_offset,
            pad: 0,
        };
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &MAX_UNPOOL, entry, constants: &[] },
            inputs,
            outputs: &[y.buffer],
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(threads.into(), 64),
        });
    }
}

/// For each position the number of its element, counted from 1: from positions `(N, P, C)` to `(N, Q, C)`. 0 is none.
#[derive(Debug)]
struct Winners(Sizes);

impl Op for Winners {
    fn name(&self) -> &'static str {
        "max_unpool_winners"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(x[0].with(1, self.0.positions))
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        match x[0] {
            DType::U32 => Ok(DType::U32),
            other => Err(ShapeError::new(format!("the indices are {other}, expected u32"))),
        }
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (c, [from, to]) = (x[0].shape()[2], [self.0.elements, self.0.positions].map(|n| n * x[0].shape()[2]));
        let index = x[0].slice::<u32>();
        par::rows(y[0].slice(), to, from, |n, y: &mut [u32]| {
            y.fill(0);
            for (i, &position) in index[n * from..][..from].iter().enumerate() {
                if (position as usize) < self.0.positions {
                    y[position as usize * c + i % c] = (i / c + 1) as u32;
                }
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let offsets = [0, x[0].offset(), 0];
        self.0.launch(gpu, "max_unpool_clear", offsets, &[x[0].buffer], (&y[0], y[0].len()));
        self.0.launch(gpu, "max_unpool_winners", offsets, &[x[0].buffer], (&y[0], x[0].len()));
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }
}

/// `y[q] = x[winners[q]]`: from `(N, P, C)`, positions `(N, P, C)` and winners `(N, Q, C)`.
#[derive(Clone, Copy, Debug)]
struct Unpool(Sizes);

fn f32_first(x: &[DType]) -> Result<DType, ShapeError> {
    match x[0] {
        DType::F32 => Ok(DType::F32),
        other => Err(ShapeError::new(format!("input 0 is {other}, expected f32"))),
    }
}

impl Op for Unpool {
    fn name(&self) -> &'static str {
        "max_unpool"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[2])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        f32_first(x)
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (c, [from, to]) = (x[0].shape()[2], [self.0.elements, self.0.positions].map(|n| n * x[0].shape()[2]));
        let (x, winners) = (x[0].slice::<f32>(), x[2].slice::<u32>());
        par::map(y[0].slice(), |i| match winners[i] as usize {
            0 => 0.0,
            element => x[i / to * from + (element - 1) * c + i % c],
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let offsets = [x[0].offset(), 0, x[2].offset()];
        self.0.launch(gpu, "max_unpool_forward", offsets, &[x[0].buffer, x[2].buffer], (&y[0], y[0].len()));
    }

    fn saves(&self) -> Saves {
        Saves::input(1).and(Saves::input(2))
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(apply(UnpoolBackward(*self), &[dy, node.input(1), node.input(2)])), None, None]
    }
}

/// `dx` of the elements that won, from `dy (N, Q, C)`, positions and winners.
#[derive(Debug)]
struct UnpoolBackward(Unpool);

impl Op for UnpoolBackward {
    fn name(&self) -> &'static str {
        "max_unpool_backward"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[1])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        f32_first(x)
    }

    fn cpu(&self, x: &[CpuView<'_>], dx: &mut [CpuViewMut<'_>]) {
        let Sizes { elements, positions } = self.0.0;
        let c = x[0].shape()[2];
        let (dy, index, winners) = (x[0].slice::<f32>(), x[1].slice::<u32>(), x[2].slice::<u32>());
        par::map(dx[0].slice(), |i| {
            let (n, element, position) = (i / (elements * c), i / c % elements, index[i] as usize);
            let at = (n * positions + position) * c + i % c;
            if position < positions && winners[at] as usize == element + 1 { dy[at] } else { 0.0 }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], dx: &[GpuView<'_>]) {
        let offsets = [x[0].offset(), x[1].offset(), x[2].offset()];
        let inputs = [x[0].buffer, x[1].buffer, x[2].buffer];
        self.0.0.launch(gpu, "max_unpool_backward", offsets, &inputs, (&dx[0], dx[0].len()));
    }

    fn saves(&self) -> Saves {
        Saves::input(1).and(Saves::input(2))
    }

    fn backward(&self, node: &Node, ddx: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(apply(self.0, &[ddx, node.input(1), node.input(2)])), None, None]
    }
}

/// The image size that `window` pools to that of `x`, along one axis.
fn size_before<const N: usize>(x: &Shape, window: &Window<N>, i: usize) -> Result<usize, ShapeError> {
    window.check(x, i)?;
    let sides = match window.padding {
        Padding::Valid => [0, 0],
        Padding::Explicit(sides) => sides[i],
        Padding::Same | Padding::SameLower => {
            let problem = "the size of the image before pooling does not follow from Same padding";
            return Err(ShapeError::new(problem).operand("x", x).help("give the output size"));
        }
    };
    let (name, extent) = (axis_name::<N>(i), window.extent(i));
    let padded = x[i + 1].saturating_sub(1) * window.stride[i] + extent;
    padded.checked_sub(sides[0] + sides[1]).ok_or_else(|| {
        let problem = format!("padding {sides:?} in {name} is more than the {padded} positions of all windows");
        ShapeError::new(problem).operand_axis("x", x, i + 1)
    })
}

#[track_caller]
fn max_unpool<const N: usize>(
    name: &'static str,
    x: &Tensor,
    indices: &Tensor,
    pooling: Pooling<N>,
    output: Option<[usize; N]>,
) -> Tensor {
    fits(name, check_rank::<N>(x.shape()));
    if x.shape() != indices.shape() {
        let error = ShapeError::new("elements and indices differ in shape");
        fits(name, Err::<(), _>(error.operand("x", x.shape()).operand("indices", indices.shape())));
    }
    fits(name, Winners(Sizes { elements: 0, positions: 0 }).dtype(&[indices.dtype()]));
    let mut sizes = output.unwrap_or([0; N]);
    if output.is_none() {
        for (i, size) in sizes.iter_mut().enumerate() {
            *size = fits(name, size_before(x.shape(), &pooling.window, i));
        }
    }
    let (n, c) = (x.shape()[0], x.shape()[N + 1]);
    let shape = Shape::new(&[&[n], &sizes[..], &[c]].concat());
    let (elements, positions) = (x.shape()[1..=N].iter().product(), sizes.iter().product());
    let sizes = Sizes { elements, positions };
    let flat = Shape::from([n, elements, c]);
    let (x, indices) = (x.reshape(flat), indices.reshape(flat));
    let winners = apply(Winners(sizes), &[&indices]);
    apply(Unpool(sizes), &[&x, &indices, &winners]).reshape(shape)
}

impl Tensor {
    /// [`Tensor::max_unpool2d`] over one axis: `(N, L, C)`.
    #[track_caller]
    pub fn max_unpool1d(&self, indices: &Tensor, window: impl Into<Pooling<1>>, output: Option<[usize; 1]>) -> Tensor {
        max_unpool("max_unpool1d", self, indices, window.into(), output)
    }

    /// Puts elements `(N, OH, OW, C)` back at the positions `h * W + w` that [`Tensor::max_pool2d_with_indices`] gave, in
    /// an image of zeros `(N, H, W, C)`. Its size is `output`, or the smallest that the window pools to `(OH, OW)`:
    /// `(OH - 1) * stride + size - padding`. Of several elements with one position the last is kept; a position past the
    /// image is left out.
    ///
    /// ```
    /// use tilegrad_core::{Device, Padding, Tensor, Window};
    /// let x = Tensor::new(&[1.0, 2.0, 5.0, 4.0], [1, 2, 2, 1], &Device::cpu());
    /// let window = Window { size: [2; 2], stride: [2; 2], dilation: [1; 2], padding: Padding::Valid };
    /// let (y, indices) = x.max_pool2d_with_indices(window);
    /// assert_eq!(y.max_unpool2d(&indices, window, None).to_vec::<f32>().unwrap(), [0.0, 0.0, 5.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// When the shapes differ, the indices are not `u32`, or the size does not follow from the window (Same padding).
    #[track_caller]
    pub fn max_unpool2d(&self, indices: &Tensor, window: impl Into<Pooling<2>>, output: Option<[usize; 2]>) -> Tensor {
        max_unpool("max_unpool2d", self, indices, window.into(), output)
    }

    /// [`Tensor::max_unpool2d`] over three axes: `(N, D, H, W, C)`.
    #[track_caller]
    pub fn max_unpool3d(&self, indices: &Tensor, window: impl Into<Pooling<3>>, output: Option<[usize; 3]>) -> Tensor {
        max_unpool("max_unpool3d", self, indices, window.into(), output)
    }
}
