//! From a layer's type and configuration back to the layer.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tilegrad_core::{Error, Result};

use super::*;
use crate::layer::Layer;

type Make = fn(Value) -> Result<Box<dyn Layer>, serde_json::Error>;

/// The types of layers that a model file may name. The default has all of tilegrad's; add your own:
///
/// ```
/// use serde::Deserialize;
/// use tilegrad_core::{Shape, ShapeError, Tensor};
/// use tilegrad_nn::layers::Registry;
/// use tilegrad_nn::{Context, Layer};
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
pub struct Registry(BTreeMap<String, Make>);

fn make<L: Layer + DeserializeOwned + 'static>(config: Value) -> Result<Box<dyn Layer>, serde_json::Error> {
    serde_json::from_value::<L>(config).map(|layer| Box::new(layer) as Box<dyn Layer>)
}

impl Default for Registry {
    fn default() -> Registry {
        Registry(BTreeMap::new())
            .with::<NamedActivation>("Activation")
            .with::<Merge>("Add")
            .with::<Merge>("Average")
            .with::<AvgPool1d>("AveragePooling1D")
            .with::<AvgPool2d>("AveragePooling2D")
            .with::<BatchNorm>("BatchNormalization")
            .with::<Concatenate>("Concatenate")
            .with::<Conv1d>("Conv1D")
            .with::<Conv2d>("Conv2D")
            .with::<Conv2dTranspose>("Conv2DTranspose")
            .with::<Cropping2d>("Cropping2D")
            .with::<Dense>("Dense")
            .with::<DepthwiseConv2d>("DepthwiseConv2D")
            .with::<Dropout>("Dropout")
            .with::<Embedding>("Embedding")
            .with::<Flatten>("Flatten")
            .with::<GlobalAvgPool1d>("GlobalAveragePooling1D")
            .with::<GlobalAvgPool2d>("GlobalAveragePooling2D")
            .with::<GlobalMaxPool1d>("GlobalMaxPooling1D")
            .with::<GlobalMaxPool2d>("GlobalMaxPooling2D")
            .with::<GroupNorm>("GroupNormalization")
            .with::<LayerNorm>("LayerNormalization")
            .with::<MaxPool1d>("MaxPooling1D")
            .with::<MaxPool2d>("MaxPooling2D")
            .with::<Merge>("Maximum")
            .with::<Merge>("Minimum")
            .with::<Merge>("Multiply")
            .with::<PRelu>("PReLU")
            .with::<Permute>("Permute")
            .with::<Relu>("ReLU")
            .with::<Rescaling>("Rescaling")
            .with::<Reshape>("Reshape")
            .with::<SpatialDropout2d>("SpatialDropout2D")
            .with::<Merge>("Subtract")
            .with::<UpSampling2d>("UpSampling2D")
            .with::<ZeroPadding2d>("ZeroPadding2D")
    }
}

impl Registry {
    /// Adds a type under the name that its [`Layer::kind`] gives.
    pub fn with<L: Layer + DeserializeOwned + 'static>(mut self, kind: &str) -> Registry {
        self.0.insert(kind.to_string(), make::<L>);
        self
    }

    /// The types, by name.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A layer of this type with this configuration, without weights.
    ///
    /// # Errors
    /// When the type is not known, with a list of those that are; and when the configuration is not one of it.
    pub fn layer(&self, kind: &str, config: Value) -> Result<Box<dyn Layer>> {
        let make = self.0.get(kind).ok_or_else(|| {
            let known: Vec<&str> = self.kinds().collect();
            Error::invalid("type of a layer", format!("one of {}", known.join(", ")), format!("{kind:?}"))
        })?;
        make(config).map_err(|e| Error::invalid(format!("configuration of a layer of type {kind}"), "its settings", e))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.kinds()).finish()
    }
}
