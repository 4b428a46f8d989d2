//! Whole models in files: architecture, weights and training, and going on in another process.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{devices, random};
use tilegrad::data::Digits;
use tilegrad::nn::layers::{
    Add, BatchNorm, Concatenate, Conv2d, Dense, Dropout, Flatten, GlobalAvgPool2d, MaxPool2d, Rescaling,
};
use tilegrad::nn::{
    Activation, Adam, BuildContext, Clip, Context, FitOptions, Initializer, Input, Layer, Metric, Model, Param,
    Precision, Registry, Sequential, SparseCategoricalCrossentropy, Verbose, load_model, load_model_with,
};
use tilegrad::{Device, Error, Result, Shape, ShapeError, Tensor};

fn weights(model: &Model) -> Vec<(String, Vec<f32>)> {
    model.named_weights().map(|(name, w)| (name, w.tensor().to_vec().unwrap())).collect()
}

fn classifier(device: &Device, precision: Precision) -> Model {
    let mut model = Sequential::new([8, 8, 1])
        .named("digits")
        .precision(precision)
        .add(Conv2d::new(8, 3).activation(Activation::Relu).name("stem"))
        .add(BatchNorm::new())
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dropout::new(0.25))
        .add(Dense::new(10).activation(Activation::Softmax));
    model.build(device, 5).unwrap();
    let adam = Adam::new(0.003).clip(Clip::GlobalNorm(5.0));
    model.compile(adam, SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    model.into()
}

/// Branches, a model within the model, a layer that is called twice, an input and an output with two users.
fn branched(device: &Device) -> Model {
    let mut base = Sequential::new([4, 4, 2]).named("base").add(Conv2d::new(3, 3)).add(Flatten::new());
    base.build(device, 1).unwrap();
    base.trainable(false);
    let (left, right) = (Input::named("left", [4, 4, 2]), Input::new([4, 4, 2]));
    let (a, b) = (base.call(&left), base.call(&right));
    let twice = Dense::new(5).shared();
    let (c, d) = (twice.call(&a), twice.call(&b));
    let sum = Add::new().name("sum").call([&c, &d]);
    let joined = Concatenate::new().call([&sum, &a]);
    let edge = Dense::new(2).kernel_initializer(Initializer::Values(vec![0.5; 34])).call(&joined);
    let mut model = Model::new([&left, &right], [&edge, &sum]);
    model.build(device, 2).unwrap();
    model
}

#[test]
fn a_file_is_the_whole_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for device in devices() {
        let model = classifier(&device, Precision::F32);
        model.save(&path).unwrap();
        let again = load_model(&path, &device).unwrap();
        assert_eq!(weights(&again), weights(&model));
        assert_eq!(again.summary().unwrap().to_string(), model.summary().unwrap().to_string());
        let x = random([5, 8, 8, 1], 1, 0.0, 1.0).to(&device).unwrap();
        let values = |model: &Model| model.predict(&x).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(values(&again), values(&model));

        let model = branched(&device);
        model.save(&path).unwrap();
        let again = load_model(&path, &device).unwrap();
        assert_eq!(weights(&again), weights(&model));
        assert_eq!(again.summary().unwrap(), model.summary().unwrap(), "names, connections, groups, what is frozen");
        let x = random([3, 4, 4, 2], 1, -1.0, 1.0).to(&device).unwrap();
        let y = random([3, 4, 4, 2], 2, -1.0, 1.0).to(&device).unwrap();
        let values = |model: &Model| -> Vec<Vec<f32>> {
            model.forward_all(&[&x, &y]).unwrap().iter().map(|t| t.to_vec().unwrap()).collect()
        };
        assert_eq!(values(&again), values(&model));
        // And once more: nothing is lost on the way.
        let bytes = fs::read(&path).unwrap();
        again.save(&path).unwrap();
        let (header, header_again) = (header(&bytes), header(&fs::read(&path).unwrap()));
        assert_eq!(header["__metadata__"]["architecture"], header_again["__metadata__"]["architecture"]);
    }
}

fn header(file: &[u8]) -> serde_json::Value {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    serde_json::from_slice(&file[8..8 + length]).unwrap()
}

#[test]
fn hand_made_kernels_are_in_the_file_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    branched(&Device::cpu()).save(&path).unwrap();
    let header = header(&fs::read(&path).unwrap()).to_string();
    assert!(!header.contains("0.5,0.5"), "{header}");
    assert!(header.contains("base.conv2d.kernel") && header.contains("dense.kernel"), "{header}");
}

fn options<'a>(epochs: usize, initial: usize) -> FitOptions<'a> {
    FitOptions::new().epochs(epochs).initial_epoch(initial).batch_size(64).validation_split(0.2).verbose(Verbose::Off)
}

