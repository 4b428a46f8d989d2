//! Training: it learns, repeats bit by bit, refuses bad input, and allocates nothing once it runs.

mod common;

use common::{Lcg, devices, gpu};
use tilegrad::data::Dataset;
use tilegrad::nn::layers::{BatchNorm, Conv2d, Dense, Dropout, Flatten, MaxPool2d};
use tilegrad::nn::{
    Activation, Adadelta, Adagrad, Adam, AdamW, Adamax, BinaryCrossentropy, Callback, CategoricalCrossentropy, Clip,
    DeviceDataset, Epoch, FitOptions, Flow, Initializer, Lion, Loss, MeanSquaredError, Metric, Model, Nadam, RmsProp,
    Sequential, Sgd, SparseCategoricalCrossentropy, Verbose, one_hot,
};
use tilegrad::{Device, Error, Padding, Result, Tensor};

/// Images of 8x8 with a bright bar across (class 0), down (class 1) or nowhere (class 2), and noise.
fn bars(count: usize, seed: u64) -> Dataset {
    let mut random = Lcg::new(seed);
    let mut images = Vec::with_capacity(count * 64);
    let labels: Vec<u32> = (0..count).map(|_| random.next_u32() % 3).collect();
    for &label in &labels {
        let at = (random.next_u32() % 8) as usize;
        for (y, x) in (0..64).map(|i| (i / 8, i % 8)) {
            let bright = (label == 0 && y == at) || (label == 1 && x == at);
            images.push((random.next_u32() % 60) as u8 + if bright { 180 } else { 0 });
        }
    }
    Dataset::new(images, [8, 8, 1], labels, ["across", "down", "none"]).unwrap()
}

fn convnet(device: &Device, seed: u64) -> Sequential {
    let mut model = Sequential::new([8, 8, 1])
        .add(Conv2d::new(6, 3).padding(Padding::Same).activation(Activation::Relu))
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dense::new(16).activation(Activation::Relu))
        .add(Dropout::new(0.2))
        .add(Dense::new(3).activation(Activation::Softmax));
    model.build(device, seed).unwrap();
    model.compile(Adam::new(0.01), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    model
}

fn quiet<'a>() -> FitOptions<'a> {
    FitOptions::new().verbose(Verbose::Off)
}

fn weights(model: &Model) -> Vec<Vec<f32>> {
    model.weights().map(|w| w.tensor().to_vec::<f32>().unwrap()).collect()
}

