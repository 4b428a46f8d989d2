//! Training models of several inputs and outputs.

mod common;

use common::devices;
use tilegrad::data::Digits;
use tilegrad::nn::layers::{Concatenate, Dense, Flatten};
use tilegrad::nn::{
    Activation, Adam, CategoricalCrossentropy, DeviceDataset, FitOptions, Initializer, Input, Layer, MeanSquaredError,
    Metric, Model, Objective, Sgd, SparseCategoricalCrossentropy, Verbose, load_model,
};
use tilegrad::{Device, Result, Tensor};

const KINDS: [u32; 6] = [0, 2, 1, 1, 0, 2];

#[track_caller]
fn assert_close(got: &[f32], want: &[f32]) {
    let close = got.len() == want.len() && got.iter().zip(want).all(|(g, w)| (g - w).abs() <= 2e-5);
    assert!(close, "got {got:?}, want {want:?}");
}

/// `sin(0)`, `sin(step)`, `sin(2 step)` ...
fn wave(n: usize, step: f32) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * step).sin()).collect()
}

fn inputs(device: &Device) -> [Tensor; 2] {
    [Tensor::new(&wave(18, 0.9), [6, 3], device), Tensor::new(&wave(12, 1.7), [6, 2], device)]
}

fn truth(device: &Device) -> [Tensor; 2] {
    [Tensor::new(&KINDS, [6], device), Tensor::new(&wave(12, 0.3), [6, 2], device)]
}

fn data(device: &Device) -> DeviceDataset {
    let ([a, b], [kinds, sizes]) = (inputs(device), truth(device));
    DeviceDataset::from_tensors([&a, &b], [&kinds, &sizes]).unwrap()
}

/// Two inputs, one through a layer; both go into two outputs, a kind and a size.
fn model(device: &Device) -> Model {
    let dense = |units: usize, values: Vec<f32>| Dense::new(units).kernel_initializer(Initializer::Values(values));
    let (a, b) = (Input::new([3]), Input::new([2]));
    let left = dense(4, wave(12, 0.7)).activation(Activation::Tanh).name("left").call(&a);
    let joined = Concatenate::new().call([&left, &b]);
    let kind = dense(3, wave(18, 1.3)).activation(Activation::Softmax).name("kind").call(&joined);
    let size = dense(2, wave(12, 0.4)).name("size").call(&joined);
    let mut model = Model::new([&a, &b], [&kind, &size]);
    model.build(device, 1).unwrap();
    model
}

fn objectives() -> [Objective; 2] {
    let kind = Objective::new(SparseCategoricalCrossentropy::new()).metrics([Metric::Accuracy]);
    [kind, Objective::new(MeanSquaredError).weight(0.5).metrics([Metric::MeanAbsoluteError])]
}

fn compiled(device: &Device) -> Model {
    let mut model = model(device);
    model.compile_all(Sgd::new(0.1), objectives());
    model
}

fn options<'a>(epochs: usize) -> FitOptions<'a> {
    FitOptions::new().batch_size(2).epochs(epochs).shuffle(false).verbose(Verbose::Off)
}

fn weights(model: &Model) -> Vec<Vec<f32>> {
    model.weights().map(|weight| weight.tensor().to_vec().unwrap()).collect()
}

const NAMES: [&str; 4] = ["kind_accuracy", "kind_loss", "size_loss", "size_mean_absolute_error"];

/// What Keras 3.15 has.
#[test]
fn losses_and_metrics_are_keras_s() -> Result<()> {
    for device in devices() {
        let (mut model, data) = (compiled(&device), data(&device));
        let before = model.evaluate_in_batches(&data, 4)?;
        assert_close(&[before.loss], &[1.919_203_2]);
        assert_eq!(before.metrics.keys().collect::<Vec<_>>(), NAMES);
        let values: Vec<f32> = before.metrics.into_values().collect();
        assert_close(&values, &[1.0 / 3.0, 0.896_877_1, 2.044_652, 1.223_192_3]);
        assert_eq!((before.accuracy, before.examples), (None, 6));

        let history = model.fit(&data, options(2))?;
        assert_close(&history.loss(), &[1.805_845_4, 1.259_802_2]);
        assert_close(&history.series("kind_accuracy"), &[1.0 / 3.0, 1.0 / 3.0]);
        assert_close(&history.series("kind_loss"), &[0.970_294_95, 0.936_607_4]);
        assert_close(&history.series("size_loss"), &[1.671_101, 0.646_389_54]);
        assert_close(&history.series("size_mean_absolute_error"), &[1.134_650_8, 0.683_175_74]);

        let ([a, b], [kinds, sizes]) = (inputs(&device), truth(&device));
        let after = model.test_on_batch([&a, &b], [&kinds, &sizes])?;
        let values: Vec<f32> = after.metrics.values().copied().collect();
        assert_close(&[after.loss], &[1.016_394_1]);
        assert_close(&values, &[0.5, 0.841_994_46, 0.348_799_38, 0.482_385_4]);
        assert_eq!(model.train_on_batch([&a, &b], [&kinds, &sizes])?.metrics, after.metrics);
    }
    Ok(())
}

