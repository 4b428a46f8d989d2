//! Layers as JSON: what the user set, under Keras's names where it has them. Weights are not part of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::RunningAverage;

/// A layer's configuration.
pub(crate) fn of(layer: &impl Serialize) -> Value {
    serde_json::to_value(layer).expect("layers consist of numbers, names and choices")
}

/// [`RunningAverage`], as serde sees it.
#[derive(Serialize, Deserialize)]
#[serde(remote = "RunningAverage", rename_all = "snake_case")]
pub(super) enum RunningAverageConfig {
    Keras { momentum: f32 },
    PyTorch { momentum: f32 },
}

/// [`Padding`](tilegrad_core::Padding), as serde sees it.
pub(super) mod padding {
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

    pub(in crate::layers) fn serialize<const N: usize, S: Serializer>(
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

    pub(in crate::layers) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
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
