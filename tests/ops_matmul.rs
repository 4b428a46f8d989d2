//! Matrix products: gradients, GPU against CPU, transposed and broadcast operands, fused epilogues, error texts.

mod common;

use common::{check, check_forward, check_with, devices, panic_message, random};
use tilegrad::{Device, GemmOptions, Tensor, Unary};

fn pair(a: &[usize], b: &[usize]) -> [Tensor; 2] {
    [random(a, 1, -1.0, 1.0), random(b, 2, -1.0, 1.0)]
}

#[test]
fn products_of_all_forms() {
    let shapes: [(&[usize], &[usize]); 19] = [
        (&[3, 4], &[4, 5]),
        (&[1, 1], &[1, 1]),
        (&[8, 12], &[12, 16]),
        (&[33, 17], &[17, 65]),
        (&[2, 5, 7], &[2, 7, 3]),
        (&[2, 3, 5, 4], &[4, 6]),
        (&[2, 1, 5, 4], &[3, 4, 6]),
        (&[4, 8], &[3, 8, 4]),
        (&[64, 40], &[40, 36]),
        // Axes that broadcast from either side, or from both.
        (&[1, 3, 4], &[5, 4, 2]),
        (&[5, 3, 4], &[1, 4, 2]),
        (&[2, 1, 3, 4], &[1, 5, 4, 2]),
        (&[3, 4], &[2, 2, 4, 5]),
        (&[2, 3, 1, 4], &[4, 3]),
        // Vectors: rows on the left, columns on the right.
        (&[4], &[4]),
        (&[4], &[4, 3]),
        (&[3, 4], &[4]),
        (&[4], &[2, 3, 4, 5]),
        (&[2, 3, 5, 4], &[4]),
    ];
    for (a, b) in shapes {
        check(&format!("matmul {a:?} {b:?}"), &pair(a, b), |x| x[0].matmul(&x[1]));
    }
}

#[test]
fn shapes_are_numpys() {
    let shape = |a: &[usize], b: &[usize]| {
        let [a, b] = pair(a, b);
        a.matmul(&b).shape().to_vec()
    };
    assert!(shape(&[4], &[4]).is_empty());
    assert_eq!(shape(&[4], &[4, 3]), [3]);
    assert_eq!(shape(&[3, 4], &[4]), [3]);
    assert_eq!(shape(&[4], &[2, 3, 4, 5]), [2, 3, 5]);
    assert_eq!(shape(&[2, 3, 5, 4], &[4]), [2, 3, 5]);
    assert_eq!(shape(&[2, 1, 3, 4], &[5, 4, 2]), [2, 5, 3, 2]);
}

#[test]
fn second_derivatives() {
    for (a, b) in [([2, 3, 4].as_slice(), [4, 2].as_slice()), (&[4], &[2, 4, 3]), (&[2, 4], &[4])] {
        for wrt in 0..2 {
            check(&format!("gradient {wrt} of {a:?} {b:?}"), &pair(a, b), |x| {
                let x: Vec<Tensor> =
                    x.iter().map(|x| if x.needs_grad() { x.clone() } else { x.requires_grad() }).collect();
                let y = x[0].matmul(&x[1]);
                y.mul(&y).sum().grad(&[&x[wrt]])[0].clone().expect("the loss depends on both")
            });
        }
    }
}

#[test]
fn general_products() {
    let d = Device::cpu();
    for (transpose_a, transpose_b) in [(false, false), (true, false), (false, true), (true, true)] {
        let a = if transpose_a { [4, 3] } else { [3, 4] };
        let b = if transpose_b { [5, 4] } else { [4, 5] };
        for c in [[3, 5].as_slice(), &[5], &[1, 5], &[3, 1], &[1], &[]] {
            let inputs = [random(a, 1, -1.0, 1.0), random(b, 2, -1.0, 1.0), random(c, 3, -1.0, 1.0)];
            for (alpha, beta) in [(1.0, 1.0), (0.5, -2.0), (1.0, 0.25)] {
                let options = GemmOptions { alpha, beta, transpose_a, transpose_b };
                check(&format!("{options:?} with c of {c:?}"), &inputs, |x| x[0].gemm(&x[1], Some(&x[2]), &options));
            }
        }
    }
    let (a, c) = (Tensor::ones([2, 2], &d), Tensor::full(f32::NAN, [2], &d));
    let unused = GemmOptions { alpha: 3.0, beta: 0.0, ..Default::default() };
    assert_eq!(a.gemm(&a, Some(&c), &unused).to_vec::<f32>().unwrap(), [6.0; 4]);
    assert_eq!(a.gemm(&a, None, &unused).to_vec::<f32>().unwrap(), [6.0; 4]);
}