/// What Keras 3.15 has.
#[test]
fn predictions_are_keras_s_and_of_each_output() -> Result<()> {
    for device in devices() {
        let (mut model, [a, b]) = (compiled(&device), inputs(&device));
        model.fit(&data(&device), options(2))?;
        let all = model.predict_all([&a, &b])?;
        let kinds = all[0].to_vec::<f32>()?;
        assert_close(&kinds[..6], &[0.410_625, 0.438_742, 0.150_633, 0.162_231, 0.214_566, 0.623_202]);
        assert_close(&all[1].to_vec::<f32>()?[..4], &[0.058_065, -0.277_354, 0.686_066, 1.094_999]);
        assert_eq!(all[1].shape().to_string(), "[6, 2]");
        // `predict` gives the first, from data on the device too, in batches of any size.
        assert_eq!(model.predict(&data(&device))?.to_vec::<f32>()?, kinds);
        assert_close(&model.predict_in_batches([&a, &b], 4)?.to_vec::<f32>()?, &kinds);
    }
    Ok(())
}

/// What Keras 3.15 has.
#[test]
fn sample_weights_count_in_each_loss() -> Result<()> {
    for device in devices() {
        let (mut model, data) = (compiled(&device), data(&device));
        model.fit(&data, options(2).sample_weights([1.0, 0.0, 2.0, 0.5, 1.0, 3.0]))?;
        let after = model.evaluate(&data)?;
        assert_close(&[after.loss, after.metrics["kind_loss"]], &[1.030_244_3, 0.909_846_7]);
        assert_close(&[after.metrics["size_loss"]], &[0.240_795_27]);
    }
    Ok(())
}

#[test]
fn recorded_steps_parts_of_batches_and_held_examples_give_the_same() -> Result<()> {
    for device in devices() {
        let train = |options: FitOptions<'_>| {
            let mut model = compiled(&device);
            let history = model.fit(&data(&device), options.epochs(3)).unwrap();
            (weights(&model), history.loss())
        };
        let want = train(options(3).run_eagerly(true));
        assert_eq!(train(options(3)), want, "on {device}");
        let in_parts = train(options(3).micro_batch(1));
        assert_close(&in_parts.0.concat(), &want.0.concat());
        let mut model = compiled(&device);
        let history = model.fit(&data(&device), options(1).validation_split(0.5))?;
        assert_eq!(history.last().unwrap().val_metrics.keys().collect::<Vec<_>>(), NAMES);
    }
    Ok(())
}

#[test]
fn training_goes_on_from_a_file_bit_by_bit() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for device in devices() {
        let data = data(&device);
        let start = || {
            let mut model = model(&device);
            model.compile_all(Adam::new(0.05), objectives());
            model
        };
        let mut whole = start();
        whole.fit(&data, options(4))?;
        let mut first = start();
        first.fit(&data, options(2))?;
        first.save(&path)?;
        let mut rest = load_model(&path, &device)?;
        let (loaded, saved) = (rest.evaluate(&data)?, first.evaluate(&data)?);
        assert_eq!(loaded, saved);
        rest.fit(&data, options(4).initial_epoch(2))?;
        assert_eq!(weights(&rest), weights(&whole), "on {device}");
    }
    Ok(())
}

/// The same layer makes both outputs, which then have different names.
#[test]
fn outputs_of_one_layer_have_names_of_their_own() -> Result<()> {
    let device = Device::cpu();
    let (a, b) = (Input::new([2]), Input::new([2]));
    let layer = Dense::new(2).name("both").shared();
    let mut shared = Model::new([&a, &b], [&layer.call(&a), &layer.call(&b)]);
    shared.build(&device, 3)?;
    shared.compile_all(Sgd::new(0.1), [1.0, 2.0].map(|w| Objective::new(MeanSquaredError).weight(w)));
    let ones = Tensor::ones([4, 2], &device);
    let measured = shared.train_on_batch([&ones, &ones], [&ones, &ones])?;
    assert_eq!(measured.metrics.keys().collect::<Vec<_>>(), ["both_1_loss", "both_loss"]);
    assert_close(&[measured.loss], &[3.0 * measured.metrics["both_loss"]]);
    Ok(())
}

