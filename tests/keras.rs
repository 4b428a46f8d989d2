//! Training steps of Keras, step by step: the same weights and batches in; the same losses, first gradients, weights and
//! probabilities out, on the CPU and on the GPU.
//!
//! Network, optimizer and loss are built from `manifest.json`, so that any case of the same form runs. The cases are in
//! `tests/data/keras`; `TILEGRAD_CASES_DIR` names another folder that has a `keras` folder. Prints a table and a line of
//! totals; a case that names something tilegrad does not have fails, with the name.

mod common;

use std::collections::HashMap;
use std::path::PathBuf;

use common::devices;
use safetensors::SafeTensors;
use serde_json::Value;
use tilegrad::nn::layers::{
    AvgPool2d, BatchNorm, Conv2d, Dense, Dropout, Flatten, GlobalAvgPool2d, GlobalMaxPool2d, MaxPool2d, Pair,
};
use tilegrad::nn::{
    Activation, Adadelta, Adagrad, Adam, AdamW, Adamax, BinaryCrossentropy, CategoricalCrossentropy, Clip, Lion,
    MeanSquaredError, Metric, Model, Nadam, RmsProp, Sequential, Sgd, SparseCategoricalCrossentropy,
};
use tilegrad::{Device, Padding, Tensor};

/// What went wrong with a case.
type Outcome<T> = Result<T, String>;

fn folder() -> PathBuf {
    let cases = std::env::var_os("TILEGRAD_CASES_DIR").map(PathBuf::from);
    cases.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data")).join("keras")
}

/// An object of the manifest, with Keras's defaults for what it leaves out.
struct Config<'a>(&'a Value);

impl Config<'_> {
    fn text(&self, key: &str, default: &'static str) -> &str {
        self.0[key].as_str().unwrap_or(default)
    }

    fn float(&self, key: &str, default: f32) -> f32 {
        let value = &self.0[key];
        value.as_f64().map_or_else(|| value.as_bool().map_or(default, |b| b.into()), |v| v as f32)
    }

    fn flag(&self, key: &str, default: bool) -> bool {
        self.float(key, default.into()) != 0.0
    }

    /// A pair, or one number for both.
    fn pair(&self, key: &str, default: [usize; 2]) -> Pair {
        let number = |v: &Value| v.as_u64().map(|v| v as usize);
        match &self.0[key] {
            Value::Array(both) if both.len() == 2 => {
                Pair([number(&both[0]).unwrap_or(default[0]), number(&both[1]).unwrap_or(default[1])])
            }
            one => Pair(number(one).map_or(default, |v| [v, v])),
        }
    }

    fn size(&self, key: &str) -> Outcome<usize> {
        self.0[key].as_u64().map(|v| v as usize).ok_or_else(|| format!("{key} is missing in {}", self.0))
    }

    fn padding(&self) -> Outcome<Padding> {
        match self.text("padding", "valid") {
            "same" => Ok(Padding::Same),
            "valid" => Ok(Padding::Valid),
            other => Err(format!("padding {other:?} is not supported")),
        }
    }

    fn activation(&self) -> Outcome<Activation> {
        Ok(match self.text("activation", "linear") {
            "linear" => Activation::Linear,
            "relu" => Activation::Relu,
            "sigmoid" => Activation::Sigmoid,
            "tanh" => Activation::Tanh,
            "swish" | "silu" => Activation::Swish,
            "softmax" => Activation::Softmax,
            "elu" => Activation::Elu(1.0),
            "leaky_relu" => Activation::LeakyRelu(0.2),
            "softplus" => Activation::Softplus,
            "softsign" => Activation::Softsign,
            "relu6" => Activation::Relu6,
            "selu" => Activation::Selu,
            "mish" => Activation::Mish,
            "gelu" => Activation::GeluExact,
            "hard_sigmoid" => Activation::HardSigmoid,
            "hard_swish" | "hard_silu" => Activation::HardSwish,
            "log_sigmoid" => Activation::LogSigmoid,
            "log_softmax" => Activation::LogSoftmax,
            "exponential" => Activation::Exponential,
            other => return Err(format!("activation {other:?} is not supported")),
        })
    }
}

