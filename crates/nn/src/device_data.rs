//! Datasets on a device: uploaded once, and gathered a batch at a time by a shuffled index that lies there too.

use std::collections::BTreeMap;
use std::sync::Arc;

use tilegrad_core::{DType, Device, DeviceInfo, Error, Result, Shape, Tensor};
use tilegrad_data::{Dataset, LoadedFolder, Loader};

use crate::feed::{Feed, Stream};
use crate::losses::Target;

/// Examples and their true values on a device. Cloning is cheap and shares the data.
///
/// A batch of images with class numbers is one kernel, which also turns bytes into numbers from 0 to 1; any other is two. No
/// example crosses the bus twice.
#[derive(Clone, Debug)]
pub struct DeviceDataset {
    /// `u8 (N, H, W, C)`, or `f32 (N, ..)`.
    x: Tensor,
    /// `u32 (N)`, or `f32 (N, ..)`.
    y: Tensor,
    /// What bytes are divided by.
    scale: f32,
    /// The largest class number and the first example that has it.
    largest_label: Option<(usize, u32)>,
    /// What each example counts in the loss, `f32 (N)`.
    weights: Option<Tensor>,
    name: Arc<str>,
}

/// Some examples to train or measure on.
#[derive(Clone, Debug)]
pub(crate) struct Examples {
    /// `f32 (B, ..)`.
    pub(crate) x: Tensor,
    /// As the loss takes it.
    pub(crate) y: Tensor,
    /// What each counts in the loss, `(B)`; 1 if there are none.
    pub(crate) weights: Option<Tensor>,
}

impl DeviceDataset {
    /// Uploads images as bytes, and class numbers.
    ///
    /// # Errors
    /// When there are no images, or they do not fit into one buffer of the device.
    pub fn upload(data: &Dataset, device: &Device) -> Result<DeviceDataset> {
        let y = Tensor::new(data.labels(), [data.len()], device);
        DeviceDataset::of_images(data, y, device)
    }

    /// Uploads images as bytes, and labels as rows of zeros with a one: for `CategoricalCrossentropy`.
    ///
    /// # Errors
    /// As [`DeviceDataset::upload`].
    pub fn upload_one_hot(data: &Dataset, device: &Device) -> Result<DeviceDataset> {
        let y = one_hot(data.labels(), data.classes().len(), device)?;
        DeviceDataset::of_images(data, y, device)
    }

    fn of_images(data: &Dataset, y: Tensor, device: &Device) -> Result<DeviceDataset> {
        check_not_empty(data.name(), data.len())?;
        check_fits(data.name(), data.images().len() as u64, device)?;
        let [height, width, channels] = data.shape();
        Ok(DeviceDataset {
            x: Tensor::new(data.images(), [data.len(), height, width, channels], device),
            y,
            scale: data.scale(),
            largest_label: largest(data.labels()),
            weights: None,
            name: data.name().into(),
        })
    }

    /// Takes tensors as they are: `x` of `f32 (N, ..)`, `y` of `u32 (N)` or `f32 (N, ..)`.
    ///
    /// # Errors
    /// When there are no examples, the numbers of examples, the devices or the types don't fit, or class numbers can't be
    /// read back to be checked.
    pub fn from_tensors(x: &Tensor, y: &Tensor) -> Result<DeviceDataset> {
        if x.rank() == 0 || y.rank() == 0 || x.shape()[0] != y.shape()[0] {
            let got = format!("{} and {}", x.shape(), y.shape());
            return Err(Error::invalid("shapes of x and y", "as many examples in both", got));
        }
        check_not_empty("x", x.shape()[0])?;
        if x.dtype() != DType::F32 || !matches!(y.dtype(), DType::F32 | DType::U32) {
            let got = format!("{} and {}", x.dtype(), y.dtype());
            return Err(Error::invalid("types of x and y", "f32 and u32 or f32", got));
        }
        if x.device() != y.device() {
            return Err(Error::invalid("device of y", x.device().to_string(), y.device()));
        }
        let largest_label = if y.dtype() == DType::U32 { largest(&y.to_vec::<u32>()?) } else { None };
        let (x, y) = (x.detach().contiguous(), y.detach().contiguous());
        Ok(DeviceDataset { x, y, scale: 1.0, largest_label, weights: None, name: "x".into() })
    }

