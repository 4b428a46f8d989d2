//! What a layer is: a shape rule, the weights it asks for, and a forward pass.

use std::fmt::Debug;

use serde_json::{Map, Value};
use tilegrad_core::{Rng, Shape, ShapeError, Tensor};

use crate::activation::Activation;
use crate::initializers::Initializer;
use crate::param::Param;
use crate::precision::Precision;
use crate::shared::SharedLayer;
use crate::symbolic::{SymbolicTensor, Symbols};

/// A step of a model from tensor to tensor. Everything in [`layers`](crate::layers) is one, and so can be a type of yours:
///
/// ```
/// use tilegrad_core::{Result, Shape, ShapeError, Tensor};
/// use tilegrad_nn::{BuildContext, Context, Initializer, Layer, Param};
///
/// /// Multiplies each channel by a learned number.
/// #[derive(Debug, Default)]
/// struct Scale(Option<Param>);
///
/// impl Layer for Scale {
///     fn kind(&self) -> &str {
///         "Scale"
///     }
///     fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
///         Ok(*input)
///     }
///     fn build(&mut self, input: &Shape, ctx: &mut BuildContext) -> Result<Shape, ShapeError> {
///         let channels = input[input.rank() - 1];
///         self.0 = Some(ctx.weight("scale", [channels], &Initializer::Ones)?);
///         Ok(*input)
///     }
///     fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
///         x.mul(&self.0.as_ref().expect("built").tensor())
///     }
/// }
/// ```
///
/// Shapes have the batch axis in front, with length 1 where the batch is not known yet: an image is `[1, H, W, C]`.
/// Gradients come from the tape, so a layer writes no backward pass.
pub trait Layer: Debug + Send + Sync {
    /// The type in summaries, in Keras's words: `Conv2D`. The automatic name follows from it: `conv2d`, `conv2d_1`.
    fn kind(&self) -> &str;

    /// The name that the user gave this layer, if any.
    fn name(&self) -> Option<&str> {
        None
    }

    /// What a file needs to make the layer again, its name included and its weights left out; a
    /// [`Registry`](crate::Registry) makes the layer of it. Nothing by default: a layer without settings.
    fn config(&self) -> Value {
        Value::Object(Map::new())
    }

    /// The output's shape.
    ///
    /// # Errors
    /// When the layer can't take such an input. The model adds the layer's name.
    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError>;

    /// Asks for the weights and returns the output's shape. No kernel runs: the model fills the weights afterwards.
    ///
    /// # Errors
    /// As [`Layer::output_shape`].
    fn build(&mut self, input: &Shape, _ctx: &mut BuildContext) -> Result<Shape, ShapeError> {
        self.output_shape(input)
    }

    /// The output for a batch `x`.
    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor;

    /// [`Layer::output_shape`] for a layer that may take several inputs, as [`Add`](crate::layers::Add) does.
    ///
    /// # Errors
    /// When the layer can't take such inputs, which name themselves: only what is wrong has to be said.
    fn merge_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        self.output_shape(only(inputs)?)
    }

    /// [`Layer::build`] for a layer that may take several inputs.
    ///
    /// # Errors
    /// As [`Layer::merge_shape`].
    fn build_merge(&mut self, inputs: &[Shape], ctx: &mut BuildContext) -> Result<Shape, ShapeError> {
        match inputs {
            [input] => self.build(input, ctx),
            _ => self.merge_shape(inputs),
        }
    }

    /// [`Layer::forward`] for a layer that may take several inputs.
    fn merge(&self, x: &[Tensor], ctx: &mut Context<'_>) -> Tensor {
        self.forward(&x[0], ctx)
    }

    /// Floating-point operations for one example in inference, a multiplication and an addition being two. By default one
    /// for each number that comes in or goes out, whichever are more.
    fn flops(&self, inputs: &[Shape], output: &Shape) -> u64 {
        inputs.iter().map(Shape::len).sum::<usize>().max(output.len()) as u64
    }

    /// The layer's output for a symbolic tensor, or for several: a place in a graph, which
    /// [`Model::new`](crate::Model::new) makes a model of.
    fn call(self, inputs: impl Into<Symbols>) -> SymbolicTensor
    where
        Self: Sized + 'static,
    {
        self.shared().call(inputs)
    }

    /// The layer as one that can be called several times, always with the same weights.
    fn shared(self) -> SharedLayer
    where
        Self: Sized + 'static,
    {
        SharedLayer::new(self)
    }

    /// The activation that the layer ends in, when [`Layer::forward_headless`] leaves it out. A cross-entropy after a softmax
    /// is computed from the softmax's input: exact where the probability rounds to 0, and one kernel instead of three.
    fn head(&self) -> Option<Activation> {
        None
    }

    /// [`Layer::forward`] without the activation that [`Layer::head`] names.
    fn forward_headless(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        self.forward(x, ctx)
    }

    /// The activation that this layer takes over from the layer before, if that one ends in it: [`Layer::forward_after`]
    /// applies it and gives the same numbers in less time.
    fn absorbs(&self) -> Option<Activation> {
        None
    }

    /// [`Layer::forward`] of the activation that [`Layer::absorbs`] names, applied to `x`.
    fn forward_after(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        let x = self.absorbs().map_or_else(|| x.clone(), |activation| activation.apply(x));
        self.forward(&x, ctx)
    }
}

