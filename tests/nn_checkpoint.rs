//! Checkpoints: what is saved comes back, and whatever else is in a file is refused with everything left as it was.

use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use tilegrad::nn::layers::{BatchNorm, Dense};
use tilegrad::nn::{Model, Sequential};
use tilegrad::{Device, Error};

fn model(seed: u64, units: usize) -> Sequential {
    let mut model = Sequential::new([3]).add(Dense::new(units)).add(BatchNorm::new()).add(Dense::new(2).name("head"));
    model.build(&Device::cpu(), seed).unwrap();
    model
}

fn weights(model: &Model) -> Vec<Vec<f32>> {
    model.weights().map(|w| w.tensor().to_vec::<f32>().unwrap()).collect()
}

#[test]
fn round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.safetensors");
    let (saved, mut loaded) = (model(1, 5), model(2, 5));
    saved.weights().for_each(|w| w.tensor().assign(&vec![w.len() as f32 + 0.25; w.len()]).unwrap());
    saved.save_weights(&path).unwrap();
    assert_ne!(weights(&saved), weights(&loaded));
    let report = loaded.load_weights(&path).unwrap();
    assert_eq!(weights(&saved), weights(&loaded));
    assert_eq!((report.weights, report.differences.len(), report.not_finite.len()), (8, 0, 0));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");

    // Other programs can read it.
    let bytes = fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("dense.kernel").unwrap().shape(), [3, 5]);
    assert_eq!(file.tensor("batch_normalization.moving_mean").unwrap().dtype(), Dtype::F32);
}

#[test]
fn a_frozen_model_saves_and_loads_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frozen.safetensors");
    let (mut saved, mut loaded) = (model(1, 5), model(2, 5));
    saved.set_trainable("dense", false).unwrap();
    saved.save_weights(&path).unwrap();
    loaded.load_weights(&path).unwrap();
    assert_eq!(weights(&saved), weights(&loaded));
}

#[test]
fn another_models_file_is_listed_weight_by_weight() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.safetensors");
    let mut other = Sequential::new([3]).add(Dense::new(7)).add(Dense::new(2).name("top"));
    other.build(&Device::cpu(), 0).unwrap();
    other.save_weights(&path).unwrap();
    let mut model = model(1, 5);
    let before = weights(&model);
    let Error::Checkpoint { differences, .. } = model.load_weights(&path).unwrap_err() else { panic!("another error") };
    assert_eq!(differences.len(), 2 + 4 + 2 + 2, "{differences:#?}");
    assert_eq!(differences[0], "dense.kernel: expected [3, 5], got [3, 7]");
    assert_eq!(differences[2], "batch_normalization.gamma: the model has [5], the file has no such weight");
    assert!(differences[8].starts_with("\"top.bias\": in the file as F32 [2]"), "{differences:#?}");
    assert_eq!(weights(&model), before, "nothing is half loaded");
}

#[test]
fn what_fits_can_be_loaded_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wider.safetensors");
    let wider = {
        let mut m = Sequential::new([3]).add(Dense::new(5)).add(Dense::new(4).name("head"));
        m.build(&Device::cpu(), 9).unwrap();
        m
    };
    wider.save_weights(&path).unwrap();
    let mut model = model(1, 5);
    let before = weights(&model);
    let report = model.load_what_fits(&path).unwrap();
    assert_eq!((report.weights, report.differences.len()), (2, 4 + 2));
    let after = weights(&model);
    assert_eq!(after[..2], weights(&wider)[..2]);
    assert_eq!(after[2..], before[2..]);
}

fn refused(path: &Path, bytes: &[u8], what: &str) {
    fs::write(path, bytes).unwrap();
    let mut model = model(1, 5);
    let before = weights(&model);
    let error = model.load_weights(path).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("broken.safetensors") && text.contains(what), "{what}: {text}");
    assert_eq!(weights(&model), before, "{what}");
}

