//! From the types and settings in a file back to layers, optimizers and losses.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tilegrad_core::{Error, Result};

use crate::layer::Layer;
use crate::layers::*;
use crate::losses::*;
use crate::optimizers::*;

/// Makes something of its settings.
type Make<T> = fn(Value) -> Result<Box<T>, serde_path_to_error::Error<serde_json::Error>>;

/// What a type goes by in files, and how it is made.
type Table<T> = BTreeMap<String, Make<T>>;

/// The types of layers, optimizers and losses that a model file may name. The default has all of tilegrad's; add your own:
///
/// ```
/// use serde::Deserialize;
/// use tilegrad_core::{Shape, ShapeError, Tensor};
/// use tilegrad_nn::{Context, Layer, Registry};
///
/// #[derive(Debug, Deserialize)]
/// struct Twice {}
///
/// impl Layer for Twice {
///     fn kind(&self) -> &str {
///         "Twice"
///     }
///     fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
///         Ok(*input)
///     }
///     fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
///         x.add(x)
///     }
/// }
///
/// let registry = Registry::default().with::<Twice>("Twice");
/// let layer = registry.layer("Twice", serde_json::json!({})).unwrap();
/// assert_eq!(layer.kind(), "Twice");
/// ```
#[derive(Clone)]
pub struct Registry {
    layers: Table<dyn Layer>,
    optimizers: Table<dyn Optimizer>,
    losses: Table<dyn Loss>,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry { layers: Table::new(), optimizers: Table::new(), losses: Table::new() }
            .with::<NamedActivation>("Activation")
            .with::<Merge>("Add")
            .with::<Merge>("Average")
            .with::<AvgPool1d>("AveragePooling1D")
            .with::<AvgPool2d>("AveragePooling2D")
            .with::<BatchNorm>("BatchNormalization")
            .with::<CaffePreprocessing>("CaffePreprocessing")
            .with::<Concatenate>("Concatenate")
            .with::<Conv1d>("Conv1D")
            .with::<Conv2d>("Conv2D")
            .with::<Conv2dTranspose>("Conv2DTranspose")
            .with::<Cropping2d>("Cropping2D")
            .with::<Dense>("Dense")
            .with::<DepthwiseConv2d>("DepthwiseConv2D")
            .with::<Dropout>("Dropout")
            .with::<Elu>("ELU")
            .with::<Embedding>("Embedding")
            .with::<Flatten>("Flatten")
            .with::<GaussianNoise>("GaussianNoise")
            .with::<GlobalAvgPool1d>("GlobalAveragePooling1D")
            .with::<GlobalAvgPool2d>("GlobalAveragePooling2D")
            .with::<GlobalMaxPool1d>("GlobalMaxPooling1D")
            .with::<GlobalMaxPool2d>("GlobalMaxPooling2D")
            .with::<GroupNorm>("GroupNormalization")
            .with::<LayerNorm>("LayerNormalization")
            .with::<LeakyRelu>("LeakyReLU")
            .with::<MaxPool1d>("MaxPooling1D")
            .with::<MaxPool2d>("MaxPooling2D")
            .with::<Merge>("Maximum")
            .with::<Merge>("Minimum")
            .with::<Merge>("Multiply")
            .with::<Normalization>("Normalization")
            .with::<PRelu>("PReLU")
            .with::<Permute>("Permute")
            .with::<RandomBrightness>("RandomBrightness")
            .with::<RandomContrast>("RandomContrast")
            .with::<RandomCrop>("RandomCrop")
            .with::<RandomFlip>("RandomFlip")
            .with::<RandomRotation>("RandomRotation")
            .with::<RandomTranslation>("RandomTranslation")
            .with::<RandomZoom>("RandomZoom")
            .with::<Relu>("ReLU")
            .with::<Rescaling>("Rescaling")
            .with::<Reshape>("Reshape")
            .with::<SeparableConv2d>("SeparableConv2D")
            .with::<Softmax>("Softmax")
            .with::<SpatialDropout2d>("SpatialDropout2D")
            .with::<Merge>("Subtract")
            .with::<UpSampling2d>("UpSampling2D")
            .with::<ZeroPadding2d>("ZeroPadding2D")
            .with_optimizer::<Adadelta>("adadelta")
            .with_optimizer::<Adagrad>("adagrad")
            .with_optimizer::<Adam>("adam")
            .with_optimizer::<AdamW>("adamw")
            .with_optimizer::<Adamax>("adamax")
            .with_optimizer::<Lion>("lion")
            .with_optimizer::<Nadam>("nadam")
            .with_optimizer::<RmsProp>("rmsprop")
            .with_optimizer::<Sgd>("sgd")
            .with_loss::<BinaryCrossentropy>("binary_crossentropy")
            .with_loss::<CategoricalCrossentropy>("categorical_crossentropy")
            .with_loss::<Huber>("huber")
            .with_loss::<KLDivergence>("kl_divergence")
            .with_loss::<MeanAbsoluteError>("mean_absolute_error")
            .with_loss::<MeanSquaredError>("mean_squared_error")
            .with_loss::<SparseCategoricalCrossentropy>("sparse_categorical_crossentropy")
    }
}

