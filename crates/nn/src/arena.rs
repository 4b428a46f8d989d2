//! Flat arenas: all weights of a kind in one tensor, so that an optimizer's step is one dispatch however many layers there
//! are.
//!
//! ```text
//! parameters  | conv2d.kernel ..0 | conv2d.bias ..0 | dense.kernel ..0 | dense.bias ..0 |
//! gradients   | same slots, packed from the tape by one op                             |
//! moments     | same slots, one arena for each that the optimizer keeps                |
//! ```
//!
//! Slots start at multiples of [`ALIGN`] elements, so that kernels that read four at a time may do so in each slot, and the
//! gaps are zero: a zero parameter with a zero gradient stays zero under every optimizer.

use std::ops::Range;

use tilegrad_core::ops::pack::{pack, pack_add};
use tilegrad_core::{Device, Gradients, Result, Shape, Tensor, no_grad};

use crate::param::Param;

/// Elements that a slot's start is a multiple of: 256 bytes, the strictest offset alignment of any adapter.
pub(crate) const ALIGN: usize = 64;

/// Weights that lie in one flat tensor.
#[derive(Debug)]
pub(crate) struct Arena {
    /// All values, `(L)`.
    values: Tensor,
    slots: Vec<(Param, Range<usize>)>,
}

impl Arena {
    /// Moves weights into a new arena, one slice each: with these values, or with those that they have.
    ///
    /// # Errors
    /// When the device has no room. The weights are then where they were.
    pub(crate) fn new(weights: Vec<(Param, Option<Vec<f32>>)>, device: &Device) -> Result<Arena> {
        let len = |param: &Param| param.len().next_multiple_of(ALIGN);
        let mut flat: Vec<f32> = Vec::with_capacity(weights.iter().map(|(param, _)| len(param)).sum());
        let mut slots = Vec::with_capacity(weights.len());
        let (mut moved, mut starts) = (Vec::new(), Vec::new());
        for (param, values) in weights {
            let start = flat.len();
            match values {
                Some(values) => flat.extend_from_slice(&values),
                None => {
                    moved.push(param.tensor());
                    starts.push(start);
                }
            }
            flat.resize(start + len(&param), 0.0);
            slots.push((param.clone(), start..start + param.len()));
        }
        // An arena of nothing still has a buffer: a model without weights is then no special case.
        flat.resize(flat.len().max(ALIGN), 0.0);
        let arena = Arena { values: Tensor::new(&flat, [flat.len()], device), slots };
        no_grad(|| pack(&moved.iter().collect::<Vec<_>>(), &arena.values, &starts));
        device.check()?;
        arena.point_params();
        Ok(arena)
    }

    /// Whether these weights, and no others, still lie here.
    pub(crate) fn holds(&self, weights: &[&Param]) -> bool {
        let here = |(slot, weight): (&(Param, Range<usize>), &&Param)| {
            slot.0.is(weight) && weight.tensor().shares_memory(&self.values)
        };
        self.slots.len() == weights.len() && self.slots.iter().zip(weights).all(here)
    }

    fn point_params(&self) {
        for (param, range) in &self.slots {
            let slice = no_grad(|| self.values.slice_axis(0, range.clone()).reshape(param.shape()));
            param.point_at(slice);
        }
    }

    /// All values, `(L)`.
    pub(crate) fn values(&self) -> &Tensor {
        &self.values
    }

    /// Number of elements, the gaps included.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The weights and where they lie, in order.
    pub(crate) fn slots(&self) -> &[(Param, Range<usize>)] {
        &self.slots
    }

    /// One number everywhere in the same layout, for gradients and moments.
    pub(crate) fn full(&self, value: f32) -> Tensor {
        Tensor::full(value, Shape::from([self.len()]), self.values.device())
    }