// A sum goes on in steps of four; what lies past its end is as good as not there, infinity or not.
#[test]
fn infinity_and_nan_pass_as_on_the_cpu() {
    let bits = |x: &Tensor| -> Vec<u32> {
        let values = x.to_vec::<f32>().expect("readback");
        values.iter().map(|v| if v.is_nan() { f32::NAN.to_bits() } else { v.to_bits() }).collect()
    };
    for (m, k, n) in [(1, 1, 1), (3, 1, 4), (4, 2, 4), (5, 3, 7), (8, 5, 8), (4, 8, 12), (9, 13, 33)] {
        for special in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -0.0, 0.0] {
            for (operand, last) in [(0, false), (0, true), (1, false), (1, true)] {
                let (mut a, mut b) = (vec![1.0; m * k], vec![-1.0; k * n]);
                let target = if operand == 0 { &mut a } else { &mut b };
                let at = if last { target.len() - 1 } else { 0 };
                target[at] = special;
                let run = |device: &Device| {
                    let (a, b) = (Tensor::new(&a, [m, k], device), Tensor::new(&b, [k, n], device));
                    let turned = [a.transpose().contiguous().transpose(), b.transpose().contiguous().transpose()];
                    [bits(&a.matmul(&b)), bits(&turned[0].matmul(&turned[1]))]
                };
                let want = run(&Device::cpu());
                let case = format!("{special} in operand {operand} of {m}x{k}x{n}");
                devices().iter().for_each(|device| assert_eq!(run(device), want, "{case} on {device}"));
            }
        }
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
    let [a, b] = pair(&[5000, 36], &[36, 40]);
    let inputs = [a, b, random([40], 3, -1.0, 1.0)];
    check("gradients over many rows", &inputs, |x| x[0].linear(&x[1], Some(&x[2]), None));
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
    let fixed = [random([6, 5], 4, -1.0, 1.0), random([5, 3], 5, -1.0, 1.0), random([3], 6, -1.0, 1.0)];
    for wanted in [vec![1], vec![2], vec![0, 2], vec![1, 2]] {
        let some: Vec<Tensor> = wanted.iter().map(|&i| fixed[i].clone()).collect();
        check(&format!("gradients of {wanted:?}"), &some, |some| {
            let mut all = fixed.clone().map(|x| x.to(some[0].device()).expect("upload"));
            wanted.iter().zip(some).for_each(|(&i, x)| all[i] = x.clone());
            all[0].linear(&all[1], Some(&all[2]), None)
        });
    }
}

