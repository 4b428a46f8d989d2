//! A tape to look at: the ops that led to a tensor, with shapes and the memory they hold.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use crate::shape::Shape;
use crate::tape::Node;
use crate::tensor::Tensor;

/// What leads to a tensor, oldest first: [`Tensor::tape`]. `Display` prints a line for each op.
#[derive(Debug)]
pub struct Tape(Vec<TapeEntry>);

/// One op on a [`Tape`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TapeEntry {
    /// The op's name.
    pub op: &'static str,
    /// Shapes of its inputs.
    pub inputs: Vec<Shape>,
    /// Shape of its output.
    pub output: Shape,
    /// Bytes kept alive for backward.
    pub saved_bytes: usize,
}

impl Tape {
    pub(crate) fn of(y: &Tensor) -> Tape {
        let mut found: BTreeMap<u64, Node> = BTreeMap::new();
        let mut queue: Vec<Node> = y.grad_source().node().cloned().into_iter().collect();
        while let Some(node) = queue.pop() {
            if let Entry::Vacant(place) = found.entry(node.id()) {
                queue.extend(node.parents().cloned());
                place.insert(node);
            }
        }
        Tape(found.values().map(Node::entry).collect())
    }

    /// The ops, oldest first.
    pub fn entries(&self) -> &[TapeEntry] {
        &self.0
    }
}

impl fmt::Display for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, e) in self.0.iter().enumerate() {
            let inputs: Vec<String> = e.inputs.iter().map(|s| s.to_string()).collect();
            writeln!(f, "{i:>4} {:<24} {} -> {}   {} bytes saved", e.op, inputs.join(" "), e.output, e.saved_bytes)?;
        }
        let total: usize = self.0.iter().map(|e| e.saved_bytes).sum();
        write!(
            f,
            "{} ops, {total} bytes saved for backward (tensors that several ops save count for each)",
            self.0.len()
        )
    }
}
