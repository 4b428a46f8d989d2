//! Inputs one behind the other along an axis.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::{Shape, ShapeError, Tensor};

use super::config;
use crate::layer::{Context, Layer};

/// `(N, .., A, ..), (N, .., B, ..), .. -> (N, .., A + B + .., ..)`. Keras's `Concatenate`: along the last axis, the channels of
/// images, if nothing else is said.
///
/// ```
/// use tilegrad_core::Shape;
/// use tilegrad_nn::{Layer, layers::Concatenate};
/// let shapes = [Shape::from([1, 4, 4, 3]), Shape::from([1, 4, 4, 5])];
/// assert_eq!(Concatenate::new().merge_shape(&shapes).unwrap(), Shape::from([1, 4, 4, 8]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concatenate {
    axis: isize,
    name: Option<String>,
}

impl Default for Concatenate {
    fn default() -> Concatenate {
        Concatenate { axis: -1, name: None }
    }
}

impl Concatenate {
    /// The layer for the last axis.
    pub fn new() -> Concatenate {
        Concatenate::default()
    }

    /// The axis along which inputs are joined: counted with the batch axis, which is 0, or from the end if negative.
    pub fn axis(mut self, axis: isize) -> Concatenate {
        self.axis = axis;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> Concatenate {
        self.name = Some(name.into());
        self
    }
}

impl Layer for Concatenate {
    fn kind(&self) -> &str {
        "Concatenate"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, _: &Shape) -> Result<Shape, ShapeError> {
        Err(ShapeError::new("takes at least two inputs, got 1"))
    }

    fn merge_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let [first, rest @ ..] = inputs else { return Err(ShapeError::new("takes at least two inputs, got none")) };
        if rest.is_empty() {
            return self.output_shape(first);
        }
        let axis = first.axis(self.axis)?;
        if axis == 0 {
            return Err(ShapeError::new("can't join along the batch axis"));
        }
        let mut output = *first;
        for input in rest {
            if input.rank() != first.rank() || input.with(axis, 1) != first.with(axis, 1) {
                return Err(ShapeError::new(format!("inputs differ elsewhere than in axis {axis}")));
            }
            output = output.with(axis, output[axis] + input[axis]);
        }
        Ok(output)
    }

    fn merge(&self, x: &[Tensor], _: &mut Context<'_>) -> Tensor {
        Tensor::concat(&x.iter().collect::<Vec<_>>(), self.axis)
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.clone()
    }

    fn flops(&self, _: &[Shape], _: &Shape) -> u64 {
        0
    }
}
