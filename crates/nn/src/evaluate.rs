//! How well a model does on a data set.

use tilegrad_core::{Device, Error, Result, Tensor};

use crate::device_data::Source;
use crate::feed::{Feed, OnDevice, Order};
use crate::losses::Target;
use crate::model::Model;
use crate::totals::Evaluation;
use crate::undo::is_of_memory;

/// Examples in a batch where nothing else is said: Keras's default.
pub(crate) const BATCH_SIZE: usize = 32;

impl Model {
    /// Loss and metrics on a data set, as in inference, in batches of 32.
    ///
    /// # Errors
    /// When the model is not built or compiled, the data does not fit it, or the device failed.
    pub fn evaluate<'a>(&mut self, data: impl Into<Source<'a>>) -> Result<Evaluation> {
        self.evaluate_in_batches(data, BATCH_SIZE)
    }

    /// [`Model::evaluate`] with this many examples at a time: more are faster and take more memory. When they do not
    /// fit the device, half as many are taken until they do.
    ///
    /// # Errors
    /// As [`Model::evaluate`]; also when the batch size is 0.
    pub fn evaluate_in_batches<'a>(&mut self, data: impl Into<Source<'a>>, batch_size: usize) -> Result<Evaluation> {
        let data = self.prepare(data.into())?;
        check_batch_size(batch_size)?;
        let order = data.order((0..data.len() as u32).collect());
        self.measure_all(&data, &order, order.len(), batch_size)
    }

    /// Data on the model's device, checked against its inputs, its outputs and their losses.
    pub(crate) fn prepare(&self, data: Source<'_>) -> Result<Feed> {
        let (device, inputs, objectives) = (&self.ready()?.device, self.input_shapes()?, self.objectives(1)?);
        data.check_shape(&inputs)?;
        let targets: Vec<Target> = objectives.iter().map(|(objective, _)| objective.loss.target()).collect();
        let data = data.on(device, &inputs, &targets)?;
        data.check(&inputs, &objectives, device)?;
        Ok(data)
    }

    /// Measures the first `count` examples of an order, fewer at a time than `batch_size` if those do not fit.
    pub(crate) fn measure_all(
        &mut self,
        data: &Feed,
        order: &Order,
        count: usize,
        batch_size: usize,
    ) -> Result<Evaluation> {
        let mut totals = self.take_totals()?;
        let means = halving(batch_size.min(count), |batch_size| {
            let mut measure = || {
                totals.reset(batch_size)?;
                for part in data.parts(order, count, batch_size) {
                    let OnDevice { data, index } = part?;
                    for batch in batches(&index, batch_size) {
                        self.measure(&data.examples(&batch), &mut totals)?;
                    }
                }
                totals.read()
            };
            let means = measure();
            if means.is_err() {
                // There may have been no room for these either.
                totals = self.new_totals()?;
            }
            means
        });
        if means.is_ok() {
            self.put_totals(totals);
        }
        means
    }
}

/// The positions `0..n`, on the device.
pub(crate) fn positions(n: usize, device: &Device) -> Tensor {
    let index: Vec<u32> = (0..n as u32).collect();
    Tensor::new(&index, [n], device)
}

/// Views of an index, `batch_size` positions each; the last may have fewer.
pub(crate) fn batches(index: &Tensor, batch_size: usize) -> impl Iterator<Item = Tensor> {
    let n = index.len();
    (0..n).step_by(batch_size).map(move |start| index.slice_axis(0, start..(start + batch_size).min(n)))
}

/// Does something with this many examples at a time, and with half as many as long as memory runs out.
pub(crate) fn halving<R>(mut batch_size: usize, mut work: impl FnMut(usize) -> Result<R>) -> Result<R> {
    loop {
        match work(batch_size) {
            Err(error) if is_of_memory(&error) && batch_size > 1 => batch_size = batch_size.div_ceil(2),
            done => return done,
        }
    }
}

pub(crate) fn check_batch_size(batch_size: usize) -> Result<()> {
    if batch_size > 0 { Ok(()) } else { Err(Error::invalid("batch size", "at least 1", batch_size)) }
}
