//! How much device memory a model takes, before anything runs.

use crate::graph::Graph;

/// What a model keeps on the device, in numbers of 4 bytes. An estimate: kernels need room of their own here and there,
/// fused activations save some, and buffers come in sizes.
///
/// ```
/// use tilegrad_core::Device;
/// use tilegrad_nn::{Adam, Metric, Sequential, SparseCategoricalCrossentropy, layers::Dense};
///
/// # fn main() -> tilegrad_core::Result<()> {
/// let mut model = Sequential::new([100]).add(Dense::new(10));
/// model.build(&Device::cpu(), 1)?;
/// model.compile(Adam::new(0.001), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
/// let footprint = model.summary()?.footprint;
/// assert!(footprint.train(64) > footprint.predict(64));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    weights: u64,
    /// Weights that have gradients.
    trainable: u64,
    /// What the optimizer keeps.
    moments: u64,
    /// All values of one example, its inputs included: backward needs about all of them.
    values: u64,
    /// What there is at a time of one example's values when each is given up after its last use.
    live: u64,
    /// The largest value of one example, whose gradient comes and goes.
    largest: u64,
}

impl Footprint {
    /// Of a built model with so many weights, weights that train, and numbers that the optimizer keeps.
    pub(crate) fn of(graph: &Graph, [weights, trainable, moments]: [usize; 3]) -> Footprint {
        let sizes: Vec<u64> = graph.value_shapes().iter().map(|shape| shape.len() as u64).collect();
        let mut last_use: Vec<usize> = vec![0; sizes.len()];
        for (i, node) in graph.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|&input| last_use[input] = i);
        }
        graph.outputs.iter().for_each(|&output| last_use[output] = graph.nodes.len());
        let live_at = |i: usize| {
            let made = ..=graph.inputs.len() + i;
            sizes[made].iter().zip(&last_use).filter(|&(_, &last)| last >= i).map(|(size, _)| size).sum()
        };
        Footprint {
            weights: weights as u64,
            trainable: trainable as u64,
            moments: moments as u64,
            values: sizes.iter().sum(),
            live: (0..graph.nodes.len()).map(live_at).max().unwrap_or(0),
            largest: sizes.iter().copied().max().unwrap_or(0),
        }
    }

    /// Bytes that inference takes with batches of this size.
    pub fn predict(&self, batch: usize) -> u64 {
        4 * (self.weights + batch as u64 * self.live)
    }

    /// Bytes that training takes with batches of this size, the data set aside. The optimizer's part is in it if the model
    /// is compiled.
    pub fn train(&self, batch: usize) -> u64 {
        // Each weight's gradient, and all of them side by side.
        let of_weights = self.weights + 2 * self.trainable + self.moments;
        4 * (of_weights + batch as u64 * (self.values + 2 * self.largest))
    }
}
