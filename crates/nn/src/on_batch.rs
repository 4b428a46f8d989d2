//! Training and measuring a batch at a time: for loops of one's own.

use tilegrad_core::{DType, Error, Result, Rng, Tensor};

use crate::device_data::{Examples, check_label, largest};
use crate::losses::Target;
use crate::model::Model;
use crate::tensors::Tensors;
use crate::totals::Evaluation;
use crate::train::Batch;

impl Model {
    /// One step on one batch: of each input `(N, ..)`, and of each output the true values as its loss takes them. Waits for
    /// the device; the loss and metrics are from before the update.
    ///
    /// # Errors
    /// When the model is not built or compiled, the batch does not fit it or is empty, or the device failed.
    pub fn train_on_batch<'a>(&mut self, x: impl Into<Tensors<'a>>, y: impl Into<Tensors<'a>>) -> Result<Evaluation> {
        let examples = self.checked_batch(&x.into(), &y.into())?;
        self.train_on(examples)
    }

    /// [`Model::train_on_batch`] with what each example counts in the loss, `weights (N)`.
    ///
    /// # Errors
    /// As [`Model::train_on_batch`], and when the weights are no `f32 (N)`.
    pub fn train_on_weighted_batch<'a>(
        &mut self,
        x: impl Into<Tensors<'a>>,
        y: impl Into<Tensors<'a>>,
        weights: &Tensor,
    ) -> Result<Evaluation> {
        let mut examples = self.checked_batch(&x.into(), &y.into())?;
        let x = &examples.x[0];
        if weights.dtype() != DType::F32 || weights.shape()[..] != x.shape()[..1] || weights.device() != x.device() {
            let expected = format!("f32, one for each example of x {}, on its device", x.shape());
            let got = format!("{} {} on {}", weights.dtype(), weights.shape(), weights.device());
            return Err(Error::invalid("weights", expected, got));
        }
        examples.weights = Some(weights.detach());
        self.train_on(examples)
    }

    fn train_on(&mut self, examples: Examples) -> Result<Evaluation> {
        self.arrange()?;
        let mut totals = self.take_totals()?;
        let mut rng = std::mem::replace(&mut self.state()?.rng, Rng::new(0));
        let size = examples.len();
        let done = totals
            .reset(size)
            .and_then(|()| {
                let get = |_| examples.clone();
                self.step(&Batch { size, part: size, get: &get }, &mut rng, &mut totals)
            })
            .and_then(|()| totals.read());
        self.state()?.rng = rng;
        self.put_totals(totals);
        done
    }

    /// Loss and metrics of one batch as in inference, given as to [`Model::train_on_batch`]. Waits for the device.
    ///
    /// # Errors
    /// As [`Model::train_on_batch`].
    pub fn test_on_batch<'a>(&mut self, x: impl Into<Tensors<'a>>, y: impl Into<Tensors<'a>>) -> Result<Evaluation> {
        let examples = self.checked_batch(&x.into(), &y.into())?;
        let mut totals = self.take_totals()?;
        totals.reset(examples.len())?;
        let done = self.measure(&examples, &mut totals).and_then(|()| totals.read());
        self.put_totals(totals);
        done
    }

    fn checked_batch(&self, Tensors(x): &Tensors<'_>, Tensors(y): &Tensors<'_>) -> Result<Examples> {
        let device = &self.ready()?.device;
        self.compiled()?.optimizer.check()?;
        self.check_inputs(x)?;
        if let Some(y) = y.iter().find(|y| y.device() != device) {
            return Err(Error::invalid("device of y", device.to_string(), y.device()));
        }
        let batch = x[0].shape()[0];
        if batch == 0 {
            return Err(Error::invalid("batch", "at least one example", "none"));
        }
        let objectives = self.objectives(batch)?;
        if y.len() != objectives.len() {
            return Err(Error::invalid("y", format!("{}, one for each output", objectives.len()), y.len()));
        }
        for ((objective, output), y) in objectives.iter().zip(y) {
            let target = objective.loss.target();
            target.check(objective.loss.name(), output, y)?;
            if target == Target::Classes {
                check_label(largest(&y.to_vec::<u32>()?), output)?;
            }
        }
        let owned = |tensors: &[&Tensor]| tensors.iter().map(|&tensor| tensor.clone()).collect();
        Ok(Examples { x: owned(x), y: owned(y), weights: None })
    }
}
