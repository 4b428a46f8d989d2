//! Every op of tilegrad, a row each, with inputs to try it at. `tests/gradcheck.rs` holds the gradients of all rows to finite
//! differences, `tests/parity.rs` holds the GPU to the CPU at NaN and infinity, and docs/ops.md is made from the rows.
//!
//! How to add an op: a row in the file of its family. The name is that of the method. Inputs are `f32` tensors on the CPU, small
//! and without kinks near them; labels, indices and conditions are made inside the function, on the inputs' device. The
//! function returns one tensor. If it returns integers or conditions there is no gradient, and they are compared as numbers.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod conv;
pub mod elementwise;
pub mod indexing;
pub mod loss;
pub mod movement;
pub mod norm;
pub mod pool;
pub mod reduce;
pub mod training;
pub mod unary;

use tilegrad::Tensor;

/// An op.
pub struct Row {
    /// The method.
    pub op: &'static str,
    /// Where it is tried.
    pub inputs: Vec<Tensor>,
    /// The op.
    pub f: fn(&[Tensor]) -> Tensor,
    /// Whether it has a gradient, and the gradient has one; else the result is a constant to the tape.
    pub differentiable: bool,
    /// Step of the finite differences.
    pub step: f32,
    /// Whether NaN and infinity may be put into the inputs.
    pub special: bool,
    /// ONNX operators whose cases are about this op.
    pub onnx: &'static [&'static str],
    /// Ops of the JAX cases that are about this op.
    pub jax: &'static [&'static str],
    /// Names of the registry that this row runs and that leave no trace on a tape: ops without a gradient.
    pub covers: &'static [&'static str],
}

/// A row of an op that can be differentiated, twice too.
pub fn row(op: &'static str, inputs: Vec<Tensor>, f: fn(&[Tensor]) -> Tensor) -> Row {
    Row { op, inputs, f, differentiable: true, step: 1e-3, special: true, onnx: &[], jax: &[], covers: &[] }
}

impl Row {
    /// It has no gradient. `covers` are the names of the registry that it runs.
    pub fn constant(self, covers: &'static [&'static str]) -> Row {
        Row { differentiable: false, covers, ..self }
    }

    /// Finite differences with another step: 1e-2 for what is linear, where rounding would be seen with less.
    pub fn step(self, step: f32) -> Row {
        Row { step, ..self }
    }

    /// NaN and infinity can't be inputs, because of `_why`.
    pub fn finite_only(self, _why: &str) -> Row {
        Row { special: false, ..self }
    }

    /// The ONNX operators that it stands for.
    pub fn onnx(self, onnx: &'static [&'static str]) -> Row {
        Row { onnx, ..self }
    }

    /// The ops of the JAX cases that it stands for.
    pub fn jax(self, jax: &'static [&'static str]) -> Row {
        Row { jax, ..self }
    }
}

/// Every row: the name of the family, and its ops.
pub fn families() -> Vec<(&'static str, Vec<Row>)> {
    vec![
        ("Functions of one tensor", unary::rows()),
        ("Functions of two tensors, conditions, types", elementwise::rows()),
        ("Reductions, scans, order", reduce::rows()),
        ("Movement", movement::rows()),
        ("Indexing", indexing::rows()),
        ("Products and convolutions", conv::rows()),
        ("Pooling", pool::rows()),
        ("Normalisation", norm::rows()),
        ("Losses", loss::rows()),
        ("Updates in place", training::rows()),
    ]
}
