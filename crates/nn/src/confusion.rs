//! The confusion matrix: how often each class was taken for each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Examples by their true class (rows) and the predicted one (columns).
///
/// ```
/// use tilegrad_nn::ConfusionMatrix;
/// // Of 10 cats 8 were recognised; of 5 dogs 4.
/// let matrix = ConfusionMatrix::new(2, vec![8, 2, 1, 4]);
/// assert_eq!(matrix.at(0, 1), 2);
/// assert_eq!(matrix.accuracy(), 0.8);
/// assert_eq!((matrix.precision(1), matrix.recall(1)), (4.0 / 6.0, 4.0 / 5.0));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u64>,
}

/// A ratio, 0 where there is nothing to divide by: Keras's and scikit-learn's rule.
fn ratio(part: u64, whole: u64) -> f32 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64) as f32 }
}

impl ConfusionMatrix {
    /// From counts in row-major order.
    ///
    /// # Panics
    /// When there are not `classes * classes` counts.
    pub fn new(classes: usize, counts: Vec<u64>) -> ConfusionMatrix {
        assert_eq!(counts.len(), classes * classes, "confusion matrix of {classes} classes: number of counts");
        ConfusionMatrix { classes, counts }
    }

    /// Number of classes. A single yes-or-no answer has two: no and yes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Examples of class `truth` that were taken for class `predicted`.
    pub fn at(&self, truth: usize, predicted: usize) -> u64 {
        self.counts[truth * self.classes + predicted]
    }

    /// All examples.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The fraction that was classified rightly.
    pub fn accuracy(&self) -> f32 {
        ratio((0..self.classes).map(|c| self.at(c, c)).sum(), self.total())
    }

    /// Of the examples taken for this class, the fraction that is of it; 0 without any.
    pub fn precision(&self, class: usize) -> f32 {
        ratio(self.at(class, class), (0..self.classes).map(|truth| self.at(truth, class)).sum())
    }

    /// Of the examples of this class, the fraction that was recognised; 0 without any.
    pub fn recall(&self, class: usize) -> f32 {
        ratio(self.at(class, class), (0..self.classes).map(|predicted| self.at(class, predicted)).sum())
    }

    /// The harmonic mean of [`ConfusionMatrix::precision`] and [`ConfusionMatrix::recall`].
    pub fn f1(&self, class: usize) -> f32 {
        let all = |of: &dyn Fn(usize) -> u64| (0..self.classes).map(of).sum::<u64>();
        let (columns, rows) = (all(&|truth| self.at(truth, class)), all(&|predicted| self.at(class, predicted)));
        ratio(2 * self.at(class, class), columns + rows)
    }
}

/// A table with the true classes on the left.
impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.counts.iter().map(|count| count.to_string().len()).max().unwrap_or(1).max(3);
        write!(f, "truth \\ predicted")?;
        (0..self.classes).try_for_each(|class| write!(f, " {class:>width$}"))?;
        for truth in 0..self.classes {
            write!(f, "\n{truth:>17}")?;
            (0..self.classes).try_for_each(|predicted| write!(f, " {:>width$}", self.at(truth, predicted)))?;
        }
        Ok(())
    }
}
