//! Metrics against scikit-learn's numbers, and while training.

mod common;

use common::devices;
use tilegrad::data::Digits;
use tilegrad::nn::layers::{Conv2d, Dense, Flatten};
use tilegrad::nn::{
    Activation, Adam, BinaryCrossentropy, CategoricalCrossentropy, DeviceDataset, Evaluation, FitOptions, Loss, Metric,
    Model, Sequential, Sgd, SparseCategoricalCrossentropy, Verbose, one_hot,
};
use tilegrad::{Device, Tensor};

/// Scores of twelve examples for four classes, and their classes.
const SCORES: [f32; 48] = [
    -0.98, -0.26, 2.5, 0.99, -2.46, -0.01, -0.94, 0.22, -2.41, 0.36, 0.35, 2.36, 0.47, 0.77, -2.24, 3.38, -2.87, 1.65,
    -0.49, -1.32, -0.98, -1.01, 0.57, -0.17, 2.22, -2.74, -0.0, -1.34, 1.16, -3.18, -0.52, 0.32, -2.23, 1.48, 0.27,
    1.51, 1.44, -1.47, -1.2, -0.3, 1.12, 1.28, -1.06, -0.91, -1.2, -0.88, -0.36, -0.2,
];
const CLASSES: [u32; 12] = [2, 2, 0, 3, 1, 2, 1, 0, 0, 3, 3, 1];

/// Scores of twenty yes-or-no answers, and the right ones.
const ANSWERS: [f32; 20] = [
    0.01, 0.77, -1.32, 1.37, -0.35, 0.17, 0.85, 0.66, 1.06, 0.17, -0.02, 0.32, -1.0, 1.21, -0.78, -1.26, 2.06, -0.14,
    -1.18, 1.85,
];
const RIGHT: [f32; 20] = [0., 1., 0., 1., 0., 0., 0., 1., 1., 1., 0., 1., 0., 1., 0., 0., 1., 0., 0., 1.];

const ALL: [Metric; 9] = [
    Metric::Accuracy,
    Metric::TopKAccuracy(2),
    Metric::Precision,
    Metric::Recall,
    Metric::F1,
    Metric::Auc,
    Metric::MeanSquaredError,
    Metric::MeanAbsoluteError,
    Metric::ConfusionMatrix,
];

/// A model that is its activation.
fn evaluate(
    activation: Activation,
    loss: impl Loss + 'static,
    metrics: &[Metric],
    x: &Tensor,
    y: &Tensor,
) -> Evaluation {
    let mut model = Sequential::new([x.shape()[1]]).add(activation);
    model.build(x.device(), 0).unwrap();
    model.compile(Sgd::new(0.1), loss, metrics.iter().copied());
    // In batches of 5, so that the last is smaller.
    let data = DeviceDataset::from_tensors(x, y).unwrap();
    model.evaluate_in_batches(&data, 5).unwrap()
}

fn check(got: &Evaluation, want: &[(&str, f64)], what: &str) {
    for &(name, want) in want {
        let got = f64::from(got.metrics[name]);
        assert!((got - want).abs() < 2e-6, "{name} of {what}: {got}, scikit-learn has {want}");
    }
}

#[test]
fn classes_are_measured_as_scikit_learn_does() {
    // scikit-learn 1.9 with `average="macro", zero_division=0`; the area by Keras's 200 thresholds in NumPy.
    let want = [
        ("accuracy", 0.4166666666666667),
        ("top_2_accuracy", 0.5),
        ("precision", 0.5083333333333333),
        ("recall", 0.41666666666666663),
        ("f1", 0.44583333333333336),
        ("auc", 0.5902777777777778),
        ("mean_squared_error", 0.20991975943760058),
        ("mean_absolute_error", 0.32605946830105564),
    ];
    for device in devices() {
        let x = Tensor::new(&SCORES, [12, 4], &device);
        let classes = Tensor::new(&CLASSES, [12], &device);
        let rows = one_hot(&CLASSES, 4, &device).unwrap();
        let softmax = Activation::Softmax;
        for (got, what) in [
            (evaluate(softmax, SparseCategoricalCrossentropy::new(), &ALL, &x, &classes), "class numbers"),
            (evaluate(softmax, CategoricalCrossentropy::new(), &ALL, &x, &rows), "one-hot rows"),
        ] {
            check(&got, &want, what);
            assert_eq!(got.accuracy, Some(got.metrics["accuracy"]));
            let matrix = got.confusion.unwrap();
            let rows: Vec<Vec<u64>> = (0..4).map(|t| (0..4).map(|p| matrix.at(t, p)).collect()).collect();
            assert_eq!(rows, [[1, 0, 0, 2], [1, 1, 0, 1], [0, 0, 2, 1], [1, 1, 0, 1]], "{what} on {device}");
            assert!(matrix.to_string().contains("predicted   0   1   2   3\n                0   1   0   0   2"));
        }
    }
}

