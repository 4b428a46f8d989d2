//! Contrast and brightness changed at random.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::{Shape, ShapeError, Tensor};

use super::{Factor, images};
use crate::config;
use crate::layer::{Context, Layer};

/// In training, the contrast of each image is changed: `(x - mean) * factor + mean`, with the mean of each channel and a factor
/// around 1. Keras's `RandomContrast`, for values from 0 to 1.
///
/// ```
/// use tilegrad_nn::layers::RandomContrast;
/// let layer = RandomContrast::new(0.2); // factors from 0.8 to 1.2
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomContrast {
    factor: Factor,
    value_range: [f32; 2],
    name: Option<String>,
}

impl RandomContrast {
    /// With factors of 1 and a number from this range.
    pub fn new(factor: impl Into<Factor>) -> RandomContrast {
        RandomContrast { factor: factor.into(), value_range: [0.0, 1.0], name: None }
    }

    /// The range that values are kept in.
    pub fn value_range(mut self, low: f32, high: f32) -> RandomContrast {
        self.value_range = [low, high];
        self
    }

    /// The layer's name in summaries and errors.
    pub fn name(mut self, name: impl Into<String>) -> RandomContrast {
        self.name = Some(name.into());
        self
    }
}

impl Layer for RandomContrast {
    fn kind(&self) -> &str {
        "RandomContrast"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.factor.check("factor", -1.0)?;
        Factor(self.value_range).check("value range", f32::MIN)?;
        images(input)
    }

    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        if !ctx.training {
            return x.clone();
        }
        let n = x.shape()[0];
        let factor = self.factor.draw(n, x, ctx).affine(1.0, 1.0).reshape([n, 1, 1, 1]);
        let mean = x.mean_axes(&[1, 2], true);
        let [low, high] = self.value_range;
        x.sub(&mean).mul(&factor).add(&mean).clip(low, high)
    }
}

/// In training, a number is added to each image: a fraction of the range of values. Keras's `RandomBrightness`, for values from 0
/// to 1.
///
/// ```
/// use tilegrad_nn::layers::RandomBrightness;
/// let layer = RandomBrightness::new([0.0, 0.2]); // only brighter
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomBrightness {
    factor: Factor,
    value_range: [f32; 2],
    name: Option<String>,
}

impl RandomBrightness {
    /// With fractions from this range.
    pub fn new(factor: impl Into<Factor>) -> RandomBrightness {
        RandomBrightness { factor: factor.into(), value_range: [0.0, 1.0], name: None }
    }

    /// The range that values are kept in.
    pub fn value_range(mut self, low: f32, high: f32) -> RandomBrightness {
        self.value_range = [low, high];
        self
    }

    /// The layer's name in summaries and errors.
    pub fn name(mut self, name: impl Into<String>) -> RandomBrightness {
        self.name = Some(name.into());
        self
    }
}

impl Layer for RandomBrightness {
    fn kind(&self) -> &str {
        "RandomBrightness"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.factor.check("factor", -1.0)?;
        Factor(self.value_range).check("value range", f32::MIN)?;
        images(input)
    }

    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        if !ctx.training {
            return x.clone();
        }
        let (n, [low, high]) = (x.shape()[0], self.value_range);
        let more = self.factor.draw(n, x, ctx).affine(high - low, 0.0).reshape([n, 1, 1, 1]);
        x.add(&more).clip(low, high)
    }
}
