//! ResNet-50: sixteen blocks of three convolutions, each with a shortcut around it. He et al. 2015.

use tilegrad_core::{Padding, Shape};

use super::{Pooling, predictions};
use crate::activation::Activation;
use crate::layer::Layer;
use crate::layers::{Add, BatchNorm, CaffePreprocessing, Conv2d, GlobalAvgPool2d, MaxPool2d, ZeroPadding2d};
use crate::model::Model;
use crate::symbolic::{Input, SymbolicTensor};

/// Blocks and filters of each stage.
const STAGES: [(usize, usize); 4] = [(3, 64), (4, 128), (6, 256), (3, 512)];

/// ResNet-50 with Keras's layer names.
///
/// ```
/// use tilegrad_core::Device;
/// use tilegrad_nn::models::{Pooling, ResNet50};
/// # fn main() -> tilegrad_core::Result<()> {
/// let mut base = ResNet50::new().input([64, 64, 3]).include_top(false).pooling(Pooling::Average).build();
/// base.build(&Device::cpu(), 42)?;
/// assert_eq!(base.count_params(), 23_587_712);
/// assert_eq!(base.output_shape(), Some([2048].into()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ResNet50 {
    input: Shape,
    classes: usize,
    include_top: bool,
    pooling: Pooling,
    preprocess: bool,
    torchvision: bool,
}

impl Default for ResNet50 {
    fn default() -> ResNet50 {
        let (input, pooling) = (Shape::from([224, 224, 3]), Pooling::None);
        ResNet50 { input, classes: 1000, include_top: true, pooling, preprocess: false, torchvision: false }
    }
}

impl ResNet50 {
    /// The network for ImageNet: colour images of 224 by 224 pixels, 1000 classes.
    pub fn new() -> ResNet50 {
        ResNet50::default()
    }

    /// The shape of one image, `[height, width, channels]`.
    pub fn input(mut self, shape: impl Into<Shape>) -> ResNet50 {
        self.input = shape.into();
        self
    }

    /// Number of classes, if the top is there.
    pub fn classes(mut self, classes: usize) -> ResNet50 {
        self.classes = classes;
        self
    }

    /// Whether the layers are there that tell the classes apart.
    pub fn include_top(mut self, include_top: bool) -> ResNet50 {
        self.include_top = include_top;
        self
    }

    /// What stands at the end where the top is left out.
    pub fn pooling(mut self, pooling: Pooling) -> ResNet50 {
        self.pooling = pooling;
        self
    }

    /// Whether inputs are numbers from 0 to 1 in the order red, green, blue, which the network first turns into what Keras's
    /// weights were trained on. Without it, that is what it takes.
    pub fn preprocess(mut self, preprocess: bool) -> ResNet50 {
        self.preprocess = preprocess;
        self
    }

    /// Whether the network is torchvision's: the 3x3 convolution of a stage's first block halves the image in place of the 1x1
    /// ones, and batch normalization has PyTorch's epsilon. For weights from there, which go by
    /// [`ResNet50::torchvision_names`].
    pub fn torchvision(mut self, torchvision: bool) -> ResNet50 {
        self.torchvision = torchvision;
        self
    }

    /// What torchvision calls each layer with weights, in front of the name here: for
    /// [`Pretrained::rename_all`](crate::Pretrained::rename_all).
    ///
    /// ```
    /// use tilegrad_nn::models::ResNet50;
    /// let names = ResNet50::torchvision_names();
    /// assert_eq!(names.len(), 107);
    /// assert_eq!(names[2], ("layer1.0.downsample.0".to_string(), "conv2_block1_0_conv".to_string()));
    /// ```
    pub fn torchvision_names() -> Vec<(String, String)> {
        let mut names = vec![("conv1".into(), "conv1_conv".into()), ("bn1".into(), "conv1_bn".into())];
        for (stage, (blocks, _)) in STAGES.into_iter().enumerate() {
            for i in 0..blocks {
                let (there, here) = (format!("layer{}.{i}", stage + 1), format!("conv{}_block{}", stage + 2, i + 1));
                if i == 0 {
                    names.push((format!("{there}.downsample.0"), format!("{here}_0_conv")));
                    names.push((format!("{there}.downsample.1"), format!("{here}_0_bn")));
                }
                for part in 1..=3 {
                    names.push((format!("{there}.conv{part}"), format!("{here}_{part}_conv")));
                    names.push((format!("{there}.bn{part}"), format!("{here}_{part}_bn")));
                }
            }
        }
        names.push(("fc".into(), "predictions".into()));
        names
    }

