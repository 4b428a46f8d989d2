//! What metrics beside the loss and the accuracy count, on the device: nothing is read back during a step.
//!
//! ```text
//! confusion matrix, and with it precision, recall and F1   one-hot truth, transposed, times one-hot prediction
//! AUC                                                      right and wrong answers above each of 200 thresholds
//! top-k, mean squared and absolute error                   a sum for each position in the batch
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use tilegrad_core::{DType, Device, Error, Result, Shape, Tensor, no_grad};

use crate::arena::ALIGN;
use crate::confusion::ConfusionMatrix;
use crate::losses::{Target, mean_of_each};
use crate::metrics::{Metric, add_in_place};

/// Keras's number of thresholds for the area under a curve.
const THRESHOLDS: usize = 200;

/// Keras's thresholds: evenly spaced, the first and the last a little outside of 0 to 1.
fn thresholds() -> Vec<f32> {
    let mut all: Vec<f32> = (0..THRESHOLDS).map(|i| i as f32 / (THRESHOLDS - 1) as f32).collect();
    (all[0], all[THRESHOLDS - 1]) = (-1e-7, 1.0 + 1e-7);
    all
}

/// Counts and sums over the examples seen so far.
#[derive(Debug)]
pub(crate) struct Counters {
    metrics: Vec<Metric>,
    target: Target,
    /// Classes of the confusion matrix.
    classes: usize,
    /// The largest batch that there is room for.
    capacity: usize,
    /// All counts and sums, end to end.
    sums: Tensor,
    thresholds: Option<Tensor>,
}

impl Counters {
    /// For a model with outputs of this shape, the batch axis left out. `None` if nothing is to be counted.
    pub(crate) fn new(metrics: &[Metric], target: Target, output: &Shape, device: &Device) -> Option<Counters> {
        let metrics: Vec<Metric> = metrics.iter().copied().filter(|m| *m != Metric::Accuracy).collect();
        let classes = if target == Target::Values { 2 } else { *output.last()? };
        let curve = metrics.contains(&Metric::Auc);
        let thresholds = curve.then(|| Tensor::new(&thresholds(), [1, THRESHOLDS], device));
        let sums = Tensor::zeros([ALIGN], device);
        (!metrics.is_empty()).then_some(Counters { metrics, target, classes, capacity: 0, sums, thresholds })
    }

    /// The places of a metric's sums. Several may share the confusion matrix.
    fn places(&self) -> Vec<(Metric, Range<usize>)> {
        let mut end = 0;
        let mut matrix: Option<Range<usize>> = None;
        let mut places = Vec::new();
        for &metric in &self.metrics {
            let len = match metric {
                _ if metric.is_of_matrix() => self.classes * self.classes,
                Metric::Auc => 2 * THRESHOLDS,
                _ => self.capacity,
            };
            let place = match &matrix {
                Some(place) if metric.is_of_matrix() => place.clone(),
                _ => end..end + len,
            };
            end = end.max(place.end.next_multiple_of(ALIGN));
            if metric.is_of_matrix() {
                matrix = Some(place.clone());
            }
            places.push((metric, place));
        }
        places
    }

    /// Starts over, for batches of up to so many examples.
    pub(crate) fn reset(&mut self, capacity: usize) -> Result<()> {
        self.capacity = self.capacity.max(capacity);
        let len = self.places().iter().map(|(_, place)| place.end).max().unwrap_or(0).next_multiple_of(ALIGN);
        if len > self.sums.len() {
            self.sums = Tensor::zeros([len], self.sums.device());
        }
        self.sums.assign(&vec![0.0; self.sums.len()])
    }

    pub(crate) fn sums(&self) -> &Tensor {
        &self.sums
    }

    /// Adds a batch: the model's output `(N, ..)` and the true values as its loss takes them.
    pub(crate) fn add(&self, output: &Tensor, y_true: &Tensor) {
        no_grad(|| {
            let output = output.detach();
            let truth = match self.target {
                Target::Classes => y_true.one_hot(self.classes),
                Target::OneHot | Target::Values => y_true.clone(),
            };
            let mut matrix_is_done = false;
            for (metric, place) in self.places() {
                let new = match metric {
                    Metric::Accuracy => continue,
                    Metric::Auc => self.above_thresholds(&output, &truth),
                    Metric::TopKAccuracy(k) => in_top_k(&output, &truth, k),
                    Metric::MeanSquaredError => mean_of_each(&output.sub(&truth).square()),
                    Metric::MeanAbsoluteError => mean_of_each(&output.sub(&truth).abs()),
                    _ if std::mem::replace(&mut matrix_is_done, true) => continue,
                    _ => self.confusion(&output, &truth),
                };
                add_in_place(&self.sums.slice_axis(0, place.start..place.start + new.len()), &new);
            }
        });
    }

