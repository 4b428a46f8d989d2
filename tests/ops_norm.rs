//! Batch normalisation: gradients, GPU against CPU, statistics of a large mean, views, running statistics, error texts.

mod common;

use common::{check, devices, nmse, panic_message, random};
use tilegrad::ops::batch_norm::update_running;
use tilegrad::{Device, RunningAverage, Tensor};

#[test]
fn training_and_its_gradients() {
    for shape in [&[6, 4][..], &[5, 1], &[2, 3, 3, 6], &[3, 2, 4, 8], &[2, 2, 2, 3, 4], &[2, 7, 3], &[300, 3], &[1, 5]]
    {
        let c = shape[shape.len() - 1];
        let inputs = [random(shape, 1, -1.0, 2.0), random([c], 2, 0.5, 1.5), random([c], 3, -1.0, 1.0)];
        check(&format!("batch_norm {shape:?}"), &inputs, |x| x[0].batch_norm(&x[1], &x[2], 0.1).0);
        check(&format!("inference {shape:?}"), &inputs, |x| {
            let [mean, variance] = [random([c], 6, -0.5, 0.5), random([c], 7, 0.5, 1.5)];
            let there = |t: &Tensor| t.to(x[0].device()).unwrap();
            x[0].batch_norm_inference(&x[1], &x[2], &there(&mean), &there(&variance), 1e-3)
        });
    }
}

#[test]
fn known_numbers() {
    for device in devices() {
        let x = Tensor::new(&[1.0, 10.0, 3.0, 10.0, 5.0, 10.0, 7.0, 10.0], [2, 2, 1, 2], &device);
        let (gamma, beta) = (Tensor::new(&[2.0, 3.0], [2], &device), Tensor::new(&[0.5, -1.0], [2], &device));
        let (y, mean, variance) = x.batch_norm(&gamma, &beta, 4.0);
        assert_eq!(mean.to_vec::<f32>().unwrap(), [4.0, 10.0]);
        assert_eq!(variance.to_vec::<f32>().unwrap(), [5.0, 0.0]);
        let want = [-1.5, -1.0, -1.0 / 6.0, -1.0, 2.0 / 3.0 + 0.5, -1.0, 2.5, -1.0];
        assert!(nmse(&y.to_vec::<f32>().unwrap(), &want) < 1e-12, "{y:?}");
        let same = x.batch_norm_inference(&gamma, &beta, &mean, &variance, 4.0);
        assert!(nmse(&same.to_vec::<f32>().unwrap(), &want) < 1e-12);
    }
}

#[test]
fn a_small_spread_around_a_large_mean_keeps_its_digits() {
    let x = random([20_000, 5], 4, 999.0, 1001.0);
    let double = |v: &[f32], c: usize| -> (f64, f64) {
        let column: Vec<f64> = v.iter().skip(c).step_by(5).map(|v| f64::from(*v)).collect();
        let mean = column.iter().sum::<f64>() / column.len() as f64;
        (mean, column.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / column.len() as f64)
    };
    let values = x.to_vec::<f32>().unwrap();
    for device in devices() {
        let (gamma, beta) = (Tensor::ones([5], &device), Tensor::zeros([5], &device));
        let run = || x.to(&device).unwrap().batch_norm(&gamma, &beta, 1e-3);
        let (y, mean, variance) = run();
        for c in 0..5 {
            let (m, v) = double(&values, c);
            assert!((f64::from(mean.to_vec::<f32>().unwrap()[c]) - m).abs() < 1e-4, "mean on {device}");
            assert!((f64::from(variance.to_vec::<f32>().unwrap()[c]) / v - 1.0).abs() < 1e-5, "variance on {device}");
        }
        assert!(y.mean().item().unwrap().abs() < 1e-3);
        // The same bits each time.
        assert_eq!(run().0.to_vec::<f32>().unwrap(), y.to_vec::<f32>().unwrap());
    }
}