    /// The network, to be built on a device.
    pub fn build(&self) -> Model {
        let input = Input::new(self.input);
        let mut x = input.clone();
        if self.preprocess {
            x = CaffePreprocessing::new().name("preprocess").call(&x);
        }
        let x = ZeroPadding2d::new(3).name("conv1_pad").call(&x);
        let x = Conv2d::new(64, 7).strides(2).name("conv1_conv").call(&x);
        let x = self.normalize("conv1_bn").call(&x);
        let x = Activation::Relu.named("conv1_relu").call(&x);
        let x = ZeroPadding2d::new(1).name("pool1_pad").call(&x);
        let mut x = MaxPool2d::new(3).strides(2).name("pool1_pool").call(&x);
        for (stage, (blocks, filters)) in STAGES.into_iter().enumerate() {
            for i in 1..=blocks {
                // The first block of a stage halves the image, but where the pooling has just done so.
                let stride = if i == 1 && stage > 0 { 2 } else { 1 };
                x = self.block(&x, filters, stride, i == 1, &format!("conv{}_block{i}", stage + 2));
            }
        }
        let x = if self.include_top {
            let x = GlobalAvgPool2d::new().name("avg_pool").call(&x);
            predictions(self.classes, &x)
        } else {
            self.pooling.call(&x)
        };
        Model::new(&input, &x).named("resnet50")
    }

    fn normalize(&self, name: &str) -> BatchNorm {
        BatchNorm::new().epsilon(if self.torchvision { 1e-5 } else { 1.001e-5 }).name(name)
    }

    /// Three convolutions, 1x1, 3x3 and 1x1, and around them the input, or where the shape changes a 1x1 convolution of it.
    fn block(&self, x: &SymbolicTensor, filters: usize, stride: usize, changes: bool, name: &str) -> SymbolicTensor {
        let part = |suffix: &str| format!("{name}_{suffix}");
        let shortcut = match changes {
            true => {
                let shortcut = Conv2d::new(4 * filters, 1).strides(stride).name(part("0_conv")).call(x);
                self.normalize(&part("0_bn")).call(&shortcut)
            }
            false => x.clone(),
        };
        let (stride_1, stride_2) = if self.torchvision { (1, stride) } else { (stride, 1) };
        let x = Conv2d::new(filters, 1).strides(stride_1).name(part("1_conv")).call(x);
        let x = self.normalize(&part("1_bn")).call(&x);
        let x = Activation::Relu.named(part("1_relu")).call(&x);
        // PyTorch pads alike on all sides, which is another border than Keras's `same` where the image is halved.
        let padding = if self.torchvision { Padding::Explicit([[1, 1], [1, 1]]) } else { Padding::Same };
        let x = Conv2d::new(filters, 3).strides(stride_2).padding(padding).name(part("2_conv")).call(&x);
        let x = self.normalize(&part("2_bn")).call(&x);
        let x = Activation::Relu.named(part("2_relu")).call(&x);
        let x = Conv2d::new(4 * filters, 1).name(part("3_conv")).call(&x);
        let x = self.normalize(&part("3_bn")).call(&x);
        let x = Add::new().name(part("add")).call([&shortcut, &x]);
        Activation::Relu.named(part("out")).call(&x)
    }
}
