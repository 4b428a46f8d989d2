//! Mixed precision: it learns as 32 bits do, repeats bit by bit, and leaves out steps that overflow.

mod common;

use common::{devices, nmse};
use tilegrad::data::Digits;
use tilegrad::nn::layers::{Conv2d, Dense, Flatten, MaxPool2d};
use tilegrad::nn::{
    Activation, Adam, FitOptions, Initializer, MeanSquaredError, Metric, Model, Precision, Sequential, Sgd,
    SparseCategoricalCrossentropy, Verbose,
};
use tilegrad::{DType, Device, Tensor};

fn convnet(device: &Device, precision: Precision) -> Sequential {
    let mut model = Sequential::new([8, 8, 1])
        .precision(precision)
        .add(Conv2d::new(8, 3).activation(Activation::Relu))
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dense::new(32).activation(Activation::Relu))
        .add(Dense::new(10).activation(Activation::Softmax));
    model.build(device, 42).unwrap();
    model.compile(Adam::new(0.005), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    model
}

fn weights(model: &Model) -> Vec<Vec<f32>> {
    model.weights().map(|w| w.tensor().to_vec::<f32>().unwrap()).collect()
}

#[test]
fn it_learns_as_well_as_32_bits_and_repeats_bit_by_bit() {
    let data = Digits::load();
    for device in devices() {
        let train = |precision| {
            let mut model = convnet(&device, precision);
            let options = FitOptions::new().epochs(6).batch_size(32).seed(1).verbose(Verbose::Off);
            model.fit(&data.train, options).unwrap();
            (model.evaluate(&data.test).unwrap(), weights(&model), model.loss_scale().unwrap())
        };
        let (full, _, no_scale) = train(Precision::F32);
        let (mixed, bits, scale) = train(Precision::Mixed);
        let (full, mixed) = (full.accuracy.unwrap(), mixed.accuracy.unwrap());
        assert!(full > 0.9 && (full - mixed).abs() <= 0.01, "{full} and, mixed, {mixed} on {device}");
        assert_eq!((no_scale, scale), (None, Some(32_768.0)), "{device}");
        let again = train(Precision::Mixed);
        assert_eq!(bits, again.1, "{device}");
    }
}

/// `y = w x` with `w = 1` for examples `x`, trained on targets by plain gradient descent.
fn line(device: &Device) -> Sequential {
    let ones = Initializer::Ones;
    let mut model =
        Sequential::new([2]).precision(Precision::Mixed).add(Dense::new(1).use_bias(false).kernel_initializer(ones));
    model.build(device, 0).unwrap();
    model.compile(Sgd::new(0.01).momentum(0.5), MeanSquaredError, []);
    model
}

#[test]
fn a_step_that_overflows_is_left_out_and_the_scale_halved() {
    for device in devices() {
        let mut model = line(&device);
        let x = Tensor::new(&[1.0, 0.5], [1, 2], &device);
        // The error is 1000, its gradient 2000: that times the scale is no half until the scale is 32.
        let y = Tensor::new(&[-998.5], [1, 1], &device);
        for scale in [16_384.0, 8192.0, 4096.0, 2048.0, 1024.0, 512.0, 256.0, 128.0, 64.0, 32.0] {
            assert_eq!(model.train_on_batch(&x, &y).unwrap().loss, 1e6, "{device}");
            assert_eq!(model.loss_scale().unwrap(), Some(scale), "{device}");
            assert_eq!(weights(&model), [[1.0, 1.0]], "{device}");
        }
        model.train_on_batch(&x, &y).unwrap();
        assert_eq!(model.loss_scale().unwrap(), Some(32.0));
        // Minus the learning rate times 2000 x.
        assert_eq!(weights(&model), [[-19.0, -9.0]], "{device}");
        // Momentum starts with the step that was made.
        let y = model.forward(&x).unwrap();
        model.train_on_batch(&x, &y).unwrap();
        assert_eq!(weights(&model), [[-29.0, -14.0]], "{device}");
    }
}

#[test]
fn the_scale_doubles_after_2000_good_steps() {
    let mut model = line(&Device::cpu());
    // The target is what the model gives: gradients of 0.
    let (x, y) = (Tensor::ones([1, 2], &Device::cpu()), Tensor::full(2.0, [1, 1], &Device::cpu()));
    let scales: Vec<f32> = (0..2000)
        .map(|_| {
            model.train_on_batch(&x, &y).unwrap();
            model.loss_scale().unwrap().expect("a step was made")
        })
        .collect();
    assert!(scales[..1999].iter().all(|&s| s == 32_768.0));
    assert_eq!(scales[1999], 65_536.0);
}

#[test]
fn inference_rounds_too_and_weights_stay_32_bits() {
    let data = Digits::load();
    for device in devices() {
        let (full, mixed) = (convnet(&device, Precision::F32), convnet(&device, Precision::Mixed));
        assert_eq!(weights(&full), weights(&mixed));
        let [a, b] = [&full, &mixed].map(|m| m.predict(&data.test).unwrap().to_vec::<f32>().unwrap());
        assert!(a != b && nmse(&b, &a) < 1e-5, "{:e} on {device}", nmse(&b, &a));
        assert!(mixed.weights().all(|w| w.tensor().dtype() == DType::F32));
    }
}
