//! What a model says about examples.

use std::collections::VecDeque;
use std::ops::Range;

use tilegrad_core::{Error, PendingValues, Result, Shape, Tensor};
use tilegrad_data::{Dataset, Loader};

use crate::device_data::{DeviceDataset, Source};
use crate::evaluate::{BATCH_SIZE, check_batch_size, halving, positions};
use crate::model::Model;
use crate::tensors::Tensors;

/// Batches whose predictions may be on their way at a time: the device works on one while another is copied.
const IN_FLIGHT: usize = 3;

/// What to predict from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Inputs<'a> {
    /// Any number of examples: of each of the model's inputs `f32 (N, ..)`.
    Tensors(Tensors<'a>),
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

impl<'a, T: Into<Tensors<'a>>> From<T> for Inputs<'a> {
    fn from(x: T) -> Inputs<'a> {
        Inputs::Tensors(x.into())
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
    /// The model's output for every example, `(N, ..)`, in batches of 32: probabilities, for a classifier. Of several outputs,
    /// the first: [`Model::predict_all`] gives them all.
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
        Ok(self.predict_outputs(&x.into(), 1, batch_size)?.swap_remove(0))
    }

    /// All outputs for every example, `(N, ..)` each, in batches of 32.
    ///
    /// # Errors
    /// As [`Model::predict`].
    pub fn predict_all<'a>(&self, x: impl Into<Inputs<'a>>) -> Result<Vec<Tensor>> {
        self.predict_outputs(&x.into(), self.outputs().len(), BATCH_SIZE)
    }

    /// The first `outputs` outputs for every example.
    fn predict_outputs(&self, x: &Inputs<'_>, outputs: usize, batch_size: usize) -> Result<Vec<Tensor>> {
        let (device, inputs) = (&self.ready()?.device, self.input_shapes()?);
        check_batch_size(batch_size)?;
        let x = match x {
            Inputs::Tensors(Tensors(x)) => {
                self.check_inputs(x)?;
                let part = |rows: Range<usize>| x.iter().map(|x| x.slice_axis(0, rows.clone())).collect();
                return self.collect(x[0].shape()[0], outputs, batch_size, part);
            }
            Inputs::Host(data) => {
                Source::Host(data).check_shape(&inputs)?;
                DeviceDataset::upload(data, device)?
            }
            Inputs::Loader(loader) => return self.predict_parts(loader, outputs, batch_size),
            Inputs::Device(data) => (*data).clone(),
        };
        x.check_inputs(&inputs, device)?;
        let index = positions(x.len(), device);
        self.collect(x.len(), outputs, batch_size, |rows| x.inputs(&index.slice_axis(0, rows)))
    }

    /// The outputs for every image of a loader, each of which has to be readable: an output has to be of the image at its
    /// place.
    fn predict_parts(&self, loader: &Loader, outputs: usize, batch_size: usize) -> Result<Vec<Tensor>> {
        let mut values: Vec<Vec<f32>> = vec![Vec::new(); outputs];
        let mut read = 0;
        for part in loader.parts((0..loader.len() as u32).collect(), batch_size) {
            let data = part?.data;
            if !data.is_empty() {
                read += data.len();
                let outputs = self.predict_outputs(&Inputs::Host(&data), outputs, batch_size)?;
                for (values, output) in values.iter_mut().zip(outputs) {
                    values.extend(output.to_vec::<f32>()?);
                }
            }
        }
        if read != loader.len() {
            let skipped = loader.images().skipped();
            let first = skipped.first().map_or(String::new(), |s| format!(": {}: {}", s.path.display(), s.reason));
            let (name, got) = (loader.images().name(), format!("{} that are not{first}", skipped.len()));
            return Err(Error::invalid(format!("images of {name}"), "all readable", got));
        }
        Ok(self.as_outputs(&values, read))
    }

    /// Runs `n` examples, whose inputs `get` gives, and puts their outputs together; fewer at a time than `batch_size` if
    /// those do not fit.
    fn collect(
        &self,
        n: usize,
        outputs: usize,
        batch_size: usize,
        get: impl Fn(Range<usize>) -> Vec<Tensor>,
    ) -> Result<Vec<Tensor>> {
        let heads = vec![None; outputs];
        let values = halving(batch_size.min(n.max(1)), |batch_size| {
            let mut values: Vec<Vec<f32>> = vec![Vec::new(); outputs];
            let mut coming: VecDeque<Vec<PendingValues>> = VecDeque::new();
            let mut take = |batch: Vec<PendingValues>| -> Result<()> {
                for (values, of_batch) in values.iter_mut().zip(batch) {
                    values.extend(of_batch.wait()?);
                }
                Ok(())
            };
            for start in (0..n).step_by(batch_size) {
                let x = get(start..(start + batch_size).min(n));
                let x: Vec<&Tensor> = x.iter().collect();
                let batch = self.infer(|context| self.forward_headless(&x, &heads, context));
                coming.push_back(batch.iter().map(|output| output.tensor().read_later()).collect::<Result<_>>()?);
                if coming.len() >= IN_FLIGHT {
                    take(coming.pop_front().expect("there are some"))?;
                }
            }
            coming.into_iter().try_for_each(take)?;
            Ok(values)
        })?;
        Ok(self.as_outputs(&values, n))
    }

    /// Values of `n` examples as tensors of the outputs' shapes.
    fn as_outputs(&self, values: &[Vec<f32>], n: usize) -> Vec<Tensor> {
        let device = self.device().expect("checked by the caller");
        let shapes = self.output_shapes().into_iter().map(|output| Shape::new(&[&[n], output.dims()].concat()));
        values.iter().zip(shapes).map(|(values, shape)| Tensor::new(values, shape, device)).collect()
    }
}
