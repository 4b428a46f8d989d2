//! Ten training steps of Keras, step by step: the same weights and batches in, the same losses, gradients, weights and
//! probabilities out.
//!
//! The cases are in `tests/data/keras`; `TILEGRAD_CASES_DIR` names another folder that has a `keras` folder of the form.

mod common;

use std::collections::HashMap;
use std::path::PathBuf;

use common::devices;
use safetensors::SafeTensors;
use serde_json::Value;
use tilegrad::nn::layers::{AvgPool2d, BatchNorm, Conv2d, Dense, Dropout, Flatten, GlobalAvgPool2d, MaxPool2d, Pair};
use tilegrad::nn::{Activation, Adam, Metric, RmsProp, Sequential, Sgd, SparseCategoricalCrossentropy as Loss};
use tilegrad::{Device, Padding, Tensor};

fn folder() -> PathBuf {
    let cases = std::env::var_os("TILEGRAD_CASES_DIR").map(PathBuf::from);
    cases.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data")).join("keras")
}

fn pair(config: &Value, key: &str) -> Pair {
    let number = |i: usize| config[key][i].as_u64().unwrap_or_else(|| panic!("{key} in {config}")) as usize;
    Pair([number(0), number(1)])
}

fn padding(config: &Value) -> Padding {
    if config["padding"] == "same" { Padding::Same } else { Padding::Valid }
}

fn activation(config: &Value) -> Activation {
    match config["activation"].as_str() {
        Some("relu") => Activation::Relu,
        Some("softmax") => Activation::Softmax,
        Some("linear") | None => Activation::Linear,
        other => panic!("activation {other:?}"),
    }
}

fn model(case: &Value) -> Sequential {
    let mut model = Sequential::new([28, 28, 1]);
    for layer in case["layers"].as_array().unwrap() {
        let (config, name) = (&layer["config"], layer["name"].as_str().unwrap());
        let size = |key: &str| config[key].as_u64().unwrap() as usize;
        let float = |key: &str| config[key].as_f64().unwrap() as f32;
        match layer["type"].as_str().unwrap() {
            "InputLayer" => {}
            "Conv2D" => model.push(
                Conv2d::new(size("filters"), pair(config, "kernel_size"))
                    .strides(pair(config, "strides"))
                    .padding(padding(config))
                    .activation(activation(config))
                    .name(name),
            ),
            "MaxPooling2D" => model.push(
                MaxPool2d::new(pair(config, "pool_size"))
                    .strides(pair(config, "strides"))
                    .padding(padding(config))
                    .name(name),
            ),
            "AveragePooling2D" => model.push(
                AvgPool2d::new(pair(config, "pool_size"))
                    .strides(pair(config, "strides"))
                    .padding(padding(config))
                    .name(name),
            ),
            "GlobalAveragePooling2D" => model.push(GlobalAvgPool2d::new().name(name)),
            "Flatten" => model.push(Flatten::new().name(name)),
            "Dense" => model.push(Dense::new(size("units")).activation(activation(config)).name(name)),
            "Dropout" => model.push(Dropout::new(float("rate")).name(name)),
            "BatchNormalization" => {
                model.push(BatchNorm::new().momentum(float("momentum")).epsilon(float("epsilon")).name(name))
            }
            "ReLU" => model.push(Activation::Relu),
            other => panic!("layer type {other}"),
        }
    }
    model
}

fn compile(model: &mut Sequential, case: &Value) {
    let config = &case["optimizer_config"];
    let float = |key: &str| config[key].as_f64().unwrap() as f32;
    let (rate, loss, metrics) = (float("learning_rate"), Loss::new(), [Metric::Accuracy]);
    match case["optimizer"].as_str().unwrap() {
        "Adam" => model.compile(
            Adam::new(rate).betas(float("beta_1"), float("beta_2")).epsilon(float("epsilon")),
            loss,
            metrics,
        ),
        "RMSprop" => {
            model.compile(RmsProp::new(rate).rho(float("rho")).epsilon(float("epsilon")), loss, metrics);
        }
        "SGD" => {
            let sgd = Sgd::new(rate).momentum(float("momentum")).nesterov(float("nesterov") != 0.0);
            model.compile(sgd, loss, metrics);
        }
        other => panic!("optimizer {other}"),
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// All tensors of a kind by layer and weight: `init/sequential/conv2d/kernel` and `init/conv2d/kernel` as `conv2d/kernel`.
fn of_kind(file: &SafeTensors<'_>, kind: &str) -> HashMap<String, Vec<f32>> {
    let found = file.iter().filter_map(|(name, view)| {
        let parts: Vec<&str> = name.split('/').collect();
        let path = parts[parts.len().saturating_sub(2)..].join("/");
        (parts[0] == kind).then(|| (path, floats(view.data())))
    });
    found.collect()
}

/// The largest difference, as a share of the largest value.
fn distance(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
    got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max) / largest
}

fn follow(case: &Value, file: &SafeTensors<'_>, device: &Device) {
    let name = case["name"].as_str().unwrap();
    let mut model = model(case);
    model.build(device, 0).unwrap();
    compile(&mut model, case);
    assert_eq!(model.params().map(|p| p.len()).sum::<usize>() as u64, params(case, &model));

    let initial = of_kind(file, "init");
    assert_eq!(initial.len(), model.weights().count(), "{name}");
    model.weights().for_each(|w| w.tensor().assign(&initial[&w.path()]).unwrap());

    let images = file.tensor("images_u8").unwrap();
    let labels = file.tensor("labels").unwrap();
    let (steps, batch) = (images.shape()[0], images.shape()[1]);
    let labels: Vec<u32> = labels.data().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
    let pixels: Vec<f32> = images.data().iter().map(|&b| f32::from(b) / 255.0).collect();
    let x = |step: usize| {
        let len = batch * 28 * 28;
        Tensor::new(&pixels[step * len..][..len], [batch, 28, 28, 1], device)
    };
    for step in 0..steps {
        let y = Tensor::new(&labels[step * batch..][..batch], [batch], device);
        let got = model.train_on_batch(&x(step), &y).unwrap().loss;
        let want = case["losses"][step].as_f64().unwrap() as f32;
        assert!((got - want).abs() <= 1e-4 * want, "{name} on {device}: loss of step {step}: {got}, Keras {want}");
    }
    for (path, want) in of_kind(file, "final") {
        let weight = model.weights().find(|w| w.path() == path).unwrap();
        let far = distance(&weight.tensor().to_vec::<f32>().unwrap(), &want);
        assert!(far <= 2e-3, "{name} on {device}: {path} is {far} away from Keras's");
    }
    let want = floats(file.tensor("probs/final_inference").unwrap().data());
    let got = model.predict(&x(0)).unwrap().to_vec::<f32>().unwrap();
    let far = distance(&got, &want);
    assert!(far <= 2e-3, "{name} on {device}: probabilities are {far} away from Keras's");
}

/// Keras counts running statistics too.
fn params(case: &Value, model: &Sequential) -> u64 {
    let statistics = model.weights().filter(|w| !w.is_trainable()).map(|w| w.len() as u64).sum::<u64>();
    case["params"].as_u64().unwrap() - statistics
}

#[test]
fn training_follows_keras() {
    let folder = folder();
    let text = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let cases = manifest["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let bytes = std::fs::read(folder.join(case["file"].as_str().unwrap())).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        for device in devices() {
            follow(case, &file, &device);
        }
    }
}
