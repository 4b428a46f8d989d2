//! Losses: one number an example, which training makes small on average.
//!
//! ```text
//! sparse categorical cross-entropy   -log p[label]
//! categorical cross-entropy          -sum over classes of y * log p
//! binary cross-entropy               -mean of y * log p + (1 - y) * log(1 - p)
//! mean squared error                 mean of (p - y)^2
//! mean absolute error                mean of |p - y|
//! Huber                              mean of (p - y)^2 / 2, a line where |p - y| is above delta
//! Kullback-Leibler divergence        sum over the last axis of y * log(y / p)
//! ```
//!
//! `log p` of a probability that has been rounded to 0 or 1 is useless, and so is its gradient. A model that ends in the
//! activation that [`Loss::head`] names is therefore trained on what goes into that activation; `predict` still gives
//! probabilities.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tilegrad_core::{DType, Error, Reduction, Result, Shape, Tensor};

use crate::activation::Activation;
use crate::config;

/// Probabilities are kept this far from 0 and 1 before their logarithm is taken: Keras's epsilon.
const EPSILON: f32 = 1e-7;

/// What training makes small. Implement it for a loss of your own.
pub trait Loss: Debug + Send + Sync {
    /// The name in messages, as Keras writes it.
    fn name(&self) -> &'static str;

    /// What a file needs to make the loss again; a [`Registry`](crate::Registry) makes it. Nothing by default.
    fn config(&self) -> Value {
        Value::Object(Map::new())
    }

    /// What the true values look like.
    fn target(&self) -> Target;

    /// The loss of each example, `(N)`, from the model's output `(N, ..)` and the true values.
    fn losses(&self, y_pred: &Tensor, y_true: &Tensor) -> Tensor;

    /// The activation that this loss can undo: [`Loss::losses_of_logits`] takes its input.
    fn head(&self) -> Option<Activation> {
        None
    }

    /// [`Loss::losses`] from what goes into the activation that [`Loss::head`] names. Called only when it names one.
    fn losses_of_logits(&self, logits: &Tensor, y_true: &Tensor) -> Tensor {
        self.losses(logits, y_true)
    }

    /// Whether [`Loss::losses_of_logits`] (or, with `from_logits` false, [`Loss::losses`]) is [`Tensor::cross_entropy`] of
    /// what it is given. A training step then computes loss, gradient and accuracy in one pass.
    fn is_cross_entropy(&self, _from_logits: bool) -> bool {
        false
    }
}

/// What a loss compares the model's output with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// Class numbers, `u32 (N)`.
    Classes,
    /// Class probabilities, mostly one-hot, `f32 (N, classes)`.
    OneHot,
    /// Values of the output's shape, `f32`.
    Values,
}

impl Target {
    /// Refuses true values of another shape or type than this target has for an output of this shape (with batch axis).
    pub(crate) fn check(self, loss: &str, output: &Shape, y: &Tensor) -> Result<()> {
        if self != Target::Values && output.rank() != 2 {
            let got = format!("{output}\n  help: put a Flatten or a global pooling layer before the last Dense layer");
            return Err(Error::invalid(format!("output for {loss}"), "one number a class, [N, classes]", got));
        }
        let (dtype, shape) = match self {
            Target::Classes => (DType::U32, Shape::new(&output[..1])),
            Target::OneHot | Target::Values => (DType::F32, *output),
        };
        if y.dtype() == dtype && *y.shape() == shape {
            return Ok(());
        }
        let help = match (self, y.dtype()) {
            (Target::Classes, DType::F32) if y.shape() == output => {
                "\n  help: labels that are one-hot go with CategoricalCrossentropy"
            }
            (Target::OneHot, DType::U32) => "\n  help: class numbers go with SparseCategoricalCrossentropy",
            _ => "",
        };
        let got = format!("{} {}{help}", y.dtype(), y.shape());
        Err(Error::invalid(format!("y for {loss}"), format!("{dtype} {shape}"), got))
    }
}

/// Cross-entropy of class numbers: `-log p[label]`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct SparseCategoricalCrossentropy {
    from_logits: bool,
}

impl SparseCategoricalCrossentropy {
    /// For a model that gives probabilities.
    pub fn new() -> Self {
        Self::default()
    }