#[test]
fn views_and_empty_products() {
    check("slices", &pair(&[6, 9], &[9, 8]), |x| x[0].slice(&[1..4, 2..7]).matmul(&x[1].slice(&[3..8, 1..7])));
    for device in devices() {
        let zero = |shape: &[usize]| Tensor::zeros(shape, &device);
        assert_eq!(zero(&[2, 0]).matmul(&zero(&[0, 3])).to_vec::<f32>().unwrap(), [0.0; 6]);
        assert_eq!(zero(&[0, 4]).matmul(&zero(&[4, 3])).shape()[..], [0, 3]);
        assert_eq!(zero(&[0]).matmul(&zero(&[0])).to_vec::<f32>().unwrap(), [0.0]);
        assert_eq!(zero(&[2, 0]).matmul(&zero(&[0])).to_vec::<f32>().unwrap(), [0.0; 2]);
        assert_eq!(zero(&[2, 3, 0]).matmul(&zero(&[2, 0, 1])).to_vec::<f32>().unwrap(), [0.0; 6]);
        assert_eq!(zero(&[0, 3, 4]).matmul(&zero(&[4, 2])).shape()[..], [0, 3, 2]);
        assert_eq!(zero(&[1, 3, 4]).matmul(&zero(&[0, 4, 2])).shape()[..], [0, 3, 2]);
        assert_eq!(zero(&[2, 3, 4]).matmul(&zero(&[2, 4, 0])).shape()[..], [2, 3, 0]);
        // A product of nothing has a gradient of nothing, and of zeros where the other operand is not empty.
        let (a, b) = (Tensor::ones([1, 3, 4], &device).requires_grad(), zero(&[0, 4, 2]).requires_grad());
        let gradients = a.matmul(&b).backward();
        assert_eq!(gradients.get(&a).unwrap().to_vec::<f32>().unwrap(), [0.0; 12], "{device}");
        assert_eq!(gradients.get(&b).unwrap().len(), 0);
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
    assert_eq!(
        panic_message(|| zero(&[3]).matmul(&zero(&[4]))),
        "matmul: inner axes differ (3 != 4)\n  lhs: [3]   axis 0 = 3\n  rhs: [4]   axis 0 = 4"
    );
    assert_eq!(
        panic_message(|| zero(&[3, 4]).matmul(&zero(&[3]))),
        "matmul: inner axes differ (4 != 3)\n  lhs: [3, 4]   axis 1 = 4\n  rhs: [3]   axis 0 = 3\n  \
         help: if lhs is stored as (k, m), use lhs.transpose()"
    );
    assert_eq!(
        panic_message(|| zero(&[]).matmul(&zero(&[3]))),
        "matmul: lhs is a single number\n  lhs: []\n  rhs: [3]\n  help: use `mul` to scale"
    );
    assert_eq!(
        panic_message(|| zero(&[2, 3, 4]).matmul(&zero(&[3, 4, 5]))),
        "matmul: batch axes do not broadcast\n  lhs: [2, 3, 4]\n  rhs: [3, 4, 5]"
    );
    let wide = |shape: &[usize]| zero(&[1, 1]).broadcast_to(shape);
    assert_eq!(
        panic_message(|| wide(&[1 << 40, 1]).matmul(&wide(&[1, 1 << 40]))),
        "matmul: [1099511627776, 1099511627776] has more elements than memory could hold (2305843009213693951)\n  \
         lhs: [1099511627776, 1]\n  rhs: [1, 1099511627776]"
    );
    let gemm = |a: &[usize], b: &[usize], c: &[usize]| {
        panic_message(|| zero(a).gemm(&zero(b), Some(&zero(c)), &GemmOptions::default()))
    };
    assert_eq!(
        gemm(&[2, 3], &[3], &[1]),
        "gemm: b has 1 axes, expected 2\n  a: [2, 3]\n  b: [3]\n  help: use `matmul` for batches and vectors"
    );
    assert_eq!(
        gemm(&[2, 3], &[4, 3], &[1]),
        "gemm: inner axes differ (3 != 4)\n  lhs: [2, 3]   axis 1 = 3\n  rhs: [4, 3]   axis 0 = 4\n  \
         help: if rhs is stored as (out, in), use rhs.transpose()"
    );
    assert_eq!(gemm(&[2, 3], &[3, 4], &[2]), "gemm: c does not broadcast to [2, 4]\n  c: [2]");
    assert_eq!(gemm(&[2, 3], &[3, 4], &[1, 2, 4]), "gemm: c does not broadcast to [2, 4]\n  c: [1, 2, 4]");
    let (whole, twice) = (Tensor::new(&[1i32], [1], &Device::cpu()), GemmOptions { beta: 2.0, ..Default::default() });
    assert_eq!(
        panic_message(|| zero(&[2, 3]).gemm(&zero(&[3, 4]), Some(&whole), &twice)),
        "affine: input 0 is i32, expected f32"
    );
    assert_eq!(
        panic_message(|| zero(&[2, 0]).linear(&zero(&[0, 1]), Some(&whole), None)),
        "add: element types differ (f32 != i32)\n  help: convert one with .cast(DType::F32)"
    );
    let fused = panic_message(|| zero(&[2, 3]).linear(&zero(&[3, 4]), None, Some(Unary::Swish)));
    assert_eq!(
        fused,
        "matmul: Some(Swish) can't be fused, only Relu, Sigmoid and Tanh\n  help: apply it to the result"
    );
    let bias = panic_message(|| zero(&[2, 3]).linear(&zero(&[3, 4]), Some(&zero(&[3])), None));
    assert_eq!(bias, "matmul: bias has shape [3], expected [4]");
}
