//! Keras-shaped layers, losses, optimizers and training on tilegrad's tensors.
//!
//! ```
//! use tilegrad_core::{Device, Result};
//! use tilegrad_data::Digits;
//! use tilegrad_nn::layers::{Activation, Conv2d, Dense, Flatten, MaxPool2d};
//! use tilegrad_nn::{Adam, FitOptions, Metric, Sequential, SparseCategoricalCrossentropy, Verbose};
//!
//! # fn main() -> Result<()> {
//! let data = Digits::load();
//! let mut model = Sequential::new([8, 8, 1])
//!     .add(Conv2d::new(8, 3).activation(Activation::Relu))
//!     .add(MaxPool2d::new(2))
//!     .add(Flatten::new())
//!     .add(Dense::new(10).activation(Activation::Softmax));
//! model.build(&Device::cpu(), 42)?;
//! model.compile(Adam::new(0.01), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
//! let history = model.fit(&data.train, FitOptions::new().epochs(2).verbose(Verbose::Off))?;
//! assert!(history.last().unwrap().accuracy.unwrap() > 0.5);
//! let probabilities = model.predict(&data.test)?; // (360, 10)
//! # Ok(())
//! # }
//! ```

mod activation;
mod architecture;
mod arena;
mod arrangement;
mod atomic_file;
pub mod callbacks;
mod checkpoint;
mod config;
mod confusion;
mod counters;
mod device_data;
mod entry;
mod evaluate;
mod event_file;
mod feed;
mod fit;
mod fit_options;
mod footprint;
mod forward;
mod graph;
mod history;
mod import;
pub mod initializers;
mod layer;
pub mod layers;
pub mod losses;
mod metrics;
mod model;
mod model_file;
pub mod models;
mod objective;
mod on_batch;
pub mod optimizers;
mod param;
mod precision;
mod predict;
mod progress;
mod registry;
mod run;
mod schedules;
mod sequential;
mod shared;
mod steps;
mod summary;
mod symbolic;
mod tensors;
mod totals;
mod train;
mod undo;
mod weights_file;

pub use activation::Activation;
pub use callbacks::{
    Callback, CsvLogger, EarlyStopping, Flow, LambdaCallback, LearningRateScheduler, ModelCheckpoint,
    ReduceLrOnPlateau, TensorBoard, TerminateOnNan,
};
pub use checkpoint::Loaded;
pub use confusion::ConfusionMatrix;
pub use device_data::{DeviceDataset, Source, one_hot};
pub use entry::LayerEntry;
pub use fit_options::FitOptions;
pub use footprint::Footprint;
pub use history::{Epoch, History};
pub use import::Pretrained;
pub use initializers::Initializer;
pub use layer::{BuildContext, Context, Layer};
pub use losses::{
    BinaryCrossentropy, CategoricalCrossentropy, Huber, KLDivergence, Loss, MeanAbsoluteError, MeanSquaredError,
    SparseCategoricalCrossentropy, Target,
};
pub use metrics::Metric;
pub use model::Model;
pub use model_file::{load_model, load_model_with};
pub use objective::Objective;
pub use optimizers::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, Clip, Correction, Lion, Nadam, Optimizer, RmsProp, Sgd, StepNumber,
};
pub use param::Param;
pub use precision::Precision;
pub use predict::Inputs;
pub use progress::Verbose;
pub use registry::Registry;
pub use schedules::{
    CosineDecay, ExponentialDecay, InverseTimeDecay, LearningRate, OneCycle, PiecewiseConstantDecay, PolynomialDecay,
    Schedule, StepDecay,
};
pub use sequential::Sequential;
pub use shared::SharedLayer;
pub use summary::{Summary, SummaryRow};
pub use symbolic::{Input, SymbolicTensor, Symbols};
pub use tensors::Tensors;
pub use totals::Evaluation;