    /// Lets each example count this much in the loss of training and of measuring; Keras's `sample_weight`. The loss of a batch
    /// is the sum of weight times loss over the examples, divided by how many there are. Metrics don't heed weights.
    ///
    /// # Errors
    /// When there are more or fewer weights than examples, one is negative or not finite, or the device has no room.
    pub fn with_weights(mut self, weights: &[f32]) -> Result<DeviceDataset> {
        check_weights(weights, self.len())?;
        self.weights = Some(Tensor::new(weights, [weights.len()], self.device()));
        self.device().check()?;
        Ok(self)
    }

    /// The weights of the examples times those of their classes.
    pub(crate) fn with_class_weights(self, classes: &BTreeMap<usize, f32>) -> Result<DeviceDataset> {
        let mut weights = match &self.weights {
            Some(weights) => weights.to_vec()?,
            None => vec![1.0; self.len()],
        };
        let labels = match (self.y.dtype(), self.y.rank()) {
            (DType::U32, 1) => self.y.to_vec::<u32>()?,
            (DType::F32, 2) => self.y.argmax(-1).to_vec::<u32>()?,
            _ => {
                let got = format!("{} {}", self.y.dtype(), self.y.shape());
                return Err(Error::invalid("y for class weights", "class numbers or one-hot rows", got));
            }
        };
        for (weight, label) in weights.iter_mut().zip(labels) {
            *weight *= classes.get(&(label as usize)).copied().unwrap_or(1.0);
        }
        self.with_weights(&weights)
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.x.shape()[0]
    }

    /// Whether there are none. A dataset that could be made has some.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of one example.
    pub fn shape(&self) -> Shape {
        Shape::new(&self.x.shape()[1..])
    }

    /// Where the data lies.
    pub fn device(&self) -> &Device {
        self.x.device()
    }

    /// The examples and true values at these positions, `u32 (B)`: `f32 (B, ..)` and `u32 (B)` or `f32 (B, ..)`.
    pub fn batch(&self, index: &Tensor) -> (Tensor, Tensor) {
        if (self.x.dtype(), self.y.dtype()) == (DType::U8, DType::U32) {
            return self.x.gather_batch(&self.y, index, 1.0 / self.scale);
        }
        (self.inputs(index), self.y.gather_rows(index))
    }

    /// As [`DeviceDataset::batch`], with what the examples count.
    pub(crate) fn examples(&self, index: &Tensor) -> Examples {
        let (x, y) = self.batch(index);
        let weights = self.weights.as_ref().map(|weights| weights.gather_rows(index));
        Examples { x, y, weights }
    }

    /// The examples at these positions.
    pub(crate) fn inputs(&self, index: &Tensor) -> Tensor {
        match self.x.dtype() {
            DType::U8 => self.x.gather_images(index, 1.0 / self.scale),
            _ => self.x.gather_rows(index),
        }
    }

    /// Refuses data that this model can't take.
    pub(crate) fn check_input(&self, input: &Shape, device: &Device) -> Result<()> {
        if self.shape() != *input {
            let what = format!("shape of an example of {}", self.name);
            return Err(Error::invalid(what, format!("{input}, the model's input"), self.shape()));
        }
        if self.device() != device {
            return Err(Error::invalid(format!("device of {}", self.name), device.to_string(), self.device()));
        }
        Ok(())
    }

    /// Refuses true values that this loss can't compare with an output of this shape (without batch axis).
    pub(crate) fn check_target(&self, target: Target, loss: &str, output: &Shape) -> Result<()> {
        let batch = Shape::new(&[&[self.len()], output.dims()].concat());
        target.check(loss, &batch, &self.y)?;
        let classes = output.last().copied().unwrap_or(1);
        match self.largest_label {
            Some((index, label)) if label as usize >= classes => {
                Err(Error::Label { index, label: label.into(), classes })
            }
            _ => Ok(()),
        }
    }
}

