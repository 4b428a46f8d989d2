//! Layers that several models, or several places of one, may use: one layer, one set of weights.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, RwLock};

use tilegrad_core::{Shape, ShapeError};

use crate::layer::{BuildContext, Layer};
use crate::param::Param;
use crate::symbolic::{SymbolicTensor, Symbols};

/// A layer that can be called more than once: each call adds a place in a graph, and all share the weights. Cloning is
/// cheap and gives the same layer.
///
/// ```
/// use tilegrad_core::Device;
/// use tilegrad_nn::layers::{Concatenate, Dense};
/// use tilegrad_nn::{Input, Layer, Model};
///
/// # fn main() -> tilegrad_core::Result<()> {
/// let (left, right) = (Input::new([8]), Input::new([8]));
/// let encode = Dense::new(4).shared();
/// let both = Concatenate::new().call([&encode.call(&left), &encode.call(&right)]);
/// let mut model = Model::new([&left, &right], &Dense::new(1).call(&both));
/// model.build(&Device::cpu(), 1)?;
/// assert_eq!(model.count_params(), (8 * 4 + 4) + (8 + 1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedLayer(Arc<Inner>);

struct Inner {
    layer: RwLock<Box<dyn Layer>>,
    /// `None` until a model has been built with the layer.
    weights: RwLock<Option<Vec<Param>>>,
    trainable: AtomicBool,
    /// Given by the first model that had to find one.
    automatic_name: OnceLock<String>,
}

impl SharedLayer {
    /// Takes a layer to be shared.
    pub fn new(layer: impl Layer + 'static) -> SharedLayer {
        SharedLayer::from(Box::new(layer) as Box<dyn Layer>)
    }

    /// The layer's output for symbolic tensors. Whether they fit shows when a model is built.
    pub fn call(&self, inputs: impl Into<Symbols>) -> SymbolicTensor {
        SymbolicTensor::of_call(self.clone(), inputs.into().0, Vec::new())
    }

    /// The layer itself.
    pub fn layer(&self) -> impl Deref<Target = Box<dyn Layer>> + '_ {
        self.0.layer.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// All weights, running statistics included; none before a model with the layer is built.
    pub fn weights(&self) -> Vec<Param> {
        self.0.weights.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone().unwrap_or_default()
    }

    /// Freezes the layer, or lets it train again, in every model that has it: see
    /// [`LayerEntry::trainable`](crate::LayerEntry::trainable).
    pub fn trainable(&self, trainable: bool) -> &SharedLayer {
        self.0.trainable.store(trainable, Relaxed);
        self.weights().iter().for_each(|weight| weight.set_frozen(!trainable));
        self
    }

    /// Whether training changes the layer's weights.
    pub fn is_trainable(&self) -> bool {
        self.0.trainable.load(Relaxed)
    }

    /// Whether a model has been built with the layer, so that its weights have values.
    pub(crate) fn is_built(&self) -> bool {
        let weights = self.0.weights.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        weights.as_ref().is_some_and(|weights| weights.iter().all(Param::has_values))
    }

    pub(crate) fn automatic_name(&self) -> Option<&str> {
        self.0.automatic_name.get().map(String::as_str)
    }

    /// Gives the layer a name for its further life, unless it has one.
    pub(crate) fn set_automatic_name(&self, name: &str) {
        self.0.automatic_name.get_or_init(|| name.to_string());
    }

    /// Lets the layer ask for its weights and returns the output's shape. Weights that it has already are kept where they
    /// fit; where they don't, new ones take their place, unless the layer has to keep what it has.
    pub(crate) fn build(&self, inputs: &[Shape], name: &str, keep: bool) -> Result<Shape, ShapeError> {
        let mut context = BuildContext::again(name, self.weights(), keep);
        let mut layer = self.0.layer.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let output = layer.build_merge(inputs, &mut context)?;
        let weights = context.into_weights();
        weights.iter().for_each(|weight| weight.set_frozen(!self.is_trainable()));
        *self.0.weights.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(weights);
        Ok(output)
    }

    /// Whether two handles are of one layer.
    pub(crate) fn is(&self, other: &SharedLayer) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl From<Box<dyn Layer>> for SharedLayer {
    fn from(layer: Box<dyn Layer>) -> SharedLayer {
        SharedLayer(Arc::new(Inner {
            layer: RwLock::new(layer),
            weights: RwLock::new(None),
            trainable: AtomicBool::new(true),
            automatic_name: OnceLock::new(),
        }))
    }
}

impl fmt::Debug for SharedLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedLayer").field(&*self.layer()).finish()
    }
}
