//! Softmax, cross-entropy and correct predictions: gradients, GPU against CPU, large logits, labels, error texts.

mod common;

use common::{check, check_forward, devices, panic_message, random};
use tilegrad::{Device, Tensor};

fn close(got: &Tensor, want: &[f32], tolerance: f32) {
    let got = got.to_vec::<f32>().unwrap();
    let same = |(g, w): (&f32, &f32)| (g - w).abs() <= tolerance || g == w || (g.is_nan() && w.is_nan());
    assert!(got.len() == want.len() && got.iter().zip(want).all(same), "got {got:?}, expected {want:?}");
}

/// One-hot rows on the labels' device.
fn rows(labels: &[u32], classes: usize, device: &Device) -> Tensor {
    let row = |&label: &u32| (0..classes).map(move |c| if c == label as usize { 1.0 } else { 0.0 });
    Tensor::new(&labels.iter().flat_map(row).collect::<Vec<f32>>(), [labels.len(), classes], device)
}

#[test]
fn softmax_along_any_axis() {
    let x = random([2, 5, 3], 1, -2.0, 2.0);
    let one = std::slice::from_ref(&x);
    for axis in [-1, 0, 1, 2] {
        check(&format!("softmax {axis}"), one, |x| x[0].softmax(axis));
        check(&format!("log_softmax {axis}"), one, |x| x[0].log_softmax(axis));
    }
    check("softmax of a long row", &[random([3, 1000], 2, -3.0, 3.0)], |x| x[0].softmax(-1));
    for device in devices() {
        let x = Tensor::new(&[1.0, 2.0, 3.0], [3], &device);
        close(&x.softmax(0), &[0.090_030_57, 0.244_728_48, 0.665_240_94], 1e-6);
        close(&x.log_softmax(0), &[-2.407_606, -1.407_606, -0.407_606], 2e-6);
        assert_eq!(Tensor::zeros([0, 4], &device).softmax(-1).len(), 0);
        assert_eq!(Tensor::zeros([4, 0], &device).softmax(-1).len(), 0);
        close(&Tensor::zeros([2, 1], &device).softmax(-1), &[1.0, 1.0], 0.0);
    }
}

// Rows past what llvmpipe runs in one loop (65,535 rounds), which are split.
#[test]
fn very_long_rows() {
    const N: usize = 100_003;
    let x = random([2, N], 20, -3.0, 3.0);
    check("softmax", std::slice::from_ref(&x), |x| x[0].softmax(-1));
    check("log_softmax", std::slice::from_ref(&x), |x| x[0].log_softmax(-1));
    check("softmax along the first axis", &[random([N, 2], 21, -3.0, 3.0)], |x| x[0].softmax(0));
    let classes = [N as u32 - 1, 5];
    check("classes", std::slice::from_ref(&x), |x| x[0].cross_entropy(&Tensor::new(&classes, [2], x[0].device())));
    check("targets", &[x.clone(), random([2, N], 22, 0.0, 2e-5)], |x| x[0].cross_entropy(&x[1]));
    for device in devices() {
        // The largest is near the end, and its neighbours are minus infinity for longer than a split.
        let mut v = vec![f32::NEG_INFINITY; 3 * N];
        (v[N - 2], v[2 * N - 3]) = (1e4, 7.0);
        v[N + 1] = 7.0;
        v[2 * N + 9] = f32::NAN;
        let x = Tensor::new(&v, [3, N], &device);
        let y = x.softmax(-1).to_vec::<f32>().unwrap();
        assert_eq!((y[N - 2], y[0], y[N + 1], y[2 * N - 3]), (1.0, 0.0, 0.5, 0.5), "on {device}");
        assert!(y[2 * N..].iter().all(|v| v.is_nan()), "on {device}");
        let classes = Tensor::new(&[N as u32 - 2, N as u32 - 3, 9], [3], &device);
        close(&x.cross_entropy(&classes), &[0.0, std::f32::consts::LN_2, f32::NAN], 1e-6);
        close(&x.cross_entropy(&classes.one_hot(N)), &[0.0, std::f32::consts::LN_2, f32::NAN], 1e-6);
        close(
            &x.cross_entropy(&Tensor::new(&[0u32, N as u32, 0], [3], &device)),
            &[f32::INFINITY, f32::NAN, f32::NAN],
            0.0,
        );
        for (bad, loss) in [(f32::INFINITY, f32::NAN), (f32::NEG_INFINITY, f32::NAN)] {
            let mut v = vec![f32::NEG_INFINITY; N];
            v[N - 1] = bad;
            let x = Tensor::new(&v, [1, N], &device);
            close(&x.cross_entropy(&Tensor::new(&[0u32], [1], &device)), &[loss], 0.0);
            assert!(x.softmax(-1).to_vec::<f32>().unwrap().iter().all(|v| v.is_nan()), "{bad} on {device}");
        }
        assert_eq!(x.correct(&classes).to_vec::<f32>().unwrap(), [1.0, 0.0, 1.0], "on {device}");
        assert_eq!(x.correct(&classes.one_hot(N)).to_vec::<f32>().unwrap(), [1.0, 0.0, 1.0], "on {device}");
        // Rows of a view.
        let part = x.slice(&[1..2]).cross_entropy(&classes.slice(&[1..2]));
        close(&part, &[std::f32::consts::LN_2], 1e-6);
    }
}

