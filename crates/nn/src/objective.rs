//! What an output of a model is trained for.

use tilegrad_core::ops::cross_entropy_step::MAX_CLASSES;
use tilegrad_core::{Error, Result, Shape, Tensor};

use crate::counters;
use crate::losses::Loss;
use crate::metrics::Metric;
use crate::run::Output;

/// What is made small for one output of a model, how much that counts beside the other outputs, and what is measured; for
/// [`Model::compile_all`](crate::Model::compile_all).
///
/// ```
/// use tilegrad_nn::{MeanSquaredError, Metric, Objective};
/// let size = Objective::new(MeanSquaredError).weight(0.2).metrics([Metric::MeanAbsoluteError]);
/// ```
#[derive(Debug)]
pub struct Objective {
    pub(crate) loss: Box<dyn Loss>,
    pub(crate) weight: f32,
    pub(crate) metrics: Vec<Metric>,
}

impl Objective {
    /// Makes this loss small, and measures nothing beside it.
    pub fn new(loss: impl Loss + 'static) -> Objective {
        Objective { loss: Box::new(loss), weight: 1.0, metrics: Vec::new() }
    }

    /// What the loss is multiplied by before those of all outputs are added up; 1 unless told otherwise. Keras's
    /// `loss_weights`.
    pub fn weight(mut self, weight: f32) -> Objective {
        self.weight = weight;
        self
    }

    /// What is measured beside the loss.
    pub fn metrics(mut self, metrics: impl IntoIterator<Item = Metric>) -> Objective {
        self.metrics = metrics.into_iter().collect();
        self
    }

    pub(crate) fn has_accuracy(&self) -> bool {
        self.metrics.contains(&Metric::Accuracy)
    }

    /// Refuses a weight or metrics that don't fit an output of this shape (with batch axis).
    pub(crate) fn check(&self, output: &Shape) -> Result<()> {
        if !(self.weight.is_finite() && self.weight >= 0.0) {
            let what = format!("weight of {}", self.loss.name());
            return Err(Error::invalid(what, "a finite number from 0 on", self.weight));
        }
        counters::check(&self.metrics, self.loss.target(), output)
    }

    /// The model's output, from whatever the forward pass ended with.
    pub(crate) fn finish(&self, output: &Output) -> Tensor {
        match (output, self.loss.head()) {
            (Output::Logits(logits), Some(head)) => head.apply(&logits.detach()),
            (Output::Logits(values) | Output::Values(values), _) => values.detach(),
        }
    }

    /// The losses of a batch, `(N)`, from whatever the forward pass ended with, times what the examples count.
    pub(crate) fn losses(&self, output: &Output, y: &Tensor, weights: Option<&Tensor>) -> Tensor {
        let losses = match output {
            Output::Logits(logits) => self.loss.losses_of_logits(logits, y),
            Output::Values(values) => self.loss.losses(values, y),
        };
        let (name, examples) = (self.loss.name(), y.shape()[0]);
        assert_eq!(losses.shape()[..], [examples], "{name}: a loss gives one number an example, (N)");
        weights.map_or(losses.clone(), |weights| losses.mul(weights))
    }

    /// Whether a training step is [`Tensor::cross_entropy`] of what the forward pass ended with and nothing else, which one
    /// kernel does.
    pub(crate) fn is_cross_entropy(&self, output: &Output) -> bool {
        let classes = output.tensor().shape().last().copied();
        self.weight == 1.0
            && self.loss.is_cross_entropy(matches!(output, Output::Logits(_)))
            && classes.is_some_and(|classes| classes <= MAX_CLASSES)
    }

    /// The losses times this objective's weight.
    pub(crate) fn weigh(&self, losses: Tensor) -> Tensor {
        if self.weight == 1.0 { losses } else { losses.affine(self.weight, 0.0) }
    }
}
