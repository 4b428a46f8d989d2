//! A layer as part of a model.

use std::ops::Deref;
use std::sync::Arc;

use tilegrad_core::Shape;

use crate::layer::Layer;
use crate::param::Param;
use crate::shared::SharedLayer;
use crate::symbolic::{Scope, SymbolicTensor};

/// A layer as part of a model: with its name, its output's shape and its weights.
#[derive(Debug)]
pub struct LayerEntry {
    pub(crate) name: String,
    pub(crate) layer: SharedLayer,
    /// The layer's output where it was called first.
    pub(crate) symbol: SymbolicTensor,
    /// The model that the layer came with, when that was called as a layer.
    pub(crate) group: Option<Group>,
    /// With a batch axis of 1; `None` before the model is built.
    pub(crate) output: Option<Shape>,
    /// As in the layer, since it was built.
    pub(crate) weights: Vec<Param>,
    /// Whether the layer had its weights before it became part of this model, which then keeps them.
    pub(crate) borrowed: bool,
}

/// A model whose layers are part of another.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Its name in the outer model: the beginning of its layers' names, up to a dot.
    pub(crate) name: String,
    pub(crate) scope: Arc<Scope>,
}

impl LayerEntry {
    pub(crate) fn new(name: String, symbol: &SymbolicTensor, layer: &SharedLayer, group: Option<Group>) -> LayerEntry {
        let borrowed = layer.is_built();
        let weights = layer.weights();
        let (symbol, layer) = (symbol.clone(), layer.clone());
        LayerEntry { name, layer, symbol, group, output: None, weights, borrowed }
    }

    /// The name: the user's, or one made from the type as Keras does (`conv2d`, `conv2d_1`). A layer that came with a model
    /// has that one's name in front: `vgg16.block1_conv1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The layer itself.
    pub fn layer(&self) -> impl Deref<Target = Box<dyn Layer>> + '_ {
        self.layer.layer()
    }

    /// The layer, to be called again elsewhere with the same weights.
    pub fn shared(&self) -> &SharedLayer {
        &self.layer
    }

    /// The symbolic tensor that the layer was called on: the first, if there are several.
    pub fn input(&self) -> SymbolicTensor {
        self.symbol.inputs()[0].clone()
    }

    /// The symbolic tensor that the layer makes: where another model may end that shares the layers up to here.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// use tilegrad_nn::{Model, Sequential, layers::{Conv2d, Dense, Flatten}};
    ///
    /// # fn main() -> tilegrad_core::Result<()> {
    /// let mut model = Sequential::new([8, 8, 1]).add(Conv2d::new(4, 3)).add(Flatten::new()).add(Dense::new(2));
    /// model.build(&Device::cpu(), 1)?;
    /// let features = Model::new(model.input(), model.layer("conv2d")?.output());
    /// let maps = features.predict(&Tensor::ones([1, 8, 8, 1], &Device::cpu()))?;
    /// assert_eq!(maps.shape().to_string(), "[1, 6, 6, 4]");
    /// # Ok(())
    /// # }
    /// ```
    pub fn output(&self) -> SymbolicTensor {
        self.symbol.clone()
    }

    /// The shape of one example's output, without the batch axis; `None` before the model is built.
    pub fn output_shape(&self) -> Option<Shape> {
        self.output.map(|s| Shape::new(&s[1..]))
    }

    /// All weights, running statistics included; none before the model is built.
    pub fn weights(&self) -> &[Param] {
        &self.weights
    }

    /// The weights that training changes.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        self.weights.iter().filter(|w| w.is_trainable())
    }

    /// Number of elements in all weights.
    pub fn count_params(&self) -> usize {
        self.weights.iter().map(Param::len).sum()
    }

    /// Freezes the layer (`false`) or lets it train again (`true`), in every model that has it. The next step of such a
    /// model starts its optimizer over. As Keras's `layer.trainable`.
    pub fn trainable(&self, trainable: bool) -> &LayerEntry {
        self.layer.trainable(trainable);
        self
    }

    /// Whether training changes the layer's weights.
    pub fn is_trainable(&self) -> bool {
        self.layer.is_trainable()
    }

    /// The name without that of the model that the layer came with.
    pub(crate) fn own_name(&self) -> &str {
        match &self.group {
            Some(group) => &self.name[group.name.len() + 1..],
            None => &self.name,
        }
    }
}
