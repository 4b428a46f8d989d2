//! Normalization by known statistics: `y = (x - mean) / sqrt(variance)`, channel by channel.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tilegrad_core::{Result, Shape, ShapeError, Tensor};

use super::{built, config};
use crate::initializers::Initializer;
use crate::layer::{BuildContext, Context, Layer};
use crate::param::Param;

/// The least standard deviation that is divided by, as in Keras.
const LEAST_STD: f32 = 1e-7;

/// `(.., C) -> (.., C)`; the statistics `mean (C)` and `variance (C)`, which training leaves alone. Keras's `Normalization` over
/// the last axis.
///
/// ```
/// use tilegrad_core::{Device, Tensor};
/// use tilegrad_nn::{Sequential, layers::Normalization};
/// # fn main() -> tilegrad_core::Result<()> {
/// let examples = Tensor::new(&[0.0, 10.0, 2.0, 30.0], [2, 2], &Device::cpu());
/// let mut model = Sequential::new([2]).add(Normalization::adapt(&examples)?);
/// model.build(&Device::cpu(), 0)?;
/// assert_eq!(model.forward(&examples)?.to_vec::<f32>()?, [-1.0, -1.0, 1.0, 1.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    mean: Vec<f32>,
    variance: Vec<f32>,
    name: Option<String>,
    #[serde(skip)]
    weights: Option<[Param; 2]>,
}

impl Normalization {
    /// With the mean and variance of each channel; building the model refuses other numbers of them than there are channels.
    pub fn new(mean: impl Into<Vec<f32>>, variance: impl Into<Vec<f32>>) -> Normalization {
        Normalization { mean: mean.into(), variance: variance.into(), name: None, weights: None }
    }

    /// With the mean and variance that each channel of these examples has. Keras's `adapt`.
    ///
    /// # Errors
    /// When the device fails.
    ///
    /// # Panics
    /// When the examples have no axis beside the batch axis.
    #[track_caller]
    pub fn adapt(examples: &Tensor) -> Result<Normalization> {
        let rank = examples.shape().rank();
        assert!(rank >= 2, "Normalization: examples of shape {} have no axis beside the batch axis", examples.shape());
        let axes: Vec<isize> = (0..rank as isize - 1).collect();
        let mean = examples.mean_axes(&axes, true);
        // From the mean, and not as a difference of means of squares: large means would leave no digits.
        let variance = examples.sub(&mean).square().mean_axes(&axes, false);
        Ok(Normalization::new(mean.to_vec::<f32>()?, variance.to_vec::<f32>()?))
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> Normalization {
        self.name = Some(name.into());
        self
    }
}

impl Layer for Normalization {
    fn kind(&self) -> &str {
        "Normalization"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        if input.rank() < 2 {
            return Err(ShapeError::new("input has no axis beside the batch axis").operand("input", input));
        }
        let (means, variances) = (self.mean.len(), self.variance.len());
        if [means, variances] != [input[input.rank() - 1]; 2] {
            let problem = format!("{means} means and {variances} variances, expected one for each channel");
            return Err(ShapeError::new(problem).operand("input", input));
        }
        match self.variance.iter().find(|&&v| v < 0.0 || v.is_nan()) {
            Some(v) => Err(ShapeError::new(format!("variance: expected at least 0, got {v}"))),
            None => Ok(*input),
        }
    }

    fn build(&mut self, input: &Shape, ctx: &mut BuildContext) -> Result<Shape, ShapeError> {
        let output = self.output_shape(input)?;
        let channels = [self.mean.len()];
        let mean = ctx.statistic("mean", channels, &Initializer::Values(self.mean.clone()))?;
        let variance = ctx.statistic("variance", channels, &Initializer::Values(self.variance.clone()))?;
        self.weights = Some([mean, variance]);
        Ok(output)
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        let [mean, variance] = [0, 1].map(|i| built(&self.weights.as_ref().map(|weights| weights[i].clone())));
        x.sub(&mean).div(&variance.sqrt().clip_min(LEAST_STD))
    }

    fn flops(&self, _: &[Shape], output: &Shape) -> u64 {
        2 * output.len() as u64
    }
}
