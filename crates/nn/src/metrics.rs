//! Metrics, and the sums on the device that losses and metrics are added to: nothing is read back during a step.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tilegrad_core::ops::cross_entropy_step::cross_entropy_step;
use tilegrad_core::ops::optimizer::{SgdStep, sgd_step};
use tilegrad_core::{DType, Device, PendingValues, Result, Tensor, no_grad};

use crate::arena::ALIGN;
use crate::confusion::ConfusionMatrix;
use crate::counters::Counters;
use crate::losses::{Target, mean_of_each};
use crate::run::Output;

/// What is measured beside the loss. All of it is added up on the device.
///
/// With several classes, precision, recall and F1 are means over the classes, each counting the same (scikit-learn's `macro`);
/// with yes-or-no outputs they are those of "yes", above one half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// The fraction of examples whose most probable class is the true one; with a single yes-or-no output, of those on
    /// the right side of one half.
    Accuracy,
    /// The fraction of examples whose true class is among the so many most probable ones.
    TopKAccuracy(usize),
    /// Of the examples taken for a class, the fraction that is of it.
    Precision,
    /// Of the examples of a class, the fraction that is recognised.
    Recall,
    /// The harmonic mean of precision and recall.
    F1,
    /// The area under the curve of true positives over false ones, from 200 thresholds between 0 and 1 as in Keras. With
    /// several classes, of all probabilities together, each a yes-or-no answer.
    Auc,
    /// The mean of `(p - y)^2` over the outputs of each example; of classes, `y` is the one-hot row.
    MeanSquaredError,
    /// The mean of `|p - y|` over the outputs of each example; of classes, `y` is the one-hot row.
    MeanAbsoluteError,
    /// How often each class was taken for each: [`Evaluation::confusion`](crate::Evaluation::confusion).
    ConfusionMatrix,
}

impl Metric {
    /// What the metric is called in histories and logs, mostly Keras's name.
    ///
    /// ```
    /// use tilegrad_nn::Metric;
    /// assert_eq!(Metric::TopKAccuracy(5).name(), "top_5_accuracy");
    /// ```
    pub fn name(&self) -> String {
        match self {
            Metric::Accuracy => "accuracy".into(),
            Metric::TopKAccuracy(k) => format!("top_{k}_accuracy"),
            Metric::Precision => "precision".into(),
            Metric::Recall => "recall".into(),
            Metric::F1 => "f1".into(),
            Metric::Auc => "auc".into(),
            Metric::MeanSquaredError => "mean_squared_error".into(),
            Metric::MeanAbsoluteError => "mean_absolute_error".into(),
            Metric::ConfusionMatrix => "confusion_matrix".into(),
        }
    }

    /// Whether it follows from the confusion matrix.
    pub(crate) fn is_of_matrix(&self) -> bool {
        matches!(self, Metric::Precision | Metric::Recall | Metric::F1 | Metric::ConfusionMatrix)
    }
}

/// For each example of a batch, 1 if its class is right and 0 if not: `(N)`. With several yes-or-no outputs, the fraction.
pub(crate) fn correct(output: &Output, target: Target, y_true: &Tensor) -> Tensor {
    let y = output.tensor();
    if target != Target::Values {
        return y.correct(y_true);
    }
    // A sigmoid is one half at 0.
    let half = if matches!(output, Output::Logits(_)) { 0.0 } else { 0.5 };
    mean_of_each(&y.gt(&Tensor::scalar(half, y.device())).cast(DType::F32).eq(y_true).cast(DType::F32))
}

/// Sums over the examples seen so far, on the device.
///
/// There is a sum for each position in a batch, not one for all: adding a batch then needs no reduction, each sum has few
/// terms and so loses little to rounding, and the host adds up the rest in double precision.
#[derive(Debug)]
pub(crate) struct Totals {
    /// Losses and then right answers, `(2 * capacity)`.
    sums: Tensor,
    /// The largest batch that there is room for.
    capacity: usize,
    examples: usize,
    /// What other metrics count.
    counters: Option<Counters>,
}

/// Means over examples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Means {
    pub(crate) loss: f32,
    pub(crate) accuracy: f32,
}

/// All that was measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) means: Means,
    /// Metrics but for the accuracy, by name.
    pub(crate) metrics: BTreeMap<String, f32>,
    pub(crate) confusion: Option<ConfusionMatrix>,
    pub(crate) examples: usize,
}