fn push(model: &mut Sequential, layer: &Value) -> Outcome<()> {
    let (c, name) = (Config(&layer["config"]), layer["name"].as_str().unwrap_or("layer"));
    match layer["type"].as_str().unwrap_or("") {
        "InputLayer" => {}
        "Conv2D" => model.push(
            Conv2d::new(c.size("filters")?, c.pair("kernel_size", [1, 1]))
                .strides(c.pair("strides", [1, 1]))
                .dilation(c.pair("dilation_rate", [1, 1]))
                .groups(c.float("groups", 1.0) as usize)
                .padding(c.padding()?)
                .activation(c.activation()?)
                .use_bias(c.flag("use_bias", true))
                .name(name),
        ),
        "MaxPooling2D" | "AveragePooling2D" => {
            let size = c.pair("pool_size", [2, 2]);
            let (strides, padding) = (c.pair("strides", size.0), c.padding()?);
            match layer["type"] == "MaxPooling2D" {
                true => model.push(MaxPool2d::new(size).strides(strides).padding(padding).name(name)),
                false => model.push(AvgPool2d::new(size).strides(strides).padding(padding).name(name)),
            }
        }
        "GlobalAveragePooling2D" => model.push(GlobalAvgPool2d::new().name(name)),
        "GlobalMaxPooling2D" => model.push(GlobalMaxPool2d::new().name(name)),
        "Flatten" => model.push(Flatten::new().name(name)),
        "Dense" => model.push(
            Dense::new(c.size("units")?).activation(c.activation()?).use_bias(c.flag("use_bias", true)).name(name),
        ),
        "Dropout" => model.push(Dropout::new(c.float("rate", 0.0)).name(name)),
        "BatchNormalization" => model
            .push(BatchNorm::new().momentum(c.float("momentum", 0.99)).epsilon(c.float("epsilon", 1e-3)).name(name)),
        "ReLU" => model.push(Activation::Relu),
        "ELU" => model.push(Activation::Elu(c.float("alpha", 1.0))),
        "LeakyReLU" => model.push(Activation::LeakyRelu(c.float("negative_slope", 0.3))),
        "Softmax" => model.push(Activation::Softmax),
        "Activation" => model.push(c.activation()?),
        other => return Err(format!("layer type {other:?} is not supported")),
    }
    Ok(())
}

/// Compiles with the manifest's loss and, with `rate`, plain gradient descent in place of its optimizer.
fn compile(model: &mut Model, case: &Value, rate: Option<f32>) -> Outcome<()> {
    macro_rules! with_loss {
        ($optimizer:expr) => {
            match case["loss"].as_str().unwrap_or("") {
                "sparse_categorical_crossentropy" => {
                    model.compile($optimizer, SparseCategoricalCrossentropy::new(), [Metric::Accuracy])
                }
                "categorical_crossentropy" => {
                    model.compile($optimizer, CategoricalCrossentropy::new(), [Metric::Accuracy])
                }
                "binary_crossentropy" => model.compile($optimizer, BinaryCrossentropy::new(), []),
                "mean_squared_error" | "mse" => model.compile($optimizer, MeanSquaredError, []),
                other => return Err(format!("loss {other:?} is not supported")),
            }
        };
    }
    if let Some(rate) = rate {
        with_loss!(Sgd::new(rate));
        return Ok(());
    }
    let c = Config(&case["optimizer_config"]);
    for key in ["loss_scale_factor", "gradient_accumulation_steps"] {
        if !c.0[key].is_null() {
            return Err(format!("{key} is not supported"));
        }
    }
    if c.flag("use_ema", false) {
        return Err("use_ema is not supported".into());
    }
    let lr = c.float("learning_rate", if case["optimizer"] == "SGD" { 0.01 } else { 0.001 });
    let decay = c.float("weight_decay", 0.0);
    let clip = match ["clipvalue", "clipnorm", "global_clipnorm"].map(|key| c.float(key, 0.0)) {
        [0.0, 0.0, 0.0] => Clip::None,
        [value, 0.0, 0.0] => Clip::Value(value),
        [0.0, norm, 0.0] => Clip::Norm(norm),
        [0.0, 0.0, norm] => Clip::GlobalNorm(norm),
        _ => return Err("more than one way to clip gradients is not supported".into()),
    };
    let (epsilon, beta1) = (c.float("epsilon", 1e-7), c.float("beta_1", 0.9));
    match case["optimizer"].as_str().unwrap_or("") {
        "Adagrad" => with_loss!(
            Adagrad::new(lr)
                .initial_accumulator(c.float("initial_accumulator_value", 0.1))
                .epsilon(epsilon)
                .weight_decay(decay)
                .clip(clip)
        ),
        "Adam" => with_loss!(
            Adam::new(lr)
                .betas(beta1, c.float("beta_2", 0.999))
                .epsilon(epsilon)
                .amsgrad(c.flag("amsgrad", false))
                .weight_decay(decay)
                .clip(clip)
        ),
        "AdamW" => with_loss!(
            AdamW::new(lr)
                .betas(beta1, c.float("beta_2", 0.999))
                .epsilon(epsilon)
                .amsgrad(c.flag("amsgrad", false))
                .weight_decay(c.float("weight_decay", 0.004))
                .clip(clip)
        ),
        "Nadam" => with_loss!(
            Nadam::new(lr).betas(beta1, c.float("beta_2", 0.999)).epsilon(epsilon).weight_decay(decay).clip(clip)
        ),
        "Adamax" => with_loss!(
            Adamax::new(lr).betas(beta1, c.float("beta_2", 0.999)).epsilon(epsilon).weight_decay(decay).clip(clip)
        ),
        "Adadelta" => {
            with_loss!(Adadelta::new(lr).rho(c.float("rho", 0.95)).epsilon(epsilon).weight_decay(decay).clip(clip))
        }
        "Lion" => {
            with_loss!(Lion::new(lr).betas(beta1, c.float("beta_2", 0.99)).weight_decay(decay).clip(clip))
        }
        "RMSprop" => with_loss!(
            RmsProp::new(lr)
                .rho(c.float("rho", 0.9))
                .momentum(c.float("momentum", 0.0))
                .epsilon(epsilon)
                .centered(c.flag("centered", false))
                .weight_decay(decay)
                .clip(clip)
        ),
        "SGD" => with_loss!(
            Sgd::new(lr)
                .momentum(c.float("momentum", 0.0))
                .nesterov(c.flag("nesterov", false))
                .weight_decay(decay)
                .clip(clip)
        ),
        other => return Err(format!("optimizer {other:?} is not supported")),
    }
    Ok(())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect()
}

