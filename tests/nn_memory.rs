//! What training takes of a device's memory. The device counts for all that use it, so one test runs at a time, and no other
//! test is in this file.

mod common;

use std::sync::{Mutex, MutexGuard};

use common::devices;
use tilegrad::data::{Dataset, Digits, Images, Loader, Part};
use tilegrad::nn::layers::{Add, Conv2d, Dense, Flatten, GlobalAvgPool2d};
use tilegrad::nn::{
    Activation, Adam, FitOptions, Input, Layer, Metric, Model, Sequential, SparseCategoricalCrossentropy, Verbose,
};
use tilegrad::{Device, Padding, Result};

static ONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn options<'a>(batch_size: usize) -> FitOptions<'a> {
    FitOptions::new().epochs(2).batch_size(batch_size).verbose(Verbose::Off).seed(3)
}

/// A small residual network for the digits.
fn residual(device: &Device) -> Model {
    let conv = || Conv2d::new(8, 3).padding(Padding::Same).activation(Activation::Relu);
    let inputs = Input::new([8, 8, 1]);
    let stem = conv().name("stem").call(&inputs);
    let x = conv().call(&stem);
    let x = conv().call(&x);
    let x = Add::new().call([&x, &stem]);
    let x = GlobalAvgPool2d::new().call(&x);
    let outputs = Dense::new(10).activation(Activation::Softmax).call(&x);
    let mut model = Model::new(&inputs, &outputs);
    model.build(device, 1).unwrap();
    model
}

#[test]
fn the_footprint_is_near_what_training_takes() {
    let _alone = alone();
    let data = Digits::load();
    let batch = 256;
    for device in devices() {
        let mut model = residual(&device);
        model.compile(Adam::new(0.01), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
        let footprint = model.summary().unwrap().footprint;
        let history = model.fit(&data.train, options(batch)).unwrap();
        // The images lie there as bytes, the labels and their order as 4 bytes each.
        let set = (data.train.len() * (64 + 8)) as u64;
        let ratio = footprint.train(batch) as f64 / (history.peak_device_bytes - set) as f64;
        assert!((0.7..1.4).contains(&ratio), "the estimate is {ratio} of what was taken on {device}");
        assert!(footprint.predict(batch) < footprint.train(batch));
    }
}

/// Images that take more memory than there is: each is made when it is asked for.
#[derive(Debug)]
struct Made(Vec<u32>, [String; 2]);

impl Images for Made {
    fn name(&self) -> &str {
        "made"
    }
    fn shape(&self) -> [usize; 3] {
        [64, 64, 3]
    }
    fn labels(&self) -> &[u32] {
        &self.0
    }
    fn classes(&self) -> &[String] {
        &self.1
    }
    fn read(&self, positions: &[u32]) -> tilegrad::data::Result<Part> {
        let labels: Vec<u32> = positions.iter().map(|&at| self.0[at as usize]).collect();
        let images = labels.iter().flat_map(|&label| vec![label as u8 * 200; 64 * 64 * 3]).collect();
        let data = Dataset::new(images, self.shape(), labels, self.1.clone())?;
        Ok(Part { data, positions: positions.to_vec() })
    }
}

#[test]
fn device_memory_stays_within_what_was_allowed() -> Result<()> {
    let _alone = alone();
    let made = || Made((0..2000).map(|i| i % 2).collect(), ["black".into(), "grey".into()]);
    for device in devices().into_iter().filter(Device::is_gpu) {
        let mut model = Sequential::new([64, 64, 3]).add(Flatten::new()).add(Dense::new(2));
        model.build(&device, 1)?;
        model.compile(Adam::new(0.001), SparseCategoricalCrossentropy::new().from_logits(), [Metric::Accuracy]);
        let memory = 4 << 20;
        let history = model.fit(&Loader::new(made()).memory(memory), options(64))?;
        // All images are 24.6 MB. Besides two parts there are weights, moments and one batch in 32 bits.
        assert!(history.peak_device_bytes < memory as u64 + (3 << 20), "{}", history.peak_device_bytes);
        assert!(history.last().unwrap().accuracy.unwrap() > 0.9);
    }
    Ok(())
}
