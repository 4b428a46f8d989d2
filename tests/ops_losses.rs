//! Losses with reductions: gradients, GPU against CPU, weights, ignored labels, smoothing, large arguments, error texts.
//! The plain cross-entropy of rows is in `ops_loss.rs`.

mod common;

use common::{check, check_with, devices, nmse, panic_message, random, spread};
use tilegrad::{CrossEntropyOptions, Device, NllOptions, Reduction, Tensor};

const REDUCTIONS: [Reduction; 3] = [Reduction::None, Reduction::Mean, Reduction::Sum];

fn values(x: &Tensor) -> Vec<f32> {
    x.to_vec().unwrap()
}

#[track_caller]
fn close(got: &Tensor, want: &[f32], tolerance: f32) {
    let got = values(got);
    let same =
        |(g, w): (&f32, &f32)| (g - w).abs() <= tolerance * w.abs().max(1.0) || g == w || g.is_nan() && w.is_nan();
    assert!(got.len() == want.len() && got.iter().zip(want).all(same), "got {got:?}, expected {want:?}");
}

type Loss = fn(&Tensor, &Tensor, Reduction) -> Tensor;

#[test]
fn losses_of_values() {
    let (x, t) = (spread([5, 4], 1), random([5, 4], 2, 0.1, 0.9).affine(2.0, -1.0));
    let (p, yes) = (random([5, 4], 3, 0.1, 0.9), random([5, 4], 4, 0.05, 0.95));
    let values: [(&str, Loss); 4] = [
        ("mse", |x, t, r| x.mse_loss(t, r)),
        ("l1", |x, t, r| x.l1_loss(t, r)),
        ("huber", |x, t, r| x.huber_loss(t, 0.55, r)),
        ("smooth_l1", |x, t, r| x.smooth_l1_loss(t, 0.55, r)),
    ];
    for reduction in REDUCTIONS {
        for (name, f) in values {
            // Small steps, so that no difference steps over a kink.
            check_with(name, &[x.clone(), t.clone()], 1e-3, |x| f(&x[0], &x[1], reduction));
        }
        check("bce", &[p.clone(), yes.clone()], |x| x[0].bce_loss(&x[1], reduction));
        let logits = random([5, 4], 5, -3.0, 3.0);
        check("bce_with_logits", &[logits.clone(), yes.clone()], |x| x[0].bce_with_logits_loss(&x[1], None, reduction));
        check("pos_weight", &[logits, yes.clone(), random([4], 6, 0.5, 2.0)], |x| {
            x[0].bce_with_logits_loss(&x[1], Some(&x[2]), reduction)
        });
        check("kl_div", &[random([5, 4], 7, -3.0, -0.1), yes.clone()], |x| x[0].kl_div_loss(&x[1], reduction));
    }
    for device in devices() {
        let new = |v: &[f32]| Tensor::new(v, [v.len()], &device);
        let (x, t) = (new(&[1.0, -3.0, 0.5]), new(&[2.0, 1.0, 0.5]));
        close(&x.mse_loss(&t, Reduction::None), &[1.0, 16.0, 0.0], 0.0);
        close(&x.mse_loss(&t, Reduction::Sum), &[17.0], 0.0);
        close(&x.l1_loss(&t, Reduction::Mean), &[5.0 / 3.0], 1e-6);
        close(&x.huber_loss(&t, 2.0, Reduction::None), &[0.5, 6.0, 0.0], 0.0);
        close(&x.smooth_l1_loss(&t, 2.0, Reduction::None), &[0.25, 3.0, 0.0], 0.0);
        // At the kinks: the slope of both sides at delta, and 0 at 0.
        let x = new(&[1.0, 3.0, -1.0, 0.0]).requires_grad();
        let loss = x.huber_loss(&x.zeros_like(), 1.0, Reduction::Sum);
        close(loss.backward().get(&x).unwrap(), &[1.0, 1.0, -1.0, 0.0], 0.0);
        // Keras's numbers at a probability of 0 and 1: -log(1e-7), and no gradient.
        let p = new(&[0.0, 1.0, 1.0, 0.25]).requires_grad();
        let loss = p.bce_loss(&new(&[1.0, 0.0, 1.0, 1.0]), Reduction::None);
        close(&loss, &[16.118_095, 15.942_385, 1.192_093e-7, 4f32.ln()], 1e-6);
        close(loss.backward().get(&p).unwrap(), &[0.0, 0.0, 0.0, -4.0], 0.0);
        for reduction in [Reduction::Mean, Reduction::Sum] {
            let nothing = new(&[]);
            let want = if reduction == Reduction::Mean { f32::NAN } else { 0.0 };
            for (name, f) in values {
                assert_eq!(f(&nothing, &nothing, Reduction::None).len(), 0, "{name}");
                close(&f(&nothing, &nothing, reduction), &[want], 0.0);
            }
        }
    }
}

