//! Takes a training step back that ran out of memory.
//!
//! Weights, moments and the clock change at the end of a step, and the device leaves all of that out once memory has run
//! out. What changes on the way are the sums of losses and metrics, and the layers' running statistics: those are copied
//! before a step that allocates, and a few kilobytes they are.

use tilegrad_core::ops::pack::pack;
use tilegrad_core::{Error, Result, Rng, Tensor, no_grad};

use crate::model::Model;
use crate::param::Param;
use crate::totals::Totals;

/// Whether an error says that there was no room for a tensor, so that fewer examples may do.
pub(crate) fn is_of_memory(error: &Error) -> bool {
    matches!(error, Error::OutOfMemory { .. } | Error::TooLarge { .. })
}

/// What was before a step.
#[derive(Default)]
pub(crate) struct Undo {
    /// Sums and statistics, one behind the other.
    copy: Option<Tensor>,
    examples: usize,
    rng: Rng,
}

/// What a step changes on the way, with its place in the copy.
fn changed(model: &Model, sums: Vec<Tensor>) -> (Vec<Tensor>, Vec<usize>, usize) {
    let statistics = model.weights().filter(|weight| weight.is_statistic()).map(Param::tensor);
    let tensors: Vec<Tensor> = sums.into_iter().chain(statistics).collect();
    let mut starts = Vec::with_capacity(tensors.len());
    let mut end = 0;
    for t in &tensors {
        starts.push(end);
        end += t.len();
    }
    (tensors, starts, end)
}

impl Undo {
    /// Copies what the next step may change.
    ///
    /// # Errors
    /// When there is no room for the copy.
    pub(crate) fn save(&mut self, model: &Model, totals: &mut Totals, rng: &Rng) -> Result<()> {
        let (sums, examples) = totals.parts();
        let (tensors, starts, len) = changed(model, sums);
        (self.examples, self.rng) = (*examples, rng.clone());
        no_grad(|| {
            let copy = self.copy.take().filter(|copy| copy.len() == len);
            let copy = copy.unwrap_or_else(|| Tensor::zeros([len], tensors[0].device()));
            pack(&tensors.iter().collect::<Vec<_>>(), &copy, &starts);
            self.copy = Some(copy);
        });
        tensors[0].device().check()
    }

    /// Puts everything back to what it was when it was saved.
    pub(crate) fn restore(&self, model: &Model, totals: &mut Totals, rng: &mut Rng) {
        let Some(copy) = &self.copy else { return };
        let (sums, examples) = totals.parts();
        let (tensors, starts, _) = changed(model, sums);
        no_grad(|| {
            for (t, start) in tensors.iter().zip(starts) {
                pack(&[&copy.slice_axis(0, start..start + t.len())], t, &[0]);
            }
        });
        (*examples, *rng) = (self.examples, self.rng.clone());
    }
}
