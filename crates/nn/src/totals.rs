//! The sums on the device that losses and metrics are added to: nothing is read back during a step.

use std::collections::BTreeMap;

use tilegrad_core::ops::cross_entropy_step::cross_entropy_step;
use tilegrad_core::{Device, PendingValues, Result, Tensor, no_grad};

use crate::arena::ALIGN;
use crate::confusion::ConfusionMatrix;
use crate::counters::Counters;
use crate::metrics::{Metric, add_in_place};

/// Loss and metrics of one batch or one data set.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// Mean loss over the examples. With several outputs, the sum of theirs, each times its weight.
    pub loss: f32,
    /// The fraction of examples that were classified rightly, if the model has one output and was compiled with it.
    pub accuracy: Option<f32>,
    /// Every metric that is a number, by its [name](Metric::name), the accuracy included. With several outputs, the name of
    /// the layer that gives the output is in front, as in `digit_accuracy`, and their losses are here too: `digit_loss`.
    pub metrics: BTreeMap<String, f32>,
    /// How often each class was taken for each, if the model was compiled with it; of the first output for which it was.
    pub confusion: Option<ConfusionMatrix>,
    /// Number of examples.
    pub examples: usize,
}

/// Sums over the examples seen so far, on the device.
///
/// There is a sum for each position in a batch, not one for all: adding a batch then needs no reduction, each sum has few
/// terms and so loses little to rounding, and the host adds up the rest in double precision.
#[derive(Debug)]
pub(crate) struct Totals {
    /// Of each output the losses and then the right answers, `(outputs * 2 * capacity)`.
    sums: Tensor,
    /// The largest batch that there is room for.
    capacity: usize,
    examples: usize,
    outputs: Vec<OutputTotals>,
}

/// What is measured of an output.
#[derive(Debug)]
pub(crate) struct OutputTotals {
    /// In front of its metrics' names, if there are several outputs.
    pub(crate) prefix: String,
    /// What its loss counts.
    pub(crate) weight: f32,
    pub(crate) accuracy: bool,
    /// What other metrics count.
    pub(crate) counters: Option<Counters>,
}

impl Totals {
    pub(crate) fn new(device: &Device, outputs: Vec<OutputTotals>) -> Totals {
        let sums = Tensor::zeros([outputs.len() * 2 * ALIGN], device);
        Totals { sums, capacity: ALIGN, examples: 0, outputs }
    }

    /// Starts over, for batches of up to `batch_size` examples. An upload: between epochs, not between steps.
    pub(crate) fn reset(&mut self, batch_size: usize) -> Result<()> {
        self.examples = 0;
        let capacity = batch_size.next_multiple_of(ALIGN);
        if capacity > self.capacity {
            self.capacity = capacity;
            self.sums = Tensor::zeros([self.outputs.len() * 2 * capacity], self.sums.device());
        }
        for counters in self.outputs.iter_mut().filter_map(|output| output.counters.as_mut()) {
            counters.reset(batch_size)?;
        }
        self.sums.assign(&vec![0.0; self.sums.len()])
    }

    /// Counts the examples of a batch.
    pub(crate) fn count(&mut self, examples: usize) {
        self.examples += examples;
    }

    /// Adds a batch to what other metrics of an output than its accuracy count, if there are any. `values` is called for the
    /// model's output.
    pub(crate) fn add_to_counters(&self, output: usize, values: impl FnOnce() -> Tensor, y: &Tensor) {
        if let Some(counters) = &self.outputs[output].counters {
            counters.add(&no_grad(values), y);
        }
    }

    /// Adds of an output a batch: its losses `(N)` and, if wanted, its right answers `(N)`.
    pub(crate) fn add(&self, output: usize, losses: &Tensor, correct: Option<&Tensor>) {
        let start = output * 2 * self.capacity;
        no_grad(|| {
            for (values, start) in [(Some(losses), start), (correct, start + self.capacity)] {
                if let Some(values) = values {
                    add_in_place(&self.sums.slice_axis(0, start..start + values.len()), &values.detach());
                }
            }
        });
    }

