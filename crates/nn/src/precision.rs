//! Mixed precision: which products a model computes with 16-bit operands, and the scale of its loss.
//!
//! In `f16` numbers below 6e-8 are 0, and many gradients are. So the loss is multiplied by a scale before backward, and the
//! gradients of the weights, which are `f32`, are divided by it afterwards. A scale that is too large makes infinities: then
//! the step is left out, and the scale halved. After many steps without one it is doubled. Micikevicius et al. 2018.
//!
//! A step that is left out still counts: Adam's correction for moments that start at 0 is then a little further on than they
//! are, for the first steps of a training whose scale has to come down. Running statistics take it in, too.

use serde::{Deserialize, Serialize};
use tilegrad_core::ops::pack::pack;
use tilegrad_core::ops::restore::restore_unless;
use tilegrad_core::{DType, Device, HalfProducts, Result, Tensor};

/// What the operands of a model's products are stored in: those of `Dense` and `Conv2d`, in forward and backward. Keras's
/// dtype policies `float32` and `mixed_float16`, chosen by [`Sequential::precision`](crate::Sequential::precision).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, added up in 32. Weights, activations, losses and everything else stay in 32 bits; the loss is scaled. It is for
    /// GPUs with tensor cores: elsewhere the numbers are the same, and nothing is faster.
    Mixed,
}

impl Precision {
    /// Says on stderr when a device has no fast way to do what it is asked for; looks for one.
    pub(crate) fn announce(self, device: &Device) {
        if self == Precision::Mixed && device.half_products() == HalfProducts::AsF32 {
            eprintln!(
                "tilegrad: mixed precision on {device}: 16-bit operands, multiplied as f32, without tensor cores"
            );
        }
    }

    /// A tensor as the operand of a product.
    pub(crate) fn operand(self, x: &Tensor) -> Tensor {
        match self {
            Precision::F32 => x.clone(),
            Precision::Mixed => x.cast(DType::F16),
        }
    }
}

/// The scale that a loss starts with.
const START: f32 = 32_768.0;

/// Steps without an infinity until the scale is doubled.
const PATIENCE: f32 = 2000.0;

/// The scale stays a power of two in this range: multiplying by it is exact, and it never becomes infinite itself.
const RANGE: [f32; 2] = [1.0, 16_777_216.0];

/// The scale of a loss and its rule. All of it is on the device, which never waits for the host.
#[derive(Debug)]
pub(crate) struct LossScale {
    /// The scale, and from element 4 on, so that different vectors of four are written, the number of steps since it changed.
    state: Tensor,
    /// What they are next.
    next: Tensor,
    /// What the step may have to be taken back to: the weights and the optimizer's moments, end to end.
    before: Tensor,
}

impl LossScale {
    /// For a step that changes `updated` arenas of `len` elements each.
    pub(crate) fn new(device: &Device, updated: usize, len: usize) -> LossScale {
        let state = Tensor::new(&[START, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [8], device);
        LossScale { next: state.zeros_like(), state, before: Tensor::zeros([updated * len], device) }
    }

    /// The scale, `(1)`.
    pub(crate) fn scale(&self) -> Tensor {
        self.state.slice_axis(0, 0..1)
    }

    /// The scale's state, to be saved.
    pub(crate) fn values(&self) -> Result<Vec<f32>> {
        self.state.to_vec()
    }

    /// Sets the scale's state to what was saved.
    pub(crate) fn restore(&self, values: &[f32]) -> Result<()> {
        self.state.assign(values)
    }

    /// Makes a step with `gradients (L)` of the scaled loss, through `step`, which gets those of the loss itself and changes
    /// the arenas `updated`. Leaves them as they were if a gradient is not finite.
    pub(crate) fn step(&self, gradients: &Tensor, updated: &[&Tensor], step: impl FnOnce(&Tensor)) {
        let gradients = gradients.div(&self.scale());
        // NaN is the largest of all.
        let finite = gradients.abs().max().is_finite();
        let [scale, good] = self.rule(&finite);
        // All that this step allocates is there by now. If it is not, this update in place is left out, and then all others.
        pack(&[&scale, &good], &self.next, &[0, 4]);
        let starts: Vec<usize> = (0..updated.len()).map(|i| i * gradients.len()).collect();
        pack(updated, &self.before, &starts);
        step(&gradients);
        for (arena, start) in updated.iter().zip(starts) {
            restore_unless(&finite, &self.before.slice_axis(0, start..start + arena.len()), arena);
        }
        pack(&[&self.next], &self.state, &[0]);
    }

    /// The next scale and number of good steps, after one whose gradients were all `finite`, or not.
    fn rule(&self, finite: &Tensor) -> [Tensor; 2] {
        let (scale, good) = (self.scale(), self.state.slice_axis(0, 4..5));
        // Not 0 until there were enough good steps.
        let more = good.affine(1.0, 1.0 - PATIENCE).cast(DType::Bool);
        let times = |factor: f32| scale.affine(factor, 0.0).clip(RANGE[0], RANGE[1]);
        let next = finite.where_cond(&more.where_cond(&scale, &times(2.0)), &times(0.5));
        [next, good.affine(1.0, 1.0).mul(&finite.logical_and(&more).cast(DType::F32))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_halved_at_once_and_doubled_after_many_steps() {
        let scale = LossScale::new(&Device::cpu(), 1, 4);
        let weights = Tensor::ones([4], &Device::cpu());
        let step = |gradient: f32| {
            let gradients = Tensor::new(&[0.0, 1.0, gradient, 2.0], [4], &Device::cpu());
            scale.step(&gradients, &[&weights], |g| pack(&[&weights.sub(g)], &weights, &[0]));
            scale.scale().item().unwrap()
        };
        for bad in [f32::INFINITY, f32::NAN, f32::NEG_INFINITY] {
            step(bad);
        }
        assert_eq!(weights.to_vec::<f32>().unwrap(), [1.0; 4], "steps that are not finite change nothing");
        assert_eq!(scale.scale().item().unwrap(), START / 8.0);
        assert_eq!(step(4096.0), START / 8.0);
        assert_eq!(weights.to_vec::<f32>().unwrap(), [1.0, 1.0 - 1.0 / 4096.0, 0.0, 1.0 - 2.0 / 4096.0]);
        (2..PATIENCE as u32).for_each(|i| assert_eq!(step(0.0), START / 8.0, "good step {i}"));
        assert_eq!(step(0.0), START / 4.0);
        assert_eq!(step(f32::NAN), START / 8.0);
        (1..PATIENCE as u32).for_each(|_| assert_eq!(step(0.0), START / 8.0, "counted from the halving on"));
        assert_eq!(step(0.0), START / 4.0);
        (0..30).for_each(|_| assert!(step(f32::NAN) >= RANGE[0]));
        assert_eq!(scale.scale().item().unwrap(), RANGE[0]);
    }
}