    /// Copies the weights' gradients into their slots of `target (L)`, or adds them to what is there; zeros where the loss
    /// does not depend on a weight.
    pub(crate) fn pack(&self, gradients: &Gradients, target: &Tensor, add: bool) {
        let gradient = |param: &Param| {
            let weight = param.tensor();
            gradients.get(&weight).cloned().unwrap_or_else(|| weight.zeros_like())
        };
        let gradients: Vec<Tensor> = self.slots.iter().map(|(param, _)| gradient(param)).collect();
        let starts: Vec<usize> = self.slots.iter().map(|(_, range)| range.start).collect();
        let pack = if add { pack_add } else { pack };
        pack(&gradients.iter().collect::<Vec<_>>(), target, &starts);
    }

    /// The values of each weight, read back at once.
    pub(crate) fn read(&self) -> Result<Vec<Vec<f32>>> {
        let flat = self.values.to_vec::<f32>()?;
        Ok(self.slots.iter().map(|(_, range)| flat[range.clone()].to_vec()).collect())
    }

    /// Overwrites all weights at once, so that a failure leaves either all of them or none changed.
    pub(crate) fn write(&self, values: &[&[f32]]) -> Result<()> {
        self.write_to(&self.values, values)
    }

    /// Overwrites what is kept of each weight in `target (L)`, which has this layout. The gaps stay as they are there.
    pub(crate) fn write_to(&self, target: &Tensor, values: &[impl AsRef<[f32]>]) -> Result<()> {
        let mut flat: Vec<f32> = target.to_vec()?;
        for ((_, range), values) in self.slots.iter().zip(values) {
            flat[range.clone()].copy_from_slice(values.as_ref());
        }
        target.assign(&flat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initializers::Initializer;

    #[test]
    fn weights_are_aligned_views_of_one_buffer() {
        let param = |name: &str, shape: Shape, statistic| Param::new("l", name, shape, &Initializer::Zeros, statistic);
        let params = [param("kernel", [2, 3].into(), false), param("bias", [65].into(), true)];
        let values = [vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![7.0; 65]];
        let weights = params.iter().cloned().zip(values.iter().cloned().map(Some)).collect();
        let arena = Arena::new(weights, &Device::cpu()).unwrap();
        assert_eq!((arena.len(), arena.slots()[1].1.clone()), (64 + 128, 64..129));
        let [kernel, bias] = [params[0].tensor(), params[1].tensor()];
        assert!(kernel.shares_memory(arena.values()) && bias.shares_memory(arena.values()));
        assert!(kernel.needs_grad() && !bias.needs_grad());
        assert_eq!(kernel.to_vec::<f32>().unwrap(), values[0]);
        arena.write(&[&[0.5; 6], &[1.5; 65]]).unwrap();
        assert_eq!(arena.read().unwrap(), [vec![0.5; 6], vec![1.5; 65]]);
        assert_eq!(bias.to_vec::<f32>().unwrap(), [1.5; 65]);
        let flat = arena.values().to_vec::<f32>().unwrap();
        assert!(flat[6..64].iter().chain(&flat[129..]).all(|&v| v == 0.0));
    }

    #[test]
    fn weights_move_with_their_values() {
        let param = Param::new("l", "kernel", [2, 3].into(), &Initializer::Zeros, false);
        let first = Arena::new(vec![(param.clone(), Some(vec![1.5; 6]))], &Device::cpu()).unwrap();
        assert!(first.holds(&[&param]) && !first.holds(&[]));
        let second = Arena::new(vec![(param.clone(), None)], &Device::cpu()).unwrap();
        assert!(second.holds(&[&param]) && !first.holds(&[&param]));
        assert_eq!(param.tensor().to_vec::<f32>().unwrap(), [1.5; 6]);
    }

    #[test]
    fn no_weights_are_no_special_case() {
        let arena = Arena::new(Vec::new(), &Device::cpu()).unwrap();
        assert_eq!((arena.len(), arena.read().unwrap().len()), (ALIGN, 0));
    }
}
