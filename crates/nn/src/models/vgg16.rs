//! VGG16: thirteen 3x3 convolutions, five poolings, three dense layers. Simonyan and Zisserman 2014.

use tilegrad_core::{Padding, Shape};

use super::{Pooling, predictions};
use crate::activation::Activation;
use crate::layer::Layer;
use crate::layers::{CaffePreprocessing, Conv2d, Dense, Flatten, MaxPool2d};
use crate::model::Model;
use crate::symbolic::Input;

/// VGG16 with Keras's layer names.
///
/// ```
/// use tilegrad_core::Device;
/// use tilegrad_nn::models::Vgg16;
/// # fn main() -> tilegrad_core::Result<()> {
/// let mut base = Vgg16::new().input([32, 32, 3]).include_top(false).build();
/// base.build(&Device::cpu(), 42)?;
/// assert_eq!(base.count_params(), 14_714_688);
/// assert_eq!(base.layer("block5_pool")?.output_shape(), Some([1, 1, 512].into()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Vgg16 {
    input: Shape,
    classes: usize,
    include_top: bool,
    pooling: Pooling,
    preprocess: bool,
}

impl Default for Vgg16 {
    fn default() -> Vgg16 {
        let (input, pooling) = (Shape::from([224, 224, 3]), Pooling::None);
        Vgg16 { input, classes: 1000, include_top: true, pooling, preprocess: false }
    }
}

impl Vgg16 {
    /// The network for ImageNet: colour images of 224 by 224 pixels, 1000 classes.
    pub fn new() -> Vgg16 {
        Vgg16::default()
    }

    /// The shape of one image, `[height, width, channels]`.
    pub fn input(mut self, shape: impl Into<Shape>) -> Vgg16 {
        self.input = shape.into();
        self
    }

    /// Number of classes, if the top is there.
    pub fn classes(mut self, classes: usize) -> Vgg16 {
        self.classes = classes;
        self
    }

    /// Whether the layers are there that tell the classes apart.
    pub fn include_top(mut self, include_top: bool) -> Vgg16 {
        self.include_top = include_top;
        self
    }

    /// What stands at the end where the top is left out.
    pub fn pooling(mut self, pooling: Pooling) -> Vgg16 {
        self.pooling = pooling;
        self
    }

    /// Whether inputs are numbers from 0 to 1 in the order red, green, blue, which the network first turns into what Keras's
    /// weights were trained on. Without it, that is what it takes.
    pub fn preprocess(mut self, preprocess: bool) -> Vgg16 {
        self.preprocess = preprocess;
        self
    }

    /// The network, to be built on a device.
    pub fn build(&self) -> Model {
        let relu = Activation::Relu;
        let input = Input::new(self.input);
        let mut x = input.clone();
        if self.preprocess {
            x = CaffePreprocessing::new().name("preprocess").call(&x);
        }
        for (block, (convolutions, filters)) in
            [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)].into_iter().enumerate()
        {
            let block = format!("block{}", block + 1);
            for i in 1..=convolutions {
                let conv = Conv2d::new(filters, 3).padding(Padding::Same).activation(relu);
                x = conv.name(format!("{block}_conv{i}")).call(&x);
            }
            x = MaxPool2d::new(2).name(format!("{block}_pool")).call(&x);
        }
        x = if self.include_top {
            let x = Flatten::new().name("flatten").call(&x);
            let x = Dense::new(4096).activation(relu).name("fc1").call(&x);
            let x = Dense::new(4096).activation(relu).name("fc2").call(&x);
            predictions(self.classes, &x)
        } else {
            self.pooling.call(&x)
        };
        Model::new(&input, &x).named("vgg16")
    }
}