/// All tensors of a kind by layer and weight: `init/sequential/conv2d/kernel` and `init/conv2d/kernel` as `conv2d/kernel`.
fn of_kind(file: &SafeTensors<'_>, kind: &str) -> HashMap<String, Vec<f32>> {
    let found = file.iter().filter_map(|(name, view)| {
        let parts: Vec<&str> = name.split('/').collect();
        let path = parts[parts.len().saturating_sub(2)..].join(".");
        (parts[0] == kind).then(|| (path, floats(view.data())))
    });
    found.collect()
}

/// The largest difference, as a share of the largest value.
fn distance(got: &[f32], want: &[f32]) -> f32 {
    if got.len() != want.len() {
        return f32::INFINITY;
    }
    let largest = want.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
    let far =
        got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, |m: f32, d| if d.is_nan() { d } else { m.max(d) });
    far / largest
}

/// How far a case is from Keras: each the worst over steps or tensors, relative.
#[derive(Default)]
struct Distances {
    loss: f32,
    gradient: f32,
    weight: f32,
    probability: f32,
}

impl Distances {
    /// The tolerances of the cases: losses 1e-4 relative, weights 2e-3; gradients and probabilities as weights.
    fn verdict(&self) -> Outcome<()> {
        let checks = [
            ("losses", self.loss, 1e-4),
            ("first gradients", self.gradient, 2e-3),
            ("final weights", self.weight, 2e-3),
            ("probabilities", self.probability, 2e-3),
        ];
        match checks.iter().find(|(_, got, limit)| got.is_nan() || got > limit) {
            Some((what, got, limit)) => Err(format!("{what} are {got:.1e} from Keras's, more than {limit:.0e}")),
            None => Ok(()),
        }
    }
}

