//! Products of 16-bit floats, for the tests of both sets of kernels.

use tilegrad::{Conv2dOptions, ConvAlgorithm, DType, Tensor, Unary};

use crate::common::{devices, nmse, random};
use crate::conv_cases;

pub(crate) fn floats(x: &Tensor) -> Vec<f32> {
    x.to_vec().expect("readback")
}

/// The nearest halves, as `f32`.
pub(crate) fn rounded(x: &Tensor) -> Tensor {
    x.cast(DType::F16).cast(DType::F32)
}

/// Result and gradients of `f`, at operands that are rounded (`half`) or `f32` with the same numbers.
fn run(inputs: &[Tensor], half: bool, f: impl Fn(&Tensor, &Tensor, &Tensor) -> Tensor) -> Vec<Vec<f32>> {
    let leaves: Vec<Tensor> = inputs.iter().map(Tensor::requires_grad).collect();
    let operand = |x: &Tensor| if half { x.cast(DType::F16) } else { x.clone() };
    let y = f(&operand(&leaves[0]), &operand(&leaves[1]), &leaves[2]);
    assert_eq!(y.dtype(), DType::F32);
    // A cotangent that is not changed by rounding: products with it are then exact in both.
    let c = rounded(&random(y.shape(), 99, -1.0, 1.0)).to(y.device()).expect("upload");
    let gradients = y.backward_with(&c);
    let mut found = vec![floats(&y)];
    found.extend(leaves.iter().map(|x| gradients.get(x).map_or(Vec::new(), floats)));
    found
}

/// Holds a product of halves, and its gradients, to the same product in `f32` on the CPU.
fn check(name: &str, inputs: &[Tensor], f: impl Fn(&Tensor, &Tensor, &Tensor) -> Tensor) {
    let inputs = [rounded(&inputs[0]), rounded(&inputs[1]), inputs[2].clone()];
    let want = run(&inputs, false, &f);
    for device in devices() {
        let there: Vec<Tensor> = inputs.iter().map(|x| x.to(&device).expect("upload")).collect();
        let got = run(&there, true, &f);
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            assert_eq!(got.len(), want.len());
            let error = nmse(got, want);
            assert!(error <= 1e-11, "{name}: result {i} on {device} is off by NMSE {error:.2e}");
        }
        assert_eq!(got, run(&there, true, &f), "{name}: not the same bits again on {device}");
    }
}

pub(crate) fn products() {
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[3, 4], &[4, 5]),
        (&[33, 17], &[17, 65]),
        (&[2, 5, 7], &[2, 7, 3]),
        (&[4, 8], &[3, 8, 4]),
        (&[70, 64], &[64, 72]),
        (&[5, 0], &[0, 3]),
    ];
    for (a, b) in shapes {
        let n = *b.last().unwrap();
        let inputs = [random(a, 1, -1.0, 1.0), random(b, 2, -1.0, 1.0), random([n], 3, -1.0, 1.0)];
        check(&format!("{a:?} by {b:?}"), &inputs, |a, b, _| a.matmul(b));
        if b.len() == 2 {
            check(&format!("relu of {a:?} by {b:?}"), &inputs, |a, b, bias| a.linear(b, Some(bias), Some(Unary::Relu)));
        }
    }
    let inputs = [random([12, 8], 1, -1.0, 1.0), random([20, 12], 2, -1.0, 1.0), random([20], 3, -1.0, 1.0)];
    check("a^T b^T", &inputs, |a, b, bias| a.transpose().linear(&b.transpose(), Some(bias), None));
    let part = |x: &Tensor| x.slice(&[1..8, 1..6]);
    let inputs = [random([9, 7], 1, -1.0, 1.0), random([9, 7], 2, -1.0, 1.0), random([7], 3, -1.0, 1.0)];
    check("parts of matrices", &inputs, |a, b, bias| part(a).linear(&part(b).transpose(), Some(bias), None));
}

pub(crate) fn convolutions() {
    for (name, x, w, options) in conv_cases::cases() {
        let relu = Conv2dOptions { activation: Some(Unary::Relu), ..options };
        check(name, &conv_cases::inputs(x, w), |x, w, bias| x.conv2d(w, Some(bias), &relu));
        let columns = Conv2dOptions { algorithm: ConvAlgorithm::Im2col, ..options };
        check(name, &conv_cases::inputs(x, w), |x, w, bias| x.conv2d(w, Some(bias), &columns));
    }
}