impl Totals {
    pub(crate) fn new(device: &Device, counters: Option<Counters>) -> Totals {
        Totals { sums: Tensor::zeros([2 * ALIGN], device), capacity: ALIGN, examples: 0, counters }
    }

    /// Starts over, for batches of up to `batch_size` examples. An upload: between epochs, not between steps.
    pub(crate) fn reset(&mut self, batch_size: usize) -> Result<()> {
        self.examples = 0;
        let capacity = batch_size.next_multiple_of(ALIGN);
        if capacity > self.capacity {
            self.capacity = capacity;
            self.sums = Tensor::zeros([2 * capacity], self.sums.device());
        }
        if let Some(counters) = &mut self.counters {
            counters.reset(batch_size)?;
        }
        self.sums.assign(&vec![0.0; 2 * self.capacity])
    }

    /// Adds a batch to what other metrics than the accuracy count, if there are any. `output` is called for the model's output.
    pub(crate) fn add_to_counters(&self, output: impl FnOnce() -> Tensor, y: &Tensor) {
        if let Some(counters) = &self.counters {
            counters.add(&no_grad(output), y);
        }
    }

    /// Adds a batch: its losses `(N)` and, if wanted, its right answers `(N)`.
    pub(crate) fn add(&mut self, losses: &Tensor, correct: Option<&Tensor>) {
        self.count(losses.len());
        no_grad(|| {
            for (values, start) in [(Some(losses), 0), (correct, self.capacity)] {
                if let Some(values) = values {
                    add_in_place(&self.sums.slice_axis(0, start..start + values.len()), &values.detach());
                }
            }
        });
    }

    /// Adds examples of softmax cross-entropy: their losses and right answers, from logits `(N, C)`. Returns the gradient
    /// with respect to the logits of the mean loss of a batch of `batch` examples, which these are part of.
    pub(crate) fn add_cross_entropy(&mut self, logits: &Tensor, y: &Tensor, batch: usize) -> Tensor {
        self.count(logits.shape()[0]);
        cross_entropy_step(&logits.detach(), y, 1.0 / batch as f32, &self.sums)
    }

    /// The sums, and the number of examples in them: what a step that is taken back has changed.
    pub(crate) fn parts(&mut self) -> (Vec<Tensor>, &mut usize) {
        let counters = self.counters.as_ref().map(Counters::sums);
        (std::iter::once(&self.sums).chain(counters).cloned().collect(), &mut self.examples)
    }

    /// Counts the examples of a batch that a recorded step has added.
    pub(crate) fn count(&mut self, examples: usize) {
        self.examples += examples;
    }

    /// Starts to read the means back.
    ///
    /// # Errors
    /// When an update of the weights was left out for lack of memory.
    pub(crate) fn read_later(&self) -> Result<PendingMeans> {
        self.sums.device().check()?;
        Ok(PendingMeans { values: self.sums.read_later()?, examples: self.examples })
    }

    /// Waits for the means, and for word that every update of the weights was made.
    pub(crate) fn read(&self) -> Result<Measured> {
        self.sums.device().synchronize()?;
        let PendingMeans { values, examples } = self.read_later()?;
        let counted = self.counters.as_ref().map(|counters| counters.read(examples)).transpose()?;
        let (metrics, confusion) = counted.unwrap_or_default();
        Ok(Measured { means: means(&values.wait()?, examples), metrics, confusion, examples })
    }
}

/// `sum += x`, elementwise. A gradient step of -1 along `x` is exactly that.
pub(crate) fn add_in_place(sum: &Tensor, x: &Tensor) {
    sgd_step(sum, x, None, &SgdStep { lr: -1.0, momentum: 0.0, nesterov: false, weight_decay: 0.0 });
}

/// Means on their way.
pub(crate) struct PendingMeans {
    values: PendingValues,
    examples: usize,
}

impl PendingMeans {
    /// The means if they have arrived.
    pub(crate) fn try_take(&mut self) -> Option<Result<Means>> {
        Some(self.values.try_take()?.map(|sums| means(&sums, self.examples)))
    }
}

fn means(sums: &[f32], examples: usize) -> Means {
    let mean = |sums: &[f32]| (sums.iter().copied().map(f64::from).sum::<f64>() / examples.max(1) as f64) as f32;
    let (losses, correct) = sums.split_at(sums.len() / 2);
    Means { loss: mean(losses), accuracy: mean(correct) }
}
