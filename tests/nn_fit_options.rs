//! What `fit` is told beside the data: weights of examples and classes, steps, when to validate.

mod common;

use common::devices;
use tilegrad::nn::layers::Dense;
use tilegrad::nn::{
    Activation, CategoricalCrossentropy, DeviceDataset, EarlyStopping, FitOptions, Initializer, LambdaCallback,
    MeanSquaredError, Metric, Sequential, Sgd, SparseCategoricalCrossentropy, Verbose, one_hot,
};
use tilegrad::{Device, Result, Tensor};

const LABELS: [u32; 6] = [0, 1, 2, 1, 0, 2];
const WEIGHTS: [f32; 6] = [1.0, 2.0, 0.5, 0.0, 3.0, 1.0];

#[track_caller]
fn assert_close(got: &[f32], want: &[f32], tolerance: f32) {
    let close = got.len() == want.len() && got.iter().zip(want).all(|(g, w)| (g - w).abs() <= tolerance);
    assert!(close, "got {got:?}, want {want:?}");
}

fn x(device: &Device) -> Tensor {
    Tensor::new(&[1.0f32, 2.0, 0.5, -1.0, -1.0, 0.25, 2.0, -0.5, 0.0, 1.0, -2.0, -1.0], [6, 2], device)
}

fn data(device: &Device) -> DeviceDataset {
    DeviceDataset::from_tensors(&x(device), &Tensor::new(&LABELS, [6], device)).unwrap()
}

