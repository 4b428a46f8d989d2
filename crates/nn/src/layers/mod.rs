//! The layers, one a file, with Keras's names and defaults.

mod activations;
mod augment;
mod batch_norm;
mod border2d;
mod caffe_preprocessing;
mod concatenate;
mod conv1d;
mod conv2d;
mod conv2d_transpose;
mod dense;
mod depthwise_conv2d;
mod dropout;
mod embedding;
mod flatten;
mod gaussian_noise;
mod global_pool2d;
mod group_norm;
mod layer_norm;
mod merge;
mod normalization;
mod pool1d;
mod pool2d;
mod rescaling;
mod reshape;
mod separable_conv2d;
mod spatial_dropout2d;
mod up_sampling2d;

pub use activations::{Elu, LeakyRelu, NamedActivation, PRelu, Relu, Softmax};
pub use augment::{
    Factor, Fill, Flip, RandomBrightness, RandomContrast, RandomCrop, RandomFlip, RandomRotation, RandomTranslation,
    RandomZoom,
};
pub use batch_norm::BatchNorm;
pub use border2d::{Cropping2d, ZeroPadding2d};
pub use caffe_preprocessing::CaffePreprocessing;
pub use concatenate::Concatenate;
pub use conv1d::Conv1d;
pub use conv2d::Conv2d;
pub use conv2d_transpose::Conv2dTranspose;
pub use dense::Dense;
pub use depthwise_conv2d::DepthwiseConv2d;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use flatten::Flatten;
pub use gaussian_noise::GaussianNoise;
pub use global_pool2d::{GlobalAvgPool2d, GlobalMaxPool2d};
pub use group_norm::GroupNorm;
pub use layer_norm::LayerNorm;
pub use merge::{Add, Average, Maximum, Merge, Minimum, Multiply, Subtract};
pub use normalization::Normalization;
pub use pool1d::{AvgPool1d, GlobalAvgPool1d, GlobalMaxPool1d, MaxPool1d};
pub use pool2d::{AvgPool2d, MaxPool2d};
pub use rescaling::Rescaling;
pub use reshape::{Permute, Reshape};
pub use separable_conv2d::SeparableConv2d;
pub use spatial_dropout2d::SpatialDropout2d;
pub use up_sampling2d::{Interpolation, UpSampling2d};

pub use crate::activation::Activation;

use tilegrad_core::{Shape, ShapeError, Tensor};

use crate::config;
use crate::param::Param;

/// Two sizes, of height and of width; one number gives both.
///
/// ```
/// use tilegrad_nn::layers::Pair;
/// assert_eq!(Pair::from(3), Pair::from([3, 3]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair(pub [usize; 2]);

impl From<usize> for Pair {
    fn from(both: usize) -> Pair {
        Pair([both; 2])
    }
}

impl From<[usize; 2]> for Pair {
    fn from(sizes: [usize; 2]) -> Pair {
        Pair(sizes)
    }
}

impl From<(usize, usize)> for Pair {
    fn from((height, width): (usize, usize)) -> Pair {
        Pair([height, width])
    }
}

/// Pixels at the sides of an image, `[[top, bottom], [left, right]]`; one number gives all, two those of height and of width.
///
/// ```
/// use tilegrad_nn::layers::Sides;
/// assert_eq!(Sides::from(1), Sides::from([[1, 1], [1, 1]]));
/// assert_eq!(Sides::from([1, 2]), Sides::from([[1, 1], [2, 2]]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides(pub [[usize; 2]; 2]);

impl From<usize> for Sides {
    fn from(all: usize) -> Sides {
        Sides([[all; 2]; 2])
    }
}

impl From<[usize; 2]> for Sides {
    fn from([height, width]: [usize; 2]) -> Sides {
        Sides([[height; 2], [width; 2]])
    }
}

impl From<[[usize; 2]; 2]> for Sides {
    fn from(sides: [[usize; 2]; 2]) -> Sides {
        Sides(sides)
    }
}

/// The weight of a layer that has been built.
#[track_caller]
fn built(param: &Option<Param>) -> Tensor {
    param.as_ref().expect("a layer is built before it runs: call `build` on the model").tensor()
}

/// Refuses an input of another rank than the layer works on.
fn expect_rank(input: &Shape, rank: usize, axes: &str, help: &str) -> Result<(), ShapeError> {
    if input.rank() == rank {
        return Ok(());
    }
    let problem = format!("input has {} axes, expected {rank}: {axes}", input.rank());
    Err(ShapeError::new(problem).operand("input", input).help(help))
}

/// Refuses a size of 0, which would make every later shape empty.
fn expect_positive(what: &str, value: usize, input: &Shape) -> Result<(), ShapeError> {
    if value > 0 {
        return Ok(());
    }
    Err(ShapeError::new(format!("{what} is 0, expected at least 1")).operand("input", input))
}
