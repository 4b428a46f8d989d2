//! Embedding: a learned vector for each of a vocabulary's numbers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tilegrad_core::{DType, Shape, ShapeError, Tensor};

use super::{built, config, expect_positive};
use crate::initializers::Initializer;
use crate::layer::{BuildContext, Context, Layer};
use crate::param::Param;

/// `(N, ..) -> (N, .., output_dim)`; weight `embeddings (input_dim, output_dim)`. Keras's `Embedding`.
///
/// Inputs of a model are `f32`; each has to be a whole number from 0 on and below `input_dim`. Others give NaN.
///
/// ```
/// use tilegrad_core::Shape;
/// use tilegrad_nn::{Layer, layers::Embedding};
/// let words = Embedding::new(1000, 16);
/// assert_eq!(words.output_shape(&Shape::from([1, 20])).unwrap(), Shape::from([1, 20, 16]));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    input_dim: usize,
    output_dim: usize,
    embeddings_initializer: Initializer,
    name: Option<String>,
    #[serde(skip)]
    embeddings: Option<Param>,
}

impl Embedding {
    /// For numbers below `input_dim`, vectors of `output_dim`.
    pub fn new(input_dim: usize, output_dim: usize) -> Embedding {
        let embeddings_initializer = Initializer::RandomUniform { low: -0.05, high: 0.05 };
        Embedding { input_dim, output_dim, embeddings_initializer, name: None, embeddings: None }
    }

    /// How the vectors start: uniform between -0.05 and 0.05, if nothing else is said.
    pub fn embeddings_initializer(mut self, initializer: Initializer) -> Embedding {
        self.embeddings_initializer = initializer;
        self
    }

    /// The layer's name in summaries, errors and checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> Embedding {
        self.name = Some(name.into());
        self
    }
}

impl Layer for Embedding {
    fn kind(&self) -> &str {
        "Embedding"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        expect_positive("input_dim", self.input_dim, input)?;
        expect_positive("output_dim", self.output_dim, input)?;
        if input.rank() >= tilegrad_core::MAX_RANK {
            return Err(ShapeError::new("no axis is left for the vectors").operand("input", input));
        }
        Shape::try_new(&[self.input_dim, self.output_dim])?;
        Shape::try_new(&[input.dims(), &[self.output_dim]].concat())
    }

    fn build(&mut self, input: &Shape, ctx: &mut BuildContext) -> Result<Shape, ShapeError> {
        let output = self.output_shape(input)?;
        let shape = [self.input_dim, self.output_dim];
        self.embeddings = Some(ctx.weight("embeddings", shape, &self.embeddings_initializer)?);
        Ok(output)
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        let rows = built(&self.embeddings).gather_rows(&x.reshape([x.len()]).cast(DType::U32));
        rows.reshape(Shape::new(&[x.shape().dims(), &[self.output_dim]].concat()))
    }

    fn flops(&self, _: &[Shape], _: &Shape) -> u64 {
        0
    }
}