/// The second half of a training, in a process of its own: does nothing unless the first half asks for it.
#[test]
fn second_half() {
    let Ok(job) = std::env::var("TILEGRAD_TEST_SECOND_HALF") else { return };
    let (device, path) = job.split_once(' ').unwrap();
    let device = if device == "cpu" { Device::cpu() } else { common::gpu().unwrap() };
    let mut model = load_model(path, &device).unwrap();
    assert_eq!(model.epochs_trained(), 2);
    let data = Digits::load().train;
    model.fit(&data, options(4, model.epochs_trained())).unwrap();
    // A step outside `fit` has random numbers of its own.
    let x = random([16, 8, 8, 1], 3, 0.0, 1.0).to(&device).unwrap();
    model.train_on_batch(&x, &Tensor::new(&[3u32; 16], [16], &device)).unwrap();
    model.save(path).unwrap();
}

#[test]
fn training_goes_on_in_another_process() {
    let data = Digits::load().train;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    for (device, precision) in devices().iter().flat_map(|d| [(d, Precision::F32), (d, Precision::Mixed)]) {
        let step = |model: &mut Model| {
            let x = random([16, 8, 8, 1], 3, 0.0, 1.0).to(device).unwrap();
            model.train_on_batch(&x, &Tensor::new(&[3u32; 16], [16], device)).unwrap();
        };
        let mut whole = classifier(device, precision);
        step(&mut whole);
        whole.fit(&data, options(4, 0)).unwrap();
        step(&mut whole);

        let mut half = classifier(device, precision);
        step(&mut half);
        half.fit(&data, options(2, 0)).unwrap();
        half.save(&path).unwrap();
        let name = if *device == Device::cpu() { "cpu" } else { "gpu" };
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "second_half"])
            .env("TILEGRAD_TEST_SECOND_HALF", format!("{name} {}", path.display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let resumed = load_model(&path, device).unwrap();
        assert_eq!(resumed.epochs_trained(), 4);
        assert_eq!(weights(&resumed), weights(&whole), "{precision:?} on {device}");
    }
}

/// Multiplies each feature by a learned number.
#[derive(Debug, serde::Deserialize)]
struct Scale {
    start: f32,
    #[serde(skip)]
    scale: Option<Param>,
}

impl Layer for Scale {
    fn kind(&self) -> &str {
        "Scale"
    }

    fn config(&self) -> serde_json::Value {
        serde_json::json!({ "start": self.start })
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Ok(*input)
    }

    fn build(&mut self, input: &Shape, ctx: &mut BuildContext) -> Result<Shape, ShapeError> {
        self.scale = Some(ctx.weight("scale", [input[input.rank() - 1]], &Initializer::Constant(self.start))?);
        Ok(*input)
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.mul(&self.scale.as_ref().expect("built").tensor())
    }
}

#[test]
fn layers_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.safetensors");
    let mut model = Sequential::new([3]).add(Rescaling::new(2.0)).add(Scale { start: 4.0, scale: None });
    model.build(&Device::cpu(), 1).unwrap();
    model.save(&path).unwrap();
    let text = load_model(&path, &Device::cpu()).unwrap_err().to_string();
    assert!(text.contains("type of layer: expected one of Activation") && text.contains("got \"Scale\""), "{text}");
    let registry = Registry::default().with::<Scale>("Scale");
    let again = load_model_with(&path, &Device::cpu(), &registry).unwrap();
    let x = Tensor::ones([1, 3], &Device::cpu());
    assert_eq!(again.forward(&x).unwrap().to_vec::<f32>().unwrap(), [8.0; 3]);
}

/// A file with this architecture, version and one tensor `dense.bias (3)`.
fn write(path: &Path, architecture: &str, version: &str, training: &str) {
    let bytes = [0u8; 12];
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![3], &bytes).unwrap();
    let about =
        [("architecture", architecture), ("format_version", version), ("training", training), ("version", "9.9")];
    let about = about.map(|(k, v)| (k.to_string(), v.to_string())).into();
    fs::write(path, safetensors::serialize([("dense.bias", view)], Some(about)).unwrap()).unwrap();
}

