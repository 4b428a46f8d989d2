//! Where the examples of a pass come from: data that lies on the device, or parts that are uploaded one after the other.

use std::collections::BTreeMap;

use tilegrad_core::{Device, Error, Result, Shape, Tensor};
use tilegrad_data::{Loader, Part};

use crate::device_data::{DeviceDataset, check_label, check_weights, largest};
use crate::evaluate::positions;
use crate::losses::Target;
use crate::objective::Objective;

/// All examples to train or measure on.
pub(crate) enum Feed {
    Resident(DeviceDataset),
    Streamed(Stream),
}

/// Images that come part by part.
pub(crate) struct Stream {
    loader: Loader,
    device: Device,
    target: Target,
    /// What each example counts in the loss.
    weights: Option<Vec<f32>>,
}

/// Examples that lie on the device, and an order to go through them.
pub(crate) struct OnDevice {
    pub(crate) data: DeviceDataset,
    /// `u32 (M)`.
    pub(crate) index: Tensor,
}

/// An order of examples. For data on the device it lies there too, in one place from pass to pass.
pub(crate) struct Order {
    positions: Vec<u32>,
    index: Option<Tensor>,
}

impl Order {
    pub(crate) fn len(&self) -> usize {
        self.positions.len()
    }

    /// Puts as many positions as before in the place of these.
    pub(crate) fn assign(&mut self, positions: Vec<u32>) -> Result<()> {
        if let Some(index) = &self.index {
            index.assign(&positions)?;
        }
        self.positions = positions;
        Ok(())
    }
}

impl Feed {
    pub(crate) fn len(&self) -> usize {
        match self {
            Feed::Resident(data) => data.len(),
            Feed::Streamed(stream) => stream.loader.len(),
        }
    }

    pub(crate) fn device(&self) -> &Device {
        match self {
            Feed::Resident(data) => data.device(),
            Feed::Streamed(stream) => &stream.device,
        }
    }

    /// The same examples, each of which counts this much.
    pub(crate) fn with_weights(self, weights: &[f32]) -> Result<Feed> {
        match self {
            Feed::Resident(data) => data.with_weights(weights).map(Feed::Resident),
            Feed::Streamed(stream) => {
                check_weights(weights, stream.loader.len())?;
                Ok(Feed::Streamed(Stream { weights: Some(weights.to_vec()), ..stream }))
            }
        }
    }

    /// What the examples count so far times the weights of their classes.
    pub(crate) fn with_class_weights(self, classes: &BTreeMap<usize, f32>) -> Result<Feed> {
        match self {
            Feed::Resident(data) => data.with_class_weights(classes).map(Feed::Resident),
            Feed::Streamed(mut stream) => {
                let mut weights = stream.weights.take().unwrap_or_else(|| vec![1.0; stream.loader.len()]);
                for (weight, label) in weights.iter_mut().zip(stream.loader.labels()) {
                    *weight *= classes.get(&(label as usize)).copied().unwrap_or(1.0);
                }
                Feed::Streamed(stream).with_weights(&weights)
            }
        }
    }

    /// The same examples once more, which shares them.
    pub(crate) fn share(&self) -> Feed {
        match self {
            Feed::Resident(data) => Feed::Resident(data.clone()),
            Feed::Streamed(Stream { loader, device, target, weights }) => Feed::Streamed(Stream {
                loader: loader.clone(),
                device: device.clone(),
                target: *target,
                weights: weights.clone(),
            }),
        }
    }

    /// Refuses data that a model with these inputs can't take, or whose true values these losses can't compare with outputs
    /// of these shapes (with a batch axis).
    pub(crate) fn check(&self, inputs: &[Shape], objectives: &[(&Objective, Shape)], device: &Device) -> Result<()> {
        match self {
            Feed::Resident(data) => {
                data.check_inputs(inputs, device)?;
                data.check_targets(objectives)
            }
            Feed::Streamed(stream) => stream.check(&inputs[0], objectives[0].0.loss.name(), &objectives[0].1),
        }
    }

    /// An order of the examples at these positions.
    pub(crate) fn order(&self, positions: Vec<u32>) -> Order {
        let index = match self {
            Feed::Resident(data) => Some(Tensor::new(&positions, [positions.len()], data.device())),
            Feed::Streamed(_) => None,
        };
        Order { positions, index }
    }

    /// Goes through the first `count` examples of an order. Parts have whole batches, but for the last and for images that
    /// can't be read.
    pub(crate) fn parts<'a>(
        &'a self,
        order: &Order,
        count: usize,
        batch_size: usize,
    ) -> Box<dyn Iterator<Item = Result<OnDevice>> + 'a> {
        match self {
            Feed::Resident(data) => {
                let index = order.index.as_ref().expect("an order of this data").slice_axis(0, 0..count);
                Box::new(std::iter::once(Ok(OnDevice { data: data.clone(), index })))
            }
            Feed::Streamed(stream) => {
                let parts = stream.loader.parts(order.positions[..count].to_vec(), batch_size);
                // Of a part, nothing may have been readable.
                let read = parts.filter(|part| !part.as_ref().is_ok_and(|part| part.data.is_empty()));
                Box::new(read.map(|part| stream.upload(part?)))
            }
        }
    }

    /// What of the data could not be read, for people; nothing if all could.
    pub(crate) fn left_out(&self) -> Option<String> {
        let Feed::Streamed(stream) = self else { return None };
        let skipped = stream.loader.images().skipped();
        let first = skipped.first()?;
        let (name, count, path) = (stream.loader.images().name(), skipped.len(), first.path.display());
        Some(format!("{name}: {count} files skipped, the first is {path}: {}", first.reason))
    }
}

impl Stream {
    pub(crate) fn new(loader: &Loader, device: &Device, target: Target) -> Stream {
        Stream { loader: loader.clone(), device: device.clone(), target, weights: None }
    }

    /// `output` is one with a batch axis of 1.
    fn check(&self, input: &Shape, loss: &str, output: &Shape) -> Result<()> {
        let (name, shape) = (self.loader.images().name(), Shape::from(self.loader.images().shape()));
        if shape != *input {
            return Err(Error::invalid(
                format!("shape of an image of {name}"),
                format!("{input}, the model's input"),
                shape,
            ));
        }
        if self.loader.is_empty() {
            return Err(Error::invalid(name, "at least one example", "none"));
        }
        // True values of the form that parts will have.
        let y = match self.target {
            Target::Classes => Tensor::new(&[0u32], [1], &self.device),
            _ => Tensor::zeros([1, self.loader.images().classes().len()], &self.device),
        };
        self.target.check(loss, output, &y)?;
        check_label(largest(&self.loader.labels()), output)
    }

    fn upload(&self, Part { data, positions: at, .. }: Part) -> Result<OnDevice> {
        let mut part = match self.target {
            Target::Classes => DeviceDataset::upload(&data, &self.device)?,
            _ => DeviceDataset::upload_one_hot(&data, &self.device)?,
        };
        if let Some(weights) = &self.weights {
            let weights: Vec<f32> = at.iter().map(|&i| weights[i as usize]).collect();
            part = part.with_weights(&weights)?;
        }
        Ok(OnDevice { index: positions(part.len(), &self.device), data: part })
    }
}
