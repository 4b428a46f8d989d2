//! Every differentiable op by enumeration: gradients and second derivatives of all rows of the catalogue against finite
//! differences, on the GPU against the CPU, for strided inputs; and no op of the registry without a row.

mod catalogue;
mod common;

use std::collections::BTreeSet;

use catalogue::{Row, families};
use common::{check_forward, check_with, random};
use tilegrad::{DType, Tensor};

fn rows() -> impl Iterator<Item = Row> {
    families().into_iter().flat_map(|(_, rows)| rows)
}

/// The op with a result of numbers, whatever it returns.
fn forward(row: &Row, x: &[Tensor]) -> Tensor {
    (row.f)(x).cast(DType::F32)
}

/// The gradients of all inputs under a fixed cotangent, as one vector that can be differentiated again.
fn gradients(row: &Row, x: &[Tensor]) -> Tensor {
    let leaves: Vec<Tensor> = x.iter().map(|x| if x.needs_grad() { x.clone() } else { x.requires_grad() }).collect();
    let y = (row.f)(&leaves);
    let cotangent = random(y.shape(), 77, -1.0, 1.0).to(y.device()).expect("upload");
    let found = y.mul(&cotangent).sum().grad(&leaves.iter().collect::<Vec<_>>());
    let flat: Vec<Tensor> = found.into_iter().flatten().map(|dx| dx.reshape([dx.len()])).collect();
    Tensor::concat(&flat.iter().collect::<Vec<_>>(), 0)
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for row in rows() {
        match row.differentiable {
            true => check_with(row.op, &row.inputs, row.step, row.f),
            false => check_forward(row.op, &row.inputs, |x| forward(&row, x)),
        }
    }
}

#[test]
fn second_derivatives_are_those_of_finite_differences() {
    for row in rows().filter(|row| row.differentiable) {
        check_with(&format!("gradient of {}", row.op), &row.inputs, row.step, |x| gradients(&row, x));
    }
}

#[test]
fn what_has_no_gradient_is_a_constant() {
    for row in rows().filter(|row| !row.differentiable) {
        let leaves: Vec<Tensor> = row.inputs.iter().map(Tensor::requires_grad).collect();
        assert!(!(row.f)(&leaves).needs_grad(), "{} is recorded", row.op);
    }
}

#[test]
fn every_op_of_the_registry_has_a_row() {
    let mut with_gradient = BTreeSet::new();
    let mut without: BTreeSet<&str> = BTreeSet::new();
    for row in rows() {
        without.extend(row.covers);
        if row.differentiable {
            let leaves: Vec<Tensor> = row.inputs.iter().map(Tensor::requires_grad).collect();
            // What backward runs is on the tape of the gradients.
            for tape in [(row.f)(&leaves).tape(), gradients(&row, &leaves).tape()] {
                with_gradient.extend(tape.entries().iter().map(|entry| entry.op));
            }
        }
    }
    for family in tilegrad::ops::ALL {
        for name in family.names {
            assert!(
                with_gradient.contains(name) || without.contains(name),
                "{name} is in the registry and in no row of tests/catalogue"
            );
            assert!(
                family.differentiable || !with_gradient.contains(name),
                "{name} has a gradient, and its family says that it has none"
            );
        }
    }
}

#[test]
fn no_op_has_two_rows() {
    let names: Vec<&str> = rows().map(|row| row.op).collect();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "{names:?}");
}
