//! Training and measuring a batch at a time: for loops of one's own.

use tilegrad_core::{DType, Error, Result, Rng, Tensor};

use crate::counters;
use crate::device_data::Examples;
use crate::losses::Target;
use crate::model::Model;
use crate::train::{Batch, Evaluation};

impl Model {
    /// One step on one batch, `x (N, ..)` and `y` as the loss takes it. Waits for the device; the loss and accuracy are from
    /// before the update.
    ///
    /// # Errors
    /// When the model is not built or compiled, the batch does not fit it or is empty, or the device failed.
    pub fn train_on_batch(&mut self, x: &Tensor, y: &Tensor) -> Result<Evaluation> {
        self.train_on(Examples { x: x.clone(), y: y.clone(), weights: None })
    }

    /// [`Model::train_on_batch`] with what each example counts in the loss, `weights (N)`.
    ///
    /// # Errors
    /// As [`Model::train_on_batch`], and when the weights are no `f32 (N)`.
    pub fn train_on_weighted_batch(&mut self, x: &Tensor, y: &Tensor, weights: &Tensor) -> Result<Evaluation> {
        let fits = weights.dtype() == DType::F32 && weights.shape()[..] == x.shape()[..1.min(x.rank())];
        if !fits || weights.device() != x.device() {
            let expected = format!("f32, one for each example of x {}, on its device", x.shape());
            let got = format!("{} {} on {}", weights.dtype(), weights.shape(), weights.device());
            return Err(Error::invalid("weights", expected, got));
        }
        self.train_on(Examples { x: x.clone(), y: y.clone(), weights: Some(weights.detach()) })
    }

    fn train_on(&mut self, examples: Examples) -> Result<Evaluation> {
        let Examples { x, y, .. } = &examples;
        self.check_batch(x, y)?;
        self.arrange()?;
        let (accuracy, mut totals) = (self.compiled()?.accuracy, self.take_totals()?);
        let mut rng = std::mem::replace(&mut self.state()?.rng, Rng::new(0));
        let done = totals
            .reset(x.shape()[0])
            .and_then(|()| {
                let (size, get) = (x.shape()[0], |_| examples.clone());
                self.step(&Batch { size, part: size, get: &get }, &mut rng, &mut totals)
            })
            .and_then(|()| totals.read());
        self.state()?.rng = rng;
        self.put_totals(totals);
        Ok(Evaluation::new(done?, accuracy))
    }

    /// Loss and metrics of one batch as in inference, `x (N, ..)` and `y` as the loss takes it. Waits for the device.
    ///
    /// # Errors
    /// As [`Model::train_on_batch`].
    pub fn test_on_batch(&mut self, x: &Tensor, y: &Tensor) -> Result<Evaluation> {
        self.check_batch(x, y)?;
        let mut totals = self.take_totals()?;
        totals.reset(x.shape()[0])?;
        let examples = Examples { x: x.clone(), y: y.clone(), weights: None };
        let done = self.measure(&examples, &mut totals).and_then(|()| totals.read());
        self.put_totals(totals);
        Ok(Evaluation::new(done?, self.compiled()?.accuracy))
    }

    fn check_batch(&self, x: &Tensor, y: &Tensor) -> Result<()> {
        let built = self.ready()?;
        let loss = &self.compiled()?.loss;
        self.compiled()?.optimizer.check()?;
        self.check_input(x)?;
        if *y.device() != built.device {
            return Err(Error::invalid("device of y", built.device.to_string(), y.device()));
        }
        if x.shape()[0] == 0 {
            return Err(Error::invalid("batch", "at least one example", "none"));
        }
        let output = self.output_shape().expect("a built model knows its output");
        let output = [&x.shape()[..1], output.dims()].concat();
        loss.target().check(loss.name(), &output.as_slice().into(), y)?;
        counters::check(&self.compiled()?.metrics, loss.target(), &output.as_slice().into())?;
        if loss.target() == Target::Classes {
            let classes = *output.last().expect("there is a batch axis");
            let labels = y.to_vec::<u32>()?;
            if let Some(index) = labels.iter().position(|&l| l as usize >= classes) {
                return Err(Error::Label { index, label: labels[index].into(), classes });
            }
        }
        Ok(())
    }
}
