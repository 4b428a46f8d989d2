//! Dropout of whole channels.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tilegrad_core::{Shape, ShapeError, Tensor};

use super::{config, expect_rank};
use crate::layer::{Context, Layer};

/// `(N, H, W, C) -> (N, H, W, C)`: in training, each channel of each image is 0 with probability `rate`, and the others are scaled
/// by `1 / (1 - rate)`. Keras's `SpatialDropout2D`. Tompson et al. 2014.
///
/// ```
/// use tilegrad_nn::{Sequential, layers::{Conv2d, SpatialDropout2d}};
/// let model = Sequential::new([8, 8, 1]).add(Conv2d::new(4, 3)).add(SpatialDropout2d::new(0.2));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpatialDropout2d {
    rate: f32,
    name: Option<String>,
}

impl SpatialDropout2d {
    /// Drops this fraction of the channels; building the model refuses a rate outside `0..1`.
    pub fn new(rate: f32) -> SpatialDropout2d {
        SpatialDropout2d { rate, name: None }
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> SpatialDropout2d {
        self.name = Some(name.into());
        self
    }
}

impl Layer for SpatialDropout2d {
    fn kind(&self) -> &str {
        "SpatialDropout2D"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        expect_rank(input, 4, "(N, H, W, C)", "use Dropout for other inputs")?;
        if (0.0..1.0).contains(&self.rate) {
            return Ok(*input);
        }
        Err(ShapeError::new(format!("rate: expected at least 0 and below 1, got {}", self.rate)))
    }

    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        if !ctx.training || self.rate == 0.0 {
            return x.clone();
        }
        let kept = Tensor::ones([x.shape()[0], 1, 1, x.shape()[3]], x.device());
        x.mul(&kept.dropout(self.rate, ctx.rng.next_draw()))
    }

    fn flops(&self, _: &[Shape], _: &Shape) -> u64 {
        0
    }
}
