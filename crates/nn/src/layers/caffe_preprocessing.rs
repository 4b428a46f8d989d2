//! Inputs as VGG and ResNet of Keras were trained on them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::{Shape, ShapeError, Tensor};

use super::config;
use crate::layer::{Context, Layer};

/// The means of ImageNet's channels blue, green and red, on a scale of 255.
const MEANS: [f32; 3] = [103.939, 116.779, 123.68];

/// `(N, H, W, 3) -> (N, H, W, 3)`: red, green and blue from 0 to 1 become blue, green and red on a scale of 255, less their means
/// over ImageNet. What Keras's `vgg16.preprocess_input` and `resnet50.preprocess_input` do, which calls it `caffe`.
///
/// ```
/// use tilegrad_core::{Device, Tensor};
/// use tilegrad_nn::{Sequential, layers::CaffePreprocessing};
/// # fn main() -> tilegrad_core::Result<()> {
/// let mut model = Sequential::new([1, 1, 3]).add(CaffePreprocessing::new());
/// model.build(&Device::cpu(), 0)?;
/// let red = Tensor::new(&[1.0, 0.0, 0.0], [1, 1, 1, 3], &Device::cpu());
/// assert_eq!(model.forward(&red)?.to_vec::<f32>()?, [-103.939, -116.779, 255.0 - 123.68]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaffePreprocessing {
    name: Option<String>,
}

impl CaffePreprocessing {
    /// The layer; it has nothing to set.
    pub fn new() -> CaffePreprocessing {
        CaffePreprocessing::default()
    }

    /// The layer's name in summaries and errors.
    pub fn name(mut self, name: impl Into<String>) -> CaffePreprocessing {
        self.name = Some(name.into());
        self
    }
}

impl Layer for CaffePreprocessing {
    fn kind(&self) -> &str {
        "CaffePreprocessing"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        if input.rank() == 4 && input[3] == 3 {
            return Ok(*input);
        }
        Err(ShapeError::new("input has not the three channels of colour images, (N, H, W, 3)").operand("input", input))
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.flip(&[3]).affine(255.0, 0.0).sub(&Tensor::new(&MEANS, [3], x.device()))
    }

    fn flops(&self, _: &[Shape], output: &Shape) -> u64 {
        2 * output.len() as u64
    }
}