#[test]
fn softmax_has_a_second_derivative() {
    // The gradient of sum(c * dx) with respect to x and to the cotangent, by finite differences of dx.
    for f in [Tensor::softmax, Tensor::log_softmax] {
        let w = random([2, 4], 3, -1.0, 1.0);
        check("second derivative", &[random([2, 4], 4, -1.0, 1.0), w], |x| {
            let leaf = if x[0].needs_grad() { x[0].clone() } else { x[0].requires_grad() };
            f(&leaf, -1).mul(&x[1]).sum().grad(&[&leaf])[0].clone().unwrap()
        });
    }
}

#[test]
fn cross_entropy_of_classes_and_targets() {
    let x = random([6, 5], 5, -3.0, 3.0);
    let classes = [0u32, 4, 2, 2, 1, 3];
    check("classes", std::slice::from_ref(&x), |x| x[0].cross_entropy(&Tensor::new(&classes, [6], x[0].device())));
    check("soft targets", &[x.clone(), random([6, 5], 6, 0.1, 1.0)], |x| x[0].cross_entropy(&x[1]));
    check("second derivative", &[x.clone(), random([6], 7, 0.5, 1.0)], |x| {
        let leaf = if x[0].needs_grad() { x[0].clone() } else { x[0].requires_grad() };
        let labels = Tensor::new(&classes, [6], x[0].device());
        leaf.cross_entropy(&labels).mul(&x[1]).sum().grad(&[&leaf])[0].clone().unwrap()
    });
    for device in devices() {
        let x = x.to(&device).unwrap();
        let labels = Tensor::new(&classes, [6], &device);
        let want = x.log_softmax(-1).mul(&rows(&classes, 5, &device)).sum_axes(&[1], false).neg();
        close(&x.cross_entropy(&labels), &want.to_vec::<f32>().unwrap(), 1e-6);
        close(&x.cross_entropy(&rows(&classes, 5, &device)), &want.to_vec::<f32>().unwrap(), 1e-6);
        // Views into larger tensors.
        let part = x.slice(&[2..5]).cross_entropy(&labels.slice(&[2..5]));
        close(&part, &want.to_vec::<f32>().unwrap()[2..5], 1e-6);
        assert_eq!(Tensor::zeros([0, 3], &device).cross_entropy(&Tensor::new::<u32>(&[], [0], &device)).len(), 0);
    }
}

#[test]
fn large_logits_keep_their_digits() {
    for device in devices() {
        let x = Tensor::new(&[1e4, 1e4 - 1.0, -1e4, 0.0, 1e4, 1e4], [2, 3], &device).requires_grad();
        let loss = x.cross_entropy(&Tensor::new(&[1u32, 0], [2], &device));
        close(&loss, &[1.313_261_7, 1e4 + std::f32::consts::LN_2], 1e-6);
        let dx = loss.backward().get(&x).unwrap().clone();
        close(&dx, &[0.731_058_6, -0.731_058_6, 0.0, -1.0, 0.5, 0.5], 1e-6);
        close(&x.softmax(-1), &[0.731_058_6, 0.268_941_4, 0.0, 0.0, 0.5, 0.5], 1e-6);
    }
}

