//! MobileNetV2: inverted residual blocks with depthwise convolutions, small and quick. Sandler et al. 2018.

use tilegrad_core::{Padding, Shape};

use super::{Pooling, predictions};
use crate::layer::Layer;
use crate::layers::{Add, BatchNorm, Conv2d, DepthwiseConv2d, GlobalAvgPool2d, Relu, Rescaling, ZeroPadding2d};
use crate::model::Model;
use crate::symbolic::{Input, SymbolicTensor};

/// MobileNetV2 of width 1 with Keras's layer names.
///
/// ```
/// use tilegrad_core::Device;
/// use tilegrad_nn::models::MobileNetV2;
/// # fn main() -> tilegrad_core::Result<()> {
/// let mut base = MobileNetV2::new().input([96, 96, 3]).include_top(false).build();
/// base.build(&Device::cpu(), 42)?;
/// assert_eq!(base.count_params(), 2_257_984);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MobileNetV2 {
    input: Shape,
    classes: usize,
    include_top: bool,
    pooling: Pooling,
    preprocess: bool,
    torchvision: bool,
}

impl Default for MobileNetV2 {
    fn default() -> MobileNetV2 {
        let (input, pooling) = (Shape::from([224, 224, 3]), Pooling::None);
        MobileNetV2 { input, classes: 1000, include_top: true, pooling, preprocess: false, torchvision: false }
    }
}

impl MobileNetV2 {
    /// The network for ImageNet: colour images of 224 by 224 pixels, 1000 classes.
    pub fn new() -> MobileNetV2 {
        MobileNetV2::default()
    }

    /// The shape of one image, `[height, width, channels]`.
    pub fn input(mut self, shape: impl Into<Shape>) -> MobileNetV2 {
        self.input = shape.into();
        self
    }

    /// Number of classes, if the top is there.
    pub fn classes(mut self, classes: usize) -> MobileNetV2 {
        self.classes = classes;
        self
    }

    /// Whether the layers are there that tell the classes apart.
    pub fn include_top(mut self, include_top: bool) -> MobileNetV2 {
        self.include_top = include_top;
        self
    }

    /// What stands at the end where the top is left out.
    pub fn pooling(mut self, pooling: Pooling) -> MobileNetV2 {
        self.pooling = pooling;
        self
    }

    /// Whether inputs are numbers from 0 to 1 in the order red, green, blue, which the network first turns into what Keras's
    /// weights were trained on. Without it, that is what it takes.
    pub fn preprocess(mut self, preprocess: bool) -> MobileNetV2 {
        self.preprocess = preprocess;
        self
    }

    /// Whether the network is torchvision's, whose weights [`Pretrained::torch`](crate::Pretrained::torch) brings: where an
    /// image is halved, all its sides are padded alike, and batch normalization has PyTorch's epsilon.
    pub fn torchvision(mut self, torchvision: bool) -> MobileNetV2 {
        self.torchvision = torchvision;
        self
    }

    /// The network, to be built on a device.
    pub fn build(&self) -> Model {
        let input = Input::new(self.input);
        let mut x = input.clone();
        if self.preprocess {
            x = Rescaling::new(2.0).offset(-1.0).name("preprocess").call(&x);
        }
        let padding = if self.torchvision { ALIKE } else { Padding::Same };
        let conv = Conv2d::new(32, 3).strides(2).padding(padding).use_bias(false);
        x = conv.name("Conv1").call(&x);
        x = self.normalize("bn_Conv1").call(&x);
        x = relu6("Conv1_relu").call(&x);
        let mut channels = 32;
        let mut number = 0;
        let mut image: Vec<usize> = self.input.iter().take(2).map(|size| size.div_ceil(2)).collect();
        // Expansion, output channels, blocks, stride of the first.
        for (expansion, filters, blocks, first_stride) in STAGES {
            for i in 0..blocks {
                let stride = if i == 0 { first_stride } else { 1 };
                let size = BlockSize { channels, expansion, filters, stride };
                x = self.block(&x, size, number, &image);
                (channels, number) = (filters, number + 1);
                image.iter_mut().for_each(|size| *size = size.div_ceil(stride));
            }
        }
        x = Conv2d::new(1280, 1).use_bias(false).name("Conv_1").call(&x);
        x = self.normalize("Conv_1_bn").call(&x);
        x = relu6("out_relu").call(&x);
        let x = if self.include_top {
            let x = GlobalAvgPool2d::new().name("global_average_pooling2d").call(&x);
            predictions(self.classes, &x)
        } else {
            self.pooling.call(&x)
        };
        Model::new(&input, &x).named("mobilenetv2_1.00_224")
    }

    fn normalize(&self, name: impl Into<String>) -> BatchNorm {
        BatchNorm::new().momentum(0.999).epsilon(if self.torchvision { 1e-5 } else { 1e-3 }).name(name)
    }

    /// A 1x1 convolution to many channels, a depthwise one, and a 1x1 one to few, with a shortcut where the shape stays.
    fn block(&self, input: &SymbolicTensor, size: BlockSize, number: usize, image: &[usize]) -> SymbolicTensor {
        let BlockSize { channels, expansion, filters, stride } = size;
        let prefix = if number == 0 { "expanded_conv_".to_string() } else { format!("block_{number}_") };
        let name = |suffix: &str| format!("{prefix}{suffix}");
        let mut x = input.clone();
        if expansion > 1 {
            x = Conv2d::new(expansion * channels, 1).use_bias(false).name(name("expand")).call(&x);
            x = self.normalize(name("expand_BN")).call(&x);
            x = relu6(name("expand_relu")).call(&x);
        }
        let mut padding = if self.torchvision { ALIKE } else { Padding::Same };
        if stride == 2 && !self.torchvision {
            // Keras's `correct_pad`: an even number of pixels is not padded in front.
            let sides = |axis: usize| [image.get(axis).map_or(0, |size| size % 2), 1];
            x = ZeroPadding2d::new([sides(0), sides(1)]).name(name("pad")).call(&x);
            padding = Padding::Valid;
        }
        let depthwise = DepthwiseConv2d::new(3).strides(stride).padding(padding).use_bias(false);
        x = depthwise.name(name("depthwise")).call(&x);
        x = self.normalize(name("depthwise_BN")).call(&x);
        x = relu6(name("depthwise_relu")).call(&x);
        x = Conv2d::new(filters, 1).use_bias(false).name(name("project")).call(&x);
        x = self.normalize(name("project_BN")).call(&x);
        match channels == filters && stride == 1 {
            true => Add::new().name(name("add")).call([input, &x]),
            false => x,
        }
    }
}

/// Table 2 of the paper.
const STAGES: [(usize, usize, usize, usize); 7] =
    [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];

/// One pixel on each side.
const ALIKE: Padding = Padding::Explicit([[1, 1], [1, 1]]);

fn relu6(name: impl Into<String>) -> Relu {
    Relu::new().max_value(6.0).name(name)
}

#[derive(Clone, Copy)]
struct BlockSize {
    channels: usize,
    expansion: usize,
    filters: usize,
    stride: usize,
}