#[test]
fn files_that_are_no_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.safetensors");
    let dense = |units: u64, inputs: &str| {
        format!(
            r#"{{"name":"m","kind":"Sequential","precision":"f32","inputs":[{{"shape":[2]}}],"layers":[{{"name":"dense",
            "kind":"Dense","trainable":true,"config":{{"units":{units},"activation":"linear","use_bias":true,
            "kernel_initializer":"zeros","bias_initializer":"zeros","name":null}}}}],
            "nodes":[{{"layer":0,"inputs":[{inputs}]}}],"outputs":[1]}}"#
        )
    };
    let error = |architecture: &str, version: &str, training: &str| {
        write(&path, architecture, version, training);
        load_model(&path, &Device::cpu()).unwrap_err()
    };
    let text = error(&dense(3, "0"), "7", "null").to_string();
    assert!(text.contains("version of the format: expected 1, got 7, written by tilegrad 9.9"), "{text}");
    let e = error(&dense(3, "0"), "1", "null");
    let Error::Checkpoint { differences, .. } = &e else { panic!("{e}") };
    assert_eq!(differences[..], ["dense.kernel: the model has [2, 3], the file has no such weight"]);
    let text = error(&dense(4, "0"), "1", "null").to_string();
    assert!(text.contains("dense.bias: expected [4], got [3]"), "{text}");
    for (architecture, what) in [
        ("{", "architecture in the metadata"),
        (&dense(3, "0").replace("\"Dense\"", "\"Dance\""), "got \"Dance\""),
        (&dense(3, "0").replace("\"units\"", "\"unit\""), "settings of the layer Dense"),
        (&dense(3, "1"), "a value before number 1, got value 1"),
        (&dense(3, "18446744073709551615"), "graph of the model"),
        (&dense(3, ""), "an input for each call"),
        (&dense(3, "0, 0"), "takes one input, got 2"),
        (&dense(3, "0").replace("\"layer\":0", "\"layer\":5"), "a layer before number 1, got layer 5"),
        (&dense(3, "0").replace("\"outputs\":[1]", "\"outputs\":[]"), "inputs and outputs"),
        (&dense(u64::MAX, "0"), "more elements than memory could hold"),
        (&dense(0, "0"), "units is 0"),
        (&dense(3, "0").replace("[2]", "[9223372036854775807, 9]"), "shapes that memory could hold"),
        (&dense(3, "0").replace("[2]", "[0]"), "no axis of 0"),
        (&dense(3, "0").replace("\"shape\":[2]", "\"shape\":[1,1,1,1,1,1,1,1,1]"), "axes"),
        ("null", "architecture in the metadata"),
    ] {
        let text = error(architecture, "1", "null").to_string();
        assert!(text.contains(what), "{text}, expected {what}");
    }
    let weights_only = classifier(&Device::cpu(), Precision::F32);
    weights_only.save_weights(&path).unwrap();
    let text = load_model(&path, &Device::cpu()).unwrap_err().to_string();
    assert!(text.contains("weights alone are for `load_weights`"), "{text}");
    // The other way round: weights out of a whole model's file.
    weights_only.save(&path).unwrap();
    let mut other = classifier(&Device::cpu(), Precision::F32);
    other.build(&Device::cpu(), 99).unwrap();
    assert_eq!(other.load_weights(&path).unwrap().weights, 8);
    assert_eq!(weights(&other), weights(&weights_only));
}

#[test]
fn a_global_average_learns_after_loading() {
    // Loaded, compiled anew and trained, on the other backend than it was made on.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut model = Sequential::new([8, 8, 1])
        .add(Conv2d::new(16, 3).activation(Activation::Relu))
        .add(GlobalAvgPool2d::new())
        .add(Dense::new(10).activation(Activation::Softmax));
    model.build(&Device::cpu(), 1).unwrap();
    model.save(&path).unwrap();
    for device in devices() {
        let mut model = load_model(&path, &device).unwrap();
        model.compile(Adam::new(0.01), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
        let losses = model.fit(&Digits::load().train, options(2, 0)).unwrap().loss();
        assert!(losses[1] < losses[0], "{losses:?}");
    }
}

/// What the other test runs where files may not grow: saving has to fail, and to leave nothing.
#[test]
fn save_on_a_full_disk() {
    let Ok(path) = std::env::var("TILEGRAD_TEST_FULL_DISK") else { return };
    let path = Path::new(&path);
    let model = classifier(&Device::cpu(), Precision::F32);
    for error in [model.save(path).unwrap_err(), model.save_weights(path).unwrap_err()] {
        assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("model.safetensors"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_and_the_earlier_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    classifier(&Device::cpu(), Precision::F32).save(&path).unwrap();
    let before = fs::read(&path).unwrap();
    // A write past the limit is an error like any other once its signal is ignored. 2 KiB are less than the model has.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" --exact save_on_a_full_disk"])
        .arg(std::env::current_exe().unwrap())
        .env("TILEGRAD_TEST_FULL_DISK", &path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    load_model(&path, &Device::cpu()).unwrap();
}