#[test]
fn answers_are_measured_as_scikit_learn_does() {
    let want = [
        ("accuracy", 0.85),
        ("precision", 0.75),
        ("recall", 1.0),
        ("f1", 0.8571428571428571),
        ("auc", 0.9545454545454546),
    ];
    let metrics = [ALL[0], ALL[2], ALL[3], ALL[4], ALL[5], ALL[8]];
    for device in devices() {
        let (x, y) = (Tensor::new(&ANSWERS, [20, 1], &device), Tensor::new(&RIGHT, [20, 1], &device));
        let got = evaluate(Activation::Sigmoid, BinaryCrossentropy::new(), &metrics, &x, &y);
        check(&got, &want, "answers");
        let matrix = got.confusion.unwrap();
        assert_eq!([matrix.at(0, 0), matrix.at(0, 1), matrix.at(1, 0), matrix.at(1, 1)], [8, 3, 0, 9]);
    }
}

#[test]
fn training_measures_the_same_recorded_and_eagerly() {
    let data = Digits::load().train;
    let build = |device: &Device| -> Model {
        let mut model = Sequential::new([8, 8, 1])
            .add(Conv2d::new(4, 3).activation(Activation::Relu))
            .add(Flatten::new())
            .add(Dense::new(10).activation(Activation::Softmax));
        model.build(device, 1).unwrap();
        model.compile(Adam::new(0.01), SparseCategoricalCrossentropy::new(), ALL);
        model.into()
    };
    for device in devices() {
        let fit = |eagerly: bool| {
            let options = FitOptions::new().epochs(2).batch_size(100).validation_split(0.25).verbose(Verbose::Off);
            let mut model = build(&device);
            let history = model.fit(&data, options.run_eagerly(eagerly)).unwrap();
            let last = history.last().unwrap().clone();
            (last.metrics, last.val_metrics, model.evaluate(&Digits::load().test).unwrap())
        };
        let (metrics, val_metrics, evaluation) = fit(false);
        assert_eq!((&metrics, &val_metrics, &evaluation), (&fit(true).0, &fit(true).1, &fit(true).2), "on {device}");
        assert_eq!((metrics.len(), val_metrics.len()), (8, 8));
        assert!(metrics["top_2_accuracy"] > metrics["accuracy"] && metrics["auc"] > 0.9, "{metrics:?}");
        let matrix = evaluation.confusion.unwrap();
        assert_eq!(matrix.total() as usize, Digits::load().test.len());
        assert!((matrix.accuracy() - evaluation.accuracy.unwrap()).abs() < 1e-6);
        let recall = (0..10).map(|c| matrix.recall(c)).sum::<f32>() / 10.0;
        assert!((recall - evaluation.metrics["recall"]).abs() < 1e-6);
    }
}

#[test]
fn metrics_that_do_not_fit() {
    let data = Digits::load();
    let mut model = Sequential::new([8, 8, 1]).add(Flatten::new()).add(Dense::new(10).activation(Activation::Softmax));
    model.build(&Device::cpu(), 1).unwrap();
    for k in [0, 11] {
        model.compile(Sgd::new(0.1), SparseCategoricalCrossentropy::new(), [Metric::TopKAccuracy(k)]);
        let text = model.evaluate(&data.test).unwrap_err().to_string();
        assert!(text.contains("k from 1 to 10, the number of classes, got k = "), "{text}");
        assert!(model.fit(&data.train, FitOptions::new().verbose(Verbose::Off)).is_err());
    }
}