impl Registry {
    /// Adds a type of layer under the name that its [`Layer::kind`] gives.
    pub fn with<L: Layer + DeserializeOwned + 'static>(mut self, kind: &str) -> Registry {
        self.layers.insert(kind.to_string(), |config| Ok(Box::new(serde_path_to_error::deserialize::<_, L>(config)?)));
        self
    }

    /// Adds a type of optimizer under the name that its [`Optimizer::name`] gives.
    pub fn with_optimizer<O: Optimizer + DeserializeOwned + 'static>(mut self, name: &str) -> Registry {
        self.optimizers
            .insert(name.to_string(), |config| Ok(Box::new(serde_path_to_error::deserialize::<_, O>(config)?)));
        self
    }

    /// Adds a type of loss under the name that its [`Loss::name`] gives.
    pub fn with_loss<L: Loss + DeserializeOwned + 'static>(mut self, name: &str) -> Registry {
        self.losses.insert(name.to_string(), |config| Ok(Box::new(serde_path_to_error::deserialize::<_, L>(config)?)));
        self
    }

    /// The types of layers, by name.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.layers.keys().map(String::as_str)
    }

    /// A layer of this type with these settings, without weights.
    ///
    /// # Errors
    /// When the type is not known, with a list of those that are; and when the settings are none of it.
    pub fn layer(&self, kind: &str, config: Value) -> Result<Box<dyn Layer>> {
        let layer = make(&self.layers, "layer", kind, config)?;
        // Some types are several kinds of layer: settings decide, and have to say the same.
        if layer.kind() == kind {
            return Ok(layer);
        }
        let what = format!("settings of the layer {kind}");
        Err(Error::invalid(what, "those of its type", format!("those of {}", layer.kind())))
    }

    /// An optimizer of this name with these settings.
    ///
    /// # Errors
    /// As [`Registry::layer`]; also when a setting is out of its range.
    pub fn optimizer(&self, name: &str, config: Value) -> Result<Box<dyn Optimizer>> {
        let optimizer = make(&self.optimizers, "optimizer", name, config)?;
        optimizer.check()?;
        Ok(optimizer)
    }

    /// A loss of this name with these settings.
    ///
    /// # Errors
    /// As [`Registry::layer`].
    pub fn loss(&self, name: &str, config: Value) -> Result<Box<dyn Loss>> {
        make(&self.losses, "loss", name, config)
    }
}

fn make<T: ?Sized>(table: &Table<T>, what: &str, name: &str, config: Value) -> Result<Box<T>> {
    let make = table.get(name).ok_or_else(|| {
        let known: Vec<&str> = table.keys().map(String::as_str).collect();
        Error::invalid(format!("type of {what}"), format!("one of {}", known.join(", ")), format!("{name:?}"))
    })?;
    make(config).map_err(|e| Error::invalid(format!("settings of the {what} {name}"), "those of its type", e))
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("layers", &self.layers.keys())
            .field("optimizers", &self.optimizers.keys())
            .field("losses", &self.losses.keys())
            .finish()
    }
}
