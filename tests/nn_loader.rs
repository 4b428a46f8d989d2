//! Training on images that come part by part: the same bits as with all of them on the device.

mod common;

use std::fs;
use std::path::Path;

use common::devices;
use tilegrad::data::{Dataset, Digits, ImageFolder, Loader};
use tilegrad::nn::layers::{Conv2d, Dense, Dropout, Flatten};
use tilegrad::nn::{
    Activation, Adam, CategoricalCrossentropy, FitOptions, Metric, Model, Sequential, SparseCategoricalCrossentropy,
    Verbose,
};
use tilegrad::{Device, Error, Result};

fn model(device: &Device, input: [usize; 3], classes: usize) -> Model {
    let mut model = Sequential::new(input)
        .add(Conv2d::new(4, 3).activation(Activation::Relu))
        .add(Dropout::new(0.3))
        .add(Flatten::new())
        .add(Dense::new(classes).activation(Activation::Softmax));
    model.build(device, 3).unwrap();
    model.compile(Adam::new(0.01), SparseCategoricalCrossentropy::new(), [Metric::Accuracy, Metric::F1]);
    model.into()
}

fn options<'a>() -> FitOptions<'a> {
    FitOptions::new().epochs(3).verbose(Verbose::Off)
}

fn weights(model: &Model) -> Vec<f32> {
    model.weights().flat_map(|w| w.tensor().to_vec::<f32>().unwrap()).collect()
}

/// Parts of four batches of 32 images with 64 bytes.
fn loader(data: &Dataset) -> Loader {
    Loader::new(data.clone()).memory(2 * 4 * 32 * 64)
}

#[test]
fn parts_train_to_the_bits_of_the_whole() -> Result<()> {
    let data = Digits::load();
    for device in devices() {
        let options = || options().sample_weights(vec![1.5; data.train.len()]).validation(&data.test);
        let mut whole = model(&device, [8, 8, 1], 10);
        let in_memory = whole.fit(&data.train, options())?;
        let mut parts = model(&device, [8, 8, 1], 10);
        let streamed = parts.fit(&loader(&data.train), options())?;
        assert_eq!(weights(&whole), weights(&parts), "{device}");
        for name in ["loss", "accuracy", "f1", "val_loss", "val_f1"] {
            assert_eq!(in_memory.series(name), streamed.series(name), "{name}");
        }
        // One-hot labels, weights of classes, a held part, and short epochs come to the same too.
        let options = || {
            let weighted = FitOptions::new().epochs(2).verbose(Verbose::Off).class_weights([(3, 2.0)]);
            weighted.validation_split(0.2).steps_per_epoch(6).batch_size(48)
        };
        for model in [&mut whole, &mut parts] {
            model.compile(Adam::new(0.01), CategoricalCrossentropy::new(), [Metric::Accuracy]);
        }
        let in_memory = whole.fit(&data.train, options())?;
        let streamed = parts.fit(&loader(&data.train), options())?;
        assert_eq!(weights(&whole), weights(&parts), "{device}");
        assert_eq!(in_memory.series("val_loss"), streamed.series("val_loss"));
        assert_eq!(whole.evaluate(&data.test)?, parts.evaluate(&loader(&data.test))?);
        let probabilities = whole.predict(&data.test)?.to_vec::<f32>()?;
        assert_eq!(probabilities, parts.predict(&loader(&data.test))?.to_vec::<f32>()?);
    }
    Ok(())
}

/// Bright pictures in one folder, dark ones in another, and a file that is no picture.
fn pictures(root: &Path) {
    for i in 0..40u8 {
        let class = root.join(if i % 2 == 0 { "bright" } else { "dark" });
        fs::create_dir_all(&class).unwrap();
        let grey = if i % 2 == 0 { 255 - i } else { i };
        image::GrayImage::from_pixel(9, 7, image::Luma([grey])).save(class.join(format!("{i}.png"))).unwrap();
    }
    fs::write(root.join("dark/broken.png"), "no picture").unwrap();
}

#[test]
fn a_folder_of_pictures_is_trained_on_as_it_is() -> Result<()> {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path());
    let folder = ImageFolder::new(root.path()).size([8, 8]).channels(1).max_skipped(0.05);
    for device in devices() {
        let mut model = model(&device, [8, 8, 1], 2);
        let images = Loader::new(folder.open()?);
        let history = model.fit(&images, options().epochs(8).batch_size(8))?;
        assert_eq!(history.last().unwrap().accuracy, Some(1.0));
        assert_eq!(images.images().skipped().len(), 1);
        assert_eq!(model.evaluate(&images)?.examples, 40);
        // Which output is of which picture would not be known.
        let error = model.predict(&images).unwrap_err().to_string();
        assert!(error.contains("expected all readable, got 1 that are not") && error.contains("broken.png"), "{error}");
        // Read at once, it says the same.
        let loaded = folder.load()?;
        assert!(loaded.to_string().ends_with("1 files skipped"), "{loaded}");
        assert_eq!(model.evaluate(&loaded)?.accuracy, Some(1.0));

        let strict = Loader::new(folder.clone().max_skipped(0.0).open()?);
        let error = model.fit(&strict, options()).unwrap_err().to_string();
        assert!(error.contains("unreadable pictures: expected at most 0 of 41, got 1"), "{error}");
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_said_before_anything_is_read() {
    let device = Device::cpu();
    let data = Digits::load();
    let refused = |model: &mut Model| model.fit(&loader(&data.train), options()).unwrap_err();
    let error = refused(&mut model(&device, [8, 9, 1], 10)).to_string();
    assert_eq!(error, "shape of an image of digits train: expected [8, 9, 1], the model's input, got [8, 8, 1]");
    let error = refused(&mut model(&device, [8, 8, 1], 4));
    assert!(matches!(error, Error::Label { classes: 4, label: 9, .. }), "{error}");
}
