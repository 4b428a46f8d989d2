//! Training on real data: a slice of Fashion-MNIST, on the CPU and on the GPU.

mod common;

use tilegrad::data::FashionMnist;
use tilegrad::prelude::*;

/// The network of the `fashion_mnist` example.
fn model(device: &Device) -> Sequential {
    let mut model = Sequential::new([28, 28, 1])
        .add(Conv2d::new(32, 3).padding(Padding::Same).activation(Activation::Relu))
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(64, 3).padding(Padding::Same).activation(Activation::Relu))
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dense::new(100).activation(Activation::Relu))
        .add(Dropout::new(0.4))
        .add(Dense::new(10).activation(Activation::Softmax));
    model.build(device, 42).expect("the layers fit");
    model.compile(Adam::default(), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    model
}

/// 6,000 images and two epochs reach 80 % on 2,000 images of the test set; with ten classes, guessing gives 10 %. The two
/// devices start from the same weights and see the same batches, so they end near each other.
#[test]
fn a_slice_of_fashion_mnist_reaches_80_percent() {
    let data = match FashionMnist::load() {
        Ok(data) => data,
        Err(error) if std::env::var_os("TILEGRAD_REQUIRE_DATA").is_some() => panic!("{error}"),
        Err(error) => return eprintln!("left out: {error}"),
    };
    let (train, test) = (data.train.take(6000), data.test.take(2000));
    let accuracies: Vec<f32> = common::devices()
        .iter()
        .map(|device| {
            let mut model = model(device);
            let options = FitOptions::new().epochs(2).seed(1).verbose(Verbose::Off);
            let history = model.fit(&train, options).expect("training runs");
            assert!(history.epochs[1].loss < history.epochs[0].loss, "{history}");
            let accuracy = model.evaluate(&test).expect("evaluation runs").accuracy.expect("compiled with it");
            println!("{device}: {accuracy:.4}");
            assert!(accuracy >= 0.80, "{accuracy} on {device}");
            accuracy
        })
        .collect();
    let spread = accuracies.iter().fold(0.0f32, |m, a| m.max((a - accuracies[0]).abs()));
    assert!(spread <= 0.02, "the devices ended {spread} apart: {accuracies:?}");
}

/// Fifteen seconds of training or less, nothing installed: the embedded digits.
#[test]
fn digits_reach_97_percent() {
    for device in common::devices() {
        let data = Digits::load();
        let mut model = Sequential::new([8, 8, 1])
            .add(Conv2d::new(32, 3).activation(Activation::Relu))
            .add(MaxPool2d::new(2))
            .add(Flatten::new())
            .add(Dense::new(64).activation(Activation::Relu))
            .add(Dense::new(10).activation(Activation::Softmax));
        model.build(&device, 42).expect("the layers fit");
        model.compile(Adam::new(2e-3), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
        model.fit(&data.train, FitOptions::new().epochs(20).seed(42).verbose(Verbose::Off)).expect("training runs");
        let accuracy = model.evaluate(&data.test).expect("evaluation runs").accuracy.expect("compiled with it");
        assert!(accuracy >= 0.97, "{accuracy} on {device}");
    }
}
