//! Using a model: how well it does on a data set, and what it says about examples.

use std::collections::VecDeque;
use std::ops::Range;

use tilegrad_core::{Device, Error, PendingValues, Result, Shape, Tensor};
use tilegrad_data::{Dataset, Loader};

use crate::counters;
use crate::device_data::{DeviceDataset, Source};
use crate::feed::{Feed, OnDevice, Order};
use crate::metrics::Measured;
use crate::model::Model;
use crate::train::Evaluation;
use crate::undo::is_of_memory;

/// Examples in a batch where nothing else is said: Keras's default.
pub(crate) const BATCH_SIZE: usize = 32;

/// Batches whose predictions may be on their way at a time: the device works on one while another is copied.
const IN_FLIGHT: usize = 3;

/// What to predict from.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Inputs<'a> {
    /// A batch of any size, `f32 (N, ..)`.
    Tensor(&'a Tensor),
    /// Images in the host's memory.
    Host(&'a Dataset),
    /// Examples on the device.
    Device(&'a DeviceDataset),
    /// Images that are uploaded part by part.
    Loader(&'a Loader),
}

impl<'a> From<&'a Loader> for Inputs<'a> {
    fn from(loader: &'a Loader) -> Inputs<'a> {
        Inputs::Loader(loader)
    }
}

impl<'a> From<&'a Tensor> for Inputs<'a> {
    fn from(x: &'a Tensor) -> Inputs<'a> {
        Inputs::Tensor(x)
    }
}

impl<'a> From<&'a Dataset> for Inputs<'a> {
    fn from(data: &'a Dataset) -> Inputs<'a> {
        Inputs::Host(data)
    }
}

impl<'a> From<&'a DeviceDataset> for Inputs<'a> {
    fn from(data: &'a DeviceDataset) -> Inputs<'a> {
        Inputs::Device(data)
    }
}

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
        let measured = self.measure_all(&data, &order, order.len(), batch_size)?;
        Ok(Evaluation::new(measured, self.compiled()?.accuracy))
    }

    /// Data on the model's device, checked against its input, its output and its loss.
    pub(crate) fn prepare(&self, data: Source<'_>) -> Result<Feed> {
        let built = self.ready()?;
        let loss = &self.compiled()?.loss;
        let input = self.input_shape().expect("a built model has an input shape");
        data.check_shape(&input)?;
        let data = data.on(&built.device, loss.target())?;
        if let Feed::Resident(data) = &data {
            data.check_input(&input, &built.device)?;
        }
        let output = self.output_shape().expect("a built model knows its output");
        data.check(&input, loss.target(), loss.name(), &output)?;
        let batch = Shape::new(&[&[1], output.dims()].concat());
        counters::check(&self.compiled()?.metrics, loss.target(), &batch)?;
        Ok(data)
    }

    /// Measures the first `count` examples of an order, fewer at a time than `batch_size` if those do not fit.
    pub(crate) fn measure_all(
        &mut self,
        data: &Feed,
        order: &Order,
        count: usize,
        batch_size: usize,
    ) -> Result<Measured> {
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

    /// The model's output for every example, `(N, ..)`, in batches of 32: probabilities, for a classifier.
    ///
    /// ```
    /// # use tilegrad_core::{Device, Result, Tensor};
    /// # use tilegrad_nn::{Sequential, layers::{Activation, Dense}};
    /// # fn main() -> Result<()> {
    /// let mut model = Sequential::new([4]).add(Dense::new(3).activation(Activation::Softmax));
    /// model.build(&Device::cpu(), 1)?;
    /// let probabilities = model.predict(&Tensor::ones([100, 4], &Device::cpu()))?;
    /// assert_eq!(probabilities.shape().to_string(), "[100, 3]");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the model is not built, the examples don't fit it, or the device failed.
    pub fn predict<'a>(&self, x: impl Into<Inputs<'a>>) -> Result<Tensor> {
        self.predict_in_batches(x, BATCH_SIZE)
    }

    /// [`Model::predict`] with this many examples at a time, or fewer if those do not fit the device.
    ///
    /// # Errors
    /// As [`Model::predict`]; also when the batch size is 0.
    pub fn predict_in_batches<'a>(&self, x: impl Into<Inputs<'a>>, batch_size: usize) -> Result<Tensor> {
        let built = self.ready()?;
        check_batch_size(batch_size)?;
        let input = self.input_shape().expect("a built model has an input shape");
        let x = match x.into() {
            Inputs::Tensor(x) => {
                self.check_input(x)?;
                let n = x.shape()[0];
                return self.collect(n, batch_size, |rows| x.slice_axis(0, rows));
            }
            Inputs::Host(data) => {
                Source::Host(data).check_shape(&input)?;
                DeviceDataset::upload(data, &built.device)?
            }
            Inputs::Loader(loader) => return self.predict_parts(loader, batch_size),
            Inputs::Device(data) => data.clone(),
        };
        x.check_input(&input, &built.device)?;
        let index = positions(x.len(), &built.device);
        self.collect(x.len(), batch_size, |rows| x.inputs(&index.slice_axis(0, rows)))
    }

    /// The output for every image of a loader, each of which has to be readable: an output has to be of the image at its place.
    fn predict_parts(&self, loader: &Loader, batch_size: usize) -> Result<Tensor> {
        let output = self.output_shape().expect("a built model knows its output");
        let mut values = Vec::with_capacity(loader.len() * output.len());
        for part in loader.parts((0..loader.len() as u32).collect(), batch_size) {
            let data = part?.data;
            if !data.is_empty() {
                values.extend(self.predict_in_batches(&data, batch_size)?.to_vec::<f32>()?);
            }
        }
        if values.len() != loader.len() * output.len() {
            let skipped = loader.images().skipped();
            let first = skipped.first().map_or(String::new(), |s| format!(": {}: {}", s.path.display(), s.reason));
            let (name, got) = (loader.images().name(), format!("{} that are not{first}", skipped.len()));
            return Err(Error::invalid(format!("images of {name}"), "all readable", got));
        }
        Ok(Tensor::new(&values, Shape::new(&[&[loader.len()], output.dims()].concat()), &self.ready()?.device))
    }

    /// Runs `n` examples, which `get` gives, and puts their outputs together; fewer at a time than `batch_size` if those do
    /// not fit.
    fn collect(&self, n: usize, batch_size: usize, get: impl Fn(Range<usize>) -> Tensor) -> Result<Tensor> {
        let device = &self.ready()?.device;
        let output = self.output_shape().expect("a built model knows its output");
        let values = halving(batch_size.min(n.max(1)), |batch_size| {
            let mut values = Vec::with_capacity(n * output.len());
            let mut coming: VecDeque<PendingValues> = VecDeque::new();
            for start in (0..n).step_by(batch_size) {
                let x = get(start..(start + batch_size).min(n));
                let y = self.infer(|context| self.run_layers(&x, context));
                coming.push_back(y.read_later()?);
                if coming.len() >= IN_FLIGHT {
                    values.extend(coming.pop_front().expect("there are some").wait()?);
                }
            }
            for values_of_batch in coming {
                values.extend(values_of_batch.wait()?);
            }
            Ok(values)
        })?;
        Ok(Tensor::new(&values, Shape::new(&[&[n], output.dims()].concat()), device))
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
fn halving<R>(mut batch_size: usize, mut work: impl FnMut(usize) -> Result<R>) -> Result<R> {
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
