//! Layers in a row.

use std::ops::{Deref, DerefMut};

use tilegrad_core::Shape;

use crate::graph::Graph;
use crate::layer::Layer;
use crate::model::Model;
use crate::precision::Precision;
use crate::symbolic::SymbolicTensor;

/// Layers in a row: each takes the output of the one before. All that a [`Model`] does, it does too.
///
/// ```
/// use tilegrad_core::Device;
/// use tilegrad_nn::Sequential;
/// use tilegrad_nn::layers::{Activation, Conv2d, Dense, Flatten, MaxPool2d};
///
/// # fn main() -> Result<(), tilegrad_core::Error> {
/// let mut model = Sequential::new([28, 28, 1])
///     .add(Conv2d::new(32, 3).activation(Activation::Relu))
///     .add(MaxPool2d::new(2))
///     .add(Flatten::new())
///     .add(Dense::new(10).activation(Activation::Softmax));
/// model.build(&Device::cpu(), 42)?;
/// assert_eq!(model.count_params(), 320 + 54_090);
/// println!("{}", model.summary()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Sequential(Model);

impl Sequential {
    /// A model without layers for inputs of this shape, the batch axis left out: `[28, 28, 1]` for grey images.
    pub fn new(input: impl Into<Shape>) -> Sequential {
        Sequential::empty().with_input(input)
    }

    /// A model that is told its input's shape later.
    pub fn empty() -> Sequential {
        let input = SymbolicTensor::input(None, None);
        Sequential(Model::of(Graph::trace(vec![input.clone()], &[input]), "sequential", "Sequential"))
    }

    /// Sets the shape of one example. A model that was built has to be built again.
    pub fn with_input(mut self, shape: impl Into<Shape>) -> Sequential {
        self.0.graph.inputs[0].set_input_shape(shape.into());
        self.0.built = None;
        self
    }

    /// Sets the model's name.
    pub fn named(mut self, name: impl Into<String>) -> Sequential {
        self.0.set_name(name.into());
        self
    }

    /// Sets what the operands of products are stored in: see [`Model::set_precision`].
    ///
    /// ```
    /// use tilegrad_nn::{Precision, Sequential};
    /// let model = Sequential::new([28, 28, 1]).precision(Precision::Mixed);
    /// ```
    pub fn precision(mut self, precision: Precision) -> Sequential {
        self.0.set_precision(precision);
        self
    }

    /// Appends a layer.
    #[allow(clippy::should_implement_trait, reason = "Keras's word")]
    pub fn add(mut self, layer: impl Layer + 'static) -> Sequential {
        self.push(layer);
        self
    }

    /// Appends a layer, for models that are put together in a loop. A model that was built has to be built again.
    pub fn push(&mut self, layer: impl Layer + 'static) {
        let output = layer.call(self.0.output());
        self.end_in(&output);
    }

    /// Appends all layers of a model, which shares their weights: a trained base under a new head.
    ///
    /// ```
    /// use tilegrad_nn::Sequential;
    /// use tilegrad_nn::layers::{Conv2d, Dense, GlobalAvgPool2d};
    ///
    /// let base = Sequential::new([32, 32, 3]).named("base").add(Conv2d::new(16, 3)).add(GlobalAvgPool2d::new());
    /// base.trainable(false);
    /// let model = Sequential::new([32, 32, 3]).add_model(&base).add(Dense::new(5));
    /// assert_eq!(model.layers()[0].name(), "base.conv2d");
    /// ```
    pub fn add_model(mut self, model: &Model) -> Sequential {
        let output = model.call(self.0.output());
        self.end_in(&output);
        self
    }

    fn end_in(&mut self, output: &SymbolicTensor) {
        let input = self.0.input();
        self.0.set_graph(Graph::trace(vec![input], std::slice::from_ref(output)));
    }
}

impl Deref for Sequential {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.0
    }
}

impl DerefMut for Sequential {
    fn deref_mut(&mut self) -> &mut Model {
        &mut self.0
    }
}

impl From<Sequential> for Model {
    fn from(sequential: Sequential) -> Model {
        sequential.0
    }
}
