//! Matrix products: gradients, GPU against CPU, transposed and broadcast operands, fused epilogues, error texts.

mod common;

use common::{check, check_forward, check_with, panic_message, random};
use tilegrad::{Device, Tensor, Unary};

fn pair(a: &[usize], b: &[usize]) -> [Tensor; 2] {
    [random(a, 1, -1.0, 1.0), random(b, 2, -1.0, 1.0)]
}

#[test]
fn products_of_all_forms() {
    let shapes: [(&[usize], &[usize]); 9] = [
        (&[3, 4], &[4, 5]),
        (&[1, 1], &[1, 1]),
        (&[8, 12], &[12, 16]),
        (&[33, 17], &[17, 65]),
        (&[2, 5, 7], &[2, 7, 3]),
        (&[2, 3, 5, 4], &[4, 6]),
        (&[2, 1, 5, 4], &[3, 4, 6]),
        (&[4, 8], &[3, 8, 4]),
        (&[64, 40], &[40, 36]),
    ];
    for (a, b) in shapes {
        check(&format!("matmul {a:?} {b:?}"), &pair(a, b), |x| x[0].matmul(&x[1]));
    }
}

#[test]
fn transposed_operands() {
    for n in [3, 8] {
        check("a^T b", &pair(&[2, n, 12], &[2, n, 4]), |x| x[0].transpose().matmul(&x[1]));
        check("a b^T", &pair(&[n, 12], &[20, 12]), |x| x[0].matmul(&x[1].transpose()));
        check("a^T b^T", &pair(&[12, n], &[20, 12]), |x| x[0].transpose().matmul(&x[1].transpose()));
    }
}

#[test]
fn sizes_that_take_the_large_tiles_and_split_the_sum() {
    for (a, b) in
        [([128, 3136], [3136, 100]), ([512, 300], [300, 96]), ([36, 6000], [6000, 64]), ([10, 5001], [5001, 3])]
    {
        check_forward(&format!("matmul {a:?} {b:?}"), &pair(&a, &b), |x| x[0].matmul(&x[1]));
    }
    check_forward("a^T b", &pair(&[5000, 288], &[5000, 64]), |x| x[0].transpose().matmul(&x[1]));
    let [a, b] = pair(&[600, 4096], &[4096, 40]);
    let bias = random([40], 3, -1.0, 1.0);
    check_forward("split with epilogue", &[a, b, bias], |x| x[0].linear(&x[1], Some(&x[2]), Some(Unary::Tanh)));
}

#[test]
fn dense_layers_fuse_bias_and_activation() {
    for (m, k, n) in [(3, 5, 4), (5, 8, 7), (64, 48, 32)] {
        let inputs = [random([m, k], 4, -1.0, 1.0), random([k, n], 5, -1.0, 1.0), random([n], 6, -1.0, 1.0)];
        for activation in [None, Some(Unary::Relu), Some(Unary::Sigmoid), Some(Unary::Tanh)] {
            let name = format!("linear {m}x{k}x{n} {activation:?}");
            check_with(&name, &inputs, 1e-3, |x| x[0].linear(&x[1], Some(&x[2]), activation));
        }
    }
    check("no bias", &pair(&[2, 3, 5], &[5, 4]), |x| x[0].linear(&x[1], None, None));
}

#[test]
fn views_and_empty_products() {
    check("slices", &pair(&[6, 9], &[9, 8]), |x| x[0].slice(&[1..4, 2..7]).matmul(&x[1].slice(&[3..8, 1..7])));
    for device in common::devices() {
        let zero = |shape: &[usize]| Tensor::zeros(shape, &device);
        assert_eq!(zero(&[2, 0]).matmul(&zero(&[0, 3])).to_vec::<f32>().unwrap(), [0.0; 6]);
        assert_eq!(zero(&[0, 4]).matmul(&zero(&[4, 3])).shape()[..], [0, 3]);
        let bias = Tensor::new(&[1.0, -2.0], [2], &device);
        let y = zero(&[1, 0]).linear(&zero(&[0, 2]), Some(&bias), Some(Unary::Relu));
        assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 0.0]);
    }
}

#[test]
fn mistakes_say_what_clashes() {
    let zero = |shape: &[usize]| Tensor::zeros(shape, &Device::cpu());
    assert_eq!(
        panic_message(|| zero(&[32, 784]).matmul(&zero(&[512, 784]))),
        "matmul: inner axes differ (784 != 512)\n  lhs: [32, 784]   axis 1 = 784\n  rhs: [512, 784]   axis 0 = 512\n  \
         help: if rhs is stored as (out, in), use rhs.transpose()"
    );
    assert!(
        panic_message(|| zero(&[3]).matmul(&zero(&[3, 4]))).starts_with("matmul: lhs has 1 axes, expected at least 2")
    );
    assert!(
        panic_message(|| zero(&[2, 3, 4]).matmul(&zero(&[3, 4, 5]))).starts_with("matmul: batch axes do not broadcast")
    );
    let fused = panic_message(|| zero(&[2, 3]).linear(&zero(&[3, 4]), None, Some(Unary::Swish)));
    assert_eq!(
        fused,
        "matmul: Some(Swish) can't be fused, only Relu, Sigmoid and Tanh\n  help: apply it to the result"
    );
    let bias = panic_message(|| zero(&[2, 3]).linear(&zero(&[3, 4]), Some(&zero(&[3])), None));
    assert_eq!(bias, "matmul: bias has shape [3], expected [4]");
}
