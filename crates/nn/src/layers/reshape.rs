//! Reshape and permute: the same numbers under other axes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tilegrad_core::{MAX_RANK, Shape, ShapeError, Tensor};

use super::config;
use crate::layer::{Context, Layer};

/// `(N, ..) -> (N, target)`, row-major. Keras's `Reshape`. Moves no data.
///
/// ```
/// use tilegrad_core::Shape;
/// use tilegrad_nn::{Layer, layers::Reshape};
/// assert_eq!(Reshape::new([4, -1]).output_shape(&Shape::from([1, 12])).unwrap(), Shape::from([1, 4, 3]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reshape {
    target_shape: Vec<isize>,
    name: Option<String>,
}

impl Reshape {
    /// Gives each example this shape, the batch axis left out. One axis may be -1: whatever is left for it.
    pub fn new(target: impl Into<Vec<isize>>) -> Reshape {
        Reshape { target_shape: target.into(), name: None }
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> Reshape {
        self.name = Some(name.into());
        self
    }
}

impl Layer for Reshape {
    fn kind(&self) -> &str {
        "Reshape"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let [batch, rest @ ..] = input.dims() else { return Err(ShapeError::new("input has no batch axis")) };
        let elements: usize = rest.iter().product();
        let refuse = || {
            let problem = format!("an example of {elements} numbers can't have the shape {:?}", self.target_shape);
            ShapeError::new(problem).operand("input", input)
        };
        let open = self.target_shape.iter().filter(|&&d| d == -1).count();
        let fixed = self
            .target_shape
            .iter()
            .filter(|&&d| d != -1)
            .try_fold(1usize, |product, &d| usize::try_from(d).ok().and_then(|d| product.checked_mul(d)));
        let fixed = fixed.ok_or_else(refuse)?;
        let fits = match open {
            0 => fixed == elements,
            1 => fixed > 0 && elements.is_multiple_of(fixed),
            _ => false,
        };
        if !fits || self.target_shape.len() >= MAX_RANK {
            return Err(refuse());
        }
        let axis = |&d: &isize| if d == -1 { elements / fixed } else { d as usize };
        Ok(Shape::new(&std::iter::once(*batch).chain(self.target_shape.iter().map(axis)).collect::<Vec<_>>()))
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.reshape(self.output_shape(x.shape()).expect("checked when the model was built"))
    }

    fn flops(&self, _: &[Shape], _: &Shape) -> u64 {
        0
    }
}

/// Each example's axes in another order. Keras's `Permute`.
///
/// ```
/// use tilegrad_core::Shape;
/// use tilegrad_nn::{Layer, layers::Permute};
/// assert_eq!(Permute::new([2, 1]).output_shape(&Shape::from([1, 10, 64])).unwrap(), Shape::from([1, 64, 10]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permute {
    dims: Vec<usize>,
    name: Option<String>,
}

impl Permute {
    /// The axes in their new order, counted from 1: the batch axis stays in front.
    pub fn new(dims: impl Into<Vec<usize>>) -> Permute {
        Permute { dims: dims.into(), name: None }
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> Permute {
        self.name = Some(name.into());
        self
    }
}

impl Layer for Permute {
    fn kind(&self) -> &str {
        "Permute"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let mut sorted = self.dims.clone();
        sorted.sort_unstable();
        if sorted != (1..input.rank()).collect::<Vec<_>>() {
            let problem = format!("{:?} is no order of the axes 1..={}", self.dims, input.rank().saturating_sub(1));
            return Err(ShapeError::new(problem).operand("input", input));
        }
        Ok(Shape::new(&std::iter::once(input[0]).chain(self.dims.iter().map(|&d| input[d])).collect::<Vec<_>>()))
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        let axes: Vec<isize> = std::iter::once(0).chain(self.dims.iter().map(|&d| d as isize)).collect();
        x.permute(&axes)
    }

    fn flops(&self, _: &[Shape], _: &Shape) -> u64 {
        0
    }
}
