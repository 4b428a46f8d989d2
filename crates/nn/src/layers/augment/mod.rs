//! Augmentation: images changed at random in training, each in its own way, and left alone otherwise.
//!
//! All of it runs on the device. Random numbers come from the clock of the training loop, so that steps can be recorded and
//! launched again, and every device draws the same. The layers are for inputs: no gradient goes back through them but through
//! contrast and brightness.

mod colour;
mod crop;
mod warp;

pub use colour::{RandomBrightness, RandomContrast};
pub use crop::RandomCrop;
pub use warp::{Fill, Flip, RandomFlip, RandomRotation, RandomTranslation, RandomZoom};

use serde::{Deserialize, Serialize};
use tilegrad_core::{Shape, ShapeError, Tensor};

use super::expect_rank;
use crate::layer::Context;

/// The range that a random number is drawn from: one number `f` means `-f..f`.
///
/// ```
/// use tilegrad_nn::layers::Factor;
/// assert_eq!(Factor::from(0.1), Factor::from([-0.1, 0.1]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factor(pub [f32; 2]);

impl From<f32> for Factor {
    fn from(both: f32) -> Factor {
        Factor([-both, both])
    }
}

impl From<[f32; 2]> for Factor {
    fn from(range: [f32; 2]) -> Factor {
        Factor(range)
    }
}

impl Factor {
    /// Refuses a range that is none, or reaches below `least`.
    fn check(self, what: &str, least: f32) -> Result<(), ShapeError> {
        let [low, high] = self.0;
        if low.is_finite() && high.is_finite() && low <= high && low >= least {
            return Ok(());
        }
        Err(ShapeError::new(format!("{what}: expected a range from {least} up, got {low} to {high}")))
    }

    /// A number for each of `n` images, `(n, 1)`.
    fn draw(self, n: usize, like: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        let [low, high] = self.0;
        Tensor::rand_uniform(low, high, [n, 1], ctx.rng.next_draw(), like.device())
    }
}

fn images(input: &Shape) -> Result<Shape, ShapeError> {
    expect_rank(input, 4, "(N, H, W, C)", "images have a channel axis, also when it is 1: use [H, W, 1]")?;
    Ok(*input)
}
