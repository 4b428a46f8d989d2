//! Datasets on a device: uploaded once, and gathered a batch at a time by a shuffled index that lies there too.

use std::collections::BTreeMap;
use std::sync::Arc;

use tilegrad_core::{DType, Device, DeviceInfo, Error, Result, Shape, Tensor};
use tilegrad_data::{Dataset, LoadedFolder, Loader};

use crate::feed::{Feed, Stream};
use crate::losses::Target;
use crate::objective::Objective;
use crate::tensors::Tensors;

/// Examples and their true values on a device. Cloning is cheap and shares the data.
///
/// A batch of images with class numbers is one kernel, which also turns bytes into numbers from 0 to 1; any other is two. No
/// example crosses the bus twice.
#[derive(Clone, Debug)]
pub struct DeviceDataset {
    /// Of each input of a model `u8 (N, H, W, C)`, or `f32 (N, ..)`.
    x: Vec<Tensor>,
    /// Of each output `u32 (N)`, or `f32 (N, ..)`.
    y: Vec<Tensor>,
    /// What bytes are divided by.
    scale: f32,
    /// Of each output the largest class number and the first example that has it.
    largest_labels: Vec<Option<(usize, u32)>>,
    /// What each example counts in the loss, `f32 (N)`.
    weights: Option<Tensor>,
    name: Arc<str>,
}

/// Some examples to train or measure on.
#[derive(Clone, Debug)]
pub(crate) struct Examples {
    /// Of each input `f32 (B, ..)`.
    pub(crate) x: Vec<Tensor>,
    /// Of each output, as its loss takes it.
    pub(crate) y: Vec<Tensor>,
    /// What each counts in the loss, `(B)`; 1 if there are none.
    pub(crate) weights: Option<Tensor>,
}

impl Examples {
    pub(crate) fn len(&self) -> usize {
        self.x[0].shape()[0]
    }
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
            x: vec![Tensor::new(data.images(), [data.len(), height, width, channels], device)],
            y: vec![y],
            scale: data.scale(),
            largest_labels: vec![largest(data.labels())],
            weights: None,
            name: data.name().into(),
        })
    }

    /// Takes tensors as they are: inputs of `f32 (N, ..)`, true values of `u32 (N)` or `f32 (N, ..)`. For a model with several
    /// inputs or outputs, one for each: `from_tensors([&images, &ages], &labels)`.
    ///
    /// # Errors
    /// When there are no examples, the numbers of examples, the devices or the types don't fit, or class numbers can't be
    /// read back to be checked.
    pub fn from_tensors<'a>(x: impl Into<Tensors<'a>>, y: impl Into<Tensors<'a>>) -> Result<DeviceDataset> {
        let (x, y) = (x.into().0, y.into().0);
        let (Some(first), false) = (x.first(), y.is_empty()) else {
            let got = format!("{} and {}", x.len(), y.len());
            return Err(Error::invalid("x and y", "at least one tensor each", got));
        };
        let examples = first.shape().first().copied();
        if examples.is_none() || x.iter().chain(&y).any(|tensor| tensor.shape().first().copied() != examples) {
            let got = format!("{} and {}", list(&x, |x| *x.shape()), list(&y, |y| *y.shape()));
            return Err(Error::invalid("shapes of x and y", "as many examples in each", got));
        }
        check_not_empty("x", first.shape()[0])?;
        if x.iter().any(|x| x.dtype() != DType::F32) || !y.iter().all(|y| matches!(y.dtype(), DType::F32 | DType::U32))
        {
            let got = format!("{} and {}", list(&x, Tensor::dtype), list(&y, Tensor::dtype));
            return Err(Error::invalid("types of x and y", "f32 and u32 or f32", got));
        }
        if let Some(other) = x.iter().chain(&y).find(|other| other.device() != first.device()) {
            return Err(Error::invalid("device of x and y", first.device().to_string(), other.device()));
        }
        let labels = |y: &&Tensor| (y.dtype() == DType::U32).then(|| y.to_vec::<u32>()).transpose();
        let largest_label = |y| Ok(labels(y)?.and_then(|labels| largest(&labels)));
        Ok(DeviceDataset {
            largest_labels: y.iter().map(largest_label).collect::<Result<_>>()?,
            x: x.iter().map(|x| x.detach().contiguous()).collect(),
            y: y.iter().map(|y| y.detach().contiguous()).collect(),
            scale: 1.0,
            weights: None,
            name: "x".into(),
        })
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
        let [y] = &self.y[..] else {
            return Err(Error::invalid("outputs, for class weights", "one", self.y.len()));
        };
        let labels = match (y.dtype(), y.rank()) {
            (DType::U32, 1) => y.to_vec::<u32>()?,
            (DType::F32, 2) => y.argmax(-1).to_vec::<u32>()?,
            _ => {
                let got = format!("{} {}", y.dtype(), y.shape());
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
        self.x[0].shape()[0]
    }

    /// Whether there are none. A dataset that could be made has some.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of one example: of the first input, if there are several.
    pub fn shape(&self) -> Shape {
        Shape::new(&self.x[0].shape()[1..])
    }

    /// Where the data lies.
    pub fn device(&self) -> &Device {
        self.x[0].device()
    }

    /// The examples and true values at these positions, `u32 (B)`: `f32 (B, ..)` and `u32 (B)` or `f32 (B, ..)`. Of several
    /// inputs and outputs, the first.
    pub fn batch(&self, index: &Tensor) -> (Tensor, Tensor) {
        let (x, y) = (&self.x[0], &self.y[0]);
        if (x.dtype(), y.dtype()) == (DType::U8, DType::U32) {
            return x.gather_batch(y, index, 1.0 / self.scale);
        }
        (self.input(x, index), y.gather_rows(index))
    }

    /// All inputs and true values at these positions, with what the examples count.
    pub(crate) fn examples(&self, index: &Tensor) -> Examples {
        let (x, y) = self.batch(index);
        let mut examples = Examples { x: vec![x], y: vec![y], weights: None };
        examples.x.extend(self.x[1..].iter().map(|x| self.input(x, index)));
        examples.y.extend(self.y[1..].iter().map(|y| y.gather_rows(index)));
        examples.weights = self.weights.as_ref().map(|weights| weights.gather_rows(index));
        examples
    }

    /// All inputs at these positions.
    pub(crate) fn inputs(&self, index: &Tensor) -> Vec<Tensor> {
        self.x.iter().map(|x| self.input(x, index)).collect()
    }

    fn input(&self, x: &Tensor, index: &Tensor) -> Tensor {
        match x.dtype() {
            DType::U8 => x.gather_images(index, 1.0 / self.scale),
            _ => x.gather_rows(index),
        }
    }

    /// Refuses data that a model with these inputs can't take.
    pub(crate) fn check_inputs(&self, inputs: &[Shape], device: &Device) -> Result<()> {
        if self.x.len() != inputs.len() {
            let expected = format!("{}, as the model has", inputs.len());
            return Err(Error::invalid(format!("inputs of {}", self.name), expected, self.x.len()));
        }
        for (x, input) in self.x.iter().zip(inputs) {
            let shape = Shape::new(&x.shape()[1..]);
            if shape != *input {
                let what = format!("shape of an example of {}", self.name);
                return Err(Error::invalid(what, format!("{input}, the model's input"), shape));
            }
        }
        if self.device() != device {
            return Err(Error::invalid(format!("device of {}", self.name), device.to_string(), self.device()));
        }
        Ok(())
    }

    /// Refuses true values that these losses can't compare with outputs of these shapes (with a batch axis).
    pub(crate) fn check_targets(&self, objectives: &[(&Objective, Shape)]) -> Result<()> {
        if self.y.len() != objectives.len() {
            let what = format!("true values of {}", self.name);
            return Err(Error::invalid(what, format!("{}, one for each output", objectives.len()), self.y.len()));
        }
        for ((objective, output), (y, largest)) in objectives.iter().zip(self.y.iter().zip(&self.largest_labels)) {
            let batch = Shape::new(&[&[self.len()], &output[1..]].concat());
            objective.loss.target().check(objective.loss.name(), &batch, y)?;
            check_label(*largest, output)?;
        }
        Ok(())
    }
}