#[test]
fn logits_and_distributions_of_any_size() {
    let inf = f32::INFINITY;
    for device in devices() {
        let new = |v: &[f32]| Tensor::new(v, [v.len()], &device);
        let x = new(&[0.0, 1e4, -1e4, 20.0, -20.0, 1e38]).requires_grad();
        let t = new(&[1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
        let loss = x.bce_with_logits_loss(&t, None, Reduction::None);
        let tiny = 2.061_153_6e-9;
        close(&loss, &[std::f32::consts::LN_2, 0.0, 1e4, tiny, tiny, 1e38], 1e-6);
        let got = values(&loss);
        assert!((got[3] / tiny - 1.0).abs() < 1e-5 && (got[4] / tiny - 1.0).abs() < 1e-5, "{got:?} on {device}");
        close(loss.backward().get(&x).unwrap(), &[-0.5, 0.0, -1.0, -tiny, tiny, 1.0], 1e-6);
        let weighted = new(&[0.0, 0.0]).bce_with_logits_loss(&new(&[1.0, 0.0]), Some(&new(&[3.0])), Reduction::None);
        close(&weighted, &[3.0 * std::f32::consts::LN_2, std::f32::consts::LN_2], 1e-6);
        // A target of 0 adds nothing, and its gradients are 0, though the probability be 0 too.
        let (x, t) = (new(&[-inf, -1.0, -2.0]).requires_grad(), new(&[0.0, 1.0, 0.0]).requires_grad());
        let loss = x.kl_div_loss(&t, Reduction::None);
        close(&loss, &[0.0, 1.0, 0.0], 0.0);
        let gradients = loss.backward();
        close(gradients.get(&x).unwrap(), &[0.0, -1.0, 0.0], 0.0);
        close(gradients.get(&t).unwrap(), &[0.0, 2.0, 0.0], 0.0);
        close(&new(&[-inf, f32::NAN]).kl_div_loss(&new(&[0.5, 0.5]), Reduction::None), &[inf, f32::NAN], 0.0);
        // Softmax at the far ends.
        let x = new(&[1e4, -1e4, -inf, 1e4 - 1.0]);
        close(&x.softmax(0), &[0.731_058_6, 0.0, 0.0, 0.268_941_4], 1e-6);
        close(&x.log_softmax(0), &[-0.313_261_7, -20_000.314, -inf, -1.313_261_7], 1e-6);
        let options = CrossEntropyOptions { ignore_index: Some(2), reduction: Reduction::None, ..Default::default() };
        let loss = x.reshape([1, 4]).cross_entropy_with(&Tensor::new(&[1i32], [1], &device), &options);
        close(&loss, &[20_000.314], 1e-6);
    }
}

/// PyTorch's formula, spelled out: the losses and the weights of the labels.
fn cross_entropy(x: &Tensor, labels: &[i32], weight: &[f32], ignore: Option<i64>, smoothing: f64) -> (Vec<f64>, f64) {
    let log_p = values(&x.log_softmax(-1));
    let n = weight.len();
    let mut total = 0.0;
    let losses = labels.iter().zip(log_p.chunks(n)).map(|(&t, log_p)| {
        if Some(i64::from(t)) == ignore {
            return 0.0;
        }
        let weighted = |c: usize| -f64::from(weight[c]) * f64::from(log_p[c]);
        total += f64::from(weight[t as usize]);
        (1.0 - smoothing) * weighted(t as usize) + smoothing / n as f64 * (0..n).map(weighted).sum::<f64>()
    });
    (losses.collect(), total)
}

#[test]
fn classes_with_weights_ignored_labels_and_smoothing() {
    let x = random([2, 3, 2, 5], 8, -3.0, 3.0);
    let w = random([5], 9, 0.3, 2.0);
    for (ignore, labels) in [
        (None, [0, 4, 2, 2, 1, 3, 0, 1, 1, 4, 3, 2]),
        (Some(2), [0, 4, 2, 2, 1, 3, 0, 1, 1, 4, 3, 2]),
        (Some(-1), [0, 4, -1, 2, 1, -1, 0, 1, 1, 4, 3, 2]),
        (Some(10), [10, 4, 2, 10, 1, 3, 0, 1, 1, 4, 3, 2]),
        (Some(1 << 40), [0, 4, 2, 2, 1, 3, 0, 1, 1, 4, 3, 2]),
    ] {
        for (weighted, smoothing) in [(false, 0.0), (true, 0.0), (false, 0.3), (true, 0.3), (true, 1.0)] {
            let weights = if weighted { values(&w) } else { vec![1.0; 5] };
            let (each, total) = cross_entropy(&x, &labels, &weights, ignore, f64::from(smoothing));
            let sum: f64 = each.iter().sum();
            for reduction in REDUCTIONS {
                let name = format!("ignore {ignore:?}, weights {weighted}, smoothing {smoothing}, {reduction:?}");
                let options = |d: &Device| CrossEntropyOptions {
                    weight: weighted.then(|| w.to(d).unwrap()),
                    ignore_index: ignore,
                    label_smoothing: smoothing,
                    reduction,
                };
                let labels = |d: &Device| Tensor::new(&labels, [2, 3, 2], d);
                let f = |x: &Tensor| x.cross_entropy_with(&labels(x.device()), &options(x.device()));
                let want: Vec<f32> = match reduction {
                    Reduction::None => each.iter().map(|v| *v as f32).collect(),
                    Reduction::Mean => vec![(sum / total) as f32],
                    Reduction::Sum => vec![sum as f32],
                };
                close(&f(&x), &want, 1e-5);
                check(&name, std::slice::from_ref(&x), |x| f(&x[0]));
                if smoothing == 0.0 {
                    let CrossEntropyOptions { weight, ignore_index, reduction, .. } = options(x.device());
                    let nll = NllOptions { weight, ignore_index, reduction };
                    close(&x.log_softmax(-1).nll_loss(&labels(x.device()), &nll), &want, 1e-5);
                }
            }
        }
    }
}

// Rows past what llvmpipe runs in one loop (65,535 rounds).
#[test]
fn very_many_classes() {
    const N: usize = 70_001;
    let x = random([2, N], 18, -3.0, 3.0);
    let options = CrossEntropyOptions { ignore_index: Some(-1), label_smoothing: 0.1, ..Default::default() };
    check("smoothed labels", std::slice::from_ref(&x), |x| {
        x[0].cross_entropy_with(&Tensor::new(&[N as i32 - 1, 7], [2], x[0].device()), &options)
    });
    let (each, _) = cross_entropy(&x, &[N as i32 - 1, 7], &vec![1.0; N], None, 0.1);
    let loss = x.cross_entropy_with(&Tensor::new(&[N as u32 - 1, 7], [2], x.device()), &options);
    close(&loss, &[(each[0] + each[1]) as f32 / 2.0], 1e-5);
}

#[test]
fn unsigned_labels_one_row_and_no_counted_label() {
    for device in devices() {
        let x = random([6, 5], 10, -3.0, 3.0).to(&device).unwrap();
        let classes = [0, 4, 2, 2, 1, 3];
        let signed = Tensor::new(&classes, [6], &device);
        let unsigned = Tensor::new(&classes.map(|c| c as u32), [6], &device);
        for ignore_index in [None, Some(2), Some(-2)] {
            let options = CrossEntropyOptions { ignore_index, reduction: Reduction::None, ..Default::default() };
            let [a, b] = [&signed, &unsigned].map(|labels| values(&x.cross_entropy_with(labels, &options)));
            assert_eq!(a, b);
        }
        assert_eq!(values(&x.cross_entropy(&signed)), values(&x.cross_entropy(&unsigned)));
        assert_eq!(values(&x.correct(&signed)), values(&x.correct(&unsigned)));
        // Logits of one example, and its one label.
        let loss =
            x.slice(&[1..2]).reshape([5]).cross_entropy_with(&Tensor::new(&[4], [], &device), &Default::default());
        close(&loss, &values(&x.cross_entropy(&signed))[1..2], 1e-6);
        // The mean over no label is NaN, and so is that over no row; their sums are 0.
        let none = Tensor::new(&[7; 6], [6], &device);
        for (x, labels) in [(&x, &none), (&x.slice(&[0..0]), &none.slice(&[0..0]))] {
            for (reduction, want) in [(Reduction::Mean, f32::NAN), (Reduction::Sum, 0.0)] {
                let options = CrossEntropyOptions { ignore_index: Some(7), reduction, ..Default::default() };
                close(&x.cross_entropy_with(labels, &options), &[want], 0.0);
                close(
                    &x.nll_loss(labels, &NllOptions { ignore_index: Some(7), reduction, weight: None }),
                    &[want],
                    0.0,
                );
            }
        }
        // Labels that are neither classes nor ignored give NaN; what an ignored row holds does not matter.
        let x = Tensor::new(&[0.0, 0.0, 1.0, f32::NAN, 0.0, 0.0, 0.0, 0.0], [4, 2], &device).requires_grad();
        let labels = Tensor::new(&[1, -100, 2, -1], [4], &device);
        for label_smoothing in [0.0, 0.5] {
            let options = CrossEntropyOptions {
                ignore_index: Some(-100),
                label_smoothing,
                reduction: Reduction::None,
                ..Default::default()
            };
            let loss = x.cross_entropy_with(&labels, &options);
            close(&loss, &[std::f32::consts::LN_2, 0.0, f32::NAN, f32::NAN], 1e-6);
            let dx = values(loss.backward().get(&x).unwrap());
            assert!(dx[0] > 0.0 && dx[4..].iter().all(|v| v.is_nan()), "{dx:?} on {device}");
            let dx = values(
                x.nll_loss(&labels, &NllOptions { ignore_index: Some(-100), reduction: Reduction::Sum, weight: None })
                    .backward()
                    .get(&x)
                    .unwrap(),
            );
            assert!(dx[..4] == [0.0, -1.0, 0.0, 0.0] && dx[4..].iter().all(|v| v.is_nan()), "{dx:?} on {device}");
        }
    }
}

#[test]
fn class_probabilities() {
    let (x, t) = (random([2, 3, 5], 11, -3.0, 3.0), random([2, 3, 5], 12, 0.0, 0.4));
    let w = random([5], 13, 0.3, 2.0);
    for (weighted, smoothing) in [(false, 0.0), (true, 0.0), (true, 0.2)] {
        for reduction in REDUCTIONS {
            let options = |d: &Device| CrossEntropyOptions {
                weight: weighted.then(|| w.to(d).unwrap()),
                label_smoothing: smoothing,
                reduction,
                ..Default::default()
            };
            check("probabilities", &[x.clone(), t.clone()], |x| {
                x[0].cross_entropy_with(&x[1], &options(x[0].device()))
            });
            let smooth = t.affine(1.0 - smoothing, smoothing / 5.0);
            let each = x.log_softmax(-1).mul(&smooth).mul(&if weighted { w.clone() } else { w.ones_like() });
            let each = each.sum_axes(&[-1], false).neg();
            let want = match reduction {
                Reduction::None => each,
                Reduction::Mean => each.mean(),
                Reduction::Sum => each.sum(),
            };
            close(&x.cross_entropy_with(&t, &options(x.device())), &values(&want), 1e-5);
        }
    }
    for device in devices() {
        // One-hot rows give what their classes give, smoothed or not.
        let x = x.to(&device).unwrap().reshape([6, 5]);
        let classes = Tensor::new(&[0u32, 4, 2, 2, 1, 3], [6], &device);
        for label_smoothing in [0.0, 0.1] {
            let options = CrossEntropyOptions { label_smoothing, ..Default::default() };
            let of_rows = x.cross_entropy_with(&classes.one_hot(5), &options);
            close(&of_rows, &values(&x.cross_entropy_with(&classes, &options)), 1e-6);
        }
    }
}

#[test]
fn second_derivatives() {
    let labels = |d: &Device| Tensor::new(&[1, 0, 2, 1], [4], d);
    let second = |x: &[Tensor], f: &dyn Fn(&Tensor) -> Tensor| {
        let leaf = if x[0].needs_grad() { x[0].clone() } else { x[0].requires_grad() };
        f(&leaf).mul(&x[1]).sum().grad(&[&leaf])[0].clone().unwrap()
    };
    let inputs = [random([4, 3], 14, -1.0, 1.0), random([4], 15, 0.5, 1.0)];
    for label_smoothing in [0.0, 0.2] {
        check("cross_entropy", &inputs, |x| {
            let options = CrossEntropyOptions {
                ignore_index: Some(2),
                label_smoothing,
                reduction: Reduction::None,
                ..Default::default()
            };
            second(x, &|logits| logits.cross_entropy_with(&labels(logits.device()), &options))
        });
    }
    let inputs = [random([4, 3], 16, 0.1, 0.9), random([4, 3], 17, 0.5, 1.0)];
    let target = |x: &Tensor| x.ones_like().affine(0.25, 0.0);
    check("mse", &inputs, |x| second(x, &|x| x.mse_loss(&target(x), Reduction::None)));
    check("huber", &inputs, |x| second(x, &|x| x.huber_loss(&target(x), 1.0, Reduction::None)));
    check("bce", &inputs, |x| second(x, &|x| x.bce_loss(&target(x), Reduction::None)));
    check("bce_with_logits", &inputs, |x| second(x, &|x| x.bce_with_logits_loss(&target(x), None, Reduction::None)));
}

#[test]
fn mistakes_say_what_is_wrong() {
    let d = Device::cpu();
    let (x, t) = (Tensor::zeros([2, 3], &d), Tensor::zeros([3, 2], &d));
    let labels = Tensor::new(&[0, 1], [2], &d);
    let ce = |labels: &Tensor, options: CrossEntropyOptions| x.cross_entropy_with(labels, &options);
    let weight = |w: Tensor| CrossEntropyOptions { weight: Some(w), ..Default::default() };
    let smooth = |label_smoothing: f32| CrossEntropyOptions { label_smoothing, ..Default::default() };
    for (f, want) in [
        (
            &(|| x.mse_loss(&t, Reduction::Mean)) as &dyn Fn() -> Tensor,
            "mse_loss: input and target differ in shape\n  x: [2, 3]\n  target: [3, 2]",
        ),
        (&|| x.l1_loss(&labels, Reduction::Sum), "l1_loss: target is i32, expected f32\n  x: [2, 3]\n  target: [2]"),
        (&|| x.huber_loss(&x, 0.0, Reduction::Mean), "huber_loss: delta is 0, expected a positive number\n  x: [2, 3]"),
        (
            &|| x.smooth_l1_loss(&x, f32::NAN, Reduction::Mean),
            "smooth_l1_loss: beta is NaN, expected a positive number\n  x: [2, 3]",
        ),
        (
            &|| x.bce_loss(&Tensor::zeros([1, 3], &d), Reduction::Mean),
            "bce_loss: input and target differ in shape\n  x: [2, 3]\n  target: [1, 3]",
        ),
        (
            &|| labels.kl_div_loss(&labels, Reduction::Mean),
            "kl_div_loss: input is i32, expected f32\n  x: [2]\n  target: [2]",
        ),
        (
            &|| x.bce_with_logits_loss(&x, Some(&labels.cast(tilegrad::DType::F32)), Reduction::Mean),
            "bce_with_logits_loss: pos_weight does not broadcast to the input\n  x: [2, 3]\n  pos_weight: [2]\n  \
             help: pos_weight usually has the shape (C)",
        ),
        (
            &|| x.bce_with_logits_loss(&x, Some(&labels), Reduction::Mean),
            "bce_with_logits_loss: pos_weight is i32, expected f32\n  x: [2, 3]\n  pos_weight: [2]",
        ),
        (
            &|| x.nll_loss(&x, &Default::default()),
            "nll_loss: labels are f32, expected u32 or i32\n  x: [2, 3]\n  labels: [2, 3]",
        ),
        (
            &|| x.nll_loss(&labels.slice(&[0..1]), &Default::default()),
            "nll_loss: i32 labels are one class a row, expected [2]\n  x: [2, 3]\n  labels: [1]",
        ),
        (
            &|| Tensor::scalar(1.0, &d).nll_loss(&labels, &Default::default()),
            "nll_loss: a scalar has no class axis\n  x: []\n  labels: [2]",
        ),
        (
            &|| Tensor::zeros([2, 0], &d).nll_loss(&labels, &Default::default()),
            "nll_loss: there are no classes\n  x: [2, 0]\n  labels: [2]",
        ),
        (
            &|| ce(&Tensor::new(&[0u8, 1], [2], &d), smooth(0.1)),
            "cross_entropy: labels are u8, expected u32, i32 or f32\n  x: [2, 3]\n  labels: [2]",
        ),
        (
            &|| ce(&t, smooth(0.1)),
            "cross_entropy: f32 labels are class probabilities, expected [2, 3]\n  x: [2, 3]\n  labels: [3, 2]",
        ),
        (
            &|| ce(&labels, weight(Tensor::ones([2], &d))),
            "cross_entropy: weight is f32 [2], expected one number a class, f32 [3]\n  x: [2, 3]\n  weight: [2]",
        ),
        (
            &|| ce(&labels, weight(Tensor::ones([3], &d).requires_grad())),
            "cross_entropy: there is no derivative by the classes' weights, but weight wants a gradient\n  x: [2, 3]\n  \
             weight: [3]\n  help: use weight.detach()",
        ),
        (
            &|| ce(&labels, smooth(1.5)),
            "cross_entropy: label_smoothing is 1.5, expected a number from 0 to 1\n  x: [2, 3]",
        ),
        (
            &|| ce(&x, CrossEntropyOptions { ignore_index: Some(0), ..Default::default() }),
            "cross_entropy: no row of class probabilities is a label to ignore\n  x: [2, 3]",
        ),
    ] {
        assert_eq!(panic_message(f), want);
    }
    let labels = Tensor::new(&[0, 1], [2], &d);
    assert!(nmse(&values(&x.nll_loss(&labels, &Default::default())), &[0.0]) == 0.0);
}
