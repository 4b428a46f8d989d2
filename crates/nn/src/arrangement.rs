//! Where a model's weights lie: what an optimizer steps over, what is frozen, and running statistics.
//!
//! Layers can be part of several models, and each model that trains wants the weights in an order of its own. So a weight
//! knows where its values are, and a model's arrangement is only a way to lay them out: before it is used, it is checked
//! whether all weights still lie there, and if not, they are moved back.

use tilegrad_core::{Device, DeviceInfo, Error, Result};

use crate::arena::{ALIGN, Arena};
use crate::param::Param;

/// A weight, with its values if they are to be others than it has.
pub(crate) type Valued = (Param, Option<Vec<f32>>);

/// A model's weights in arenas.
#[derive(Debug)]
pub(crate) struct Arrangement {
    pub(crate) trainable: Arena,
    /// Weights of frozen layers.
    frozen: Arena,
    /// One arena each: their layers write them in the forward pass, and a write marks the whole buffer as changed, which
    /// would invalidate what backward has saved of its neighbours.
    statistics: Vec<Arena>,
}

impl Arrangement {
    /// Moves weights into arenas.
    ///
    /// # Errors
    /// - [`Error::TooLarge`] when the device has no buffer that could hold them, before anything is uploaded,
    /// - when it has no room.
    pub(crate) fn new(weights: Vec<Valued>, device: &Device) -> Result<Arrangement> {
        let (mut trainable, mut frozen, mut statistics) = (Vec::new(), Vec::new(), Vec::new());
        for weight in weights {
            match &weight.0 {
                param if param.is_statistic() => statistics.push(weight),
                param if param.is_trainable() => trainable.push(weight),
                _ => frozen.push(weight),
            }
        }
        check_size(device, "the trainable weights", &trainable)?;
        check_size(device, "the frozen weights", &frozen)?;
        Ok(Arrangement {
            trainable: Arena::new(trainable, device)?,
            frozen: Arena::new(frozen, device)?,
            statistics: statistics.into_iter().map(|s| Arena::new(vec![s], device)).collect::<Result<_>>()?,
        })
    }

    pub(crate) fn arenas(&self) -> impl Iterator<Item = &Arena> {
        [&self.trainable, &self.frozen].into_iter().chain(&self.statistics)
    }

    /// Whether all weights lie here, and those that train where they belong.
    pub(crate) fn holds<'a>(&self, weights: impl Iterator<Item = &'a Param>) -> bool {
        let (statistics, others): (Vec<&Param>, Vec<&Param>) = weights.partition(|w| w.is_statistic());
        let (trainable, frozen): (Vec<&Param>, Vec<&Param>) = others.into_iter().partition(|w| w.is_trainable());
        self.trainable.holds(&trainable)
            && self.frozen.holds(&frozen)
            && self.statistics.len() == statistics.len()
            && self.statistics.iter().zip(statistics).all(|(arena, statistic)| arena.holds(&[statistic]))
    }

    /// Whether the same weights train as there, in the same order: what an optimizer keeps fits both.
    pub(crate) fn trains_as(&self, other: &Arrangement) -> bool {
        let (these, those) = (self.trainable.slots(), other.trainable.slots());
        these.len() == those.len() && these.iter().zip(those).all(|(this, that)| this.0.is(&that.0))
    }
}

/// Refuses weights that no buffer of the device could hold.
fn check_size(device: &Device, what: &str, weights: &[Valued]) -> Result<()> {
    let DeviceInfo::Gpu(description) = device.info() else { return Ok(()) };
    let wanted: u64 = weights.iter().map(|(param, _)| 4 * param.len().next_multiple_of(ALIGN) as u64).sum();
    let limit = description.max_tensor_bytes;
    if wanted <= limit {
        return Ok(());
    }
    Err(Error::TooLarge { device: description.name, what: what.into(), wanted, limit })
}