/// Refuses a class number that an output of this shape (with a batch axis) has no place for.
pub(crate) fn check_label(largest: Option<(usize, u32)>, output: &Shape) -> Result<()> {
    let classes = output[1..].last().copied().unwrap_or(1);
    match largest {
        Some((index, label)) if label as usize >= classes => Err(Error::Label { index, label: label.into(), classes }),
        _ => Ok(()),
    }
}

/// A property of several tensors, for messages.
fn list<T: std::fmt::Display>(tensors: &[&Tensor], property: impl Fn(&Tensor) -> T) -> String {
    tensors.iter().map(|tensor| property(tensor).to_string()).collect::<Vec<_>>().join(", ")
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
    /// The data on `device`, with labels in the form that the losses take.
    ///
    /// # Errors
    /// When these are images with a label each and the model takes or gives more.
    pub(crate) fn on(self, device: &Device, inputs: &[Shape], targets: &[Target]) -> Result<Feed> {
        let target = match (self, inputs, targets) {
            (Source::Device(_), ..) => Target::Values,
            (_, [_], [target]) => *target,
            _ => {
                let got = "images with a label each\n  help: `DeviceDataset::from_tensors` takes several tensors";
                let expected = format!("data for {} inputs and {} outputs", inputs.len(), targets.len());
                return Err(Error::invalid("data", expected, got));
            }
        };
        Ok(Feed::Resident(match self {
            Source::Device(data) => data.clone(),
            Source::Host(data) if target == Target::Classes => DeviceDataset::upload(data, device)?,
            Source::Host(data) => DeviceDataset::upload_one_hot(data, device)?,
            Source::Loader(loader) => return Ok(Feed::Streamed(Stream::new(loader, device, target))),
        }))
    }

    /// Refuses images of another shape than a model's only input, before any is uploaded.
    pub(crate) fn check_shape(self, inputs: &[Shape]) -> Result<()> {
        match (self, inputs) {
            (Source::Host(data), [input]) if data.shape()[..] != input[..] => {
                let what = format!("shape of an image of {}", data.name());
                Err(Error::invalid(what, format!("{input}, the model's input"), Shape::from(data.shape())))
            }
            _ => Ok(()),
        }
    }
}
