//! A forward pass through a graph.
//!
//! Where one layer ends in an activation that the only layer behind it can apply in its own kernel, that one does; and where
//! the loss can, the loss does.

use tilegrad_core::Tensor;

use crate::activation::Activation;
use crate::graph::Graph;
use crate::layer::Context;

/// What a forward pass ended with.
#[derive(Debug)]
pub(crate) enum Output {
    /// What the last activation would be applied to.
    Logits(Tensor),
    /// The layer's output.
    Values(Tensor),
}

impl Output {
    pub(crate) fn tensor(&self) -> &Tensor {
        match self {
            Output::Logits(tensor) | Output::Values(tensor) => tensor,
        }
    }
}

/// A value to compute, and the activation in front of which the pass may stop if the value's layer ends in it.
pub(crate) type Wanted = (usize, Option<Activation>);

/// The places where a value is used.
#[derive(Clone, Default)]
struct Uses {
    count: usize,
    /// The node that uses it last.
    node: Option<usize>,
    wanted: bool,
}

impl Graph {
    /// Computes values for a batch of each input. Nothing else is computed than what they need, and a value is given up when
    /// the last that needs it is there.
    pub(crate) fn run(&self, inputs: &[&Tensor], wanted: &[Wanted], context: &mut Context<'_>) -> Vec<Output> {
        let mut uses = self.uses(wanted);
        let mut values: Vec<Option<Tensor>> = inputs.iter().map(|&x| Some(x.clone())).collect();
        values.resize(self.inputs.len() + self.nodes.len(), None);
        // Whether a value lacks its layer's activation.
        let mut headless = vec![false; values.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            let value = self.inputs.len() + i;
            if uses[value].count == 0 {
                continue;
            }
            let x: Vec<Tensor> = node.inputs.iter().map(|&input| values[input].clone().expect("made before")).collect();
            for &input in &node.inputs {
                uses[input].count -= 1;
                if uses[input].count == 0 && !uses[input].wanted {
                    values[input] = None;
                }
            }
            let layer = self.layers[node.layer].layer();
            values[value] = Some(if node.inputs.len() == 1 && headless[node.inputs[0]] {
                layer.forward_after(&x[0], context)
            } else if x.len() == 1 && self.stops_early(value, &uses[value], wanted) {
                headless[value] = true;
                layer.forward_headless(&x[0], context)
            } else {
                layer.merge(&x, context)
            });
        }
        let output = |&(value, _): &Wanted| {
            let tensor = values[value].clone().expect("wanted values are kept");
            if headless[value] { Output::Logits(tensor) } else { Output::Values(tensor) }
        };
        wanted.iter().map(output).collect()
    }

    /// How often each value is used on the way to those that are wanted.
    fn uses(&self, wanted: &[Wanted]) -> Vec<Uses> {
        let mut uses = vec![Uses::default(); self.inputs.len() + self.nodes.len()];
        for &(value, _) in wanted {
            uses[value].count += 1;
            uses[value].wanted = true;
        }
        for (i, node) in self.nodes.iter().enumerate().rev() {
            if uses[self.inputs.len() + i].count > 0 {
                for &input in &node.inputs {
                    uses[input].count += 1;
                    uses[input].node.get_or_insert(i);
                }
            }
        }
        uses
    }

    /// Whether the only use of a value applies its layer's activation itself.
    fn stops_early(&self, value: usize, uses: &Uses, wanted: &[Wanted]) -> bool {
        let head = self.maker(value).and_then(|entry| entry.layer().head());
        if head.is_none() || uses.count != 1 {
            return false;
        }
        if uses.wanted {
            return wanted.contains(&(value, head));
        }
        let Some(user) = uses.node else { return false };
        // The loss comes first: a layer that is to stop early itself does not take over from the one before.
        let value_of_user = self.inputs.len() + user;
        let layer = self.layers[self.nodes[user].layer].layer();
        let stops =
            wanted.iter().any(|&(value, head)| value == value_of_user && head.is_some() && head == layer.head());
        layer.absorbs() == head && self.nodes[user].inputs.len() == 1 && !stops
    }
}