#[test]
fn fit_learns_and_tells() {
    let (train, test) = (bars(300, 1), bars(100, 2));
    for device in devices() {
        let mut model = convnet(&device, 5);
        let before = model.evaluate(&test).unwrap();
        assert!(before.loss > 0.8, "untrained: {before:?}");
        let history = model.fit(&train, quiet().epochs(8).validation(&test)).unwrap();
        assert_eq!((history.epochs.len(), history.examples, history.batch_size), (8, 300, 32));
        let last = history.last().unwrap();
        assert!(last.val_accuracy.unwrap() > 0.9 && last.val_loss.unwrap() < 0.4, "{history}");
        assert!(history.loss()[0] > last.loss && last.images_per_second > 0.0 && history.first_step_seconds > 0.0);

        let after = model.evaluate_in_batches(&test, 7).unwrap();
        assert!((after.loss - last.val_loss.unwrap()).abs() < 1e-5, "batches of 7 measure the same");
        assert_eq!((after.accuracy, after.examples), (last.val_accuracy, 100));

        // The predictions that evaluate counted.
        let probabilities = model.predict(&test).unwrap();
        assert_eq!(probabilities.shape().to_string(), "[100, 3]");
        let rows = probabilities.to_vec::<f32>().unwrap();
        assert!(rows.chunks(3).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
        let best = probabilities.argmax(1).to_vec::<u32>().unwrap();
        let right = best.iter().zip(test.labels()).filter(|(a, b)| a == b).count();
        assert_eq!(right as f32 / 100.0, after.accuracy.unwrap());
        assert_eq!(history.val_loss().len(), 8);

        let text = serde_json::to_string(&history).unwrap();
        assert_eq!(serde_json::from_str::<tilegrad::nn::History>(&text).unwrap().loss(), history.loss());
        assert_eq!(history.to_string().lines().count(), 1 + 8 + 1);
    }
}

#[test]
fn every_optimizer_learns() {
    fn trained(optimizer: impl tilegrad::nn::Optimizer + 'static) -> f32 {
        let mut model = convnet(&Device::cpu(), 5);
        model.compile(optimizer, SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
        model.fit(&bars(300, 1), quiet().epochs(8)).unwrap().last().unwrap().accuracy.unwrap()
    }
    let accuracies = [
        trained(Sgd::new(0.2)),
        trained(Sgd::new(0.03).momentum(0.9)),
        trained(Sgd::new(0.03).momentum(0.9).nesterov(true).clip(Clip::GlobalNorm(1.0))),
        trained(Adam::new(0.01).amsgrad(true).weight_decay(1e-4)),
        trained(RmsProp::new(0.005)),
        trained(RmsProp::new(0.003).momentum(0.5).centered(true).clip(Clip::Value(0.5))),
        trained(Adadelta::new(3.0)),
        trained(Adagrad::new(0.05)),
        trained(Adamax::new(0.01)),
        trained(AdamW::new(0.01)),
        trained(Nadam::new(0.005)),
        trained(Lion::new(0.001).clip(Clip::Norm(1.0))),
    ];
    assert!(accuracies.iter().all(|&a| a > 0.8), "{accuracies:?}");
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let (data, uneven) = (bars(70, 3), bars(33, 4));
    for device in devices() {
        let run = |seed| {
            let mut model = convnet(&device, 5);
            let options = || quiet().epochs(2).batch_size(16).validation(&uneven).seed(seed);
            let history = model.fit(&data, options()).unwrap();
            (weights(&model), history.loss(), history.val_loss())
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}

#[test]
fn training_goes_on_as_if_it_had_not_stopped() {
    let data = bars(50, 3);
    let mut once = convnet(&Device::cpu(), 5);
    once.fit(&data, quiet().epochs(3)).unwrap();
    let mut twice = convnet(&Device::cpu(), 5);
    twice.fit(&data, quiet().epochs(1)).unwrap();
    twice.fit(&data, quiet().epochs(3).initial_epoch(1)).unwrap();
    assert_eq!(weights(&once), weights(&twice));
}

#[test]
fn batches_of_any_size() {
    let data = bars(21, 1);
    for device in devices() {
        for batch_size in [1, 4, 20, 21, 100] {
            let mut model = convnet(&device, 1);
            let history = model.fit(&data, quiet().batch_size(batch_size)).unwrap();
            assert!(history.last().unwrap().loss.is_finite());
            assert_eq!(model.predict_in_batches(&data, batch_size).unwrap().shape().to_string(), "[21, 3]");
        }
        let mut model = convnet(&device, 1);
        let history = model.fit(&data.take(1), quiet()).unwrap();
        assert!(history.last().unwrap().loss.is_finite(), "one example is a data set");
    }
}

#[test]
fn one_hot_labels_train_the_same() {
    let data = bars(64, 1);
    for device in devices() {
        let mut sparse = convnet(&device, 2);
        let mut dense = convnet(&device, 2);
        dense.compile(Adam::new(0.01), CategoricalCrossentropy::new(), [Metric::Accuracy]);
        let a = sparse.fit(&data, quiet().epochs(2)).unwrap();
        let b = dense.fit(&data, quiet().epochs(2)).unwrap();
        for (a, b) in a.epochs.iter().zip(&b.epochs) {
            assert!((a.loss - b.loss).abs() < 1e-5 && a.accuracy == b.accuracy, "{a:?} {b:?}");
        }
        let on_device = DeviceDataset::upload_one_hot(&data, &device).unwrap();
        assert!((dense.evaluate(&on_device).unwrap().loss - dense.evaluate(&data).unwrap().loss).abs() < 1e-6);
    }
}

#[test]
fn a_softmax_and_its_cross_entropy_are_fused() {
    // Logits of 0 and 200: the probability of class 0 rounds to 0, its logarithm does not.
    for device in devices() {
        let build = |loss: Box<dyn Fn(&mut Model)>, activation| {
            let kernel = Initializer::Values(vec![0.0, 200.0]);
            let mut model = Sequential::new([1]).add(Dense::new(2).kernel_initializer(kernel).activation(activation));
            model.build(&device, 0).unwrap();
            loss(&mut model);
            model
        };
        let sparse = |logits: bool| -> Box<dyn Fn(&mut Model)> {
            Box::new(move |model| {
                let loss = SparseCategoricalCrossentropy::new();
                model.compile(Sgd::new(0.0), if logits { loss.from_logits() } else { loss }, []);
            })
        };
        let x = Tensor::ones([1, 1], &device);
        let y = Tensor::new(&[0u32], [1], &device);
        let mut fused = build(sparse(false), Activation::Softmax);
        let result = fused.train_on_batch(&x, &y).unwrap();
        assert_eq!((result.loss, result.accuracy), (200.0, None));
        assert_eq!(fused.predict(&x).unwrap().to_vec::<f32>().unwrap(), [0.0, 1.0]);
        let mut logits = build(sparse(true), Activation::Linear);
        assert_eq!(logits.train_on_batch(&x, &y).unwrap().loss, 200.0);

        let mut binary = Sequential::new([1])
            .add(Dense::new(1).kernel_initializer(Initializer::Constant(200.0)))
            .add(Activation::Sigmoid);
        binary.build(&device, 0).unwrap();
        binary.compile(Sgd::new(0.0), BinaryCrossentropy::new(), [Metric::Accuracy]);
        let result = binary.train_on_batch(&x, &Tensor::zeros([1, 1], &device)).unwrap();
        assert_eq!((result.loss, result.accuracy), (200.0, Some(0.0)));
    }
}

#[test]
fn losses_of_probabilities() {
    let device = Device::cpu();
    let p = Tensor::new(&[0.25, 0.75, 0.5, 0.5], [2, 2], &device);
    let close = |got: Tensor, want: [f32; 2]| {
        let got = got.to_vec::<f32>().unwrap();
        assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-5), "{got:?}, expected {want:?}");
    };
    let labels = Tensor::new(&[0u32, 1], [2], &device);
    close(SparseCategoricalCrossentropy::new().losses(&p, &labels), [4f32.ln(), 2f32.ln()]);
    let rows = one_hot(&[0, 1], 2, &device).unwrap();
    close(CategoricalCrossentropy::new().losses(&p, &rows), [4f32.ln(), 2f32.ln()]);
    close(BinaryCrossentropy::new().losses(&p, &rows), [4f32.ln(), 2f32.ln()]);
    close(MeanSquaredError.losses(&p, &rows), [0.5625, 0.25]);
    let logits = Tensor::new(&[-40.0, 40.0, 0.0, 0.0], [2, 2], &device);
    close(BinaryCrossentropy::new().from_logits().losses(&logits, &rows), [40.0, 2f32.ln()]);
}

#[test]
fn a_line_is_fitted_by_least_squares() {
    for device in devices() {
        let x: Vec<f32> = (0..64).map(|i| i as f32 / 32.0 - 1.0).collect();
        let y: Vec<f32> = x.iter().map(|x| 3.0 * x - 0.5).collect();
        let data = DeviceDataset::from_tensors(&Tensor::new(&x, [64, 1], &device), &Tensor::new(&y, [64, 1], &device))
            .unwrap();
        let mut model = Sequential::new([1]).add(Dense::new(1));
        model.build(&device, 0).unwrap();
        model.compile(Sgd::new(0.1), MeanSquaredError, []);
        let history = model.fit(&data, quiet().epochs(60)).unwrap();
        assert!(history.last().unwrap().loss < 1e-4 && history.accuracy().is_empty());
        let found: Vec<f32> = weights(&model).concat();
        assert!((found[0] - 3.0).abs() < 0.02 && (found[1] + 0.5).abs() < 0.02, "{found:?}");
    }
}

#[test]
fn validation_split_is_the_end_of_the_data() {
    let data = bars(50, 1);
    let mut model = convnet(&Device::cpu(), 1);
    let history = model.fit(&data, quiet().validation_split(0.2)).unwrap();
    assert_eq!(history.examples, 40);
    let held: Vec<u32> = (40..50).collect();
    let after = model.evaluate(&data.select(&held)).unwrap();
    assert!((after.loss - history.last().unwrap().val_loss.unwrap()).abs() < 1e-6);
}

#[test]
fn batch_norm_trains_and_keeps_its_statistics() {
    for device in devices() {
        let mut model = Sequential::new([8, 8, 1])
            .add(Conv2d::new(4, 3).use_bias(false))
            .add(BatchNorm::new().momentum(0.5))
            .add(Activation::Relu)
            .add(Flatten::new())
            .add(Dense::new(3).activation(Activation::Softmax));
        model.build(&device, 1).unwrap();
        model.compile(Adam::new(0.01), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
        let before = weights(&model);
        let history = model.fit(&bars(200, 1), quiet().epochs(4)).unwrap();
        assert!(history.last().unwrap().accuracy.unwrap() > 0.8, "{history}");
        let after = weights(&model);
        assert!(before[3] != after[3] && before[4] != after[4], "running statistics move");
        assert!(model.evaluate(&bars(50, 9)).unwrap().accuracy.unwrap() > 0.6);

        // Frozen, it keeps them.
        model.set_trainable("batch_normalization", false).unwrap();
        model.fit(&bars(50, 2), quiet()).unwrap();
        let frozen = weights(&model);
        assert_eq!(frozen[1..5], after[1..5]);
        assert_ne!(frozen[0], after[0]);
    }
}

#[test]
fn callbacks_see_epochs_and_stop() {
    struct Stopper(Vec<usize>);
    impl Callback for Stopper {
        fn on_epoch_begin(&mut self, epoch: usize, model: &mut Model) -> Result<()> {
            model.set_learning_rate(0.01 / (1.0 + epoch as f32))
        }
        fn on_epoch_end(&mut self, epoch: &Epoch, model: &mut Model) -> Result<Flow> {
            self.0.push(epoch.epoch);
            model.evaluate(&bars(10, 7))?;
            Ok(if epoch.epoch == 1 { Flow::Stop } else { Flow::Continue })
        }
    }
    struct Failing;
    impl Callback for Failing {
        fn on_train_begin(&mut self, _: &mut Model) -> Result<()> {
            Err(Error::NotReady("no room on the disk".into()))
        }
    }
    let mut model = convnet(&Device::cpu(), 1);
    let mut stopper = Stopper(Vec::new());
    let history = model.fit(&bars(40, 1), quiet().epochs(9).callback(&mut stopper)).unwrap();
    assert_eq!((stopper.0, history.epochs.len(), history.stopped), (vec![0, 1], 2, true));
    assert_eq!(history.last().unwrap().learning_rate, 0.005);
    let error = model.fit(&bars(40, 1), quiet().callback(&mut Failing)).unwrap_err();
    assert_eq!(error.to_string(), "no room on the disk");
    assert!(model.fit(&bars(40, 1), quiet()).is_ok(), "an error leaves a model that trains");
}

#[test]
fn what_cannot_be_trained_on_is_refused() {
    let device = Device::cpu();
    let data = bars(10, 1);
    let fit = |data: &Dataset, options| convnet(&Device::cpu(), 1).fit(data, options).unwrap_err().to_string();
    assert_eq!(fit(&data, quiet().batch_size(0)), "batch size: expected at least 1, got 0");
    assert!(fit(&data, quiet().epochs(0)).starts_with("epochs: expected at least 1, got 0"));
    assert_eq!(fit(&data.take(0), quiet()), "dataset: expected at least one example, got none");
    for fraction in [0.0, 1.0, -0.5, f64::NAN, 0.999] {
        let text = fit(&data, quiet().validation_split(fraction));
        assert!(text.starts_with("validation split: expected "), "{text}");
    }
    let both = fit(&data, quiet().validation_split(0.5).validation(&data));
    assert!(both.starts_with("validation: "), "{both}");

    let small = Dataset::new(vec![0; 16], [4, 4, 1], vec![0], ["a"]).unwrap().with_name("small");
    let text = fit(&small, quiet());
    assert_eq!(text, "shape of an image of small: expected [8, 8, 1], the model's input, got [4, 4, 1]");
    let four = Dataset::new(vec![0; 128], [8, 8, 1], vec![0, 3], ["a", "b", "c", "d"]).unwrap();
    assert_eq!(fit(&four, quiet()), "label 3 of example 1 is not one of the 3 classes (0 to 2)");

    let mut unbuilt = Sequential::new([8, 8, 1]).add(Flatten::new()).add(Dense::new(3));
    assert!(matches!(unbuilt.fit(&data, quiet()).unwrap_err(), Error::NotReady(_)));
    unbuilt.build(&device, 0).unwrap();
    let error = unbuilt.fit(&data, quiet()).unwrap_err();
    assert!(error.to_string().contains("not compiled"), "{error}");
    assert!(matches!(unbuilt.evaluate(&data).unwrap_err(), Error::NotReady(_)));

    // A head that classifies pixels, not images.
    let mut pixels = Sequential::new([8, 8, 1]).add(Conv2d::new(3, 1));
    pixels.build(&device, 0).unwrap();
    pixels.compile(Adam::default(), SparseCategoricalCrossentropy::new(), []);
    let text = pixels.fit(&data, quiet()).unwrap_err().to_string();
    let want =
        "output for sparse_categorical_crossentropy: expected one number a class, [N, classes], got [10, 8, 8, 3]";
    assert!(text.starts_with(want), "{text}");

    for optimizer in
        [Adam::new(f32::NAN), Adam::new(-1.0), Adam::default().betas(1.0, 0.9), Adam::default().epsilon(0.0)]
    {
        let mut model = convnet(&device, 1);
        model.compile(optimizer, SparseCategoricalCrossentropy::new(), []);
        assert!(matches!(model.fit(&data, quiet()).unwrap_err(), Error::Invalid { .. }));
    }
}

#[test]
fn batches_are_checked() {
    let device = Device::cpu();
    let mut model = convnet(&device, 1);
    let x = Tensor::ones([2, 8, 8, 1], &device);
    let labels = |l: &[u32]| Tensor::new(l, [l.len()], &device);
    let mut error = |x: &Tensor, y: &Tensor| model.train_on_batch(x, y).unwrap_err().to_string();
    assert_eq!(error(&x, &labels(&[0, 9])), "label 9 of example 1 is not one of the 3 classes (0 to 2)");
    assert!(error(&x, &labels(&[0])).contains("expected u32 [2], got u32 [1]"));
    assert!(error(&x, &one_hot(&[0, 1], 3, &device).unwrap()).contains("help: labels that are one-hot"));
    assert!(error(&Tensor::ones([2, 8, 8], &device), &labels(&[0, 1])).contains("shape of x"));
    assert!(error(&Tensor::ones([0, 8, 8, 1], &device), &labels(&[])).contains("at least one example"));
    assert!(one_hot(&[3], 3, &device).is_err());
    assert!(DeviceDataset::from_tensors(&x, &labels(&[0])).is_err());
    if let Some(gpu) = gpu() {
        let text = error(&x.to(&gpu).unwrap(), &labels(&[0, 1]));
        assert!(text.starts_with("device of x: expected CPU"), "{text}");
    }
}
