//! A GPU deep learning framework on [wgpu](https://wgpu.rs): tensors with autograd, hand-written WGSL kernels that run on
//! Vulkan, Metal and DX12, a CPU backend that defines every op, and Keras-shaped layers and training on top.
//!
//! This package re-exports the others and adds nothing of its own:
//!
//! - at the root: [`Device`], [`Tensor`], [`Shape`], [`Error`], and everything about single ops and gradients;
//! - [`nn`]: layers, models, losses, optimizers, training;
//! - [`data`]: MNIST, Fashion-MNIST, embedded digits, and datasets of one's own.
//!
//! # Tensors and gradients
//!
//! ```
//! use tilegrad::prelude::*;
//!
//! # fn main() -> Result<()> {
//! let device = Device::cpu(); // or Device::auto()?, which takes a GPU where there is one
//! let x = Tensor::new(&[1.0, 2.0, 3.0, 4.0], [2, 2], &device);
//! let w = Tensor::ones([2, 1], &device).requires_grad();
//! let loss = x.matmul(&w).square().mean();
//! let gradients = loss.backward();
//! assert_eq!(loss.item()?, 29.0);
//! assert_eq!(gradients.get(&w).unwrap().to_vec::<f32>()?, [24.0, 34.0]);
//! # Ok(())
//! # }
//! ```
//!
//! A wrong shape is a bug in the calling line and panics there, with a message that says what clashes. Everything that the
//! outside world can cause is an [`Error`].
//!
//! # A model
//!
//! ```
//! use tilegrad::prelude::*;
//!
//! # fn main() -> Result<()> {
//! let data = Digits::load();
//! let mut model = Sequential::new([8, 8, 1])
//!     .add(Conv2d::new(16, 3).activation(Activation::Relu))
//!     .add(MaxPool2d::new(2))
//!     .add(Flatten::new())
//!     .add(Dense::new(10).activation(Activation::Softmax));
//! model.build(&Device::cpu(), 42)?;
//! println!("{}", model.summary()?);
//! model.compile(Adam::new(0.01), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
//! model.fit(&data.train, FitOptions::new().epochs(3).verbose(Verbose::Off))?;
//! assert!(model.evaluate(&data.test)?.accuracy.unwrap() > 0.8);
//! # Ok(())
//! # }
//! ```
//!
//! # Where things run
//!
//! Ops look eager. On a GPU each one records a kernel into an open command buffer, which is submitted when it is full or
//! when a value is read. Reading ([`Tensor::to_vec`], [`Tensor::item`], `Display`) waits for the device; nothing else does.

pub use tilegrad_core::*;
pub use tilegrad_data as data;
pub use tilegrad_nn as nn;
#[cfg(feature = "plot")]
pub use tilegrad_plot as plot;

/// What most programs use: `use tilegrad::prelude::*`.
pub mod prelude {
    pub use tilegrad_core::{
        Conv2dOptions, DType, Device, Error, Padding, Reduction, Result, Rng, Shape, Tensor, Unary, Window, no_grad,
    };
    pub use tilegrad_data::{Cifar10, Dataset, Digits, FashionMnist, ImageFolder, Loader, Mnist, read_image};
    pub use tilegrad_nn::layers::{
        Add, Average, AvgPool1d, AvgPool2d, BatchNorm, Concatenate, Conv1d, Conv2d, Conv2dTranspose, Cropping2d, Dense,
        DepthwiseConv2d, Dropout, Elu, Embedding, Flatten, GaussianNoise, GlobalAvgPool1d, GlobalAvgPool2d,
        GlobalMaxPool1d, GlobalMaxPool2d, GroupNorm, LayerNorm, LeakyRelu, MaxPool1d, MaxPool2d, Maximum, Minimum,
        Multiply, Normalization, PRelu, Permute, RandomBrightness, RandomContrast, RandomCrop, RandomFlip,
        RandomRotation, RandomTranslation, RandomZoom, Relu, Rescaling, Reshape, SeparableConv2d, Softmax,
        SpatialDropout2d, Subtract, UpSampling2d, ZeroPadding2d,
    };
    pub use tilegrad_nn::{
        Activation, Adadelta, Adagrad, Adam, AdamW, Adamax, BinaryCrossentropy, Callback, CategoricalCrossentropy,
        CosineDecay, CsvLogger, DeviceDataset, EarlyStopping, Epoch, Evaluation, ExponentialDecay, FitOptions, Flow,
        History, Huber, Initializer, Input, KLDivergence, LambdaCallback, Layer, LearningRateScheduler, Lion,
        MeanAbsoluteError, MeanSquaredError, Metric, Model, ModelCheckpoint, Nadam, Objective, OneCycle, Pretrained,
        ReduceLrOnPlateau, RmsProp, Sequential, Sgd, SparseCategoricalCrossentropy, StepDecay, TensorBoard,
        TerminateOnNan, Verbose, load_model,
    };
}

/// Compiles the Rust of the page on model files.
#[cfg(doctest)]
#[doc = include_str!("../../docs/model-file.md")]
pub struct ModelFile;

/// Compiles the Rust of the page for those who come from Keras.
#[cfg(doctest)]
#[doc = include_str!("../../docs/from-keras.md")]
pub struct FromKeras;

/// Compiles the README's Rust.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
