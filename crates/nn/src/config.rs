//! Settings as JSON: of layers, optimizers and losses, under Keras's names where it has them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::RunningAverage;

/// The settings of a layer, an optimizer or a loss.
pub(crate) fn of(thing: &impl Serialize) -> Value {
    serde_json::to_value(thing).expect("settings consist of numbers, names and choices")
}

/// [`RunningAverage`], as serde sees it.
#[derive(Serialize, Deserialize)]
#[serde(remote = "RunningAverage", rename_all = "snake_case")]
pub(crate) enum RunningAverageConfig {
    Keras { momentum: f32 },
    PyTorch { momentum: f32 },
}

/// [`Padding`](tilegrad_core::Padding), as serde sees it.
pub(crate) mod padding {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use tilegrad_core::Padding;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Named {
        Valid,
        Same,
        SameLower,
        Explicit(Vec<[usize; 2]>),
    }

    pub(crate) fn serialize<const N: usize, S: Serializer>(
        padding: &Padding<N>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match padding {
            Padding::Valid => Named::Valid,
            Padding::Same => Named::Same,
            Padding::SameLower => Named::SameLower,
            Padding::Explicit(pixels) => Named::Explicit(pixels.to_vec()),
        }
        .serialize(serializer)
    }

    pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Padding<N>, D::Error> {
        Ok(match Named::deserialize(deserializer)? {
            Named::Valid => Padding::Valid,
            Named::Same => Padding::Same,
            Named::SameLower => Padding::SameLower,
            Named::Explicit(pixels) => Padding::Explicit(
                pixels.try_into().map_err(|p: Vec<_>| D::Error::invalid_length(p.len(), &"a pair for each axis"))?,
            ),
        })
    }
}
