//! Symbolic tensors: what layers are called on before there are numbers.
//!
//! A call only notes which layer was applied to what. [`Model::new`](crate::Model::new) goes back from the outputs to the
//! inputs and finds the layers in between.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, RwLock};

use tilegrad_core::Shape;

use crate::shared::SharedLayer;

/// Where a model's graph begins.
///
/// ```
/// use tilegrad_nn::{Input, Layer, Model};
/// use tilegrad_nn::layers::{Activation, Conv2d, Dense, Flatten, MaxPool2d};
///
/// let inputs = Input::new([28, 28, 1]);
/// let x = Conv2d::new(32, 3).activation(Activation::Relu).call(&inputs);
/// let x = MaxPool2d::new(2).call(&x);
/// let x = Flatten::new().call(&x);
/// let outputs = Dense::new(10).activation(Activation::Softmax).call(&x);
/// let model = Model::new(&inputs, &outputs);
/// ```
#[derive(Debug)]
pub struct Input;

impl Input {
    /// An input whose examples have this shape, the batch axis left out.
    #[allow(clippy::new_ret_no_self, reason = "Keras's word; what it makes is a tensor like any other")]
    pub fn new(shape: impl Into<Shape>) -> SymbolicTensor {
        SymbolicTensor::input(Some(shape.into()), None)
    }

    /// As [`Input::new`], with a name for summaries and errors.
    pub fn named(name: impl Into<String>, shape: impl Into<Shape>) -> SymbolicTensor {
        SymbolicTensor::input(Some(shape.into()), Some(name.into()))
    }
}

/// A tensor of a graph: an [`Input`], or what a layer makes of others. Cloning is cheap and gives the same tensor.
#[derive(Clone)]
pub struct SymbolicTensor(Arc<Symbol>);

struct Symbol {
    /// Grows with each tensor that is made, so that a layer's inputs have smaller numbers than its output.
    id: u64,
    made: Made,
}

/// How a symbolic tensor came to be.
pub(crate) enum Made {
    /// It is an input. A `Sequential` may learn the shape later.
    Input { shape: RwLock<Option<Shape>>, name: Option<String> },
    /// A layer was called, within models that were called themselves, the outermost first.
    Call { layer: SharedLayer, inputs: Vec<SymbolicTensor>, scopes: Vec<Arc<Scope>> },
}

/// A model that was called as a layer is.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) name: String,
    /// `Sequential` or `Functional`.
    pub(crate) kind: &'static str,
}

impl SymbolicTensor {
    fn new(made: Made) -> SymbolicTensor {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        SymbolicTensor(Arc::new(Symbol { id: NEXT.fetch_add(1, Relaxed), made }))
    }

    pub(crate) fn input(shape: Option<Shape>, name: Option<String>) -> SymbolicTensor {
        SymbolicTensor::new(Made::Input { shape: RwLock::new(shape), name })
    }

    pub(crate) fn of_call(layer: SharedLayer, inputs: Vec<SymbolicTensor>, scopes: Vec<Arc<Scope>>) -> SymbolicTensor {
        SymbolicTensor::new(Made::Call { layer, inputs, scopes })
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    pub(crate) fn made(&self) -> &Made {
        &self.0.made
    }

    /// The tensors that the layer was called on; none for an input.
    pub(crate) fn inputs(&self) -> &[SymbolicTensor] {
        match self.made() {
            Made::Input { .. } => &[],
            Made::Call { inputs, .. } => inputs,
        }
    }

    /// The shape of an input's examples.
    pub(crate) fn input_shape(&self) -> Option<Shape> {
        match self.made() {
            Made::Input { shape, .. } => *shape.read().unwrap_or_else(|poisoned| poisoned.into_inner()),
            Made::Call { .. } => None,
        }
    }
}

impl SymbolicTensor {
    /// Tells an input its shape.
    pub(crate) fn set_input_shape(&self, new: Shape) {
        if let Made::Input { shape, .. } = self.made() {
            *shape.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(new);
        }
    }
}

impl PartialEq for SymbolicTensor {
    fn eq(&self, other: &SymbolicTensor) -> bool {
        self.id() == other.id()
    }
}

impl fmt::Debug for SymbolicTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.made() {
            Made::Input { name, .. } => write!(f, "Input({:?}, {:?})", name, self.input_shape()),
            Made::Call { layer, inputs, .. } => write!(f, "{}({} inputs)", layer.layer().kind(), inputs.len()),
        }
    }
}

/// What a layer is called on: one symbolic tensor or several.
#[derive(Clone, Debug)]
pub struct Symbols(pub(crate) Vec<SymbolicTensor>);

impl From<SymbolicTensor> for Symbols {
    fn from(one: SymbolicTensor) -> Symbols {
        Symbols(vec![one])
    }
}

impl From<&SymbolicTensor> for Symbols {
    fn from(one: &SymbolicTensor) -> Symbols {
        Symbols(vec![one.clone()])
    }
}

impl<const N: usize> From<[&SymbolicTensor; N]> for Symbols {
    fn from(several: [&SymbolicTensor; N]) -> Symbols {
        Symbols(several.into_iter().cloned().collect())
    }
}

impl<const N: usize> From<[SymbolicTensor; N]> for Symbols {
    fn from(several: [SymbolicTensor; N]) -> Symbols {
        Symbols(several.into())
    }
}

impl From<&[SymbolicTensor]> for Symbols {
    fn from(several: &[SymbolicTensor]) -> Symbols {
        Symbols(several.to_vec())
    }
}

impl From<Vec<SymbolicTensor>> for Symbols {
    fn from(several: Vec<SymbolicTensor>) -> Symbols {
        Symbols(several)
    }
}