fn model(device: &Device) -> Sequential {
    let kernel = Initializer::Values(vec![0.1, -0.2, 0.3, 0.4, 0.05, -0.1]);
    let dense = Dense::new(3).kernel_initializer(kernel).activation(Activation::Softmax);
    let mut model = Sequential::new([2]).add(dense);
    model.build(device, 1).unwrap();
    model.compile(Sgd::new(0.5), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    model
}

fn options<'a>() -> FitOptions<'a> {
    FitOptions::new().batch_size(4).epochs(2).shuffle(false).verbose(Verbose::Off)
}

fn kernel(model: &Sequential) -> Vec<f32> {
    model.weights().next().unwrap().tensor().to_vec().unwrap()
}

/// What Keras 3.15 has after the same.
#[test]
fn sample_weights_are_keras_s() -> Result<()> {
    let want = [0.277_415_6, 0.399_064_06, -0.476_479_68, 1.261_799_2, -0.431_554_56, -0.480_244_7];
    for device in devices() {
        let mut by_option = model(&device);
        let history = by_option.fit(&data(&device), options().sample_weights(WEIGHTS))?;
        assert_close(&history.series("loss"), &[1.212_423_4, 0.640_084_2], 1e-5);
        assert_close(&history.series("accuracy"), &[1.0 / 3.0, 2.0 / 3.0], 1e-6);
        assert_close(&kernel(&by_option), &want, 1e-5);
        // Or with the data; two examples at a time; and by hand.
        let mut with_data = model(&device);
        with_data.fit(&data(&device).with_weights(&WEIGHTS)?, options().micro_batch(2))?;
        assert_close(&kernel(&with_data), &want, 1e-5);
        let mut by_hand = model(&device);
        let (x, y) = (x(&device), Tensor::new(&LABELS, [6], &device));
        let weights = Tensor::new(&WEIGHTS, [6], &device);
        for _ in 0..2 {
            for part in [0..4, 4..6] {
                let [x, y, weights] = [&x, &y, &weights].map(|t| t.slice_axis(0, part.clone()));
                by_hand.train_on_weighted_batch(&x, &y, &weights)?;
            }
        }
        assert_close(&kernel(&by_hand), &want, 1e-5);
    }
    Ok(())
}

#[test]
fn class_weights_are_keras_s() -> Result<()> {
    for device in devices() {
        let mut sparse = model(&device);
        let history = sparse.fit(&data(&device), options().class_weights([(0, 2.0), (2, 0.25)]))?;
        assert_close(&history.series("loss"), &[0.987_722_1, 0.519_250_9], 1e-5);
        let want = [0.116_418_32, 0.301_403_22, -0.217_821_54, 1.150_200_4, -0.476_892_77, -0.323_307_57];
        assert_close(&kernel(&sparse), &want, 1e-5);
        let mut dense = model(&device);
        dense.compile(Sgd::new(0.5), CategoricalCrossentropy::new(), []);
        let rows = DeviceDataset::from_tensors(&x(&device), &one_hot(&LABELS, 3, &device)?)?;
        dense.fit(&rows, options().class_weights([(0, 2.0), (2, 0.25)]))?;
        assert_close(&kernel(&dense), &want, 1e-5);
    }
    Ok(())
}

#[test]
fn weights_count_in_measuring_too() -> Result<()> {
    for device in devices() {
        let mut model = model(&device);
        let plain = model.evaluate(&data(&device))?;
        let doubled = model.evaluate(&data(&device).with_weights(&[2.0; 6])?)?;
        assert_close(&[doubled.loss], &[2.0 * plain.loss], 1e-6);
        assert_eq!(doubled.accuracy, plain.accuracy);
        let on_batch = model.test_on_batch(&x(&device), &Tensor::new(&LABELS, [6], &device))?;
        assert_close(&[on_batch.loss], &[plain.loss], 1e-6);
        // The held part of a split keeps its weights, but not those of classes.
        let split = options().validation_split(0.5).sample_weights([0.0; 6]).class_weights([(1, 9.0)]);
        assert_eq!(model.fit(&data(&device), split)?.series("val_loss"), [0.0, 0.0]);
    }
    Ok(())
}

#[test]
fn an_epoch_may_be_short_and_validation_rare() -> Result<()> {
    for device in devices() {
        let mut model = model(&device);
        let (mut batches, validation) = (0, data(&device));
        let counts = LambdaCallback::new().on_batch_end(|_, _| {
            batches += 1;
            Ok(tilegrad::nn::Flow::Continue)
        });
        let short = options().batch_size(2).epochs(5).steps_per_epoch(2);
        let rare = short.validation(&validation).validation_steps(1).validation_freq(2);
        // Epochs without validation are neither good nor bad.
        let history =
            model.fit(&data(&device), rare.callback(counts).callback(EarlyStopping::new(2).baseline(1e-9)))?;
        assert_eq!((batches, history.epochs.len(), history.examples), (8, 4, 4));
        let validated: Vec<bool> = history.epochs.iter().map(|epoch| epoch.val_loss.is_some()).collect();
        assert_eq!(validated, [false, true, false, true]);
    }
    Ok(())
}

#[test]
fn wrong_options_are_named() {
    let device = Device::cpu();
    let mut model = model(&device);
    let mut refused = |options: FitOptions<'_>| model.fit(&data(&device), options).unwrap_err().to_string();
    let message = refused(options().sample_weights([1.0; 5]));
    assert_eq!(message, "sample weights: expected 6, one an example, got 5");
    let message = refused(options().sample_weights([1.0, 1.0, -1.0, 1.0, 1.0, 1.0]));
    assert_eq!(message, "sample weight at index 2: expected a finite number from 0 on, got -1");
    let message = refused(options().class_weights([(3, 1.0)]));
    assert_eq!(message, "class weights: expected classes from 0 to 2, got 3");
    let message = refused(options().class_weights([(1, f32::NAN)]));
    assert_eq!(message, "weight of class 1: expected a finite number from 0 on, got NaN");
    for (options, what) in [
        (options().steps_per_epoch(0), "steps per epoch"),
        (options().validation_steps(0), "validation steps"),
        (options().validation_freq(0), "validation frequency"),
    ] {
        assert_eq!(refused(options), format!("{what}: expected at least 1, got 0"));
    }
    let values = Tensor::zeros([6, 3, 1], &device);
    let mut model = Sequential::new([2]).add(Dense::new(3)).add(tilegrad::nn::layers::Reshape::new([3, 1]));
    model.build(&device, 1).unwrap();
    model.compile(Sgd::new(0.1), MeanSquaredError, []);
    let data = DeviceDataset::from_tensors(&x(&device), &values).unwrap();
    let message = model.fit(&data, options().class_weights([(0, 1.0)])).unwrap_err().to_string();
    assert_eq!(message, "y for class weights: expected class numbers or one-hot rows, got f32 [6, 3, 1]");
}
