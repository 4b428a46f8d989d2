//! How many dispatches a training step takes. Alone in its file: the counter is the device's, which tests in one process
//! share.

mod common;

use common::{Lcg, gpu};
use tilegrad::nn::layers::{Conv2d, Dense, Dropout, Flatten, MaxPool2d};
use tilegrad::nn::{
    Activation, Adam, DeviceDataset, FitOptions, Metric, Sequential, SparseCategoricalCrossentropy, Verbose,
};
use tilegrad::{Padding, data::Dataset};

/// The most that a replayed step of the Fashion-MNIST network may take.
const LIMIT: u64 = 25;

#[test]
fn a_step_of_the_fashion_mnist_network() {
    let Some(device) = gpu() else { return };
    let conv = |filters| Conv2d::new(filters, 3).padding(Padding::Same).activation(Activation::Relu);
    let mut model = Sequential::new([28, 28, 1])
        .add(conv(32))
        .add(MaxPool2d::new(2))
        .add(conv(64))
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dense::new(100).activation(Activation::Relu))
        .add(Dropout::new(0.4))
        .add(Dense::new(10).activation(Activation::Softmax));
    model.build(&device, 1).unwrap();
    model.compile(Adam::new(0.001), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    let mut random = Lcg::new(1);
    let mut dispatches_of_an_epoch = |batches: usize| {
        let n = 32 * batches;
        let pixels: Vec<u8> = (0..n * 784).map(|_| random.next_u32() as u8).collect();
        let labels: Vec<u32> = (0..n).map(|_| random.next_u32() % 10).collect();
        let classes = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let data = Dataset::new(pixels, [28, 28, 1], labels, classes).unwrap();
        let data = DeviceDataset::upload(&data, &device).unwrap();
        let before = device.stats().dispatches;
        model.fit(&data, FitOptions::new().epochs(1).batch_size(32).verbose(Verbose::Off)).unwrap();
        device.stats().dispatches - before
    };
    // The first steps of an epoch, and what it takes besides, are in both; whatever only the first epoch does is in neither.
    dispatches_of_an_epoch(6);
    let (few, many) = (dispatches_of_an_epoch(6), dispatches_of_an_epoch(10));
    let a_step = (many - few).div_ceil(4);
    assert!(a_step <= LIMIT, "{a_step} dispatches a step, at most {LIMIT} are allowed");
    println!("{a_step} dispatches a step");
}