#[test]
fn a_label_that_is_no_class_gives_nan() {
    for device in devices() {
        let x = Tensor::zeros([3, 2], &device).requires_grad();
        let loss = x.cross_entropy(&Tensor::new(&[1u32, 2, u32::MAX], [3], &device));
        close(&loss, &[std::f32::consts::LN_2, f32::NAN, f32::NAN], 1e-6);
        let dx = loss.backward().get(&x).unwrap().to_vec::<f32>().unwrap();
        assert!(dx[..2] == [0.5, -0.5] && dx[2..].iter().all(|v| v.is_nan()), "{dx:?} on {device}");
        close(&x.correct(&Tensor::new(&[0u32, 2, u32::MAX], [3], &device)), &[1.0, 0.0, 0.0], 0.0);
    }
}

#[test]
fn nan_and_infinity_pass() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    for device in devices() {
        let x = Tensor::new(&[nan, 1.0, inf, 1.0, -inf, 1.0, -inf, -inf, 1.0, -nan], [5, 2], &device);
        close(&x.softmax(-1), &[nan, nan, nan, nan, 0.0, 1.0, nan, nan, nan, nan], 0.0);
        close(&x.log_softmax(-1), &[nan, nan, nan, nan, -inf, 0.0, nan, nan, nan, nan], 0.0);
        let classes = x.cross_entropy(&Tensor::new(&[1u32; 5], [5], &device));
        close(&classes, &[nan, nan, 0.0, nan, nan], 0.0);
        close(&x.cross_entropy(&rows(&[1; 5], 2, &device)), &[nan, nan, 0.0, nan, nan], 0.0);
        close(&x.slice(&[2..3]).cross_entropy(&Tensor::new(&[0u32], [1], &device)), &[inf], 0.0);
        close(&x.correct(&Tensor::new(&[0u32, 0, 1, 0, 1], [5], &device)), &[1.0; 5], 0.0);
    }
}

#[test]
fn correct_predictions() {
    let x = random([50, 7], 8, -1.0, 1.0);
    let targets = random([50, 7], 9, -1.0, 1.0);
    check_forward("correct, targets", &[x.clone(), targets], |x| x[0].correct(&x[1]));
    for device in devices() {
        let x = x.to(&device).unwrap();
        let best = x.argmax(-1);
        assert_eq!(x.correct(&best).sum().item().unwrap(), 50.0);
        assert_eq!(x.slice(&[1..50]).correct(&best.slice(&[0..49])).len(), 49);
        let tied = Tensor::zeros([2, 3], &device);
        close(&tied.correct(&Tensor::new(&[0u32, 1], [2], &device)), &[1.0, 0.0], 0.0);
        assert!(!x.requires_grad().correct(&best).needs_grad());
    }
}

#[test]
fn shape_mistakes_say_what_clashes() {
    let d = Device::cpu();
    let x = Tensor::zeros([4, 3], &d);
    assert_eq!(
        panic_message(|| x.cross_entropy(&Tensor::new(&[0u32, 1], [2], &d))),
        "cross_entropy: class labels are one number a row, expected [4]\n  logits: [4, 3]\n  labels: [2]"
    );
    assert_eq!(
        panic_message(|| x.correct(&Tensor::zeros([4], &d))),
        "correct: f32 labels are targets like the logits, expected [4, 3]\n  logits: [4, 3]\n  labels: [4]"
    );
    assert_eq!(
        panic_message(|| x.cross_entropy(&Tensor::new(&[0u8; 4], [4], &d))),
        "cross_entropy: labels are u8, expected u32, i32 or f32"
    );
    assert!(
        panic_message(|| x.reshape([12]).cross_entropy(&Tensor::zeros([12], &d)))
            .contains("logits have 1 axes, expected 2")
    );
    assert_eq!(panic_message(|| x.softmax(2)), "softmax: axis 2 is out of range for rank 2\n  x: [4, 3]");
}
