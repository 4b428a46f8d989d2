//! Weights from PyTorch's and Keras's own files: the networks give what they gave there.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::devices;
use tilegrad::nn::layers::{
    BatchNorm, Conv2d, Conv2dTranspose, Dense, DepthwiseConv2d, Dropout, Flatten, LayerNorm, PRelu, SeparableConv2d,
};
use tilegrad::nn::models::Vgg16;
use tilegrad::nn::{Activation, Model, Pretrained, Sequential};
use tilegrad::{Device, Error, Result, Tensor};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import").join(name)
}

fn expected(name: &str) -> Tensor {
    let text = fs::read_to_string(file("expected.json")).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let numbers = |key: &str| all[name][key].as_array().unwrap().clone();
    let shape: Vec<usize> = numbers("shape").iter().map(|d| d.as_u64().unwrap() as usize).collect();
    let values: Vec<f32> = numbers("values").iter().map(|v| v.as_f64().unwrap() as f32).collect();
    Tensor::new(&values, shape.as_slice(), &Device::cpu())
}

/// The network that `make.py` makes in PyTorch.
fn torch_net(device: &Device, seed: u64) -> Model {
    let mut model = Sequential::new([6, 5, 3])
        .add(Conv2d::new(4, [3, 2]))
        .add(BatchNorm::new().epsilon(1e-5))
        .add(Activation::Relu.named("relu"))
        .add(DepthwiseConv2d::new(2).depth_multiplier(2))
        .add(Conv2dTranspose::new(3, 2).strides(2))
        .add(Flatten::new())
        .add(Dropout::new(0.5))
        .add(Dense::new(6))
        .add(PRelu::new())
        .add(LayerNorm::new().epsilon(1e-5))
        .add(Dense::new(5));
    model.build(device, seed).unwrap();
    model.into()
}

/// The one that it makes in Keras.
fn keras_net(device: &Device, seed: u64) -> Model {
    let mut model = Sequential::new([6, 5, 3])
        .add(Conv2d::new(4, [3, 2]).activation(Activation::Relu).name("first"))
        .add(BatchNorm::new())
        .add(DepthwiseConv2d::new(2).depth_multiplier(2))
        .add(SeparableConv2d::new(3, 2))
        .add(Conv2d::new(3, 1).name("conv2d"))
        .add(Dropout::new(0.2))
        .add(Flatten::new())
        .add(Dense::new(6).name("hidden"))
        .add(LayerNorm::new())
        .add(Dense::new(5).activation(Activation::Softmax));
    model.build(device, seed).unwrap();
    model.into()
}

/// The largest difference between a network's output and what the framework gave.
fn distance(model: &Model, device: &Device, name: &str) -> f32 {
    let got = model.predict(&expected("image").to(device).unwrap()).unwrap().to_vec::<f32>().unwrap();
    let want = expected(name).to_vec::<f32>().unwrap();
    assert_eq!(got.len(), want.len());
    got.iter().zip(&want).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f32::max)
}

fn values(model: &Model) -> Vec<f32> {
    model.weights().flat_map(|w| w.tensor().to_vec::<f32>().unwrap()).collect()
}

fn refused(import: &Pretrained, model: &mut Model) -> String {
    let before = values(model);
    let error = import.load_into(model).unwrap_err();
    assert_eq!(values(model), before, "nothing is half loaded");
    error.to_string()
}

#[test]
fn a_network_of_pytorch_gives_what_it_gave_there() -> Result<()> {
    for device in devices() {
        let mut model = torch_net(&device, 1);
        let loaded = Pretrained::torch(file("torch.safetensors")).load_into(&mut model)?;
        assert_eq!((loaded.weights, loaded.not_finite.len()), (17, 0));
        assert!(distance(&model, &device, "torch") < 1e-5, "{}", distance(&model, &device, "torch"));
        // Weights of 8 bits and vectors of 53 say nearly the same.
        Pretrained::torch(file("torch-bf16.safetensors")).load_into(&mut torch_net(&device, 2))?;
    }
    Ok(())
}

#[test]
fn a_network_of_keras_gives_what_it_gave_there() -> Result<()> {
    for device in devices() {
        for name in ["keras.weights.h5", "keras.keras", "keras.h5"] {
            let mut model = keras_net(&device, 1);
            Pretrained::keras(file(name)).load_into(&mut model)?;
            let distance = distance(&model, &device, "keras");
            assert!(distance < 1e-5, "{name}: {distance}");
        }
    }
    Ok(())
}

