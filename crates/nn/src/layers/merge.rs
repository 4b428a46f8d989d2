//! Several inputs made one, number by number: `y = x1 + x2 + ..`, and alike.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::{Shape, ShapeError, Tensor};

use super::config;
use crate::layer::{Context, Layer};

/// `(N, ..), (N, ..), .. -> (N, ..)`: inputs of one shape, or with axes of 1 that stretch, made one number by number. Made by
/// [`Add`], [`Subtract`], [`Multiply`], [`Average`], [`Maximum`] and [`Minimum`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    how: How,
    name: Option<String>,
}

/// How two numbers become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum How {
    Add,
    Subtract,
    Multiply,
    Average,
    Maximum,
    Minimum,
}

/// The sum of inputs: a shortcut around other layers. Keras's `Add`.
///
/// ```
/// use tilegrad_nn::layers::{Add, Dense};
/// use tilegrad_nn::{Input, Layer, Model};
/// let x = Input::new([8]);
/// let y = Add::new().call([&x, &Dense::new(8).call(&x)]);
/// let model = Model::new(&x, &y);
/// ```
#[derive(Debug)]
pub struct Add;

/// The first of two inputs without the second. Keras's `Subtract`.
#[derive(Debug)]
pub struct Subtract;

/// The product of inputs. Keras's `Multiply`.
#[derive(Debug)]
pub struct Multiply;

/// The mean of inputs. Keras's `Average`.
#[derive(Debug)]
pub struct Average;

/// The larger number at each place. Keras's `Maximum`.
#[derive(Debug)]
pub struct Maximum;

/// The smaller number at each place. Keras's `Minimum`.
#[derive(Debug)]
pub struct Minimum;

#[allow(clippy::new_ret_no_self, reason = "Keras's word; the layers differ in one function only")]
impl Add {
    /// The layer.
    pub fn new() -> Merge {
        Merge { how: How::Add, name: None }
    }
}

#[allow(clippy::new_ret_no_self, reason = "as for Add")]
impl Subtract {
    /// The layer.
    pub fn new() -> Merge {
        Merge { how: How::Subtract, name: None }
    }
}

#[allow(clippy::new_ret_no_self, reason = "as for Add")]
impl Multiply {
    /// The layer.
    pub fn new() -> Merge {
        Merge { how: How::Multiply, name: None }
    }
}

#[allow(clippy::new_ret_no_self, reason = "as for Add")]
impl Average {
    /// The layer.
    pub fn new() -> Merge {
        Merge { how: How::Average, name: None }
    }
}

#[allow(clippy::new_ret_no_self, reason = "as for Add")]
impl Maximum {
    /// The layer.
    pub fn new() -> Merge {
        Merge { how: How::Maximum, name: None }
    }
}

#[allow(clippy::new_ret_no_self, reason = "as for Add")]
impl Minimum {
    /// The layer.
    pub fn new() -> Merge {
        Merge { how: How::Minimum, name: None }
    }
}

impl Merge {
    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> Merge {
        self.name = Some(name.into());
        self
    }
}

impl Layer for Merge {
    fn kind(&self) -> &str {
        match self.how {
            How::Add => "Add",
            How::Subtract => "Subtract",
            How::Multiply => "Multiply",
            How::Average => "Average",
            How::Maximum => "Maximum",
            How::Minimum => "Minimum",
        }
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
        let (first, rest) =
            inputs.split_first().ok_or_else(|| ShapeError::new("takes at least two inputs, got none"))?;
        if rest.is_empty() {
            return self.output_shape(first);
        }
        if self.how == How::Subtract && rest.len() > 1 {
            return Err(ShapeError::new(format!("takes two inputs, got {}", inputs.len())));
        }
        let mut output = *first;
        for input in rest {
            if input.rank() != first.rank() {
                return Err(ShapeError::new("inputs have different numbers of axes"));
            }
            output = output.broadcast(input).map_err(|_| ShapeError::new("inputs differ in shape"))?;
        }
        Ok(output)
    }

    fn merge(&self, x: &[Tensor], _: &mut Context<'_>) -> Tensor {
        let (first, rest) = x.split_first().expect("checked when the model was built");
        let all = rest.iter().fold(first.clone(), |all, x| match self.how {
            How::Add | How::Average => all.add(x),
            How::Subtract => all.sub(x),
            How::Multiply => all.mul(x),
            How::Maximum => all.maximum(x),
            How::Minimum => all.minimum(x),
        });
        if self.how == How::Average { all.affine(1.0 / x.len() as f32, 0.0) } else { all }
    }

    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        self.merge(std::slice::from_ref(x), ctx)
    }

    fn flops(&self, inputs: &[Shape], output: &Shape) -> u64 {
        let terms = inputs.len() - 1 + usize::from(self.how == How::Average);
        (terms * output.len()) as u64
    }
}