    /// Counts by true and predicted class, `(classes * classes)`.
    fn confusion(&self, output: &Tensor, truth: &Tensor) -> Tensor {
        let (truth, predicted) = match self.target {
            Target::Values => (yes_and_no(truth), yes_and_no(output)),
            _ => (truth.argmax(-1).one_hot(self.classes), output.argmax(-1).one_hot(self.classes)),
        };
        truth.transpose().matmul(&predicted).reshape([self.classes * self.classes])
    }

    /// How many true and how many false answers are above each threshold, `(2 * THRESHOLDS)`.
    fn above_thresholds(&self, output: &Tensor, truth: &Tensor) -> Tensor {
        let thresholds = self.thresholds.as_ref().expect("made for the curve");
        let above = output.reshape([output.len(), 1]).gt(thresholds).cast(DType::F32);
        let truth = truth.reshape([1, truth.len()]);
        let both = Tensor::concat(&[&truth, &truth.affine(-1.0, 1.0)], 0);
        both.matmul(&above).reshape([2 * THRESHOLDS])
    }

    /// Metrics by name, and the confusion matrix if there is one. Waits for the device.
    pub(crate) fn read(&self, examples: usize) -> Result<(BTreeMap<String, f32>, Option<ConfusionMatrix>)> {
        let sums = self.sums.to_vec::<f32>()?;
        let mut values = BTreeMap::new();
        let mut matrix = None;
        for (metric, place) in self.places() {
            let sums = &sums[place];
            let counts = || ConfusionMatrix::new(self.classes, sums.iter().map(|&n| n as u64).collect());
            let value = match metric {
                Metric::Accuracy => continue,
                Metric::ConfusionMatrix => {
                    matrix = Some(counts());
                    continue;
                }
                Metric::Precision => self.of_classes(|class| counts().precision(class)),
                Metric::Recall => self.of_classes(|class| counts().recall(class)),
                Metric::F1 => self.of_classes(|class| counts().f1(class)),
                Metric::Auc => area_under_curve(sums),
                Metric::TopKAccuracy(_) | Metric::MeanSquaredError | Metric::MeanAbsoluteError => {
                    (sums.iter().copied().map(f64::from).sum::<f64>() / examples.max(1) as f64) as f32
                }
            };
            values.insert(metric.name(), value);
        }
        Ok((values, matrix))
    }

    /// The value of "yes" where that is the question, else the mean over classes.
    fn of_classes(&self, value: impl Fn(usize) -> f32) -> f32 {
        match self.target {
            Target::Values => value(1),
            _ => (0..self.classes).map(value).sum::<f32>() / self.classes as f32,
        }
    }
}

/// Each answer as two columns, no and yes, `(M, 2)`: yes above one half.
fn yes_and_no(values: &Tensor) -> Tensor {
    let half = Tensor::scalar(0.5, values.device());
    let yes = values.reshape([values.len(), 1]).gt(&half).cast(DType::F32);
    Tensor::concat(&[&yes.affine(-1.0, 1.0), &yes], 1)
}

/// 1 for each example whose true class has fewer than `k` classes above it, `(N)`.
fn in_top_k(output: &Tensor, truth: &Tensor, k: usize) -> Tensor {
    let of_truth = output.gather(1, &truth.argmax(-1).unsqueeze(-1));
    let above = output.gt(&of_truth).cast(DType::F32).sum_axes(&[1], false);
    let near = above.lt(&Tensor::scalar(k as f32, output.device())).cast(DType::F32);
    near.mul(&of_truth.squeeze(-1).is_finite().cast(DType::F32))
}

/// The area under the curve of true positives over false ones, by the trapezoidal rule as Keras has it.
fn area_under_curve(above: &[f32]) -> f32 {
    let (right, wrong) = above.split_at(THRESHOLDS);
    // Everything is above the first threshold.
    let rate =
        |counts: &[f32], i: usize| if counts[0] > 0.0 { f64::from(counts[i]) / f64::from(counts[0]) } else { 0.0 };
    let trapezoid = |i: usize| (rate(wrong, i) - rate(wrong, i + 1)) * (rate(right, i) + rate(right, i + 1)) / 2.0;
    (0..THRESHOLDS - 1).map(trapezoid).sum::<f64>() as f32
}

/// Refuses metrics that don't fit a model's output (with batch axis).
pub(crate) fn check(metrics: &[Metric], target: Target, output: &Shape) -> Result<()> {
    let classes = if target == Target::Values { 0 } else { output.last().copied().unwrap_or(0) };
    for metric in metrics {
        if let Metric::TopKAccuracy(k) = *metric
            && !(1..=classes).contains(&k)
        {
            let expected = match classes {
                0 => "a loss of classes".to_string(),
                n => format!("k from 1 to {n}, the number of classes"),
            };
            return Err(Error::invalid(format!("metric {}", metric.name()), expected, format!("k = {k}")));
        }
    }
    Ok(())
}
