//! A custom kernel is compiled once, however often it is made. Alone in its process: tests that ran beside it would be
//! counted too.

mod common;
#[path = "common/squareplus.rs"]
mod squareplus;

use squareplus::{Squareplus, kernel};
use tilegrad::Tensor;
use tilegrad::op::apply;

#[test]
fn a_kernel_is_compiled_at_its_first_launch() {
    let Some(device) = common::gpu() else { return };
    let x = Tensor::new(&[1.5], [1], &device);
    let pipelines = |expected: u64, b: f32| {
        let before = device.stats().pipelines_created;
        assert_eq!(apply(Squareplus { b, kernel: kernel() }, &[&x]).item().unwrap(), 0.5 * (1.5 + (2.25 + b).sqrt()));
        assert_eq!(device.stats().pipelines_created - before, expected);
    };
    kernel();
    pipelines(1, 4.0);
    // Parameters are no part of it, and neither is the value that was made.
    pipelines(0, 4.0);
    pipelines(0, 10.0);
}
