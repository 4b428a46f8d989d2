//! Known networks, with the names and shapes of layers that Keras gives them, so that its weights fit.
//!
//! Each is a builder: `ResNet50::new().classes(10).build()` is a [`Model`](crate::Model) to be built on a device. Without its
//! top a network is a base for transfer learning; with a `preprocess` its inputs are numbers from 0 to 1, as data sets here give
//! them.

mod lenet;
mod mobilenet_v2;
mod resnet50;
mod vgg16;

pub use lenet::LeNet;
pub use mobilenet_v2::MobileNetV2;
pub use resnet50::ResNet50;
pub use vgg16::Vgg16;

use crate::activation::Activation;
use crate::layer::Layer;
use crate::layers::{Dense, GlobalAvgPool2d, GlobalMaxPool2d};
use crate::symbolic::SymbolicTensor;

/// What stands at the end of a base without its top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// Nothing: the last feature maps.
    #[default]
    None,
    /// The mean of each feature map.
    Average,
    /// The largest value of each feature map.
    Max,
}

impl Pooling {
    fn call(self, x: &SymbolicTensor) -> SymbolicTensor {
        match self {
            Pooling::None => x.clone(),
            Pooling::Average => GlobalAvgPool2d::new().name("avg_pool").call(x),
            Pooling::Max => GlobalMaxPool2d::new().name("max_pool").call(x),
        }
    }
}

/// The layer that tells the classes apart.
fn predictions(classes: usize, x: &SymbolicTensor) -> SymbolicTensor {
    Dense::new(classes).activation(Activation::Softmax).name("predictions").call(x)
}
