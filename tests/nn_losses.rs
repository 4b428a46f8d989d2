//! Losses of `nn`: the numbers of Keras's documentation, smoothed labels, training with each.

mod common;

use common::{devices, panic_message, random};
use tilegrad::nn::layers::Dense;
use tilegrad::nn::{
    Activation, BinaryCrossentropy, CategoricalCrossentropy, DeviceDataset, FitOptions, Huber, KLDivergence, Loss,
    MeanAbsoluteError, Sequential, Sgd, Verbose,
};
use tilegrad::{Device, Tensor};

#[track_caller]
fn close(got: &Tensor, want: &[f32]) {
    let got = got.to_vec::<f32>().unwrap();
    let near = |(g, w): (&f32, &f32)| (g - w).abs() <= 2e-5 * w.abs().max(1.0);
    assert!(got.len() == want.len() && got.iter().zip(want).all(near), "got {got:?}, expected {want:?}");
}

#[test]
fn losses_give_keras_numbers() {
    for device in devices() {
        let new = |v: &[f32]| Tensor::new(v, [v.len() / 2, 2], &device);
        let (y, p) = (new(&[0.0, 1.0, 0.0, 0.0]), new(&[0.6, 0.4, 0.4, 0.6]));
        close(&Huber::new().losses(&p, &y), &[0.18, 0.13]);
        close(&Huber::new().losses(&p, &y).mean(), &[0.155]);
        close(&Huber::new().delta(0.5).losses(&p, &y), &[0.175, 0.1275]);
        close(&MeanAbsoluteError.losses(&new(&[1.0, 1.0, 1.0, 0.0]), &y), &[0.5, 0.5]);
        assert!((KLDivergence.losses(&p, &y).mean().item().unwrap() - 0.458).abs() < 5e-4);
        // From logits, what is 0 is 0.
        close(&KLDivergence.losses_of_logits(&p.log(), &y), &[-(0.4f32.ln()), 0.0]);

        let log = f32::ln;
        let (row, p) = (new(&[0.0, 1.0]), new(&[0.25, 0.75]));
        let smooth = CategoricalCrossentropy::new().label_smoothing(0.2);
        let want = -0.1 * log(0.25) - 0.9 * log(0.75);
        close(&smooth.losses(&p, &row), &[want]);
        close(&smooth.losses_of_logits(&p.log(), &row), &[want]);
        close(&smooth.from_logits().losses(&p.log(), &row), &[want]);
        let smooth = BinaryCrossentropy::new().label_smoothing(0.2);
        let want = -(0.1 * log(0.25) + 0.9 * log(0.75));
        close(&smooth.losses(&p, &row), &[want]);
        close(&smooth.losses_of_logits(&p.log().sub(&p.affine(-1.0, 1.0).log()), &row), &[want]);
        // The far ends: Keras's limits of probabilities, and none of logits.
        close(&BinaryCrossentropy::new().losses(&new(&[0.0, 1.0]), &new(&[1.0, 1.0])), &[8.059_048]);
        close(&BinaryCrossentropy::new().losses_of_logits(&new(&[-1e4, 1e4]), &new(&[1.0, 1.0])), &[5e3]);
    }
    assert_eq!(
        panic_message(|| CategoricalCrossentropy::new().label_smoothing(1.1)),
        "label_smoothing: 1.1 is not from 0 to 1"
    );
    assert_eq!(panic_message(|| Huber::new().delta(0.0)), "delta: 0 is not positive");
}

#[test]
fn each_trains() {
    fn falls(name: &str, loss: impl Loss + 'static, activation: Activation) {
        let x = random([64, 3], 1, -1.0, 1.0);
        // Rows that sum to 1, so that they are targets for all.
        let y = x.matmul(&random([3, 2], 2, -2.0, 2.0)).softmax(-1);
        let mut model = Sequential::new([3]).add(Dense::new(2).activation(activation));
        model.build(&Device::cpu(), 3).unwrap();
        model.compile(Sgd::new(0.3), loss, []);
        let options = FitOptions::new().epochs(8).batch_size(16).verbose(Verbose::Off);
        let data = DeviceDataset::from_tensors(&x, &y).unwrap();
        let history = model.fit(&data, options).unwrap();
        let losses: Vec<f32> = history.epochs.iter().map(|e| e.loss).collect();
        assert!(losses[7] < 0.9 * losses[0], "{name}: {losses:?}");
    }
    falls("mean_absolute_error", MeanAbsoluteError, Activation::Linear);
    falls("huber", Huber::new(), Activation::Linear);
    falls("kl_divergence", KLDivergence, Activation::Softmax);
}
