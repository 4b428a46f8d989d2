//! Runs cases of ONNX's backend tests on tilegrad.
//!
//! How to add an operator:
//! 1. Find the file of its family below; a new family is a new file with a line in [`FAMILIES`].
//! 2. Add an arm to its `run`: `"Abs" => unary(node, Tensor::abs)`. `None` means "not of this family".
//! 3. Inputs are `node.tensor(0)?`, `node.optional(2)`, and `node.ints_input(1)?` for shapes and axes, which are read to
//!    the host. Attributes are `node.int("axis", 0)` and so on, with the default of ONNX's specification.
//! 4. Every attribute of a node must be read: one that is left over is reported as unsupported, so nothing is ignored
//!    silently. `node.ignore("seed", why)` is for those that change nothing.
//! 5. Return `Value`s: `Value::of(tensor)` takes the element type from the tensor, `Value::of_type(tensor, I64)` names it.
//! 6. What tilegrad can't do is `Err(unsupported("..."))`, anything wrong `Err(failed("..."))`; a panic counts as failed.
//! 7. `TILEGRAD_ONNX_ONLY=Conv cargo test --test onnx -- --nocapture` runs the cases whose name or operator contains
//!    `Conv`; `layout.rs` has what images and axes have in common.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod binary;
pub mod case;
pub mod compare;
pub mod conv;
pub mod dropout;
pub mod einsum;
pub mod elementwise;
pub mod fixture;
pub mod indexing;
pub mod layout;
pub mod logic;
pub mod loss;
pub mod misc;
pub mod movement;
pub mod node;
pub mod norm;
pub mod pool;
pub mod random;
pub mod reduce;
pub mod report;
pub mod resize;
pub mod run;
pub mod training;
pub mod unique;
pub mod value;
pub mod window;

use node::{Node, Outcome};
use value::Value;

/// Runs a node of one family of operators; `None` for an operator of another family.
type Family = fn(&Node) -> Option<Outcome<Vec<Value>>>;

/// Every family. The first that knows an operator runs it.
pub const FAMILIES: &[Family] = &[
    elementwise::run,
    binary::run,
    logic::run,
    reduce::run,
    movement::run,
    indexing::run,
    conv::run,
    pool::run,
    norm::run,
    loss::run,
    dropout::run,
    resize::run,
    training::run,
    einsum::run,
    unique::run,
    window::run,
    misc::run,
];