#[test]
fn views_with_an_offset() {
    let all = random([100], 5, -1.0, 1.0);
    for device in devices() {
        let there = all.to(&device).unwrap();
        for (start, c) in [(1, 4), (4, 4), (3, 5)] {
            let part = |all: &Tensor, at: usize, len: usize| all.slice(&[at..at + len]).requires_grad();
            let run = |all: &Tensor| {
                let (x, gamma, beta) = (part(all, start, 8 * c), part(all, 51, c), part(all, 62, c));
                let y = x.reshape([8, c]).batch_norm(&gamma, &beta, 0.1).0;
                let gradients = y.mul(&y).backward();
                let tensors = [Some(&y), gradients.get(&x), gradients.get(&gamma), gradients.get(&beta)];
                tensors.map(|t| t.expect("a gradient").to_vec::<f32>().unwrap()).concat()
            };
            // The same values without an offset.
            assert!(nmse(&run(&there), &run(&all)) < 1e-10, "offset {start}, {c} channels on {device}");
        }
    }
}

#[test]
fn running_statistics() {
    for device in devices() {
        let arena = Tensor::new(&[0.0, 2.0, 4.0, 9.0], [4], &device);
        let running = arena.slice(&[1..3]);
        update_running(&running, &Tensor::new(&[7.0, 12.0, 24.0], [3], &device).slice(&[1..3]), 0.75);
        assert_eq!(arena.to_vec::<f32>().unwrap(), [0.0, 4.5, 9.0, 9.0]);
    }
}

#[test]
fn running_statistics_of_both_conventions() {
    for device in devices() {
        let one = |v: f32| Tensor::full(v, [1], &device);
        let x = Tensor::new(&[1.0, 3.0, 5.0, 7.0], [2, 2, 1], &device); // mean 4, variance 5 or 20 / 3
        for (average, mean, variance) in [
            (RunningAverage::Keras { momentum: 0.75 }, 0.75 * 8.0 + 0.25 * 4.0, 0.75 * 2.0 + 0.25 * 5.0),
            (RunningAverage::PyTorch { momentum: 0.25 }, 0.75 * 8.0 + 0.25 * 4.0, 0.75 * 2.0 + 0.25 * 20.0 / 3.0),
        ] {
            let (running_mean, running_variance) = (one(8.0), one(2.0));
            let run = |x: &Tensor| {
                x.batch_norm_training(&one(1.0), &one(0.0), &running_mean, &running_variance, 1e-3, average)
            };
            let same = x.batch_norm(&one(1.0), &one(0.0), 1e-3).0;
            assert_eq!(run(&x.requires_grad()).to_vec::<f32>().unwrap(), same.to_vec::<f32>().unwrap());
            let got = [running_mean.item().unwrap(), running_variance.item().unwrap()];
            assert!(nmse(&got, &[mean, variance]) < 1e-12, "{average:?}: {got:?} on {device}");
            // An empty batch moves nothing.
            assert_eq!(run(&Tensor::zeros([0, 3, 1], &device)).len(), 0);
            assert_eq!([running_mean.item().unwrap(), running_variance.item().unwrap()], got);
        }
        // The biased variance of one row is 0.
        let (mean, variance) = (one(0.0), one(1.0));
        let row = one(3.0).reshape([1, 1]);
        let keras = RunningAverage::default();
        row.batch_norm_training(&one(1.0), &one(0.0), &mean, &variance, 1e-3, keras);
        assert!(nmse(&[mean.item().unwrap(), variance.item().unwrap()], &[0.03, 0.99]) < 1e-10);
        let average = RunningAverage::PyTorch { momentum: 0.1 };
        assert_eq!(
            panic_message(|| row.batch_norm_training(&one(1.0), &one(0.0), &mean, &variance, 1e-3, average)),
            "batch_norm: one row has no unbiased variance, which PyTorch's convention stores\n  \
             help: train on batches of more than one value a channel, or use RunningAverage::Keras"
        );
        assert_eq!(
            panic_message(|| row.batch_norm_training(
                &one(1.0),
                &one(0.0),
                &Tensor::zeros([2], &device),
                &variance,
                1e-3,
                average
            )),
            "batch_norm: running_mean must be one number a channel, [1]\n  x: [1, 1]\n  running_mean: [2]"
        );
    }
}

