//! Limits on gradients, against steps that are too large.

use serde::{Deserialize, Serialize};
use tilegrad_core::ops::pack::pack;
use tilegrad_core::{Result, Tensor};

use super::check_number;
use crate::arena::Arena;

/// Limits on gradients, against steps that are too large: Keras's three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Clip {
    /// No limit.
    #[default]
    None,
    /// Each element to `-value..=value`. Keras's `clipvalue`.
    Value(f32),
    /// The gradient of each variable scaled down to this Euclidean norm when it is more. Keras's `clipnorm`. Takes a few
    /// launches for each variable; the others take them once.
    Norm(f32),
    /// All gradients together scaled down to this Euclidean norm when it is more. Keras's `global_clipnorm`.
    GlobalNorm(f32),
}

impl Clip {
    /// The gradient of one variable, limited; [`Clip::Norm`] and [`Clip::GlobalNorm`] are the same for one.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// use tilegrad_nn::Clip;
    /// let gradient = Tensor::new(&[3.0, 4.0], [2], &Device::cpu());
    /// assert_eq!(Clip::Norm(1.0).apply(&gradient).to_vec::<f32>().unwrap(), [0.6, 0.8]);
    /// assert_eq!(Clip::Value(3.5).apply(&gradient).to_vec::<f32>().unwrap(), [3.0, 3.5]);
    /// ```
    pub fn apply(self, gradient: &Tensor) -> Tensor {
        match self {
            Clip::None => gradient.clone(),
            Clip::Value(value) => gradient.clip(-value, value),
            Clip::Norm(limit) | Clip::GlobalNorm(limit) => {
                // limit / max(norm, limit): never up, and without a division by a norm of 0.
                let norm = gradient.square().sum().sqrt();
                let limit = Tensor::scalar(limit, gradient.device());
                gradient.mul(&limit.div(&norm.maximum(&limit)))
            }
        }
    }

    /// The gradients of all variables of an arena, `(L)`, limited.
    pub(crate) fn apply_to_arena(self, gradients: &Tensor, arena: &Arena) -> Tensor {
        if let Clip::Norm(_) = self {
            let of_variable = |range| self.apply(&gradients.slice_axis(0, range));
            let (starts, limited): (Vec<usize>, Vec<Tensor>) =
                arena.slots().iter().map(|(_, range)| (range.start, of_variable(range.clone()))).unzip();
            pack(&limited.iter().collect::<Vec<_>>(), gradients, &starts);
            return gradients.clone();
        }
        self.apply(gradients)
    }

    pub(super) fn check(self) -> Result<()> {
        match self {
            Clip::None => Ok(()),
            Clip::Value(limit) | Clip::Norm(limit) | Clip::GlobalNorm(limit) => {
                check_number("gradient clipping", limit, "a finite number above 0", |v| v > 0.0)
            }
        }
    }
}
