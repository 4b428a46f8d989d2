//! The batch normalization layer's moving statistics, in Keras's convention and in PyTorch's.

mod common;

use common::{devices, nmse};
use tilegrad::nn::layers::BatchNorm;
use tilegrad::nn::{MeanSquaredError, Sequential, Sgd};
use tilegrad::{RunningAverage, Tensor};

/// Moving mean and variance after a step on four rows with mean 4 and a sum of squares of 20.
fn after_a_step(layer: BatchNorm, device: &tilegrad::Device) -> [f32; 2] {
    let mut model = Sequential::new([1]).add(layer);
    model.build(device, 1).unwrap();
    model.compile(Sgd::new(0.0), MeanSquaredError, []);
    let x = Tensor::new(&[1.0, 3.0, 5.0, 7.0], [4, 1], device);
    model.train_on_batch(&x, &x).unwrap();
    ["moving_mean", "moving_variance"].map(|name| {
        let param = model.weights().find(|p| p.name() == name).expect("a statistic");
        param.tensor().item().unwrap()
    })
}

#[test]
fn moving_statistics_follow_either_convention() {
    for device in devices() {
        for (layer, want) in [
            (BatchNorm::new(), [0.04, 0.99 + 0.01 * 5.0]),
            (BatchNorm::new().momentum(0.75), [1.0, 0.75 + 0.25 * 5.0]),
            (
                BatchNorm::new().running_average(RunningAverage::PyTorch { momentum: 0.1 }).epsilon(1e-5),
                [0.4, 0.9 + 0.1 * 20.0 / 3.0],
            ),
        ] {
            let got = after_a_step(layer.clone(), &device);
            assert!(nmse(&got, &want) < 1e-10, "{layer:?}: {got:?}, expected {want:?} on {device}");
        }
    }
}