#[test]
fn second_derivatives() {
    // The derivatives of all three gradients with respect to everything.
    let inputs = [random([5, 2, 3], 8, -1.0, 1.0), random([3], 9, 0.5, 1.5), random([5, 2, 3], 10, -1.0, 1.0)];
    for i in 0..3 {
        check(&format!("gradient {i}"), &inputs, |x| {
            let leaf = |t: &Tensor| if t.needs_grad() { t.clone() } else { t.requires_grad() };
            let (gamma, beta) = (leaf(&x[1]), Tensor::zeros([3], x[0].device()).requires_grad());
            let x0 = leaf(&x[0]);
            let y = x0.batch_norm(&gamma, &beta, 0.1).0.mul(&x[2]);
            y.sum().grad(&[&x0, &gamma, &beta])[i].clone().unwrap()
        });
    }
    for device in devices() {
        // The gradient by tensor algebra is that of the kernel, around a large mean too.
        let x = random([400, 5], 11, 999.0, 1001.0).to(&device).unwrap().requires_grad();
        let [gamma, beta] = [1.5, 0.5].map(|v| Tensor::full(v, [5], &device).requires_grad());
        let y = x.batch_norm(&gamma, &beta, 1e-3).0;
        let y = y.mul(&y).mul(&y).sum();
        let (kernel, recorded) = (y.backward(), y.grad(&[&x, &gamma, &beta]));
        for (t, recorded) in [&x, &gamma, &beta].iter().zip(recorded) {
            let (a, b) = (kernel.get(t).unwrap().to_vec::<f32>().unwrap(), recorded.unwrap().to_vec::<f32>().unwrap());
            assert!(nmse(&a, &b) < 1e-8, "{} on {device}", nmse(&a, &b));
        }
    }
}

#[test]
fn empty_batches_and_nan() {
    for device in devices() {
        let (gamma, beta) = (Tensor::ones([2], &device).requires_grad(), Tensor::zeros([2], &device));
        let (y, mean, variance) = Tensor::zeros([0, 2], &device).batch_norm(&gamma, &beta, 0.1);
        let nan = |t: &Tensor| t.to_vec::<f32>().unwrap().iter().map(|v| v.is_nan()).collect::<Vec<_>>();
        assert_eq!((y.len(), nan(&mean), nan(&variance)), (0, vec![true; 2], vec![true; 2]));
        assert_eq!(y.backward().get(&gamma).unwrap().to_vec::<f32>().unwrap(), [0.0; 2]);
        let x = Tensor::new(&[1.0, f32::NAN, 2.0, 1.0, 3.0, f32::INFINITY], [3, 2], &device);
        let (y, mean, _) = x.batch_norm(&gamma, &beta, 0.1);
        assert_eq!((nan(&mean), nan(&y)), (vec![false, true], vec![false, true, false, true, false, true]));
    }
}

#[test]
fn shape_mistakes_say_what_clashes() {
    let d = Device::cpu();
    let (x, three) = (Tensor::zeros([2, 4], &d), Tensor::zeros([3], &d));
    assert_eq!(
        panic_message(|| x.batch_norm(&three, &three, 0.1)),
        "batch_norm: gamma must be one number a channel, [4]\n  x: [2, 4]   axis 1 = 4\n  gamma: [3]"
    );
    let scalar = Tensor::scalar(1.0, &d);
    assert_eq!(
        panic_message(|| scalar.batch_norm(&three, &three, 0.1)),
        "batch_norm: a scalar has no channels\n  x: []"
    );
    let four = Tensor::ones([4], &d);
    assert_eq!(
        panic_message(|| x.batch_norm(&four, &four, -1.0)),
        "batch_norm: epsilon is -1, expected a number that is not negative\n  x: [2, 4]"
    );
    let infer =
        |mean: &Tensor, epsilon: f32| panic_message(|| x.batch_norm_inference(&four, &four, mean, &four, epsilon));
    assert_eq!(
        infer(&three, 0.1),
        "batch_norm_inference: mean does not broadcast to the input\n  x: [2, 4]\n  mean: [3]\n  \
         help: mean usually has the shape (C)"
    );
    assert_eq!(
        infer(&Tensor::ones([5, 2, 4], &d), 0.1),
        "batch_norm_inference: mean does not broadcast to the input\n  x: [2, 4]\n  mean: [5, 2, 4]\n  \
         help: mean usually has the shape (C)"
    );
    assert_eq!(
        infer(&four, -1.0),
        "batch_norm_inference: epsilon is -1, expected a number that is not negative\n  x: [2, 4]"
    );
    assert_eq!(
        panic_message(|| update_running(&three, &x, 0.1)),
        "update_running: running and batch statistics differ in shape or are not f32\n  running: [3]\n  batch: [2, 4]"
    );
}
