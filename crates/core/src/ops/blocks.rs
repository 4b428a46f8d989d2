//! Channels to pixels and back: depth_to_space and space_to_depth of NHWC images. A reshape, a permutation and a reshape.

use super::movement::refuse;
use crate::shape::ShapeError;
use crate::tensor::Tensor;

/// How channels that become a block of pixels are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockOrder {
    /// Channel `(row * block + column) * depth + d` is pixel `(row, column)` of channel `d`: ONNX's `DCR`, and the order of
    /// TensorFlow's `depth_to_space`.
    #[default]
    DepthLast,
    /// Channel `(d * block + row) * block + column` is: ONNX's `CRD`, and the order of PyTorch's `pixel_shuffle`.
    DepthFirst,
}

/// The lengths of `(N, H, W, C)`.
#[track_caller]
fn image_dims(op: &str, x: &Tensor, block: usize) -> [usize; 4] {
    let fail = |problem: String| ShapeError::new(problem).operand("x", x.shape());
    let Ok(dims) = <[usize; 4]>::try_from(x.shape().dims()) else {
        refuse(op, fail(format!("{} axes, expected 4: (batch, height, width, channels)", x.rank())))
    };
    if block == 0 {
        refuse(op, fail("the block is 0 pixels wide".into()));
    }
    let largest = dims.iter().max().copied().unwrap_or(0);
    if block.checked_mul(block).and_then(|square| square.checked_mul(largest)).is_none() {
        refuse(
            op,
            fail(format!("blocks of {block} x {block} pixels are more than a {}-bit count can hold", usize::BITS)),
        );
    }
    dims
}

impl Tensor {
    /// Images `(N, H, W, C)` as `(N, H*block, W*block, C/block^2)`: each pixel's channels become a block of pixels.
    ///
    /// ```
    /// use tilegrad_core::{BlockOrder, Device, Tensor};
    /// let x = Tensor::new(&[0.0, 1.0, 2.0, 3.0], [1, 1, 1, 4], &Device::cpu());
    /// assert_eq!(x.depth_to_space(2, BlockOrder::DepthLast).shape()[..], [1, 2, 2, 1]);
    /// ```
    ///
    /// # Panics
    /// When there are not four axes, or the channels are no multiple of `block * block`.
    #[track_caller]
    pub fn depth_to_space(&self, block: usize, order: BlockOrder) -> Tensor {
        let [n, h, w, c] = image_dims("depth_to_space", self, block);
        if !c.is_multiple_of(block * block) {
            let problem = format!("{c} channels do not make blocks of {block} x {block} pixels");
            refuse("depth_to_space", ShapeError::new(problem).operand_axis("x", self.shape(), 3));
        }
        let depth = c / (block * block);
        let pixels = match order {
            BlockOrder::DepthLast => self.reshape([n, h, w, block, block, depth]).permute(&[0, 1, 3, 2, 4, 5]),
            BlockOrder::DepthFirst => self.reshape([n, h, w, depth, block, block]).permute(&[0, 1, 4, 2, 5, 3]),
        };
        pixels.reshape([n, h * block, w * block, depth])
    }

    /// The opposite of [`Tensor::depth_to_space`]: `(N, H, W, C)` as `(N, H/block, W/block, C*block^2)`.
    ///
    /// # Panics
    /// When there are not four axes, or height or width are no multiple of `block`.
    #[track_caller]
    pub fn space_to_depth(&self, block: usize, order: BlockOrder) -> Tensor {
        let [n, h, w, c] = image_dims("space_to_depth", self, block);
        if let Some(axis) = [1, 2].into_iter().find(|&a| !self.shape()[a].is_multiple_of(block)) {
            let problem = format!("{} pixels are no multiple of a block's {block}", self.shape()[axis]);
            refuse("space_to_depth", ShapeError::new(problem).operand_axis("x", self.shape(), axis));
        }
        let blocks = self.reshape([n, h / block, block, w / block, block, c]);
        let blocks = match order {
            BlockOrder::DepthLast => blocks.permute(&[0, 1, 3, 2, 4, 5]),
            BlockOrder::DepthFirst => blocks.permute(&[0, 1, 3, 5, 2, 4]),
        };
        blocks.reshape([n, h / block, w / block, c * block * block])
    }
}