/// The input of a layer that takes one.
fn only(inputs: &[Shape]) -> Result<&Shape, ShapeError> {
    match inputs {
        [input] => Ok(input),
        _ => Err(ShapeError::new(format!("takes one input, got {}", inputs.len()))),
    }
}

/// Through this a layer asks for its weights while the model is built.
#[derive(Debug)]
pub struct BuildContext {
    layer: String,
    weights: Vec<Param>,
    /// Weights that the layer has from being built before.
    had: Vec<Param>,
    /// Whether it has to keep them.
    keep: bool,
}

impl BuildContext {
    /// For a layer of this name.
    pub fn new(layer: impl Into<String>) -> BuildContext {
        BuildContext::again(layer, Vec::new(), false)
    }

    /// For a layer that has weights, and gets them again where they fit. If it has to keep them, others are an error.
    pub(crate) fn again(layer: impl Into<String>, had: Vec<Param>, keep: bool) -> BuildContext {
        BuildContext { layer: layer.into(), weights: Vec::new(), had, keep }
    }

    /// A weight that training changes.
    ///
    /// # Errors
    /// When the initializer holds values for another shape.
    pub fn weight(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        initializer: &Initializer,
    ) -> Result<Param, ShapeError> {
        self.add(name, shape.into(), initializer, false)
    }

    /// A weight that the layer itself changes, such as a running mean: saved with the model, but not trained.
    ///
    /// # Errors
    /// As [`BuildContext::weight`].
    pub fn statistic(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        initializer: &Initializer,
    ) -> Result<Param, ShapeError> {
        self.add(name, shape.into(), initializer, true)
    }

    fn add(&mut self, name: &str, shape: Shape, init: &Initializer, statistic: bool) -> Result<Param, ShapeError> {
        if !init.fits(&shape) {
            let problem = format!("the initializer of {name} holds another number of values than {}", shape.len());
            return Err(ShapeError::new(problem).operand(name, &shape));
        }
        let had = self.had.iter().find(|had| had.name() == name);
        let param = match had {
            Some(had) if had.shape() == &shape && had.is_statistic() == statistic => had.clone(),
            Some(had) if self.keep => {
                let problem = format!("the layer has its weights already, and its {name} is for another input");
                return Err(ShapeError::new(problem).operand("has", had.shape()).operand("input takes", &shape));
            }
            _ => Param::new(&self.layer, name, shape, init, statistic),
        };
        self.weights.push(param.clone());
        Ok(param)
    }

    /// What has been asked for so far.
    pub fn weights(&self) -> &[Param] {
        &self.weights
    }

    pub(crate) fn into_weights(self) -> Vec<Param> {
        self.weights
    }
}

/// What a forward pass runs in.
#[derive(Debug)]
pub struct Context<'a> {
    /// Whether this is a training step: dropout drops, batch normalization looks at the batch.
    pub training: bool,
    /// What the operands of products are stored in: see [`Context::operand`].
    pub precision: Precision,
    /// Where random numbers come from.
    pub rng: &'a mut Rng,
}

impl Context<'_> {
    /// A tensor as the operand of a matrix product or a convolution, whose other one has to come from here too: rounded to 16
    /// bits in mixed precision. The product is `f32` in any case.
    pub fn operand(&self, x: &Tensor) -> Tensor {
        self.precision.operand(x)
    }
}

/// Turns a type into the start of an automatic name, by Keras's rule: `MaxPooling2D` is `max_pooling2d`.
pub(crate) fn snake_case(kind: &str) -> String {
    let chars: Vec<char> = kind.chars().collect();
    let mut name = String::new();
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| chars[i]);
        let starts_word = c.is_ascii_uppercase()
            && (before.is_some_and(|b| b.is_ascii_lowercase())
                || (before.is_some() && chars.get(i + 1).is_some_and(|a| a.is_ascii_lowercase())));
        if starts_word {
            name.push('_');
        }
        name.extend(c.to_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn names_are_keras() {
        for (kind, name) in [
            ("Conv2D", "conv2d"),
            ("MaxPooling2D", "max_pooling2d"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("BatchNormalization", "batch_normalization"),
            ("ReLU", "re_lu"),
            ("Dense", "dense"),
        ] {
            assert_eq!(snake_case(kind), name);
        }
    }
}