    /// Adds, of the only output, examples of softmax cross-entropy: their losses and right answers, from logits `(N, C)`.
    /// Returns the gradient with respect to the logits of the mean loss of a batch of `batch` examples, which these are part
    /// of.
    pub(crate) fn add_cross_entropy(&self, logits: &Tensor, y: &Tensor, batch: usize) -> Tensor {
        cross_entropy_step(&logits.detach(), y, 1.0 / batch as f32, &self.sums)
    }

    /// The sums, and the number of examples in them: what a step that is taken back has changed.
    pub(crate) fn parts(&mut self) -> (Vec<Tensor>, &mut usize) {
        let counters = self.outputs.iter().filter_map(|output| output.counters.as_ref()).map(Counters::sums);
        (std::iter::once(&self.sums).chain(counters).cloned().collect(), &mut self.examples)
    }

    /// Starts to read the means back.
    ///
    /// # Errors
    /// When an update of the weights was left out for lack of memory.
    pub(crate) fn read_later(&self) -> Result<PendingMeans> {
        self.sums.device().check()?;
        Ok(PendingMeans { sums: self.sums.read_later()?, examples: self.examples })
    }

    /// The means over the examples, from the sums.
    pub(crate) fn means(&self, sums: &[f32], examples: usize) -> Means {
        let mean = |sums: &[f32]| (sums.iter().copied().map(f64::from).sum::<f64>() / examples.max(1) as f64) as f32;
        let each = sums.chunks(sums.len() / self.outputs.len()).map(|sums| {
            let (losses, correct) = sums.split_at(sums.len() / 2);
            (mean(losses), mean(correct))
        });
        let outputs: Vec<(f32, f32)> = each.collect();
        let weighted = self.outputs.iter().zip(&outputs).map(|(output, (loss, _))| output.weight * loss);
        let accuracy = if let [output] = &self.outputs[..] { output.accuracy.then_some(outputs[0].1) } else { None };
        Means { loss: weighted.sum(), accuracy, outputs }
    }

    /// Waits for all that was measured, and for word that every update of the weights was made.
    pub(crate) fn read(&self) -> Result<Evaluation> {
        self.sums.device().synchronize()?;
        let PendingMeans { sums, examples } = self.read_later()?;
        let means = self.means(&sums.wait()?, examples);
        let (mut metrics, mut confusion) = (BTreeMap::new(), None);
        for (OutputTotals { prefix, accuracy, counters, .. }, (loss, correct)) in self.outputs.iter().zip(means.outputs)
        {
            if self.outputs.len() > 1 {
                metrics.insert(format!("{prefix}loss"), loss);
            }
            if *accuracy {
                metrics.insert(prefix.clone() + &Metric::Accuracy.name(), correct);
            }
            if let Some(counters) = counters {
                let (values, matrix) = counters.read(examples)?;
                metrics.extend(values.into_iter().map(|(name, value)| (prefix.clone() + &name, value)));
                confusion = confusion.or(matrix);
            }
        }
        Ok(Evaluation { loss: means.loss, accuracy: means.accuracy, metrics, confusion, examples })
    }
}

/// Sums on their way.
pub(crate) struct PendingMeans {
    sums: PendingValues,
    examples: usize,
}

impl PendingMeans {
    /// The means, of these totals, if the sums have arrived.
    pub(crate) fn try_take(&mut self, totals: &Totals) -> Option<Result<Means>> {
        Some(self.sums.try_take()?.map(|sums| totals.means(&sums, self.examples)))
    }
}

/// Means over examples.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Means {
    /// Of all outputs together.
    pub(crate) loss: f32,
    /// Of the only output, if it is measured.
    pub(crate) accuracy: Option<f32>,
    /// Of each output the loss and the share of right answers, if those are counted.
    outputs: Vec<(f32, f32)>,
}