    /// For a model that gives the softmax's input.
    pub fn from_logits(mut self) -> Self {
        self.from_logits = true;
        self
    }
}

impl Loss for SparseCategoricalCrossentropy {
    fn name(&self) -> &'static str {
        "sparse_categorical_crossentropy"
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn target(&self) -> Target {
        Target::Classes
    }

    fn losses(&self, y_pred: &Tensor, y_true: &Tensor) -> Tensor {
        cross_entropy(y_pred, y_true, self.from_logits)
    }

    fn head(&self) -> Option<Activation> {
        (!self.from_logits).then_some(Activation::Softmax)
    }

    fn losses_of_logits(&self, logits: &Tensor, y_true: &Tensor) -> Tensor {
        logits.cross_entropy(y_true)
    }

    fn is_cross_entropy(&self, from_logits: bool) -> bool {
        from_logits || self.from_logits
    }
}

/// Cross-entropy of class probabilities: `-sum y * log p`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct CategoricalCrossentropy {
    from_logits: bool,
    label_smoothing: f32,
}

impl CategoricalCrossentropy {
    /// For a model that gives probabilities.
    pub fn new() -> Self {
        Self::default()
    }

    /// For a model that gives the softmax's input.
    pub fn from_logits(mut self) -> Self {
        self.from_logits = true;
        self
    }

    /// Spreads this part of each row, from 0 to 1, evenly over all classes: `y * (1 - part) + part / classes`.
    ///
    /// # Panics
    /// When it is not from 0 to 1.
    #[track_caller]
    pub fn label_smoothing(mut self, part: f32) -> Self {
        self.label_smoothing = smoothing(part);
        self
    }

    fn smooth(&self, y: &Tensor) -> Tensor {
        let classes = y.shape().last().copied().unwrap_or(1) as f32;
        smooth(y, self.label_smoothing, 1.0 / classes)
    }
}

impl Loss for CategoricalCrossentropy {
    fn name(&self) -> &'static str {
        "categorical_crossentropy"
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn target(&self) -> Target {
        Target::OneHot
    }

    fn losses(&self, y_pred: &Tensor, y_true: &Tensor) -> Tensor {
        cross_entropy(y_pred, &self.smooth(y_true), self.from_logits)
    }

    fn head(&self) -> Option<Activation> {
        (!self.from_logits).then_some(Activation::Softmax)
    }

    fn losses_of_logits(&self, logits: &Tensor, y_true: &Tensor) -> Tensor {
        logits.cross_entropy(&self.smooth(y_true))
    }

    fn is_cross_entropy(&self, from_logits: bool) -> bool {
        self.label_smoothing == 0.0 && (from_logits || self.from_logits)
    }
}

/// A part of labels to spread.
#[track_caller]
fn smoothing(part: f32) -> f32 {
    assert!((0.0..=1.0).contains(&part), "label_smoothing: {part} is not from 0 to 1");
    part
}

/// Labels of which a part is replaced by what is equal for all.
fn smooth(y: &Tensor, part: f32, equal: f32) -> Tensor {
    if part == 0.0 { y.clone() } else { y.affine(1.0 - part, part * equal) }
}

fn cross_entropy(y_pred: &Tensor, y_true: &Tensor, from_logits: bool) -> Tensor {
    if from_logits {
        return y_pred.cross_entropy(y_true);
    }
    // The softmax of log p is p over its sum: what Keras divides by too.
    y_pred.clip(EPSILON, 1.0 - EPSILON).log().cross_entropy(y_true)
}

/// Cross-entropy of independent yes-or-no answers, mean over the outputs.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct BinaryCrossentropy {
    from_logits: bool,
    label_smoothing: f32,
}

impl BinaryCrossentropy {
    /// For a model that gives probabilities.
    pub fn new() -> Self {
        Self::default()
    }

    /// For a model that gives the sigmoid's input.
    pub fn from_logits(mut self) -> Self {
        self.from_logits = true;
        self
    }

    /// Moves each label by this part, from 0 to 1, towards one half: `y * (1 - part) + part / 2`.
    ///
    /// # Panics
    /// When it is not from 0 to 1.
    #[track_caller]
    pub fn label_smoothing(mut self, part: f32) -> Self {
        self.label_smoothing = smoothing(part);
        self
    }
}

