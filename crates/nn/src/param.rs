//! Weights: named tensors that layers hold and optimizers change.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, RwLock};

use tilegrad_core::{Shape, Tensor};

use crate::initializers::Initializer;

/// One weight of a layer: a name, a shape, and (once the model is built) a tensor that is a slice of the model's
/// flat arena. Cloning is cheap and shares the weight, so the layer and the model hold the same one.
///
/// A layer gets its weights from [`BuildContext::weight`](crate::BuildContext::weight) and reads them with
/// [`Param::tensor`] at each forward pass: the model may have moved them in between.
#[derive(Clone)]
pub struct Param(Arc<Inner>);

struct Inner {
    layer: String,
    name: String,
    shape: Shape,
    initializer: Initializer,
    /// Changed by the layer itself (running means), never by an optimizer.
    statistic: bool,
    frozen: AtomicBool,
    tensor: RwLock<Option<Tensor>>,
}

impl Param {
    pub(crate) fn new(layer: &str, name: &str, shape: Shape, initializer: &Initializer, statistic: bool) -> Param {
        Param(Arc::new(Inner {
            layer: layer.to_string(),
            name: name.to_string(),
            shape,
            initializer: initializer.clone(),
            statistic,
            frozen: AtomicBool::new(false),
            tensor: RwLock::new(None),
        }))
    }

    /// The name within the layer, in Keras's words: `kernel`, `bias`, `gamma`, `moving_mean`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The name with that of its layer in front, as in the model that the layer was made for and its files:
    /// `conv2d.kernel`. [`Model::named_weights`](crate::Model::named_weights) gives the names within a larger model.
    pub fn path(&self) -> String {
        format!("{}.{}", self.0.layer, self.0.name)
    }

    /// The shape, known before there are values.
    pub fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// Number of elements.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.shape.len()
    }

    /// Whether the optimizer changes it: it is no running statistic, and its layer is not frozen.
    pub fn is_trainable(&self) -> bool {
        !self.0.statistic && !self.is_frozen()
    }

    pub(crate) fn is_statistic(&self) -> bool {
        self.0.statistic
    }

    /// Whether its layer is [frozen](crate::Model::set_trainable).
    pub fn is_frozen(&self) -> bool {
        self.0.frozen.load(Relaxed)
    }

    pub(crate) fn set_frozen(&self, frozen: bool) {
        if self.0.frozen.swap(frozen, Relaxed) != frozen && self.has_values() {
            // A leaf of the tape, or none any more.
            self.point_at(self.tensor().detach());
        }
    }

    /// Whether both are one weight, and not just alike.
    pub(crate) fn is(&self, other: &Param) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether a model with the weight has been built.
    pub(crate) fn has_values(&self) -> bool {
        self.0.tensor.read().unwrap_or_else(|poisoned| poisoned.into_inner()).is_some()
    }

    pub(crate) fn initializer(&self) -> &Initializer {
        &self.0.initializer
    }

    /// The values, as a view of the model's arena: an optimizer step changes what this tensor reads. A leaf of the tape if
    /// the weight is trainable.
    ///
    /// # Panics
    /// Before the model is built, when there are none.
    #[track_caller]
    pub fn tensor(&self) -> Tensor {
        let tensor = self.0.tensor.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*tensor {
            Some(tensor) => tensor.clone(),
            None => panic!("weight {}: has no values yet\n  help: build the model first", self.path()),
        }
    }

    /// Points the weight at its values: a slice of an arena.
    pub(crate) fn point_at(&self, tensor: Tensor) {
        debug_assert_eq!(tensor.shape(), self.shape());
        let tensor = if self.is_trainable() { tensor.requires_grad() } else { tensor };
        *self.0.tensor.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(tensor);
    }
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.path(), self.shape(), if self.is_trainable() { "" } else { " (not trainable)" })
    }
}
