//! Runs cases of JAX's gradients on tilegrad.
//!
//! An op is an arm in the file of its family, under the name that the manifest has; a new family is a new file with a line in
//! [`FAMILIES`]. `case.input("x")?` is an input, differentiable where the case says so; `case.index("i", n)?` holds integers.
//! Attributes are `case.int("axis", 0)` and so on. Every attribute must be read: one that is left over is reported as
//! unsupported, so that nothing is ignored silently; `case.ignore(&["layout"])` is for those that change nothing.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod case;
pub mod elementwise;
pub mod images;
pub mod indexing;
pub mod loss;
pub mod movement;
pub mod names;
pub mod norm;
pub mod optimizers;
pub mod reduce;
pub mod report;
pub mod run;

use case::{Case, Outcome};
use tilegrad::Tensor;

/// Builds an op of one family; `None` for an op of another family.
type Family = fn(&Case) -> Option<Outcome<Tensor>>;

/// Every family. The first that knows an op builds it.
pub const FAMILIES: [Family; 7] =
    [elementwise::build, reduce::build, movement::build, indexing::build, images::build, norm::build, loss::build];
