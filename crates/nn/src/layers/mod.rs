//! The layers, one a file, with Keras's names and defaults.

mod batch_norm;
mod concatenate;
mod conv2d;
mod dense;
mod dropout;
mod flatten;
mod global_pool2d;
mod merge;
mod pool2d;

pub use batch_norm::BatchNorm;
pub use concatenate::Concatenate;
pub use conv2d::Conv2d;
pub use dense::Dense;
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use global_pool2d::{GlobalAvgPool2d, GlobalMaxPool2d};
pub use merge::{Add, Average, Maximum, Merge, Minimum, Multiply, Subtract};
pub use pool2d::{AvgPool2d, MaxPool2d};

pub use crate::activation::Activation;

use tilegrad_core::{Shape, ShapeError, Tensor};

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