fn follow(case: &Value, device: &Device) -> Outcome<Distances> {
    let path = folder().join(case["file"].as_str().unwrap_or(""));
    let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let file = SafeTensors::deserialize(&bytes).map_err(|e| text(&e))?;
    let tensor = |name: &str| file.tensor(name).map_err(|e| format!("{name}: {e}"));

    let images = tensor("images_u8")?;
    let (steps, shape) = (images.shape()[0], &images.shape()[1..]);
    let pixels: Vec<f32> = images.data().iter().map(|&b| f32::from(b) / 255.0).collect();
    let batch = |step: usize| {
        let len = shape.iter().product::<usize>();
        Tensor::new(&pixels[step * len..][..len], shape, device)
    };

    let mut model = Sequential::new(&shape[1..]);
    for layer in case["layers"].as_array().ok_or("no layers")? {
        push(&mut model, layer)?;
    }
    model.build(device, 0).map_err(|e| text(&e))?;
    let classes = model.output_shape().map_or(1, |s| s[s.rank() - 1]);

    // Integer labels are classes, also for a loss that wants rows of probabilities; float labels are what they are.
    let labels = tensor("labels")?;
    let per_step = labels.shape()[1..].iter().product::<usize>();
    let sparse = case["loss"] == "sparse_categorical_crossentropy";
    let truth = |step: usize| {
        let bytes = &labels.data()[4 * step * per_step..][..4 * per_step];
        if labels.dtype() == safetensors::Dtype::F32 {
            return Tensor::new(&floats(bytes), &labels.shape()[1..], device);
        }
        let values: Vec<u32> =
            bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().expect("four bytes"))).collect();
        let y = Tensor::new(&values, [per_step], device);
        if sparse { y } else { y.one_hot(classes) }
    };

    let initial = of_kind(&file, "init");
    let restore = |model: &Model| -> Outcome<()> {
        for weight in model.weights() {
            let values = initial.get(&weight.path()).ok_or_else(|| format!("no initial {}", weight.path()))?;
            weight.tensor().assign(values).map_err(|e| text(&e))?;
        }
        Ok(())
    };
    let current = |model: &Model, path: &str| -> Outcome<Vec<f32>> {
        let weight = model.weights().find(|w| w.path() == path).ok_or_else(|| format!("no weight {path}"))?;
        weight.tensor().to_vec::<f32>().map_err(|e| text(&e))
    };
    let mut worst = Distances::default();

    // One step of gradient descent at rate 1 moves each weight by its gradient.
    restore(&model)?;
    compile(&mut model, case, Some(1.0))?;
    model.train_on_batch(&batch(0), &truth(0)).map_err(|e| text(&e))?;
    for (path, want) in of_kind(&file, "grad0") {
        let moved: Vec<f32> = initial[&path].iter().zip(current(&model, &path)?).map(|(a, b)| a - b).collect();
        worst.gradient = worst.gradient.max(distance(&moved, &want));
    }

    restore(&model)?;
    compile(&mut model, case, None)?;
    for step in 0..steps {
        let got = model.train_on_batch(&batch(step), &truth(step)).map_err(|e| text(&e))?.loss;
        let want = case["losses"][step].as_f64().ok_or("too few losses")? as f32;
        let far = (got - want).abs() / want.abs();
        worst.loss = if far.is_nan() { far } else { worst.loss.max(far) };
    }
    for (path, want) in of_kind(&file, "final") {
        worst.weight = worst.weight.max(distance(&current(&model, &path)?, &want));
    }
    let got = model.predict(&batch(0)).and_then(|p| p.to_vec::<f32>()).map_err(|e| text(&e))?;
    worst.probability = distance(&got, &floats(tensor("probs/final_inference")?.data()));
    Ok(worst)
}

#[test]
fn training_follows_keras() {
    let path = folder().join("manifest.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let manifest: Value = serde_json::from_str(&text).expect("a manifest is JSON");
    let cases = manifest["cases"].as_array().expect("a manifest has cases");
    assert!(!cases.is_empty(), "{} names no cases", path.display());
    let (mut passed, mut failed) = (0, Vec::new());
    println!("{:<28} {:<5} {:>9} {:>9} {:>9} {:>9}", "case", "on", "loss", "gradient", "weights", "probs");
    for case in cases {
        let name = case["name"].as_str().unwrap_or("unnamed");
        for device in devices() {
            let on = if device.is_gpu() { "gpu" } else { "cpu" };
            let outcome = follow(case, &device);
            match &outcome {
                Ok(d) => println!(
                    "{name:<28} {on:<5} {:>9.1e} {:>9.1e} {:>9.1e} {:>9.1e}",
                    d.loss, d.gradient, d.weight, d.probability
                ),
                Err(reason) => println!("{name:<28} {on:<5} {reason}"),
            }
            match outcome.and_then(|d| d.verdict()) {
                Ok(()) => passed += 1,
                Err(reason) => failed.push(format!("{name} on {on}: {reason}")),
            }
        }
    }
    println!("keras: {passed} passed, {} failed", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
