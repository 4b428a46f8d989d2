//! Metrics by name, and what is measured of a batch.

use serde::{Deserialize, Serialize};
use tilegrad_core::ops::optimizer::{SgdStep, sgd_step};
use tilegrad_core::{DType, Tensor};

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

/// `sum += x`, elementwise. A gradient step of -1 along `x` is exactly that.
pub(crate) fn add_in_place(sum: &Tensor, x: &Tensor) {
    sgd_step(sum, x, None, &SgdStep { lr: -1.0, momentum: 0.0, nesterov: false, weight_decay: 0.0 });
}