#[test]
fn damaged_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.safetensors");
    let mut model = model(1, 5);
    model.save_weights(&path).unwrap();
    let good = fs::read(&path).unwrap();

    refused(&path, &[], "at least 8 bytes");
    for cut in [7, 8, 9, 100, good.len() - 1] {
        refused(&path, &good[..cut], "");
    }
    refused(&path, &[&good[..], &[0]].concat(), "file size");
    for length in [u64::MAX, 1 << 40, good.len() as u64] {
        refused(&path, &[&length.to_le_bytes(), &good[8..]].concat(), "header length");
    }
    let file = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    };
    for header in [
        "[]",
        "null",
        "{",
        "\u{feff}{}",
        r#"{"a":{"dtype":"F77","shape":[1],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#,
        r#"{"a":{"dtype":"F32","shape":[9223372036854775807],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}}"#,
    ] {
        refused(&path, &file(header, 4), "header at byte 8");
    }
    // Much too long for this model, and never read.
    refused(&path, &file(&" ".repeat(2 << 20), 0), "header length");
    // Names are anyone's bytes.
    refused(
        &path,
        &file(r#"{"\u0000\u001b[31m":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4),
        r#""\0\u{1b}[31m""#,
    );
    let axes = vec!["1"; 1000].join(",");
    refused(
        &path,
        &file(&format!(r#"{{"dense.bias":{{"dtype":"F32","shape":[{axes}],"data_offsets":[0,4]}}}}"#), 4),
        "a shape of 1000 axes",
    );

    let error = model.load_weights(folder.path().join("none")).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(model.load_weights(folder.path()).is_err(), "a folder is no file");
}

#[test]
fn files_that_nobody_should_trust() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/malformed/safetensors");
    let manifest = fs::read_to_string(folder.join("manifest.json")).unwrap();
    let cases: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let mut model = model(1, 5);
    let before = weights(&model);
    for case in cases.as_array().unwrap() {
        let (file, why) = (case["file"].as_str().unwrap(), &case["why"]);
        // A sound file is still not this model's.
        match (model.load_weights(folder.join(file)).unwrap_err(), case["expect"].as_str().unwrap()) {
            (Error::Malformed { path, .. }, "reject") => assert!(path.ends_with(file)),
            (Error::Checkpoint { differences, .. }, "accept" | "policy") => {
                assert!(differences.iter().all(|d| !d.contains(char::is_control)), "{file}: {differences:?}");
            }
            (error, expect) => panic!("{file}: {expect}, {why}, but {error:?}"),
        }
    }
    assert_eq!(weights(&model), before);
}

#[test]
fn another_type_is_a_difference() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    let mut model = Sequential::new([1]).add(Dense::new(1).use_bias(false));
    model.build(&Device::cpu(), 0).unwrap();
    let view = TensorView::new(Dtype::F16, vec![1, 1], &[0, 0]).unwrap();
    fs::write(&path, safetensors::serialize([("dense.kernel", view)], None).unwrap()).unwrap();
    let text = model.load_weights(&path).unwrap_err().to_string();
    assert!(text.contains("dense.kernel: expected f32 [1, 1], got F16 [1, 1]"), "{text}");
}

#[test]
fn weights_that_are_no_numbers_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nan.safetensors");
    let (saved, mut loaded) = (model(1, 5), model(2, 5));
    saved.layer("head").unwrap().weights()[1].tensor().assign(&[f32::NAN, 1.0]).unwrap();
    saved.save_weights(&path).unwrap();
    assert_eq!(loaded.load_weights(&path).unwrap().not_finite, ["head.bias"]);
}

#[test]
fn what_cannot_be_written_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/weights.safetensors");
    let text = model(1, 5).save_weights(&path).unwrap_err().to_string();
    assert!(text.contains("missing/weights.safetensors: "), "{text}");
    let unbuilt = Sequential::new([3]).add(Dense::new(2));
    assert!(matches!(unbuilt.save_weights(folder.path().join("x")).unwrap_err(), Error::NotReady(_)));
}