#[test]
fn names_are_told_and_parts_are_left_out() -> Result<()> {
    let device = Device::cpu();
    let mut model = Sequential::new([6, 5, 3]).add(Conv2d::new(4, [3, 2]).name("stem"));
    model.build(&device, 1)?;
    let mut file_of_torch = Pretrained::torch(file("torch.safetensors")).rename("0", "stem");
    for module in ["1", "3", "4", "7", "8", "9", "10"] {
        file_of_torch = file_of_torch.ignore(module);
    }
    assert_eq!(file_of_torch.load_into(&mut model)?.weights, 2);

    let unknown = Pretrained::torch(file("torch.safetensors")).rename("features.0", "stem");
    let message = refused(&unknown, &mut model);
    assert!(message.contains(r#"expected one of 0, 1, 3, 4, 7, 8, 9, 10, got "features.0""#), "{message}");
    let unknown = Pretrained::torch(file("torch.safetensors")).rename("0", "steam");
    let message = refused(&unknown, &mut model);
    assert!(message.contains(r#"layer: expected one of stem, got "steam""#), "{message}");
    Ok(())
}

#[test]
fn vgg16_of_torchvision_is_the_one_of_keras() -> Result<()> {
    // Torchvision's names and shapes, of zeros.
    let mut tensors = Vec::new();
    let (mut index, mut channels) = (0, 3);
    for (convolutions, filters) in [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)] {
        for _ in 0..convolutions {
            tensors.push((format!("features.{index}.weight"), vec![filters, channels, 3, 3]));
            tensors.push((format!("features.{index}.bias"), vec![filters]));
            (index, channels) = (index + 2, filters);
        }
        index += 1;
    }
    tensors.push(("classifier.0.weight".into(), vec![16, 512]));
    let zeros: Vec<u8> = vec![0; 4 * 512 * 512 * 9];
    let views = tensors.iter().map(|(name, shape)| {
        let bytes = &zeros[..4 * shape.iter().product::<usize>()];
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vgg16.safetensors");
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();

    let mut base: Model = Vgg16::new().input([32, 32, 3]).include_top(false).build();
    base.build(&Device::cpu(), 1)?;
    assert_eq!(Pretrained::torch(&path).ignore("classifier").load_into(&mut base)?.weights, 26);
    let error = Pretrained::torch(&path).load_into(&mut base).unwrap_err().to_string();
    assert!(error.contains(r#""classifier.0": in the file with weight [16, 512], but no layer takes it"#), "{error}");
    Ok(())
}

#[test]
fn what_does_not_fit_is_listed_and_nothing_loaded() {
    let device = Device::cpu();
    let mut wrong = Sequential::new([6, 5, 3]).add(Conv2d::new(4, 3)).add(BatchNorm::new());
    wrong.build(&device, 1).unwrap();
    let message = refused(&Pretrained::torch(file("torch.safetensors")), &mut wrong);
    let want = "conv2d.kernel from \"0\": expected a weight for [3, 3, 3, 4], got [4, 3, 3, 2] in PyTorch's layout";
    assert!(message.contains(want), "{message}");
    assert!(message.contains(r#""10": in the file with bias [5], weight [5, 6], but no layer takes it"#), "{message}");
    let message = refused(&Pretrained::keras(file("keras.weights.h5")), &mut wrong);
    assert!(message.contains("conv2d.kernel from \"conv2d\": expected [3, 3, 3, 4], got [3, 2, 3, 4]"), "{message}");

    let mut unbuilt: Model = Sequential::new([6, 5, 3]).add(Conv2d::new(4, 3)).into();
    let error = Pretrained::torch(file("torch.safetensors")).load_into(&mut unbuilt).unwrap_err();
    assert!(matches!(error, Error::NotReady(_)), "{error}");
}

#[test]
fn damaged_files_are_named() {
    let device = Device::cpu();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    for name in ["torch.safetensors", "keras.weights.h5", "keras.keras", "keras.h5"] {
        let whole = fs::read(file(name)).unwrap();
        let import = |path: &Path| match name.starts_with("torch") {
            true => Pretrained::torch(path),
            false => Pretrained::keras(path),
        };
        let mut model = if name.starts_with("torch") { torch_net(&device, 1) } else { keras_net(&device, 1) };
        let missing = refused(&import(&folder.path().join("none")), &mut model);
        assert!(missing.contains("none"), "{missing}");
        for length in [0, 3, 100, whole.len() / 3, whole.len() * 2 / 3] {
            fs::write(&path, &whole[..length]).unwrap();
            let message = refused(&import(&path), &mut model);
            assert!(message.contains("damaged"), "{name} cut to {length}: {message}");
        }
        // Any byte may be wrong: an error or other numbers, but no panic.
        for place in (0..whole.len()).step_by(whole.len() / 60) {
            let mut bytes = whole.clone();
            bytes[place] ^= 0xff;
            fs::write(&path, &bytes).unwrap();
            let _ = import(&path).load_into(&mut model);
        }
    }
}