impl Loss for BinaryCrossentropy {
    fn name(&self) -> &'static str {
        "binary_crossentropy"
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn target(&self) -> Target {
        Target::Values
    }

    fn losses(&self, y_pred: &Tensor, y_true: &Tensor) -> Tensor {
        if self.from_logits {
            return self.losses_of_logits(y_pred, y_true);
        }
        mean_of_each(&y_pred.bce_loss(&smooth(y_true, self.label_smoothing, 0.5), Reduction::None))
    }

    fn head(&self) -> Option<Activation> {
        (!self.from_logits).then_some(Activation::Sigmoid)
    }

    fn losses_of_logits(&self, logits: &Tensor, y_true: &Tensor) -> Tensor {
        let y = smooth(y_true, self.label_smoothing, 0.5);
        mean_of_each(&logits.bce_with_logits_loss(&y, None, Reduction::None))
    }
}

/// The mean of `(p - y)^2` over the outputs of each example.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct MeanSquaredError;

impl Loss for MeanSquaredError {
    fn name(&self) -> &'static str {
        "mean_squared_error"
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn target(&self) -> Target {
        Target::Values
    }

    fn losses(&self, y_pred: &Tensor, y_true: &Tensor) -> Tensor {
        mean_of_each(&y_pred.mse_loss(y_true, Reduction::None))
    }
}

/// The mean of `|p - y|` over the outputs of each example.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct MeanAbsoluteError;

impl Loss for MeanAbsoluteError {
    fn name(&self) -> &'static str {
        "mean_absolute_error"
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn target(&self) -> Target {
        Target::Values
    }

    fn losses(&self, y_pred: &Tensor, y_true: &Tensor) -> Tensor {
        mean_of_each(&y_pred.l1_loss(y_true, Reduction::None))
    }
}

/// Half the squared distance, and a line where it is above delta: Huber 1964. Outliers pull no more than their neighbours.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Huber {
    delta: f32,
}

impl Default for Huber {
    fn default() -> Self {
        Huber { delta: 1.0 }
    }
}

impl Huber {
    /// With Keras's delta of 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// The distance from which on the loss is a line.
    ///
    /// # Panics
    /// When it is not positive.
    #[track_caller]
    pub fn delta(mut self, delta: f32) -> Self {
        assert!(delta > 0.0, "delta: {delta} is not positive");
        self.delta = delta;
        self
    }
}

impl Loss for Huber {
    fn name(&self) -> &'static str {
        "huber"
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn target(&self) -> Target {
        Target::Values
    }

    fn losses(&self, y_pred: &Tensor, y_true: &Tensor) -> Tensor {
        mean_of_each(&y_pred.huber_loss(y_true, self.delta, Reduction::None))
    }
}

/// The Kullback-Leibler divergence of distributions along the last axis: the sum of `y * log(y / p)`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct KLDivergence;

impl Loss for KLDivergence {
    fn name(&self) -> &'static str {
        "kl_divergence"
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn target(&self) -> Target {
        Target::Values
    }

    /// Probabilities below 1e-7 count as 1e-7, as in Keras.
    fn losses(&self, y_pred: &Tensor, y_true: &Tensor) -> Tensor {
        let p = y_pred.clip(EPSILON, 1.0);
        divergence(&p.log(), &y_true.clip(EPSILON, 1.0))
    }

    fn head(&self) -> Option<Activation> {
        Some(Activation::Softmax)
    }

    fn losses_of_logits(&self, logits: &Tensor, y_true: &Tensor) -> Tensor {
        divergence(&logits.log_softmax(-1), y_true)
    }
}

fn divergence(log_p: &Tensor, y: &Tensor) -> Tensor {
    mean_of_each(&log_p.kl_div_loss(y, Reduction::None).sum_axes(&[-1], false))
}

/// `(N, ..) -> (N)`: the mean over all axes but the first.
pub(crate) fn mean_of_each(x: &Tensor) -> Tensor {
    let axes: Vec<isize> = (1..x.rank() as isize).collect();
    if axes.is_empty() { x.clone() } else { x.mean_axes(&axes, false) }
}
