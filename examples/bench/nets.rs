//! The networks that are timed, and made-up images for them.

use clap::ValueEnum;
use tilegrad::data::Dataset;
use tilegrad::nn::layers::{Conv2d, Dense, Dropout, Flatten, MaxPool2d};
use tilegrad::nn::{Activation, Adam, DeviceDataset, Metric, RmsProp, Sequential, SparseCategoricalCrossentropy};
use tilegrad::{Device, Padding, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Net {
    /// Conv 32, conv 64, dense 100: Fashion-MNIST, Adam
    FashionCnn,
    /// Conv 32, conv 64, conv 128: MNIST, RMSprop
    MnistConvnet,
    /// Two 5x5 convolutions with swish and odd channel counts, Adam
    #[value(name = "swish_net")]
    Swish,
    /// mnist_convnet without pooling, 712,202 weights, RMSprop
    NoMaxPool,
}

/// A convolution as it runs in a network: square images, stride 1.
#[derive(Clone, Copy)]
pub struct Conv {
    /// Height and width of its input.
    pub side: usize,
    pub channels: usize,
    pub kernel: usize,
    pub filters: usize,
    pub padding: Padding,
    pub relu: bool,
}

impl Net {
    pub fn name(self) -> String {
        self.to_possible_value().expect("no network is hidden").get_name().to_string()
    }

    /// Built and compiled.
    pub fn build(self, device: &Device) -> Result<Sequential> {
        let (relu, swish) = (Activation::Relu, Activation::Swish);
        let input = Sequential::new([28, 28, 1]);
        let model = match self {
            Net::FashionCnn => input
                .add(Conv2d::new(32, 3).padding(Padding::Same).activation(relu))
                .add(MaxPool2d::new(2))
                .add(Conv2d::new(64, 3).padding(Padding::Same).activation(relu))
                .add(MaxPool2d::new(2))
                .add(Flatten::new())
                .add(Dense::new(100).activation(relu))
                .add(Dropout::new(0.4)),
            Net::MnistConvnet => input
                .add(Conv2d::new(32, 3).activation(relu))
                .add(MaxPool2d::new(2))
                .add(Conv2d::new(64, 3).activation(relu))
                .add(MaxPool2d::new(2))
                .add(Conv2d::new(128, 3).activation(relu))
                .add(Flatten::new()),
            Net::Swish => input
                .add(Conv2d::new(3, 5).activation(swish))
                .add(Conv2d::new(6, 5).activation(swish))
                .add(Flatten::new())
                .add(Dense::new(84).activation(swish)),
            Net::NoMaxPool => input
                .add(Conv2d::new(32, 3).activation(relu))
                .add(Conv2d::new(64, 3).activation(relu))
                .add(Conv2d::new(128, 3).activation(relu))
                .add(Flatten::new()),
        };
        let mut model = model.add(Dense::new(10).activation(Activation::Softmax));
        model.build(device, 42)?;
        let (loss, metrics) = (SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
        match self {
            Net::MnistConvnet | Net::NoMaxPool => model.compile(RmsProp::default(), loss, metrics),
            Net::FashionCnn | Net::Swish => model.compile(Adam::default(), loss, metrics),
        }
        Ok(model)
    }

    pub fn convolutions(self) -> Vec<Conv> {
        let conv = |side, channels, kernel, filters, padding| Conv {
            side,
            channels,
            kernel,
            filters,
            padding,
            relu: self != Net::Swish,
        };
        let (same, valid) = (Padding::Same, Padding::Valid);
        match self {
            Net::FashionCnn => vec![conv(28, 1, 3, 32, same), conv(14, 32, 3, 64, same)],
            Net::MnistConvnet => {
                vec![conv(28, 1, 3, 32, valid), conv(13, 32, 3, 64, valid), conv(5, 64, 3, 128, valid)]
            }
            Net::Swish => vec![conv(28, 1, 5, 3, valid), conv(24, 3, 5, 6, valid)],
            Net::NoMaxPool => vec![conv(28, 1, 3, 32, valid), conv(26, 32, 3, 64, valid), conv(24, 64, 3, 128, valid)],
        }
    }

    /// Inputs and outputs of the dense layers.
    pub fn dense(self) -> Vec<[usize; 2]> {
        match self {
            Net::FashionCnn => vec![[3136, 100], [100, 10]],
            Net::MnistConvnet => vec![[1152, 10]],
            Net::Swish => vec![[2400, 84], [84, 10]],
            Net::NoMaxPool => vec![[61_952, 10]],
        }
    }

    /// Sides and channels of what is pooled, 2x2.
    pub fn pooled(self) -> Vec<[usize; 2]> {
        match self {
            Net::FashionCnn => vec![[28, 32], [14, 64]],
            Net::MnistConvnet => vec![[26, 32], [11, 64]],
            Net::Swish | Net::NoMaxPool => vec![],
        }
    }
}

/// `n` images of noise, of ten classes.
pub fn images(n: usize, device: &Device) -> Result<DeviceDataset> {
    let pixels = (0..n * 28 * 28).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let labels = (0..n as u32).map(|i| i % 10).collect();
    let data = Dataset::new(pixels, [28, 28, 1], labels, (0..10).map(|c| c.to_string()))?;
    DeviceDataset::upload(&data, device)
}
