//! LeNet-5, the first of them: two convolutions, two poolings, three dense layers. LeCun et al. 1998.

use tilegrad_core::{Padding, Shape};

use crate::activation::Activation;
use crate::layers::{AvgPool2d, Conv2d, Dense, Flatten};
use crate::model::Model;
use crate::sequential::Sequential;

/// LeNet-5 as tutorials build it, with tanh, average pooling and a softmax.
///
/// ```
/// use tilegrad_core::Device;
/// use tilegrad_nn::models::LeNet;
/// # fn main() -> tilegrad_core::Result<()> {
/// let mut model = LeNet::new().build();
/// model.build(&Device::cpu(), 42)?;
/// assert_eq!(model.count_params(), 61_706);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LeNet {
    input: Shape,
    classes: usize,
}

impl Default for LeNet {
    fn default() -> LeNet {
        LeNet { input: Shape::from([28, 28, 1]), classes: 10 }
    }
}

impl LeNet {
    /// For grey images of 28 by 28 pixels, and 10 classes.
    pub fn new() -> LeNet {
        LeNet::default()
    }

    /// The shape of one image, `[height, width, channels]`.
    pub fn input(mut self, shape: impl Into<Shape>) -> LeNet {
        self.input = shape.into();
        self
    }

    /// Number of classes.
    pub fn classes(mut self, classes: usize) -> LeNet {
        self.classes = classes;
        self
    }

    /// The network, to be built on a device.
    pub fn build(&self) -> Model {
        let tanh = Activation::Tanh;
        Sequential::new(self.input)
            .named("lenet5")
            .add(Conv2d::new(6, 5).padding(Padding::Same).activation(tanh))
            .add(AvgPool2d::new(2))
            .add(Conv2d::new(16, 5).activation(tanh))
            .add(AvgPool2d::new(2))
            .add(Flatten::new())
            .add(Dense::new(120).activation(tanh))
            .add(Dense::new(84).activation(tanh))
            .add(Dense::new(self.classes).activation(Activation::Softmax))
            .into()
    }
}
