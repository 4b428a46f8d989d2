//! A border of zeros around images, or a border less.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tilegrad_core::{Shape, ShapeError, Tensor};

use super::{Sides, config, expect_rank};
use crate::layer::{Context, Layer};

/// `(N, H, W, C) -> (N, top + H + bottom, left + W + right, C)`. Keras's `ZeroPadding2D`.
///
/// ```
/// use tilegrad_core::Shape;
/// use tilegrad_nn::{Layer, layers::ZeroPadding2d};
/// let border = ZeroPadding2d::new([[0, 1], [2, 3]]);
/// assert_eq!(border.output_shape(&Shape::from([1, 8, 8, 3])).unwrap(), Shape::from([1, 9, 13, 3]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZeroPadding2d {
    padding: [[usize; 2]; 2],
    name: Option<String>,
}

impl ZeroPadding2d {
    /// So many pixels on each side; or above and below, and left and right; or `[[top, bottom], [left, right]]`.
    pub fn new(padding: impl Into<Sides>) -> ZeroPadding2d {
        ZeroPadding2d { padding: padding.into().0, name: None }
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> ZeroPadding2d {
        self.name = Some(name.into());
        self
    }
}

impl Layer for ZeroPadding2d {
    fn kind(&self) -> &str {
        "ZeroPadding2D"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        expect_rank(input, 4, "(N, H, W, C)", "images have a channel axis, also when it is 1: use [H, W, 1]")?;
        let [[top, bottom], [left, right]] = self.padding;
        let height = input[1].checked_add(top).and_then(|h| h.checked_add(bottom));
        let width = input[2].checked_add(left).and_then(|w| w.checked_add(right));
        match (height, width) {
            (Some(height), Some(width)) => Shape::try_new(&[input[0], height, width, input[3]]),
            _ => Err(ShapeError::new("the padded image is too large").operand("input", input)),
        }
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        let [[top, bottom], [left, right]] = self.padding;
        x.pad(&[(0, 0), (top, bottom), (left, right), (0, 0)], 0.0)
    }

    fn flops(&self, _: &[Shape], _: &Shape) -> u64 {
        0
    }
}

/// `(N, H, W, C) -> (N, H - top - bottom, W - left - right, C)`. Keras's `Cropping2D`.
///
/// ```
/// use tilegrad_core::Shape;
/// use tilegrad_nn::{Layer, layers::Cropping2d};
/// assert_eq!(Cropping2d::new(2).output_shape(&Shape::from([1, 8, 8, 3])).unwrap(), Shape::from([1, 4, 4, 3]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cropping2d {
    cropping: [[usize; 2]; 2],
    name: Option<String>,
}

impl Cropping2d {
    /// So many pixels of each side; or above and below, and left and right; or `[[top, bottom], [left, right]]`.
    pub fn new(cropping: impl Into<Sides>) -> Cropping2d {
        Cropping2d { cropping: cropping.into().0, name: None }
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> Cropping2d {
        self.name = Some(name.into());
        self
    }
}

impl Layer for Cropping2d {
    fn kind(&self) -> &str {
        "Cropping2D"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        expect_rank(input, 4, "(N, H, W, C)", "images have a channel axis, also when it is 1: use [H, W, 1]")?;
        let left = |axis: usize, [before, after]: [usize; 2]| {
            input[axis].checked_sub(before)?.checked_sub(after).filter(|&left| left > 0)
        };
        match (left(1, self.cropping[0]), left(2, self.cropping[1])) {
            (Some(height), Some(width)) => Ok(input.with(1, height).with(2, width)),
            _ => {
                Err(ShapeError::new(format!("cropping by {:?} leaves nothing", self.cropping)).operand("input", input))
            }
        }
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        let [[top, bottom], [left, right]] = self.cropping;
        let [n, height, width, channels] = [0, 1, 2, 3].map(|axis| x.shape()[axis]);
        x.slice(&[0..n, top..height - bottom, left..width - right, 0..channels])
    }

    fn flops(&self, _: &[Shape], _: &Shape) -> u64 {
        0
    }
}
