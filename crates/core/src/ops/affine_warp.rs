//! Images turned, scaled and moved: each pixel of the result is looked up where an affine map sends it.
//!
//! ```text
//! source x = m0 * x + m1 * y + m2        x to the right and y downwards, in pixels from the first
//! source y = m3 * x + m4 * y + m5
//! ```
//!
//! There is a map for each image of a batch. Between pixels the four around are mixed by their distance, or the nearest is taken;
//! outside the image lies what [`FillMode`] says, as in Keras. No gradient: it is for inputs.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::AFFINE_WARP;

use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::DType;
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, apply};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["affine_warp"],
    differentiable: false,
    kernels: &[KernelInfo {
        shader: &AFFINE_WARP,
        entries: &["affine_warp_forward"],
        headers: || vec![vec![]],
        params_bytes: size_of::<Params>(),
    }],
};

/// What lies outside an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FillMode {
    /// A number.
    Constant(f32),
    /// The pixel at the edge, on and on.
    Nearest,
    /// The image mirrored, its edge twice: `d c b a | a b c d | d c b a`.
    Reflect,
    /// The image again.
    Wrap,
}

/// How [`Tensor::affine_warp`] looks pixels up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarpOptions {
    /// Height and width of the result.
    pub size: [usize; 2],
    /// Whether the four pixels around a place are mixed; otherwise the nearest is taken.
    pub bilinear: bool,
    /// What lies outside.
    pub fill: FillMode,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    height: u32,
    width: u32,
    channels: u32,
    out_height: u32,
    out_width: u32,
    x_offset: u32,
    maps_offset: u32,
    bilinear: u32,
    mode: u32,
    fill: f32,
    pad: u32,
}

#[derive(Clone, Copy, Debug)]
struct AffineWarp(WarpOptions);

/// A place brought into an axis of `n` pixels, but for a constant outside.
fn fold(at: f32, n: usize, fill: FillMode) -> f32 {
    let (len, last) = (n as f32, n as f32 - 1.0);
    let around = |period: f32| at - period * (at / period).floor();
    match fill {
        FillMode::Constant(_) => at,
        FillMode::Nearest => at.clamp(0.0, last),
        FillMode::Reflect => {
            let at = around(2.0 * len);
            (if at >= len { 2.0 * len - 1.0 - at } else { at }).clamp(0.0, last)
        }
        FillMode::Wrap => around(len),
    }
}

impl AffineWarp {
    /// The pixel's offset at whole places, unless it lies outside.
    fn offset(&self, y: f32, x: f32, height: usize, width: usize) -> Option<usize> {
        let place = |at: f32, n: usize| {
            let n = n as f32;
            let at = match self.0.fill {
                FillMode::Wrap if at >= n => at - n,
                FillMode::Constant(_) => at,
                _ => at.min(n - 1.0),
            };
            (at >= 0.0 && at < n).then_some(at as usize)
        };
        Some(place(y, height)? * width + place(x, width)?)
    }
}

impl Op for AffineWarp {
    fn name(&self) -> &'static str {
        "affine_warp"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        if x[0].rank() != 4 {
            return Err(ShapeError::new("images are (N, H, W, C)").operand("x", x[0]));
        }
        if x[1][..] != [x[0][0], 6] {
            return Err(ShapeError::new("maps are (N, 6), one an image").operand("x", x[0]).operand("maps", x[1]));
        }
        if x[0].contains(&0) {
            return Err(ShapeError::new("there are no pixels").operand("x", x[0]));
        }
        Shape::try_new(&[x[0][0], self.0.size[0], self.0.size[1], x[0][3]])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        match (x[0], x[1]) {
            (DType::F32, DType::F32) => Ok(DType::F32),
            (a, b) => Err(ShapeError::new(format!("images and maps are {a} and {b}, expected f32"))),
        }
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (images, maps) = (x[0].slice::<f32>(), x[1].slice::<f32>());
        let [height, width, channels] = [1, 2, 3].map(|axis| x[0].shape()[axis]);
        let [out_height, out_width] = self.0.size;
        let outside = if let FillMode::Constant(value) = self.0.fill { value } else { 0.0 };
        par::map(y[0].slice::<f32>(), |at| {
            let (channel, pixel) = (at % channels, at / channels);
            let (column, row) = ((pixel % out_width) as f32, (pixel / out_width % out_height) as f32);
            let image = pixel / out_width / out_height;
            let m = &maps[6 * image..][..6];
            let across = fold(m[0] * column + m[1] * row + m[2], width, self.0.fill);
            let down = fold(m[3] * column + m[4] * row + m[5], height, self.0.fill);
            let get = |down: f32, across: f32| match self.offset(down, across, height, width) {
                Some(offset) => images[(image * height * width + offset) * channels + channel],
                None => outside,
            };
            if !self.0.bilinear {
                return get((down + 0.5).floor(), (across + 0.5).floor());
            }
            let (top, left) = (down.floor(), across.floor());
            let (below, right) = (down - top, across - left);
            let mix = |row: f32| get(row, left) * (1.0 - right) + get(row, left + 1.0) * right;
            mix(top) * (1.0 - below) + mix(top + 1.0) * below
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let (mode, fill) = match self.0.fill {
            FillMode::Constant(value) => (0, value),
            FillMode::Nearest => (1, 0.0),
            FillMode::Reflect => (2, 0.0),
            FillMode::Wrap => (3, 0.0),
        };
        let shape = x[0].shape();
        let params = Params {
            len: y[0].len(),
            height: shape[1] as u32,
            width: shape[2] as u32,
            channels: shape[3] as u32,
            out_height: self.0.size[0] as u32,
            out_width: self.0.size[1] as u32,
            x_offset: x[0].offset(),
            maps_offset: x[1].offset(),
            bilinear: self.0.bilinear.into(),
            mode,
            fill,
            pad: 0,
        };
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &AFFINE_WARP, entry: "affine_warp_forward", constants: &[] },
            inputs: &[x[0].buffer, x[1].buffer],
            outputs: &[y[0].buffer],
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(params.len.into(), 64),
        });
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }

    fn cost(&self, _: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: 20 * y.len() as u64, bytes: 20 * y.len() as u64 }
    }
}

impl Tensor {
    /// Images `(N, H, W, C)` looked up through one affine map each, `(N, 6)`: turned, scaled and moved. A map sends a pixel of
    /// the result to its place in the image: `x = m0 x' + m1 y' + m2`, `y = m3 x' + m4 y' + m5`.
    ///
    /// ```
    /// use tilegrad_core::{Device, FillMode, Tensor, WarpOptions};
    /// let d = Device::cpu();
    /// let image = Tensor::new(&[1.0, 2.0, 3.0], [1, 1, 3, 1], &d);
    /// // What was half a pixel to the right.
    /// let map = Tensor::new(&[1.0, 0.0, 0.5, 0.0, 1.0, 0.0], [1, 6], &d);
    /// let options = WarpOptions { size: [1, 3], bilinear: true, fill: FillMode::Constant(0.0) };
    /// assert_eq!(image.affine_warp(&map, &options).to_vec::<f32>().unwrap(), [1.5, 2.5, 1.5]);
    /// ```
    ///
    /// # Panics
    /// When the shapes don't fit, there are no pixels, or the types are not `f32`.
    #[track_caller]
    pub fn affine_warp(&self, maps: &Tensor, options: &WarpOptions) -> Tensor {
        apply(AffineWarp(*options), &[self, maps])
    }
}
