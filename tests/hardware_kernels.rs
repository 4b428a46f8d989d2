//! The kernels for hardware GPUs, run on whatever adapter there is: the same numbers as the CPU's.
//!
//! A process of its own, since the choice of kernels is the device's.

mod common;
#[path = "common/conv_cases.rs"]
mod conv_cases;

use common::{check, check_forward, random};
use tilegrad::{Device, Unary};

fn hardware_kernels() {
    if let Ok(device) = Device::gpu() {
        device.set_hardware_kernels(true);
    }
}

#[test]
fn convolutions() {
    hardware_kernels();
    for (name, x, w, options) in conv_cases::cases() {
        check(name, &conv_cases::inputs(x, w), |x| x[0].conv2d(&x[1], Some(&x[2]), &options));
    }
}

#[test]
fn products() {
    hardware_kernels();
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[3, 4], &[4, 5]),
        (&[33, 17], &[17, 65]),
        (&[2, 5, 7], &[2, 7, 3]),
        (&[64, 40], &[40, 36]),
        (&[4, 8], &[3, 8, 4]),
        (&[70, 64], &[64, 72]),
    ];
    for (a, b) in shapes {
        let inputs = [random(a, 1, -1.0, 1.0), random(b, 2, -1.0, 1.0)];
        check(&format!("matmul {a:?} {b:?}"), &inputs, |x| x[0].matmul(&x[1]));
    }
    let transposed = [random([12, 8], 1, -1.0, 1.0), random([20, 12], 2, -1.0, 1.0)];
    check("a^T b^T", &transposed, |x| x[0].transpose().matmul(&x[1].transpose()));
    let split = [random([36, 6000], 3, -1.0, 1.0), random([6000, 40], 4, -0.1, 0.1), random([40], 5, -1.0, 1.0)];
    check_forward("split with epilogue", &split, |x| x[0].linear(&x[1], Some(&x[2]), Some(Unary::Tanh)));
    let large = [random([1600, 64], 6, -1.0, 1.0), random([64, 1300], 7, -1.0, 1.0)];
    check_forward("the largest tile", &large, |x| x[0].matmul(&x[1]));
}
