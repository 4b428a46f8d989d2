//! Upsampling: images larger by a whole factor.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tilegrad_core::{Shape, ShapeError, Tensor};

use super::{Pair, config, expect_positive, expect_rank};
use crate::layer::{Context, Layer};

/// Where the new pixels come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// The nearest old pixel.
    #[default]
    Nearest,
    /// The four nearest, by their distance.
    Bilinear,
}

/// `(N, H, W, C) -> (N, H * rows, W * columns, C)`. Keras's `UpSampling2D` with its defaults: twice, nearest.
///
/// ```
/// use tilegrad_core::Shape;
/// use tilegrad_nn::{Layer, layers::UpSampling2d};
/// assert_eq!(UpSampling2d::new(2).output_shape(&Shape::from([1, 7, 7, 3])).unwrap(), Shape::from([1, 14, 14, 3]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpSampling2d {
    size: [usize; 2],
    interpolation: Interpolation,
    name: Option<String>,
}

impl UpSampling2d {
    /// So many pixels in place of each, along height and width.
    pub fn new(size: impl Into<Pair>) -> UpSampling2d {
        UpSampling2d { size: size.into().0, interpolation: Interpolation::Nearest, name: None }
    }

    /// Where the new pixels come from.
    pub fn interpolation(mut self, interpolation: Interpolation) -> UpSampling2d {
        self.interpolation = interpolation;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> UpSampling2d {
        self.name = Some(name.into());
        self
    }
}

impl Layer for UpSampling2d {
    fn kind(&self) -> &str {
        "UpSampling2D"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        expect_rank(input, 4, "(N, H, W, C)", "images have a channel axis, also when it is 1: use [H, W, 1]")?;
        let [rows, columns] = self.size;
        expect_positive("size in height", rows, input)?;
        expect_positive("size in width", columns, input)?;
        match (input[1].checked_mul(rows), input[2].checked_mul(columns)) {
            (Some(height), Some(width)) => Shape::try_new(&[input[0], height, width, input[3]]),
            _ => Err(ShapeError::new("the upsampled image is too large").operand("input", input)),
        }
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        match self.interpolation {
            Interpolation::Nearest => x.upsample_nearest(self.size),
            Interpolation::Bilinear => x.resize_bilinear([x.shape()[1] * self.size[0], x.shape()[2] * self.size[1]]),
        }
    }
}
