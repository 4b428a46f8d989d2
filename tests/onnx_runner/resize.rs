//! Resizing of images.

use super::node::{Node, Outcome};
use super::value::Value;

pub fn run(_node: &Node) -> Option<Outcome<Vec<Value>>> {
    None
}