/// A chain of digits through one trunk into two heads, on real images.
#[test]
fn two_heads_learn_digits_and_their_parity() -> Result<()> {
    let digits = Digits::load();
    for device in devices() {
        let inputs = Input::new([8, 8, 1]);
        let trunk = Dense::new(32).activation(Activation::Relu).call(Flatten::new().call(&inputs));
        let digit = Dense::new(10).activation(Activation::Softmax).name("digit").call(&trunk);
        let parity = Dense::new(2).activation(Activation::Softmax).name("parity").call(&trunk);
        let mut model = Model::new(&inputs, [&digit, &parity]);
        model.build(&device, 5)?;
        let objective = || Objective::new(SparseCategoricalCrossentropy::new()).metrics([Metric::Accuracy]);
        model.compile_all(Adam::new(0.01), [objective(), objective().weight(0.5)]);
        let pixels: Vec<f32> = digits.train.images().iter().map(|&p| f32::from(p) / digits.train.scale()).collect();
        let labels = digits.train.labels();
        let odd: Vec<u32> = labels.iter().map(|label| label % 2).collect();
        let n = labels.len();
        let data = DeviceDataset::from_tensors(
            &Tensor::new(&pixels, [n, 8, 8, 1], &device),
            [&Tensor::new(labels, [n], &device), &Tensor::new(&odd, [n], &device)],
        )?;
        let history = model.fit(&data, FitOptions::new().epochs(4).verbose(Verbose::Off).validation_split(0.1))?;
        let last = history.last().unwrap();
        let accuracies = [last.val_metrics["digit_accuracy"], last.val_metrics["parity_accuracy"]];
        assert!(accuracies.iter().all(|&accuracy| accuracy > 0.85), "{accuracies:?} on {device}");
    }
    Ok(())
}

#[track_caller]
fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn what_does_not_fit_is_named() {
    let device = Device::cpu();
    let ([a, b], [kinds, sizes]) = (inputs(&device), truth(&device));
    let mut compiled = compiled(&device);
    let before = weights(&compiled);
    let one_input = DeviceDataset::from_tensors(&a, [&kinds, &sizes]).unwrap();
    assert!(message(compiled.fit(&one_input, options(1))).contains("inputs of x: expected 2, as the model has, got 1"));
    let one_output = DeviceDataset::from_tensors([&a, &b], &kinds).unwrap();
    let got = message(compiled.evaluate(&one_output));
    assert!(got.contains("true values of x: expected 2, one for each output, got 1"), "{got}");
    let swapped = DeviceDataset::from_tensors([&b, &a], [&kinds, &sizes]).unwrap();
    assert!(message(compiled.fit(&swapped, options(1))).contains("expected [3], the model's input, got [2]"));
    let images = Digits::load().train;
    let got = message(compiled.fit(&images, options(1)));
    assert!(got.contains("data for 2 inputs and 2 outputs"), "{got}");
    let got = message(compiled.train_on_batch([&a, &b], &kinds));
    assert!(got.contains("y: expected 2, one for each output, got 1"), "{got}");
    let large = Tensor::new(&[0u32, 1, 2, 3, 0, 1], [6], &device);
    let got = message(compiled.fit(&DeviceDataset::from_tensors([&a, &b], [&large, &sizes]).unwrap(), options(1)));
    assert!(got.contains("label 3"), "{got}");
    let got = message(compiled.fit(&data(&device), options(1).class_weights([(0, 2.0)])));
    assert!(got.contains("outputs, for class weights: expected one, got 2"), "{got}");
    let got = message(DeviceDataset::from_tensors([&a, &Tensor::ones([5, 2], &device)], &kinds));
    assert!(got.contains("as many examples in each, got [6, 3], [5, 2] and [6]"), "{got}");
    assert_eq!(weights(&compiled), before);

    let mut model = model(&device);
    model.compile(Sgd::new(0.1), CategoricalCrossentropy::new(), []);
    let got = message(model.fit(&data(&device), options(1)));
    assert!(got.contains("losses: expected 2, one for each output of the model, got 1"), "{got}");
    model.compile_all(Sgd::new(0.1), objectives().map(|objective| objective.weight(-1.0)));
    let got = message(model.fit(&data(&device), options(1)));
    assert!(got.contains("weight of sparse_categorical_crossentropy: expected a finite number"), "{got}");
}
