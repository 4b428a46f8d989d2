//! A part of each image, cut out at random.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::{FillMode, Shape, ShapeError, Tensor, WarpOptions};

use super::{Factor, images};
use crate::config;
use crate::layer::{Context, Layer};

/// `(N, H, W, C) -> (N, height, width, C)`: in training, a part of each image from a place of its own; otherwise the middle.
/// Keras's `RandomCrop`.
///
/// ```
/// use tilegrad_core::Shape;
/// use tilegrad_nn::{Layer, layers::RandomCrop};
/// let crop = RandomCrop::new(24, 24);
/// assert_eq!(crop.output_shape(&Shape::from([1, 28, 28, 3])).unwrap(), Shape::from([1, 24, 24, 3]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomCrop {
    height: usize,
    width: usize,
    name: Option<String>,
}

impl RandomCrop {
    /// Cuts parts of this size out.
    pub fn new(height: usize, width: usize) -> RandomCrop {
        RandomCrop { height, width, name: None }
    }

    /// The layer's name in summaries and errors.
    pub fn name(mut self, name: impl Into<String>) -> RandomCrop {
        self.name = Some(name.into());
        self
    }
}

impl Layer for RandomCrop {
    fn kind(&self) -> &str {
        "RandomCrop"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let input = images(input)?;
        let fits = |part: usize, whole: usize| (1..=whole).contains(&part);
        if fits(self.height, input[1]) && fits(self.width, input[2]) {
            return Ok(input.with(1, self.height).with(2, self.width));
        }
        let problem = format!("no part of {} by {} pixels can be cut out", self.height, self.width);
        Err(ShapeError::new(problem).operand("input", &input))
    }

    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        let [n, height, width, channels] = [0, 1, 2, 3].map(|axis| x.shape()[axis]);
        let [below, beside] = [height - self.height, width - self.width];
        if !ctx.training {
            let (top, left) = (below / 2, beside / 2);
            return x.slice(&[0..n, top..top + self.height, left..left + self.width, 0..channels]);
        }
        // Whole pixels, each place with the same chance.
        let mut place = |room: usize| Factor([0.0, room as f32 + 1.0]).draw(n, x, ctx).floor().clip_max(room as f32);
        let (top, left) = (place(below), place(beside));
        let (zeros, ones) = (Tensor::zeros([n, 1], x.device()), Tensor::ones([n, 1], x.device()));
        let maps = Tensor::concat(&[&ones, &zeros, &left, &zeros, &ones, &top], 1);
        let size = [self.height, self.width];
        x.affine_warp(&maps, &WarpOptions { size, bilinear: false, fill: FillMode::Nearest })
    }

    fn flops(&self, _: &[Shape], _: &Shape) -> u64 {
        0
    }
}
