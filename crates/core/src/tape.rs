//! The autograd tape: what an op leaves behind for backward, and backward itself. The file to read first.
//!
//! There is no tape object that records: each result of an op points at its [`Node`], and a node at the tensors it was
//! made from. Nodes are numbered as they are made, so a node's number is larger than those of everything it depends on,
//! and going through the nodes by descending number is a reverse topological order: backward needs no recursion.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::LocalKey;

use crate::op::Op;
use crate::shape::{Shape, ShapeError};
use crate::tape_listing::TapeEntry;
use crate::tensor::{Grad, Tensor};

/// The next number of a node or of a tensor that wants a gradient.
pub(crate) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

/// One application of an op: its inputs, and what backward needs of them.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    id: u64,
    op: Arc<dyn Op>,
    inputs: Vec<Input>,
    output: Shape,
    /// Kept without a pointer to this node, which would be a cycle; [`Node::output`] puts it back.
    saved_output: Option<Saved>,
    saved_aux: Vec<Saved>,
}

/// A tensor kept for backward, with the version of its memory at the time.
struct Saved {
    tensor: Tensor,
    version: u64,
}

impl Saved {
    fn new(tensor: &Tensor) -> Saved {
        Saved { tensor: tensor.clone(), version: tensor.storage().version() }
    }

    fn get(&self, op: &dyn Op, what: &str) -> &Tensor {
        assert!(
            self.version == self.tensor.storage().version(),
            "{}: {what} was updated in place after forward used it, so its gradient can't be computed\n  \
             help: call backward before the optimizer's step",
            op.name()
        );
        &self.tensor
    }
}

struct Input {
    shape: Shape,
    grad: Grad,
    saved: Option<Saved>,
}

impl Node {
    /// Puts an op's result on the tape: returns `y` with a pointer to its new node.
    pub(crate) fn record(op: Arc<dyn Op>, x: &[&Tensor], y: Tensor, aux: &[Tensor]) -> Tensor {
        let saves = op.saves();
        let inputs = x.iter().enumerate().map(|(i, &t)| Input {
            shape: *t.shape(),
            grad: t.grad_source().clone(),
            saved: saves.keeps_input(i).then(|| Saved::new(t)),
        });
        let node = Node(Arc::new(Inner {
            id: next_id(),
            inputs: inputs.collect(),
            output: *y.shape(),
            saved_output: saves.keeps_output().then(|| Saved::new(&y)),
            saved_aux: aux.iter().filter(|_| saves.keeps_aux()).map(Saved::new).collect(),
            op,
        }));
        y.with_grad(Grad::Node(node))
    }

    /// Input `i`, which the op said it [saves](Op::saves).
    ///
    /// # Panics
    /// When it was not saved, or was updated in place since.
    pub fn input(&self, i: usize) -> &Tensor {
        let op = &*self.0.op;
        match &self.0.inputs[i].saved {
            Some(saved) => saved.get(op, &format!("input {i}")),
            None => panic!("{}: backward asks for input {i}, which the op does not save", op.name()),
        }
    }

    /// The shape of input `i`.
    pub fn input_shape(&self, i: usize) -> &Shape {
        &self.0.inputs[i].shape
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.0.inputs.len()
    }

    /// Whether anyone wants the gradient of input `i`. A rule may skip the work otherwise.
    pub fn needs(&self, i: usize) -> bool {
        self.0.inputs[i].grad.is_some()
    }

