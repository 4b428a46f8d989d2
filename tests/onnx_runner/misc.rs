//! Constants, the identity, and what belongs to no other family.

use super::node::{Node, Outcome};
use super::value::Value;

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "Constant" => constant(node),
        "Identity" => node.input(0).map(|x| vec![x.clone()]),
        _ => return None,
    })
}

fn constant(node: &Node) -> Outcome<Vec<Value>> {
    Ok(node.constant("value")?.into_iter().collect())
}