/// Class numbers as rows of zeros with a one at the class: `f32 (N, classes)`. Keras's `to_categorical`.
///
/// ```
/// use tilegrad_core::Device;
/// let y = tilegrad_nn::one_hot(&[2, 0], 3, &Device::cpu()).unwrap();
/// assert_eq!(y.to_vec::<f32>().unwrap(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
/// ```
///
/// # Errors
/// When a label is not below the number of classes.
pub fn one_hot(labels: &[u32], classes: usize, device: &Device) -> Result<Tensor> {
    let mut rows = vec![0.0f32; labels.len() * classes];
    for (index, &label) in labels.iter().enumerate() {
        if label as usize >= classes {
            return Err(Error::Label { index, label: label.into(), classes });
        }
        rows[index * classes + label as usize] = 1.0;
    }
    Ok(Tensor::new(&rows, [labels.len(), classes], device))
}

/// The largest label and the first example that has it.
pub(crate) fn largest(labels: &[u32]) -> Option<(usize, u32)> {
    let label = *labels.iter().max()?;
    Some((labels.iter().position(|&l| l == label)?, label))
}

/// Refuses weights of examples that a mean can't be taken with.
pub(crate) fn check_weights(weights: &[f32], examples: usize) -> Result<()> {
    if weights.len() != examples {
        return Err(Error::invalid("sample weights", format!("{examples}, one an example"), weights.len()));
    }
    match weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
        Some(index) => {
            Err(Error::invalid(format!("sample weight at index {index}"), "a finite number from 0 on", weights[index]))
        }
        None => Ok(()),
    }
}

fn check_not_empty(name: &str, len: usize) -> Result<()> {
    if len > 0 { Ok(()) } else { Err(Error::invalid(name, "at least one example", "none")) }
}

fn check_fits(name: &str, wanted: u64, device: &Device) -> Result<()> {
    match device.info() {
        DeviceInfo::Gpu(d) if wanted > d.max_tensor_bytes => {
            Err(Error::TooLarge { device: d.name, what: name.into(), wanted, limit: d.max_tensor_bytes })
        }
        _ => Ok(()),
    }
}

/// Data to train or measure on: a [`Dataset`] in the host's memory, which is uploaded first, one that is on the device, or a
/// [`Loader`] of one that is too large for that.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Source<'a> {
    /// In the host's memory.
    Host(&'a Dataset),
    /// On the device.
    Device(&'a DeviceDataset),
    /// Images that are uploaded part by part, as they are needed.
    Loader(&'a Loader),
}

impl<'a> From<&'a Dataset> for Source<'a> {
    fn from(data: &'a Dataset) -> Source<'a> {
        Source::Host(data)
    }
}

impl<'a> From<&'a Loader> for Source<'a> {
    fn from(loader: &'a Loader) -> Source<'a> {
        Source::Loader(loader)
    }
}

impl<'a> From<&'a LoadedFolder> for Source<'a> {
    fn from(folder: &'a LoadedFolder) -> Source<'a> {
        Source::Host(&folder.data)
    }
}

impl<'a> From<&'a DeviceDataset> for Source<'a> {
    fn from(data: &'a DeviceDataset) -> Source<'a> {
        Source::Device(data)
    }
}

impl Source<'_> {
    /// The data on `device`, with labels in the form that the loss takes.
    pub(crate) fn on(self, device: &Device, target: Target) -> Result<Feed> {
        Ok(Feed::Resident(match self {
            Source::Device(data) => data.clone(),
            Source::Host(data) if target == Target::Classes => DeviceDataset::upload(data, device)?,
            Source::Host(data) => DeviceDataset::upload_one_hot(data, device)?,
            Source::Loader(loader) => return Ok(Feed::Streamed(Stream::new(loader, device, target))),
        }))
    }

    pub(crate) fn check_shape(self, input: &Shape) -> Result<()> {
        match self {
            // Before anything is uploaded.
            Source::Host(data) if data.shape()[..] != *input.dims() => {
                let what = format!("shape of an image of {}", data.name());
                Err(Error::invalid(what, format!("{input}, the model's input"), Shape::from(data.shape())))
            }
            _ => Ok(()),
        }
    }
}