    /// The output, which the op said it saves.
    ///
    /// # Panics
    /// When it was not saved, or was updated in place since.
    pub fn output(&self) -> Tensor {
        let op = &*self.0.op;
        match &self.0.saved_output {
            Some(y) => y.get(op, "the output").clone().with_grad(Grad::Node(self.clone())),
            None => panic!("{}: backward asks for the output, which the op does not save", op.name()),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    /// The nodes that made the inputs.
    pub(crate) fn parents(&self) -> impl Iterator<Item = &Node> {
        self.0.inputs.iter().filter_map(|i| i.grad.node())
    }

    /// A line of a printed tape.
    pub(crate) fn entry(&self) -> TapeEntry {
        let Inner { op, inputs, output, saved_output, saved_aux, .. } = &*self.0;
        let saved = inputs.iter().filter_map(|i| i.saved.as_ref());
        let saved = saved.chain(saved_output).chain(saved_aux);
        TapeEntry {
            op: op.name(),
            inputs: inputs.iter().map(|i| i.shape).collect(),
            output: *output,
            saved_bytes: saved.map(|s| s.tensor.len() * s.tensor.dtype().size()).sum(),
        }
    }

    /// Auxiliary output `i`, if the op saves them.
    ///
    /// # Panics
    /// When it was not saved, or was updated in place since.
    pub fn aux(&self, i: usize) -> &Tensor {
        let op = &*self.0.op;
        match self.0.saved_aux.get(i) {
            Some(saved) => saved.get(op, "an auxiliary output"),
            None => panic!("{}: backward asks for auxiliary output {i}, which the op does not save", op.name()),
        }
    }
}

impl Drop for Inner {
    /// Takes the chain of nodes apart in a loop: one that is 100,000 ops long would overflow the stack if each node
    /// dropped the one before it.
    fn drop(&mut self) {
        let mut queue = std::mem::take(&mut self.inputs);
        while let Some(input) = queue.pop() {
            let saved = input.saved.and_then(|saved| saved.tensor.into_grad());
            for grad in [Some(input.grad), saved].into_iter().flatten() {
                if let Grad::Node(Node(node)) = grad
                    && let Some(mut node) = Arc::into_inner(node)
                {
                    queue.append(&mut node.inputs);
                }
            }
        }
    }
}

thread_local! {
    static PAUSED: Cell<u32> = const { Cell::new(0) };
    /// How many backward passes run on this thread.
    static BACKWARD: Cell<u32> = const { Cell::new(0) };
}

/// Whether backward rules run on this thread. What they compare is constant by pieces, and its derivative is zero.
pub(crate) fn in_backward() -> bool {
    BACKWARD.get() > 0
}

/// Runs `f` with a counter one higher, also when it panics.
fn counted<R>(counter: &'static LocalKey<Cell<u32>>, f: impl FnOnce() -> R) -> R {
    struct Lower(&'static LocalKey<Cell<u32>>);
    impl Drop for Lower {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }
    counter.set(counter.get() + 1);
    let _lower = Lower(counter);
    f()
}

/// Whether ops are recorded on this thread: outside [`no_grad`].
pub fn is_recording() -> bool {
    PAUSED.get() == 0
}

/// Runs `f` without recording: for evaluation, and for anything that changes weights.
///
/// ```
/// use tilegrad_core::{Device, Tensor, no_grad};
/// let w = Tensor::new(&[2.0], [1], &Device::cpu()).requires_grad();
/// assert!(!no_grad(|| w.mul(&w)).needs_grad());
/// ```
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    counted(&PAUSED, f)
}

/// The gradients that [`Tensor::backward`] found, by the tensor they belong to.
#[derive(Debug, Default)]
pub struct Gradients(HashMap<u64, Tensor>);

impl Gradients {
    /// The gradient of a tensor made with [`Tensor::requires_grad`]; `None` when the loss does not depend on it.
    pub fn get(&self, x: &Tensor) -> Option<&Tensor> {
        self.0.get(&x.grad_source().leaf_id()?)
    }

    /// Number of tensors with a gradient.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the loss depended on no tensor that wants a gradient.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Back-propagates `dy`, the gradient of `y`, to every leaf that `y` depends on. Records what it computes if recording is
/// on, so that gradients can be differentiated again.
pub(crate) fn backward(y: &Tensor, dy: Tensor) -> Gradients {
    let mut gradients = Gradients::default();
    let mut pending: BTreeMap<u64, (Node, Tensor)> = BTreeMap::new();
    let mut send = |grad: &Grad, dx: Tensor, pending: &mut BTreeMap<u64, (Node, Tensor)>| match grad {
        Grad::None | Grad::Stopped(_) => {}
        Grad::Leaf(id) => add(gradients.0.remove(id), dx, |sum| gradients.0.insert(*id, sum)),
        Grad::Node(node) => {
            let sum = pending.remove(&node.0.id).map(|(_, sum)| sum);
            add(sum, dx, |sum| pending.insert(node.0.id, (node.clone(), sum)));
        }
    };
    send(y.grad_source(), dy, &mut pending);
    while let Some((_, (node, dy))) = pending.pop_last() {
        let dx = counted(&BACKWARD, || node.0.op.backward(&node, &dy));
        let (op, inputs) = (node.0.op.name(), node.0.inputs.len());
        assert!(
            dx.len() == inputs,
            "{op}: backward gives {} gradients, expected one for each of {inputs} inputs\n  \
             help: the entry of an input without a gradient is None",
            dx.len()
        );
        for (input, dx) in node.0.inputs.iter().zip(dx) {
            if let (Some(dx), true) = (dx, input.grad.is_some()) {
                if dx.shape().broadcast(&input.shape) != Ok(*dx.shape()) {
                    let error = ShapeError::new("backward gives a gradient of another shape than its input's");
                    panic!("{}", error.operand("x", &input.shape).operand("dx", dx.shape()).of(op));
                }
                let dx = dx.sum_to(&input.shape);
                send(&input.grad, dx, &mut pending);
            }
        }
    }
    gradients
}

fn add<R>(sum: Option<Tensor>, dx: Tensor, put: impl FnOnce(Tensor) -> R) {
    put(match sum {
        Some(sum) => sum.add(&dx),
        None => dx,
    });
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node {} {}", self.0.id, self.0.op.name())
    }
}
